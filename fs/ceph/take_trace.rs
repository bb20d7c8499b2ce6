// SPDX-License-Identifier: GPL-2.0
//! What replies say of inodes, into the inodes.
//!
//! This runs in the work of the session's connection, in the order of the server's
//! messages: a capability that a later message revokes has been added before. It
//! never touches the dentry cache. What is for that is handed to the task that asked
//! ([`Trace`]), which holds the VFS's locks.
use kernel::{
    alloc::flags::{
        GFP_ATOMIC,
        __GFP_NOWARN, //
    },
    prelude::*,
    str::CString,
    sync::Arc,
    time::Jiffies, //
};
use kernel_ext::fs::{
    inode::{
        mode,
        Got, //
    },
    Inode,
    InodeRef,
    SuperBlock, //
};

use ceph_fs_proto::{
    machine::listing::{
        Listing,
        Part, //
    },
    wire::{
        cap_bits::Caps,
        inode_stat::InodeStat,
        reply::{
            ClientReply,
            DirEntry,
            DirStat,
            ReplyDir, //
        },
    },
};
use ceph_proto::errno::estale;

use crate::{
    dir::lease::{
        LeaseGrant,
        LeaseOrigin, //
    },
    fs_client::{
        FsClient,
        Session, //
    },
    fs_type::CephFs,
    inode::{
        attrs::{
            from_stat,
            Prepared, //
        },
        info::has_pages, //
    },
    inode_types::init_inode,
    trace::{
        Listed,
        ListedInode,
        Trace, //
    },
};

/// Bytes of a name that room is made for at first.
const USUAL_NAME: usize = 16;

/// What names of a directory have in common that a reply tells of, as things are now.
fn lease_origin(session: &Arc<Session>, started: Jiffies, dir: &Inode<CephFs>) -> LeaseOrigin {
    let (gen, _) = session.cap_validity();
    LeaseOrigin {
        session: session.clone(),
        gen,
        revokes: session.data.revokes(),
        asked: started,
        dir_gen: dir.data().shared_gen(),
    }
}

impl FsClient {
    /// Takes in what a reply says of a name and an inode. The request was made when it
    /// `started`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ESTALE` as [`Self::take_inode`] has it, `EIO` if the super block is going
    /// away, `EBADMSG` for snap realms that make no sense.
    pub(crate) fn take_trace(
        &self,
        session: &Arc<Session>,
        started: Jiffies,
        reply: &ClientReply<'_>,
    ) -> Result<Trace> {
        if !reply.snap_trace.is_empty() {
            self.realms.take_in(reply.snap_trace)?;
        }
        let sb = self.super_block().ok_or(EIO)?;
        let sb = &*sb;
        let mut trace = Trace::default();
        if let Some(dentry) = &reply.dentry {
            let (dir, _) = self.take_inode(sb, session, &dentry.dir)?;
            self.take_frag(&dir, &dentry.frag);
            trace.name = Some((
                lease_origin(session, started, &dir),
                LeaseGrant::new(&dentry.lease),
            ));
        }
        if let Some(target) = &reply.target {
            let (target, _) = self.take_inode(sb, session, target)?;
            trace.target = Some(target);
        }
        Ok(trace)
    }

    /// Takes in the entries of a directory.
    ///
    /// # Errors
    ///
    /// As [`Self::take_trace`]; `EIO` also if the server is older than Kraken.
    pub(crate) fn take_listing(
        &self,
        session: &Arc<Session>,
        started: Jiffies,
        dir: &Inode<CephFs>,
        listed: &ReplyDir<'_>,
    ) -> Result<Listed> {
        // Servers older than Kraken do it otherwise.
        if !listed.has(ReplyDir::HASH_ORDER) {
            return Err(EIO);
        }
        let sb = self.super_block().ok_or(EIO)?;
        let sb = &*sb;
        self.take_frag(dir, &listed.frag);
        let count = listed.count;
        let hash = dir.data().dir_hash();
        let mut trace = Listed {
            frag: listed.frag.frag,
            is_end: listed.has(ReplyDir::END),
            release_count: dir.data().release_count(),
            origin: lease_origin(session, started, dir),
            part: Part::with_capacity(count, count.saturating_mul(USUAL_NAME))?,
            inodes: KVVec::with_capacity(count, GFP_KERNEL)?,
        };
        for entry in listed.entries() {
            let DirEntry {
                name,
                lease,
                inode: stat,
            } = entry?;
            let (inode, is_known) = self.take_inode(sb, session, &stat)?;
            let (ino, mode) = (stat.vino().ino, inode.mode());
            trace.part.push(hash.hash(name), name, ino, mode)?;
            let inode = ListedInode {
                inode,
                is_known,
                grant: LeaseGrant::new(&lease),
            };
            // There are no more than were announced.
            trace
                .inodes
                .push_within_capacity(inode)
                .map_err(|_| EINVAL)?;
        }
        Ok(trace)
    }

