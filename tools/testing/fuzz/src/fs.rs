// SPDX-License-Identifier: GPL-2.0
//! Decoders of ceph.
use crate::harness::{again, Events, Input};
use ceph_fs_proto::machine::access::{self, Access, Caller, Verdict};
use ceph_fs_proto::machine::route::RankHints;
use ceph_fs_proto::mount::options::{MountOptions, Value, SPECS};
use ceph_fs_proto::mount::source::{canonical_path, Device, Source};
use ceph_fs_proto::wire::client_caps::{CapOp, ClientCaps};
use ceph_fs_proto::wire::dir_hash::DirHash;
use ceph_fs_proto::wire::frag::{Frag, FragTree};
use ceph_fs_proto::wire::fsmap_user::FsMapUser;
use ceph_fs_proto::wire::inode_stat::InodeStat;
use ceph_fs_proto::wire::layout::FileLayout;
use ceph_fs_proto::wire::lease::{ClientLease, LeaseStat};
use ceph_fs_proto::wire::mdsmap::{MdsMap, MdsState};
use ceph_fs_proto::wire::quota::{ClientQuota, Quota};
use ceph_fs_proto::wire::reply::{ClientReply, DirStat, Extra, Forward};
use ceph_fs_proto::wire::request::Op;
use ceph_fs_proto::wire::session::ClientSession;
use ceph_fs_proto::wire::snap::{ClientSnap, SnapTrace};
use ceph_fs_proto::wire::xattr::Xattrs;
use kernel::prelude::*;

pub(crate) fn client_caps(raw: &[u8]) {
    let input = Input::new(raw);
    // The middle lies behind the front.
    let middle = usize::from(input.aux).min(input.bytes.len());
    let (front, middle) = input.bytes.split_at(input.bytes.len() - middle);
    input.check(
        |_| ClientCaps::decode(front, middle, u16::from(input.param)),
        |caps| {
            assert!(caps
                .xattrs
                .is_none_or(|xattrs| xattrs.len() <= middle.len()));
            assert!(caps.op != CapOp::EXPORT || caps.inode.layout.is_none());
            let _ = format!("{} {} {}", caps.caps, caps.wanted, caps.op.name());
        },
    );
}

pub(crate) fn dir_hash(raw: &[u8]) {
    let input = Input::new(raw);
    input.decode(DirHash::decode, |hash| {
        let name = input.bytes;
        let value = hash.hash(name);
        assert_eq!(value, hash.hash(name));
        assert!(Frag::new(u32::from(input.aux), value).contains(value & 0xff_ffff));
    });
}

/// What holds for every fragment that was received: a listing of all that follow ends.
fn frag_is_sane(frag: Frag) {
    assert!(frag.bits() <= 24 && frag.contains(frag.value()));
    match frag.next() {
        Some(next) => assert!(next > frag && next.bits() == frag.bits()),
        None => assert!(frag.is_rightmost()),
    }
}

pub(crate) fn frag(raw: &[u8]) {
    let input = Input::new(raw);
    let mut e = Events(input.bytes);
    let (number, by, index) = (e.u32(), e.u32(), e.u32());
    input.check(
        |_| Frag::checked(number),
        |frag| {
            frag_is_sane(frag);
            frag_is_sane(frag.child(by & 31, index));
            assert_eq!(frag.child(0, 0), frag);
        },
    );
}

pub(crate) fn fsmap_user(raw: &[u8]) {
    Input::new(raw).check(FsMapUser::decode, |map| {
        let _ = (map.find(b"cephfs"), map.find(b""));
    });
}

/// Walks all that an inode lends.
fn inode_is_sane(inode: &InodeStat<'_>, hash: u32) {
    let splits = inode
        .splits()
        .iter()
        .inspect(|split| frag_is_sane(split.frag));
    if let Ok(tree) = FragTree::from_splits(splits) {
        let leaf = tree.choose(hash & 0xff_ffff);
        frag_is_sane(leaf);
        assert!(leaf.contains(hash & 0xff_ffff));
    }
    let _ = (inode.layout().check(), inode.symlink(), inode.inline_data());
    let _ = Xattrs::decode(inode.xattrs());
    if let Ok(fscrypt) = inode.fscrypt() {
        assert!(fscrypt.true_size(inode.size()) <= inode.size());
    }
}

pub(crate) fn inode_stat(raw: &[u8]) {
    let input = Input::new(raw);
    input.decode(InodeStat::decode, |inode| {
        inode_is_sane(&inode, u32::from_le_bytes([input.aux; 4]));
    });
}

