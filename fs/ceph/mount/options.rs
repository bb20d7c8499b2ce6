// SPDX-License-Identifier: GPL-2.0
//! Mount options of the file system; those of the cluster are libceph's.
//!
//! Every option of the C client is known by name. Those that concern only writing are kept
//! and shown, and change nothing on a mount that is read-only. One that would change what
//! a reader sees, and is not built, is refused and named, so that no mount behaves otherwise
//! than it was told to.
use core::fmt;
use kernel::prelude::*;

/// How an option is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `name` or `noname`.
    FlagNo,
    /// `name=NUMBER`.
    U32,
    /// `name=NUMBER`, may be negative.
    S32,
    /// `name=TEXT`.
    Text,
    /// `name` alone or `name=TEXT`.
    FlagOrText,
}

/// An option's value, as the parser found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `name` (true) or `noname` (false).
    Flag(bool),
    /// A number.
    U32(u32),
    /// A signed number.
    S32(i32),
    /// A text.
    Text(&'a str),
}

/// Names and kinds of all options (Documentation/filesystems/ceph.rst).
pub const SPECS: &[(&str, Kind)] = &[
    ("acl", Kind::FlagNo),
    ("asyncreaddir", Kind::FlagNo),
    ("caps_max", Kind::S32),
    ("caps_wanted_delay_max", Kind::U32),
    ("caps_wanted_delay_min", Kind::U32),
    ("copyfrom", Kind::FlagNo),
    ("dcache", Kind::FlagNo),
    ("dirstat", Kind::FlagNo),
    ("fsc", Kind::FlagOrText),
    ("ino32", Kind::FlagNo),
    ("mds_namespace", Kind::Text),
    ("mon_addr", Kind::Text),
    ("nearfull_sync", Kind::FlagNo),
    ("pagecache", Kind::FlagNo),
    ("poolperm", Kind::FlagNo),
    ("quotadf", Kind::FlagNo),
    ("rasize", Kind::U32),
    ("rbytes", Kind::FlagNo),
    ("readdir_max_bytes", Kind::U32),
    ("readdir_max_entries", Kind::U32),
    ("recover_session", Kind::Text),
    ("require_active_mds", Kind::FlagNo),
    ("rsize", Kind::U32),
    ("snapdirname", Kind::Text),
    ("sparseread", Kind::FlagNo),
    ("test_dummy_encryption", Kind::FlagOrText),
    ("write_congestion_kb", Kind::U32),
    ("wsize", Kind::U32),
    ("wsync", Kind::FlagNo),
];

/// Why an option was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionError {
    /// Not an option of the file system.
    Unknown,
    /// The value is out of its range or not of its kind.
    Invalid,
    /// Known, but what it asks for is not built.
    NotBuilt,
    /// It names another file system than the source.
    OtherNamespace,
    /// Out of memory.
    NoMemory,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown option",
            Self::Invalid => "value out of range",
            Self::NotBuilt => "not supported by this client yet",
            Self::OtherNamespace => "does not match the file system of the source",
            Self::NoMemory => "out of memory",
        })
    }
}

impl From<OptionError> for Error {
    fn from(error: OptionError) -> Error {
        match error {
            OptionError::NoMemory => ENOMEM,
            OptionError::Unknown => ENOPARAM,
            _ => EINVAL,
        }
    }
}

/// Largest data of one message: the limit of `rsize` and `wsize` (bytes).
const MAX_DATA: u32 = 64 * 1024 * 1024;
/// Default of `rasize` (bytes).
const RASIZE_DEFAULT: u32 = 8 * 1024 * 1024;
/// Smallest unit of the page cache (bytes).
const PAGE: u32 = 4096;
/// Least `write_congestion_kb` (KiB).
const CONGESTION_MIN: u32 = 1024;
/// Longest `snapdirname` (bytes).
const NAME_MAX: usize = 255;
/// `CEPH_SNAPDIRNAME_DEFAULT`.
const SNAPDIRNAME: &[u8] = b".snap";

