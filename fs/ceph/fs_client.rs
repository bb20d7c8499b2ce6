// SPDX-License-Identifier: GPL-2.0
//! A mounted file system: what ties the super block, the cluster's client and the
//! MDS client together, and what the MDS client asks of the file system.
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        Arc, SpinLock,
    },
    time::Jiffies,
};
use kernel_ext::{
    fs::{
        super_block::{Handle, SuperRef},
        Inode, InodeRef,
    },
    random, task, time,
    workqueue::{Flags, OwnedQueue},
};

use ceph_core::{
    client::Client,
    messenger::{Incoming, Parts},
};
use ceph_fs_proto::{
    machine::{caps::Issuer, route::RankHints},
    mount::options::MountOptions,
    wire::{
        cap_bits::Caps,
        frag::Frag,
        msg::{Vino, CLIENT_CAPS, CLIENT_LEASE, CLIENT_QUOTA, CLIENT_SNAP},
        reply::ClientReply,
        request::{Args, Op},
    },
};

use crate::{
    caps::{Delayed, SessionCaps},
    fill::Filled,
    inode::Session,
    mds_client::{Caller, MdsClient, MdsHooks, OwnedPath, Reply, Spec},
    snap::SnapRealms,
    super_block::CephFs,
};

/// What a request is about, for choosing a rank and taking in the reply.
pub(crate) struct RequestTarget {
    /// The inode, or the directory of the name.
    pub(crate) inode: Option<InodeRef<CephFs>>,
    /// The fragment of the directory.
    pub(crate) frag: Option<Frag>,
    /// When it was asked, from which leases count.
    pub(crate) started: Jiffies,
}

impl Default for RequestTarget {
    fn default() -> Self {
        Self {
            inode: None,
            frag: None,
            started: time::jiffies(),
        }
    }
}

impl RequestTarget {
    /// About an inode.
    pub(crate) fn inode(inode: &Inode<CephFs>) -> Self {
        Self {
            inode: Some(inode.get()),
            ..Self::default()
        }
    }

    /// About a fragment of a directory.
    pub(crate) fn frag(dir: &Inode<CephFs>, frag: Frag) -> Self {
        Self {
            frag: Some(frag),
            ..Self::inode(dir)
        }
    }
}

/// A mounted file system.
#[pin_data]
pub(crate) struct FsClient {
    /// The cluster.
    pub(crate) client: Arc<Client>,
    /// The metadata servers.
    pub(crate) mdsc: Arc<MdsClient<FsClient>>,
    /// What the mount command said.
    pub(crate) options: MountOptions,
    /// The path that is the root.
    pub(crate) path: KVec<u8>,
    /// The source was given in the new syntax.
    pub(crate) new_syntax: bool,
    /// Snap realms.
    #[pin]
    pub(crate) realms: SnapRealms,
    /// Inodes whose capabilities are to be looked at later.
    #[pin]
    pub(crate) delayed: Delayed,
    /// Work on inodes that must not hold up a session: emptying page caches.
    pub(crate) inode_queue: Arc<OwnedQueue>,
    /// The OSD map that must be known before data is touched.
    pub(crate) epoch_barrier: Atomic<u32>,
    #[pin]
    sb: SpinLock<Option<Handle<CephFs>>>,
    shut_down: Atomic<i32>,
    #[pin]
    pub(crate) debugfs: SpinLock<Option<crate::debugfs::Files>>,
    /// For statfs(2) while the cluster's identity is not known.
    random_id: u64,
}

