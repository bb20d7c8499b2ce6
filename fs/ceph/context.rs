// SPDX-License-Identifier: GPL-2.0
//! Mounting: options, the session with the cluster, the root.
//!
//! A mount is made in this order: a super block (or one that another mount has made
//! is shared), the monitors' session, the MDS map, the root inode. Whatever fails
//! drops the super block, whose end ([`SuperOps::close`]) undoes the rest.
//!
//! What a mount fails for is said once: in the messages of the mount's context, which
//! mount(8) shows, and in the kernel's log.
//!
//! [`SuperOps::close`]: crate::super_block::SuperOps
use core::fmt;
use kernel::{
    prelude::*,
    str::{CStr, CString},
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
    time::Jiffies,
};
use kernel_ext::{
    fs::{
        context::{self, FsContext, Sget},
        param::{ParamSpec, ParamTable, Value},
        super_block::{self, flags, Locked},
        InodeRef, SuperBlock,
    },
    task, time,
};

use ceph_core::{
    client::Client,
    log::{error, warning},
    messenger::Incoming,
    mon_client::{MonClient, MonDispatch},
    options::{OptionError, Options},
};
use ceph_fs_proto::{
    mount::{
        options::{MountOptions, Taken, Value as OptionValue},
        source::{canonical_path, Device, Source},
    },
    wire::msg::{FS_MAP_USER, MDS_MAP},
};
use ceph_proto::{errno::ehostunreach, wire::types::Fsid};

use crate::{
    fs_client::FsClient,
    fs_type::{CephFs, MAGIC},
    mds_client::{client::MdsClient, config::Config, op::Caller},
    root::Root,
    text::Text,
};

/// Least blocks of the page cache.
const PAGE_SIZE: u32 = 4096;

/// What the value of an option of [`OPTIONS`] is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The source.
    Source,
    /// `libceph`, which reads texts itself.
    Cluster,
    /// The file system.
    Mount,
}

/// Makes the table that the VFS parses by, and one with the same numbers that says
/// whose each option is.
macro_rules! options {
    ($($owner:ident $kind:ident $name:literal)*) => {
        const OPTIONS: &[(Owner, &str)] = &[$((Owner::$owner, $name)),*];
        static PARAMS: ParamTable = {
            const SPECS: &[ParamSpec] = &{
                let mut number: u8 = 0;
                [$({
                    const NAME: &CStr = kernel::c_str!($name);
                    let spec = ParamSpec::$kind(NAME, number);
                    number += 1;
                    spec
                },)* {
                    assert!(number as usize == OPTIONS.len());
                    ParamSpec::END
                }]
            };
            ParamTable::new(SPECS)
        };
    };
}

options! {
    Source string "source"

    Cluster flag "abort_on_full"
    Cluster flag_no "cephx_require_signatures"
    Cluster flag_no "cephx_sign_messages"
    Cluster flag_no "crc"
    Cluster string "crush_location"
    Cluster string "fsid"
    Cluster string "ip"
    Cluster string "key"
    Cluster string "mount_timeout"
    Cluster string "ms_mode"
    Cluster string "name"
    Cluster string "osd_idle_ttl"
    Cluster string "osd_request_timeout"
    Cluster string "osdkeepalive"
    Cluster string "osdkeepalivetimeout"
    Cluster string "read_from_replica"
    Cluster flag "rxbounce"
    Cluster string "secret"
    Cluster flag_no "share"
    Cluster flag_no "tcp_nodelay"

    Mount flag_no "acl"
    Mount flag_no "asyncreaddir"
    Mount s32 "caps_max"
    Mount u32 "caps_wanted_delay_max"
    Mount u32 "caps_wanted_delay_min"
    Mount flag_no "copyfrom"
    Mount flag_no "dcache"
    Mount flag_no "dirstat"
    Mount flag_no "fsc"
    Mount string "fsc"
    Mount flag_no "ino32"
    Mount string "mds_namespace"
    Mount string "mon_addr"
    Mount flag_no "nearfull_sync"
    Mount flag_no "pagecache"
    Mount flag_no "poolperm"
    Mount flag_no "quotadf"
    Mount u32 "rasize"
    Mount flag_no "rbytes"
    Mount u32 "readdir_max_bytes"
    Mount u32 "readdir_max_entries"
    Mount string "recover_session"
    Mount flag_no "require_active_mds"
    Mount u32 "rsize"
    Mount string "snapdirname"
    Mount flag_no "sparseread"
    Mount flag "test_dummy_encryption"
    Mount string "test_dummy_encryption"
    Mount u32 "write_congestion_kb"
    Mount u32 "wsize"
    Mount flag_no "wsync"
}

