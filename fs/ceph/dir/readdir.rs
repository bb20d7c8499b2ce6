// SPDX-License-Identifier: GPL-2.0
//! Directories: looking up names, and listing them.
//!
//! # Complete directories
//!
//! A listing puts each name into the dentry cache, and the directory remembers the names. If
//! it went from the start to the end and nothing was dropped or changed meanwhile, all are
//! there: then, as long as Fs is issued, readdir is served from memory, and of a name that is
//! not in the dentry cache it is known that it does not exist
//! ([`InodeInfo`](crate::inode::info::InodeInfo)). The positions are the same either way, so that a
//! reader does not notice when that begins or ends.
use core::pin::Pin;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use kernel_ext::fs::{
    dentry::{
        Child,
        DirChildren, //
    },
    file::{
        self,
        lock,
        DirContext,
        EntryType,
        OpenFile,
        Opening,
        SEEK_CUR,
        SEEK_END,
        SEEK_SET, //
    },
    Inode, //
};

use ceph_fs_proto::{
    machine::{
        listing::{
            Entry,
            Listing,
            Part,
            Position, //
        },
        refs::Mode,
        route::RankHints, //
    },
    wire::{
        frag::Frag,
        reply::{
            ClientReply,
            Extra, //
        },
        request::{
            Args,
            ClientRequest,
            FilePath,
            Op, //
        },
    },
};
use ceph_proto::errno::eopnotsupp;

use crate::{
    dir::lease::LeaseOrigin,
    file::locks::no_lock,
    fs_client::{
        FsClient,
        Session, //
    },
    fs_type::CephFs,
    inode::{
        access::refuse_encrypted,
        attrs::owned,
        inode_ops, //
    },
    mds_client::op::MdsOp,
    request_target::RequestTarget,
    trace::{
        Listed,
        ListedInode, //
    },
};

/// Where a reader of a directory is.
struct Cursor {
    /// Where the next call goes on.
    at: Position,
    /// What the last reply listed, if not all of it was read yet.
    part: Option<Arc<Part>>,
    /// The fragment to go on with.
    frag: Frag,
    /// Whether the part goes to its end.
    frag_ends: bool,
    /// The name to go on after, and its position.
    after: Option<(KVec<u8>, Position)>,
    at_end: bool,
    /// All names so far, and the directory's count of dropped names as the listing began.
    /// None if names were skipped.
    all: Option<(Listing, u64)>,
}

impl Cursor {
    const fn new(at: Position) -> Self {
        Self {
            at,
            part: None,
            frag: Frag::ROOT,
            frag_ends: false,
            after: None,
            at_end: false,
            all: None,
        }
    }

    /// Asks for the next names, and puts them into the dentry cache.
    fn fetch(
        &mut self,
        dir: &Inode<CephFs>,
        children: &DirChildren<'_, CephFs>,
    ) -> Result<Arc<Part>> {
        let fs = dir.super_block().data();
        let from_start = self.at <= Position::START;
        let mut listed = match &self.after {
            Some((name, _)) => fs.readdir(dir, self.frag, name, 0)?,
            None => fs.readdir(dir, self.frag, &[], self.at.hash())?,
        };
        if let Some((_, before)) = &self.after {
            listed.part.follow(*before);
        } else if from_start && listed.frag.is_leftmost() {
            self.all = Some((Listing::new(), listed.release_count));
        }
        for (entry, inode) in listed.part.from(Position(0)).zip(listed.inodes) {
            match (
                add_child(dir, children, &entry, inode, &listed.origin),
                &mut self.all,
            ) {
                (Ok(dropped), Some((_, count))) => *count = count.wrapping_add(dropped),
                (Ok(_), None) => {}
                (Err(_), all) => *all = None,
            }
        }
        let part = Arc::new(listed.part, GFP_KERNEL)?;
        self.all.take_if(|(all, _)| all.push(&part).is_err());
        self.frag = listed.frag;
        self.frag_ends = listed.is_end;
        Ok(part)
    }

