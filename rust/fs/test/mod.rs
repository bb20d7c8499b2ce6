// SPDX-License-Identifier: GPL-2.0
//! A file system with one file, one link and one directory, mounted and read in a test.
//! It is also the example of how the parts go together.

use super::context::{self, FsContext, Sget};
use super::dentry::{self, Child, DentryData, LookupFlags};
use super::file::{self, DirContext, EntryType, OpenFile, Opening, ReadIter, SpliceRead};
use super::idmap::{Kgid, Kuid};
use super::inode::attr::{GetAttr, Time};
use super::inode::{self, Access, GenericPermission, Got, Inode, InodeData, InodeRef};
use super::netfs::{self, ReadToken, Subrequest};
use super::param::{EnumTable, Named, ParamSpec, ParamTable, Value};
use super::super_block::{self, Handle, Locked, StatFs};
use super::{direct, Dentry, FileSystem, Flags, Registration, SuperBlock};
use crate::iov::IovDest;
use crate::new_spinlock;
use core::ptr;
use kernel::prelude::*;
use kernel::str::{CStr, CString};
use kernel::sync::atomic::{ordering::Relaxed, Atomic};
use kernel::sync::SpinLock;
use mount::{Mounted, Names};

mod mount;
mod plain;
mod vfs;

/// Inodes that are alive; all must be gone in the end.
static INODES: Atomic<i32> = Atomic::new(0);
/// Likewise super blocks.
static SUPERS: Atomic<i32> = Atomic::new(0);

struct TestFs;

struct Super {
    size: u32,
    handle: Pin<KBox<SpinLock<Option<Handle<TestFs>>>>>,
}

impl Drop for Super {
    fn drop(&mut self) {
        SUPERS.fetch_sub(1, Relaxed);
    }
}

struct Node {
    evicted: Atomic<i32>,
}

impl Drop for Node {
    fn drop(&mut self) {
        INODES.fetch_sub(1, Relaxed);
    }
}

impl InodeData for Node {
    type Key = u64;

    fn hash(key: &u64) -> u64 {
        *key
    }

    fn ino(key: &u64) -> u64 {
        *key
    }

    fn init() -> impl PinInit<Self, Error> {
        INODES.fetch_add(1, Relaxed);
        Ok(Node {
            evicted: Atomic::new(0),
        })
    }
}

struct Lease(Atomic<i32>);

impl DentryData for Lease {
    fn init() -> impl PinInit<Self, Error> {
        Ok(Lease(Atomic::new(1)))
    }
}

impl FileSystem for TestFs {
    const NAME: &'static CStr = c"rust_test_fs";
    const FLAGS: Flags = Flags::ALLOW_IDMAP;
    type Super = Super;
    type InodeBase = netfs::Inode;
    type Inode = Node;
    type Dentry = Lease;
    type Context = Mount;
    type SuperOps = SuperOps;
    type DentryOps = DentryOps;
}

static COLOUR: EnumTable =
    EnumTable::new(&[Named::new(c"red", 1), Named::new(c"blue", 2), Named::END]);
static PARAMS: ParamTable = ParamTable::new(&[
    ParamSpec::u32(c"size", 1),
    ParamSpec::enumeration(c"colour", 2, &COLOUR),
    ParamSpec::flag_no(c"shiny", 3),
    ParamSpec::string(c"source", 4),
    ParamSpec::END,
]);

struct Mount {
    size: u32,
    colour: i32,
    shiny: bool,
}

const THE_ROOT: u64 = 1;
const THE_FILE: u64 = 2;
const THE_LINK: u64 = 3;
/// A regular file that cannot be read.
const THE_BAD: u64 = 4;
/// A named pipe.
const THE_PIPE: u64 = 5;
/// A regular file whose operations are odd.
const THE_ODD: u64 = 6;
/// A regular file with the operations of a directory.
const NO_DIR: u64 = 7;
/// An inode that lookup wants to use while it is new.
const UNREADY: u64 = 8;

