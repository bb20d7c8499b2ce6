// SPDX-License-Identifier: GPL-2.0
//! Open files.
//!
//! A read holds Fr. With Fc it goes through the page cache. Without Fc another client may
//! be writing: then nothing is kept, and the size is asked for first. A mapped page that is
//! touched then is as new as the touch, and is dropped some seconds later.
//!
//! Content that is kept with the inode is asked for with no capability held and no page
//! locked that somebody may want back: the server may wait for that before it answers.
use kernel::prelude::*;
use kernel_ext::fs::{
    file::{
        self,
        lock,
        Fault,
        OpenFile,
        Opening,
        ReadIter,
        SpliceRead,
        SEEK_DATA,
        SEEK_END,
        SEEK_HOLE, //
    },
    Inode, //
};

use ceph_fs_proto::{
    machine::refs::Mode,
    wire::cap_bits::Caps, //
};

use crate::{
    caps::refs::CapRef,
    file::{
        locks::no_lock,
        read::Data, //
    },
    fs_type::CephFs,
    inode::access::refuse_encrypted, //
};

/// The operations of open files.
pub(crate) struct FileOps;

/// The capabilities to read with.
fn caps(inode: &Inode<CephFs>, wait: bool) -> Result<CapRef> {
    let fs = inode.super_block().data();
    if wait {
        fs.get_caps(inode, Caps::FILE_RD, Caps::FILE_CACHE)
    } else {
        fs.try_get_caps(inode, Caps::FILE_RD, Caps::FILE_CACHE)
            .ok_or(EAGAIN)
    }
}

/// Reads content that is kept with the inode; None if it is not any more.
fn read_inline(inode: &Inode<CephFs>, io: &mut ReadIter<'_, CephFs>) -> Result<Option<usize>> {
    if io.is_nowait() {
        return Err(EAGAIN);
    }
    let data = inode.super_block().data().inline_data(inode.key().ino)?;
    let Some(data) = data else { return Ok(None) };
    let pos = usize::try_from(io.pos())?;
    let size = usize::try_from(inode.size())?;
    let data = data.get(..size).unwrap_or(&data);
    let rest = data.get(pos..).unwrap_or_default();
    let mut done = io.copy(rest);
    if done == rest.len() {
        done = done.saturating_add(io.zero(size.saturating_sub(data.len().max(pos))));
    }
    if done == 0 && pos < size && !io.is_empty() {
        return Err(EFAULT);
    }
    Ok(Some(done))
}

#[vtable]
impl file::Operations for FileOps {
    type Fs = CephFs;
    type Data = ();

    const DIRECT: bool = true;

    fn open(inode: &Inode<CephFs>, _file: &Opening<'_, CephFs>) -> Result {
        refuse_encrypted(inode)?;
        inode.super_block().data().open(inode, Mode::Read)
    }

    fn release(inode: &Inode<CephFs>, (): ()) {
        inode.super_block().data().closed(inode, Mode::Read);
    }

    fn read_iter(file: &OpenFile<Self>, mut io: ReadIter<'_, CephFs>) -> Result<usize> {
        let inode = file.inode();
        if inode.data().has_inline_data() && inode.key().is_head() {
            if let Some(read) = read_inline(inode, &mut io)? {
                return Ok(read);
            }
        }
        let wait = !io.is_nowait();
        let mut cap_ref = caps(inode, wait)?;
        if !cap_ref.got().contains(Caps::FILE_CACHE) {
            if !wait {
                return Err(EAGAIN);
            }
            // Nothing may be held while a server is asked.
            drop(cap_ref);
            let fs = inode.super_block().data();
            fs.getattr_always(inode, Caps::FILE_SHARED)?;
            cap_ref = caps(inode, wait)?;
        }
        let may_cache = inode.super_block().data().options.pagecache;
        if cap_ref.got().contains(Caps::FILE_CACHE) && !io.is_direct() && may_cache {
            return io.buffered();
        }
        io.direct::<Data>(inode)
    }

    fn llseek(file: &OpenFile<Self>, offset: i64, whence: i32) -> Result<i64> {
        let inode = file.inode();
        // Where the end is, and with it where data and holes are, is the server's to say,
        // unless we have it in writing.
        if matches!(whence, SEEK_END | SEEK_DATA | SEEK_HOLE) {
            let fs = inode.super_block().data();
            fs.getattr(inode, Caps::FILE_SHARED)?;
        }
        file.generic_file_llseek(offset, whence)
    }

    fn splice_read(file: &OpenFile<Self>, io: SpliceRead<'_>) -> Result<usize> {
        let may_cache = file.inode().super_block().data().options.pagecache;
        if file.inode().data().has_inline_data() || !may_cache {
            return io.copied();
        }
        let caps = caps(file.inode(), true)?;
        if caps.got().contains(Caps::FILE_CACHE) {
            return io.from_page_cache();
        }
        // It reads by `read_iter`, which takes capabilities of its own: these must not be
        // held, or a server that revokes them would be waited for in vain.
        drop(caps);
        io.copied()
    }

    fn fault(file: &OpenFile<Self>, fault: Fault<'_>) -> Result {
        let inode = file.inode();
        if inode.data().has_inline_data() {
            fault.read_anew()?;
            inode.super_block().data().page_is_unsure(inode);
            return Ok(());
        }
        // The size is not asked for: that may bring Fc and take it away again, and all pages
        // with it, but a task may need two of them at once to get on.
        let cap_ref = caps(inode, true)?;
        if cap_ref.got().contains(Caps::FILE_CACHE) {
            fault.from_page_cache();
            return Ok(());
        }
        fault.read_anew()?;
        // No server will say when the page is old: it goes before long.
        inode.super_block().data().page_is_unsure(inode);
        Ok(())
    }

    fn lock(_: &OpenFile<Self>, request: lock::Request<'_>) -> Result {
        no_lock(&request)
    }

    fn flock(_: &OpenFile<Self>, request: lock::Request<'_>) -> Result {
        no_lock(&request)
    }

    fn may_map(file: &OpenFile<Self>) -> bool {
        file.inode().data().may_use_cache()
    }
}
