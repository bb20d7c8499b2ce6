// SPDX-License-Identifier: GPL-2.0
//! Names: whether they are still good, and what follows when they go.
//!
//! A name that a server has told is good while its lease lasts, or while the directory's
//! Fs that it was told under is issued ([`DentryInfo::is_valid`]). Then nobody is asked.
//! A lease that is used in the second half of its time is renewed, without waiting.
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Arc,
        SpinLock, //
    },
    time::Jiffies, //
};
use kernel_ext::{
    fs::dentry::DentryData,
    time, //
};

use ceph_fs_proto::wire::{
    cap_bits::Caps,
    lease::LeaseStat,
    msg::seq_newer, //
};

use crate::{
    fs_client::Session,
    inode::info::InodeInfo, //
};

/// What the names of one reply have in common. The task that asked puts it into the
/// dentries ([`DentryInfo::learn`]).
#[derive(Clone)]
pub(crate) struct LeaseOrigin {
    /// Who origin.
    pub(crate) session: Arc<Session>,
    /// The generation of its capabilities.
    pub(crate) gen: u32,
    /// How many leases it had revoked.
    pub(crate) revokes: u32,
    /// When it was asked: its clock runs from before the reply arrived.
    pub(crate) asked: Jiffies,
    /// The generation of the directory's Fs.
    pub(crate) dir_gen: u32,
}

/// A lease on a name, as a reply grants it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseGrant {
    duration_ms: u32,
    seq: u32,
}

impl LeaseGrant {
    /// What a reply grants, if anything.
    pub(crate) fn new(stat: &LeaseStat) -> Option<Self> {
        (stat.is_valid() && stat.duration_ms > 0).then_some(Self {
            duration_ms: stat.duration_ms,
            seq: stat.seq,
        })
    }
}

/// A lease that is held.
struct Lease {
    session: Arc<Session>,
    gen: u32,
    seq: u32,
    until: Jiffies,
    renewal: LeaseRenewal,
}

enum LeaseRenewal {
    /// Not before this time.
    At(Jiffies),
    /// Asked for at this time.
    Asked(Jiffies),
}

impl Lease {
    fn is_good(&self) -> bool {
        let (gen, good) = self.session.cap_validity();
        good && gen == self.gen && !time::reached(self.until)
    }

    fn is_due(&self) -> bool {
        matches!(self.renewal, LeaseRenewal::At(when) if time::reached(when))
    }

    /// It lasts so long from a time on.
    fn last(&mut self, from: Jiffies, duration_ms: u32) {
        let duration = time::msecs(u64::from(duration_ms));
        self.until = from.wrapping_add(duration);
        self.renewal = LeaseRenewal::At(from.wrapping_add(duration / 2));
    }
}

/// What the file system keeps for a dentry.
#[pin_data]
pub(crate) struct DentryInfo {
    /// The generation of the directory's Fs that the name is good under.
    dir_gen: Atomic<u32>,
    /// Whether there may be a lease, so that nobody locks in vain.
    leased: Atomic<u32>,
    #[pin]
    lease: SpinLock<Option<Lease>>,
}

impl DentryData for DentryInfo {
    fn init() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            dir_gen: Atomic::new(0),
            leased: Atomic::new(0),
            lease <- new_spinlock!(None, "ceph::DentryInfo::lease"),
        }? Error)
    }
}

impl DentryInfo {
    /// Takes note of what a reply says of the name. The dentry is in the tree.
    ///
    /// A lease that was revoked since the reply is not taken: the server sent the
    /// revocation after the reply, but it was handled before the dentry was found.
    pub(crate) fn learn(&self, origin: &LeaseOrigin, grant: Option<LeaseGrant>) {
        self.set_dir_gen(origin.dir_gen);
        let Some(grant) = grant else { return };
        let mut new = Lease {
            session: origin.session.clone(),
            gen: origin.gen,
            seq: grant.seq,
            until: origin.asked,
            renewal: LeaseRenewal::At(origin.asked),
        };
        new.last(origin.asked, grant.duration_ms);
        let mut lease = self.lease.lock();
        let good = origin.session.data.revokes() == origin.revokes;
        let old = if good {
            self.leased.store(1, Relaxed);
            lease.replace(new)
        } else {
            lease.take()
        };
        drop(lease);
        drop(old);
    }

    /// Notes that the name was found not to exist, or to exist, under a generation
    /// of the directory's Fs.
    pub(crate) fn set_dir_gen(&self, dir_gen: u32) {
        self.dir_gen.store(dir_gen, Release);
    }

    /// Whether the name can be trusted: because nothing in the directory can have
    /// changed, or by a lease. RCU walk may ask.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if a lease is good but should be renewed ([`Self::renew`]).
    pub(crate) fn is_valid(&self, dir: &InodeInfo) -> Result<bool> {
        // Fs first: where it is issued anew, the generation is raised before that.
        if dir.has_caps(Caps::FILE_SHARED) && self.dir_gen.load(Acquire) == dir.shared_gen() {
            return Ok(true);
        }
        if self.leased.load(Relaxed) == 0 {
            return Ok(false);
        }
        match &*self.lease.lock() {
            Some(lease) if lease.is_good() && lease.is_due() => Err(EAGAIN),
            Some(lease) => Ok(lease.is_good()),
            None => Ok(false),
        }
    }

    /// Begins to renew the lease: whom to ask, and its version. None if it is not due.
    pub(crate) fn renew(&self) -> Option<(Arc<Session>, u32)> {
        let mut lease = self.lease.lock();
        let lease = Option::as_mut(&mut lease)?;
        if !lease.is_good() || !lease.is_due() {
            return None;
        }
        lease.renewal = LeaseRenewal::Asked(time::jiffies());
        Some((lease.session.clone(), lease.seq))
    }

    /// The server lets the lease last longer, from when it was asked to.
    pub(crate) fn renewed(&self, session: &Arc<Session>, seq: u32, duration_ms: u32) {
        let mut lease = self.lease.lock();
        let Some(lease) = Option::as_mut(&mut lease) else {
            return;
        };
        let (gen, _) = session.cap_validity();
        match lease.renewal {
            LeaseRenewal::Asked(from)
                if Arc::ptr_eq(&lease.session, session) && lease.gen == gen =>
            {
                lease.seq = seq;
                lease.last(from, duration_ms);
            }
            _ => {}
        }
    }

    /// The server ends the lease; the version that the acknowledgement has to name.
    pub(crate) fn revoke(&self, session: &Arc<Session>, seq: u32) -> u32 {
        let mut lease = self.lease.lock();
        let ours = lease.take_if(|lease| Arc::ptr_eq(&lease.session, session));
        drop(lease);
        match ours {
            Some(ours) if seq_newer(ours.seq, seq) => ours.seq,
            _ => seq,
        }
    }

    /// For `d_release`: what is kept until the end of RCU walks holds nothing.
    pub(crate) fn forget(&self) {
        let old = self.lease.lock().take();
        drop(old);
    }
}