/// Options of one mount.
#[derive(Debug)]
pub struct MountOptions {
    /// File system name; `None` is the default one.
    pub fs_name: Option<KVec<u8>>,
    /// `mon_addr` as it was given.
    pub mon_addr: Option<KVec<u8>>,
    /// Most capabilities to keep; 0 means no limit.
    pub caps_max: u32,
    /// Seconds that unwanted capabilities are kept, at most.
    pub caps_wanted_delay_max: u32,
    /// Seconds that unwanted capabilities are kept, at least.
    pub caps_wanted_delay_min: u32,
    /// Read-ahead in bytes.
    pub rasize: u32,
    /// Most bytes of one read request.
    pub rsize: u32,
    /// Most entries that one readdir reply should have.
    pub readdir_max_entries: u32,
    /// Most bytes that one readdir reply should have.
    pub readdir_max_bytes: u32,
    /// Check POSIX ACLs.
    pub acl: bool,
    /// Serve readdir from the dentry cache where it is complete.
    pub async_readdir: bool,
    /// Trust the dentry cache.
    pub dcache: bool,
    /// Show 32-bit inode numbers.
    pub ino32: bool,
    /// Read through the page cache.
    pub pagecache: bool,
    /// Show the recursive size as a directory's size.
    pub rbytes: bool,
    /// Fail the mount at once where no MDS is active.
    pub require_active_mds: bool,
    /// Begin anew after the cluster has shut this client out.
    pub recover_clean: bool,
    /// What is kept to be shown.
    noted: Noted,
}

/// Options that change nothing here. Reads ask no pool for its permissions in advance: an
/// OSD refuses them itself, with the same error. The others concern writing, quotas,
/// snapshots and speed.
#[derive(Debug)]
struct Noted {
    copyfrom: bool,
    fsc: bool,
    fsc_uniq: Option<KVec<u8>>,
    nearfull_sync: bool,
    poolperm: bool,
    quotadf: bool,
    snapdirname: Option<KVec<u8>>,
    sparseread: bool,
    write_congestion_kb: Option<u32>,
    wsize: u32,
    wsync: bool,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            fs_name: None,
            mon_addr: None,
            caps_max: 0,
            caps_wanted_delay_max: 60,
            caps_wanted_delay_min: 5,
            rasize: RASIZE_DEFAULT,
            rsize: MAX_DATA,
            readdir_max_entries: 1024,
            readdir_max_bytes: 512 * 1024,
            acl: true,
            async_readdir: true,
            dcache: true,
            ino32: false,
            pagecache: true,
            rbytes: false,
            require_active_mds: true,
            recover_clean: false,
            noted: Noted {
                copyfrom: false,
                fsc: false,
                fsc_uniq: None,
                nearfull_sync: false,
                poolperm: true,
                quotadf: true,
                snapdirname: None,
                sparseread: false,
                write_congestion_kb: None,
                wsize: MAX_DATA,
                wsync: false,
            },
        }
    }
}

fn copy(text: &str) -> core::result::Result<KVec<u8>, OptionError> {
    let mut bytes = KVec::new();
    bytes
        .extend_from_slice(text.as_bytes(), GFP_KERNEL)
        .map_err(|_| OptionError::NoMemory)?;
    Ok(bytes)
}

/// `rsize` and `wsize`.
fn io_size(bytes: u32) -> core::result::Result<u32, OptionError> {
    if !(PAGE..=MAX_DATA).contains(&bytes) {
        return Err(OptionError::Invalid);
    }
    let rounded = bytes.checked_next_multiple_of(PAGE);
    rounded.ok_or(OptionError::Invalid)
}

/// What has come of an option that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The mount is as it says, or on a read-only mount it would change nothing.
    Obeyed,
    /// Readers get what they would get with it, but not in the way that it asks for: why.
    Ignored(&'static str),
}

