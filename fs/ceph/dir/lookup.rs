// SPDX-License-Identifier: GPL-2.0
//! Looking up names.
use kernel::{
    prelude::*,
    sync::Arc, //
};
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

use ceph_fs_proto::{
    machine::route::RankHints,
    wire::{
        cap_bits::Caps,
        reply::ClientReply,
        request::{
            Args,
            ClientRequest,
            FilePath,
            Op, //
        },
    },
};
use ceph_proto::errno::enametoolong;

use crate::{
    fs_client::{
        FsClient,
        Session, //
    },
    fs_type::CephFs,
    inode::{
        access,
        attrs::owned,
        inode_ops, //
    },
    mds_client::op::MdsOp,
    request_target::RequestTarget,
    trace::Trace,
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

/// LOOKUP: a name in a directory.
struct Lookup {
    dir: RequestTarget,
    name: KVec<u8>,
}

impl MdsOp for Lookup {
    type Fs = FsClient;
    type Answer = Trace;

    const OP: Op = Op::LOOKUP;

    fn hints(&self) -> RankHints {
        self.dir.hints_of_name(&self.name)
    }

    fn encode<'a>(&'a self, request: ClientRequest<'a>) -> ClientRequest<'a> {
        ClientRequest {
            flags: request.flags | ClientRequest::WANT_DENTRY,
            args: Args::Getattr {
                mask: Caps::STAT_ALL,
            },
            path1: FilePath {
                ino: self.dir.ino(),
                path: &self.name,
            },
            ..request
        }
    }

    fn take(
        &self,
        fs: &Arc<FsClient>,
        session: &Arc<Session>,
        reply: &ClientReply<'_>,
    ) -> Result<Trace> {
        fs.take_trace(session, self.dir.started, reply)
    }

    fn is_answer(error: Error) -> bool {
        error == ENOENT
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
    /// then the trace has no target.
    pub(crate) fn lookup(&self, dir: &Inode<CephFs>, name: &[u8]) -> Result<Trace> {
        self.ask(Lookup {
            dir: RequestTarget::new(dir),
            name: owned(name)?,
        })
    }
}
