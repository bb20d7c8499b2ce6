// SPDX-License-Identifier: GPL-2.0
//! Messages that go out and messages that come in.
use kernel::{
    list::{impl_list_arc_safe, impl_list_item, AtomicTracker, ListLinks, TryNewListArc},
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
};
use kernel_ext::iov::IovDest;

use ceph_proto::errno::eopnotsupp;
use ceph_proto::wire::{
    msgr2::{MessageHead, DATA_MAX, SEGMENT_MAX},
    segment::Segment,
};

use super::budget::Charge;

/// `CEPH_MSG_PRIO_DEFAULT`.
pub const PRIO_DEFAULT: u16 = 127;

/// What a [`Message`] is made of.
pub struct Parts {
    /// `CEPH_MSG_*`.
    pub kind: u16,
    /// Transaction id; 0 if the message is not part of a transaction.
    pub tid: u64,
    /// `CEPH_MSG_PRIO_*`.
    pub priority: u16,
    /// Version of the encoding.
    pub version: u16,
    /// The oldest version whose reader understands the encoding.
    pub compat_version: u16,
    /// First part.
    pub front: KVVec<u8>,
    /// Second part.
    pub middle: Segment,
    /// Bulk data.
    pub data: Segment,
    /// Offset in the object or file, of which the receiver takes the part below
    /// the page size as a hint for alignment.
    pub data_off: u16,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            kind: 0,
            tid: 0,
            priority: PRIO_DEFAULT,
            version: 1,
            compat_version: 1,
            front: KVVec::new(),
            middle: Segment::default(),
            data: Segment::default(),
            data_off: 0,
        }
    }
}

/// An outgoing message: immutable, counted, in the queue of at most one connection.
#[pin_data]
pub struct Message {
    parts: Parts,
    /// Position in the session's stream; 0 before the first time it is sent.
    /// Written by the connection's work alone.
    seq: Atomic<u64>,
    #[pin]
    links: ListLinks,
    #[pin]
    tracker: AtomicTracker,
}

impl_list_arc_safe! {
    impl ListArcSafe<0> for Message { tracked_by tracker: AtomicTracker; }
}
impl_list_item! {
    impl ListItem<0> for Message { using ListLinks { self.links }; }
}

impl Message {
    /// Makes a message.
    ///
    /// # Errors
    ///
    /// [`E2BIG`] if a part is longer than a frame may carry (front and middle
    /// 16 MiB, data 64 MiB), `ENOMEM`.
    pub fn new(parts: Parts) -> Result<Arc<Self>> {
        let fits = |len: usize, max: u32| u32::try_from(len).is_ok_and(|len| len <= max);
        if !fits(parts.front.len(), SEGMENT_MAX)
            || !fits(parts.middle.len(), SEGMENT_MAX)
            || !fits(parts.data.len(), DATA_MAX)
        {
            return Err(E2BIG);
        }
        Arc::pin_init(
            try_pin_init!(Self {
                parts,
                seq: Atomic::new(0),
                links <- ListLinks::new(),
                tracker <- AtomicTracker::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// What it is made of.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Transaction id.
    pub fn tid(&self) -> u64 {
        self.parts.tid
    }

    /// `CEPH_MSG_*`.
    pub fn kind(&self) -> u16 {
        self.parts.kind
    }

    /// What goes before it on the wire, but for what the session fills in.
    #[inline]
    pub(super) fn head(&self) -> MessageHead {
        let parts = &self.parts;
        MessageHead {
            seq: self.seq(),
            tid: parts.tid,
            kind: parts.kind,
            priority: parts.priority,
            version: parts.version,
            data_off: parts.data_off,
            compat_version: parts.compat_version,
            ..MessageHead::default()
        }
    }

    /// Lengths of front, middle and data in bytes.
    #[inline]
    pub(super) fn lens(&self) -> [u32; 3] {
        let parts = &self.parts;
        // They were checked by `new`.
        let lens = [parts.front.len(), parts.middle.len(), parts.data.len()];
        lens.map(|len| len as u32)
    }

    pub(super) fn seq(&self) -> u64 {
        self.seq.load(Relaxed)
    }

    pub(super) fn set_seq(&self, seq: u64) {
        self.seq.store(seq, Relaxed);
    }
}

/// Head of a message that comes in.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// `CEPH_MSG_*`.
    pub kind: u16,
    /// Transaction id; a reply has that of its request.
    pub tid: u64,
    /// Position in the session's stream.
    pub seq: u64,
    /// `CEPH_MSG_PRIO_*`.
    pub priority: u16,
    /// Version of the encoding.
    pub version: u16,
    /// The oldest version whose reader understands the encoding.
    pub compat_version: u16,
    /// Where in a page the data would like to begin.
    pub data_off: u16,
    /// Length of the first part in bytes, at most 16 MiB.
    pub front_len: usize,
    /// Length of the second part in bytes, at most 16 MiB.
    pub middle_len: usize,
    /// Length of the bulk data in bytes, at most 64 MiB.
    pub data_len: usize,
}

impl Header {
    /// Whether a reader of `version` understands the message.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if it does not.
    pub fn check_compat(&self, version: u16) -> Result {
        if self.compat_version > version {
            return Err(eopnotsupp());
        }
        Ok(())
    }

    /// Bytes of all three parts.
    pub(super) fn len(&self) -> usize {
        // At most 96 MiB, as the decoder of the preamble checks.
        self.front_len + self.middle_len + self.data_len
    }

    pub(super) fn new(head: &MessageHead, [front, middle, data]: [u32; 3]) -> Self {
        Self {
            kind: head.kind,
            tid: head.tid,
            seq: head.seq,
            priority: head.priority,
            version: head.version,
            compat_version: head.compat_version,
            data_off: head.data_off,
            front_len: front as usize,
            middle_len: middle as usize,
            data_len: data as usize,
        }
    }
}

/// A message that came in, whole and with its checksums verified.
pub struct Incoming {
    /// Its head.
    pub header: Header,
    /// First part.
    pub front: Segment,
    /// Second part.
    pub middle: Segment,
    /// Bulk data, if no destination was posted for it.
    pub data: Segment,
    /// The destination that was posted for this reply, with the data in it.
    pub dest: Option<IovDest>,
    /// The share that it has of the memory for what is received.
    pub(super) _charge: Option<Charge>,
}

#[cfg(CONFIG_KUNIT = "y")]
impl Incoming {
    /// A message without data, for tests of those who take it.
    pub(crate) fn of_test(header: Header, front: Segment) -> Self {
        Self {
            header,
            front,
            middle: Default::default(),
            data: Default::default(),
            dest: None,
            _charge: None,
        }
    }
}
