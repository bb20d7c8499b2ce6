// SPDX-License-Identifier: GPL-2.0
//! Who may use an inode: mode bits, POSIX ACLs, and the client's own capability.
//!
//! ACLs are among the extended attributes, which servers tell under Xs. The VFS keeps the ACL
//! of an inode that it has asked for; it is told to forget it when other attributes come and
//! when Xs is lost, so that it has none that may be old.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    fs::{
        acl::{
            Acl,
            AclType, //
        },
        inode::{
            GenericPermission,
            Uncounted, //
        },
        Inode, //
    },
    pr_warn_ratelimited,
    task, //
};

use ceph_fs_proto::{
    machine::access::{
        self,
        Access,
        Caller,
        Verdict, //
    },
    wire::{
        cap_bits::Caps,
        xattr::Xattrs, //
    },
};
use ceph_proto::errno::enokey;

use crate::{
    fs_client::FsClient,
    fs_type::CephFs, //
};

/// The capability bits that vouch for who may use an inode.
const CAPS: Caps = Caps(Caps::AUTH_SHARED.0 | Caps::XATTR_SHARED.0);

/// May the task use the inode?
pub(crate) fn permission(inode: &Inode<CephFs>, generic: &GenericPermission<'_>) -> Result {
    let fs = inode.super_block().data();
    fs.getattr(inode, CAPS)?;
    generic.check()
}

/// As [`permission`], in RCU walk.
pub(crate) fn permission_rcu(inode: &Uncounted<CephFs>, generic: &GenericPermission<'_>) -> Result {
    if !inode.data().has_caps(CAPS) {
        return Err(ECHILD);
    }
    generic.check()
}

/// An ACL of the inode, or that it has none.
pub(crate) fn get_acl(inode: &Inode<CephFs>, kind: AclType) -> Result<Option<Acl>> {
    let fs = inode.super_block().data();
    let xattrs = fs.xattrs(inode)?;
    let bytes = xattrs.as_ref().map_or(&[][..], |bytes| &bytes[..]);
    match Xattrs::decode(bytes)
        .map_err(|_| EIO)?
        .get(kind.xattr_name())
    {
        Some(value) => Acl::from_xattr(value),
        None => Ok(None),
    }
}

/// What an inode is encrypted with this client does not know: its content and the names in it
/// must not be taken for what they are not.
///
/// # Errors
///
/// `ENOKEY` if it is encrypted.
pub(crate) fn refuse_encrypted(inode: &Uncounted<CephFs>) -> Result {
    if !inode.data().is_encrypted() {
        return Ok(());
    }
    pr_warn_ratelimited!(
        "inode {:#x} is encrypted: not supported by this client yet\n",
        inode.ino()
    );
    Err(enokey())
}

impl FsClient {
    /// The encoding of the extended attributes; `None` if there are none. Asks if they are
    /// not known for sure.
    ///
    /// # Errors
    ///
    /// `EIO` if the server does not tell them; those of a request.
    pub(crate) fn xattrs(&self, inode: &Inode<CephFs>) -> Result<Option<Arc<KVec<u8>>>> {
        let info = inode.data();
        self.getattr(inode, Caps::XATTR_SHARED)?;
        let known = || {
            let state = info.state();
            state.xattrs.bytes()
        };
        if let Some(bytes) = known() {
            return Ok(bytes);
        }
        self.getattr_always(inode, Caps::XATTR_SHARED)?;
        known().ok_or(EIO)
    }

    /// Whether the client's capability lets the task use the inode, and the server need not be
    /// asked for that. To be called by all that goes on without asking one.
    ///
    /// # Errors
    ///
    /// * `EACCES` if it does not, wherever the inode is.
    /// * `ENOMEM`.
    pub(crate) fn check_access(&self, inode: &Inode<CephFs>, access: Access) -> Result<bool> {
        let Some(grants) = self.grants.get() else {
            return Ok(true);
        };
        let map = self.mdsc.map();
        let fs_name = map.as_ref().map_or(&[][..], |map| &map.fs_name[..]);
        let (uid, gid) = task::fs_ids();
        let groups = task::groups()?;
        let caller = Caller {
            uid,
            gid,
            groups: &groups,
        };
        let path = || self.path_in_fs(inode);
        match access::check(&grants, fs_name, &caller, access, path) {
            Verdict::Allowed => Ok(true),
            Verdict::AskServer => Ok(false),
            Verdict::Denied => Err(EACCES),
        }
    }

    /// Some path of the inode from the root of the file system.
    fn path_in_fs(&self, inode: &Inode<CephFs>) -> Option<KVec<u8>> {
        let below = inode.find_alias()?.path().ok()?;
        let mut path = KVec::with_capacity(self.path.len() + below.len(), GFP_KERNEL).ok()?;
        path.extend_from_slice(&self.path, GFP_KERNEL).ok()?;
        path.extend_from_slice(&below, GFP_KERNEL).ok()?;
        Some(path)
    }
}
