// SPDX-License-Identifier: GPL-2.0
//! What replies say of inodes, into the inodes.
//!
//! This runs in the work of the session's connection, in the order of the server's
//! messages: a capability that a later message revokes has been added before. It
//! never touches the dentry cache. What is for that is handed to the task that asked
//! ([`Filled`]), which holds the VFS's locks.
//!
//! An attribute is taken over if the server's version of the inode is new, or if
//! the capability that vouches for it is newly issued. This client changes nothing,
//! so no attribute here is ever newer than the server's.
use kernel::{
    alloc::flags::{GFP_ATOMIC, __GFP_NOWARN},
    page::PAGE_SHIFT,
    prelude::*,
    str::CString,
    sync::Arc,
};
use kernel_ext::fs::{
    inode::{attr::Time, mode, Got},
    Inode, InodeRef, SuperBlock,
};

use ceph_fs_proto::{
    machine::listing::{Listing, Part},
    wire::{
        cap_bits::Caps,
        client_caps::ClientCaps,
        frag::{Frag, FragTree},
        inode_stat::InodeStat,
        msg::seq_newer,
        reply::{ClientReply, DirEntry, DirStat, Extra, ReplyDir},
        request::Args,
    },
};
use ceph_proto::{errno::estale, wire::types::Timespec};

use crate::{
    dentry::{Grant, Told},
    fs_client::{FsClient, RequestTarget},
    inode::{has_pages, Session, State},
    mds_client::Spec,
    super_block::CephFs,
};

/// What a reply leaves for the task that asked.
#[derive(Default)]
pub(crate) struct Filled {
    /// The directory of the name that was asked for.
    pub(crate) dir: Option<InodeRef<CephFs>>,
    /// For how long the name may be trusted.
    pub(crate) name: Option<(Told, Option<Grant>)>,
    /// The inode; none if the name does not exist.
    pub(crate) target: Option<InodeRef<CephFs>>,
    /// The entries of a directory.
    pub(crate) listed: Option<Listed>,
    /// A value that was asked for.
    pub(crate) value: KVec<u8>,
}

/// Entries of one fragment of a directory.
pub(crate) struct Listed {
    /// The fragment; not always the one that was asked for, if the directory was
    /// split or merged.
    pub(crate) frag: Frag,
    /// Whether the fragment's end was reached.
    pub(crate) is_end: bool,
    /// The directory's count of dropped names, before these.
    pub(crate) release_count: u64,
    /// What the names have in common.
    pub(crate) told: Told,
    /// The entries.
    pub(crate) part: Part,
    /// What is to be put into the dentry cache for each of them.
    pub(crate) inodes: KVVec<ListedInode>,
}

/// What a name of a listing leads to.
pub(crate) struct ListedInode {
    /// The inode.
    pub(crate) inode: InodeRef<CephFs>,
    /// Whether it was in memory before, so that the name may be too.
    pub(crate) is_known: bool,
    /// For how long the name may be trusted.
    pub(crate) grant: Option<Grant>,
}

/// A time as messages have it.
pub(crate) fn to_wire(time: Time) -> Timespec {
    Timespec {
        // The wire has 32 bits.
        sec: time.sec as u32,
        nsec: time.nsec,
    }
}

/// A time as the VFS has it.
pub(crate) fn from_wire(time: Timespec) -> Time {
    Time {
        sec: i64::from(time.sec),
        nsec: time.nsec,
    }
}

/// Takes over size and truncation, unless they are older than what is known.
/// Returns whether the file was truncated, so that pages may be beyond its end.
pub(crate) fn size(
    inode: &Inode<CephFs>,
    state: &mut State,
    truncate_seq: u32,
    truncate_size: u64,
    size: u64,
) -> bool {
    let newer = seq_newer(truncate_seq, state.truncate_seq) || state.version == 0;
    if !newer && truncate_seq != state.truncate_seq {
        return false;
    }
    state.truncate_seq = truncate_seq;
    state.truncate_size = truncate_size;
    let known = u64::try_from(inode.size()).unwrap_or(0);
    if newer || size > known {
        let size = if inode.is_dir() { 0 } else { size };
        inode.set_size(i64::try_from(size).unwrap_or(i64::MAX));
        inode.set_blocks(size.saturating_add(511) >> 9);
    }
    newer && size < known
}

