// SPDX-License-Identifier: GPL-2.0
//! Mounting: options, the session with the cluster, the root; and the super block.
//!
//! A mount is made in this order: a super block (or one that another mount has made
//! is shared), the monitors' session, the MDS map, the root inode. Whatever fails
//! drops the super block, whose end ([`SuperOps::pre_kill`]) undoes the rest.
use core::str::from_utf8;
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    str::{CStr, CString},
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
};
use kernel_ext::{
    fs::{
        context::{self, Sget},
        param::{ParamSpec, ParamTable, Value},
        super_block::{self, flags, Locked, StatFs},
        Dentry, FileSystem, Flags, FsContext, SuperBlock,
    },
    task, time,
};

use ceph_core::{
    client::Client,
    log::{error, info, show, warning},
    messenger::Incoming,
    mon_client::{MonClient, MonDispatch},
    options::Options,
};
use ceph_fs_proto::{
    mount::{
        options::{MountOptions, OptionError, Value as OptionValue},
        source::{canonical_path, Device, Source},
    },
    wire::{
        cap_bits::Caps,
        msg::{FS_MAP_USER, INO_ROOT, MDS_MAP},
        request::{Args, Op},
    },
};
use ceph_proto::{errno::ehostunreach, wire::types::Fsid};

use crate::{
    dentry::{DentryInfo, DentryOps},
    fs_client::FsClient,
    inode::InodeInfo,
    mds_client::{Caller, Config, MdsClient, OwnedPath, Spec},
};

/// `CEPH_SUPER_MAGIC` (include/uapi/linux/magic.h).
const MAGIC: usize = 0x00c3_6400;
/// Blocks of statfs are 4 MiB.
const BLOCK_SHIFT: u32 = 22;
/// Longest name.
const NAME_MAX: u32 = 255;
/// Least blocks of the page cache.
const PAGE_SIZE: u32 = 4096;

/// The file system type `ceph`.
pub(crate) struct CephFs;

impl FileSystem for CephFs {
    const NAME: &'static CStr = c"ceph";
    const FLAGS: Flags = Flags::RENAME_DOES_D_MOVE;

    type Super = Arc<FsClient>;
    type Inode = InodeInfo;
    type Dentry = DentryInfo;
    type Context = Mount;
    type SuperOps = SuperOps;
    type DentryOps = DentryOps;
}

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

fn text(value: &CStr) -> Result<&str> {
    value.to_str().map_err(|_| EINVAL)
}

impl Mount {
    fn source(&mut self, fc: &FsContext<CephFs>, source: &str) -> Result {
        let parsed =
            Source::parse(source).map_err(|e| fc.invalid(fmt!("{}", format_args!("{e}"))))?;
        let cluster = self.cluster.as_mut().ok_or(EBUSY)?;
        match parsed.device {
            Device::New {
                name,
                fsid,
                fs_name,
            } => {
                cluster.parse("name", Some(name))?;
                self.options.set_fs_name(fs_name).map_err(|e| {
                    fc.error(fmt!("mds_namespace: {}", format_args!("{e}")));
                    Error::from(e)
                })?;
                self.fsid = Some(fsid);
                self.new_syntax = true;
            }
            Device::Old { monitors } => {
                cluster.parse_mon_addrs(monitors, ',').map_err(|e| {
                    fc.error(fmt!("source: {}", format_args!("{e}")));
                    Error::from(e)
                })?;
            }
        }
        self.path = canonical_path(parsed.path.unwrap_or("/"))?;
        Ok(())
    }

    fn cluster_option(&mut self, fc: &FsContext<CephFs>, name: &str, value: Value<'_>) -> Result {
        let cluster = self.cluster.as_mut().ok_or(EBUSY)?;
        let parsed = match value {
            Value::Flag(true) => cluster.parse(name, None),
            Value::Flag(false) => {
                let negated = CString::try_from_fmt(fmt!("no{name}"))?;
                cluster.parse(text(&negated)?, None)
            }
            Value::String(s) => cluster.parse(name, Some(text(s)?)),
            _ => return Err(EINVAL),
        };
        parsed.map_err(|e| {
            // Not its value: it may be the secret.
            let given = match (name, value) {
                ("ms_mode", Value::String(s)) => s.to_str().unwrap_or("?"),
                _ => "",
            };
            let equals = if given.is_empty() { "" } else { "=" };
            error!("option {name}{equals}{given}: {e}\n");
            fc.error(fmt!("{}", format_args!("{name}{equals}{given}: {e}")));
            Error::from(e)
        })
    }