fn get(sb: &SuperBlock<TestFs>, key: u64) -> Result<InodeRef<TestFs>> {
    let mut new = match sb.get_or_create_inode(&key)? {
        Got::Existing(inode) => return Ok(inode),
        Got::New(new) => new,
    };
    match key {
        THE_ROOT => new.init_dir::<InodeOps, DirOps>(0o755),
        THE_FILE => new.init_netfs::<InodeOps, FileOps, Data>(0o644),
        THE_LINK => new.init_symlink::<InodeOps>(0o777),
        THE_BAD => new.init_netfs::<InodeOps, FileOps, Data>(0o600),
        THE_PIPE => {
            assert!(matches!(new.init_special::<InodeOps>(0o100644, 0), Err(e) if e == EINVAL));
            new.init_special::<InodeOps>(inode::mode::FIFO | 0o600, 0)?;
        }
        THE_ODD => new.init_netfs::<InodeOps, OddOps, Data>(0o644),
        NO_DIR => new.init_netfs::<InodeOps, DirOps, Data>(0o644),
        // Dropping the new inode makes it a bad one.
        _ => return Err(ENOENT),
    }
    new.set_owner(Kuid::new(7), Kgid::new(8));
    new.set_nlink(1);
    new.set_times(
        Time { sec: 1, nsec: 2 },
        Time { sec: 3, nsec: 4 },
        Time::default(),
    );
    if key == THE_FILE || key == THE_BAD {
        new.set_size(sb.data().size.into());
    }
    Ok(new.unlock())
}

#[vtable]
impl context::Operations for Mount {
    type Fs = TestFs;

    const PARAMS: &'static ParamTable = &PARAMS;

    fn new(_fc: &FsContext<TestFs>, _existing: Option<&SuperBlock<TestFs>>) -> Result<Self> {
        Ok(Mount {
            size: 0,
            colour: 0,
            shiny: false,
        })
    }

    fn parse_param(&mut self, fc: &FsContext<TestFs>, opt: u8, value: Value<'_>) -> Result {
        match (opt, value) {
            (1, Value::U32(size)) => self.size = size,
            (2, Value::Enum(colour)) => self.colour = colour,
            (3, Value::Flag(on)) => self.shiny = on,
            (4, Value::String(source)) if source == c"nowhere" => {}
            _ => return Err(fc.invalid(fmt!("option {} is not to be like that", opt))),
        }
        Ok(())
    }

    fn get_tree(&mut self, fc: &FsContext<TestFs>) -> Result<Locked<TestFs>> {
        if self.colour != 2 || self.shiny {
            return Err(EINVAL);
        }
        let handle = KBox::pin_init(new_spinlock!(None, "kernel_ext_fs_super"), GFP_KERNEL)?;
        let data = Super {
            size: self.size,
            handle,
        };
        SUPERS.fetch_add(1, Relaxed);
        match fc.sget(data, |a, b| a.size == b.size)? {
            Sget::Existing(sb) => Ok(sb),
            Sget::New(mut sb) => {
                *sb.data().handle.lock() = Some(sb.handle());
                sb.set_magic(0x1234);
                sb.set_time_range(0, i64::from(u32::MAX), 1);
                sb.set_block_size_bits(12);
                let name = CString::try_from_fmt(fmt!("rust-test-{}", self.size))?;
                sb.setup_bdi(&name, 32, 32)?;
                assert!(matches!(sb.setup_bdi(c"again", 32, 32), Err(e) if e == EEXIST));
                assert!(get(&sb, 99).is_err());
                assert!(sb.root().is_none());
                let root = get(&sb, THE_ROOT)?;
                sb.set_root(root)
            }
        }
    }
}

/// How far the end of a super block has come; negative if something was wrong.
static STAGE: Atomic<i32> = Atomic::new(0);

fn advance(from: i32, to: i32) {
    let _ = STAGE.cmpxchg(from, to, Relaxed);
}

struct SuperOps;

#[vtable]
impl super_block::Operations for SuperOps {
    type Fs = TestFs;

