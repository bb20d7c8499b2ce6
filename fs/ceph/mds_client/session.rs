// SPDX-License-Identifier: GPL-2.0
//! A session with one rank.
//!
//! ```text
//!   New ──open──▶ Opening ──OPEN──▶ Open ◀──any message── Hung
//!                    │                │ ──silence──────────▶┘
//!                    │ REJECT         │ address changed
//!                    ▼                ▼
//!                 Rejected        Restarting ──rank reconnects──▶ Reconnecting
//!                    ▲                                              │ OPEN ▶ Open
//!                    └──────────────────REJECT──────────────────────┘
//!   Open ──close──▶ Closing ──CLOSE──▶ Closed
//! ```
use kernel::{
    new_mutex, new_spinlock,
    prelude::*,
    sync::{Arc, Mutex, SpinLock},
    time::Jiffies,
};
use kernel_ext::time;

use ceph_core::messenger::{Connection, Message, Parts};
use ceph_fs_proto::wire::{
    msg::CLIENT_SESSION,
    session::{ClientSession, Features, SessionOp},
};

use super::hooks::MdsHooks;

/// State of a session, by the names that the C client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionState {
    /// Known, nothing sent.
    New,
    /// Asked to open.
    Opening,
    /// Requests can be sent.
    Open,
    /// Open, but not heard of for long.
    Hung,
    /// The rank moved to another daemon.
    Restarting,
    /// The new daemon was told what we hold.
    Reconnecting,
    /// Asked to close.
    Closing,
    /// Over.
    Closed,
    /// The server does not want us.
    Rejected,
}

impl SessionState {
    /// The name in debugfs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Opening => "opening",
            Self::Open => "open",
            Self::Hung => "hung",
            Self::Restarting => "restarting",
            Self::Reconnecting => "reconnecting",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Rejected => "rejected",
        }
    }

    /// Whether requests can be sent.
    pub(crate) const fn is_usable(self) -> bool {
        matches!(self, Self::Open | Self::Hung)
    }

    /// Whether the tick has to look after it.
    pub(super) const fn is_alive(self) -> bool {
        matches!(
            self,
            Self::Opening | Self::Open | Self::Hung | Self::Reconnecting
        )
    }
}

pub(super) struct Inner {
    pub(super) state: SessionState,
    pub(super) features: Features,
    /// Messages from the server that count; it repeats this number with a close.
    pub(super) seq: u64,
    pub(super) renew_seq: u64,
    pub(super) renew_requested: Jiffies,
    /// Capabilities are good until then.
    pub(super) cap_ttl: Jiffies,
    /// Raised when all capabilities became doubtful.
    pub(super) cap_gen: u32,
    /// The server counts as alive until then.
    pub(super) ttl: Option<Jiffies>,
    pub(super) readonly: bool,
}

/// A session with one rank.
#[pin_data]
pub(crate) struct Session<H: MdsHooks> {
    /// The rank.
    pub rank: u32,
    pub(super) con: Arc<Connection>,
    /// Held while a message that must not be overtaken is made and queued, and
    /// while a session is reopened. Outside of the MDS client's state lock.
    #[pin]
    pub(super) io: Mutex<()>,
    /// Leaf lock.
    #[pin]
    pub(super) inner: SpinLock<Inner>,
    /// What the file system keeps for the session.
    #[pin]
    pub data: H::SessionData,
}

impl<H: MdsHooks> Session<H> {
    pub(super) fn new(rank: u32, con: Arc<Connection>) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                rank,
                con,
                io <- new_mutex!((), "ceph::Session::io"),
                inner <- new_spinlock!(
                    Inner {
                        state: SessionState::New,
                        features: Features(0),
                        seq: 0,
                        renew_seq: 0,
                        renew_requested: 0,
                        cap_ttl: time::jiffies(),
                        cap_gen: 1,
                        ttl: None,
                        readonly: false,
                    },
                    "ceph::Session::inner"
                ),
                data <- H::session_data(),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Its state.
    pub(crate) fn state(&self) -> SessionState {
        self.inner.lock().state
    }

    /// Features that both sides have.
    pub(crate) fn features(&self) -> Features {
        self.inner.lock().features
    }

    /// The generation of capabilities that are issued now, and whether those of
    /// this generation are still good.
    pub(crate) fn cap_validity(&self) -> (u32, bool) {
        let inner = self.inner.lock();
        (inner.cap_gen, !time::reached(inner.cap_ttl))
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

    pub(super) fn set_state(&self, state: SessionState) {
        self.inner.lock().state = state;
    }

    /// Counts a message of the server. A close that was under way meanwhile would
    /// be ignored as too old, so it is sent again.
    pub(super) fn count_message(&self) {
        let (closing, seq) = {
            let mut inner = self.inner.lock();
            inner.seq = inner.seq.wrapping_add(1);
            (inner.state == SessionState::Closing, inner.seq)
        };
        if closing {
            if let Err(e) = self.send_bare(SessionOp::REQUEST_CLOSE, seq) {
                pr_err!("mds{}: cannot close the session: {:?}\n", self.rank, e);
            }
        }
    }

    /// Asks the server to close the session; nothing if it is beyond that.
    pub(super) fn request_close(&self) -> Result {
        let seq = {
            let mut inner = self.inner.lock();
            match inner.state {
                SessionState::Closing | SessionState::Closed | SessionState::Rejected => {
                    return Ok(())
                }
                _ => inner.state = SessionState::Closing,
            }
            inner.seq
        };
        self.send_bare(SessionOp::REQUEST_CLOSE, seq)
    }

    /// Notes that the capabilities are good for another `timeout` jiffies from when
    /// that was asked for. Returns whether they had gone stale.
    pub(super) fn renewed(&self, timeout: Jiffies, is_renewal: bool) -> bool {
        let mut inner = self.inner.lock();
        let was_stale = is_renewal && time::reached(inner.cap_ttl);
        inner.cap_ttl = inner.renew_requested.wrapping_add(timeout);
        let fresh = was_stale && !time::reached(inner.cap_ttl);
        drop(inner);
        if was_stale {
            let still = if fresh { "renewed" } else { "still stale" };
            pr_info!("mds{} caps {}\n", self.rank, still);
        }
        fresh
    }
}

impl<H: MdsHooks> Session<H> {
    /// Notes that the server has been silent for longer than it lets clients be.
    pub(super) fn check_hung(&self) {
        let mut inner = self.inner.lock();
        if inner.state == SessionState::Open && inner.ttl.is_some_and(time::reached) {
            inner.state = SessionState::Hung;
            drop(inner);
            pr_info!("mds{} hung\n", self.rank);
        }
    }
}
