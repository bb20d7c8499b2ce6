// SPDX-License-Identifier: GPL-2.0
//! The source of a mount, in both syntaxes (Documentation/filesystems/ceph.rst):
//!
//! * new: `name@fsid.fsname=[/path]`; the monitors come in `mon_addr=`
//! * old: `addr[:port][,addr[:port]...]:[/path]`
use ceph_proto::wire::types::Fsid;
use core::fmt;
use kernel::prelude::*;

/// What a source says.
#[derive(Debug, PartialEq, Eq)]
pub enum Device<'a> {
    /// `name@fsid.fsname`.
    New {
        /// Entity name without `client.`; not empty.
        name: &'a str,
        /// Identity of the cluster, compared with the one of the monitors.
        fsid: Fsid,
        /// File system name; not empty.
        fs_name: &'a str,
    },
    /// Monitor addresses, separated by commas.
    Old {
        /// The list.
        monitors: &'a str,
    },
}

/// A source, split.
#[derive(Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// Cluster and file system.
    pub device: Device<'a>,
    /// Path in the file system as it was given, with its leading slash; `None`
    /// means the root. Pass it through [`canonical_path`].
    pub path: Option<&'a [u8]>,
}

/// Why a source was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceError {
    /// Nothing there.
    Empty,
    /// No `=` or `:` before the path.
    NoSeparator,
    /// New syntax without `@`.
    NoFsid,
    /// New syntax with an fsid that is no UUID.
    BadFsid,
    /// New syntax without `.fsname`.
    NoFsName,
    /// New syntax without a name before `@`.
    NoName,
    /// The part before the path is no text.
    NotText,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty source",
            Self::NoSeparator => "separator ':' or '=' missing in source",
            Self::NoFsid => "missing cluster fsid",
            Self::BadFsid => "invalid fsid",
            Self::NoFsName => "missing file system name",
            Self::NoName => "missing entity name",
            Self::NotText => "source is not UTF-8 before its path",
        })
    }
}

impl<'a> Source<'a> {
    /// Splits a source. A device that ends in `=` is of the new syntax, one that
    /// ends in `:` of the old. The path is bytes, as all names are.
    ///
    /// # Errors
    ///
    /// See [`SourceError`].
    pub fn parse(source: &'a [u8]) -> core::result::Result<Self, SourceError> {
        if source.is_empty() {
            return Err(SourceError::Empty);
        }
        let slash = source.iter().position(|byte| *byte == b'/');
        let (device, path) = match slash.and_then(|at| source.split_at_checked(at)) {
            Some((device, path)) => (device, Some(path)),
            None => (source, None),
        };
        let device = core::str::from_utf8(device).map_err(|_| SourceError::NotText)?;
        let device = if let Some(device) = device.strip_suffix('=') {
            let (name, rest) = device.split_once('@').ok_or(SourceError::NoFsid)?;
            let (fsid, fs_name) = rest.split_once('.').ok_or(SourceError::NoFsName)?;
            if name.is_empty() {
                return Err(SourceError::NoName);
            }
            if fs_name.is_empty() {
                return Err(SourceError::NoFsName);
            }
            let fsid = Fsid::parse(fsid.as_bytes()).map_err(|_| SourceError::BadFsid)?;
            Device::New {
                name,
                fsid,
                fs_name,
            }
        } else if let Some(monitors) = device.strip_suffix(':') {
            if monitors.is_empty() {
                return Err(SourceError::Empty);
            }
            Device::Old { monitors }
        } else {
            return Err(SourceError::NoSeparator);
        };
        Ok(Self { device, path })
    }
}

/// Squeezes repeated slashes and drops the trailing one: `//a///b/` is `/a/b`.
///
/// # Errors
///
/// `ENOMEM`.
pub fn canonical_path(path: &[u8]) -> Result<KVec<u8>> {
    let mut out = KVec::with_capacity(path.len(), GFP_KERNEL)?;
    let parts = path.split(|byte| *byte == b'/');
    for part in parts.filter(|part| !part.is_empty()) {
        out.push(b'/', GFP_KERNEL)?;
        out.extend_from_slice(part, GFP_KERNEL)?;
    }
    if out.is_empty() {
        out.push(b'/', GFP_KERNEL)?;
    }
    Ok(out)
}

#[kunit_tests(ceph_mount_source)]
mod tests {
    use super::*;

    const NEW: &str = "user@c3781d60-2225-402f-a2bc-c324d1e45e7f.cephfs=";

    #[test]
    fn new_syntax() -> Result {
        for path in ["", "/", "/a/b"] {
            let mut bytes = KVec::new();
            bytes.extend_from_slice(NEW.as_bytes(), GFP_KERNEL)?;
            bytes.extend_from_slice(path.as_bytes(), GFP_KERNEL)?;
            let source = Source::parse(&bytes).map_err(|_| EINVAL)?;
            assert_eq!(source.path.unwrap_or_default(), path.as_bytes());
            match source.device {
                Device::New { name, fs_name, .. } => {
                    assert_eq!((name, fs_name), ("user", "cephfs"))
                }
                Device::Old { .. } => return Err(EINVAL),
            }
        }
        Ok(())
    }

    #[test]
    fn old_syntax() {
        let source = Source::parse(b"10.0.0.1:6789,[::1]:3300:/a");
        assert_eq!(
            source,
            Ok(Source {
                device: Device::Old {
                    monitors: "10.0.0.1:6789,[::1]:3300"
                },
                path: Some(b"/a"),
            })
        );
    }

    #[test]
    fn refused() {
        for (text, error) in [
            ("", SourceError::Empty),
            ("/", SourceError::NoSeparator),
            ("host/", SourceError::NoSeparator),
            ("user=/", SourceError::NoFsid),
            ("user@fsid=/", SourceError::NoFsName),
            ("user@fsid.fs=/", SourceError::BadFsid),
            (
                "@c3781d60-2225-402f-a2bc-c324d1e45e7f.fs=",
                SourceError::NoName,
            ),
            (
                "u@c3781d60-2225-402f-a2bc-c324d1e45e7f.=",
                SourceError::NoFsName,
            ),
        ] {
            assert_eq!(Source::parse(text.as_bytes()), Err(error));
        }
        let not_text = Source::parse(b"h\xff:/");
        assert_eq!(not_text, Err(SourceError::NotText));
    }

    #[test]
    fn a_path_is_bytes() {
        let source = Source::parse(b"10.0.0.1:/d\xe4\xff/x");
        assert!(source.is_ok_and(|source| source.path == Some(b"/d\xe4\xff/x")));
    }

    #[test]
    fn paths() -> Result {
        for (from, to) in [
            ("/", "/"),
            ("///", "/"),
            ("//dir1////dir2///", "/dir1/dir2"),
        ] {
            assert_eq!(&canonical_path(from.as_bytes())?[..], to.as_bytes());
        }
        Ok(())
    }
}