    /// After the last name of a part.
    fn advance(&mut self, dir: &Inode<CephFs>, part: &Part) -> Result {
        if !self.frag_ends {
            // Without, it would go on like that for ever.
            let (name, last) = part.last_name().zip(part.last()).ok_or(EIO)?;
            let mut after = KVec::new();
            after.extend_from_slice(name, GFP_KERNEL)?;
            self.after = Some((after, last));
            return Ok(());
        }
        self.after = None;
        let info = dir.data();
        match self.frag.next() {
            Some(next) => {
                self.frag = info.choose_frag(next.value());
                self.at = self.at.max(Position::of_hash(next.value()));
            }
            None => {
                self.end();
                if let (Some((all, count)), true) = (self.all.take(), dir.key().is_head()) {
                    info.set_complete(count, Arc::new(all, GFP_KERNEL)?);
                }
            }
        }
        Ok(())
    }

    /// There is no more. The end of an empty directory is not its start, where the next call
    /// would begin again.
    fn end(&mut self) {
        self.at_end = true;
        self.at = self.at.max(Position::of_hash(0));
    }

    /// Gives names until there is no room for more; whether that is so.
    fn emit<'a>(
        &mut self,
        dir: &Inode<CephFs>,
        ctx: &mut DirContext<'_, CephFs>,
        entries: impl Iterator<Item = Entry<'a>>,
    ) -> bool {
        let ino32 = dir.super_block().data().options.ino32;
        let mut at = self.at;
        for entry in entries {
            ctx.set_pos(entry.at.0);
            let kind = EntryType::of_mode(entry.kind);
            if !ctx.emit(entry.name, inode_ops::shown_ino(entry.ino, ino32), kind) {
                self.at = entry.at;
                return true;
            }
            at = entry.at.next();
        }
        self.at = at;
        ctx.set_pos(at.0);
        false
    }
}

/// Puts a name into the dentry cache. How often it was dropped before.
fn add_child(
    dir: &Inode<CephFs>,
    children: &DirChildren<'_, CephFs>,
    entry: &Entry<'_>,
    listed: ListedInode,
    origin: &LeaseOrigin,
) -> Result<u64> {
    let ListedInode {
        inode,
        is_known,
        grant,
    } = listed;
    let mut inode = Some(inode);
    // What is there may name something else, which is taken out first.
    for dropped in 0..2 {
        let added = children.with_child(entry.name, is_known, |child| {
            match child {
                Child::InLookup(new) => {
                    new.splice(inode.take())?.data().learn(origin, grant);
                }
                Child::Existing(dentry) => {
                    let same = match (dentry.inode(), &inode) {
                        (Some(known), Some(inode)) => known.key() == inode.key(),
                        _ => false,
                    };
                    if !same {
                        dir.super_block().data().name_dropped(dir);
                        dentry.invalidate();
                        return Ok(false);
                    }
                    dentry.data().learn(origin, grant);
                }
            }
            Ok::<_, Error>(true)
        })??;
        if added {
            return Ok(dropped);
        }
    }
    Err(EAGAIN)
}

/// Gives `.` and `..`, by the numbers that stat(2) shows. False if there is no room.
fn emit_dots(dir: &Inode<CephFs>, ctx: &mut DirContext<'_, CephFs>) -> bool {
    let ino32 = dir.super_block().data().options.ino32;
    if ctx.pos() == 0 {
        let ino = inode_ops::shown_ino(dir.ino(), ino32);
        if !ctx.emit(b".", ino, EntryType::Directory) {
            return false;
        }
        ctx.set_pos(1);
    }
    if ctx.pos() == 1 {
        let parent = ctx.dentry().parent();
        let ino = parent.inode().map_or(0, |parent| parent.ino());
        parent.put_now();
        if !ctx.emit(
            b"..",
            inode_ops::shown_ino(ino, ino32),
            EntryType::Directory,
        ) {
            return false;
        }
        ctx.set_pos(2);
    }
    true
}

/// All names of the directory, if nobody has to be asked.
fn remembered(dir: &Inode<CephFs>) -> Option<Arc<Listing>> {
    let options = &dir.super_block().data().options;
    if options.dcache && options.async_readdir && dir.key().is_head() {
        dir.data().names()
    } else {
        None
    }
}

/// An open directory.
#[pin_data]
pub(crate) struct DirFile {
    #[pin]
    cursor: Mutex<Cursor>,
}

/// The operations of open directories.
pub(crate) struct DirFileOps;

#[vtable]
impl file::Operations for DirFileOps {
    type Fs = CephFs;
    type Data = Pin<KBox<DirFile>>;

