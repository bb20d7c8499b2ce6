// SPDX-License-Identifier: GPL-2.0
//! Attributes: what servers say of an inode, merged with what is known.
//!
//! An attribute is taken over if the server's version of the inode is new, or if
//! the capability that vouches for it is newly issued. This client changes nothing,
//! so no attribute here is ever newer than the server's.
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    sync::Arc, //
};
use kernel_ext::fs::{
    idmap::{
        Kgid,
        Kuid, //
    },
    inode::{
        attr::Time,
        mode, //
    },
    Inode, //
};

use ceph_fs_proto::wire::{
    cap_bits::Caps,
    client_caps::ClientCaps,
    frag::FragTree,
    inode_stat::InodeStat,
    msg::seq_newer, //
};
use ceph_proto::wire::types::Timespec;

use crate::{
    fs_type::CephFs,
    inode::{
        info::{
            InodeInfo,
            State, //
        },
        xattrs::NewXattrs, //
    },
};

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

/// What an inode needs, from outside of its lock, of a message about capabilities.
pub(crate) struct PreparedCaps {
    pool_ns: Option<Arc<KVec<u8>>>,
    xattrs: NewXattrs,
}

impl PreparedCaps {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(info: &InodeInfo, caps: &ClientCaps<'_>) -> Result<Self> {
        Ok(Self {
            pool_ns: pool_ns(info, caps)?,
            xattrs: NewXattrs::new(caps.xattr_version, caps.xattrs.unwrap_or_default())?,
        })
    }
}

/// The RADOS namespace that a message about capabilities names, as an inode keeps it.
///
/// # Errors
///
/// `ENOMEM`.
fn pool_ns(info: &InodeInfo, caps: &ClientCaps<'_>) -> Result<Option<Arc<KVec<u8>>>> {
    let name = match caps.pool_ns {
        None | Some([]) => return Ok(None),
        Some(name) => name,
    };
    let known = info.state().pool_ns.clone();
    if known.as_ref().is_some_and(|known| known[..] == *name) {
        return Ok(known);
    }
    Ok(Some(Arc::new(owned(name)?, GFP_KERNEL)?))
}

/// Takes over the attributes of GRANT, REVOKE and IMPORT, as far as what is issued
/// vouches for them. Not the size. What is replaced is left in `prepared`, to be freed
/// without the inode's lock.
pub(crate) fn from_caps(
    inode: &Inode<CephFs>,
    state: &mut State,
    caps: &ClientCaps<'_>,
    prepared: &mut PreparedCaps,
) {
    let issued = caps.caps;
    if issued.intersects(Caps::XATTR_SHARED) {
        state.xattrs.take(inode, &mut prepared.xattrs);
    }
    if caps.fscrypt.is_encrypted() {
        inode.data().set_encrypted();
    }
    if issued.intersects(Caps::AUTH_SHARED) {
        inode.set_owner(Kuid::new(caps.uid), Kgid::new(caps.gid));
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
            // Servers before Jewel do not tell.
            if caps.pool_ns.is_some() {
                core::mem::swap(&mut state.pool_ns, &mut prepared.pool_ns);
            }
        }
    }
}

/// What an inode needs from outside of its lock.
pub(crate) struct Prepared {
    pool_ns: Option<Arc<KVec<u8>>>,
    frag_tree: FragTree,
    xattrs: NewXattrs,
}

pub(crate) fn owned(bytes: &[u8]) -> Result<KVec<u8>> {
    let mut vec = KVec::new();
    vec.extend_from_slice(bytes, GFP_KERNEL)?;
    Ok(vec)
}

impl Prepared {
    pub(crate) fn new(stat: &InodeStat<'_>) -> Result<Self> {
        Ok(Self {
            pool_ns: match stat.pool_ns {
                [] => None,
                name => Some(Arc::new(owned(name)?, GFP_KERNEL)?),
            },
            frag_tree: match stat.splits().is_empty() {
                true => FragTree::new(),
                false => FragTree::from_splits(stat.splits().iter())?,
            },
            xattrs: NewXattrs::new(stat.xattr_version(), stat.xattrs())?,
        })
    }
}

/// Takes over what a reply says; `before` was issued before its capability. Returns
/// whether the file was truncated. What is replaced is left in `prepared`, to be freed
/// without the inode's lock.
pub(crate) fn from_stat(
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

    state.xattrs.take(inode, &mut prepared.xattrs);
    // What cannot be told is not taken for plain.
    let fscrypt = stat.fscrypt();
    if !fscrypt.is_ok_and(|fscrypt| !fscrypt.is_encrypted()) {
        inode.data().set_encrypted();
    }
    state.change_attr = state.change_attr.max(stat.change_attr());
    if of(Caps::AUTH_SHARED) {
        inode.set_owner(Kuid::new(stat.uid()), Kgid::new(stat.gid()));
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
            fscrypt.map_or(stat.size(), |fscrypt| fscrypt.true_size(stat.size())),
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
