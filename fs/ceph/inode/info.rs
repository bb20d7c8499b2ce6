// SPDX-License-Identifier: GPL-2.0
//! What the file system keeps for an inode.
//!
//! [`InodeInfo`] has one spin lock for all that servers say of an inode: its
//! capabilities ([`CapSet`]) and the attributes that they vouch for. What the VFS
//! reads without a lock (mode, size, times) is written with that lock held. Inside
//! of it only `Session::inner` and `SessionCaps::list` are taken.
//!
//! # Asking without the lock
//!
//! Path walks ask for each component whether a capability is issued, so what is issued
//! is kept beside the lock too ([`Issued`]). Whoever may change it, which is whoever
//! borrows the state mutably, withdraws it first; who has found out anew, with the lock
//! held, or knows that none of it was lost, puts it back. So it is never more than what is
//! issued.
//!
//! # Names
//!
//! A directory remembers what its last listing gave, from the start to the end. All these
//! names are in the dentry cache too. Nothing of that can change while Fs is issued, so it
//! is *complete*: readdir is served from memory, and a name that is not in the dentry
//! cache does not exist. It ends with Fs, and when a name is dropped from the dentry cache:
//! both raise a count, which has to be the same in the end as when the listing began.
use core::ops::{
    Deref,
    DerefMut, //
};
use kernel::{
    new_spinlock,
    prelude::*,
    str::{
        CStr,
        CString, //
    },
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        lock::spinlock::SpinLockGuard,
        Arc,
        SetOnce,
        SpinLock, //
    },
    time::Jiffies, //
};
use kernel_ext::{
    fs::inode::{
        mode,
        InodeData,
        Uncounted, //
    },
    new_wait_queue,
    time,
    wait::WaitQueue, //
};

use ceph_fs_proto::{
    machine::{
        caps::{
            CapSet,
            Change,
            Issuer, //
        },
        listing::Listing,
        refs::Mode,
        registry::Slot,
        route::FragAuths, //
    },
    wire::{
        cap_bits::Caps,
        dir_hash::DirHash,
        frag::{
            Frag,
            FragTree, //
        },
        inode_stat::InodeStat,
        layout::FileLayout,
        msg::Vino, //
    },
};
use ceph_proto::wire::types::Timespec;

use crate::{
    caps::stale_pages::StalePages,
    fs_client::Session,
    fs_type::CephFs,
    inode::{
        issued::{
            Issued,
            Published, //
        },
        names::Names,
        xattrs::KnownXattrs, //
    },
    mds_client::session::caps_epoch, //
};

/// A session in the role of a capability's issuer.
#[derive(Clone)]
pub(crate) struct SessionRef {
    /// The session.
    pub session: Arc<Session>,
    /// The capability's place in the session's list.
    pub place: Slot,
}

impl Issuer for SessionRef {
    fn rank(&self) -> u32 {
        self.session.rank
    }

    fn validity(&self) -> (u32, bool) {
        self.session.cap_validity()
    }

