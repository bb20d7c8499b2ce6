// SPDX-License-Identifier: GPL-2.0
//! A request to a metadata server, from the task that asks to the reply.
//!
//! ```text
//!              register            rank chosen, session open
//!   Spec ───────────────▶ Waiting ──────────────────────────▶ Sent
//!                           ▲  ▲                               │ │
//!                           │  └── forward, session lost ──────┘ │ reply
//!              map or session                                    ▼
//!              changed: advance                                 done
//! ```
//!
//! A waiter that is killed leaves a request that was sent in the table, since the
//! reply hands out capabilities which must be taken note of.
use core::fmt;
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{Arc, SpinLock},
    time::Jiffies,
};
use kernel_ext::{time, wait::Reason};

use ceph_core::{messenger::Message, request::Request as Core};
use ceph_fs_proto::wire::request::{Args, FilePath, Op};
use ceph_proto::wire::types::Timespec;

use super::{hooks::MdsHooks, FROM_MDS};

/// A path that the request owns.
#[derive(Debug, Default)]
pub(crate) struct OwnedPath {
    /// Inode that it begins at.
    pub ino: u64,
    /// Names from there.
    pub path: KVec<u8>,
}

impl OwnedPath {
    /// The inode itself.
    pub(crate) const fn inode(ino: u64) -> Self {
        Self {
            ino,
            path: KVec::new(),
        }
    }

    /// A name in a directory.
    pub(crate) fn name(dir: u64, name: &[u8]) -> Result<Self> {
        let mut path = KVec::new();
        path.extend_from_slice(name, GFP_KERNEL)?;
        Ok(Self { ino: dir, path })
    }

    pub(super) fn borrow(&self) -> FilePath<'_> {
        FilePath {
            ino: self.ino,
            path: &self.path,
        }
    }
}

/// Who asks.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    /// File system user id, in the initial name space.
    pub uid: u32,
    /// File system group id, in the initial name space.
    pub gid: u32,
    /// Supplementary groups.
    pub gids: KVec<u32>,
}

/// What is asked.
pub(crate) struct Spec<S> {
    /// Operation.
    pub op: Op,
    /// Arguments.
    pub args: Args,
    /// What it is about.
    pub path1: OwnedPath,
    /// What else it is about.
    pub path2: OwnedPath,
    /// Whether the reply is to tell of the directory and the name.
    pub want_dentry: bool,
    /// Who asks.
    pub caller: Caller,
    /// References for choosing a rank and filling in the reply.
    pub target: S,
    /// Jiffies that it may take; `None` for as long as it needs.
    pub timeout: Option<Jiffies>,
}

/// What comes back.
pub(crate) struct Reply<F> {
    /// 0 or a negative error number, from the server.
    pub result: i32,
    /// What the worker half made of it.
    pub filled: F,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Until the map changes.
    WaitsForMap,
    /// Until the session with the rank opens or closes.
    WaitsForSession(u32),
    /// It is being sent, or was sent, to the rank.
    Sent(u32),
}

pub(super) struct Progress {
    pub(super) place: Place,
    /// How many times it was sent.
    pub(super) attempts: u32,
    /// How many times it was forwarded.
    pub(super) forwards: u32,
    /// The rank that it was forwarded to, or waits for.
    pub(super) resend_rank: Option<u32>,
    /// The message, while it may have to be taken back.
    pub(super) msg: Option<Arc<Message>>,
}

/// A request in the table.
#[pin_data]
pub(crate) struct Request<H: MdsHooks> {
    /// What is asked.
    pub spec: Spec<H::RequestTarget>,
    /// When it was made.
    pub(super) stamp: Timespec,
    /// Leaf lock: nothing is called with it held.
    #[pin]
    pub(super) progress: SpinLock<Progress>,
    #[pin]
    pub(super) core: Core<Reply<H::Filled>>,
}

impl<H: MdsHooks> Request<H> {
    pub(super) fn new(tid: u64, spec: Spec<H::RequestTarget>) -> Result<Arc<Self>> {
        let (sec, nsec) = time::real_timespec();
        Arc::pin_init(
            try_pin_init!(Self {
                core <- Core::new(
                    tid,
                    Reason {
                        what: spec.op.name(),
                        whom: FROM_MDS,
                        id: tid,
                        ino: spec.path1.ino,
                    },
                    spec.timeout,
                    None
                ),
                spec,
                // The wire has 32 bits for seconds.
                stamp: Timespec { sec: sec as u32, nsec },
                progress <- new_spinlock!(
                    Progress {
                        place: Place::WaitsForMap,
                        attempts: 0,
                        forwards: 0,
                        resend_rank: None,
                        msg: None,
                    },
                    "ceph::Request::progress"
                ),
            }),
            GFP_KERNEL,
        )
    }

    /// Transaction id.
    pub(crate) fn tid(&self) -> u64 {
        self.core.tid()
    }

    /// What it waits for, to be printed.
    pub(crate) fn waits_for(&self) -> WaitsFor {
        let progress = self.progress.lock();
        WaitsFor {
            place: progress.place,
            attempts: progress.attempts,
            tid: self.tid(),
        }
    }

    /// The rank that it was sent to.
    pub(crate) fn sent_to(&self) -> Option<u32> {
        match self.progress.lock().place {
            Place::Sent(rank) => Some(rank),
            _ => None,
        }
    }
}

/// What a request waits for.
pub(crate) struct WaitsFor {
    place: Place,
    attempts: u32,
    tid: u64,
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::WaitsForMap => f.write_str("an mdsmap with an active mds")?,
            Place::WaitsForSession(rank) => write!(f, "a session with mds{rank}")?,
            Place::Sent(rank) => write!(f, "mds{rank}")?,
        }
        write!(f, " (tid {}, sent {}x)", self.tid, self.attempts)
    }
}
