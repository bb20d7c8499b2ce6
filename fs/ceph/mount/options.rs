// SPDX-License-Identifier: GPL-2.0
//! Mount options of the file system; those of the cluster are libceph's.
//!
//! Every option of the C client is known by name. One that asks for something
//! that is not built is refused and named, so that no mount behaves otherwise
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

/// Largest data of one message: the limit of `rsize` (bytes).
const MAX_DATA: u32 = 64 * 1024 * 1024;
/// Default of `rasize` (bytes).
const RASIZE_DEFAULT: u32 = 8 * 1024 * 1024;
/// Smallest unit of the page cache (bytes).
const PAGE: u32 = 4096;

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
    /// Serve readdir from the dentry cache where it is complete.
    pub async_readdir: bool,
    /// Trust the dentry cache.
    pub dcache: bool,
    /// Show 32-bit inode numbers.
    pub ino32: bool,
    /// Show the recursive size as a directory's size.
    pub rbytes: bool,
    /// Fail the mount at once where no MDS is active.
    pub require_active_mds: bool,
    /// Begin anew after the cluster has shut this client out.
    pub recover_clean: bool,
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
            async_readdir: true,
            dcache: true,
            ino32: false,
            rbytes: false,
            require_active_mds: true,
            recover_clean: false,
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

impl MountOptions {
    /// Takes one option.
    pub fn set(&mut self, name: &str, value: Value<'_>) -> core::result::Result<(), OptionError> {
        use OptionError::{Invalid, NotBuilt};
        let at_least = |value: u32, least: u32| {
            if value >= least {
                Ok(value)
            } else {
                Err(Invalid)
            }
        };
        match (name, value) {
            ("asyncreaddir", Value::Flag(on)) => self.async_readdir = on,
            ("dcache", Value::Flag(on)) => self.dcache = on,
            ("ino32", Value::Flag(on)) => self.ino32 = on,
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
            ("rsize", Value::U32(n)) => {
                if n > MAX_DATA {
                    return Err(Invalid);
                }
                let rounded = at_least(n, PAGE)?.checked_next_multiple_of(PAGE);
                self.rsize = rounded.ok_or(Invalid)?;
            }
            ("readdir_max_entries", Value::U32(n)) => self.readdir_max_entries = at_least(n, 1)?,
            ("readdir_max_bytes", Value::U32(n)) => {
                self.readdir_max_bytes = if n == 0 { 0 } else { at_least(n, PAGE)? };
            }
            ("mds_namespace", Value::Text(text)) => self.set_fs_name(text)?,
            ("mon_addr", Value::Text(text)) => self.mon_addr = Some(copy(text)?),
            // Spelled out defaults of what is not built, and what concerns only
            // writing, which this client does not do: they change nothing.
            (
                "acl" | "copyfrom" | "dirstat" | "fsc" | "poolperm" | "quotadf" | "sparseread",
                Value::Flag(false),
            ) => {}
            ("pagecache", Value::Flag(true)) => {}
            ("recover_session", Value::Text("no")) => self.recover_clean = false,
            ("recover_session", Value::Text("clean")) => self.recover_clean = true,
            ("recover_session", Value::Text(_)) => return Err(Invalid),
            ("snapdirname", Value::Text(".snap")) => {}
            _ if SPECS.iter().any(|(known, _)| *known == name) => return Err(NotBuilt),
            _ => return Err(OptionError::Unknown),
        }
        Ok(())
    }

