// SPDX-License-Identifier: GPL-2.0
//! What the owner of a connection, senders and the actor share: the queue, and the
//! destinations of replies.
use kernel::{
    list::{List, ListArc},
    new_spinlock,
    prelude::*,
    rbtree::{RBTree, RBTreeNode, RBTreeNodeReservation},
    sync::{
        atomic::{Atomic, Relaxed},
        lock::{spinlock::SpinLockBackend, Guard},
        SpinLock,
    },
    time::Jiffies,
};
use kernel_ext::iov::IovDest;

use ceph_proto::wire::types::{EntityAddr, EntityName};

use super::{message::Message, queue::Queue};

/// Who a connection is opened to, and for whom.
pub(super) struct Target<O> {
    pub(super) name: EntityName,
    pub(super) addr: EntityAddr,
    pub(super) ops: O,
}

/// Where the data of a reply goes.
pub(super) struct Posted {
    /// `CEPH_MSG_*` of the reply.
    pub(super) kind: u16,
    /// None while the reply is being received.
    pub(super) dest: Option<IovDest>,
}

/// Memory to post one destination with, taken before it is needed.
pub struct Reservation(RBTreeNodeReservation<u64, Posted>);

impl Reservation {
    /// Takes it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        Ok(Self(RBTreeNodeReservation::new(GFP_KERNEL)?))
    }
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The connection is closed, and the message is dropped.
    Closed,
    /// It is the only one in the queue, and no reply is awaited by a destination.
    Alone,
    /// There are others.
    Behind,
    /// A callback of the owner runs: who called it looks at the queue afterwards.
    Called,
}

/// See the module. `O` is how the owner is called, of which nothing is known here.
#[pin_data]
pub(super) struct Shared<O> {
    #[pin]
    state: SpinLock<State<O>>,
    /// Whether there may be something to send, so that the actor does not lock `state` in
    /// vain. Written with that lock held.
    pending: Atomic<u32>,
}

/// See the module.
pub(super) struct State<O> {
    /// Counts `open` and `close`; what the actor has of another generation is void.
    pub(super) generation: u64,
    pub(super) target: Option<Target<O>>,
    pub(super) queue: Queue,
    /// A keepalive was asked for.
    pub(super) keepalive: bool,
    /// When the last keepalive that was answered was sent, or the session established.
    pub(super) alive: Option<Jiffies>,
    pub(super) established: bool,
    pub(super) peer_features: u64,
    /// The thread that is in a callback of the owner.
    pub(super) calling: Option<i32>,
    /// Threads that wait for its end.
    pub(super) awaited: u32,
    /// Destinations of replies, by tid. They stay when the session ends, until they are
    /// revoked.
    posted: RBTree<u64, Posted>,
}

impl<O> State<O> {
    /// Takes the destination of the reply `tid`, whose data begins to come, if a message of
    /// this kind is that. It goes back by [`Self::give_back`], or ends by [`Self::unpost`].
    pub(super) fn lend(&mut self, tid: u64, kind: u16) -> Option<IovDest> {
        let posted = self.posted.get_mut(&tid)?;
        posted.dest.take_if(|_| posted.kind == kind)
    }

    /// The reply broke off: it may come again.
    pub(super) fn give_back(&mut self, tid: u64, dest: IovDest) {
        if let Some(posted) = self.posted.get_mut(&tid) {
            posted.dest = Some(dest);
        }
    }

    /// Whether the destination of a reply is posted, or lent since it was.
    pub(super) fn is_posted(&self, tid: u64) -> bool {
        self.posted.get(&tid).is_some()
    }

    /// The reply `tid` is complete if a message of this kind is that. Returns the destination
    /// if it was not lent.
    pub(super) fn complete(&mut self, tid: u64, kind: u16) -> Option<IovDest> {
        let entry = self.posted.find_mut(&tid)?;
        if entry.get().kind != kind {
            return None;
        }
        entry.remove().dest
    }

    /// Nobody waits for the reply `tid` any more. Returns the destination if it is not lent.
    pub(super) fn unpost(&mut self, tid: u64) -> Option<IovDest> {
        self.posted.remove(&tid)?.dest
    }

    /// Posts a destination. Returns one that was posted for the same reply, to be dropped
    /// without the lock.
    pub(super) fn post(
        &mut self,
        room: Reservation,
        tid: u64,
        posted: Posted,
    ) -> Option<RBTreeNode<u64, Posted>> {
        self.posted.insert(room.0.into_node(tid, posted))
    }
}

