// SPDX-License-Identifier: GPL-2.0
//! File data: what netfs wants to read, from the objects that it lies in.
//!
//! Each subrequest lies in one object ([`Data::max_read`] sees to it) and becomes one
//! request to an OSD. The pages go along with the request, as its destination, and come
//! back with the answer.
use kernel::{prelude::*, sync::atomic::Relaxed};
use kernel_ext::{
    fs::{
        inode::Uncounted,
        netfs::{self, Origin, Request, Subrequest},
    },
    iov::IovDest,
};

use ceph_core::{
    osd_client::{Answer, ObjectName, ReadOp},
    request::Callback,
};
use ceph_fs_proto::{machine::striper, wire::cap_bits::Caps};
use ceph_proto::errno::{eopnotsupp, eshutdown};

use crate::super_block::CephFs;

/// The operations of files' data.
pub(crate) struct Data;

#[vtable]
impl netfs::Operations for Data {
    type Fs = CephFs;
    type Private = ();

    fn begin(request: &Request<'_, CephFs>) -> Result {
        // Whoever reads has capabilities, but readahead may also be asked for by fadvise(2)
        // and the like. The pages are locked already, so a server that revokes Fc from
        // now on waits for them.
        if request.origin() == Origin::Readahead {
            if !request.inode().data().may_use_cache() {
                return Err(EACCES);
            }
        }
        if request.origin() == Origin::Direct {
            // Whoever asks has Fr, but may not wait for the end of the read, as this does.
            request.inode().data().state().caps.hold_read();
        }
        Ok(())
    }

    fn end(request: &Request<'_, CephFs>) {
        if request.origin() != Origin::Direct {
            return;
        }
        let inode = request.inode();
        let awaited = inode.data().state().caps.give_back(Caps::FILE_RD);
        if let (true, Some(fs)) = (awaited, inode.super_data()) {
            fs.answer_for(inode.key().ino);
        }
    }

    fn max_read(inode: &Uncounted<CephFs>, start: u64, len: usize) -> usize {
        let (layout, _) = inode.data().layout();
        let rsize = inode
            .super_data()
            .map_or(len, |fs| fs.options.rsize as usize);
        let len = len.min(rsize);
        match striper::map(&layout, start, len as u64) {
            Ok(extent) => usize::try_from(extent.len).unwrap_or(len),
            // Issuing it says what is wrong.
            Err(_) => len,
        }
    }

    fn issue_read(subrequest: Subrequest<CephFs>) {
        let prepared = match inline_data(&subrequest) {
            Ok(Some(data)) => return copy(subrequest, &data),
            Ok(None) => prepare(&subrequest),
            Err(e) => Err(e),
        };
        match prepared {
            Ok(read) => submit(subrequest, read),
            Err(e) => subrequest.complete(Err(e)),
        }
    }
}

/// The content of a file that is small enough to be kept with its inode. Waits for the
/// server, as who reads would anyway.
fn inline_data(subrequest: &Subrequest<CephFs>) -> Result<Option<KVec<u8>>> {
    let inode = subrequest.inode();
    if !inode.data().has_inline_data() {
        return Ok(None);
    }
    if !inode.key().is_head() {
        // Servers tell of it by the number alone.
        return Err(eopnotsupp());
    }
    let fs = inode.super_data().ok_or(EIO)?;
    fs.inline_data(inode.key().ino)
}

fn copy(subrequest: Subrequest<CephFs>, data: &[u8]) {
    let start = usize::try_from(subrequest.start()).unwrap_or(usize::MAX);
    let data = data.get(start..).unwrap_or_default();
    let len = data.len().min(subrequest.len());
    let Ok(mut dest) = subrequest.into_dest() else {
        return;
    };
    let copied = data
        .get(..len)
        .map_or(Ok(()), |part| dest.copy_from_slice(part));
    finish(copied.map(|()| len), dest);
}

/// What to ask for.
fn prepare(subrequest: &Subrequest<CephFs>) -> Result<ReadOp> {
    let inode = subrequest.inode();
    let info = inode.data();
    let (layout, pool_ns) = info.layout();
    let len = subrequest.len() as u64;
    let extent = striper::map(&layout, subrequest.start(), len)?;
    if extent.len != len {
        // The layout of a file with data never changes, and `max_read` knew it.
        return Err(EIO);
    }
    let mut namespace = KVec::new();
    if let Some(name) = &pool_ns {
        namespace.extend_from_slice(name, GFP_KERNEL)?;
    }
    let (truncate_seq, truncate_size) = info.truncation();
    let key = inode.key();
    Ok(ReadOp {
        pool: layout.pool,
        namespace,
        object: ObjectName::of_file(key.ino, extent.objno),
        offset: extent.offset,
        length: extent.len,
        snap: key.snap,
        truncate_seq,
        truncate_size,
        ino: key.ino,
    })
}

fn submit(subrequest: Subrequest<CephFs>, read: ReadOp) {
    let Some(fs) = subrequest.inode().super_data().cloned() else {
        return subrequest.complete(Err(EIO));
    };
    let done = Callback::new(|answer: Result<Answer>| {
        if let Ok(Answer { result, dest }) = answer {
            finish(result, dest);
        }
    });
    let done = match done {
        Ok(done) => done,
        Err(e) => return subrequest.complete(Err(e)),
    };
    // Until the answer the subrequest is part of the destination. What drops that ends
    // the subrequest with an error, so nothing is left to do here if this fails.
    let Ok(dest) = subrequest.into_dest() else {
        return;
    };
    let barrier = fs.epoch_barrier.load(Relaxed);
    if barrier > 0 {
        fs.client.osdc.epoch_barrier(barrier);
    }
    // What fails here has ended the subrequest, too.
    let _ = fs.client.osdc.read(read, dest, Some(done));
}

fn finish(result: Result<usize>, dest: IovDest) {
    let filled = dest.filled();
    let Ok(subrequest) = dest.into_owner::<Subrequest<CephFs>>() else {
        return;
    };
    if result == Err(eshutdown()) {
        if let Some(fs) = subrequest.inode().super_data() {
            fs.shut_out(format_args!("an osd"));
        }
    }
    let result = match result {
        Ok(read) => Ok(read.min(filled)),
        // No object means that this part of the file was never written.
        Err(e) if e == ENOENT => Ok(0),
        Err(e) => Err(e),
    };
    KBox::into_inner(subrequest).complete(result);
}