    fn quiesce(sb: &SuperBlock<TestFs>) {
        // Writing back needs references, to what is found now, too.
        let enters = sb.handle().get().is_some();
        STAGE.store(if enters { 1 } else { -1 }, Relaxed);
    }

    fn close(sb: &SuperBlock<TestFs>) {
        let enters = sb.handle().get().is_some();
        advance(1, if enters { 2 } else { -2 });
    }

    fn unreferenced(data: &Super) {
        let handle = data.handle.lock();
        let enters = handle.as_ref().is_some_and(|handle| handle.get().is_some());
        advance(2, if enters { -3 } else { 3 });
    }

    fn put_super(_data: &Super) {
        advance(3, 4);
    }

    fn evict(inode: &inode::Uncounted<TestFs>) {
        inode.data().evicted.fetch_add(1, Relaxed);
    }

    fn statfs(_dentry: &Dentry<TestFs>, stat: &mut StatFs) -> Result {
        stat.set_blocks(100, 50, 25).set_name_len(255);
        Ok(())
    }
}

struct DentryOps;

#[vtable]
impl dentry::Operations for DentryOps {
    type Fs = TestFs;

    fn revalidate(
        _dir: &Inode<TestFs>,
        _name: &[u8],
        dentry: &Dentry<TestFs>,
        _flags: LookupFlags,
    ) -> Result<bool> {
        Ok(dentry.data().0.load(Relaxed) == 1)
    }
}

struct InodeOps;

#[vtable]
impl inode::Operations for InodeOps {
    type Fs = TestFs;

    fn lookup<'a>(
        dir: inode::Locked<'_, TestFs>,
        dentry: dentry::Unhashed<'a, TestFs>,
        _flags: LookupFlags,
    ) -> Result<dentry::Spliced<'a, TestFs>> {
        let inode = match dentry.name() {
            b"file" => Some(get(dir.super_block(), THE_FILE)?),
            b"link" => Some(get(dir.super_block(), THE_LINK)?),
            b"bad" => Some(get(dir.super_block(), THE_BAD)?),
            b"pipe" => Some(get(dir.super_block(), THE_PIPE)?),
            b"odd" => Some(get(dir.super_block(), THE_ODD)?),
            b"no dir" => Some(get(dir.super_block(), NO_DIR)?),
            b"unready" => {
                let new = match dir.super_block().get_or_create_inode(&UNREADY)? {
                    Got::Existing(_) => return Err(EEXIST),
                    Got::New(new) => new,
                };
                return dentry.splice(Some(new.get()));
            }
            _ => None,
        };
        dentry.splice(inode)
    }

    fn permission(
        _inode: &Inode<TestFs>,
        _access: Access,
        generic: GenericPermission<'_>,
    ) -> Result {
        generic.check()
    }

    fn getattr(mut call: GetAttr<'_, TestFs>) -> Result {
        call.fill().set_block_size(1 << 16);
        Ok(())
    }

    fn get_link<'a>(_inode: &'a Inode<TestFs>) -> Result<&'a CStr> {
        Ok(c"file")
    }
}

/// Whether readdir forgets the children that it is lent.
static FORGETFUL: Atomic<i32> = Atomic::new(0);

struct DirOps;

#[vtable]
impl file::Operations for DirOps {
    type Fs = TestFs;
    type Data = ();

    fn open(_inode: &Inode<TestFs>, _file: &Opening<'_, TestFs>) -> Result<()> {
        Ok(())
    }

    fn splice_read(_file: &OpenFile<Self>, io: SpliceRead<'_>) -> Result<usize> {
        // There is no `read_iter` that it could copy by.
        io.copied()
    }

    fn iterate(_file: &OpenFile<Self>, mut ctx: DirContext<'_, TestFs>) -> Result {
        if !ctx.emit_dots() {
            return Ok(());
        }
        for (pos, name, key, kind) in [
            (2, b"file", THE_FILE, EntryType::Regular),
            (3, b"link", THE_LINK, EntryType::Symlink),
        ] {
            if ctx.pos() > pos {
                continue;
            }
            let sb = ctx.dentry().super_block();
            ctx.children()
                .with_child(name, pos == 3, |child| match child {
                    child if FORGETFUL.load(Relaxed) != 0 => {
                        core::mem::forget(child);
                        Ok(())
                    }
                    Child::Existing(_) => Ok(()),
                    Child::InLookup(new) => new.splice(Some(get(sb, key)?)).map(drop),
                })??;
            if !ctx.emit(name, key, kind) {
                return Ok(());
            }
            ctx.set_pos(pos + 1);
        }
        Ok(())
    }
}

