// SPDX-License-Identifier: GPL-2.0
//! A request to the monitors while it is not answered. What it asks and what the answer is
//! made of is a [`MonRequest`]. One whose answer cannot be read fails with `EIO`: asked
//! again, the monitor would say the same.
use kernel::{prelude::*, sync::Arc};

use ceph_proto::errno;
use ceph_proto::wire::mon_request::MonRequest;

use crate::log::error;
use crate::messenger::{Header, Incoming, Message};
use crate::request::Request;

/// Logs why an answer cannot be read. Gives what the request fails with.
#[cold]
fn unreadable(name: &str, header: &Header, error: Error) -> Error {
    if error == ENOMEM {
        return error;
    }
    error!(
        "cannot read the answer of a monitor to {name}: message of type {}, version {}: {}\n",
        header.kind,
        header.version,
        error.to_errno()
    );
    EIO
}

/// A request that is not answered.
#[pin_data]
pub(super) struct GenericRequest<R: MonRequest> {
    #[pin]
    pub(super) request: Request<R::Reply>,
    pub(super) message: Arc<Message>,
}

/// A [`GenericRequest`] of any kind, as the tree has it.
pub(super) trait Pending: Send + Sync {
    /// What is sent; with the tid.
    fn message(&self) -> &Arc<Message>;
    /// Takes the reply. Completes the request, so no lock may be held that its callback
    /// takes.
    fn reply(&self, msg: &Incoming);
    /// Completes the request with an error, as [`reply`](Self::reply) does.
    fn fail(&self, error: Error);
}

impl<R: MonRequest> Pending for GenericRequest<R> {
    fn message(&self) -> &Arc<Message> {
        &self.message
    }

    fn reply(&self, msg: &Incoming) {
        let header = &msg.header;
        let answer = match header.kind == R::REPLY_KIND {
            true => header
                .check_compat(R::REPLY_VERSION)
                .and_then(|()| R::decode(&msg.front)),
            false => Err(errno::eproto()),
        };
        let answer = answer.map_err(|error| unreadable(R::NAME, header, error));
        self.request.complete(answer);
    }

    fn fail(&self, error: Error) {
        self.request.complete(Err(error));
    }
}

#[kunit_tests(ceph_mon_generic_request)]
mod tests {
    use super::*;
    use crate::messenger::Parts;
    use ceph_proto::wire::{
        mon::kind,
        mon_request::{Statfs, StatfsRequest},
    };
    use kernel_ext::wait::{Reason, WaitTable};

    fn answer(kind: u16, compat_version: u16, len: usize) -> Result<Result<Statfs>> {
        let waits = KBox::pin_init(WaitTable::new(), GFP_KERNEL)?;
        let message = Message::new(Parts::default())?;
        let request = Arc::pin_init(
            pin_init!(GenericRequest::<StatfsRequest> {
                request <- Request::new(1, Reason::default(), None, None),
                message,
            }),
            GFP_KERNEL,
        )?;
        let front = KVVec::from_elem(0, len, GFP_KERNEL)?;
        let header = Header {
            kind,
            tid: 1,
            seq: 1,
            priority: 0,
            version: 7,
            compat_version,
            data_off: 0,
            front_len: len,
            middle_len: 0,
            data_len: 0,
        };
        request.reply(&Incoming::of_test(header, front.into()));
        assert!(request.request.is_complete());
        Ok(request.request.wait(&waits))
    }

    #[test]
    fn each_answer_ends_the_request() -> Result {
        assert!(answer(kind::STATFS_REPLY, 1, 56)?.is_ok());
        // A newer server's.
        assert!(answer(kind::STATFS_REPLY, 1, 99)?.is_ok());
        assert!(answer(kind::STATFS_REPLY, 1, 55)? == Err(EIO));
        assert!(answer(kind::STATFS_REPLY, 2, 56)? == Err(EIO));
        assert!(answer(kind::MON_COMMAND_ACK, 1, 56)? == Err(EIO));
        Ok(())
    }
}