    /// Notes which rank has authority over a fragment.
    fn take_frag(&self, dir: &Inode<CephFs>, stat: &DirStat) {
        let info = dir.data();
        let mut state = info.state();
        // As is usual. The state is not borrowed mutably for that.
        if state.frag_auths.rank_of(stat.frag) != stat.auth {
            let flags = GFP_ATOMIC | __GFP_NOWARN;
            state.frag_auths.note(stat.frag, stat.auth, flags);
        }
    }

    /// Finds or makes the inode that a reply tells of, and takes over what it says. Whether
    /// it was in memory before.
    ///
    /// # Errors
    ///
    /// `ESTALE` if the number belongs to an inode of another type now, `ENOMEM`.
    pub(crate) fn take_inode(
        &self,
        sb: &SuperBlock<CephFs>,
        session: &Arc<Session>,
        stat: &InodeStat<'_>,
    ) -> Result<(InodeRef<CephFs>, bool)> {
        let prepared = Prepared::new(stat)?;
        let bits = (stat.mode() & 0xffff) as u16;
        match sb.get_or_create_inode(&stat.vino())? {
            Got::Existing(inode) => {
                if inode.mode() & mode::TYPE_MASK != bits & mode::TYPE_MASK {
                    return Err(estale());
                }
                self.take_stat(session, &inode, stat, prepared)?;
                Ok((inode, true))
            }
            Got::New(mut new) => {
                init_inode(&mut new, bits, stat.rdev())?;
                if bits & mode::TYPE_MASK == mode::SYMLINK {
                    new.data().set_symlink(c_string(stat.symlink())?);
                }
                self.take_stat(session, &new, stat, prepared)?;
                Ok((new.unlock(), false))
            }
        }
    }

    fn take_stat(
        &self,
        session: &Arc<Session>,
        inode: &Inode<CephFs>,
        stat: &InodeStat<'_>,
        mut prepared: Prepared,
    ) -> Result {
        let info = inode.data();
        let (caps, is_head) = (stat.caps(), stat.vino().is_head());
        let mut truncated = false;
        let mut release_count = 0;
        if caps.is_empty() || !is_head {
            let mut guard = info.state();
            let state = &mut *guard;
            let before = state.caps.issued();
            truncated = from_stat(inode, state, stat, before, &mut prepared);
            if !is_head {
                state.caps.set_snap_caps(before | caps);
            }
        } else {
            release_count = self.add_cap(
                session,
                inode,
                || stat.cap(),
                |state, before| {
                    state.realm = stat.realm();
                    truncated = from_stat(inode, state, stat, before, &mut prepared);
                },
            )?;
        }
        drop(prepared);
        if truncated && has_pages(inode) {
            // Not here: a page that is being read would be waited for.
            self.drop_pages(inode);
        }
        // Of an empty directory all names are known.
        if inode.is_dir()
            && (stat.files(), stat.subdirs()) == (0, 0)
            && caps.intersects(Caps::FILE_SHARED)
            && is_head
            && !info.is_complete()
        {
            let none = Arc::new(Listing::new(), GFP_KERNEL)?;
            info.set_complete(release_count, none);
        }
        Ok(())
    }
}

/// A symbolic link's target as a C string.
fn c_string(bytes: &[u8]) -> Result<CString> {
    let mut vec = KVec::with_capacity(bytes.len().saturating_add(1), GFP_KERNEL)?;
    vec.extend_from_slice(bytes, GFP_KERNEL)?;
    vec.push(0, GFP_KERNEL)?;
    let text = kernel::str::CStr::from_bytes_with_nul(&vec).map_err(|_| EINVAL)?;
    Ok(CString::try_from(text)?)
}