impl<O: Unpin> Shared<O> {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_spinlock!(
                State {
                    generation: 0,
                    target: None,
                    queue: Queue::new(),
                    keepalive: false,
                    alive: None,
                    established: false,
                    peer_features: 0,
                    calling: None,
                    awaited: 0,
                    posted: RBTree::new(),
                },
                "ceph::Connection::shared"
            ),
            pending: Atomic::new(0),
        })
    }

    pub(super) fn lock(&self) -> Guard<'_, State<O>, SpinLockBackend> {
        self.state.lock()
    }

    /// Whether there may be a message or a keepalive to send. Whoever puts one there wakes
    /// the actor afterwards.
    pub(super) fn has_work(&self) -> bool {
        self.pending.load(Relaxed) != 0
    }

    /// With the lock held, whether there is something to send.
    pub(super) fn set_work(&self, pending: bool) {
        self.pending.store(u32::from(pending), Relaxed);
    }

    /// The peer has received the messages up to `seq`. To be dropped without a lock.
    pub(super) fn acknowledge(&self, seq: u64) -> List<Message> {
        self.lock().queue.acknowledge(seq)
    }

    /// Queues a message, and posts where its reply goes.
    pub(super) fn push(
        &self,
        msg: ListArc<Message>,
        posted: Option<(Reservation, Posted)>,
    ) -> Pushed {
        let tid = msg.tid();
        let mut state = self.lock();
        let pushed = if state.calling.is_some() {
            Pushed::Called
        } else if state.queue.is_idle() && state.posted.is_empty() {
            Pushed::Alone
        } else {
            Pushed::Behind
        };
        let old = posted.map(|(room, posted)| state.post(room, tid, posted));
        let refused = match state.target {
            Some(_) => {
                state.queue.push(msg);
                self.set_work(true);
                None
            }
            None => Some(msg),
        };
        drop(state);
        drop(old);
        match refused {
            Some(_) => Pushed::Closed,
            None => pushed,
        }
    }
}

#[kunit_tests(ceph_messenger_shared)]
mod tests {
    use super::super::message::Parts;
    use super::*;
    use ceph_proto::wire::types::EntityType;
    use kernel::sync::Arc;

    const REPLY: u16 = 43;

    fn shared() -> Result<Arc<Shared<()>>> {
        Arc::pin_init(Shared::new(), GFP_KERNEL)
    }

    fn open(shared: &Shared<()>) {
        let (kind, num) = (EntityType::OSD, 1);
        shared.lock().target = Some(Target {
            name: EntityName { kind, num },
            addr: EntityAddr::BLANK,
            ops: (),
        });
    }

    fn post(shared: &Shared<()>, tid: u64, len: usize) -> Result {
        let posted = Posted {
            kind: REPLY,
            dest: Some(IovDest::with_len(len)?),
        };
        let room = Reservation::new()?;
        drop(shared.lock().post(room, tid, posted));
        Ok(())
    }

    fn message() -> Result<ListArc<Message>> {
        let msg = Message::new(Parts::default())?;
        ListArc::try_from_arc(msg).map_err(|_| EBUSY)
    }

    #[test]
    fn a_destination_is_for_one_reply() -> Result {
        let shared = shared()?;
        post(&shared, 7, 100)?;
        let mut state = shared.lock();
        // Neither for another reply, nor for anything else with that number.
        assert!(state.lend(8, REPLY).is_none());
        assert!(state.lend(7, REPLY + 1).is_none());
        assert!(state.complete(7, REPLY + 1).is_none());
        let dest = state.lend(7, REPLY).ok_or(EINVAL)?;
        assert!(state.lend(7, REPLY).is_none());
        // The reply broke off, and comes again.
        state.give_back(7, dest);
        let dest = state.lend(7, REPLY).ok_or(EINVAL)?;
        assert_eq!(dest.len(), 100);
        assert!(state.is_posted(7));
        // It is whole: the connection has the destination, and nothing more comes.
        assert!(state.complete(7, REPLY).is_none());
        assert!(!state.is_posted(7));
        drop(state);
        drop(dest);
        Ok(())
    }

    #[test]
    fn a_reply_without_data_gives_the_destination_back() -> Result {
        let shared = shared()?;
        post(&shared, 7, 100)?;
        post(&shared, 8, 100)?;
        let complete = shared.lock().complete(7, REPLY);
        assert!(complete.is_some());
        // Revoked before any reply, once.
        let revoked = shared.lock().unpost(8);
        assert!(revoked.is_some());
        assert!(shared.lock().unpost(8).is_none());
        Ok(())
    }

    #[test]
    fn who_is_alone_may_send() -> Result {
        let shared = shared()?;
        assert!(shared.push(message()?, None) == Pushed::Closed);
        assert!(!shared.has_work());
        open(&shared);
        assert!(shared.push(message()?, None) == Pushed::Alone);
        assert!(shared.has_work());
        assert!(shared.push(message()?, None) == Pushed::Behind);
        // A reply that is awaited means that there are others, too.
        let sent = shared.lock().queue.clear();
        drop(sent);
        post(&shared, 7, 100)?;
        assert!(shared.push(message()?, None) == Pushed::Behind);
        let sent = shared.lock().queue.clear();
        drop(sent);
        let done = shared.lock().unpost(7);
        drop(done);
        assert!(shared.push(message()?, None) == Pushed::Alone);
        // Who called the owner comes to look.
        shared.lock().calling = Some(1);
        assert!(shared.push(message()?, None) == Pushed::Called);
        let sent = shared.lock().queue.clear();
        drop(sent);
        Ok(())
    }
}