struct FileOps;

#[vtable]
impl file::Operations for FileOps {
    type Fs = TestFs;
    type Data = KBox<u32>;

    const DIRECT: bool = true;

    fn open(inode: &Inode<TestFs>, _file: &Opening<'_, TestFs>) -> Result<KBox<u32>> {
        Ok(KBox::new(inode.size() as u32, GFP_KERNEL)?)
    }

    fn read_iter(file: &OpenFile<Self>, mut io: ReadIter<'_, TestFs>) -> Result<usize> {
        assert_eq!(i64::from(*file.data()), file.inode().size());
        if io.is_direct() {
            return io.direct::<Data>(file.inode());
        }
        io.buffered()
    }
}

/// Operations that do not keep to what the VFS wants.
struct OddOps;

#[vtable]
impl file::Operations for OddOps {
    type Fs = TestFs;
    type Data = ();

    fn open(_inode: &Inode<TestFs>, _file: &Opening<'_, TestFs>) -> Result {
        Ok(())
    }

    fn read_iter(_file: &OpenFile<Self>, mut io: ReadIter<'_, TestFs>) -> Result<usize> {
        match io.pos() {
            // More than was given, and than was asked for.
            0 => {
                assert_eq!(io.zero(3), 3);
                Ok(usize::MAX)
            }
            // Nobody ends this read.
            _ => Err(EIOCBQUEUED),
        }
    }

    fn llseek(file: &OpenFile<Self>, offset: i64, whence: i32) -> Result<i64> {
        // Not further than to 10, and the end is at 5.
        file.generic_llseek(offset, whence, 10, 5)
    }
}

/// What the file has at an offset.
fn byte(offset: u64) -> u8 {
    (offset ^ offset >> 8 ^ offset >> 16) as u8
}

struct Data;

#[vtable]
impl netfs::Operations for Data {
    type Fs = TestFs;
    type Private = KBox<u64>;

    fn begin(request: &netfs::Request<'_, TestFs>) -> Result<KBox<u64>> {
        Ok(KBox::new(request.start(), GFP_KERNEL)?)
    }

    fn max_read(_inode: &inode::Uncounted<TestFs>, start: u64, len: usize) -> usize {
        // Not across a "stripe".
        len.min((0x10000 - start % 0x10000) as usize)
    }

    fn issue_read(sub: Subrequest<TestFs>) {
        let (bad, start) = (*sub.inode().key() == THE_BAD, sub.start());
        fill::<Subrequest<TestFs>>(bad, start, sub.into_dest());
    }
}

impl direct::Operations for Data {
    type Fs = TestFs;

    type Plan = (bool, u64);

    fn plan(
        inode: &inode::Uncounted<TestFs>,
        start: u64,
        len: usize,
    ) -> Result<((bool, u64), usize)> {
        let part = <Self as netfs::Operations>::max_read(inode, start, len);
        Ok(((*inode.key() == THE_BAD, start), part))
    }

    fn read((bad, start): (bool, u64), dest: IovDest) {
        fill::<direct::Token<Self>>(bad, start, dest);
    }

    fn begin_async(_inode: &inode::Uncounted<TestFs>) {
        BEGUN.fetch_add(1, Relaxed);
    }

    fn end_async(_inode: &inode::Uncounted<TestFs>) {
        ENDED.fetch_add(1, Relaxed);
    }

    fn killed(_inode: &inode::Uncounted<TestFs>) {}
}

/// Reads of files whose reader does not wait.
static BEGUN: Atomic<u32> = Atomic::new(0);
/// Those that have ended.
static ENDED: Atomic<u32> = Atomic::new(0);

