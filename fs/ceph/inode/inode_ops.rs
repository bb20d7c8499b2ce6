// SPDX-License-Identifier: GPL-2.0
//! Operations of inodes: what all types share.
//!
//! What a server vouches for by a capability is told from memory; for the rest it is
//! asked. In RCU walk nothing can be asked, so then the answer is `ECHILD` unless it is
//! in memory.
use core::pin::Pin;
use kernel::{
    prelude::*,
    str::CStr, //
};
use kernel_ext::fs::{
    acl::{
        Acl,
        AclType, //
    },
    inode::{
        self,
        attr::{
            mask,
            GetAttr, //
        },
        Access,
        GenericPermission,
        Uncounted, //
    },
    xattr::NameList,
    Inode, //
};

use ceph_fs_proto::wire::cap_bits::Caps;
use ceph_proto::errno::eopnotsupp;

use crate::{
    fs_type::CephFs,
    inode::{
        access::{
            get_acl,
            permission,
            permission_rcu,
            refuse_encrypted, //
        },
        attrs::from_wire, //
    },
};

/// Block size that stat(2) shows of a directory.
const DIR_BLOCK_SIZE: u32 = 65536;

/// The inode number that user space sees.
pub(crate) fn shown_ino(ino: u64, ino32: bool) -> u64 {
    if !ino32 {
        return ino;
    }
    match (ino ^ ino >> 32) & 0xffff_ffff {
        0 => 2,
        folded => folded,
    }
}

/// The capability bits that vouch for what statx(2) asks for.
fn caps_of_mask(wanted: u32, is_dir: bool) -> Caps {
    const ALL: u32 = mask::CTIME | mask::CHANGE_COOKIE;
    let mut caps = Caps::NONE;
    if wanted & (mask::MODE | mask::UID | mask::GID | mask::BTIME | ALL) != 0 {
        caps |= Caps::AUTH_SHARED;
    }
    if wanted & (mask::NLINK | ALL) != 0 {
        // That of a directory is the number of its directories.
        caps |= if is_dir {
            Caps::FILE_SHARED
        } else {
            Caps::LINK_SHARED
        };
    }
    if wanted & (mask::ATIME | mask::MTIME | mask::SIZE | mask::BLOCKS | ALL) != 0 {
        caps |= Caps::FILE_SHARED;
    }
    if wanted & ALL != 0 {
        caps |= Caps::XATTR_SHARED;
    }
    caps
}

/// stat(2).
pub(crate) fn getattr(mut call: GetAttr<'_, CephFs>) -> Result {
    let inode = call.inode();
    let fs = inode.super_block().data();
    let caps = caps_of_mask(call.request_mask, inode.is_dir());
    if call.query_flags & mask::AT_FORCE_SYNC != 0 {
        fs.getattr_always(inode, caps)?;
    } else if call.query_flags & mask::AT_DONT_SYNC == 0 {
        fs.getattr(inode, caps)?;
    }

    let request_mask = call.request_mask;
    let info = inode.data();
    let stat = call.fill();
    stat.set_ino(shown_ino(inode.ino(), fs.options.ino32));
    stat.set_result_mask(request_mask & mask::BASIC);
    let btime = from_wire(info.btime());
    if request_mask & mask::BTIME != 0 && (btime.sec != 0 || btime.nsec != 0) {
        stat.set_btime(btime);
    }
    if inode.is_dir() {
        let stats = info.dir_stats();
        let size = if fs.options.rbytes {
            stats.rbytes
        } else {
            stats.files.saturating_add(stats.subdirs)
        };
        stat.set_size(i64::try_from(size).unwrap_or(i64::MAX), 0);
        stat.set_block_size(DIR_BLOCK_SIZE);
        // Each directory in it has a "..".
        if inode.nlink() == 1 {
            let subdirs = u32::try_from(stats.subdirs).unwrap_or(u32::MAX);
            stat.set_nlink(subdirs.saturating_add(2));
        }
    }
    if request_mask & mask::CHANGE_COOKIE != 0 {
        stat.set_change_cookie(info.change_attr());
    }
    stat.set_change_monotonic();
    stat.set_encrypted(info.is_encrypted());
    Ok(())
}

/// Lists no names, and says so, as long as values cannot be read: a copy would lose them
/// without a word.
pub(crate) fn listxattr() -> Result {
    Err(eopnotsupp())
}

/// Operations of files, and of what is only a name here: devices, pipes, sockets.
pub(crate) struct PlainOps;

#[vtable]
impl inode::Operations for PlainOps {
    type Fs = CephFs;

    fn permission(inode: &Inode<CephFs>, _: Access, generic: GenericPermission<'_>) -> Result {
        permission(inode, &generic)
    }

    fn permission_rcu(
        inode: &Uncounted<CephFs>,
        _: Access,
        generic: GenericPermission<'_>,
    ) -> Result {
        permission_rcu(inode, &generic)
    }

    fn get_inode_acl(inode: &Inode<CephFs>, kind: AclType) -> Result<Option<Acl>> {
        get_acl(inode, kind)
    }

    fn listxattr(_: &Inode<CephFs>, _: NameList<'_>) -> Result {
        listxattr()
    }

    fn getattr(call: GetAttr<'_, CephFs>) -> Result {
        getattr(call)
    }
}

/// Operations of symbolic links. The target never changes, and comes with the inode.
pub(crate) struct LinkOps;

#[vtable]
impl inode::Operations for LinkOps {
    type Fs = CephFs;

    fn permission(inode: &Inode<CephFs>, _: Access, generic: GenericPermission<'_>) -> Result {
        permission(inode, &generic)
    }

    fn permission_rcu(
        inode: &Uncounted<CephFs>,
        _: Access,
        generic: GenericPermission<'_>,
    ) -> Result {
        permission_rcu(inode, &generic)
    }

    fn listxattr(_: &Inode<CephFs>, _: NameList<'_>) -> Result {
        listxattr()
    }

    fn getattr(call: GetAttr<'_, CephFs>) -> Result {
        getattr(call)
    }

    fn get_link<'a>(inode: &'a Inode<CephFs>) -> Result<&'a CStr> {
        Self::get_link_rcu(inode)
    }

    fn get_link_rcu<'a>(inode: &'a Uncounted<CephFs>) -> Result<&'a CStr> {
        refuse_encrypted(inode)?;
        inode.data().touch();
        Pin::get_ref(inode.data()).symlink().ok_or(EIO)
    }
}

#[kunit_tests(ceph_ops)]
mod tests {
    use super::*;

    #[test]
    fn inode_numbers() {
        assert_eq!(shown_ino(0x100_0000_0001, false), 0x100_0000_0001);
        assert_eq!(shown_ino(0x100_0000_0001, true), 0x101);
        assert_eq!(shown_ino(0x1_0000_0001, true), 2);
    }

    #[test]
    fn what_vouches_for_what() {
        assert_eq!(caps_of_mask(0, false), Caps::NONE);
        assert_eq!(caps_of_mask(mask::INO | mask::TYPE, false), Caps::NONE);
        assert_eq!(caps_of_mask(mask::NLINK, false), Caps::LINK_SHARED);
        assert_eq!(caps_of_mask(mask::NLINK, true), Caps::FILE_SHARED);
        assert_eq!(
            caps_of_mask(mask::BASIC, false),
            Caps::STAT_ALL.without(Caps::PIN)
        );
    }
}