pub(crate) fn layout(raw: &[u8]) {
    Input::new(raw).decode(FileLayout::decode, |layout| {
        again(&layout, FileLayout::encode, FileLayout::decode, |a, b| {
            a == b
        });
    });
}

pub(crate) fn lease_stat(raw: &[u8]) {
    Input::new(raw).decode(LeaseStat::decode, |lease| {
        let _ = lease.is_valid();
    });
}

pub(crate) fn client_lease(raw: &[u8]) {
    Input::new(raw).check(ClientLease::decode, |lease| {
        let bytes = lease.encode().expect("what was decoded can be encoded");
        assert_eq!(ClientLease::decode(&bytes).ok(), Some(lease));
    });
}

fn mdsmap_is_sane(map: &MdsMap, random: u32) {
    assert!(map.ranks().is_sorted_by(|a, b| a.rank < b.rank));
    if let Some(rank) = map.choose(random) {
        assert!(map.state(rank) >= MdsState::ACTIVE);
    }
    for info in map.ranks() {
        assert!(info.rank < 0x100 && map.get(info.rank).is_some());
        let _ = (
            map.addr(info.rank, ceph_proto::wire::types::AddrType::MSGR2),
            map.is_in(info.rank),
            info.state.name(),
        );
    }
    let _ = map.is_available();
    // Whatever is believed of who serves a request: who is asked is active.
    let believed = |shift: u32| Some((random >> shift) & 3).filter(|rank| *rank != 3);
    let hints = RankHints {
        resend: believed(0),
        frag_auth: believed(2),
        issuer: believed(4),
    };
    if let Some(rank) = hints.choose(map, || random) {
        assert!(map.state(rank) >= MdsState::ACTIVE);
    }
}

pub(crate) fn mdsmap(raw: &[u8]) {
    let input = Input::new(raw);
    input.decode(MdsMap::decode, |map| {
        mdsmap_is_sane(&map, u32::from(input.aux))
    });
}

pub(crate) fn mdsmap_message(raw: &[u8]) {
    let input = Input::new(raw);
    input.check(MdsMap::decode_message, |(_, map)| {
        mdsmap_is_sane(&map, u32::from(input.aux))
    });
}

pub(crate) fn quota(raw: &[u8]) {
    Input::new(raw).decode(Quota::decode, drop);
}

pub(crate) fn client_quota(raw: &[u8]) {
    Input::new(raw).check(ClientQuota::decode, drop);
}

pub(crate) fn dir_stat(raw: &[u8]) {
    Input::new(raw).decode(DirStat::decode, |stat| frag_is_sane(stat.frag));
}

/// Operations whose replies differ.
const OPS: [Op; 4] = [Op::LOOKUP, Op::READDIR, Op::GETVXATTR, Op::LSSNAP];

pub(crate) fn client_reply(raw: &[u8]) {
    let input = Input::new(raw);
    let op = OPS[usize::from(input.param & 3)];
    input.check(
        |bytes| ClientReply::decode(bytes, op),
        |reply| {
            let hash = u32::from_le_bytes([input.aux; 4]);
            if let Some(dentry) = &reply.dentry {
                inode_is_sane(&dentry.dir, hash);
                frag_is_sane(dentry.frag.frag);
            }
            if let Some(target) = &reply.target {
                inode_is_sane(target, hash);
            }
            match &reply.extra {
                Extra::Dir(dir) => {
                    assert!(matches!(op, Op::READDIR | Op::LSSNAP));
                    frag_is_sane(dir.frag.frag);
                    assert!(dir.entries().count() <= dir.count);
                    for entry in dir.entries().map_while(Result::ok) {
                        inode_is_sane(&entry.inode, hash);
                        assert!(!entry.name.is_empty() && !entry.name.contains(&b'/'));
                    }
                }
                Extra::Value(_) => assert_eq!(op, Op::GETVXATTR),
                Extra::Raw(_) => assert_eq!(op, Op::LOOKUP),
                Extra::None => {}
            }
            let _ = SnapTrace::decode(reply.snap_trace);
        },
    );
}

pub(crate) fn forward(raw: &[u8]) {
    Input::new(raw).check(Forward::decode, drop);
}

pub(crate) fn client_session(raw: &[u8]) {
    let input = Input::new(raw);
    input.check(
        |bytes| ClientSession::decode(bytes, u16::from(input.param)),
        |session| {
            let _ = session.op.name();
            for auth in &session.cap_auths {
                assert_ne!(auth.path.last(), Some(&b'/'));
            }
            access_is_sane(&session, u32::from(input.aux));
        },
    );
}

