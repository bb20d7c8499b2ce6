// SPDX-License-Identifier: GPL-2.0
//! Code that uses rust/fs wrongly, which the compiler has to refuse: run.sh compiles this
//! once as it is, and then once with each `case`, and looks for the text that is said here.
#![no_std]
#![forbid(unsafe_code)]
// The items are private, but code has to be made for them.
#![allow(dead_code, missing_docs, private_interfaces)]

use kernel::prelude::*;
use kernel::str::CStr;
use kernel_ext::fs::{
    context, dentry, file, inode, netfs, param, super_block, FileSystem, Flags, FsContext, Inode,
    Registration, SuperBlock,
};
#[allow(unused_imports)]
use kernel_ext::*;

#[allow(non_upper_case_globals)]
const __LOG_PREFIX: &[u8] = b"refused\0";

struct Fs;

impl FileSystem for Fs {
    const NAME: &'static CStr = c"refused";
    const FLAGS: Flags = Flags::NONE;
    type Super = ();
    // REFUSED plain_with_netfs: method cannot be called on `New<Fs>` due to unsatisfied trait bounds
    #[cfg(not(case = "plain_with_netfs"))]
    type InodeBase = netfs::Inode;
    #[cfg(case = "plain_with_netfs")]
    type InodeBase = inode::Plain;
    type Inode = NoData;
    type Dentry = NoData;
    type Context = Mount;
    type SuperOps = Ops;
    type DentryOps = Ops;
}

struct NoData;

impl inode::InodeData for NoData {
    type Key = u64;

    fn hash(key: &u64) -> u64 {
        *key
    }

    fn ino(key: &u64) -> u64 {
        *key
    }

    fn init() -> impl PinInit<Self, Error> {
        Ok(NoData)
    }
}

impl dentry::DentryData for NoData {
    fn init() -> impl PinInit<Self, Error> {
        Ok(NoData)
    }
}

static PARAMS: param::ParamTable = param::ParamTable::new(&[param::ParamSpec::END]);

struct Mount;

#[vtable]
impl context::Operations for Mount {
    type Fs = Fs;
    const PARAMS: &'static param::ParamTable = &PARAMS;

    fn new(_: &FsContext<Fs>, _: Option<&SuperBlock<Fs>>) -> Result<Self> {
        Ok(Mount)
    }

    fn parse_param(&mut self, _: &FsContext<Fs>, _: u8, _: param::Value<'_>) -> Result {
        Err(EINVAL)
    }

    fn get_tree(&mut self, fc: &FsContext<Fs>) -> Result<super_block::Locked<Fs>> {
        let sb = match fc.sget((), |_, _| false)? {
            context::Sget::New(sb) => sb,
            context::Sget::Existing(sb) => return Ok(sb),
        };
        let root = match sb.get_or_create_inode(&1)? {
            inode::Got::Existing(root) => root,
            inode::Got::New(mut new) => {
                // REFUSED no_lookup: a directory without `lookup`
                #[cfg(case = "no_lookup")]
                new.init_dir::<NoLookup, Ops>(0o755);
                #[cfg(not(case = "no_lookup"))]
                new.init_dir::<Ops, Ops>(0o755);
                new.init_netfs::<Ops, Ops, Ops>(0o644);
                new.unlock()
            }
        };
        sb.set_root(root)
    }
}

struct Ops;

#[vtable]
impl super_block::Operations for Ops {
    type Fs = Fs;

    fn close(_: &SuperBlock<Fs>) {}
}

#[vtable]
impl dentry::Operations for Ops {
    type Fs = Fs;

    // REFUSED half_revalidate: `revalidate_rcu` without `revalidate`
    #[cfg(case = "half_revalidate")]
    fn revalidate_rcu(
        _: &inode::Uncounted<Fs>,
        _: &[u8],
        _: &dentry::Uncounted<Fs>,
        _: dentry::LookupFlags,
    ) -> Result<bool> {
        Ok(true)
    }
}

#[vtable]
impl inode::Operations for Ops {
    type Fs = Fs;

    fn lookup<'a>(
        _: inode::Locked<'_, Fs>,
        dentry: dentry::Unhashed<'a, Fs>,
        _: dentry::LookupFlags,
    ) -> Result<dentry::Spliced<'a, Fs>> {
        dentry.splice(None)
    }

    // REFUSED half_permission: `permission_rcu` without `permission`
    #[cfg(case = "half_permission")]
    fn permission_rcu(
        _: &inode::Uncounted<Fs>,
        _: inode::Access,
        _: inode::GenericPermission<'_>,
    ) -> Result {
        Ok(())
    }

    // REFUSED half_get_link: `get_link_rcu` without `get_link`
    #[cfg(case = "half_get_link")]
    fn get_link_rcu<'a>(_: &'a inode::Uncounted<Fs>) -> Result<&'a CStr> {
        Ok(c"")
    }
}

struct NoLookup;

#[vtable]
impl inode::Operations for NoLookup {
    type Fs = Fs;
}

#[vtable]
impl file::Operations for Ops {
    type Fs = Fs;
    type Data = ();

    fn open(_: &Inode<Fs>, _: &file::Opening<'_, Fs>) -> Result {
        Ok(())
    }

    // REFUSED half_map: `may_map` without `fault`
    #[cfg(case = "half_map")]
    fn may_map(_: &file::OpenFile<Self>) -> bool {
        true
    }

    fn iterate(_: &file::OpenFile<Self>, ctx: file::DirContext<'_, Fs>) -> Result {
        // REFUSED child_escapes: lifetime may not live long enough
        #[cfg(case = "child_escapes")]
        let _child = ctx.children().with_child(b"name", false, |child| child)?;
        #[cfg(not(case = "child_escapes"))]
        ctx.children()
            .with_child(b"name", false, |child| drop(child))?;
        Ok(())
    }
}

#[vtable]
impl netfs::Operations for Ops {
    type Fs = Fs;
    type Private = ();

    fn issue_read(subrequest: netfs::Subrequest<Fs>) {
        // REFUSED own_count: method `complete` is private
        #[cfg(case = "own_count")]
        subrequest.complete(Ok(4096));
        #[cfg(not(case = "own_count"))]
        subrequest.fail(EIO);
    }
}

pub fn register(module: &'static ThisModule) -> Result<Registration<Fs>> {
    Registration::new(module)
}
