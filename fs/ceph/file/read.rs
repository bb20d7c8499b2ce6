// SPDX-License-Identifier: GPL-2.0
//! File data: what netfs, or who reads directly, wants, from the objects that it lies in.
//!
//! Each part of a read lies in one object (`max_read` sees to it) and becomes one request to
//! an OSD. The pages go along with the request, as its destination, and come
//! back with the answer.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    fs::{
        direct,
        inode::Uncounted,
        netfs::{
            self,
            Origin,
            ReadToken,
            Request,
            Subrequest, //
        },
    },
    iov::IovDest, //
};

use ceph_core::{
    osd_client::{
        Answer,
        ObjectName,
        Op,
        OpVec,
        Spec, //
    },
    request::Callback, //
};
use ceph_fs_proto::{
    machine::striper,
    wire::cap_bits::Caps, //
};
use ceph_proto::errno::{
    eopnotsupp,
    eshutdown, //
};

use crate::{
    fs_client::FsClient,
    fs_type::CephFs, //
};

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
        if request.origin() == Origin::Readahead && !request.inode().data().may_use_cache() {
            return Err(EACCES);
        }
        Ok(())
    }

    fn max_read(inode: &Uncounted<CephFs>, start: u64, len: usize) -> usize {
        match striper::map(&inode.data().layout(), start, at_most(inode, len)) {
            Ok(extent) => usize::try_from(extent.len).unwrap_or(len),
            // Issuing it says what is wrong.
            Err(_) => len,
        }
    }

    fn issue_read(subrequest: Subrequest<CephFs>) {
        let len = subrequest.len();
        let plan = match plan(subrequest.inode(), subrequest.start(), len) {
            // The layout of a file with data never changes, and `max_read` knew it.
            Ok((_, part)) if part != len => Err(EIO),
            other => other,
        };
        let dest = subrequest.into_dest();
        match plan {
            Ok((plan, _)) => carry_out::<Subrequest<CephFs>>(plan, dest),
            Err(error) => Subrequest::<CephFs>::end(dest, Err(error)),
        }
    }
}

impl direct::Operations for Data {
    type Fs = CephFs;
    type Plan = Plan;

    fn plan(inode: &Uncounted<CephFs>, start: u64, len: usize) -> Result<(Plan, usize)> {
        plan(inode, start, len)
    }

    fn read(plan: Plan, dest: IovDest) {
        carry_out::<direct::Token<Self>>(plan, dest);
    }

    fn begin_async(inode: &Uncounted<CephFs>) {
        // Whoever asks has Fr, but does not wait for the end of the read.
        inode.data().state().caps.hold_read();
    }

    fn end_async(inode: &Uncounted<CephFs>) {
        let awaited = inode.data().state().caps.give_back(Caps::FILE_RD);
        if let (true, Some(fs)) = (awaited, inode.super_data()) {
            fs.answer_for(inode.key().ino);
        }
    }

    fn killed(inode: &Uncounted<CephFs>) {
        if let Some(fs) = inode.super_data() {
            fs.client.osdc.submitter_killed();
        }
    }
}

/// How to get a part of a file.
pub(crate) enum Plan {
    /// The content of the file as a whole is here, and this is where the part begins.
    Inline(KVec<u8>, usize),
    /// It is asked for.
    Ask(Arc<FsClient>, Spec),
}

/// How much is read at once, of so many bytes.
fn at_most(inode: &Uncounted<CephFs>, len: usize) -> u64 {
    let rsize = inode.super_data().map(|fs| fs.options.rsize);
    rsize.map_or(len as u64, |rsize| u64::from(rsize).min(len as u64))
}

/// How to get the next bytes of a file, and of how many it is.
fn plan(inode: &Uncounted<CephFs>, start: u64, len: usize) -> Result<(Plan, usize)> {
    let fs = inode.super_data().ok_or(EIO)?;
    let content = inode.data().content();
    let key = inode.key();
    if content.inline {
        if !key.is_head() {
            // Servers tell of it by the number alone.
            return Err(eopnotsupp());
        }
        // Waits for the server, as who reads would anyway.
        if let Some(data) = fs.inline_data(key.ino)? {
            return Ok((Plan::Inline(data, usize::try_from(start)?), len));
        }
    }
    let extent = striper::map(&content.layout, start, at_most(inode, len))?;
    let mut namespace = KVec::new();
    if let Some(name) = &content.pool_ns {
        namespace.extend_from_slice(name, GFP_KERNEL)?;
    }
    let read = Spec {
        pool: content.layout.pool,
        namespace,
        object: ObjectName::of_file(key.ino, extent.objno),
        snap: key.snap,
        ops: OpVec::new(Op::Read {
            offset: extent.offset,
            length: extent.len,
            truncate_size: content.truncate_size,
            truncate_seq: content.truncate_seq,
        }),
        ino: key.ino,
    };
    let len = usize::try_from(extent.len)?;
    Ok((Plan::Ask(fs.clone(), read), len))
}

/// Does what is planned. Until its end the part is its destination: what drops that ends it
/// with an error.
fn carry_out<R: ReadToken<Fs = CephFs>>(plan: Plan, mut dest: IovDest) {
    match plan {
        Plan::Inline(data, start) => {
            let data = data.get(start..).unwrap_or_default();
            let part = data.get(..dest.len()).unwrap_or(data);
            let copied = dest.copy_from_slice(part);
            R::end(dest, copied);
        }
        Plan::Ask(fs, read) => {
            // What fails here has ended the part, too.
            let done = Callback::of(finish::<R>);
            let _ = fs.client.osdc.submit(read, dest, done);
        }
    }
}

fn finish<R: ReadToken<Fs = CephFs>>(answer: Result<Answer>) {
    // Without an answer the destination was dropped.
    let Ok(Answer { result, mut dest }) = answer else {
        return;
    };
    if result.err() == Some(eshutdown()) {
        if let Some(fs) = dest.owner::<R>().and_then(Uncounted::super_data) {
            fs.shut_out(format_args!("an osd"));
        }
    }
    let result = match result {
        // More came than the server says that it has read.
        Ok(ops) if ops.data_len() < dest.filled() as u64 => Err(EIO),
        Ok(_) => Ok(()),
        // No object means that this part of the file was never written.
        Err(error) if error == ENOENT => {
            dest.rewind();
            Ok(())
        }
        Err(error) => Err(error),
    };
    R::end(dest, result);
}
