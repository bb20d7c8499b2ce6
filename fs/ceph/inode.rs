// SPDX-License-Identifier: GPL-2.0
//! What the file system keeps for an inode and for a dentry.
//!
//! [`InodeInfo`] has one spin lock for all that servers say of an inode: its
//! capabilities ([`CapSet`]) and the attributes that they vouch for. What the VFS
//! reads without a lock (mode, size, times) is written with that lock held. Inside
//! of it only `Session::inner` and `SessionCaps::list` are taken.
use kernel::{
    new_spinlock,
    prelude::*,
    str::{CStr, CString},
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        Arc, SetOnce, SpinLock,
    },
    time::Jiffies,
};
use kernel_ext::{
    fs::{
        dentry::DentryData,
        inode::{InodeData, Uncounted},
    },
    new_wait_queue, time,
    wait::WaitQueue,
};

use ceph_fs_proto::{
    machine::caps::{CapSet, Issuer, Mode},
    wire::{
        cap_bits::Caps,
        dir_hash::DirHash,
        frag::{Frag, FragTree},
        layout::FileLayout,
        msg::Vino,
        quota::Quota,
    },
};
use ceph_proto::wire::types::Timespec;

use crate::{fs_client::FsClient, mds_client, super_block::CephFs};

/// A session as the file system has it.
pub(crate) type Session = mds_client::Session<FsClient>;

/// A session in the role of a capability's issuer.
#[derive(Clone)]
pub(crate) struct SessionRef {
    /// The session.
    pub session: Arc<Session>,
    /// The capability's place in the session's list.
    pub stamp: u64,
}

impl Issuer for SessionRef {
    fn rank(&self) -> u32 {
        self.session.rank
    }

    fn validity(&self) -> (u32, bool) {
        self.session.cap_validity()
    }
}

/// Statistics of a directory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DirStats {
    /// Files in it.
    pub files: u64,
    /// Directories in it.
    pub subdirs: u64,
    /// Bytes below it.
    pub rbytes: u64,
    /// Files below it.
    pub rfiles: u64,
    /// Directories below it.
    pub rsubdirs: u64,
    /// Newest change below it.
    pub rctime: Timespec,
}

/// What servers say of an inode, under its lock.
pub(crate) struct State {
    /// Capabilities.
    pub caps: CapSet<SessionRef>,
    /// Version of the attributes; 0 before the first.
    pub version: u64,
    /// Counts truncations.
    pub truncate_seq: u32,
    /// Size at the last truncation.
    pub truncate_size: u64,
    /// Counts explicit changes of the times.
    pub time_warp_seq: u32,
    /// Counts changes.
    pub change_attr: u64,
    /// How a file is cut into objects.
    pub layout: FileLayout,
    /// RADOS namespace of the objects.
    pub pool_ns: Option<Arc<KVec<u8>>>,
    /// Birth time.
    pub btime: Timespec,
    /// When the snapshot was taken.
    pub snap_btime: Timespec,
    /// Snap realm.
    pub realm: u64,
    /// Statistics of a directory.
    pub dir: DirStats,
    /// Limits of a directory.
    pub quota: Quota,
    /// Hash of a directory's names.
    pub dir_hash: DirHash,
    /// How a directory is split.
    pub frag_tree: FragTree,
    /// Fragments with an authoritative rank of their own.
    pub delegations: KVec<(Frag, u32)>,
    /// The page cache may hold what another client has overwritten: no reader may
    /// use it until it has been emptied.
    pub cache_doubtful: bool,
    /// Content kept with the inode; read from the server when it is wanted.
    pub has_inline_data: bool,
}

/// What the file system keeps for an inode.
#[pin_data]
pub(crate) struct InodeInfo {
    #[pin]
    state: SpinLock<State>,
    /// Woken when capabilities change.
    #[pin]
    pub(crate) changed: WaitQueue,
    symlink: SetOnce<CString>,
    /// Raised when Fs is issued anew: names known before that may have changed.
    shared_gen: Atomic<u32>,
    /// Raised when a name may be missing from the dentry cache.
    release_count: Atomic<u64>,
    /// Raised when the order of names may have changed.
    ordered_count: Atomic<u64>,
    /// `release_count` of when all names were known; 0 for never.
    complete: Atomic<u64>,
    /// `ordered_count` of when all names were known.
    complete_ordered: Atomic<u64>,
}

impl InodeData for InodeInfo {
    type Key = Vino;