/// A mount in the making.
pub(crate) struct Mount {
    cluster: Option<Options>,
    options: MountOptions,
    /// Of the source in the new syntax.
    fsid: Option<Fsid>,
    new_syntax: bool,
    /// Canonical, with its leading slash.
    path: KVec<u8>,
}

/// Says why a mount fails.
fn refuse(fc: &FsContext<CephFs>, why: fmt::Arguments<'_>) {
    // Without a log of its own the context's message goes to the kernel's log.
    if fc.has_log() {
        error!("{why}\n");
    }
    fc.error(fmt!("{}", why));
}

/// As [`refuse`], of what the mount goes on without.
fn warn(fc: &FsContext<CephFs>, what: fmt::Arguments<'_>) {
    if fc.has_log() {
        warning!("{what}\n");
    }
    fc.warn(fmt!("{}", what));
}

fn text(value: &CStr) -> Option<&str> {
    value.to_str().ok()
}

/// An option as it was given, without its value.
struct Name<'a>(&'a str, Value<'a>);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self.1, Value::Flag(false)) {
            f.write_str("no")?;
        }
        f.write_str(self.0)?;
        match (self.0, self.1) {
            // Other values may be the secret, or be long.
            ("ms_mode", Value::String(mode)) => write!(f, "={}", Text(mode.to_bytes())),
            _ => Ok(()),
        }
    }
}

