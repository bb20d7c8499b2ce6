// SPDX-License-Identifier: GPL-2.0
//! What the client's own capability for metadata servers allows to whom (Ceph:
//! `MDSAuthCaps` in src/mds/MDSAuthCaps.cc; `mds 'allow r path=/a uid=1000'` of a key).
//!
//! A server checks it for each request. What the client does by capabilities that it has
//! anyhow, as opening a file, asks no server, so the client checks that itself: a server
//! that has `CEPHFS_FEATURE_MDS_AUTH_CAPS_CHECK` tells it the grants when a session is opened.
//!
//! As with the servers, one grant that allows it is enough. (The C client goes by the last
//! grant that matches, and allows what none matches.)
use core::ops::Deref;
use kernel::prelude::*;

use crate::wire::session::CapAuth;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// User for file systems.
    pub uid: u32,
    /// Group for file systems.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: &'a [u32],
}

/// For what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// To read.
    pub read: bool,
    /// To change.
    pub write: bool,
}

impl Access {
    /// To read.
    pub const READ: Self = Self {
        read: true,
        write: false,
    };
    /// To change.
    pub const WRITE: Self = Self {
        read: false,
        write: true,
    };
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A grant allows it.
    Allowed,
    /// No grant does, wherever the inode is.
    Denied,
    /// A grant does elsewhere. An inode may have paths that this client does not know: the
    /// server decides.
    AskServer,
}

impl CapAuth {
    /// Whether the grant is for the file system and for who asks.
    fn is_for(&self, fs_name: &[u8], caller: &Caller<'_>) -> bool {
        if !matches!(&self.fs_name[..], [] | b"*") && self.fs_name[..] != *fs_name {
            return false;
        }
        if self.uid == Self::ANY_UID {
            return true;
        }
        let in_group = |gid: &u32| *gid == caller.gid || caller.groups.contains(gid);
        self.uid == i64::from(caller.uid)
            && (self.gids.is_empty() || self.gids.iter().any(in_group))
    }

    fn allows(&self, access: Access, caller: &Caller<'_>) -> bool {
        let squashed = self.root_squash && (caller.uid == 0 || caller.gid == 0);
        (!access.read || self.readable) && (!access.write || self.writeable && !squashed)
    }

    /// Whether the path is the grant's or below it.
    fn covers(&self, path: &[u8]) -> bool {
        let path = trim(path);
        match path.strip_prefix(trim(&self.path)) {
            Some([]) => true,
            Some(rest) => trim(&self.path).is_empty() || rest.first() == Some(&b'/'),
            None => false,
        }
    }
}

/// Without slashes at both ends.
fn trim(mut path: &[u8]) -> &[u8] {
    while let [b'/', rest @ ..] | [rest @ .., b'/'] = path {
        path = rest;
    }
    path
}

/// Whether who asks may do it. `path` gives the path of the inode from the root of the file
/// system, not of the mount, if one is known; it is asked for only where a grant is for a
/// part of the file system.
pub fn check<P: Deref<Target = [u8]>>(
    auths: &[CapAuth],
    fs_name: &[u8],
    caller: &Caller<'_>,
    access: Access,
    path: impl FnOnce() -> Option<P>,
) -> Verdict {
    if auths.is_empty() {
        // The server is older than this check.
        return Verdict::Allowed;
    }
    let mut grants = auths
        .iter()
        .filter(|auth| auth.is_for(fs_name, caller) && auth.allows(access, caller));
    if grants.clone().any(|auth| trim(&auth.path).is_empty()) {
        return Verdict::Allowed;
    }
    if grants.clone().next().is_none() {
        return Verdict::Denied;
    }
    match path() {
        Some(path) if grants.any(|auth| auth.covers(&path)) => Verdict::Allowed,
        _ => Verdict::AskServer,
    }
}

#[kunit_tests(ceph_machine_access)]
mod tests {
    use super::*;

    fn bytes(bytes: &[u8]) -> Result<KVVec<u8>> {
        let mut vec = KVVec::new();
        vec.extend_from_slice(bytes, GFP_KERNEL)?;
        Ok(vec)
    }

    fn grant(path: &[u8], writeable: bool) -> Result<CapAuth> {
        Ok(CapAuth {
            uid: CapAuth::ANY_UID,
            gids: KVVec::new(),
            path: bytes(path)?,
            fs_name: KVVec::new(),
            root_squash: false,
            readable: true,
            writeable,
        })
    }