    fn open(inode: &Inode<CephFs>, _file: &Opening<'_, CephFs>) -> Result<Self::Data> {
        let data = KBox::pin_init(
            pin_init!(DirFile {
                cursor <- new_mutex!(Cursor::new(Position(-1)), "ceph::DirFile::cursor"),
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

    fn lock(_: &OpenFile<Self>, request: lock::Request<'_>) -> Result {
        no_lock(&request)
    }

    fn flock(_: &OpenFile<Self>, request: lock::Request<'_>) -> Result {
        no_lock(&request)
    }

    fn iterate(file: &OpenFile<Self>, mut ctx: DirContext<'_, CephFs>) -> Result {
        let dir = file.inode();
        if !emit_dots(dir, &mut ctx) {
            return Ok(());
        }
        refuse_encrypted(dir)?;
        let data = file.data();
        let mut cursor = data.cursor.lock();
        let at = Position(ctx.pos());
        if cursor.at != at || at <= Position::START {
            let frag = dir.data().choose_frag(at.hash());
            *cursor = Cursor {
                frag,
                ..Cursor::new(at)
            };
        }
        while !cursor.at_end {
            if let Some(all) = remembered(dir) {
                let frag = dir.data().choose_frag(cursor.at.hash());
                *cursor = Cursor {
                    frag,
                    ..Cursor::new(cursor.at)
                };
                let from = cursor.at;
                if cursor.emit(dir, &mut ctx, all.from(from)) {
                    return Ok(());
                }
                cursor.end();
                break;
            }
            let part = match cursor.part.take() {
                Some(part) => part,
                None => cursor.fetch(dir, &ctx.children())?,
            };
            let from = cursor.at;
            if cursor.emit(dir, &mut ctx, part.from(from)) {
                cursor.part = Some(part);
                return Ok(());
            }
            cursor.advance(dir, &part)?;
        }
        ctx.set_pos(cursor.at.0);
        Ok(())
    }

    fn llseek(file: &OpenFile<Self>, offset: i64, whence: i32) -> Result<i64> {
        match whence {
            SEEK_SET | SEEK_CUR => {}
            // A directory has no end that one could go to.
            SEEK_END => return Err(eopnotsupp()),
            _ => return Err(EINVAL),
        }
        file.generic_llseek(offset, whence, i64::MAX, i64::MAX)
    }
}

/// READDIR: a part of a fragment of a directory.
struct Readdir {
    dir: RequestTarget,
    frag: Frag,
    /// What was listed before.
    last: KVec<u8>,
    offset_hash: u32,
    max_entries: u32,
    max_bytes: u32,
}

impl MdsOp for Readdir {
    type Fs = FsClient;
    type Answer = Option<Listed>;

    const OP: Op = Op::READDIR;

    fn hints(&self) -> RankHints {
        self.dir.hints_of_frag(self.frag)
    }

    fn encode<'a>(&'a self, request: ClientRequest<'a>) -> ClientRequest<'a> {
        ClientRequest {
            args: Args::Readdir {
                frag: self.frag,
                max_entries: self.max_entries,
                max_bytes: self.max_bytes,
                flags: Args::READDIR_REPLY_BITFLAGS,
                offset_hash: self.offset_hash,
            },
            path1: FilePath {
                ino: self.dir.ino(),
                path: &[],
            },
            path2: FilePath {
                ino: 0,
                path: &self.last,
            },
            ..request
        }
    }

    fn take(
        &self,
        fs: &Arc<FsClient>,
        session: &Arc<Session>,
        reply: &ClientReply<'_>,
    ) -> Result<Option<Listed>> {
        let started = self.dir.started;
        let trace = fs.take_trace(session, started, reply)?;
        let Extra::Dir(listed) = &reply.extra else {
            return Ok(None);
        };
        // The target of the reply is the directory itself.
        let dir = trace.target.as_ref().unwrap_or(&self.dir.inode);
        fs.take_listing(session, started, dir, listed).map(Some)
    }
}

impl FsClient {
    /// Lists a part of a fragment of a directory: what follows `last`, or, if that is
    /// empty, what has at least the hash `offset_hash`.
    fn readdir(
        &self,
        dir: &Inode<CephFs>,
        frag: Frag,
        last: &[u8],
        offset_hash: u32,
    ) -> Result<Listed> {
        let listed = self.ask(Readdir {
            dir: RequestTarget::new(dir),
            frag,
            last: owned(last)?,
            offset_hash,
            max_entries: self.options.readdir_max_entries,
            max_bytes: self.options.readdir_max_bytes,
        })?;
        listed.ok_or(EIO)
    }
}
