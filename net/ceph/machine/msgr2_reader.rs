// SPDX-License-Identifier: GPL-2.0
//! From a stream of bytes to the banner and frames of msgr2.1.
//!
//! ```text
//! Prefix -> Payload -> Preamble <-------------------------------+
//!                         |                                     |
//!                         v                                     |
//!                      Control ---- any frame but a message --->|
//!                         | message head                        |
//!                         v                                     |
//!                      Decide: read, skip or divert?            |
//!                         |                                     |
//!                         v                                     |
//!                      Front -> Middle -> Data -> Epilogue -----+
//! ```
//!
//! What protects the frames is up to the [`Framer`]: how long each block is on the wire, and
//! whether it is what the peer sent. It opens blocks where they lie, in memory of ours.
//!
//! Buffers grow as bytes arrive, so a length that lies costs its sender as much
//! as it costs us.
use kernel::prelude::*;

pub use super::fault::Fault;
pub use super::framer::{segment_crcs, Segments};
use super::framer::{Data, Framer};
use crate::wire::decode::Decoder;
use crate::wire::msgr2::{
    Crypto, FrameHead, MessageHead, Tag, BANNER, BANNER_PAYLOAD_MAX, BANNER_PREFIX_LEN, BANNER_V1,
    CRC_SEED, MESSAGE_HEAD_LEN,
};
/// Why a [`Fault`]: the peer speaks msgr1.
pub const MSGR1: &str = "server is speaking msgr1 protocol";

/// What came.
#[derive(Debug)]
pub enum Item {
    /// The peer's banner.
    Banner {
        /// Features that it knows.
        supported: u64,
        /// Features that it needs.
        required: u64,
    },
    /// A frame that is not a message; see [`Reader::control`].
    Control(Tag),
    /// The head of a message ([`Reader::head`]); nothing more is read before
    /// [`Reader::body`].
    Head,
    /// A message is complete, and its checksums are right: see
    /// [`Reader::take_segments`].
    Complete,
}

/// How far [`Reader::message`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// It is complete, as after [`Item::Complete`].
    Whole,
    /// Its head was read, as after [`Item::Head`].
    Head,
    /// Its head was read, and it has no data: the rest is collected.
    Body,
}

/// What to do with the rest of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Read it and throw it away, unverified.
    Skip,
    /// Collect all of it.
    Collect,
    /// Collect front and middle; data goes past the reader, which hears of it by
    /// [`Reader::data_taken`].
    Divert,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Prefix,
    Payload,
    Preamble,
    Control,
    Decide,
    Front,
    Middle,
    Data,
    Epilogue,
}

impl Stage {
    /// Whether its bytes go into [`Segments`], or past the reader.
    fn is_segment(self) -> bool {
        matches!(self, Self::Front | Self::Middle | Self::Data)
    }
}

/// Preamble and head of a message, with their checksums.
const HEAD_LEN: usize = size_of::<FrameHead>();

/// Front and middle together of a message that is read without a question, in bytes.
pub const LONG_MESSAGE: usize = 64 << 10;

/// What is missing of a segment for which [`Reader::room`] is worth its while, in bytes.
const LONG: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct Reader {
    stage: Stage,
    /// Bytes that the stage still needs.
    left: usize,
    framer: Framer,
    /// What the stage has so far, unless that goes into a segment. Until something is put
    /// there, what was before.
    buf: KVVec<u8>,
    /// Nothing of the stage was taken yet.
    fresh: bool,
    tag: Tag,
    /// Lengths of all four segments of the current frame.
    lens: [u32; 4],
    /// That of the current message, or of the one before.
    head: MessageHead,
    body: Body,
    segments: Segments,
    /// The front was read with the head.
    has_front: bool,
    /// Running checksum of diverted data.
    data_crc: u32,
    verify_data: bool,
}

impl Reader {
    /// Awaits a banner. Data is only checked against its checksum if
    /// `verify_data`.
    pub fn new(verify_data: bool) -> Self {
        Self {
            stage: Stage::Prefix,
            left: BANNER_PREFIX_LEN,
            framer: Framer::Crc,
            buf: KVVec::new(),
            fresh: true,
            tag: Tag::Hello,
            lens: [0; 4],
            head: MessageHead::default(),
            body: Body::Skip,
            segments: Segments::default(),
            has_front: false,
            data_crc: CRC_SEED,
            verify_data,
        }
    }