    fn carries_over(&self, gen: u32) -> bool {
        self.session.carries_over(gen)
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
    /// Snap realm.
    pub realm: u64,
    /// Statistics of a directory.
    pub dir: DirStats,
    /// Hash of a directory's names.
    pub dir_hash: DirHash,
    /// How a directory is split.
    pub frag_tree: FragTree,
    /// Fragments with an authoritative rank of their own.
    pub frag_auths: FragAuths,
    /// Whether the page cache may hold what another client has overwritten.
    pub stale_pages: StalePages,
    /// There may be pages that were mapped without Fc.
    pub pages_unsure: bool,
    /// Version of content that is kept with the inode; [`InodeStat::INLINE_NONE`] if the
    /// file has objects. It is read from the server when it is wanted.
    pub inline_version: u64,
    /// Extended attributes.
    pub xattrs: KnownXattrs,
    /// Names of a directory; good while it is complete.
    names: Option<Arc<Listing>>,
}

/// Whether the time `when` has come, on a clock that wraps around.
fn is_reached(when: Jiffies, now: Jiffies) -> bool {
    now.wrapping_sub(when) as isize >= 0
}

impl State {
    /// Whether content is kept with the inode.
    pub(crate) fn has_inline_data(&self) -> bool {
        // A server that believes that we know the content leaves out that there is any: 0.
        // Of a file without, it always says so.
        self.inline_version != InodeStat::INLINE_NONE
    }
}

/// Where the content of a file is.
pub(crate) struct Content {
    /// It is kept with the inode.
    pub(crate) inline: bool,
    /// How the file is cut into objects.
    pub(crate) layout: FileLayout,
    /// The RADOS namespace of the objects.
    pub(crate) pool_ns: Option<Arc<KVec<u8>>>,
    /// Count of truncations.
    pub(crate) truncate_seq: u32,
    /// Size after the last truncation.
    pub(crate) truncate_size: u64,
}

/// The locked state of an inode.
pub(crate) struct StateGuard<'a> {
    guard: SpinLockGuard<'a, State>,
    issued: &'a Issued,
}

impl Deref for StateGuard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.guard
    }
}

impl DerefMut for StateGuard<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.issued.withdraw();
        &mut self.guard
    }
}

impl StateGuard<'_> {
    /// What can be read without the lock until the state is borrowed mutably.
    pub(crate) fn published(&self) -> Published {
        self.issued.published()
    }

    /// After a change that has left `issued`: what was published before can be read again,
    /// if nothing of it is lost.
    pub(crate) fn put_back(&self, before: Published, issued: Caps) {
        if issued.contains(before.caps()) {
            self.issued.put_back(before);
        }
    }
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
    names: Names,
    issued: Issued,
    /// When the inode was last used, in jiffies.
    used: Atomic<Jiffies>,
    /// Content and names are encrypted. Stays so.
    encrypted: Atomic<u32>,
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
                    realm: 0,
                    dir: DirStats::default(),
                    dir_hash: DirHash::RJENKINS,
                    frag_tree: FragTree::new(),
                    frag_auths: FragAuths::new(),
                    stale_pages: StalePages::new(),
                    pages_unsure: false,
                    inline_version: 0,
                    xattrs: KnownXattrs::new(),
                    names: None,
                },
                "ceph::InodeInfo::state"
            ),
            changed <- new_wait_queue!("ceph::InodeInfo::changed"),
            symlink: SetOnce::new(),
            shared_gen: Atomic::new(1),
            names: Names::new(),
            issued: Issued::new(),
            used: Atomic::new(time::jiffies()),
            encrypted: Atomic::new(0),
        }? Error)
    }
}

