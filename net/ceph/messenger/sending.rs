// SPDX-License-Identifier: GPL-2.0
//! The message that is being sent.
use kernel::{prelude::*, sync::Arc};

use ceph_proto::machine::{
    msgr1::Crypto,
    protocol::{Head, Machine, Tail},
};

use super::message::Message;

/// Parts of a message frame, in order.
const PARTS: usize = 5;

static ZEROS: [u8; 4096] = [0; 4096];

/// A message frame that is being sent.
pub(super) struct Sending {
    msg: Arc<Message>,
    /// What goes before the segments.
    head: Head,
    /// Another message follows at once.
    more: bool,
    /// What goes behind them.
    tail: Tail,
    is_v1: bool,
    /// What checksums begin with.
    seed: u32,
    /// Bytes of the frame that the socket has taken.
    at: usize,
    /// From this byte on, the segments are zeros: the message was revoked.
    zero_from: Option<usize>,
}

impl Sending {
    /// To be [begun](Self::begin).
    #[inline]
    pub(super) fn new(msg: Arc<Message>, more: bool) -> Self {
        Self {
            msg,
            head: Head::EMPTY,
            more,
            tail: Tail::EMPTY,
            is_v1: false,
            seed: 0,
            at: 0,
            zero_from: None,
        }
    }

    /// Gives it the next number of the session.
    ///
    /// # Errors
    ///
    /// As [`Machine::message`].
    #[inline]
    pub(super) fn begin(&mut self, crypto: &impl Crypto, machine: &mut Machine) -> Result {
        let (head, lens) = (self.msg.head(), self.msg.lens());
        let (seq, head) = machine.message(crypto, head, lens)?;
        self.head = head;
        self.is_v1 = matches!(machine, Machine::V1(_));
        self.seed = machine.data_seed();
        self.msg.set_seq(seq);
        let parts = self.msg.parts();
        let data = (!parts.data.is_empty()).then(|| crypto.crc32c(self.seed, &parts.data));
        self.tail = machine.message_tail(crypto, &self.head, &parts.front, &parts.middle, data)?;
        Ok(())
    }

    pub(super) fn is(&self, msg: &Arc<Message>) -> bool {
        Arc::ptr_eq(&self.msg, msg)
    }

    fn parts(&self) -> [&[u8]; PARTS] {
        let parts = self.msg.parts();
        [
            self.head.as_slice(),
            &parts.front,
            &parts.middle,
            &parts.data,
            self.tail.as_slice(),
        ]
    }

    /// Sends on with `send`, which says how much it took, and gets to know whether more
    /// follows at once. True when all is sent.
    ///
    /// # Errors
    ///
    /// Those of `send`.
    pub(super) fn send(
        &mut self,
        mut send: impl FnMut(&[&[u8]], bool) -> Result<usize>,
    ) -> Result<bool> {
        if self.at == 0 && self.zero_from.is_none() {
            // Mostly the socket takes it at once.
            let parts = self.parts();
            let len: usize = parts.iter().map(|part| part.len()).sum();
            self.at = send(&parts, self.more)?;
            match self.at {
                0 => return Err(EAGAIN),
                all if all == len => return Ok(true),
                _ => {}
            }
        }
        loop {
            let mut slices: [&[u8]; PARTS] = [&[]; PARTS];
            let mut count = 0;
            let mut start = 0;
            for (i, part) in self.parts().into_iter().enumerate() {
                let end = start + part.len();
                let from = self.at.max(start);
                if from < end {
                    let zero = (1..=3).contains(&i) && self.zero_from.is_some_and(|z| from >= z);
                    let slice = if zero {
                        &ZEROS[..(end - from).min(ZEROS.len())]
                    } else {
                        &part[from - start..]
                    };
                    slices[count] = slice;
                    count += 1;
                    if zero && slice.len() < end - from {
                        break;
                    }
                }
                start = end;
            }
            if count == 0 {
                return Ok(true);
            }
            let taken = send(&slices[..count], self.more)?;
            self.at += taken;
            if taken == 0 {
                return Err(EAGAIN);
            }
        }
    }