    /// Names the file system, from the source or from `mds_namespace`; both must
    /// be the same.
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
            && self.async_readdir == other.async_readdir
            && self.dcache == other.dcache
            && self.ino32 == other.ino32
            && self.rbytes == other.rbytes
            && self.require_active_mds == other.require_active_mds
            && self.recover_clean == other.recover_clean
    }

    /// Hands out what differs from the defaults as it stands in /proc/mounts, in
    /// the C client's order: a name, and a number for those that have one.
    pub fn show(&self, mut out: impl FnMut(&str, Option<u32>)) {
        let d = Self::default();
        if self.recover_clean {
            out("recover_session=clean", None);
        }
        let mut number = |name, value: u32, default: u32| {
            if value != default {
                out(name, Some(value));
            }
        };
        number("rsize", self.rsize, d.rsize);
        number("rasize", self.rasize, d.rasize);
        number("caps_max", self.caps_max, d.caps_max);
        number(
            "caps_wanted_delay_min",
            self.caps_wanted_delay_min,
            d.caps_wanted_delay_min,
        );
        number(
            "caps_wanted_delay_max",
            self.caps_wanted_delay_max,
            d.caps_wanted_delay_max,
        );
        number(
            "readdir_max_entries",
            self.readdir_max_entries,
            d.readdir_max_entries,
        );
        number(
            "readdir_max_bytes",
            self.readdir_max_bytes,
            d.readdir_max_bytes,
        );
        for (shown, name) in [
            (self.rbytes, "rbytes"),
            (!self.async_readdir, "noasyncreaddir"),
            (!self.dcache, "nodcache"),
            (self.ino32, "ino32"),
            (!self.require_active_mds, "norequire_active_mds"),
        ] {
            if shown {
                out(name, None);
            }
        }
    }
}

#[kunit_tests(ceph_mount_options)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let mut o = MountOptions::default();
        for (name, bad, good) in [
            ("rsize", 4095, 4096),
            ("readdir_max_entries", 0, 1),
            ("readdir_max_bytes", 1, 0),
            ("caps_wanted_delay_max", 0, 1),
        ] {
            assert_eq!(o.set(name, Value::U32(bad)), Err(OptionError::Invalid));
            assert_eq!(o.set(name, Value::U32(good)), Ok(()));
        }
        assert_eq!(o.set("rasize", Value::U32(1)), Ok(()));
        assert_eq!(o.rasize, 4096);
        assert_eq!(
            o.set("rasize", Value::U32(u32::MAX)),
            Err(OptionError::Invalid)
        );
    }

    #[test]
    fn what_is_not_built_is_named() {
        let mut o = MountOptions::default();
        assert_eq!(o.set("acl", Value::Flag(true)), Err(OptionError::NotBuilt));
        assert_eq!(o.set("acl", Value::Flag(false)), Ok(()));
        let pages = Value::Flag(false);
        assert_eq!(o.set("pagecache", pages), Err(OptionError::NotBuilt));
        assert_eq!(
            o.set("nosuch", Value::Flag(true)),
            Err(OptionError::Unknown)
        );
    }

    #[test]
    fn recovery() {
        let mut o = MountOptions::default();
        let dirty = Value::Text("dirty");
        assert_eq!(o.set("recover_session", dirty), Err(OptionError::Invalid));
        assert_eq!(o.set("recover_session", Value::Text("clean")), Ok(()));
        assert!(o.recover_clean && !o.same_behaviour(&MountOptions::default()));
        let mut shown = None;
        o.show(|name, value| shown = Some((name == "recover_session=clean", value)));
        assert_eq!(shown, Some((true, None)));
        assert_eq!(o.set("recover_session", Value::Text("no")), Ok(()));
        assert!(!o.recover_clean);
    }

    #[test]
    fn one_file_system_name() {
        let mut o = MountOptions::default();
        assert_eq!(o.set("mds_namespace", Value::Text("a")), Ok(()));
        assert_eq!(o.set_fs_name("a"), Ok(()));
        assert_eq!(o.set_fs_name("b"), Err(OptionError::OtherNamespace));
    }

    #[test]
    fn only_changes_are_shown() {
        let mut shown = 0;
        MountOptions::default().show(|_, _| shown += 1);
        assert_eq!(shown, 0);
        let mut o = MountOptions::default();
        assert_eq!(o.set("rasize", Value::U32(8192)), Ok(()));
        assert_eq!(o.set("dcache", Value::Flag(false)), Ok(()));
        let mut rasize = None;
        o.show(|name, value| {
            shown += 1;
            if name == "rasize" {
                rasize = value;
            }
        });
        assert_eq!((shown, rasize), (2, Some(8192)));
    }
}