    /// From here on, frames are protected like that.
    pub fn set_framer(&mut self, framer: Framer) {
        self.framer = framer;
    }

    /// Takes bytes up to the end of the next item. Returns how many it took, and
    /// the item. It takes none (and must be told something first) while it awaits
    /// [`Self::body`], or while [`Self::diverted`] is not 0. What it takes may be opened
    /// where it is.
    ///
    /// # Errors
    ///
    /// A [`Fault`]: the stream cannot be read any further.
    pub fn feed(
        &mut self,
        crypto: &impl Crypto,
        input: &mut [u8],
    ) -> Result<(usize, Option<Item>), Fault> {
        let len = input.len();
        let mut rest = input;
        loop {
            let item = if self.has_item() {
                self.go_on(crypto)?
            } else if rest.is_empty() || self.stage == Stage::Decide || self.diverted() > 0 {
                return Ok((len.saturating_sub(rest.len()), None));
            } else {
                let (now, later) = rest.split_at_mut(self.left.min(rest.len()));
                rest = later;
                if self.fresh && now.len() == self.left && !self.stage.is_segment() {
                    // Mostly all of it is there, and is read where it is.
                    self.advance(crypto, now)?
                } else {
                    self.take(now)?;
                    None
                }
            };
            if item.is_some() {
                return Ok((len.saturating_sub(rest.len()), item));
            }
        }
    }

    /// The shortest way for what mostly comes: message `seq` begins with `input`. Takes its
    /// head or, if it is all there and has only a front, all of it. Returns how many bytes it
    /// took, and what that was. Where anything is wrong or unusual it takes nothing, and
    /// leaves it to [`Self::feed`].
    pub fn message(
        &mut self,
        crypto: &impl Crypto,
        seq: u64,
        input: &[u8],
    ) -> Option<(usize, Began)> {
        if self.stage != Stage::Preamble || !self.fresh {
            return None;
        }
        let (preamble, head, rest) = self.framer.peek_head(crypto, input)?;
        if head.seq != seq {
            return None;
        }
        (self.tag, self.lens, self.head) = (preamble.tag, preamble.segments, head);
        if let Some(taken) = self.front(crypto, rest) {
            return Some((HEAD_LEN.saturating_add(taken), Began::Whole));
        }
        self.enter(Stage::Decide, 0);
        if self.is_asked_for() {
            let taken = self.front_before_data(rest).unwrap_or(0);
            return Some((HEAD_LEN.saturating_add(taken), Began::Head));
        }
        self.body(Body::Collect);
        Some((HEAD_LEN, Began::Body))
    }

    /// As [`Self::message`], a front with nothing between it and data: there is no need to
    /// look at what is here again.
    fn front_before_data(&mut self, input: &[u8]) -> Option<usize> {
        let [_, len, 0, _] = self.lens else {
            return None;
        };
        let (front, _) = input.split_at_checked(len as usize)?;
        self.segments = Segments::default();
        let copy = self.segments.front.as_mut_vec();
        copy.extend_from_slice(front, GFP_KERNEL).ok()?;
        self.has_front = true;
        Some(front.len())
    }

    /// As [`Self::message`], front and epilogue of a message that has nothing else.
    fn front(&mut self, crypto: &impl Crypto, input: &[u8]) -> Option<usize> {
        let [_, len @ 1..=u32::MAX, 0, 0] = self.lens else {
            return None;
        };
        let (front, taken) = self.framer.peek_front(crypto, len as usize, input)?;
        self.segments = Segments::default();
        let copy = self.segments.front.as_mut_vec();
        copy.extend_from_slice(front, GFP_KERNEL).ok()?;
        self.next_frame();
        Some(taken)
    }

    /// While a long segment is collected, where the bytes that come next go, appended, and
    /// how many of them at most, so that they are copied once. Tell [`Self::filled`] how many
    /// it were, then [`Self::go_on`]. Else use [`Self::feed`].
    #[inline]
    pub fn room(&mut self) -> Option<(&mut KVVec<u8>, usize)> {
        let left = self.wants();
        if left < LONG || !self.stage.is_segment() {
            return None;
        }
        Some((self.buffer()?, left))
    }