impl InodeInfo {
    /// What servers say. A spin lock: RCU walk may take it.
    pub(crate) fn state(&self) -> StateGuard<'_> {
        StateGuard {
            guard: self.state.lock(),
            issued: &self.issued,
        }
    }

    /// Whether all capability bits of the mask may be used now. RCU walk may ask.
    pub(crate) fn has_caps(&self, mask: Caps) -> bool {
        self.issued.contain(mask) || self.find_out().contains(mask)
    }

    /// Notes that the inode itself is used, so that its capability is among the last to
    /// go. (A directory that paths lead through is held by what is in it.)
    pub(crate) fn touch(&self) {
        self.used.store(time::jiffies(), Relaxed);
    }

    /// For how long the inode was not used, in jiffies.
    pub(crate) fn idle(&self) -> Jiffies {
        time::elapsed(self.used.load(Relaxed))
    }

    #[cold]
    #[inline(never)]
    fn find_out(&self) -> Caps {
        let state = self.state();
        // Before: what becomes doubtful meanwhile must not be believed.
        let epoch = caps_epoch();
        let caps = state.caps.issued();
        let issuers = state.caps.caps().map(|cap| cap.issuer());
        let until = issuers.map(|issuer| issuer.session.cap_until());
        if let Some(until) = until.reduce(|a, b| if is_reached(a, b) { a } else { b }) {
            self.issued.publish(caps, epoch, until);
        }
        caps
    }

    /// Whether pages of the page cache may be used as they are. Does not sleep.
    pub(crate) fn may_use_cache(&self) -> bool {
        let state = self.state.lock();
        !state.stale_pages.any() && state.caps.has(Caps::FILE_CACHE) && !state.has_inline_data()
    }

    /// Whether content and names are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.encrypted.load(Relaxed) != 0
    }

    /// Content and names are encrypted. (A directory is empty when that begins.)
    pub(crate) fn set_encrypted(&self) {
        self.encrypted.store(1, Relaxed);
    }

    /// How the file is cut into objects.
    pub(crate) fn layout(&self) -> FileLayout {
        self.state().layout
    }

    /// What a read of the content has to know.
    pub(crate) fn content(&self) -> Content {
        let state = self.state();
        Content {
            inline: state.has_inline_data(),
            layout: state.layout,
            pool_ns: state.pool_ns.clone(),
            truncate_seq: state.truncate_seq,
            truncate_size: state.truncate_size,
        }
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
        self.state.lock().has_inline_data()
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

    /// How names are hashed in this directory.
    pub(crate) fn dir_hash(&self) -> DirHash {
        self.state().dir_hash
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
    /// taken when the first of them are known.
    pub(crate) fn release_count(&self) -> u64 {
        self.names.released()
    }

    /// All names are known and in the dentry cache, if none was dropped since
    /// `release_count`.
    pub(crate) fn set_complete(&self, release_count: u64, names: Arc<Listing>) {
        // Names vouch for nothing that is published.
        let mut state = self.state.lock();
        let unused = self.names.set(&mut state.names, release_count, names);
        drop(state);
        drop(unused);
    }

    /// A name was dropped from the dentry cache, or may have come to be elsewhere. Whether
    /// [`Self::forget_names`] has something to do now. Any context.
    #[must_use]
    pub(crate) fn clear_complete(&self) -> bool {
        self.names.clear()
    }

    /// Frees names that are kept in vain.
    pub(crate) fn forget_names(&self) {
        let mut state = self.state.lock();
        let unused = self.names.forget(&mut state.names);
        drop(state);
        drop(unused);
    }

    /// Whether a name that is not in the dentry cache does not exist.
    pub(crate) fn is_complete(&self) -> bool {
        // Fs first: it is published after the count is raised.
        self.has_caps(Caps::FILE_SHARED) && self.names.are_complete()
    }

    /// All names, if the directory is complete.
    pub(crate) fn names(&self) -> Option<Arc<Listing>> {
        if !self.is_complete() {
            return None;
        }
        self.touch();
        let state = self.state.lock();
        // What was set meanwhile is as good, if it counts.
        if !self.names.are_complete() {
            return None;
        }
        state.names.clone()
    }

    /// What follows for the names of a directory from a change of what is issued. With
    /// the lock held, so that nobody sees Fs before that.
    /// What it returns is to be dropped without the lock.
    pub(crate) fn names_changed(&self, state: &mut State, change: Change) -> Option<Arc<Listing>> {
        if !(change.gained() | change.lost()).intersects(Caps::FILE_SHARED) {
            return None;
        }
        self.shared_gen.fetch_add(1, Release);
        self.names.clear();
        state.names.take()
    }

    // ----- open files -----

    /// A file was opened. To be matched by [`FsClient::closed`].
    pub(crate) fn opened(&self, mode: Mode) {
        self.state().caps.open(mode);
    }
}

/// The capability bits that an inode's type has pages under.
pub(crate) fn has_pages(inode: &Uncounted<CephFs>) -> bool {
    inode.mode() & mode::TYPE_MASK == mode::REGULAR && inode.nr_pages() > 0
}
