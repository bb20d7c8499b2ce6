// SPDX-License-Identifier: GPL-2.0
//! Messages that are to be sent, or sent again.
use kernel::{
    list::{List, ListArc},
    prelude::*,
    sync::Arc,
};

use super::message::Message;

/// Messages of a session in the order of sending. No locks of its own.
pub(super) struct Queue {
    /// To be sent; those with a number were sent before, over another socket.
    waiting: List<Message>,
    /// Sent over this socket, not acknowledged; lossless sessions only.
    sent: List<Message>,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            waiting: List::new(),
            sent: List::new(),
        }
    }

    pub(super) fn push(&mut self, msg: ListArc<Message>) {
        self.waiting.push_back(msg);
    }

    /// Whether there is nothing that a socket would be needed for.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next message to send; with `keep`, it stays until it is acknowledged.
    pub(super) fn next(&mut self, keep: bool) -> Option<Arc<Message>> {
        let msg = self.waiting.pop_front()?;
        let arc = msg.clone_arc();
        if keep {
            self.sent.push_back(msg);
        }
        Some(arc)
    }

    /// The peer has received all messages up to `seq`. Returns them, to be dropped
    /// without a lock.
    pub(super) fn acknowledge(&mut self, seq: u64) -> List<Message> {
        Self::take_front(&mut self.sent, |msg| msg.seq() <= seq)
    }

    /// Before a fault, the peer had received all messages up to `seq`: as
    /// [`Self::acknowledge`] for messages that were to be sent again.
    pub(super) fn acknowledge_requeued(&mut self, seq: u64) -> List<Message> {
        Self::take_front(&mut self.waiting, |msg| msg.seq() != 0 && msg.seq() <= seq)
    }

    fn take_front(
        list: &mut List<Message>,
        mut belongs: impl FnMut(&Message) -> bool,
    ) -> List<Message> {
        let mut taken = List::new();
        while list.iter().next().is_some_and(|msg| belongs(&msg)) {
            if let Some(msg) = list.pop_front() {
                taken.push_back(msg);
            }
        }
        taken
    }

    /// The socket broke: what was not acknowledged is sent again, first.
    pub(super) fn requeue(&mut self) {
        let mut all = core::mem::take(&mut self.sent);
        all.push_all_back(&mut self.waiting);
        self.waiting = all;
    }

    /// Forgets all messages; returns them, to be dropped without a lock.
    pub(super) fn clear(&mut self) -> List<Message> {
        let mut all = core::mem::take(&mut self.sent);
        all.push_all_back(&mut self.waiting);
        all
    }

    /// Takes one message out, if it is here; to be dropped without a lock.
    pub(super) fn remove(&mut self, msg: &Arc<Message>) -> Option<ListArc<Message>> {
        Self::unlink(&mut self.waiting, msg).or_else(|| Self::unlink(&mut self.sent, msg))
    }

    fn unlink(list: &mut List<Message>, msg: &Arc<Message>) -> Option<ListArc<Message>> {
        let mut cursor = list.cursor_front();
        while let Some(next) = cursor.peek_next() {
            if core::ptr::eq::<Message>(&*next.arc(), &**msg) {
                return Some(next.remove());
            }
            cursor.move_next();
        }
        None
    }
}

#[kunit_tests(ceph_messenger_queue)]
mod tests {
    use super::super::message::Parts;
    use super::*;

    fn message(len: usize) -> Result<Arc<Message>> {
        Message::new(Parts {
            front: KVVec::from_elem(1, len, GFP_KERNEL)?,
            data: KVVec::from_elem(2, len, GFP_KERNEL)?.into(),
            ..Parts::default()
        })
    }

    fn push(queue: &mut Queue, msg: &Arc<Message>) -> Result {
        queue.push(ListArc::try_from_arc(msg.clone()).map_err(|_| EBUSY)?);
        Ok(())
    }

    #[test]
    fn unacknowledged_messages_are_sent_again_in_order() -> Result {
        let mut queue = Queue::new();
        let msgs = [message(1)?, message(1)?, message(1)?];
        for msg in &msgs {
            push(&mut queue, msg)?;
        }
        for (seq, msg) in (1..3).zip(&msgs) {
            let next = queue.next(true).ok_or(EINVAL)?;
            assert!(Arc::ptr_eq(&next, msg));
            next.set_seq(seq);
        }
        assert_eq!(queue.acknowledge(1).iter().count(), 1);
        queue.requeue();
        // The peer had received the second, too.
        assert_eq!(queue.acknowledge_requeued(2).iter().count(), 1);
        let next = queue.next(true).ok_or(EINVAL)?;
        assert!(Arc::ptr_eq(&next, &msgs[2]));
        assert!(queue.is_idle());
        assert_eq!(queue.clear().iter().count(), 1);
        Ok(())
    }

    #[test]
    fn a_message_is_in_one_queue() -> Result {
        let (mut one, mut other) = (Queue::new(), Queue::new());
        let msg = message(1)?;
        push(&mut one, &msg)?;
        assert!(push(&mut other, &msg).is_err());
        assert!(other.remove(&msg).is_none());
        assert!(one.remove(&msg).is_some());
        push(&mut other, &msg)?;
        assert!(other.next(false).is_some());
        push(&mut one, &msg)?;
        drop(one.clear());
        Ok(())
    }
}