    /// So many bytes were appended.
    #[inline]
    pub fn filled(&mut self, len: usize) {
        self.left = self.left.saturating_sub(len);
    }

    /// The head of the message that is being received, or of the one before, and the
    /// lengths of its segments.
    #[inline]
    pub fn head(&self) -> (&MessageHead, [u32; 3]) {
        let [_, front, middle, data] = self.lens;
        (&self.head, [front, middle, data])
    }

    /// Whether the message whose head was the last item is long, or has data: somebody is to
    /// say where to.
    pub fn is_asked_for(&self) -> bool {
        let [_, front, middle, data] = self.lens;
        data > 0 || front.saturating_add(middle) as usize > LONG_MESSAGE
    }

    /// The segments of a message that is complete. They are there until more is read.
    #[inline]
    pub fn take_segments(&mut self) -> Segments {
        core::mem::take(&mut self.segments)
    }

    /// The only segment of a frame that is not a message, which was the last item.
    pub fn control(&self) -> &[u8] {
        &self.buf
    }

    /// Goes on without input, as far as that is possible: after [`Self::filled`] and
    /// [`Self::data_taken`].
    ///
    /// # Errors
    ///
    /// As for [`Self::feed`].
    pub fn go_on(&mut self, crypto: &impl Crypto) -> Result<Option<Item>, Fault> {
        while self.has_item() {
            let item = if self.fresh || self.stage.is_segment() {
                self.advance(crypto, &mut [])?
            } else {
                let mut bytes = core::mem::take(&mut self.buf);
                self.advance(crypto, &mut bytes)?
            };
            if item.is_some() {
                return Ok(item);
            }
        }
        Ok(None)
    }

    /// What becomes of the message whose head was the last item.
    pub fn body(&mut self, body: Body) {
        if self.stage == Stage::Decide {
            let has_front = core::mem::take(&mut self.has_front);
            self.body = body;
            if !has_front || body == Body::Skip {
                self.segments = Segments::default();
            }
            self.data_crc = CRC_SEED;
            self.enter_segment(if has_front { 2 } else { 1 });
        }
    }

    /// How many bytes are missing of what is being read; 0 while [`Self::feed`] takes none.
    pub fn wants(&self) -> usize {
        if self.diverted() > 0 {
            0
        } else {
            self.left
        }
    }

    /// Whether the current stage has all its bytes, so that [`Self::feed`] goes on
    /// without new ones.
    pub fn has_item(&self) -> bool {
        self.left == 0 && self.stage != Stage::Decide
    }

    /// How many bytes of data come next in the stream, for the caller to take past
    /// the reader.
    pub fn diverted(&self) -> usize {
        if self.stage == Stage::Data && self.body == Body::Divert {
            self.left
        } else {
            0
        }
    }

    /// The running checksum of the data that went past the reader; to be
    /// continued.
    pub fn data_crc(&self) -> u32 {
        self.data_crc
    }

    /// The caller took `len` bytes of data; `crc` is the checksum of all of it so
    /// far.
    pub fn data_taken(&mut self, len: usize, crc: u32) {
        if self.diverted() > 0 {
            self.left = self.left.saturating_sub(len);
            self.data_crc = crc;
        }
    }

    /// The rest of the message is no longer wanted, whatever [`Self::body`] said.
    pub fn skip(&mut self) {
        if self.stage.is_segment() || self.stage == Stage::Epilogue {
            self.body = Body::Skip;
            self.segments = Segments::default();
        }
    }

    fn enter(&mut self, stage: Stage, left: usize) {
        self.stage = stage;
        self.left = left;
        self.fresh = true;
    }

    /// Goes on with the first segment from `first` on that is not empty, or the epilogue.
    fn enter_segment(&mut self, first: usize) {
        let [_, front, middle, data] = self.lens.map(|len| len > 0);
        let (stage, segment) = match first {
            1 if front => (Stage::Front, 1),
            1 | 2 if middle => (Stage::Middle, 2),
            1..=3 if data => (Stage::Data, 3),
            _ => return self.enter(Stage::Epilogue, self.framer.epilogue_len(self.lens)),
        };
        self.enter(stage, self.framer.segment_len(self.len(segment)));
    }

