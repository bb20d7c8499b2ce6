// SPDX-License-Identifier: GPL-2.0
//! A mounted file system: what ties the super block, the cluster's client and the
//! MDS client together.
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc,
        SpinLock, //
    },
};
use kernel_ext::{
    debugfs::File,
    fs::{
        super_block::{
            Handle,
            SuperRef, //
        },
        InodeRef, //
    },
    pr_err_ratelimited, random, task, time,
    workqueue::{
        Flags,
        OwnedQueue, //
    },
};

use ceph_core::{
    client::Client,
    request::Callback, //
};
use ceph_fs_proto::{
    mount::options::MountOptions,
    wire::msg::Vino, //
};

use crate::{
    caps::delayed::Delayed,
    fs_type::CephFs,
    grants::Grants,
    mds_client::{
        client::MdsClient,
        events::SessionOf,
        op::{
            Caller,
            MdsOp, //
        }, //
    },
    snap::realm::SnapRealms, //
};

/// A session as the file system has it.
pub(crate) type Session = SessionOf<FsClient>;

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
    /// What the client's own capability for metadata servers allows.
    #[pin]
    pub(crate) grants: Grants,
    /// Work on inodes that must not hold up a session: emptying page caches.
    pub(crate) inode_queue: Arc<OwnedQueue>,
    #[pin]
    sb: SpinLock<Option<Handle<CephFs>>>,
    shut_down: Atomic<i32>,
    #[pin]
    pub(crate) debugfs: SpinLock<Option<KVec<File>>>,
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
        let delays = (options.caps_wanted_delay_min, options.caps_wanted_delay_max);
        let inode_queue = crate::queue::queue()?.sibling(c"ceph-inode", Flags::UNBOUND)?;
        Arc::pin_init(
            try_pin_init!(Self {
                client,
                mdsc,
                options,
                path,
                new_syntax,
                realms <- SnapRealms::new(),
                delayed <- Delayed::new(delays.0, delays.1),
                grants <- Grants::new(),
                inode_queue,
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

    /// The beginning of the end: closes the sessions and stops everything that holds
    /// references. `waiting` still shows who has some.
    pub(crate) fn close(&self) {
        // Nobody reads any more. What is on its way into the page cache would be waited
        // for, by work on inodes and by the VFS.
        self.client.osdc.abort(EIO);
        let limit = self.client.mount_timeout().unwrap_or(time::secs(60));
        self.mdsc.stop(limit);
        self.inode_queue.flush();
    }

    /// The end, when no reference is left.
    pub(crate) fn stop(&self) {
        let files = self.debugfs.lock().take();
        drop(files);
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
        // As the C client's: the cluster below, its file system above.
        let cluster = fsid.0.chunks_exact(4).fold(0, |sum, chunk| {
            let word = <[u8; 4]>::try_from(chunk).unwrap_or_default();
            sum ^ u32::from_le_bytes(word)
        });
        u64::from(self.client.monc.fs_cluster_id() as u32) << 32 | u64::from(cluster)
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

    /// Asks a metadata server, as the current task and for as long as it takes; killable.
    ///
    /// # Errors
    ///
    /// See [`MdsClient::do_request`].
    pub(crate) fn ask<O: MdsOp<Fs = Self>>(&self, op: O) -> Result<O::Answer> {
        self.mdsc.do_request(op, Self::caller()?, None)
    }

    /// An MDS raises the epoch barrier: reads wait for that OSD map from now on.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn raise_barrier(&self, session: &Arc<Session>, epoch: u32) -> Result {
        let osdc = &self.client.osdc;
        osdc.raise_barrier(u64::from(session.rank), epoch, || {
            let session = session.clone();
            Callback::new(move |refused: Result<u32>| {
                if let Ok(epoch) = refused {
                    pr_err_ratelimited!(
                        "mds{}: osd epoch barrier {epoch} is of no map that the monitors have\n",
                        session.rank
                    );
                    session.distrust();
                }
            })
        })
    }

    /// The live inode of the number, if it is in memory.
    pub(crate) fn find_inode(&self, ino: u64) -> Option<InodeRef<CephFs>> {
        self.super_block()?.find_inode(&Vino::head(ino))
    }
}