/// Why there is no root. What has its own line in the log already is `Logged`.
enum Failure {
    /// The session with the monitors.
    Monitors(Error),
    /// They are of another cluster than the source names.
    OtherCluster { wanted: Fsid, found: Fsid },
    /// There was no answer of a metadata server.
    NoAnswer(Error),
    /// It answered so.
    Answer(Error),
    /// The path leads to something else.
    NotDirectory,
    /// Something of our own.
    Own(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

impl Mount {
    fn source(&mut self, fc: &FsContext<CephFs>, source: &[u8]) -> Result {
        let bad = |why: fmt::Arguments<'_>, error: Error| {
            refuse(fc, format_args!("source: {why}"));
            error
        };
        let parsed = Source::parse(source).map_err(|e| bad(format_args!("{e}"), EINVAL))?;
        let cluster = self.cluster.as_mut().ok_or(EBUSY)?;
        match parsed.device {
            Device::New {
                name,
                fsid,
                fs_name,
            } => {
                cluster.parse("name", Some(name))?;
                let named = self.options.set_fs_name(fs_name);
                named.map_err(|e| bad(format_args!("mds_namespace: {e}"), e.into()))?;
                self.fsid = Some(fsid);
                self.new_syntax = true;
            }
            Device::Old { monitors } => {
                let parsed = cluster.parse_mon_addrs(monitors, ',');
                parsed.map_err(|e| bad(format_args!("{e}"), e.into()))?;
            }
        }
        self.path = canonical_path(parsed.path.unwrap_or(b"/"))?;
        Ok(())
    }

    fn cluster_option(&mut self, fc: &FsContext<CephFs>, name: &str, value: Value<'_>) -> Result {
        let cluster = self.cluster.as_mut().ok_or(EBUSY)?;
        let parsed = match value {
            Value::Flag(true) => cluster.parse(name, None),
            Value::Flag(false) => {
                let negated = CString::try_from_fmt(fmt!("no{name}"))?;
                cluster.parse(text(&negated).unwrap_or_default(), None)
            }
            Value::String(s) => match text(s) {
                Some(s) => cluster.parse(name, Some(s)),
                None => Err(OptionError::Invalid),
            },
            _ => return Err(EINVAL),
        };
        parsed.map_err(|e| {
            refuse(fc, format_args!("option {}: {e}", Name(name, value)));
            e.into()
        })
    }

    fn mount_option(&mut self, fc: &FsContext<CephFs>, name: &str, value: Value<'_>) -> Result {
        let shown = Name(name, value);
        let value = match value {
            Value::Flag(on) => OptionValue::Flag(on),
            Value::U32(n) => OptionValue::U32(n),
            Value::S32(n) => OptionValue::S32(n),
            Value::String(s) => match text(s) {
                Some(s) => OptionValue::Text(s),
                None => {
                    refuse(fc, format_args!("option {shown}: not UTF-8"));
                    return Err(EINVAL);
                }
            },
            Value::Enum(_) => return Err(EINVAL),
        };
        if let ("mon_addr", OptionValue::Text(addrs)) = (name, value) {
            let cluster = self.cluster.as_mut().ok_or(EBUSY)?;
            cluster.parse_mon_addrs(addrs, '/').map_err(|e| {
                refuse(fc, format_args!("option mon_addr: {e}"));
                Error::from(e)
            })?;
        }
        match self.options.set(name, value) {
            Ok(Taken::Obeyed) => Ok(()),
            Ok(Taken::Ignored(why)) => {
                warn(fc, format_args!("option {shown} is ignored: {why}"));
                Ok(())
            }
            Err(e) => {
                refuse(fc, format_args!("option {shown}: {e}"));
                Err(e.into())
            }
        }
    }

    /// Opens the sessions and finds the root.
    fn fill(
        &self,
        fc: &FsContext<CephFs>,
        mut sb: super_block::New<CephFs>,
    ) -> Result<Locked<CephFs>> {
        let fs = sb.data().clone();
        static BDI: Atomic<i64> = Atomic::new(0);
        let bdi = CString::try_from_fmt(fmt!("ceph-{}", BDI.fetch_add(1, Relaxed) + 1))?;
        let pages = |bytes: u32| (bytes / PAGE_SIZE) as usize;
        sb.setup_bdi(&bdi, pages(fs.options.rasize), pages(fs.options.rsize))?;
        sb.set_magic(MAGIC);
        sb.set_time_range(0, i64::from(u32::MAX), 1);
        fs.set_super_block(sb.handle());

        let started = time::jiffies();
        match self.open_root(&fs, &bdi, started) {
            Ok(root) => {
                let locked = sb.set_root(root)?;
                fs.mdsc.mounted();
                Ok(locked)
            }
            Err(failure) => Err(self.explain(fc, &fs, failure)),
        }
    }

    /// Says why the mount fails, and with which error: the C client's is `EHOSTUNREACH`
    /// for all that happens before a metadata server can be asked.
    fn explain(&self, fc: &FsContext<CephFs>, fs: &FsClient, failure: Failure) -> Error {
        let user = Text(fs.client.options.entity_name());
        match failure {
            Failure::Own(error) => return error,
            Failure::Monitors(error) | Failure::NoAnswer(error) | Failure::Answer(error)
                if error == EINTR || error == ENOMEM =>
            {
                return error;
            }
            Failure::OtherCluster { wanted, found } => refuse(
                fc,
                format_args!("the source names cluster {wanted}, but the monitors are of {found}"),
            ),
            Failure::NotDirectory => {
                refuse(
                    fc,
                    format_args!("'{}' is not a directory", Text(&self.path)),
                );
                return ENOTDIR;
            }
            Failure::Answer(error) => {
                let path = Text(&self.path);
                if error == ENOENT {
                    refuse(
                        fc,
                        format_args!("there is no directory '{path}' in the file system"),
                    );
                } else if error == EACCES || error == EPERM {
                    refuse(
                        fc,
                        format_args!(
                            "the mds does not let client.{user} mount '{path}': see what `ceph \
                            auth get client.{user}` says, and `ceph osd blocklist ls`"
                        ),
                    );
                } else {
                    refuse(
                        fc,
                        format_args!(
                            "the mds answered with error {}: see its log and `ceph fs status`",
                            error.to_errno()
                        ),
                    );
                }
                return error;
            }
            Failure::NoAnswer(error) => {
                let map = fs.mdsc.map();
                if let Some(name) = fs.mdsc.unknown_fs() {
                    refuse(
                        fc,
                        format_args!(
                            "client.{user} sees no file system named '{}': see `ceph fs ls`, and \
                            whether `ceph auth get client.{user}` lets it see that one",
                            Text(name)
                        ),
                    );
                } else if !map.as_ref().is_some_and(|map| map.is_available()) {
                    refuse(
                        fc,
                        format_args!(
                            "no mds server is up, or the cluster is laggy: see `ceph fs status` \
                            and `ceph -s`"
                        ),
                    );
                } else if error == EACCES {
                    refuse(
                        fc,
                        format_args!(
                            "the mds rejected the session of client.{user}: see what `ceph auth \
                            get client.{user}` and `ceph osd blocklist ls` say"
                        ),
                    );
                    return error;
                } else {
                    refuse(
                        fc,
                        format_args!(
                            "the mds did not answer: see `ceph fs status`, and that the network \
                            lets us reach its msgr2 port"
                        ),
                    );
                    return error;
                }
            }
            // The log has it already.
            Failure::Monitors(error) => match fs.client.cause() {
                Some(cause) if fc.has_log() => fc.error(fmt!("{}", format_args!("{cause}"))),
                Some(_) => {}
                None => refuse(
                    fc,
                    format_args!("no session with the monitors: error {}", error.to_errno()),
                ),
            },
        }
        ehostunreach()
    }

    fn open_root(
        &self,
        fs: &Arc<FsClient>,
        bdi: &CStr,
        started: Jiffies,
    ) -> core::result::Result<InodeRef<CephFs>, Failure> {
        fs.mdsc.start(fs.clone());
        let maps = Arc::new(
            Maps {
                mdsc: fs.mdsc.clone(),
            },
            GFP_KERNEL,
        )
        .map_err(Error::from)?;
        fs.mdsc.subscribe();
        fs.client.open_session(maps).map_err(Failure::Monitors)?;
        // From now on it shows what a mount waits for.
        if let Err(e) = fs.create_debugfs(bdi) {
            warning!("no files in debugfs: {}\n", e.to_errno());
        }
        if let (Some(wanted), Some(found)) = (self.fsid, fs.client.fsid()) {
            if wanted != found {
                return Err(Failure::OtherCluster { wanted, found });
            }
        }
        let path = self.path.get(1..).unwrap_or_default();
        let timeout = fs
            .client
            .mount_timeout()
            .map(|all| all.saturating_sub(time::elapsed(started)).max(1));
        let root = Root { path: copy(path)? };
        let answer = fs.mdsc.do_request(root, Caller::default(), timeout);
        let root = answer
            .map_err(Failure::NoAnswer)?
            .map_err(Failure::Answer)?
            .ok_or(EIO)?;
        if !root.is_dir() {
            return Err(Failure::NotDirectory);
        }
        Ok(root)
    }
}

#[vtable]
impl context::Operations for Mount {
    type Fs = CephFs;