    fn next_frame(&mut self) {
        self.enter(Stage::Preamble, self.framer.preamble_len());
    }

    fn len(&self, segment: usize) -> usize {
        let len = self.lens.get(segment).copied().unwrap_or(0);
        usize::try_from(len).unwrap_or(usize::MAX)
    }

    /// Where bytes of this stage go; none if they are thrown away.
    #[inline]
    fn buffer(&mut self) -> Option<&mut KVVec<u8>> {
        let skip = self.body == Body::Skip;
        let first = core::mem::replace(&mut self.fresh, false);
        match self.stage {
            Stage::Front | Stage::Middle | Stage::Data if skip => None,
            Stage::Front => Some(self.segments.front.as_mut_vec()),
            Stage::Middle => Some(self.segments.middle.as_mut_vec()),
            Stage::Data => Some(self.segments.data.as_mut_vec()),
            _ => {
                if first {
                    self.buf.clear();
                }
                Some(&mut self.buf)
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result {
        self.left = self.left.saturating_sub(bytes.len());
        if let Some(buf) = self.buffer() {
            buf.extend_from_slice(bytes, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// The stage has all its bytes: `bytes`, unless it is a segment.
    fn advance(&mut self, crypto: &impl Crypto, bytes: &mut [u8]) -> Result<Option<Item>, Fault> {
        match self.stage {
            Stage::Prefix => {
                let mut d = Decoder::new(bytes);
                let banner: [u8; 8] = d.array()?;
                if banner == *BANNER_V1 {
                    return Err(Fault::protocol(MSGR1));
                }
                if banner != *BANNER {
                    return Err(Fault::protocol("protocol error, bad banner"));
                }
                let len = usize::from(d.u16()?);
                if !(16..=BANNER_PAYLOAD_MAX).contains(&len) {
                    return Err(Fault::protocol("protocol error, bad banner payload len"));
                }
                self.enter(Stage::Payload, len);
            }
            Stage::Payload => {
                let mut d = Decoder::new(bytes);
                let (supported, required) = (d.u64()?, d.u64()?);
                self.next_frame();
                return Ok(Some(Item::Banner {
                    supported,
                    required,
                }));
            }
            Stage::Preamble => {
                let preamble = self.framer.open_preamble(crypto, bytes)?;
                self.tag = preamble.tag;
                self.lens = preamble.segments;
                self.enter(Stage::Control, self.framer.control_len(self.len(0)));
            }
            Stage::Control => return self.first_segment(crypto, bytes).map(Some),
            Stage::Front => self.enter_segment(2),
            Stage::Middle => self.enter_segment(3),
            Stage::Data => self.enter_segment(4),
            Stage::Epilogue => {
                if !bytes.is_empty() {
                    self.verify(crypto, bytes)?;
                }
                self.next_frame();
                return Ok(Some(Item::Complete));
            }
            Stage::Decide => {}
        }
        Ok(None)
    }

    fn first_segment(&mut self, crypto: &impl Crypto, bytes: &mut [u8]) -> Result<Item, Fault> {
        let segment = self.framer.open_control(crypto, self.len(0), bytes)?;
        if self.tag == Tag::Message {
            if segment.len() != MESSAGE_HEAD_LEN {
                return Err(Fault::protocol("protocol error, bad message head"));
            }
            self.head = MessageHead::decode(&mut Decoder::new(segment))?;
            self.enter(Stage::Decide, 0);
            return Ok(Item::Head);
        }
        // For `control`, until more is read.
        self.buf.clear();
        self.buf.extend_from_slice(segment, GFP_KERNEL)?;
        self.next_frame();
        Ok(Item::Control(self.tag))
    }

    fn verify(&mut self, crypto: &impl Crypto, epilogue: &mut [u8]) -> Result<(), Fault> {
        let data = match self.body {
            _ if !self.verify_data => Data::Unverified,
            Body::Divert => Data::Diverted(self.data_crc),
            _ => Data::Collected,
        };
        let segments = (self.body != Body::Skip).then_some((&mut self.segments, data));
        self.framer.open_tail(crypto, self.lens, segments, epilogue)
    }
}