impl MountOptions {
    /// Takes one option.
    ///
    /// # Errors
    ///
    /// See [`OptionError`]; nothing has changed then.
    pub fn set(
        &mut self,
        name: &str,
        value: Value<'_>,
    ) -> core::result::Result<Taken, OptionError> {
        use OptionError::{Invalid, NotBuilt};
        let at_least = |value: u32, least: u32| {
            if value >= least {
                Ok(value)
            } else {
                Err(Invalid)
            }
        };
        let mut taken = Taken::Obeyed;
        match (name, value) {
            ("acl", Value::Flag(on)) => self.acl = on,
            ("asyncreaddir", Value::Flag(on)) => self.async_readdir = on,
            ("dcache", Value::Flag(on)) => self.dcache = on,
            ("ino32", Value::Flag(on)) => self.ino32 = on,
            ("pagecache", Value::Flag(on)) => self.pagecache = on,
            ("rbytes", Value::Flag(on)) => self.rbytes = on,
            ("require_active_mds", Value::Flag(on)) => self.require_active_mds = on,
            ("caps_max", Value::S32(n)) => self.caps_max = u32::try_from(n).map_err(|_| Invalid)?,
            ("caps_wanted_delay_max", Value::U32(n)) => {
                self.caps_wanted_delay_max = at_least(n, 1)?;
            }
            ("caps_wanted_delay_min", Value::U32(n)) => {
                self.caps_wanted_delay_min = at_least(n, 1)?;
            }
            ("rasize", Value::U32(n)) => {
                self.rasize = n.checked_next_multiple_of(PAGE).ok_or(Invalid)?;
            }
            ("rsize", Value::U32(n)) => self.rsize = io_size(n)?,
            ("readdir_max_entries", Value::U32(n)) => self.readdir_max_entries = at_least(n, 1)?,
            ("readdir_max_bytes", Value::U32(n)) => {
                self.readdir_max_bytes = if n == 0 { 0 } else { at_least(n, PAGE)? };
            }
            ("mds_namespace", Value::Text(text)) => self.set_fs_name(text)?,
            ("mon_addr", Value::Text(text)) => self.mon_addr = Some(copy(text)?),
            ("recover_session", Value::Text("no")) => self.recover_clean = false,
            ("recover_session", Value::Text("clean")) => self.recover_clean = true,
            ("recover_session", Value::Text(_)) => return Err(Invalid),

            ("copyfrom", Value::Flag(on)) => self.noted.copyfrom = on,
            ("nearfull_sync", Value::Flag(on)) => self.noted.nearfull_sync = on,
            ("poolperm", Value::Flag(on)) => self.noted.poolperm = on,
            ("write_congestion_kb", Value::U32(n)) => {
                self.noted.write_congestion_kb = Some(at_least(n, CONGESTION_MIN)?);
            }
            ("wsize", Value::U32(n)) => self.noted.wsize = io_size(n)?,
            ("wsync", Value::Flag(on)) => self.noted.wsync = on,
            ("quotadf", Value::Flag(on)) => {
                self.noted.quotadf = on;
                if on {
                    taken = Taken::Ignored("df shows the whole file system");
                }
            }
            ("fsc", Value::Flag(on)) => {
                self.noted.fsc = on;
                self.noted.fsc_uniq = None;
                if on {
                    taken = Taken::Ignored("nothing is cached on disks");
                }
            }
            ("fsc", Value::Text(text)) => {
                self.noted.fsc_uniq = Some(copy(text)?);
                self.noted.fsc = true;
                taken = Taken::Ignored("nothing is cached on disks");
            }
            ("sparseread", Value::Flag(on)) => {
                self.noted.sparseread = on;
                if on {
                    taken = Taken::Ignored("holes are sent as zeros");
                }
            }
            ("snapdirname", Value::Text(text)) => {
                if text.len() > NAME_MAX {
                    return Err(Invalid);
                }
                self.noted.snapdirname = match text.as_bytes() {
                    SNAPDIRNAME => None,
                    _ => Some(copy(text)?),
                };
                if self.noted.snapdirname.is_some() {
                    taken = Taken::Ignored("snapshots are not shown");
                }
            }

            ("dirstat", Value::Flag(false)) => {}
            _ if SPECS.iter().any(|(known, _)| *known == name) => return Err(NotBuilt),
            _ => return Err(OptionError::Unknown),
        }
        Ok(taken)
    }

    /// Names the file system, from the source or from `mds_namespace`; both must
    /// be the same.
    ///
    /// # Errors
    ///
    /// [`OptionError::OtherNamespace`], [`OptionError::NoMemory`].
    pub fn set_fs_name(&mut self, name: &str) -> core::result::Result<(), OptionError> {
        match &self.fs_name {
            Some(known) if known[..] != *name.as_bytes() => Err(OptionError::OtherNamespace),
            _ => {
                self.fs_name = Some(copy(name)?);
                Ok(())
            }
        }
    }