fn times(
    inode: &Inode<CephFs>,
    state: &mut State,
    warp: u32,
    [atime, mtime, ctime]: [Timespec; 3],
) {
    // An older count belongs to a message that was overtaken.
    if !seq_newer(state.time_warp_seq, warp) || state.version == 0 {
        inode.set_times(from_wire(atime), from_wire(mtime), from_wire(ctime));
        state.time_warp_seq = warp;
    }
}

/// Takes over the attributes of GRANT, REVOKE and IMPORT, as far as what is issued
/// vouches for them. Not the size.
pub(crate) fn from_caps(inode: &Inode<CephFs>, state: &mut State, caps: &ClientCaps<'_>) {
    let issued = caps.caps;
    if issued.intersects(Caps::AUTH_SHARED) {
        inode.set_owner(caps.uid, caps.gid);
        inode.set_mode((caps.mode & 0o7777) as u16);
        if let Some((btime, _)) = caps.btime {
            state.btime = btime;
        }
    }
    if issued.intersects(Caps::LINK_SHARED) {
        inode.set_nlink(caps.nlink);
    }
    if issued.intersects(Caps::ANY_RD) {
        let i = &caps.inode;
        times(inode, state, i.time_warp_seq, [i.atime, i.mtime, i.ctime]);
        if let Some((_, change)) = caps.btime {
            state.change_attr = state.change_attr.max(change);
        }
    }
    if let (true, Some((files, subdirs))) = (issued.intersects(Caps::FILE_SHARED), caps.dirstat) {
        state.dir.files = files;
        state.dir.subdirs = subdirs;
    }
    state.inline_version = state.inline_version.max(caps.inline_version);
    if let Some(layout) = caps.inode.layout {
        if issued.intersects(Caps::ANY_RD | Caps::ANY_FILE_WR) && !inode.is_dir() {
            state.layout = layout;
        }
    }
}

/// What an inode needs from outside of its lock.
struct Prepared {
    pool_ns: Option<Arc<KVec<u8>>>,
    frag_tree: FragTree,
}

fn owned(bytes: &[u8]) -> Result<KVec<u8>> {
    let mut vec = KVec::new();
    vec.extend_from_slice(bytes, GFP_KERNEL)?;
    Ok(vec)
}

impl Prepared {
    fn new(stat: &InodeStat<'_>) -> Result<Self> {
        Ok(Self {
            pool_ns: match stat.pool_ns {
                [] => None,
                name => Some(Arc::new(owned(name)?, GFP_KERNEL)?),
            },
            frag_tree: match stat.splits().is_empty() {
                true => FragTree::new(),
                false => FragTree::from_splits(stat.splits().iter())?,
            },
        })
    }
}

/// Takes over what a reply says; `before` was issued before its capability. Returns
/// whether the file was truncated. What is replaced is left in `prepared`, to be freed
/// without the inode's lock.
fn from_stat(
    inode: &Inode<CephFs>,
    state: &mut State,
    stat: &InodeStat<'_>,
    before: Caps,
    prepared: &mut Prepared,
) -> bool {
    let cap = stat.cap();
    let auth = cap.is_auth();
    // Odd versions are those of changes that are not on disk yet.
    let new = state.version == 0 || auth && stat.version() > state.version & !1;
    let gained = cap.caps.without(before);
    let of = |bits: Caps| new || gained.intersects(bits);
    let mut truncated = false;

    state.change_attr = state.change_attr.max(stat.change_attr());
    if of(Caps::AUTH_SHARED) {
        inode.set_owner(stat.uid(), stat.gid());
        inode.set_mode((stat.mode() & 0o7777) as u16);
        state.btime = stat.btime();
    }
    if of(Caps::LINK_SHARED) {
        inode.set_nlink(stat.nlink());
    }
    if of(Caps::ANY_RD) {
        let all = [stat.atime(), stat.mtime(), stat.ctime()];
        times(inode, state, stat.time_warp_seq(), all);
    }
    if of(Caps::ANY_RD | Caps::ANY_FILE_WR) {
        state.layout = stat.layout();
        inode.set_block_bits(block_bits(stat));
        core::mem::swap(&mut state.pool_ns, &mut prepared.pool_ns);
        truncated = size(
            inode,
            state,
            stat.truncate_seq(),
            stat.truncate_size(),
            stat.size(),
        );
    }
    if inode.is_dir() {
        if new || cap.caps.intersects(Caps::FILE_SHARED) {
            state.dir.files = stat.files();
            state.dir.subdirs = stat.subdirs();
        }
        if new || auth {
            state.dir_hash = stat.dir_hash;
            state.dir.rbytes = stat.rbytes();
            state.dir.rfiles = stat.rfiles();
            state.dir.rsubdirs = stat.rsubdirs();
            state.dir.rctime = stat.rctime();
            core::mem::swap(&mut state.frag_tree, &mut prepared.frag_tree);
        }
    }
    state.inline_version = state.inline_version.max(stat.inline_version);
    state.version = state.version.max(stat.version()).max(1);
    truncated
}