    fn hash(key: &Vino) -> u64 {
        key.ino ^ key.snap.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn ino(key: &Vino) -> u64 {
        key.ino
    }

    fn init() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            state <- new_spinlock!(
                State {
                    caps: CapSet::new(),
                    version: 0,
                    truncate_seq: 0,
                    truncate_size: 0,
                    time_warp_seq: 0,
                    change_attr: 0,
                    layout: FileLayout::NONE,
                    pool_ns: None,
                    btime: Timespec::default(),
                    snap_btime: Timespec::default(),
                    realm: 0,
                    dir: DirStats::default(),
                    quota: Quota::default(),
                    dir_hash: DirHash::RJENKINS,
                    frag_tree: FragTree::new(),
                    delegations: KVec::new(),
                    cache_doubtful: false,
                    has_inline_data: false,
                },
                "ceph::InodeInfo::state"
            ),
            changed <- new_wait_queue!("ceph::InodeInfo::changed"),
            symlink: SetOnce::new(),
            shared_gen: Atomic::new(1),
            release_count: Atomic::new(1),
            ordered_count: Atomic::new(1),
            complete: Atomic::new(0),
            complete_ordered: Atomic::new(0),
        }? Error)
    }
}

impl InodeInfo {
    /// What servers say. A spin lock: RCU walk may take it.
    pub(crate) fn state(&self) -> kernel::sync::lock::spinlock::SpinLockGuard<'_, State> {
        self.state.lock()
    }

    /// Whether all capability bits of the mask may be used now.
    pub(crate) fn has_caps(&self, mask: Caps) -> bool {
        self.state().caps.has(mask)
    }

    /// How the file is cut into objects, and their RADOS namespace.
    pub(crate) fn layout(&self) -> (FileLayout, Option<Arc<KVec<u8>>>) {
        let state = self.state();
        (state.layout, state.pool_ns.clone())
    }

    /// Count of truncations, and the size at the last: what a read tells the OSD.
    pub(crate) fn truncation(&self) -> (u32, u64) {
        let state = self.state();
        (state.truncate_seq, state.truncate_size)
    }

    /// Birth time.
    pub(crate) fn btime(&self) -> Timespec {
        self.state().btime
    }

    /// Count of changes.
    pub(crate) fn change_attr(&self) -> u64 {
        self.state().change_attr
    }

    /// Statistics of a directory.
    pub(crate) fn dir_stats(&self) -> DirStats {
        self.state().dir
    }

    /// Whether content is kept with the inode.
    pub(crate) fn has_inline_data(&self) -> bool {
        self.state().has_inline_data
    }

    /// Target of a symbolic link. Never changes.
    pub(crate) fn symlink(&self) -> Option<&CStr> {
        self.symlink.as_ref().map(|target| &**target)
    }

    pub(crate) fn set_symlink(&self, target: CString) {
        // Whoever was first has set the same.
        self.symlink.populate(target);
    }

    // ----- directories -----

    /// Hash of a name in this directory.
    pub(crate) fn name_hash(&self, name: &[u8]) -> u32 {
        let hash = self.state().dir_hash;
        hash.hash(name)
    }

    /// The fragment that a hash value belongs to.
    pub(crate) fn choose_frag(&self, value: u32) -> Frag {
        self.state().frag_tree.choose(value)
    }

    /// The generation of Fs: names that were learned under it are good as long as it
    /// lasts and Fs is issued.
    pub(crate) fn shared_gen(&self) -> u32 {
        self.shared_gen.load(Acquire)
    }

    /// What to give to [`Self::set_complete`] after all names were listed; to be
    /// taken before the listing begins.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (
            self.release_count.load(Acquire),
            self.ordered_count.load(Acquire),
        )
    }

    /// All names are in the dentry cache, if none was dropped since `counts`.
    pub(crate) fn set_complete(&self, counts: (u64, u64)) {
        self.complete_ordered.store(counts.1, Relaxed);
        self.complete.store(counts.0, Release);
    }

    /// A name was dropped from the dentry cache, or may have come to be elsewhere.
    pub(crate) fn clear_complete(&self) {
        self.release_count.fetch_add(1, Release);
    }

    /// Whether a name that is not in the dentry cache does not exist.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Acquire) == self.release_count.load(Acquire)
            && self.has_caps(Caps::FILE_SHARED)
    }

    pub(crate) fn raise_shared_gen(&self) {
        self.shared_gen.fetch_add(1, Release);
    }

    // ----- open files -----

    /// A file was opened. To be matched by [`FsClient::closed`].
    pub(crate) fn opened(&self, mode: Mode) {
        self.state().caps.open(mode);
    }
}

