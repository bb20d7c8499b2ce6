// SPDX-License-Identifier: GPL-2.0
//! A client of one cluster: what all its users share.
//!
//! Ownership goes down: the client has the messenger, the monitor client and the
//! OSD client. [`Client::stop`] cuts, from top to bottom, what leads upwards.
use kernel::{new_mutex, prelude::*, sync::Arc, sync::Mutex, time::Jiffies};
use kernel_ext::{debugfs::Dir, net::Net, time, wait::WaitTable};

use ceph_proto::wire::osd::kind;
use ceph_proto::wire::types::Fsid;

use crate::debugfs::ClientFiles;
use crate::events::Events;
use crate::log::info;
use crate::messenger::{Config, Incoming, Messenger, Version, FEATURE_MSG_AUTH};
use crate::mon_client::{Explained, MonClient, MonDispatch};
use crate::options::{MsMode, Options};
use crate::osd_client::OsdClient;

/// After so long a mount that waits for monitors says so in the log.
const PATIENCE_SECS: u64 = 10;

/// A client of one cluster.
#[pin_data]
pub struct Client {
    /// As they were given.
    pub options: Arc<Options>,
    /// What all connections share.
    pub messenger: Arc<Messenger>,
    /// Monitors.
    pub monc: Arc<MonClient>,
    /// OSDs.
    pub osdc: Arc<OsdClient>,
    /// The tasks that wait on behalf of this client.
    pub waits: Arc<WaitTable>,
    /// What happened to its sessions lately.
    pub events: Arc<Events>,
    /// From the first session until `stop`.
    #[pin]
    files: Mutex<Option<ClientFiles>>,
}

/// Brings maps to those who read them.
struct Maps {
    osdc: Arc<OsdClient>,
    others: Arc<dyn MonDispatch>,
}

impl MonDispatch for Maps {
    fn dispatch(&self, monc: &MonClient, msg: &Incoming) -> Result<bool> {
        if msg.header.kind != kind::OSD_MAP {
            return self.others.dispatch(monc, msg);
        }
        self.osdc.handle_map(&msg.front)?;
        Ok(true)
    }
}

impl Client {
    /// Makes a client in the network namespace of the current task. It does
    /// nothing before [`open_session`](Self::open_session).
    ///
    /// # Errors
    ///
    /// `EINVAL` for options that cannot be served (see [`Options::check`]), `ENOMEM`.
    pub fn new(mut options: Options) -> Result<Arc<Self>> {
        options.check()?;
        let messenger = Messenger::new(Config {
            ip: options.ip,
            verify_data: !options.nocrc,
            nodelay: options.tcp_nodelay,
            required: if options.nosign { 0 } else { FEATURE_MSG_AUTH },
            version: match options.ms_mode {
                MsMode::Legacy => Version::V1 {
                    sign: !options.nosign,
                },
                MsMode::Crc | MsMode::PreferCrc => Version::V2,
            },
        })?;
        let waits = Arc::pin_init(WaitTable::new(), GFP_KERNEL)?;
        let events = Arc::pin_init(Events::new()?, GFP_KERNEL)?;
        let options = Arc::new(options, GFP_KERNEL)?;
        let monc = MonClient::new(
            options.clone(),
            messenger.clone(),
            waits.clone(),
            events.clone(),
        )?;
        let osdc = OsdClient::new(
            options.clone(),
            messenger.clone(),
            monc.clone(),
            events.clone(),
        )?;
        Arc::pin_init(
            try_pin_init!(Self {
                options,
                messenger,
                monc,
                osdc,
                waits,
                events,
                files <- new_mutex!(None, "ceph::Client::files"),
            }),
            GFP_KERNEL,
        )
    }

    /// Opens a session with the monitors and waits for the first maps, for as long
    /// as the options say. `maps` gets the maps of metadata servers and file
    /// systems until [`stop`](Self::stop).
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if no monitor answers, `EACCES` if the key is refused,
    /// `EHOSTUNREACH` if the monitors are of another cluster, `EPROTONOSUPPORT` if they
    /// require features that this client lacks, `EINTR` when the task is being killed.
    /// [`cause`](Self::cause) says more, as does the log.
    pub fn open_session(&self, maps: Arc<dyn MonDispatch>) -> Result {
        let osdc = self.osdc.clone();
        self.monc
            .start(Arc::new(Maps { osdc, others: maps }, GFP_KERNEL)?);
        let opened = self.wait_maps();
        if opened == Err(ETIMEDOUT) {
            self.monc.waited(self.options.mount_timeout);
        }
        opened?;
        if let Some(fsid) = self.fsid() {
            info!("client{} fsid {fsid}\n", self.global_id());
        }
        // What debugfs cannot show is no reason to fail.
        *self.files.lock() = ClientFiles::new(&self.options, &self.monc, &self.osdc).ok();
        Ok(())
    }

    /// Waits for the first maps; says so when that takes long.
    fn wait_maps(&self) -> Result {
        let limit = self.mount_timeout();
        let first = time::secs(PATIENCE_SECS);
        if limit.is_some_and(|limit| limit <= first) {
            return self.monc.wait_maps(limit);
        }
        match self.monc.wait_maps(Some(first)) {
            Err(e) if e == ETIMEDOUT => info!(
                "no monitor has answered for {PATIENCE_SECS} s, still trying: check mon_addr, that \
                they run, and the network\n"
            ),
            other => return other,
        }
        let rest = limit.map(|limit| limit.saturating_sub(first));
        self.monc.wait_maps(rest)
    }

    /// Why there is no session with the monitors: one line that says what is wrong and what
    /// to do. `None` if there is one, or if nothing is known.
    pub fn cause(&self) -> Option<Explained<'_>> {
        self.monc.cause()
    }

    /// This client's directory in debugfs, for the files of its user; they have to
    /// be dropped before [`stop`](Self::stop).
    pub fn debugfs_dir(&self) -> Option<Dir> {
        self.files.lock().as_ref().map(ClientFiles::dir)
    }

    /// How long a mount waits, in jiffies; `None`: for ever.
    pub fn mount_timeout(&self) -> Option<Jiffies> {
        match self.options.mount_timeout {
            0 => None,
            seconds => Some(time::secs(u64::from(seconds))),
        }
    }

    /// By force: whoever waits for data or for an answer of the monitors gets `EIO`, and
    /// so does who asks for data from now on.
    pub fn abort(&self) {
        self.osdc.abort(EIO);
        self.monc.fail_requests(EIO);
    }

    /// Begins anew with another identity, for servers that shut this one out: another
    /// nonce in the address, and new sessions with monitors and OSDs.
    pub fn renew(&self) {
        self.messenger.renew_nonce();
        self.monc.reopen_session();
        self.osdc.reopen();
    }

    /// Ends everything; afterwards nothing of this client runs.
    pub fn stop(&self) {
        let files = self.files.lock().take();
        drop(files);
        self.osdc.stop();
        self.monc.stop();
        self.messenger.flush();
    }

    /// The cluster's identity, once it is known.
    pub fn fsid(&self) -> Option<Fsid> {
        self.monc.fsid()
    }

    /// The client's number; 0 before it was authenticated.
    pub fn global_id(&self) -> u64 {
        self.monc.global_id()
    }

    /// Whether a mount with these options, in the network namespace of the current
    /// task, can use this client. Never sleeps.
    pub fn serves(&self, options: &Options) -> bool {
        !self.options.noshare
            && *self.messenger.net() == Net::current()
            && self.options.same_behaviour(options)
            && self.monc.knows_any(&options.mon_addrs)
    }
}