    const PARAMS: &'static ParamTable = &PARAMS;

    fn new(_: &FsContext<CephFs>, _existing: Option<&SuperBlock<CephFs>>) -> Result<Self> {
        Ok(Self {
            cluster: Some(Options::new()),
            options: MountOptions::default(),
            fsid: None,
            new_syntax: false,
            path: canonical_path(b"/")?,
        })
    }

    fn parse_param(&mut self, fc: &FsContext<CephFs>, opt: u8, value: Value<'_>) -> Result {
        let (owner, name) = *OPTIONS.get(usize::from(opt)).ok_or(EINVAL)?;
        match (owner, value) {
            (Owner::Source, Value::String(source)) => self.source(fc, source.to_bytes()),
            (Owner::Source, _) => Err(EINVAL),
            (Owner::Cluster, value) => self.cluster_option(fc, name, value),
            (Owner::Mount, value) => self.mount_option(fc, name, value),
        }
    }

    fn get_tree(&mut self, fc: &FsContext<CephFs>) -> Result<Locked<CephFs>> {
        let invalid = |why| {
            refuse(fc, why);
            EINVAL
        };
        if fc.source().is_none() {
            return Err(invalid(format_args!("no source")));
        }
        if self.new_syntax && self.options.mon_addr.is_none() {
            return Err(invalid(format_args!("no monitor address")));
        }
        let mut cluster = self.cluster.take().ok_or(EBUSY)?;
        // As the C client's file system does, which shows it in debugfs.
        cluster.abort_on_full = true;
        if let Err(e) = cluster.check() {
            return Err(invalid(format_args!("monitors: {e}")));
        }
        if fc.sb_flags() & flags::RDONLY == 0 {
            static TOLD: Atomic<i32> = Atomic::new(0);
            if TOLD.xchg(1, Relaxed) == 0 {
                warning!("this client reads only: mounts are read-only\n");
            }
            fc.add_sb_flags(flags::RDONLY);
        }
        if self.options.acl {
            fc.add_sb_flags(flags::POSIXACL);
        }
        let entity_id = copy(cluster.entity_name())?;
        let client = Client::new(cluster)?;
        let config = Config {
            fs_name: self.options.fs_name.as_deref().map(copy).transpose()?,
            require_active: self.options.require_active_mds,
            recover: self.options.recover_clean,
            hostname: task::node_name()?,
            kernel_release: task::kernel_release()?,
            entity_id,
            root: copy(&self.path)?,
        };
        let mdsc = MdsClient::new(client.clone(), config, crate::queue::queue()?)?;
        let options = core::mem::take(&mut self.options);
        let fs = FsClient::new(client, mdsc, options, copy(&self.path)?, self.new_syntax)?;
        match fc.sget(fs, same)? {
            Sget::Existing(locked) => Ok(locked),
            Sget::New(sb) => self.fill(fc, sb),
        }
    }