/// The capability bits that an inode's type has pages under.
pub(crate) fn has_pages(inode: &Uncounted<CephFs>) -> bool {
    use kernel_ext::fs::inode::mode;
    inode.mode() & mode::TYPE_MASK == mode::REGULAR && inode.nr_pages() > 0
}

/// A lease on a name, as a reply gives it. The task that asked puts it into the
/// dentry ([`DentryInfo::set_lease`]).
pub(crate) struct Lease {
    pub(crate) session: Option<Arc<Session>>,
    pub(crate) gen: u32,
    pub(crate) revokes: u32,
    pub(crate) seq: u32,
    pub(crate) until: Jiffies,
    pub(crate) dir_shared_gen: u32,
}

struct Held {
    lease: Option<Lease>,
    dir_shared_gen: u32,
    offset: i64,
}

/// What the file system keeps for a dentry.
#[pin_data]
pub(crate) struct DentryInfo {
    #[pin]
    held: SpinLock<Held>,
}

impl DentryData for DentryInfo {
    fn init() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            held <- new_spinlock!(
                Held {
                    lease: None,
                    dir_shared_gen: 0,
                    offset: 0,
                },
                "ceph::DentryInfo::held"
            ),
        }? Error)
    }
}

impl DentryInfo {
    /// Takes note of what a reply says of the name. The dentry is in the tree.
    ///
    /// A lease that was revoked since the reply is not taken: the server sent the
    /// revocation after the reply, but it was handled before the dentry was found.
    pub(crate) fn set_lease(&self, lease: Lease) {
        let mut held = self.held.lock();
        held.dir_shared_gen = lease.dir_shared_gen;
        let good = lease
            .session
            .as_ref()
            .is_some_and(|s| s.data.revokes() == lease.revokes);
        let old = if good {
            held.lease.replace(lease)
        } else {
            held.lease.take()
        };
        drop(held);
        drop(old);
    }

    /// Notes that the name was found not to exist, or to exist, under a generation
    /// of the directory's Fs.
    pub(crate) fn set_dir_gen(&self, shared_gen: u32) {
        self.held.lock().dir_shared_gen = shared_gen;
    }

    /// Whether the name can be trusted: by a lease, or because nothing in the
    /// directory can have changed. RCU walk may ask.
    pub(crate) fn is_valid(&self, dir: &InodeInfo) -> bool {
        self.lease_is_valid() || self.dir_is_valid(dir)
    }

    /// Whether it pays to keep the name though nobody uses it. Takes no lock of the
    /// directory: the VFS asks with `d_lock` held, which is inside of that.
    pub(crate) fn may_be_valid(&self, dir: &InodeInfo) -> bool {
        self.lease_is_valid() || self.held.lock().dir_shared_gen == dir.shared_gen()
    }

    fn lease_is_valid(&self) -> bool {
        let held = self.held.lock();
        let Some(lease) = &held.lease else {
            return false;
        };
        let Some(session) = &lease.session else {
            return false;
        };
        let (gen, good) = session.cap_validity();
        good && gen == lease.gen && !time::reached(lease.until)
    }

    fn dir_is_valid(&self, dir: &InodeInfo) -> bool {
        let gen = self.held.lock().dir_shared_gen;
        gen == dir.shared_gen() && dir.has_caps(Caps::FILE_SHARED)
    }

    /// The server ends the lease; the version that the acknowledgement has to name.
    pub(crate) fn revoke_lease(&self, session: &Arc<Session>, seq: u32) -> u32 {
        let mut held = self.held.lock();
        let ours = held.lease.as_ref().filter(|lease| {
            let issuer = lease.session.as_ref();
            issuer.is_some_and(|s| Arc::ptr_eq(s, session))
        });
        let Some(lease) = ours else { return seq };
        let newer = ceph_fs_proto::wire::msg::seq_newer(lease.seq, seq);
        let seq = if newer { lease.seq } else { seq };
        let old = held.lease.take();
        drop(held);
        drop(old);
        seq
    }

    /// For `d_release`: what is kept until the end of RCU walks holds nothing.
    pub(crate) fn forget(&self) {
        let old = self.held.lock().lease.take();
        drop(old);
    }

    /// Sets the place of the name in a listing.
    pub(crate) fn set_offset(&self, offset: i64) {
        self.held.lock().offset = offset;
    }
}
