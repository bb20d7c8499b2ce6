// SPDX-License-Identifier: GPL-2.0
//! CLIENT_REPLY and CLIENT_REQUEST_FORWARD.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::pr_warn_ratelimited;

use ceph_core::messenger::Incoming;
use ceph_fs_proto::{
    machine::request::{
        Reply,
        RequestState, //
    },
    wire::{
        msg::is_understood,
        reply::{
            ClientReply,
            Forward, //
        },
    },
};

use super::{
    client::MdsClient,
    events::{
        MdsEvents,
        SessionOf, //
    },
};

impl<F: MdsEvents> MdsClient<F> {
    pub(super) fn reply(self: &Arc<Self>, session: &Arc<SessionOf<F>>, msg: &Incoming) -> Result {
        let request = {
            let state = self.state.lock();
            let request = state.requests.get(&msg.header.tid);
            request.filter(|_| state.is_current(session)).cloned()
        };
        let (Some(request), Some(fs)) = (request, self.fs()) else {
            return Ok(());
        };
        let rank = session.rank;
        match request.progress().lock().life.state() {
            RequestState::Sent(asked) | RequestState::Unsafe(asked) if asked == rank => {}
            _ => return Ok(()),
        }
        let decoded = is_understood(msg.header.kind, msg.header.compat_version)
            .and_then(|_| ClientReply::decode(&msg.front, request.op()));
        let reply = match decoded {
            Ok(reply) => reply,
            Err(e) => {
                self.fail(&*request, EIO);
                return Err(e);
            }
        };
        let replied = {
            let mut progress = request.progress().lock();
            progress.life.replied(rank, reply.is_safe)
        };
        match replied {
            Reply::Stale => Ok(()),
            Reply::Answer => {
                let mut forget = || {
                    if reply.is_safe {
                        self.forget(&*request);
                    }
                };
                request.take(&fs, session, &reply, &mut forget)
            }
            Reply::Commit => {
                self.forget(&*request);
                Ok(())
            }
        }
    }

    pub(super) fn forward(self: &Arc<Self>, session: &Arc<SessionOf<F>>, msg: &Incoming) -> Result {
        let forward = Forward::decode(&msg.front)?;
        let Some(request) = self.request(msg.header.tid) else {
            return Ok(());
        };
        let forwarded = {
            let mut progress = request.progress().lock();
            let (to, count) = (forward.rank, forward.num_fwd);
            progress.life.forwarded(session.rank, to, count)
        };
        match forwarded {
            Ok(next) => self.follow(&request, next),
            Err(e) => {
                pr_warn_ratelimited!(
                    "mds{} forwards tid {} to mds{} for the time {}, which is no more than before\n",
                    session.rank,
                    request.tid(),
                    forward.rank,
                    forward.num_fwd
                );
                self.fail(&*request, e);
            }
        }
        Ok(())
    }
}
