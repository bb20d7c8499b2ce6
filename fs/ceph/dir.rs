// SPDX-License-Identifier: GPL-2.0
//! Directories: looking up names, and listing them.
//!
//! # Positions
//!
//! Servers list a directory in the order of the hashes of its names. A position in it is a
//! hash and a number, which counts the names of that hash from 2 on; 0 and 1 are `.` and
//! `..`. So a position stays good when names come and go, and when the directory is split
//! into fragments. The encoding is that of the C client.
//!
//! # Complete directories
//!
//! A listing puts each name into the dentry cache. If it went from the start to the end
//! and nothing was dropped meanwhile, all names are there: then, as long as Fs is issued, a
//! name that is not in the cache does not exist, and nobody is asked for it.
use kernel::{new_mutex, prelude::*, sync::Mutex};
use kernel_ext::fs::{
    dentry::{Child, DirChildren, LookupFlags, Spliced, Unhashed},
    file::{self, DirContext, EntryType, OpenFile, Opening},
    inode::{self, Access, GenericPermission, Uncounted},
    stat::GetAttr,
    Inode,
};

use ceph_fs_proto::{machine::caps::Mode, wire::frag::Frag};

use ceph_proto::errno::enametoolong;

use crate::{
    fill::{Entry, Listing},
    ops,
    super_block::CephFs,
};

/// Longest name.
const NAME_MAX: usize = 255;

/// The operations of directories' inodes.
pub(crate) struct DirOps;

#[vtable]
impl inode::Operations for DirOps {
    type Fs = CephFs;

    fn lookup<'a>(
        dir: &Inode<CephFs>,
        dentry: Unhashed<'a, CephFs>,
        _flags: LookupFlags,
    ) -> Result<Spliced<'a, CephFs>> {
        let name = dentry.name();
        if name.len() > NAME_MAX {
            return Err(enametoolong());
        }
        let fs = dir.super_block().data();
        let info = dir.data();
        // Before: if Fs is lost and issued again in between, it must not count.
        let shared_gen = info.shared_gen();
        if fs.options.dcache && dir.key().is_head() && info.is_complete() {
            let spliced = dentry.splice(None)?;
            spliced.data().set_dir_gen(shared_gen);
            return Ok(spliced);
        }
        let filled = fs.lookup(dir, name)?;
        let spliced = dentry.splice(filled.target)?;
        if let Some(lease) = filled.lease {
            spliced.data().set_lease(lease);
        }
        Ok(spliced)
    }

    fn permission(inode: &Inode<CephFs>, _: Access, generic: GenericPermission<'_>) -> Result {
        ops::permission(inode, &generic)
    }

    fn permission_rcu(
        inode: &Uncounted<CephFs>,
        _: Access,
        generic: GenericPermission<'_>,
    ) -> Result {
        ops::permission_rcu(inode, &generic)
    }

    fn getattr(call: GetAttr<'_, CephFs>) -> Result {
        ops::getattr(call)
    }
}

/// A place in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position(i64);

impl Position {
    const HASH_ORDER: i64 = 0xff << 52;
    const NUMBER_BITS: u32 = 28;
    /// The number of the first name of a hash, so that the start is not that of `.`.
    const FIRST: u32 = 2;
    const START: Self = Self(2);

    fn new(hash: u32, number: u32) -> Self {
        let hash = i64::from(hash & 0xff_ffff);
        Self(Self::HASH_ORDER | hash << Self::NUMBER_BITS | i64::from(number))
    }

    /// The hash, the lowest 24 bits of it; 0 at the start.
    fn hash(self) -> u32 {
        if self.0 < Self::HASH_ORDER {
            return 0;
        }
        ((self.0 >> Self::NUMBER_BITS) & 0xff_ffff) as u32
    }

    fn number(self) -> u32 {
        (self.0 & ((1 << Self::NUMBER_BITS) - 1)) as u32
    }

    fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Gives each name of a reply its position. `after` is that of the name before them.
fn positions(entries: &[Entry], after: Option<Position>) -> Result<KVVec<Position>> {
    let mut all = KVVec::with_capacity(entries.len(), GFP_KERNEL)?;
    let mut last = after;
    for entry in entries {
        let hash = entry.hash & 0xff_ffff;
        let number = match last {
            Some(last) if last.hash() == hash => last.number().saturating_add(1),
            _ => Position::FIRST,
        };
        let position = Position::new(hash, number);
        all.push(position, GFP_KERNEL)?;
        last = Some(position);
    }
    Ok(all)
}

/// What one reply lists.
struct Chunk {
    listing: Listing,
    positions: KVVec<Position>,
}

/// Where a reader of a directory is.
struct Cursor {
    /// Where the next call goes on.
    at: Position,
    chunk: Option<Chunk>,
    /// The fragment to go on with.
    frag: Frag,
    /// The name to go on after, and its position.
    after: Option<(KVec<u8>, Position)>,
    at_end: bool,
    /// For the directory to count as complete in the end: its counts as the listing began.
    /// None if names were skipped.
    begun: Option<(u64, u64)>,
}

impl Cursor {
    const fn new() -> Self {
        Self {
            at: Position(-1),
            chunk: None,
            frag: Frag::ROOT,
            after: None,
            at_end: false,
            begun: None,
        }
    }

    /// Goes to another place, where nothing is known.
    fn seek(&mut self, dir: &Inode<CephFs>, at: Position) {
        let info = dir.data();
        *self = Self {
            at,
            frag: info.choose_frag(at.hash()),
            begun: (at <= Position::START).then(|| info.counts()),
            ..Self::new()
        };
    }

    /// Asks for the next names, and puts them into the dentry cache.
    fn fetch(&mut self, dir: &Inode<CephFs>, children: &DirChildren<'_, CephFs>) -> Result {
        let fs = dir.super_block().data();
        let last = self.after.as_ref();
        let filled = match last {
            Some((name, _)) => fs.readdir(dir, self.frag, name, 0)?,
            None => fs.readdir(dir, self.frag, &[], self.at.hash())?,
        };
        let mut listing = filled.listing.ok_or(EIO)?;
        // Servers older than Kraken do it otherwise.
        if !listing.is_hash_order() {
            return Err(EIO);
        }
        let positions = positions(&listing.entries, last.map(|(_, position)| *position))?;
        for (entry, position) in listing.entries.iter_mut().zip(&positions) {
            if add_child(children, entry, *position).is_err() {
                self.begun = None;
            }
        }
        self.frag = listing.frag;
        self.chunk = Some(Chunk { listing, positions });
        Ok(())
    }

    /// After the last name of a chunk.
    fn advance(&mut self, dir: &Inode<CephFs>, chunk: Chunk) -> Result {
        let last = chunk.listing.entries.iter().zip(&chunk.positions).last();
        if let Some((entry, position)) = last {
            let mut name = KVec::new();
            name.extend_from_slice(&entry.name, GFP_KERNEL)?;
            self.after = Some((name, *position));
        } else if !chunk.listing.is_end() {
            // It would go on like that for ever.
            return Err(EIO);
        }
        if !chunk.listing.is_end() {
            return Ok(());
        }
        let info = dir.data();
        match self.frag.next() {
            Some(next) => {
                self.frag = info.choose_frag(next.value());
                self.after = None;
                self.at = self.at.max(Position::new(next.value(), Position::FIRST));
            }
            None => {
                self.at_end = true;
                if let (Some(counts), true) = (self.begun, dir.key().is_head()) {
                    info.set_complete(counts);
                }
            }
        }
        Ok(())
    }
}

/// Puts a name into the dentry cache.
fn add_child(children: &DirChildren<'_, CephFs>, entry: &mut Entry, position: Position) -> Result {
    // What is there may name something else, which is taken out first.
    for _ in 0..2 {
        let lease = &mut entry.lease;
        let inode = &entry.inode;
        let added = children.with_child(&entry.name, |child| {
            let dentry = match child {
                Child::InLookup(new) => new.splice(Some(inode.clone()))?,
                Child::Existing(dentry) => dentry,
            };
            if dentry
                .inode()
                .is_none_or(|known| known.key() != inode.key())
            {
                dentry.invalidate();
                return Ok(false);
            }
            let data = dentry.data();
            if let Some(lease) = lease.take() {
                data.set_lease(lease);
            }
            data.set_offset(position.0);
            Ok::<_, Error>(true)
        })??;
        if added {
            return Ok(());
        }
    }
    Err(EAGAIN)
}

/// An open directory.
#[pin_data]
pub(crate) struct DirFile {
    #[pin]
    cursor: Mutex<Cursor>,
}

/// The operations of open directories.
pub(crate) struct FileOps;

#[vtable]
impl file::Operations for FileOps {
    type Fs = CephFs;
    type Data = Pin<KBox<DirFile>>;

