// SPDX-License-Identifier: GPL-2.0
//! How frames are protected on the wire. The reader and the machine above it do not know
//! which framer they have.
//!
//! ```text
//!        open_preamble   open_control                    open_tail
//!   Crc  preamble crc  | control crc  | front middle data | status, their crcs
//! ```
//!
//! A frame comes in blocks. The framer says how long each one is on the wire, and opens it
//! where it lies: that memory is the reader's own, so a framer that encrypts may decrypt in
//! place. On the way out it seals a control frame, or the head of a message, into memory that
//! is not the message's; what has to follow the segments it gives as an [`Epilogue`].
//!
//! Each direction of a connection has a framer of its own, as each has nonces of its own. Both
//! are [`Framer::Crc`] until AUTH_DONE, which chooses by the connection mode.
use kernel::prelude::*;

use super::fault::Fault;
use crate::errno::{ebadmsg, eprotonosupport};
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::msgr2::{
    control_frame, message_head, Crypto, Epilogue, FrameHead, MessageHead, Preamble, Tag,
    CON_MODE_CRC, CRC_LEN, CRC_SEED, EPILOGUE_LEN, MESSAGE_HEAD_LEN, PREAMBLE_LEN,
};
use crate::wire::segment::Segment;

/// The segments of a message.
#[derive(Debug, Default)]
pub struct Segments {
    /// First part.
    pub front: Segment,
    /// Second part.
    pub middle: Segment,
    /// Bulk data, if it was collected.
    pub data: Segment,
}

/// What became of the data of a message, for [`Framer::open_tail`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// It is in [`Segments::data`], or there is none.
    Collected,
    /// It went past the reader, and this is its checksum.
    Diverted(u32),
    /// It went past the reader, and nobody wants to know whether it is whole; or it is
    /// [`Self::Collected`], with the same.
    Unverified,
}

/// The protection of the frames of one direction. See the module.
#[derive(Debug)]
pub enum Framer {
    /// Checksums (`CON_MODE_CRC`).
    Crc,
}

/// What comes in.
impl Framer {
    /// The framers of a connection mode: of what comes in, and of what goes out.
    ///
    /// # Errors
    ///
    /// `EPROTONOSUPPORT` for a mode that is not known.
    pub fn of_mode(con_mode: u32) -> Result<(Self, Self), Fault> {
        match con_mode {
            CON_MODE_CRC => Ok((Self::Crc, Self::Crc)),
            _ => Err(Fault {
                error: eprotonosupport(),
                why: "server wants a connection mode that was not asked for",
            }),
        }
    }

    /// Length of a preamble on the wire, in bytes.
    pub fn preamble_len(&self) -> usize {
        match self {
            Self::Crc => PREAMBLE_LEN,
        }
    }

    /// How many bytes follow the preamble for a first segment of `len` bytes.
    pub fn control_len(&self, len: usize) -> usize {
        match self {
            Self::Crc => len.saturating_add(CRC_LEN),
        }
    }

    /// How many bytes front, middle or data of `len` bytes are on the wire.
    #[inline]
    pub fn segment_len(&self, len: usize) -> usize {
        match self {
            Self::Crc => len,
        }
    }

    /// How many bytes follow the segments of a frame.
    pub fn epilogue_len(&self, lens: [u32; 4]) -> usize {
        let [_, rest @ ..] = lens;
        match self {
            Self::Crc if rest == [0; 3] => 0,
            Self::Crc => EPILOGUE_LEN,
        }
    }

    /// Opens a preamble.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if it is damaged, `EPROTO` if it makes no sense.
    pub fn open_preamble(
        &mut self,
        crypto: &impl Crypto,
        block: &mut [u8],
    ) -> Result<Preamble, Fault> {
        match self {
            Self::Crc => {
                let block = Decoder::new(block).chunk()?;
                Preamble::decode(crypto, block).map_err(|error| Fault {
                    error,
                    why: if error == ebadmsg() {
                        "integrity error, bad crc"
                    } else {
                        "protocol error, bad preamble"
                    },
                })
            }
        }
    }