    /// The message was revoked: not another byte of it is read. The frame goes on
    /// with zeros, and its end tells the peer to ignore it.
    pub(super) fn abort(&mut self, crypto: &impl Crypto) {
        if self.zero_from.is_some() {
            return;
        }
        let mut crcs = [0; 3];
        let parts = self.parts();
        let mut start = self.head.as_slice().len();
        let last = (1..=3).rev().find(|i| !parts[*i].is_empty()).unwrap_or(0);
        for i in 1..=3 {
            let part = parts[i];
            let sent = self.at.saturating_sub(start).min(part.len());
            if i <= last {
                crcs[i - 1] = crypto.crc32c(self.seed, &part[..sent]);
                let mut left = part.len() - sent;
                while left > 0 {
                    let n = left.min(ZEROS.len());
                    crcs[i - 1] = crypto.crc32c(crcs[i - 1], &ZEROS[..n]);
                    left -= n;
                }
            }
            start += part.len();
        }
        if self.at < start && !self.tail.as_slice().is_empty() {
            self.tail = Machine::aborted_tail(self.is_v1, &self.tail, crcs);
            self.zero_from = Some(self.at);
        }
    }
}

#[kunit_tests(ceph_messenger_sending)]
mod tests {
    use super::super::{crypto::KernelCrypto, message::Parts};
    use super::*;
    use ceph_proto::machine::framer::{segment_crcs, Framer};
    use ceph_proto::wire::msgr2::{Crypto as _, Epilogue, CRC_SEED, EPILOGUE_LEN, FRAME_HEAD_LEN};

    const HEAD: usize = FRAME_HEAD_LEN;

    fn message(len: usize) -> Result<Arc<Message>> {
        Message::new(Parts {
            front: KVVec::from_elem(1, len, GFP_KERNEL)?,
            data: KVVec::from_elem(2, len, GFP_KERNEL)?.into(),
            ..Parts::default()
        })
    }

    #[test]
    fn a_revoked_frame_ends_in_zeros() -> Result {
        let crypto = &KernelCrypto;
        // Whatever was sent when it was revoked, length and checksums fit.
        for cut in 0..(HEAD + 2 * 100 + EPILOGUE_LEN) {
            let msg = message(100)?;
            let mut frame = KVVec::new();
            let mut sending = Sending::new(msg, false);
            sending.head = Head::of(&[9; HEAD]);
            sending.seed = CRC_SEED;
            let parts = sending.msg.parts();
            let crc = crypto.crc32c(CRC_SEED, &parts.data);
            let tail = Framer::Crc.seal_tail(crypto, &parts.front, &parts.middle, Some(crc));
            sending.tail = Tail::of(&tail.ok_or(EINVAL)?);
            let mut room = cut;
            let mut take = |slices: &[&[u8]], frame: &mut KVVec<u8>| -> Result<usize> {
                let mut taken = 0;
                for slice in slices {
                    let n = slice.len().min(room);
                    frame.extend_from_slice(&slice[..n], GFP_KERNEL)?;
                    room -= n;
                    taken += n;
                }
                Ok(taken)
            };
            assert!(sending.send(|s, _| take(s, &mut frame)).is_err());
            sending.abort(crypto);
            let take = |slices: &[&[u8]], frame: &mut KVVec<u8>| -> Result<usize> {
                let mut taken = 0;
                for slice in slices {
                    frame.extend_from_slice(slice, GFP_KERNEL)?;
                    taken += slice.len();
                }
                Ok(taken)
            };
            assert!(sending.send(|s, _| take(s, &mut frame))?);
            assert_eq!(frame.len(), HEAD + 200 + EPILOGUE_LEN);
            let (segments, end) = frame[HEAD..].split_at(200);
            let epilogue = Epilogue::decode(end.try_into().map_err(|_| EINVAL)?)?;
            assert_eq!(epilogue.aborted, cut < HEAD + 200);
            let (front, data) = segments.split_at(100);
            let crc = crypto.crc32c(CRC_SEED, data);
            assert_eq!(epilogue.crcs, segment_crcs(crypto, front, &[], Some(crc)));
            assert_eq!(
                segments.iter().filter(|b| **b != 0).count(),
                if cut < HEAD + 200 {
                    cut.saturating_sub(HEAD)
                } else {
                    200
                }
            );
        }
        Ok(())
    }
}
