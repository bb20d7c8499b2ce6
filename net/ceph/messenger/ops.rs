// SPDX-License-Identifier: GPL-2.0
//! What a connection asks of its owner.
use kernel::{prelude::*, sync::Arc};
use kernel_ext::iov::IovDest;

pub use ceph_proto::wire::msgr2::{AuthBadMethod, AuthRequest, CON_MODE_CRC, CON_MODE_SECURE};
use ceph_proto::wire::secret::Secret;

use super::{
    connection::Connection,
    message::{Header, Incoming},
};

/// What to do with a message that is about to be read.
pub enum Alloc {
    /// Read it and throw it away; it counts as received.
    Skip,
    /// Read it into memory of the messenger's own, data too.
    Accept,
    /// Read its data straight into this destination, which is lent until the
    /// message is dispatched, [`ConnectionOps::returned`] is called, or
    /// [`Connection::revoke_incoming`] or [`Connection::close`] returns it. Data
    /// that does not fit is a fault of the connection.
    Fill(IovDest),
}

/// Outcome of an authentication.
pub struct AuthKeys {
    /// Key that signs the handshake; empty for a method without keys.
    pub session_key: Secret,
    /// Secret for encryption of the connection; empty in crc mode.
    pub con_secret: Secret,
}

/// Why a connection broke.
#[derive(Clone, Copy, Debug)]
pub struct Broken {
    /// The errno.
    pub error: Error,
    /// In words.
    pub why: &'static str,
    /// Features that the peer requires and the client lacks; 0 if that is not the reason.
    pub missing: u64,
}

/// The owner of a connection: a session with one daemon.
///
/// All methods are called from the connection's work item, one at a time, in
/// process context, with no lock of the messenger held; they may sleep, and may
/// call any method of the connection. They must not wait for a message of the same
/// connection, and allocations in them are implicitly `GFP_NOIO`.
///
/// The connection holds its owner from [`Connection::open`] to
/// [`Connection::close`].
pub trait ConnectionOps: Send + Sync {
    /// A message with this head, which has data, is about to be read. What `alloc_msg` is
    /// not prepared for, it skips. Messages without data are read anyway.
    fn alloc_msg(&self, con: &Arc<Connection>, header: &Header) -> Alloc;

    /// A message came in, perhaps of a kind that the owner does not know and ignores.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there was no memory to take the message in; the connection breaks, and
    /// a lossless one gets it once more. Any other: the message makes no sense; the
    /// connection is reset, and the message counts as received. The owner has logged it.
    fn dispatch(&self, con: &Arc<Connection>, msg: Incoming) -> Result;

    /// The connection broke before the message with this `tid` was complete: the
    /// destination that was lent for it comes back, filled in part or not at all.
    fn returned(&self, _con: &Arc<Connection>, _tid: u64, _dest: IovDest) {}

    /// The connection broke. A lossless one, or one that was never established,
    /// tries again by itself; a lossy one that was established has lost its
    /// messages and is closed until it is opened again.
    fn fault(&self, _con: &Arc<Connection>, _broken: &Broken) {}

    /// The session is open: the peer has said who it is, and takes messages. Comes again
    /// each time that a lossless session goes on over another socket.
    fn established(&self, _con: &Arc<Connection>) {}

    /// The peer has forgotten the session (lossless connections only), and a new one is
    /// established. What was queued when the peer said so is gone. Another daemon that
    /// answers at the peer's address, which has never known the session, does not
    /// get as far as this.
    fn peer_reset(&self, _con: &Arc<Connection>) {}

    /// How to authenticate, and which connection modes are acceptable.
    ///
    /// # Errors
    ///
    /// An error here and below is a fault of the connection.
    fn auth_request(&self, con: &Arc<Connection>) -> Result<AuthRequest>;

    /// The peer has something to say before it decides; the answer is sent back.
    fn auth_more(&self, con: &Arc<Connection>, payload: &[u8]) -> Result<KVVec<u8>>;

    /// The peer is content. `con_mode` is one of the modes that were asked for.
    fn auth_done(
        &self,
        con: &Arc<Connection>,
        global_id: u64,
        con_mode: u32,
        payload: &[u8],
    ) -> Result<AuthKeys>;

    /// The peer refuses the method or the modes. If this returns `Ok`,
    /// [`auth_request`](Self::auth_request) is asked again at once; return an error
    /// if there is nothing else to try.
    fn auth_bad_method(&self, con: &Arc<Connection>, bad: &AuthBadMethod) -> Result;
}
