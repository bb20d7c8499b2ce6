// SPDX-License-Identifier: GPL-2.0
//! A session with one rank.
//!
//! What happens to it is decided by the pure
//! [`machine::session`](ceph_fs_proto::machine::session).
use kernel::{
    new_mutex, new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc,
        Mutex,
        SpinLock, //
    },
    time::Jiffies,
};
use kernel_ext::time;

use ceph_core::messenger::{
    Connection,
    Message,
    Parts, //
};
use ceph_fs_proto::{
    machine::session::{
        self as machine,
        SessionState, //
    },
    wire::{
        msg::CLIENT_SESSION,
        session::{
            ClientSession,
            Features,
            SessionOp, //
        },
    },
};

/// Raised when capabilities of any session, of any mount, become doubtful before their
/// time. That is rare, so one count will do.
static CAPS_EPOCH: Atomic<u32> = Atomic::new(1);

/// The epoch of all sessions: what was issued in an older one has to be looked at again.
pub(crate) fn caps_epoch() -> u32 {
    CAPS_EPOCH.load(Acquire)
}

/// A session with one rank, and `D`, what the file system keeps for it.
#[pin_data]
pub(crate) struct Session<D> {
    /// The rank.
    pub rank: u32,
    pub(super) con: Arc<Connection>,
    /// Held while a message that must not be overtaken is made and queued, and
    /// while a session is reopened. Outside of the MDS client's state lock.
    #[pin]
    pub(super) io: Mutex<()>,
    /// Leaf lock. Changed by [`Self::change`] alone.
    #[pin]
    inner: SpinLock<machine::Session>,
    /// What the file system keeps for the session.
    #[pin]
    pub data: D,
}

impl<D> Session<D> {
    pub(super) fn new(
        rank: u32,
        con: Arc<Connection>,
        data: impl PinInit<D, Error>,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                rank,
                con,
                io <- new_mutex!((), "ceph::Session::io"),
                inner <- new_spinlock!(
                    machine::Session::new(time::jiffies()),
                    "ceph::Session::inner"
                ),
                data <- data,
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Its state.
    pub(crate) fn state(&self) -> SessionState {
        self.inner.lock().state()
    }

    /// Features that both sides have.
    pub(crate) fn features(&self) -> Features {
        self.inner.lock().features()
    }

    /// The generation of capabilities that are issued now, and whether those of
    /// this generation are still good.
    pub(crate) fn cap_validity(&self) -> (u32, bool) {
        self.inner.lock().validity(time::jiffies())
    }

    /// Whether a capability of the generation may be claimed from a daemon that took over.
    pub(crate) fn carries_over(&self, gen: u32) -> bool {
        self.inner.lock().carried(gen)
    }

    /// Until when its capabilities are good, unless they become doubtful before.
    pub(crate) fn cap_until(&self) -> Jiffies {
        self.inner.lock().cap_until()
    }

    /// Its state, and the features that both sides have.
    pub(super) fn usability(&self) -> (SessionState, Features) {
        let inner = self.inner.lock();
        (inner.state(), inner.features())
    }

    /// Changes its state. If capabilities that were good may not be any more, the epoch of
    /// all sessions is raised before the lock is released.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut machine::Session) -> R) -> R {
        let mut inner = self.inner.lock();
        let before = inner.cap_lease();
        let result = change(&mut inner);
        if !inner.cap_lease().covers(&before) {
            CAPS_EPOCH.fetch_add(1, Release);
        }
        result
    }

    /// What the server said makes no sense, as was found out since: its connection is reset.
    pub(crate) fn distrust(&self) {
        self.con.distrust();
    }

    /// Queues a message. Never sleeps.
    pub(crate) fn send(&self, msg: Arc<Message>) {
        self.con.send(msg);
    }

    /// Makes a message and queues it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, [`E2BIG`].
    pub(crate) fn send_parts(&self, parts: Parts) -> Result {
        self.send(Message::new(parts)?);
        Ok(())
    }

    pub(super) fn send_bare(&self, op: SessionOp, seq: u64) -> Result {
        self.send_parts(Parts {
            kind: CLIENT_SESSION,
            front: ClientSession::encode_bare(op, seq)?,
            ..Parts::default()
        })
    }

    /// Counts a message of the server. A close that was under way meanwhile would
    /// be ignored as too old, so it is sent again.
    pub(super) fn count_message(&self) {
        let again = self.change(machine::Session::count_message);
        if let Some(seq) = again {
            if let Err(e) = self.send_bare(SessionOp::REQUEST_CLOSE, seq) {
                pr_err!("mds{}: cannot close the session: {:?}\n", self.rank, e);
            }
        }
    }

    /// Asks the server to close the session; nothing if it is beyond that.
    pub(super) fn request_close(&self) -> Result {
        let close = self.change(machine::Session::close);
        match close {
            Some(seq) => self.send_bare(SessionOp::REQUEST_CLOSE, seq),
            None => Ok(()),
        }
    }

    /// Notes that the server has been silent for longer than it lets clients be. Whether
    /// that is new.
    pub(super) fn check_hung(&self) -> bool {
        let hung = self.change(|inner| inner.tick(time::jiffies()));
        if hung {
            pr_info!("mds{} hung\n", self.rank);
        }
        hung
    }
}
