// SPDX-License-Identifier: GPL-2.0
//! A session with one daemon, as its owner sees it.
use core::time::Duration;
use kernel::{
    list::{List, ListArc},
    new_spinlock,
    prelude::*,
    sync::{Arc, SpinLock},
};

use ceph_proto::wire::types::{EntityAddr, EntityName};

use super::{message::Message, ops::ConnectionOps, Messenger};

/// What becomes of a session when its socket breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It is lost (monitors, OSDs): the owner is told and starts anew.
    Lossy,
    /// It goes on over another socket (MDSs): messages are kept until they are
    /// acknowledged, and sent again.
    Lossless,
}

/// A session with one daemon.
#[pin_data]
pub struct Connection {
    msgr: Arc<Messenger>,
    policy: Policy,
    /// What senders and the work item share. Innermost lock.
    #[pin]
    shared: SpinLock<Shared>,
}

struct Shared {
    target: Option<Target>,
    queue: List<Message>,
    sent: List<Message>,
}

#[derive(Clone)]
struct Target {
    name: EntityName,
    addr: EntityAddr,
    ops: Arc<dyn ConnectionOps>,
}

impl Connection {
    /// Makes a connection that is closed.
    pub fn new(msgr: &Arc<Messenger>, policy: Policy) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                msgr: msgr.clone(),
                policy,
                shared <- new_spinlock!(
                    Shared {
                        target: None,
                        queue: List::new(),
                        sent: List::new(),
                    },
                    "ceph::Connection::shared"
                ),
            }),
            GFP_KERNEL,
        )
    }

    /// Starts a session with `name` at `addr` (of kind msgr2); `ops` are called
    /// back. The connection must be closed: new, or after [`close`](Self::close),
    /// or after a fault of a lossy one. Never sleeps.
    pub fn open(self: &Arc<Self>, name: EntityName, addr: EntityAddr, ops: Arc<dyn ConnectionOps>) {
        self.shared.lock().target = Some(Target { name, addr, ops });
    }

    /// Ends the session: forgets queued and unacknowledged messages, closes the
    /// socket and drops `ops`.
    ///
    /// After it has returned, no callback of the session runs or comes later. It
    /// waits for a running one (a lock that a callback takes must not be held),
    /// unless it is called by that callback itself.
    pub fn close(self: &Arc<Self>) {
        self.cut();
    }

    /// As [`close`](Self::close), but does not wait: a callback that is running
    /// may still be running when this returns, though no other one will start.
    /// For callers that hold a lock which callbacks take.
    pub fn close_nowait(self: &Arc<Self>) {
        self.cut();
    }

    fn cut(&self) {
        let (target, mut queue, mut sent) = {
            let mut shared = self.shared.lock();
            (
                shared.target.take(),
                core::mem::take(&mut shared.queue),
                core::mem::take(&mut shared.sent),
            )
        };
        while queue.pop_front().is_some() || sent.pop_front().is_some() {}
        drop(target);
    }

    /// Queues a message. It is sent when the session is established; messages keep
    /// their order. On a closed connection it is dropped. Never sleeps.
    ///
    /// A message is in one queue at a time: one that is still queued here or in
    /// another connection is left where it is (see [`revoke`](Self::revoke)).
    pub fn send(self: &Arc<Self>, msg: Arc<Message>) {
        let mut shared = self.shared.lock();
        if shared.target.is_some() {
            if let Ok(entry) = ListArc::try_from_arc(msg) {
                shared.queue.push_back(entry);
            }
        }
    }

    /// Takes a message back: afterwards it is in no queue, and no byte of it will be
    /// read. If it was half sent, the peer is told to ignore it.
    ///
    /// Returns whether it was still here. May sleep.
    pub fn revoke(&self, msg: &Arc<Message>) -> bool {
        let mut shared = self.shared.lock();
        let Shared { queue, sent, .. } = &mut *shared;
        unlink(queue, msg) || unlink(sent, msg)
    }

    /// Asks the peer for a sign of life, if the session is established.
    pub fn keepalive(self: &Arc<Self>) {}

    /// Whether the last answer to a keepalive is older than `interval`.
    pub fn keepalive_expired(&self, _interval: Duration) -> bool {
        false
    }

    /// Whether a session was established since [`open`](Self::open).
    pub fn is_established(&self) -> bool {
        false
    }

    /// Who the peer is; `None` when closed.
    pub fn peer(&self) -> Option<EntityName> {
        self.shared.lock().target.as_ref().map(|target| target.name)
    }

    /// Where the peer is; `None` when closed.
    pub fn peer_addr(&self) -> Option<EntityAddr> {
        self.shared.lock().target.as_ref().map(|target| target.addr)
    }

    /// Features that the peer has; 0 before the session is established.
    pub fn peer_features(&self) -> u64 {
        0
    }

    /// What all connections of the client share.
    pub fn messenger(&self) -> &Arc<Messenger> {
        &self.msgr
    }

    /// What becomes of the session when its socket breaks.
    pub fn policy(&self) -> Policy {
        self.policy
    }
}

fn unlink(list: &mut List<Message>, msg: &Arc<Message>) -> bool {
    let mut cursor = list.cursor_front();
    while let Some(next) = cursor.peek_next() {
        if core::ptr::eq(&*next.arc(), &**msg) {
            next.remove();
            return true;
        }
        cursor.move_next();
    }
    false
}