fn fill<R: ReadToken>(bad: bool, start: u64, mut dest: IovDest) {
    if bad {
        // Dropping it ends it with `EIO`.
        return;
    }
    // Half of each 256 KiB is a hole.
    let have = if start % 0x40000 < 0x20000 {
        dest.len()
    } else {
        0
    };
    let mut ok = true;
    for i in 0..have as u64 {
        ok &= dest.copy_from_slice(&[byte(start + i)]).is_ok();
    }
    R::end(dest, if ok { Ok(()) } else { Err(EIO) });
}

fn registration<T: FileSystem>() -> Result<Registration<T>> {
    // SAFETY: No module, so none is counted; the test waits for the end.
    static NO_MODULE: ThisModule = unsafe { ThisModule::from_ptr(ptr::null_mut()) };
    Registration::new(&NO_MODULE)
}

fn options() -> [(&'static CStr, &'static CStr); 3] {
    [
        (c"source", c"nowhere"),
        (c"size", c"600000"),
        (c"colour", c"blue"),
    ]
}

#[kunit_tests(kernel_ext_fs)]
mod tests {
    use super::*;

    #[test]
    fn a_life() -> Result {
        let registration = registration::<TestFs>()?;
        {
            let mounted = Mounted::new(&registration, &options())?;
            let again = Mounted::new(&registration, &options())?;
            assert_eq!(SUPERS.load(Relaxed), 1);
            drop(again);
            STAGE.store(0, Relaxed);

            let dir = mounted.open(b"")?;
            let mut names = Names::new(usize::MAX);
            names.read(&dir)?;
            assert_eq!(&names.seen[..], b". .. file link ");

            let file = mounted.open(b"file")?;
            let mut buf = KVVec::from_elem(0xffu8, 700_000, GFP_KERNEL)?;
            let mut pos = 0;
            assert_eq!(file.read(&mut buf, &mut pos)?, 600_000);
            assert_eq!(pos, 600_000);
            for (offset, got) in buf.iter().take(600_000).enumerate() {
                let offset = offset as u64;
                let want = if offset % 0x40000 < 0x20000 {
                    byte(offset)
                } else {
                    0
                };
                if *got != want {
                    pr_err!("offset {offset}: {got} instead of {want}\n");
                    return Err(EIO);
                }
            }
            assert!(mounted.open(b"missing").is_err());
            assert!(INODES.load(Relaxed) > 0);
        }
        drop(registration);
        assert_eq!((SUPERS.load(Relaxed), INODES.load(Relaxed)), (0, 0));
        assert_eq!(STAGE.load(Relaxed), 4);
        Ok(())
    }

    #[test]
    fn wrong_options() -> Result {
        let registration = registration::<TestFs>()?;
        for wrong in [
            (c"colour", c"green"),
            (c"size", c"much"),
            (c"source", c"elsewhere"),
            (c"shiny", c"yes"),
            (c"smell", c"bad"),
        ] {
            assert!(Mounted::new(&registration, &[wrong]).is_err());
        }
        assert!(Mounted::new(&registration, &[(c"colour", c"red")]).is_err());
        Ok(())
    }

    #[test]
    fn references_hold_the_super_block() -> Result {
        let registration = registration::<TestFs>()?;
        let handle = {
            let mounted = Mounted::new(&registration, &options())?;
            let sb = mounted.super_block();
            let handle = sb.handle();
            assert!(handle.get().is_some());
            // The last reference of an inode that nobody else has.
            drop(get(sb, THE_FILE)?);
            let inode = get(sb, THE_FILE)?;
            let owner = (inode.uid().get(), inode.gid().get());
            assert_eq!((inode.ino(), owner), (THE_FILE, (7, 8)));
            assert_eq!(inode.times().1, Time { sec: 3, nsec: 4 });
            inode.put_now();
            handle
        };
        assert!(handle.get().is_none());
        drop(registration);
        assert_eq!((SUPERS.load(Relaxed), INODES.load(Relaxed)), (0, 0));
        Ok(())
    }
}