    /// Whether another mount with these options can share one super block.
    pub fn same_behaviour(&self, other: &Self) -> bool {
        self.fs_name.as_deref() == other.fs_name.as_deref()
            && self.caps_max == other.caps_max
            && self.caps_wanted_delay_max == other.caps_wanted_delay_max
            && self.caps_wanted_delay_min == other.caps_wanted_delay_min
            && self.rasize == other.rasize
            && self.rsize == other.rsize
            && self.readdir_max_entries == other.readdir_max_entries
            && self.readdir_max_bytes == other.readdir_max_bytes
            && self.acl == other.acl
            && self.async_readdir == other.async_readdir
            && self.dcache == other.dcache
            && self.ino32 == other.ino32
            && self.pagecache == other.pagecache
            && self.rbytes == other.rbytes
            && self.require_active_mds == other.require_active_mds
            && self.recover_clean == other.recover_clean
            && self.noted.same(&other.noted)
    }

    /// What differs from the defaults, as it stands in /proc/mounts, in the C client's
    /// order: each option after a comma. `new_syntax` is that of the source, which then
    /// names the file system.
    pub fn shown(&self, new_syntax: bool) -> impl fmt::Display + '_ {
        Shown {
            options: self,
            new_syntax,
        }
    }
}

impl Noted {
    fn same(&self, other: &Self) -> bool {
        self.copyfrom == other.copyfrom
            && self.fsc == other.fsc
            && self.fsc_uniq.as_deref() == other.fsc_uniq.as_deref()
            && self.nearfull_sync == other.nearfull_sync
            && self.poolperm == other.poolperm
            && self.quotadf == other.quotadf
            && self.snapdirname.as_deref() == other.snapdirname.as_deref()
            && self.sparseread == other.sparseread
            && self.write_congestion_kb == other.write_congestion_kb
            && self.wsize == other.wsize
            && self.wsync == other.wsync
    }
}

/// See [`MountOptions::shown`].
struct Shown<'a> {
    options: &'a MountOptions,
    new_syntax: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (o, d) = (self.options, MountOptions::default());
        let (noted, usual) = (&o.noted, &d.noted);
        let flags = |f: &mut fmt::Formatter<'_>, flags: &[(bool, &str)]| {
            let mut shown = flags.iter().filter(|(shown, _)| *shown);
            shown.try_for_each(|(_, name)| write!(f, ",{name}"))
        };
        let text = |f: &mut fmt::Formatter<'_>, name: &str, value: &Option<KVec<u8>>| match value {
            Some(value) => write!(f, ",{name}={}", Escaped(value)),
            None => Ok(()),
        };
        flags(
            f,
            &[
                (o.rbytes, "rbytes"),
                (!o.async_readdir, "noasyncreaddir"),
                (!o.dcache, "nodcache"),
                (o.ino32, "ino32"),
                (noted.fsc && noted.fsc_uniq.is_none(), "fsc"),
            ],
        )?;
        text(f, "fsc", &noted.fsc_uniq)?;
        flags(
            f,
            &[
                (!noted.poolperm, "nopoolperm"),
                (!noted.quotadf, "noquotadf"),
                (true, if o.acl { "acl" } else { "noacl" }),
                (noted.copyfrom, "copyfrom"),
            ],
        )?;
        if !self.new_syntax {
            text(f, "mds_namespace", &o.fs_name)?;
        }
        text(f, "mon_addr", &o.mon_addr)?;
        flags(
            f,
            &[
                (o.recover_clean, "recover_session=clean"),
                (noted.wsync, "wsync"),
                (!o.pagecache, "nopagecache"),
                (noted.sparseread, "sparseread"),
                (noted.nearfull_sync, "nearfull_sync"),
                // The C client does not show it.
                (!o.require_active_mds, "norequire_active_mds"),
            ],
        )?;
        for (name, value, usual) in [
            ("wsize", noted.wsize, usual.wsize),
            ("rsize", o.rsize, d.rsize),
            ("rasize", o.rasize, d.rasize),
            (
                "write_congestion_kb",
                noted.write_congestion_kb.unwrap_or(0),
                0,
            ),
            ("caps_max", o.caps_max, d.caps_max),
            (
                "caps_wanted_delay_min",
                o.caps_wanted_delay_min,
                d.caps_wanted_delay_min,
            ),
            (
                "caps_wanted_delay_max",
                o.caps_wanted_delay_max,
                d.caps_wanted_delay_max,
            ),
            (
                "readdir_max_entries",
                o.readdir_max_entries,
                d.readdir_max_entries,
            ),
            (
                "readdir_max_bytes",
                o.readdir_max_bytes,
                d.readdir_max_bytes,
            ),
        ] {
            if value != usual {
                write!(f, ",{name}={value}")?;
            }
        }
        text(f, "snapdirname", &noted.snapdirname)
    }
}