    fn mount_option(&mut self, fc: &FsContext<CephFs>, name: &str, value: Value<'_>) -> Result {
        let value = match value {
            Value::Flag(on) => OptionValue::Flag(on),
            Value::U32(n) => OptionValue::U32(n),
            Value::S32(n) => OptionValue::S32(n),
            Value::String(s) => OptionValue::Text(text(s)?),
            Value::Enum(_) => return Err(EINVAL),
        };
        if let ("mon_addr", OptionValue::Text(addrs)) = (name, value) {
            let cluster = self.cluster.as_mut().ok_or(EBUSY)?;
            cluster.parse_mon_addrs(addrs, '/').map_err(|e| {
                fc.error(fmt!("mon_addr: {}", format_args!("{e}")));
                Error::from(e)
            })?;
        }
        self.options.set(name, value).map_err(|e| {
            let no = match value {
                OptionValue::Flag(false) => "no",
                _ => "",
            };
            if e == OptionError::NotBuilt {
                error!("option {no}{name}: {e}\n");
            }
            fc.error(fmt!("{}", format_args!("{no}{name}: {e}")));
            e.into()
        })
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
            Err(e) => {
                let available = fs.mdsc.map().is_some_and(|map| map.is_available());
                if e == EINTR || e == ENOMEM {
                    return Err(e);
                }
                if available {
                    advise(e);
                    return Err(e);
                }
                if fs.client.fsid().is_some() {
                    info!(
                        "No mds server is up or the cluster is laggy: see `ceph fs status` and \
                        `ceph -s`\n"
                    );
                }
                fc.error(fmt!("no mds server is up, or the cluster does not answer"));
                Err(ehostunreach())
            }
        }
    }

    fn open_root(
        &self,
        fs: &Arc<FsClient>,
        bdi: &CStr,
        started: kernel::time::Jiffies,
    ) -> Result<kernel_ext::fs::InodeRef<CephFs>> {
        fs.mdsc.start(fs.clone());
        let maps = Arc::new(
            Maps {
                mdsc: fs.mdsc.clone(),
            },
            GFP_KERNEL,
        )?;
        fs.mdsc.subscribe();
        fs.client.open_session(maps)?;
        // From now on it shows what a mount waits for.
        if let Err(e) = fs.create_debugfs(bdi) {
            warning!("no files in debugfs: {}\n", e.to_errno());
        }
        if let (Some(wanted), Some(found)) = (self.fsid, fs.client.fsid()) {
            if wanted != found {
                error!("the source names cluster {wanted}, but the monitors are of {found}\n");
                return Err(ehostunreach());
            }
        }
        let path = self.path.get(1..).unwrap_or_default();
        let reply = fs.mdsc.do_request(Spec {
            op: Op::GETATTR,
            args: Args::Getattr {
                mask: Caps::STAT_ALL,
            },
            path1: OwnedPath::name(INO_ROOT, path)?,
            path2: OwnedPath::default(),
            want_dentry: false,
            caller: Caller::default(),
            target: Default::default(),
            timeout: fs
                .client
                .mount_timeout()
                .map(|all| all.saturating_sub(time::elapsed(started)).max(1)),
        })?;
        if reply.result < 0 {
            let e = Error::from_errno(reply.result);
            if e == ENOENT {
                error!(
                    "there is no directory '{}' in the file system\n",
                    from_utf8(&self.path).unwrap_or("?")
                );
            }
            return Err(e);
        }
        reply.filled.target.ok_or(EIO)
    }
}

#[vtable]
impl context::Operations for Mount {
    type Fs = CephFs;

    const PARAMS: &'static ParamTable = &PARAMS;

    fn new(fc: &FsContext<CephFs>, _existing: Option<&SuperBlock<CephFs>>) -> Result<Self> {
        let _ = fc;
        Ok(Self {
            cluster: Some(Options::new()),
            options: MountOptions::default(),
            fsid: None,
            new_syntax: false,
            path: canonical_path("/")?,
        })
    }

    fn parse_param(&mut self, fc: &FsContext<CephFs>, opt: u8, value: Value<'_>) -> Result {
        let (owner, name) = *OPTIONS.get(usize::from(opt)).ok_or(EINVAL)?;
        match (owner, value) {
            (Owner::Source, Value::String(source)) => self.source(fc, text(source)?),
            (Owner::Source, _) => Err(EINVAL),
            (Owner::Cluster, value) => self.cluster_option(fc, name, value),
            (Owner::Mount, value) => self.mount_option(fc, name, value),
        }
    }

