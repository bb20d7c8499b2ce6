// SPDX-License-Identifier: GPL-2.0
//! What happens to sessions that the file system has to know of.
//!
//! The MDS client knows sessions, requests and maps; inodes, capabilities and
//! dentries are its owner's. The trait keeps the two apart, so that the request
//! and session logic can be read, and tested, without a VFS.
use kernel::{
    prelude::*,
    sync::Arc, //
};

use ceph_core::messenger::{
    Incoming,
    Parts, //
};
use ceph_fs_proto::wire::session::CapAuth;

use super::session::Session;

/// A session with what the file system `F` keeps for it.
pub(crate) type SessionOf<F> = Session<<F as MdsEvents>::SessionData>;

/// The file system above an [`MdsClient`](super::client::MdsClient).
///
/// What concerns one session is called from its connection's work, in the order of
/// the server's messages, with no lock of the MDS client held unless said so.
pub(crate) trait MdsEvents: Send + Sync + Sized + 'static {
    /// What the file system keeps for a session: its capabilities.
    type SessionData: Send + Sync + 'static;

    /// Makes the file system's part of a session.
    fn session_data() -> impl PinInit<Self::SessionData, Error>;

    /// CLIENT_CAPS, CLIENT_LEASE, CLIENT_SNAP or CLIENT_QUOTA came in.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, to get it once more; any other means that the message makes no sense.
    fn message(&self, session: &Arc<SessionOf<Self>>, msg: &Incoming) -> Result;

    /// A server tells what the client's own capability allows; nothing if it is older than that.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, to get it once more.
    fn granted(&self, grants: KVVec<CapAuth>) -> Result;

    /// The server wants the session to keep no more than `max_caps` capabilities.
    fn recall(&self, session: &Arc<SessionOf<Self>>, max_caps: u32);

    /// Send the capability releases that are pending.
    fn flush_releases(&self, session: &Arc<SessionOf<Self>>);

    /// Capabilities that had gone stale are good again.
    fn renewed(&self, session: &Arc<SessionOf<Self>>);

    /// The server takes no more changes.
    fn force_readonly(&self, session: &Arc<SessionOf<Self>>);

    /// The server of a rank refuses us, as the cluster has shut this client out. The
    /// session ends next.
    fn refused(self: &Arc<Self>, rank: u32);

    /// The session is over: all its capabilities are gone.
    fn session_closed(&self, session: &Arc<SessionOf<Self>>);

    /// The CLIENT_RECONNECT messages that tell a restarted server what this client
    /// has. Pending releases are dropped, as nothing of them is true any more.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSPC` if it does not fit into what the server takes.
    fn reconnect(&self, session: &Arc<SessionOf<Self>>) -> Result<KVec<Parts>>;

    /// The server has taken the reconnect, and serves again.
    fn reconnected(&self, session: &Arc<SessionOf<Self>>);

    /// Every few seconds: delayed releases, expired leases.
    fn tick(&self);
}