/// Block size that stat(2) shows of what has no layout: 4 MiB (`CEPH_BLOCK_SHIFT`).
const BLOCK_BITS: u8 = 22;

/// Block size that stat(2) shows, as a power of two.
fn block_bits(stat: &InodeStat<'_>) -> u8 {
    match stat.mode() as u16 & mode::TYPE_MASK {
        mode::DIRECTORY | mode::REGULAR | mode::SYMLINK => {
            let unit = stat.layout().stripe_unit;
            if unit.is_power_of_two() {
                unit.trailing_zeros().min(30) as u8
            } else {
                BLOCK_BITS
            }
        }
        // Devices, pipes and sockets have no content.
        _ => PAGE_SHIFT as u8,
    }
}

/// Bytes of a name that room is made for at first.
const USUAL_NAME: usize = 16;

/// What names of a directory have in common that a reply tells of, as things are now.
fn told(session: &Arc<Session>, spec: &Spec<RequestTarget>, dir: &Inode<CephFs>) -> Told {
    let (gen, _) = session.cap_validity();
    Told {
        session: session.clone(),
        gen,
        revokes: session.data.revokes(),
        asked: spec.target.started,
        dir_gen: dir.data().shared_gen(),
    }
}

impl FsClient {
    /// The worker's half of a reply.
    pub(crate) fn fill_reply(
        &self,
        session: &Arc<Session>,
        spec: &Spec<RequestTarget>,
        reply: &ClientReply<'_>,
    ) -> Result<Filled> {
        if !reply.snap_trace.is_empty() {
            self.realms.take_in(reply.snap_trace)?;
        }
        let sb = self.super_block().ok_or(EIO)?;
        let sb = &*sb;
        let mut filled = Filled::default();
        if let Some(dentry) = &reply.dentry {
            let (dir, _) = self.fill_inode(sb, session, &dentry.dir)?;
            self.fill_frag(&dir, &dentry.frag);
            filled.name = Some((told(session, spec, &dir), Grant::new(&dentry.lease)));
            filled.dir = Some(dir);
        }
        if let Some(target) = &reply.target {
            let (target, _) = self.fill_inode(sb, session, target)?;
            filled.target = Some(target);
        }
        match &reply.extra {
            Extra::Dir(listed) => {
                // The target of READDIR is the directory itself.
                let dir = filled.target.as_ref().or(spec.target.inode.as_ref());
                if let Some(dir) = dir.cloned() {
                    filled.listed = Some(self.fill_listed(sb, session, spec, &dir, listed)?);
                }
            }
            Extra::Value(value) => filled.value = owned(value)?,
            Extra::None | Extra::Raw(_) => {
                if let (Args::Getattr { mask }, Some(target)) = (&spec.args, &reply.target) {
                    if mask.contains(Caps::STAT_INLINE_DATA) {
                        filled.value = owned(target.inline_data())?;
                    }
                }
            }
        }
        Ok(filled)
    }

    fn fill_listed(
        &self,
        sb: &SuperBlock<CephFs>,
        session: &Arc<Session>,
        spec: &Spec<RequestTarget>,
        dir: &Inode<CephFs>,
        listed: &ReplyDir<'_>,
    ) -> Result<Listed> {
        // Servers older than Kraken do it otherwise.
        if !listed.has(ReplyDir::HASH_ORDER) {
            return Err(EIO);
        }
        self.fill_frag(dir, &listed.frag);
        let count = listed.count;
        let hash = dir.data().dir_hash();
        let mut filled = Listed {
            frag: listed.frag.frag,
            is_end: listed.has(ReplyDir::END),
            release_count: dir.data().release_count(),
            told: told(session, spec, dir),
            part: Part::with_capacity(count, count.saturating_mul(USUAL_NAME))?,
            inodes: KVVec::with_capacity(count, GFP_KERNEL)?,
        };
        for entry in listed.entries() {
            let DirEntry {
                name,
                lease,
                inode: stat,
            } = entry?;
            let (inode, is_known) = self.fill_inode(sb, session, &stat)?;
            let (ino, mode) = (stat.vino().ino, inode.mode());
            filled.part.push(hash.hash(name), name, ino, mode)?;
            let inode = ListedInode {
                inode,
                is_known,
                grant: Grant::new(&lease),
            };
            // There are no more than were announced.
            filled
                .inodes
                .push_within_capacity(inode)
                .map_err(|_| EINVAL)?;
        }
        Ok(filled)
    }