/// What the grants of a session allow: more of them never allow less, and what may be both
/// read and changed may be either.
fn access_is_sane(session: &ClientSession, uid: u32) {
    const BOTH: Access = Access {
        read: true,
        write: true,
    };
    let auths = &session.cap_auths[..];
    let groups = [uid, 7];
    for (uid, gid) in [(uid, uid), (0, uid), (uid, 0)] {
        let caller = Caller {
            uid,
            gid,
            groups: &groups,
        };
        let paths = auths.iter().take(4).map(|auth| Some(&auth.path[..]));
        for path in paths.chain([None, Some(&b"/"[..])]) {
            let ask = |auths, access| access::check(auths, b"fs", &caller, access, || path);
            for access in [Access::READ, Access::WRITE, BOTH] {
                let all = ask(auths, access);
                assert!(
                    path.is_some()
                        || all != Verdict::Allowed
                        || auths.is_empty()
                        || auths
                            .iter()
                            .any(|auth| auth.path.iter().all(|byte| *byte == b'/'))
                );
                if let Some((_, rest)) = auths.split_last().filter(|(_, rest)| !rest.is_empty()) {
                    assert!(ask(rest, access) != Verdict::Allowed || all == Verdict::Allowed);
                    assert!(all != Verdict::Denied || ask(rest, access) == Verdict::Denied);
                }
            }
            if ask(auths, BOTH) == Verdict::Allowed {
                assert_eq!(ask(auths, Access::READ), Verdict::Allowed);
                assert_eq!(ask(auths, Access::WRITE), Verdict::Allowed);
            }
        }
    }
}

pub(crate) fn xattrs(raw: &[u8]) {
    Input::new(raw).check(Xattrs::decode, |xattrs| {
        assert_eq!(xattrs.iter().count() == 0, xattrs.is_empty());
        for (name, _) in xattrs.iter().take(16) {
            assert!(xattrs.get(name).is_some());
        }
    });
}

pub(crate) fn snap_trace(raw: &[u8]) {
    Input::new(raw).check(SnapTrace::decode, |trace| {
        for realm in trace.iter() {
            assert_eq!(realm.snaps.iter().count(), realm.snaps.len());
            let prior = &realm.prior_parent_snaps;
            assert_eq!(prior.iter().count(), prior.len());
        }
    });
}

pub(crate) fn client_snap(raw: &[u8]) {
    Input::new(raw).check(ClientSnap::decode, |snap| {
        assert_eq!(snap.split_inos.iter().count(), snap.split_inos.len());
        assert_eq!(snap.split_realms.iter().count(), snap.split_realms.len());
    });
}

pub(crate) fn source(raw: &[u8]) {
    let input = Input::new(raw);
    input.check(
        |bytes| Source::parse(bytes).map_err(|_| EINVAL),
        |source| {
            match source.device {
                Device::New { name, fs_name, .. } => {
                    assert!(!name.is_empty() && !fs_name.is_empty());
                }
                Device::Old { monitors } => assert!(!monitors.is_empty()),
            }
            assert!(source.path.is_none_or(|path| path.starts_with(b"/")));
        },
    );
    input.check(canonical_path, |path| {
        assert!(path.starts_with(b"/") && !path.windows(2).any(|w| w == b"//"));
        assert!(path.len() == 1 || !path.ends_with(b"/"));
        assert!(canonical_path(&path).is_ok_and(|again| again == path));
    });
}

/// A run of options: which one, what kind of value, the value.
pub(crate) fn mount_options(raw: &[u8]) {
    let input = Input::new(raw);
    input.check(
        |bytes| {
            let mut options = MountOptions::default();
            let mut e = Events(bytes);
            while e.more() {
                let (which, kind) = (usize::from(e.u8()), e.u8());
                let name = SPECS.get(which).map_or("unknown", |(name, _)| name);
                let value = match kind & 3 {
                    0 => Value::Flag(kind & 4 != 0),
                    1 => Value::U32(e.u32()),
                    2 => Value::S32(e.u32() as i32),
                    _ => Value::Text(core::str::from_utf8(e.blob()).unwrap_or_default()),
                };
                match options.set(name, value).map_err(Error::from) {
                    Err(ENOMEM) => return Err(ENOMEM),
                    Err(_) | Ok(_) => {}
                }
            }
            Ok(options)
        },
        |options| {
            assert!(options.rsize >= 4096 && options.rsize % 4096 == 0);
            assert!(options.rasize % 4096 == 0 && options.readdir_max_entries > 0);
            assert!(options.same_behaviour(&options));
            let shown = options.shown(false).to_string();
            assert!(shown.starts_with(',') && !shown.contains(",,") && !shown.contains(' '));
        },
    );
}
