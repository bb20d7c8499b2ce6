// SPDX-License-Identifier: GPL-2.0
//! What the MDS client asks of the file system above it.
//!
//! The MDS client knows sessions, requests and maps; inodes, capabilities and
//! dentries are its owner's. The trait keeps the two apart, so that the request
//! and session logic can be read, and tested, without a VFS.
use kernel::{prelude::*, sync::Arc};

use ceph_core::messenger::{Incoming, Parts};
use ceph_fs_proto::{machine::route::RankHints, wire::reply::ClientReply};

use super::request::Spec;
use super::session::Session;

/// The file system above an [`MdsClient`](super::MdsClient).
///
/// What concerns one session is called from its connection's work, in the order of
/// the server's messages, with no lock of the MDS client held unless said so.
pub(crate) trait MdsHooks: Send + Sync + Sized + 'static {
    /// What a request is about: references that choosing a rank and filling in the
    /// reply need.
    type RequestTarget: Send + Sync;
    /// What a reply leaves for the task that asked.
    type Filled: Send + Unpin;
    /// What the file system keeps for a session: its capabilities.
    type SessionData: Send + Sync;

    /// Makes the file system's part of a session.
    fn session_data() -> impl PinInit<Self::SessionData, Error>;

    /// Says what is known of who serves a request. Called with the MDS client's state locked:
    /// it must not sleep nor call back.
    fn hints(&self, spec: &Spec<Self::RequestTarget>) -> RankHints;

    /// Takes in a reply: snap realms, inodes, capabilities. It never touches the
    /// dentry cache: that is for the task that asked.
    fn fill(
        &self,
        session: &Arc<Session<Self>>,
        spec: &Spec<Self::RequestTarget>,
        reply: &ClientReply<'_>,
    ) -> Result<Self::Filled>;

    /// CLIENT_CAPS, CLIENT_LEASE, CLIENT_SNAP or CLIENT_QUOTA came in.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, to get it once more; any other means that the message makes no sense.
    fn message(&self, session: &Arc<Session<Self>>, msg: &Incoming) -> Result;

    /// The server wants the session to keep no more than `max_caps` capabilities.
    fn recall(&self, session: &Arc<Session<Self>>, max_caps: u32);

    /// Send the capability releases that are pending.
    fn flush_releases(&self, session: &Arc<Session<Self>>);

    /// Capabilities that had gone stale are good again.
    fn renewed(&self, session: &Arc<Session<Self>>);

    /// The server takes no more changes.
    fn force_readonly(&self, session: &Arc<Session<Self>>);

    /// The server of a rank refuses us, as the cluster has shut this client out. The
    /// session ends next.
    fn refused(self: &Arc<Self>, rank: u32);

    /// The session is over: all its capabilities are gone.
    fn session_closed(&self, session: &Arc<Session<Self>>);

    /// The CLIENT_RECONNECT messages that tell a restarted server what this client
    /// holds. Pending releases are dropped, as nothing of them is true any more.
    fn reconnect(&self, session: &Arc<Session<Self>>) -> Result<KVec<Parts>>;

    /// The server has taken the reconnect, and serves again.
    fn reconnected(&self, session: &Arc<Session<Self>>);

    /// Every few seconds: delayed releases, expired leases.
    fn tick(&self);
}