    /// Notes which rank has authority over a fragment.
    fn fill_frag(&self, dir: &Inode<CephFs>, stat: &DirStat) {
        let info = dir.data();
        let mut state = info.state();
        let at = state
            .delegations
            .iter()
            .position(|(frag, _)| *frag == stat.frag);
        match (at, stat.auth) {
            // As is usual. The state is not borrowed mutably for that.
            (None, None) => {}
            (Some(at), Some(rank)) => {
                if let Some(known) = state.delegations.get_mut(at) {
                    known.1 = rank;
                }
            }
            (Some(at), None) => {
                let _ = state.delegations.remove(at);
            }
            (None, Some(rank)) => {
                // Without memory the request is forwarded.
                let flags = GFP_ATOMIC | __GFP_NOWARN;
                let _ = state.delegations.push((stat.frag, rank), flags);
            }
        }
    }

    /// Finds or makes the inode that a reply tells of, and takes over what it says. Whether
    /// it was in memory before.
    ///
    /// # Errors
    ///
    /// `ESTALE` if the number belongs to an inode of another type now, `ENOMEM`.
    pub(crate) fn fill_inode(
        &self,
        sb: &SuperBlock<CephFs>,
        session: &Arc<Session>,
        stat: &InodeStat<'_>,
    ) -> Result<(InodeRef<CephFs>, bool)> {
        let prepared = Prepared::new(stat)?;
        let bits = (stat.mode() & 0xffff) as u16;
        match sb.get_or_create_inode(&stat.vino())? {
            Got::Existing(inode) => {
                if inode.mode() & mode::TYPE_MASK != bits & mode::TYPE_MASK {
                    return Err(estale());
                }
                self.take_over(session, &inode, stat, prepared)?;
                Ok((inode, true))
            }
            Got::New(mut new) => {
                crate::ops::init_inode(&mut new, bits, stat.rdev())?;
                if bits & mode::TYPE_MASK == mode::SYMLINK {
                    new.data().set_symlink(c_string(stat.symlink())?);
                }
                self.take_over(session, &new, stat, prepared)?;
                Ok((new.unlock(), false))
            }
        }
    }

    fn take_over(
        &self,
        session: &Arc<Session>,
        inode: &Inode<CephFs>,
        stat: &InodeStat<'_>,
        mut prepared: Prepared,
    ) -> Result {
        let info = inode.data();
        let (caps, is_head) = (stat.caps(), stat.vino().is_head());
        let mut truncated = false;
        let mut release_count = 0;
        if caps.is_empty() || !is_head {
            let mut guard = info.state();
            let state = &mut *guard;
            let before = state.caps.issued();
            truncated = from_stat(inode, state, stat, before, &mut prepared);
            if !is_head {
                state.caps.set_snap_caps(before | caps);
            }
        } else {
            release_count = self.add_cap(
                session,
                inode,
                || stat.cap(),
                |state, before| {
                    state.realm = stat.realm();
                    truncated = from_stat(inode, state, stat, before, &mut prepared);
                },
            )?;
        }
        drop(prepared);
        if truncated && has_pages(inode) {
            // Not here: a page that is being read would be waited for.
            self.drop_pages(inode);
        }
        // Of an empty directory all names are known.
        if inode.is_dir()
            && (stat.files(), stat.subdirs()) == (0, 0)
            && caps.intersects(Caps::FILE_SHARED)
            && is_head
            && !info.is_complete()
        {
            let none = Arc::new(Listing::new(), GFP_KERNEL)?;
            info.set_complete(release_count, none);
        }
        Ok(())
    }
}

/// A symbolic link's target as a C string.
fn c_string(bytes: &[u8]) -> Result<CString> {
    let mut vec = KVec::with_capacity(bytes.len().saturating_add(1), GFP_KERNEL)?;
    vec.extend_from_slice(bytes, GFP_KERNEL)?;
    vec.push(0, GFP_KERNEL)?;
    let text = kernel::str::CStr::from_bytes_with_nul(&vec).map_err(|_| EINVAL)?;
    Ok(CString::try_from(text)?)
}
