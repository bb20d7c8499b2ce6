// SPDX-License-Identifier: GPL-2.0
//! A file system that does without netfs: a directory with one file, whose pages it fills
//! itself.

use super::{byte, registration, Mounted};
use crate::fs::context::{self, FsContext, Sget};
use crate::fs::dentry::{self, DentryData, LookupFlags};
use crate::fs::file::{self, OpenFile, Opening, ReadIter};
use crate::fs::inode::{self, Got, Inode, InodeData, Uncounted};
use crate::fs::mapping::{self, Folio};
use crate::fs::param::{ParamSpec, ParamTable, Value};
use crate::fs::super_block::{self, Locked};
use crate::fs::{FileSystem, Flags, SuperBlock};
use kernel::prelude::*;
use kernel::str::CStr;

struct PlainFs;

impl FileSystem for PlainFs {
    const NAME: &'static CStr = c"rust_plain_fs";
    const FLAGS: Flags = Flags::NONE;
    type Super = ();
    type InodeBase = inode::Plain;
    type Inode = NoData;
    type Dentry = NoData;
    type Context = Mount;
    type SuperOps = Ops;
    type DentryOps = Ops;
}

struct NoData;

impl InodeData for NoData {
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

impl DentryData for NoData {
    fn init() -> impl PinInit<Self, Error> {
        Ok(NoData)
    }
}

static PARAMS: ParamTable = ParamTable::new(&[ParamSpec::END]);

const THE_ROOT: u64 = 1;
/// A file whose reading fails from its second page on.
const THE_BAD: u64 = 2;
const THE_FILE: u64 = 3;
/// The size of the files.
const SIZE: i64 = 10_000;
/// How much of a page is filled.
const FILLED: u64 = 1000;

struct Mount;

#[vtable]
impl context::Operations for Mount {
    type Fs = PlainFs;
    const PARAMS: &'static ParamTable = &PARAMS;

    fn new(_: &FsContext<PlainFs>, _: Option<&SuperBlock<PlainFs>>) -> Result<Self> {
        Ok(Mount)
    }

    fn parse_param(&mut self, _: &FsContext<PlainFs>, _: u8, _: Value<'_>) -> Result {
        Err(EINVAL)
    }

    fn get_tree(&mut self, fc: &FsContext<PlainFs>) -> Result<Locked<PlainFs>> {
        let sb = match fc.sget((), |_, _| false)? {
            Sget::New(sb) => sb,
            Sget::Existing(sb) => return Ok(sb),
        };
        let root = match sb.get_or_create_inode(&THE_ROOT)? {
            Got::Existing(root) => root,
            Got::New(mut new) => {
                new.init_dir::<Ops, Ops>(0o755);
                new.set_nlink(2);
                new.unlock()
            }
        };
        sb.set_root(root)
    }
}

struct Ops;

#[vtable]
impl super_block::Operations for Ops {
    type Fs = PlainFs;

    fn close(_: &SuperBlock<PlainFs>) {}
}

#[vtable]
impl dentry::Operations for Ops {
    type Fs = PlainFs;
}

#[vtable]
impl inode::Operations for Ops {
    type Fs = PlainFs;

    fn lookup<'a>(
        dir: inode::Locked<'_, PlainFs>,
        dentry: dentry::Unhashed<'a, PlainFs>,
        _: LookupFlags,
    ) -> Result<dentry::Spliced<'a, PlainFs>> {
        let key = match dentry.name() {
            b"file" => THE_FILE,
            b"bad" => THE_BAD,
            _ => return dentry.splice(None),
        };
        let inode = match dir.super_block().get_or_create_inode(&key)? {
            Got::Existing(inode) => inode,
            Got::New(mut new) => {
                new.init_regular::<Ops, FileOps, Pages>(0o644);
                new.set_size(SIZE);
                new.unlock()
            }
        };
        dentry.splice(Some(inode))
    }
}

#[vtable]
impl file::Operations for Ops {
    type Fs = PlainFs;
    type Data = ();

    fn open(_: &Inode<PlainFs>, _: &Opening<'_, PlainFs>) -> Result {
        Ok(())
    }
}

struct FileOps;

#[vtable]
impl file::Operations for FileOps {
    type Fs = PlainFs;
    type Data = ();

    fn open(_: &Inode<PlainFs>, _: &Opening<'_, PlainFs>) -> Result {
        Ok(())
    }

    fn read_iter(_: &OpenFile<Self>, mut io: ReadIter<'_, PlainFs>) -> Result<usize> {
        io.buffered()
    }
}

struct Pages;

impl mapping::Operations for Pages {
    type Fs = PlainFs;

    fn read_folio(inode: &Uncounted<PlainFs>, folio: &mut Folio<'_>) -> Result {
        if *inode.key() == THE_BAD && folio.pos() > 0 {
            return Err(EIO);
        }
        for _ in 0..FILLED {
            if folio.copy(&[byte(folio.pos())]) == 0 {
                return Err(EFBIG);
            }
        }
        Ok(())
    }
}

#[kunit_tests(kernel_ext_fs_plain)]
mod tests {
    use super::*;

    #[test]
    fn reads_without_netfs() -> Result {
        let registration = registration::<PlainFs>()?;
        let mounted = Mounted::<PlainFs>::new(&registration, &[])?;
        let file = mounted.open(b"file")?;
        let mut buf = KVVec::from_elem(0xffu8, 20_000, GFP_KERNEL)?;
        let mut pos = 0;
        assert_eq!(file.read(&mut buf, &mut pos)?, SIZE as usize);
        for (offset, got) in (0u64..SIZE as u64).zip(&buf) {
            let filled = offset % 4096 < FILLED;
            assert_eq!(*got, if filled { byte(offset) } else { 0 });
        }
        let sb = mounted.super_block();
        let inode = sb.find_inode(&THE_FILE).ok_or(ENOENT)?;
        assert_eq!(inode.nr_pages(), 3);
        inode.invalidate_pages()?;
        assert_eq!(inode.nr_pages(), 0);
        inode.set_size(5);
        pos = 0;
        assert_eq!(file.read(&mut buf, &mut pos)?, 5);

        let bad = mounted.open(b"bad")?;
        pos = 0;
        assert_eq!(bad.read(&mut buf, &mut pos)?, 4096);
        assert!(matches!(bad.read(&mut buf, &mut pos), Err(e) if e == EIO));
        Ok(())
    }

    #[test]
    fn inodes_are_no_larger_than_they_need_to_be() {
        let (plain, netfs) = (
            core::mem::size_of::<inode::Plain>(),
            core::mem::size_of::<crate::fs::netfs::Inode>(),
        );
        assert!(plain < netfs);
        assert_eq!(plain, core::mem::size_of::<crate::bindings::inode>());
    }
}
