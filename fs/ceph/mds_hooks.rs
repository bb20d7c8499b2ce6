// SPDX-License-Identifier: GPL-2.0
//! What the MDS client asks of the file system.
use kernel::{
    prelude::*,
    sync::Arc, //
};

use ceph_core::messenger::{
    Incoming,
    Parts, //
};
use ceph_fs_proto::{
    machine::{
        caps::Issuer,
        route::RankHints, //
    },
    wire::{
        msg::{
            CLIENT_CAPS,
            CLIENT_LEASE,
            CLIENT_QUOTA,
            CLIENT_SNAP, //
        },
        reply::ClientReply,
        request::{
            Args,
            Op, //
        },
    },
};

use crate::{
    caps::session_caps::SessionCaps,
    fs_client::{
        FsClient,
        Session, //
    },
    mds_client::{
        MdsHooks,
        OwnedPath,
        Reply,
        Spec, //
    },
    trace::{
        RequestTarget,
        Trace, //
    },
};

impl FsClient {
    /// Asks a metadata server about `path`, killable. The server's errors are errors.
    pub(crate) fn request(
        &self,
        op: Op,
        args: Args,
        path: OwnedPath,
        target: RequestTarget,
    ) -> Result<Trace> {
        let reply: Reply<Trace> = self.mdsc.do_request(Spec {
            op,
            args,
            path1: path,
            path2: OwnedPath::default(),
            want_dentry: false,
            caller: Self::caller()?,
            target,
            timeout: None,
        })?;
        if reply.result < 0 {
            return Err(Error::from_errno(reply.result));
        }
        Ok(reply.filled)
    }
}

impl MdsHooks for FsClient {
    type RequestTarget = RequestTarget;
    type Filled = Trace;
    type SessionData = SessionCaps;

    fn session_data() -> impl PinInit<SessionCaps, Error> {
        SessionCaps::new()
    }

    fn hints(&self, spec: &Spec<RequestTarget>) -> RankHints {
        let target = &spec.target;
        let Some(inode) = &target.inode else {
            return RankHints::default();
        };
        let info = inode.data();
        let state = info.state();
        // The fragment, or that of the name, may have a rank of its own. Few have, so the
        // name is not hashed before there is one.
        let delegated = if state.delegations.is_empty() {
            None
        } else {
            let name = &spec.path1.path;
            let of_name = || state.frag_tree.choose(state.dir_hash.hash(name));
            let hashed = (!name.is_empty()).then(of_name);
            let frag = target.frag.or(hashed);
            let mut delegations = state.delegations.iter();
            delegations.find(|(of, _)| Some(*of) == frag)
        };
        let cap = state.caps.auth().or_else(|| state.caps.caps().next());
        RankHints {
            resend: None,
            frag_auth: delegated.map(|(_, rank)| *rank),
            issuer: cap.map(|cap| cap.issuer().rank()),
        }
    }

    fn fill(
        &self,
        session: &Arc<Session>,
        spec: &Spec<RequestTarget>,
        reply: &ClientReply<'_>,
    ) -> Result<Trace> {
        self.take_reply(session, spec, reply)
    }

    fn message(&self, session: &Arc<Session>, msg: &Incoming) -> Result {
        match msg.header.kind {
            CLIENT_CAPS => self.caps_message(session, msg),
            CLIENT_LEASE => self.lease_message(session, msg),
            CLIENT_SNAP => self.snap_message(msg),
            CLIENT_QUOTA => self.quota_message(msg),
            _ => Ok(()),
        }
    }

    fn recall(&self, session: &Arc<Session>, max_caps: u32) {
        self.trim_caps(session, max_caps);
    }

    fn flush_releases(&self, session: &Arc<Session>) {
        self.send_releases(session);
    }

    fn renewed(&self, session: &Arc<Session>) {
        self.session_renewed(session);
    }

    fn force_readonly(&self, session: &Arc<Session>) {
        self.wake_session(session);
    }

    fn refused(self: &Arc<Self>, rank: u32) {
        self.shut_out(format_args!("mds{rank}"));
    }

    fn session_closed(&self, session: &Arc<Session>) {
        self.drop_session_caps(session);
    }

    fn reconnect(&self, session: &Arc<Session>) -> Result<KVec<Parts>> {
        self.reconnect_parts(session)
    }

    fn reconnected(&self, session: &Arc<Session>) {
        self.wake_session(session);
    }

    fn tick(&self) {
        self.recover_if_shut_out();
        self.look_at_delayed();
        self.forget_realms();
    }
}
