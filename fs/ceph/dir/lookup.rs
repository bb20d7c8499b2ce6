// SPDX-License-Identifier: GPL-2.0
//! Looking up names.
use kernel::prelude::*;
use kernel_ext::fs::{
    acl::{
        Acl,
        AclType, //
    },
    dentry::{
        LookupFlags,
        Spliced,
        Unhashed, //
    },
    inode::{
        self,
        attr::GetAttr,
        Access,
        GenericPermission,
        Uncounted, //
    },
    xattr::NameList,
    Inode, //
};

use ceph_fs_proto::wire::{
    cap_bits::Caps,
    request::{
        Args,
        Op, //
    },
};
use ceph_proto::errno::enametoolong;

use crate::{
    fs_client::FsClient,
    fs_type::CephFs,
    inode::{
        access,
        inode_ops, //
    },
    mds_client::{
        OwnedPath,
        Spec, //
    },
    trace::{
        RequestTarget,
        Trace, //
    },
};

/// Longest name.
const NAME_MAX: usize = 255;

/// The operations of directories' inodes.
pub(crate) struct DirOps;

#[vtable]
impl inode::Operations for DirOps {
    type Fs = CephFs;

    fn lookup<'a>(
        dir: inode::Locked<'_, CephFs>,
        dentry: Unhashed<'a, CephFs>,
        _flags: LookupFlags,
    ) -> Result<Spliced<'a, CephFs>> {
        let name = dentry.name();
        if name.len() > NAME_MAX {
            return Err(enametoolong());
        }
        access::refuse_encrypted(&dir)?;
        let fs = dir.super_block().data();
        let info = dir.data();
        // Before: if Fs is lost and issued again in between, it must not count.
        let shared_gen = info.shared_gen();
        if fs.options.dcache && dir.key().is_head() && info.is_complete() {
            let spliced = dentry.splice(None)?;
            spliced.data().set_dir_gen(shared_gen);
            return Ok(spliced);
        }
        let trace = fs.lookup(&dir, name)?;
        let spliced = dentry.splice(trace.target)?;
        if let Some((origin, grant)) = &trace.name {
            spliced.data().learn(origin, *grant);
        }
        Ok(spliced)
    }

    fn permission(inode: &Inode<CephFs>, _: Access, generic: GenericPermission<'_>) -> Result {
        access::permission(inode, &generic)
    }

    fn permission_rcu(
        inode: &Uncounted<CephFs>,
        _: Access,
        generic: GenericPermission<'_>,
    ) -> Result {
        access::permission_rcu(inode, &generic)
    }

    fn get_inode_acl(inode: &Inode<CephFs>, kind: AclType) -> Result<Option<Acl>> {
        access::get_acl(inode, kind)
    }

    fn listxattr(_: &Inode<CephFs>, _: NameList<'_>) -> Result {
        inode_ops::listxattr()
    }

    fn getattr(call: GetAttr<'_, CephFs>) -> Result {
        inode_ops::getattr(call)
    }
}

impl FsClient {
    /// A name of the directory was dropped from the dentry cache, or may have come to be
    /// elsewhere: not all are known any more. The tick frees those that are. Any context.
    pub(crate) fn name_dropped(&self, dir: &Uncounted<CephFs>) {
        if dir.data().clear_complete() {
            self.delayed.add(dir.key().ino);
        }
    }

    /// Looks up a name in a directory. A name that does not exist is not an error:
    /// then the reply has no target.
    pub(crate) fn lookup(&self, dir: &Inode<CephFs>, name: &[u8]) -> Result<Trace> {
        let reply = self.mdsc.do_request(Spec {
            op: Op::LOOKUP,
            args: Args::Getattr {
                mask: Caps::STAT_ALL,
            },
            path1: OwnedPath::name(dir.key().ino, name)?,
            path2: OwnedPath::default(),
            want_dentry: true,
            caller: Self::caller()?,
            target: RequestTarget::inode(dir),
            timeout: None,
        })?;
        match reply.result {
            failed if failed < 0 && failed != ENOENT.to_errno() => Err(Error::from_errno(failed)),
            _ => Ok(reply.filled),
        }
    }
}
