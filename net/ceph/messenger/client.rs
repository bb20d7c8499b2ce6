// SPDX-License-Identifier: GPL-2.0
//! What the connections of a client share: who it is, and what it has room for.
use core::net::{IpAddr, SocketAddr};
use kernel::{new_spinlock, prelude::*, sync::Arc, sync::SpinLock};
use kernel_ext::{global::Global, net::Net, random, workqueue::OwnedQueue};

pub use ceph_proto::machine::protocol::Version;
use ceph_proto::wire::types::{AddrType, EntityAddr, EntityName, EntityType};

use super::budget::Budget;

/// Features that this client knows: those of the C client
/// (`CEPH_FEATURES_SUPPORTED_DEFAULT`), and those of the releases after Nautilus up to
/// Tentacle: `pg_upmap_primary` (31), MSR rules of CRUSH (38), and the order of `pg_temp` in
/// pools with `allow_ec_optimizations` (50).
pub const FEATURES_SUPPORTED: u64 = features(&[
    1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 15, 16, 18, 20, 21, 23, 25, 27, 28, 29, 30, 31, 33, 35, 36, 37,
    38, 39, 40, 41, 42, 43, 47, 48, 49, 50, 56, 57, 58, 59, 61,
]);
/// `CEPH_FEATURE_MSG_AUTH`.
pub const FEATURE_MSG_AUTH: u64 = features(&[23]);

/// A mask of feature bits. Every bit but 1 (`NOSRCADDR`), which is older, means
/// something only together with the incarnation bits of its release.
const fn features(bits: &[u32]) -> u64 {
    let mut mask = 0;
    let mut i = 0;
    while i < bits.len() {
        mask |= 1 << bits[i];
        i += 1;
    }
    mask
}

/// The work queue of all connections; the module owns it. It serves reclaim.
pub(crate) static QUEUE: Global<Arc<OwnedQueue>> = Global::new();

/// Tells a client from others at the same address.
fn new_nonce() -> u32 {
    random::u32().max(1)
}

/// What a [`Messenger`] is told by the mount options.
pub struct Config {
    /// Address to show to servers; if `None`, the one that the first monitor sees.
    pub ip: Option<IpAddr>,
    /// Whether data is checksummed on receipt (all but `nocrc`).
    pub verify_data: bool,
    /// Whether sockets send small segments at once (all but `notcp_nodelay`).
    pub nodelay: bool,
    /// Features that a server must have.
    pub required: u64,
    /// What is spoken with all servers.
    pub version: Version,
}

/// What the connections of a client share.
#[pin_data]
pub struct Messenger {
    pub(super) config: Config,
    pub(super) net: Net,
    /// [`QUEUE`].
    pub(super) queue: Arc<OwnedQueue>,
    /// For what is received.
    pub(super) budget: Arc<Budget>,
    /// Innermost lock; nothing is called with it held.
    #[pin]
    state: SpinLock<State>,
}

struct State {
    addr: EntityAddr,
    global_id: u64,
    global_seq: u64,
    /// Features that we lack and that the log has told of.
    missing: u64,
}

impl Messenger {
    /// Makes a messenger in the network namespace of the calling task.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENODEV` when the module is being removed.
    pub fn new(config: Config) -> Result<Arc<Self>> {
        let queue = QUEUE.get().ok_or(ENODEV)?;
        let addr = EntityAddr {
            kind: AddrType::ANY,
            nonce: new_nonce(),
            sock: config.ip.map(|ip| SocketAddr::new(ip, 0)),
        };
        Arc::pin_init(
            try_pin_init!(Self {
                config,
                net: Net::current(),
                queue,
                budget: Budget::new()?,
                state <- new_spinlock!(
                    State {
                        addr,
                        global_id: 0,
                        global_seq: 0,
                        missing: 0,
                    },
                    "ceph::Messenger::state"
                ),
            }),
            GFP_KERNEL,
        )
    }

    /// Waits until no work of a connection runs. When all connections are closed,
    /// none of this messenger's will run again. To be called before the module that
    /// implements [`ConnectionOps`] may go.
    pub fn flush(&self) {
        self.queue.flush();
    }

    /// Whether msgr1 is spoken, not msgr2.
    pub fn is_msgr1(&self) -> bool {
        self.config.version != Version::V2
    }

    /// Which of the addresses of a server is connected to.
    pub fn addr_kind(&self) -> AddrType {
        match self.config.version {
            Version::V1 { .. } => AddrType::LEGACY,
            Version::V2 => AddrType::MSGR2,
        }
    }

    /// The network namespace of all sockets.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// The client's address, blank until a peer told what it looks like.
    pub fn addr(&self) -> EntityAddr {
        self.state.lock().addr
    }

    /// The client's name: `client` and its global id, 0 before it has one.
    pub fn name(&self) -> EntityName {
        EntityName {
            kind: EntityType::CLIENT,
            num: self.state.lock().global_id,
        }
    }

    /// Says what global id the monitors gave.
    pub fn set_global_id(&self, global_id: u64) {
        self.state.lock().global_id = global_id;
    }

    /// Takes another nonce, which makes this a client that no server has heard of.
    /// Sessions that are open keep the old one.
    pub(crate) fn renew_nonce(&self) {
        let nonce = new_nonce();
        self.state.lock().addr.nonce = nonce;
    }

    /// Takes over the address that a peer sees if there is none yet.
    pub(super) fn learn_addr(&self, seen: &EntityAddr) {
        let mut state = self.state.lock();
        if state.addr.is_blank() {
            if let Some(sock) = seen.sock {
                state.addr.sock = Some(SocketAddr::new(sock.ip(), 0));
            }
        }
    }

    /// A peer requires features that we lack. Returns whether some of them are news.
    pub(super) fn tell_missing(&self, missing: u64) -> bool {
        let mut state = self.state.lock();
        let news = missing & !state.missing != 0;
        state.missing |= missing;
        news
    }

    /// A number for a connection attempt, larger than all before and than `above`.
    pub(super) fn next_global_seq(&self, above: u64) -> u64 {
        let mut state = self.state.lock();
        state.global_seq = state.global_seq.max(above).saturating_add(1);
        state.global_seq
    }
}
