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
    pub path: Option<&'a str>,
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
        })
    }
}

impl<'a> Source<'a> {
    /// Splits a source. A device that ends in `=` is of the new syntax, one that
    /// ends in `:` of the old.
    pub fn parse(text: &'a str) -> core::result::Result<Self, SourceError> {
        if text.is_empty() {
            return Err(SourceError::Empty);
        }
        let (device, path) = match text.find('/') {
            Some(at) => match text.split_at_checked(at) {
                Some((device, path)) => (device, Some(path)),
                None => (text, None),
            },
            None => (text, None),
        };
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
pub fn canonical_path(path: &str) -> Result<KVec<u8>> {
    let mut out = KVec::with_capacity(path.len(), GFP_KERNEL)?;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        out.push(b'/', GFP_KERNEL)?;
        out.extend_from_slice(part.as_bytes(), GFP_KERNEL)?;
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
        for (text, path) in [("", None), ("/", Some("/")), ("/a/b", Some("/a/b"))] {
            let mut bytes = KVec::new();
            bytes.extend_from_slice(NEW.as_bytes(), GFP_KERNEL)?;
            bytes.extend_from_slice(text.as_bytes(), GFP_KERNEL)?;
            let all = core::str::from_utf8(&bytes).map_err(|_| EINVAL)?;
            let source = Source::parse(all).map_err(|_| EINVAL)?;
            assert_eq!(source.path, path);
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
        let source = Source::parse("10.0.0.1:6789,[::1]:3300:/a");
        assert_eq!(
            source,
            Ok(Source {
                device: Device::Old {
                    monitors: "10.0.0.1:6789,[::1]:3300"
                },
                path: Some("/a"),
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
            assert_eq!(Source::parse(text), Err(error));
        }
    }

    #[test]
    fn paths() -> Result {
        for (from, to) in [
            ("/", "/"),
            ("///", "/"),
            ("//dir1////dir2///", "/dir1/dir2"),
        ] {
            assert_eq!(&canonical_path(from)?[..], to.as_bytes());
        }
        Ok(())
    }
}