impl FsClient {
    /// Makes one; nothing is running yet.
    pub(crate) fn new(
        client: Arc<Client>,
        mdsc: Arc<MdsClient<FsClient>>,
        options: MountOptions,
        path: KVec<u8>,
        new_syntax: bool,
    ) -> Result<Arc<Self>> {
        let inode_queue = OwnedQueue::new(c"ceph-inode", Flags::UNBOUND)?;
        Arc::pin_init(
            try_pin_init!(Self {
                client,
                mdsc,
                options,
                path,
                new_syntax,
                realms <- SnapRealms::new(),
                delayed <- Delayed::new(),
                inode_queue,
                epoch_barrier: Atomic::new(0),
                sb <- new_spinlock!(None, "ceph::FsClient::sb"),
                shut_down: Atomic::new(0),
                debugfs <- new_spinlock!(None, "ceph::FsClient::debugfs"),
                random_id: u64::from(random::u32()),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Connects the super block; before anything is asked of the cluster.
    pub(crate) fn set_super_block(&self, handle: Handle<CephFs>) {
        *self.sb.lock() = Some(handle);
    }

    /// The super block, unless it is going away.
    pub(crate) fn super_block(&self) -> Option<SuperRef<CephFs>> {
        let handle = self.sb.lock().clone();
        handle.and_then(|handle| handle.get())
    }

    /// The end: closes the sessions and stops everything that holds references.
    pub(crate) fn stop(&self) {
        // Nobody reads any more. What is on its way into the page cache would be waited
        // for, by work on inodes and by the VFS.
        self.client.osdc.abort(EIO);
        let limit = self.client.mount_timeout().unwrap_or(time::secs(60));
        self.mdsc.stop(limit);
        let files = self.debugfs.lock().take();
        drop(files);
        self.inode_queue.flush();
        self.client.stop();
    }

    /// By force: nothing succeeds any more.
    pub(crate) fn shut_down(&self) {
        self.shut_down.store(1, Release);
        self.client.events.add(format_args!("shut down by force"));
        self.client.abort();
        self.mdsc.shutdown();
        // Those who wait for capabilities.
        self.mdsc
            .for_each_session(|session| self.wake_session(session));
    }

    /// Whether [`Self::shut_down`] was called.
    pub(crate) fn is_shut_down(&self) -> bool {
        self.shut_down.load(Acquire) != 0
    }

    /// What statfs(2) shows as the identity of the file system.
    pub(crate) fn statfs_id(&self) -> u64 {
        let Some(fsid) = self.client.fsid() else {
            return self.random_id;
        };
        let (low, high) = fsid.0.split_at(8);
        let word = |half: &[u8]| {
            half.iter()
                .rev()
                .fold(0u64, |w, b| (w << 8) | u64::from(*b))
        };
        word(low) ^ word(high)
    }

    /// Who the current task is to the servers.
    pub(crate) fn caller() -> Result<Caller> {
        let (uid, gid) = task::fs_ids();
        Ok(Caller {
            uid,
            gid,
            gids: task::groups()?,
        })
    }

    /// Asks a metadata server about `path`, killable. The server's errors are errors.
    pub(crate) fn request(
        &self,
        op: Op,
        args: Args,
        path: OwnedPath,
        target: RequestTarget,
    ) -> Result<Filled> {
        let reply: Reply<Filled> = self.mdsc.do_request(Spec {
            op,
            args,
            path1: path,
            path2: OwnedPath::default(),
            want_dentry: false,
            caller: Self::caller()?,
            target,
            timeout: None,
        })?;
        if reply.result < 0 {
            return Err(Error::from_errno(reply.result));
        }
        Ok(reply.filled)
    }

    /// Looks up a name in a directory. A name that does not exist is not an error:
    /// then the reply has no target.
    pub(crate) fn lookup(&self, dir: &Inode<CephFs>, name: &[u8]) -> Result<Filled> {
        let reply = self.mdsc.do_request(Spec {
            op: Op::LOOKUP,
            args: Args::Getattr {
                mask: Caps::STAT_ALL,
            },
            path1: OwnedPath::name(dir.key().ino, name)?,
            path2: OwnedPath::default(),
            want_dentry: true,
            caller: Self::caller()?,
            target: RequestTarget::inode(dir),
            timeout: None,
        })?;
        match reply.result {
            failed if failed < 0 && failed != ENOENT.to_errno() => Err(Error::from_errno(failed)),
            _ => Ok(reply.filled),
        }
    }

    /// Lists a part of a fragment of a directory: what follows `last`, or, if that is
    /// empty, what has at least the hash `offset_hash`.
    pub(crate) fn readdir(
        &self,
        dir: &Inode<CephFs>,
        frag: Frag,
        last: &[u8],
        offset_hash: u32,
    ) -> Result<Filled> {
        let mut path = KVec::new();
        path.extend_from_slice(last, GFP_KERNEL)?;
        let reply = self.mdsc.do_request(Spec {
            op: Op::READDIR,
            args: Args::Readdir {
                frag,
                max_entries: self.options.readdir_max_entries,
                max_bytes: self.options.readdir_max_bytes,
                flags: Args::READDIR_REPLY_BITFLAGS,
                offset_hash,
            },
            path1: OwnedPath::inode(dir.key().ino),
            path2: OwnedPath { ino: 0, path },
            want_dentry: false,
            caller: Self::caller()?,
            target: RequestTarget::frag(dir, frag),
            timeout: None,
        })?;
        if reply.result < 0 {
            return Err(Error::from_errno(reply.result));
        }
        Ok(reply.filled)
    }

    /// Makes sure that the attributes that the mask vouches for are known; asks only
    /// if they are not.
    pub(crate) fn getattr(&self, inode: &Inode<CephFs>, mask: Caps) -> Result {
        let info = inode.data();
        info.touch();
        if mask.is_empty() || info.has_caps(mask) {
            return Ok(());
        }
        self.getattr_always(inode, mask)
    }

    /// Asks for the attributes that the mask vouches for.
    pub(crate) fn getattr_always(&self, inode: &Inode<CephFs>, mask: Caps) -> Result {
        if !inode.key().is_head() {
            // An inode in a snapshot does not change.
            return Ok(());
        }
        self.request(
            Op::GETATTR,
            Args::Getattr { mask },
            OwnedPath::inode(inode.key().ino),
            RequestTarget::inode(inode),
        )?;
        Ok(())
    }

    /// Asks for the content that is kept with an inode. None if the file has objects now.
    pub(crate) fn inline_data(&self, ino: u64) -> Result<Option<KVec<u8>>> {
        // Who asks has it in use, or else its eviction waits for the answer: then that must
        // not be waited for.
        let sb = self.super_block().ok_or(EIO)?;
        let inode = sb.find_inode_now(&Vino::head(ino)).ok_or(EIO)?;
        let filled = self.request(
            Op::GETATTR,
            Args::Getattr {
                mask: Caps::STAT_INLINE_DATA,
            },
            OwnedPath::inode(ino),
            RequestTarget::inode(&inode),
        )?;
        Ok(inode.data().has_inline_data().then_some(filled.value))
    }

    /// Raises the barrier: the OSD client has to know that map before it reads.
    pub(crate) fn raise_barrier(&self, epoch: u32) {
        loop {
            let now = self.epoch_barrier.load(Relaxed);
            if epoch <= now || self.epoch_barrier.cmpxchg(now, epoch, Relaxed).is_ok() {
                return;
            }
        }
    }

    /// The live inode of the number, if it is in memory.
    pub(crate) fn find_inode(&self, ino: u64) -> Option<InodeRef<CephFs>> {
        self.super_block()?.find_inode(&Vino::head(ino))
    }
}

impl MdsHooks for FsClient {
    type RequestTarget = RequestTarget;
    type Filled = Filled;
    type SessionData = SessionCaps;

    fn session_data() -> impl PinInit<SessionCaps, Error> {
        SessionCaps::new()
    }

    fn hints(&self, spec: &Spec<RequestTarget>) -> RankHints {
        let target = &spec.target;
        let Some(inode) = &target.inode else {
            return RankHints::default();
        };
        let info = inode.data();
        let state = info.state();
        // The fragment, or that of the name, may have a rank of its own. Few have, so the
        // name is not hashed before there is one.
        let delegated = if state.delegations.is_empty() {
            None
        } else {
            let name = &spec.path1.path;
            let of_name = || state.frag_tree.choose(state.dir_hash.hash(name));
            let hashed = (!name.is_empty()).then(of_name);
            let frag = target.frag.or(hashed);
            let mut delegations = state.delegations.iter();
            delegations.find(|(of, _)| Some(*of) == frag)
        };
        let cap = state.caps.auth().or_else(|| state.caps.caps().next());
        RankHints {
            resend: None,
            frag_auth: delegated.map(|(_, rank)| *rank),
            issuer: cap.map(|cap| cap.issuer().rank()),
        }
    }

    fn fill(
        &self,
        session: &Arc<Session>,
        spec: &Spec<RequestTarget>,
        reply: &ClientReply<'_>,
    ) -> Result<Filled> {
        self.fill_reply(session, spec, reply)
    }

    fn message(&self, session: &Arc<Session>, msg: &Incoming) -> Result {
        match msg.header.kind {
            CLIENT_CAPS => self.caps_message(session, msg),
            CLIENT_LEASE => self.lease_message(session, msg),
            CLIENT_SNAP => self.snap_message(msg),
            CLIENT_QUOTA => self.quota_message(msg),
            _ => Ok(()),
        }
    }

    fn recall(&self, session: &Arc<Session>, max_caps: u32) {
        self.trim_caps(session, max_caps);
    }

    fn flush_releases(&self, session: &Arc<Session>) {
        self.send_releases(session);
    }

    fn renewed(&self, session: &Arc<Session>) {
        self.wake_session(session);
    }

    fn force_readonly(&self, session: &Arc<Session>) {
        self.wake_session(session);
    }

    fn refused(self: &Arc<Self>, rank: u32) {
        self.shut_out(format_args!("mds{rank}"));
    }

    fn session_closed(&self, session: &Arc<Session>) {
        self.drop_session_caps(session);
    }

    fn reconnect(&self, session: &Arc<Session>) -> Result<KVec<Parts>> {
        self.reconnect_parts(session)
    }

    fn reconnected(&self, session: &Arc<Session>) {
        self.wake_session(session);
    }

    fn tick(&self) {
        self.recover_if_shut_out();
        self.look_at_delayed();
        self.forget_realms();
    }
}