    const ROOT: Caller<'static> = Caller {
        uid: 0,
        gid: 0,
        groups: &[],
    };
    const USER: Caller<'static> = Caller {
        uid: 1000,
        gid: 100,
        groups: &[7],
    };

    fn ask(auths: &[CapAuth], who: &Caller<'_>, access: Access, path: &[u8]) -> Verdict {
        check(auths, b"fs", who, access, || Some(path))
    }

    #[test]
    fn without_grants_the_server_checks() {
        assert_eq!(ask(&[], &USER, Access::WRITE, b"/"), Verdict::Allowed);
    }

    #[test]
    fn paths() -> Result {
        for given in [&b"/foo"[..], b"foo", b"/foo/", b"foo//"] {
            let auths = [grant(given, false)?];
            for (path, want) in [
                (&b"/foo"[..], Verdict::Allowed),
                (b"foo/", Verdict::Allowed),
                (b"/foo/d", Verdict::Allowed),
                (b"/food", Verdict::AskServer),
                (b"/", Verdict::AskServer),
                (b"/a/foo", Verdict::AskServer),
            ] {
                assert_eq!(ask(&auths, &USER, Access::READ, path), want);
                assert_eq!(ask(&auths, &USER, Access::WRITE, path), Verdict::Denied);
            }
            let unknown = check(&auths, b"fs", &USER, Access::READ, || None::<&[u8]>);
            assert_eq!(unknown, Verdict::AskServer);
        }
        let all = [grant(b"", false)?];
        assert_eq!(ask(&all, &USER, Access::READ, b"/x"), Verdict::Allowed);
        Ok(())
    }

    #[test]
    fn one_grant_is_enough() -> Result {
        let auths = [grant(b"/a", true)?, grant(b"", false)?];
        assert_eq!(ask(&auths, &USER, Access::WRITE, b"/a/b"), Verdict::Allowed);
        assert_eq!(ask(&auths, &USER, Access::READ, b"/b"), Verdict::Allowed);
        assert_eq!(ask(&auths, &USER, Access::WRITE, b"/b"), Verdict::AskServer);
        Ok(())
    }

    #[test]
    fn users_and_groups() -> Result {
        let mut auth = grant(b"", true)?;
        auth.uid = 1000;
        let auths = [auth];
        assert_eq!(ask(&auths, &USER, Access::READ, b"/"), Verdict::Allowed);
        assert_eq!(ask(&auths, &ROOT, Access::READ, b"/"), Verdict::Denied);
        let [mut auth] = auths;
        auth.gids.push(7, GFP_KERNEL)?;
        let auths = [auth];
        assert_eq!(ask(&auths, &USER, Access::READ, b"/"), Verdict::Allowed);
        let other = Caller {
            groups: &[8],
            ..USER
        };
        assert_eq!(ask(&auths, &other, Access::READ, b"/"), Verdict::Denied);
        let first = Caller { gid: 7, ..other };
        assert_eq!(ask(&auths, &first, Access::READ, b"/"), Verdict::Allowed);
        Ok(())
    }

    #[test]
    fn root_squash_is_for_changes() -> Result {
        let mut auth = grant(b"", true)?;
        auth.root_squash = true;
        let auths = [auth];
        assert_eq!(ask(&auths, &ROOT, Access::READ, b"/"), Verdict::Allowed);
        assert_eq!(ask(&auths, &ROOT, Access::WRITE, b"/"), Verdict::Denied);
        assert_eq!(ask(&auths, &USER, Access::WRITE, b"/"), Verdict::Allowed);
        let wheel = Caller { gid: 0, ..USER };
        assert_eq!(ask(&auths, &wheel, Access::WRITE, b"/"), Verdict::Denied);
        Ok(())
    }

    #[test]
    fn file_systems() -> Result {
        for (name, want) in [
            (&b""[..], Verdict::Allowed),
            (b"*", Verdict::Allowed),
            (b"fs", Verdict::Allowed),
            (b"other", Verdict::Denied),
        ] {
            let mut auth = grant(b"", false)?;
            auth.fs_name = bytes(name)?;
            assert_eq!(ask(&[auth], &USER, Access::READ, b"/"), want);
        }
        Ok(())
    }
}