    fn get_tree(&mut self, fc: &FsContext<CephFs>) -> Result<Locked<CephFs>> {
        if fc.source().is_none() {
            return Err(fc.invalid(fmt!("no source")));
        }
        if self.new_syntax && self.options.mon_addr.is_none() {
            return Err(fc.invalid(fmt!("no monitor address")));
        }
        let mut cluster = self.cluster.take().ok_or(EBUSY)?;
        // As the C client's file system does, which shows it in debugfs.
        cluster.abort_on_full = true;
        if let Err(e) = cluster.check() {
            error!("option ms_mode: {e}\n");
            fc.error(fmt!("{}", format_args!("ms_mode: {e}")));
            return Err(e.into());
        }
        if fc.sb_flags() & flags::RDONLY == 0 {
            static TOLD: Atomic<i32> = Atomic::new(0);
            if TOLD.xchg(1, Relaxed) == 0 {
                warning!("this client reads only: mounts are read-only\n");
            }
            fc.add_sb_flags(flags::RDONLY);
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
        let mdsc = MdsClient::new(client.clone(), config, crate::queue()?)?;
        let options = core::mem::take(&mut self.options);
        let fs = FsClient::new(client, mdsc, options, copy(&self.path)?, self.new_syntax)?;
        match fc.sget(fs, same)? {
            Sget::Existing(locked) => Ok(locked),
            Sget::New(sb) => self.fill(fc, sb),
        }
    }

    fn reconfigure(&mut self, fc: &FsContext<CephFs>, _sb: &SuperBlock<CephFs>) -> Result {
        if fc.sb_flags_mask() & flags::RDONLY != 0 && fc.sb_flags() & flags::RDONLY == 0 {
            error!("remount: this client reads only\n");
            fc.error(fmt!("this client reads only"));
            return Err(EROFS);
        }
        Ok(())
    }
}

/// Says what to do about a mount that a metadata server, which is there, has not served.
fn advise(error: Error) {
    if error == ETIMEDOUT {
        error!(
            "the mds did not answer: see `ceph fs status`, and that the network lets us reach \
            its msgr2 port\n"
        );
    } else if error == EACCES || error == EPERM {
        error!(
            "the mds does not let us in: see what `ceph auth get` and `ceph fs authorize` say of \
            the user and this path, and `ceph osd blocklist ls`\n"
        );
    } else if error != ENOENT {
        error!(
            "the mds answered with error {}: see its log and `ceph fs status`\n",
            error.to_errno()
        );
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

/// The operations of a super block.
pub(crate) struct SuperOps;

#[vtable]
impl super_block::Operations for SuperOps {
    type Fs = CephFs;

    fn pre_kill(sb: &SuperBlock<CephFs>) {
        sb.data().stop();
    }

    fn give_up_reads(inode: &kernel_ext::fs::inode::Uncounted<CephFs>) {
        if let Some(fs) = inode.super_data() {
            fs.client.osdc.give_up(inode.key().ino);
        }
    }

    fn evict(inode: &kernel_ext::fs::inode::Uncounted<CephFs>) {
        FsClient::evict(inode);
    }

    /// What nobody uses goes at once, and its capability back to the server: a
    /// capability that is kept costs the server more than a lookup costs us.
    fn drop_inode(_inode: &kernel_ext::fs::inode::Uncounted<CephFs>) -> bool {
        true
    }

    fn statfs(dentry: &Dentry<CephFs>, stat: &mut StatFs) -> Result {
        let fs = dentry.super_block().data();
        let map = fs.mdsc.map().ok_or(EIO)?;
        // With one data pool, its numbers; else those of the cluster.
        let pool = match &map.data_pools[..] {
            [pool] => u64::try_from(*pool).ok(),
            _ => None,
        };
        if fs.is_shut_down() {
            return Err(EIO);
        }
        let found = fs.client.monc.statfs(pool)?;
        let blocks = |kib: u64| kib >> (BLOCK_SHIFT - 10);
        stat.set_type(MAGIC as i64)
            .set_block_size(1 << BLOCK_SHIFT, 1 << BLOCK_SHIFT)
            .set_blocks(
                blocks(found.kb),
                blocks(found.kb_avail),
                blocks(found.kb_avail),
            )
            .set_files(found.num_objects, u64::MAX)
            .set_name_len(NAME_MAX)
            .set_fsid(fs.statfs_id());
        Ok(())
    }

    fn show_options(root: &Dentry<CephFs>, m: &SeqFile) -> Result {
        let fs = root.super_block().data();
        show!(m, ",{}", Shown(&fs.client.options));
        if let (Some(name), false) = (&fs.options.fs_name, fs.new_syntax) {
            show!(m, ",mds_namespace={}", from_utf8(name).unwrap_or("?"));
        }
        if let Some(addr) = &fs.options.mon_addr {
            show!(m, ",mon_addr={}", from_utf8(addr).unwrap_or("?"));
        }
        fs.options.show(|name, value| match value {
            Some(value) => show!(m, ",{name}={value}"),
            None => show!(m, ",{name}"),
        });
        Ok(())
    }

    fn umount_begin(sb: &SuperBlock<CephFs>) {
        sb.data().shut_down();
    }
}

/// The cluster's options as /proc/mounts has them.
struct Shown<'a>(&'a Options);

impl core::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.print(f, false)
    }
}