    fn reconfigure(&mut self, fc: &FsContext<CephFs>, _sb: &SuperBlock<CephFs>) -> Result {
        if fc.sb_flags_mask() & flags::RDONLY != 0 && fc.sb_flags() & flags::RDONLY == 0 {
            refuse(fc, format_args!("this client reads only"));
            return Err(EROFS);
        }
        Ok(())
    }
}

fn copy(bytes: &[u8]) -> Result<KVec<u8>> {
    let mut copy = KVec::new();
    copy.extend_from_slice(bytes, GFP_KERNEL)?;
    Ok(copy)
}

/// Whether a mount can share an existing super block. Under a spin lock.
fn same(existing: &Arc<FsClient>, mine: &Arc<FsClient>) -> bool {
    let refused = existing.mdsc.is_blocklisted() && !existing.options.recover_clean;
    !existing.is_shut_down()
        && !refused
        && !mine.client.options.noshare
        && existing.client.serves(&mine.client.options)
        && existing.options.same_behaviour(&mine.options)
        && existing.path[..] == mine.path[..]
}

/// Takes the maps that the monitors send for the file system.
struct Maps {
    mdsc: Arc<MdsClient<FsClient>>,
}

impl MonDispatch for Maps {
    fn dispatch(&self, _monc: &MonClient, msg: &Incoming) -> Result<bool> {
        let ours = matches!(msg.header.kind, MDS_MAP | FS_MAP_USER);
        if ours {
            self.mdsc.monitor_message(msg)?;
        }
        Ok(ours)
    }
}