    fn open(inode: &Inode<CephFs>, _file: &Opening<'_, CephFs>) -> Result<Self::Data> {
        let data = KBox::pin_init(
            pin_init!(DirFile {
                cursor <- new_mutex!(Cursor::new(), "ceph::DirFile::cursor"),
            }),
            GFP_KERNEL,
        )?;
        inode.super_block().data().open(inode, Mode::Read)?;
        Ok(data)
    }

    fn release(inode: &Inode<CephFs>, data: Self::Data) {
        drop(data);
        inode.super_block().data().closed(inode, Mode::Read);
    }

    fn iterate(file: &OpenFile<Self>, mut ctx: DirContext<'_, CephFs>) -> Result {
        if !ctx.emit_dots() {
            return Ok(());
        }
        let dir = file.inode();
        let ino32 = dir.super_block().data().options.ino32;
        let data = file.data();
        let mut cursor = data.cursor.lock();
        let at = Position(ctx.pos());
        if cursor.at != at || at <= Position::START {
            cursor.seek(dir, at);
        }
        while !cursor.at_end {
            let Some(chunk) = cursor.chunk.take() else {
                cursor.fetch(dir, &ctx.children())?;
                continue;
            };
            for (entry, position) in chunk.listing.entries.iter().zip(&chunk.positions) {
                if *position < cursor.at {
                    continue;
                }
                ctx.set_pos(position.0);
                let ino = ops::shown_ino(entry.inode.ino(), ino32);
                let kind = EntryType::of_mode(entry.inode.mode());
                if !ctx.emit(&entry.name, ino, kind) {
                    cursor.at = *position;
                    cursor.chunk = Some(chunk);
                    return Ok(());
                }
                cursor.at = position.next();
                ctx.set_pos(cursor.at.0);
            }
            cursor.advance(dir, chunk)?;
            ctx.set_pos(cursor.at.0);
        }
        Ok(())
    }

    fn llseek(file: &OpenFile<Self>, offset: i64, whence: i32) -> Result<i64> {
        // SEEK_SET and SEEK_CUR: a directory has no end that one could go to.
        if !(0..=1).contains(&whence) {
            return Err(EINVAL);
        }
        file.generic_llseek(offset, whence, i64::MAX, i64::MAX)
    }
}

#[kunit_tests(ceph_dir)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_the_c_client() {
        assert_eq!(Position::new(0x12_3456, 7).0, 0x0ff1_2345_6000_0007);
        assert_eq!(Position::new(0x12_3456, 7).hash(), 0x12_3456);
        assert_eq!(Position::new(0x12_3456, 7).number(), 7);
        assert_eq!(Position::START.hash(), 0);
        assert!(Position::START < Position::new(0, Position::FIRST));
        assert!(Position::new(1, 9) < Position::new(2, Position::FIRST));
    }
}