/// Bytes from whoever mounts, with what separates words and options as octal numbers.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    ',' | ' ' | '\t' | '\n' | '\\' => write!(f, "\\{:03o}", u32::from(c))?,
                    _ => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\{byte:03o}")?;
            }
        }
        Ok(())
    }
}

#[kunit_tests(ceph_mount_options)]
mod tests {
    use super::*;

    struct Text([u8; 512], usize);

    impl fmt::Write for Text {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            let end = self.1.checked_add(s.len()).ok_or(fmt::Error)?;
            let room = self.0.get_mut(self.1..end).ok_or(fmt::Error)?;
            room.copy_from_slice(s.as_bytes());
            self.1 = end;
            Ok(())
        }
    }

    fn is_shown(options: &MountOptions, new_syntax: bool, want: &str) -> bool {
        let mut text = Text([0; 512], 0);
        let shown = fmt::write(&mut text, format_args!("{}", options.shown(new_syntax)));
        shown.is_ok() && text.0.get(..text.1) == Some(want.as_bytes())
    }

    #[test]
    fn ranges() {
        let mut o = MountOptions::default();
        for (name, bad, good) in [
            ("rsize", 4095, 4096),
            ("rsize", MAX_DATA + 1, MAX_DATA),
            ("wsize", 4095, 4096),
            ("wsize", MAX_DATA + 1, MAX_DATA),
            ("write_congestion_kb", 1023, 1024),
            ("readdir_max_entries", 0, 1),
            ("readdir_max_bytes", 1, 0),
            ("caps_wanted_delay_max", 0, 1),
        ] {
            assert_eq!(o.set(name, Value::U32(bad)), Err(OptionError::Invalid));
            assert_eq!(o.set(name, Value::U32(good)), Ok(Taken::Obeyed));
        }
        assert_eq!(o.set("rasize", Value::U32(1)), Ok(Taken::Obeyed));
        assert_eq!(o.rasize, 4096);
        assert_eq!(
            o.set("rasize", Value::U32(u32::MAX)),
            Err(OptionError::Invalid)
        );
        let long = [b'x'; NAME_MAX + 1];
        if let Ok(long) = core::str::from_utf8(&long) {
            let long = Value::Text(long);
            assert_eq!(o.set("snapdirname", long), Err(OptionError::Invalid));
        }
    }

    #[test]
    fn what_is_not_built_is_named() {
        let mut o = MountOptions::default();
        for name in ["dirstat", "test_dummy_encryption"] {
            assert_eq!(o.set(name, Value::Flag(true)), Err(OptionError::NotBuilt));
        }
        assert_eq!(o.set("dirstat", Value::Flag(false)), Ok(Taken::Obeyed));
        assert_eq!(
            o.set("nosuch", Value::Flag(true)),
            Err(OptionError::Unknown)
        );
    }

    #[test]
    fn what_is_ignored_is_said() {
        let mut o = MountOptions::default();
        for (name, value) in [
            ("fsc", Value::Flag(true)),
            ("fsc", Value::Text("uniq")),
            ("quotadf", Value::Flag(true)),
            ("snapdirname", Value::Text(".snapshots")),
            ("sparseread", Value::Flag(true)),
        ] {
            assert!(matches!(o.set(name, value), Ok(Taken::Ignored(_))));
        }
        for (name, value) in [
            ("fsc", Value::Flag(false)),
            ("quotadf", Value::Flag(false)),
            ("snapdirname", Value::Text(".snap")),
            ("sparseread", Value::Flag(false)),
        ] {
            assert_eq!(o.set(name, value), Ok(Taken::Obeyed));
        }
    }

    #[test]
    fn the_defaults_of_the_c_client_spelled_out() {
        let mut o = MountOptions::default();
        for (name, on) in [
            ("acl", true),
            ("asyncreaddir", true),
            ("copyfrom", false),
            ("dcache", true),
            ("dirstat", false),
            ("fsc", false),
            ("ino32", false),
            ("nearfull_sync", false),
            ("pagecache", true),
            ("poolperm", true),
            ("quotadf", true),
            ("rbytes", false),
            ("require_active_mds", true),
            ("sparseread", false),
            ("wsync", false),
        ] {
            assert!(o.set(name, Value::Flag(on)).is_ok());
        }
        for (name, value) in [
            ("caps_wanted_delay_max", 60),
            ("caps_wanted_delay_min", 5),
            ("rasize", RASIZE_DEFAULT),
            ("readdir_max_bytes", 512 * 1024),
            ("readdir_max_entries", 1024),
            ("rsize", MAX_DATA),
            ("wsize", MAX_DATA),
        ] {
            assert_eq!(o.set(name, Value::U32(value)), Ok(Taken::Obeyed));
        }
        assert!(o.set("caps_max", Value::S32(0)).is_ok());
        assert!(o.set("snapdirname", Value::Text(".snap")).is_ok());
        assert!(o.same_behaviour(&MountOptions::default()));
        assert!(is_shown(&o, true, ",acl"));
    }

    #[test]
    fn recovery() {
        let mut o = MountOptions::default();
        let dirty = Value::Text("dirty");
        assert_eq!(o.set("recover_session", dirty), Err(OptionError::Invalid));
        assert!(o.set("recover_session", Value::Text("clean")).is_ok());
        assert!(o.recover_clean && !o.same_behaviour(&MountOptions::default()));
        assert!(o.set("recover_session", Value::Text("no")).is_ok());
        assert!(!o.recover_clean);
    }

    #[test]
    fn one_file_system_name() {
        let mut o = MountOptions::default();
        assert!(o.set("mds_namespace", Value::Text("a")).is_ok());
        assert_eq!(o.set_fs_name("a"), Ok(()));
        assert_eq!(o.set_fs_name("b"), Err(OptionError::OtherNamespace));
    }

    #[test]
    fn shown_as_the_c_client_does() {
        let mut o = MountOptions::default();
        for (name, value) in [
            ("acl", Value::Flag(false)),
            ("caps_max", Value::S32(7)),
            ("copyfrom", Value::Flag(true)),
            ("dcache", Value::Flag(false)),
            ("fsc", Value::Text("a b,c")),
            ("mds_namespace", Value::Text("fs")),
            ("mon_addr", Value::Text("10.0.0.1:3300/10.0.0.2:3300")),
            ("nearfull_sync", Value::Flag(true)),
            ("pagecache", Value::Flag(false)),
            ("poolperm", Value::Flag(false)),
            ("quotadf", Value::Flag(false)),
            ("rasize", Value::U32(8192)),
            ("recover_session", Value::Text("clean")),
            ("snapdirname", Value::Text(".s")),
            ("sparseread", Value::Flag(true)),
            ("write_congestion_kb", Value::U32(2048)),
            ("wsize", Value::U32(8192)),
            ("wsync", Value::Flag(true)),
        ] {
            assert!(o.set(name, value).is_ok());
        }
        assert!(is_shown(
            &o,
            false,
            ",nodcache,fsc=a\\040b\\054c,nopoolperm,noquotadf,noacl,copyfrom,mds_namespace=fs,\
            mon_addr=10.0.0.1:3300/10.0.0.2:3300,recover_session=clean,wsync,nopagecache,\
            sparseread,nearfull_sync,wsize=8192,rasize=8192,write_congestion_kb=2048,\
            caps_max=7,snapdirname=.s"
        ));
    }
}