    /// Opens a first segment of `len` bytes, which is part of `block` then.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if it is damaged.
    pub fn open_control<'a>(
        &mut self,
        crypto: &impl Crypto,
        len: usize,
        block: &'a mut [u8],
    ) -> Result<&'a [u8], Fault> {
        match self {
            Self::Crc => {
                let mut d = Decoder::new(block);
                let segment = d.bytes(len)?;
                if crypto.crc32c(CRC_SEED, segment) != d.u32()? {
                    return Err(Fault::integrity("integrity error, bad crc"));
                }
                Ok(segment)
            }
        }
    }

    /// Opens the segments of a message, which end with `epilogue`. What is thrown away is
    /// `None`, unopened.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if any is damaged, `EPROTO` if the epilogue makes no sense.
    pub fn open_tail(
        &mut self,
        crypto: &impl Crypto,
        [_, _, middle_len, data_len]: [u32; 4],
        segments: Option<(&mut Segments, Data)>,
        epilogue: &mut [u8],
    ) -> Result<(), Fault> {
        match self {
            Self::Crc => {
                let epilogue = Epilogue::decode(Decoder::new(epilogue).chunk()?)?;
                if epilogue.aborted {
                    // A client is never sent one that its sender gave up.
                    return Err(Fault::protocol("protocol error, bad epilogue"));
                }
                let Some((segments, data)) = segments else {
                    return Ok(());
                };
                // Empty segments count (with the seed) up to the last that is not.
                let front = crypto.crc32c(CRC_SEED, &segments.front);
                let middle = match (middle_len, data_len) {
                    (0, 0) => 0,
                    _ => crypto.crc32c(CRC_SEED, &segments.middle),
                };
                let [want_front, want_middle, want_data] = epilogue.crcs;
                let data_ok = data_len == 0
                    || match data {
                        Data::Collected => crypto.crc32c(CRC_SEED, &segments.data) == want_data,
                        Data::Diverted(crc) => crc == want_data,
                        Data::Unverified => true,
                    };
                if front != want_front || middle != want_middle || !data_ok {
                    return Err(Fault::integrity("integrity error, bad crc"));
                }
                Ok(())
            }
        }
    }

    /// The head of a message at the start of `input`, and what comes behind it: without a
    /// copy, and without a change, so that the same bytes may be opened block by block. `None`
    /// if it is anything else, or if the framer cannot.
    #[inline]
    pub fn peek_head<'a>(
        &self,
        crypto: &impl Crypto,
        input: &'a [u8],
    ) -> Option<(Preamble, MessageHead, &'a [u8])> {
        match self {
            Self::Crc => {
                let (preamble, rest) = input.split_first_chunk()?;
                let preamble = Preamble::decode(crypto, preamble).ok()?;
                let [control, ..] = preamble.segments;
                let (segment, rest) = rest.split_first_chunk::<MESSAGE_HEAD_LEN>()?;
                let (crc, rest) = rest.split_first_chunk()?;
                if preamble.tag != Tag::Message
                    || control as usize != MESSAGE_HEAD_LEN
                    || crypto.crc32c(CRC_SEED, segment) != u32::from_le_bytes(*crc)
                {
                    return None;
                }
                let head = MessageHead::decode(&mut Decoder::new(segment)).ok()?;
                Some((preamble, head, rest))
            }
        }
    }

    /// As [`Self::peek_head`], a front of `len` bytes, the only segment of a message, and how
    /// many bytes it and its epilogue are.
    #[inline]
    pub fn peek_front<'a>(
        &self,
        crypto: &impl Crypto,
        len: usize,
        input: &'a [u8],
    ) -> Option<(&'a [u8], usize)> {
        match self {
            Self::Crc => {
                let (front, rest) = input.split_at_checked(len)?;
                let epilogue = Epilogue::decode(rest.first_chunk()?).ok()?;
                if epilogue.aborted || epilogue.crcs != segment_crcs(crypto, front, &[], None) {
                    return None;
                }
                Some((front, len.saturating_add(EPILOGUE_LEN)))
            }
        }
    }
}

/// What goes out.
impl Framer {
    /// Adds a frame of the one segment that `body` adds: any frame but a message.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; [`E2BIG`] if it is longer than a frame may be.
    pub fn seal_control(
        &mut self,
        crypto: &impl Crypto,
        tag: Tag,
        body: impl FnOnce(&mut Encoder) -> Result,
    ) -> Result<KVVec<u8>> {
        match self {
            Self::Crc => control_frame(crypto, tag, body),
        }
    }

    /// Writes what goes before the segments of a message.
    #[inline]
    pub fn seal_head(
        &mut self,
        crypto: &impl Crypto,
        head: &MessageHead,
        lens: [u32; 3],
        out: &mut FrameHead,
    ) {
        match self {
            Self::Crc => message_head(crypto, head, lens, out),
        }
    }

    /// What goes behind the segments of a message, given the checksum of its data, if it has
    /// any.
    #[inline]
    pub fn seal_tail(
        &mut self,
        crypto: &impl Crypto,
        front: &[u8],
        middle: &[u8],
        data: Option<u32>,
    ) -> Option<[u8; EPILOGUE_LEN]> {
        match self {
            Self::Crc if front.is_empty() && middle.is_empty() && data.is_none() => None,
            Self::Crc => {
                let crcs = segment_crcs(crypto, front, middle, data);
                let aborted = false;
                Some(Epilogue { aborted, crcs }.encode())
            }
        }
    }
}

/// The checksums that an epilogue carries for these segments, given `data`'s own.
pub fn segment_crcs(
    crypto: &impl Crypto,
    front: &[u8],
    middle: &[u8],
    data: Option<u32>,
) -> [u32; 3] {
    let middle = match (middle.is_empty(), data) {
        (true, None) => 0,
        _ => crypto.crc32c(CRC_SEED, middle),
    };
    [crypto.crc32c(CRC_SEED, front), middle, data.unwrap_or(0)]
}

#[kunit_tests(ceph_machine_framer)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_that_is_not_known_is_refused() {
        assert!(Framer::of_mode(CON_MODE_CRC).is_ok());
        for mode in [0, 3, u32::MAX] {
            assert!(Framer::of_mode(mode).is_err_and(|fault| fault.error == eprotonosupport()));
        }
    }
}
