// SPDX-License-Identifier: GPL-2.0
//! `MClientCaps` (Ceph: src/messages/MClientCaps.h) and `MClientCapRelease`.
use ceph_proto::wire::types::Timespec;
use ceph_proto::wire::{decode::Decoder, encode::Encoder};
use kernel::prelude::*;

use super::cap_bits::Caps;
use super::inode_stat::{Fscrypt, InodeStat};
use super::layout::FileLayout;
use super::snap::SnapTrace;

/// What a message about a capability does (`CEPH_CAP_OP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapOp(pub u32);

impl CapOp {
    /// Server to client: more is allowed.
    pub const GRANT: Self = Self(0);
    /// Server to client: less is allowed.
    pub const REVOKE: Self = Self(1);
    /// Server to client: the file was truncated.
    pub const TRUNC: Self = Self(2);
    /// Server to client: another server issues it from now on.
    pub const EXPORT: Self = Self(3);
    /// Server to client: issued by this server from now on.
    pub const IMPORT: Self = Self(4);
    /// Client to server: what is held and wanted, and acknowledgement.
    pub const UPDATE: Self = Self(5);
    /// Client to server: bits are given back.
    pub const DROP: Self = Self(6);
    /// Client to server: changes.
    pub const FLUSH: Self = Self(7);
    /// Server to client: changes are on disk.
    pub const FLUSH_ACK: Self = Self(8);
    /// Client to server: changes of a snapshot.
    pub const FLUSHSNAP: Self = Self(9);
    /// Server to client: changes of a snapshot are on disk.
    pub const FLUSHSNAP_ACK: Self = Self(10);
    /// Client to server: the capability is given back.
    pub const RELEASE: Self = Self(11);
    /// Client to server: make it valid again.
    pub const RENEW: Self = Self(12);

    /// The name in the log.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "grant",
            1 => "revoke",
            2 => "trunc",
            3 => "export",
            4 => "import",
            5 => "update",
            6 => "drop",
            7 => "flush",
            8 => "flush_ack",
            9 => "flushsnap",
            10 => "flushsnap_ack",
            11 => "release",
            12 => "renew",
            _ => "???",
        }
    }
}

/// The capability at the other server of a migration (`ceph_mds_cap_peer`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapPeer {
    /// Identity.
    pub cap_id: u64,
    /// Version at which it was issued.
    pub issue_seq: u32,
    /// Version of the migration.
    pub mseq: u32,
    /// Rank of the server.
    pub mds: u32,
    /// [`super::inode_stat::ReplyCap::AUTH`] and its neighbour.
    pub flags: u8,
}

impl CapPeer {
    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            cap_id: d.u64()?,
            issue_seq: d.u32()?,
            mseq: d.u32()?,
            mds: d.u32()?,
            flags: d.u8()?,
        })
    }
}

/// What a message about a capability says of the inode. Which part of it counts
/// depends on the bits that are issued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapInode {
    /// Bytes.
    pub size: u64,
    /// How far a writer may write.
    pub max_size: u64,
    /// Size at the last truncation.
    pub truncate_size: u64,
    /// Counts truncations.
    pub truncate_seq: u32,
    /// Modification time.
    pub mtime: Timespec,
    /// Access time.
    pub atime: Timespec,
    /// Change time.
    pub ctime: Timespec,
    /// How the file is cut into objects; none when there is no such field.
    pub layout: Option<FileLayout>,
    /// Counts explicit changes of the times.
    pub time_warp_seq: u32,
}

/// `MClientCaps`, as a server sends it; borrowed from front and middle.
#[derive(Debug)]
pub struct ClientCaps<'a> {
    /// What happens.
    pub op: CapOp,
    /// The inode, a live one.
    pub ino: u64,
    /// Its snap realm.
    pub realm: u64,
    /// Identity.
    pub cap_id: u64,
    /// Version.
    pub seq: u32,
    /// Version at which it was issued.
    pub issue_seq: u32,
    /// What is issued.
    pub caps: Caps,
    /// What the server believes we want.
    pub wanted: Caps,
    /// With an acknowledgement: what is on disk.
    pub dirty: Caps,
    /// Version of the migration.
    pub mseq: u32,
    /// Snapshot version.
    pub snap_follows: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Type and permissions.
    pub mode: u32,
    /// Links.
    pub nlink: u32,
    /// Version of the extended attributes.
    pub xattr_version: u64,
    /// Extended attributes, encoded; none when they are not told.
    pub xattrs: Option<&'a [u8]>,
    /// Attributes of the content; all zero with EXPORT.
    pub inode: CapInode,
    /// The snap realm and those above; told with IMPORT.
    pub snap_trace: SnapTrace<'a>,
    /// The other server, of EXPORT and IMPORT.
    pub peer: Option<CapPeer>,
    /// Version of the inline data.
    pub inline_version: u64,
    /// Content kept with the inode.
    pub inline_data: &'a [u8],
    /// The OSD map that must be known before data is touched.
    pub osd_epoch_barrier: u32,
    /// RADOS namespace of the objects; none when it is not told.
    pub pool_ns: Option<&'a [u8]>,
    /// Birth time and count of changes; none when they are not told.
    pub btime: Option<(Timespec, u64)>,
    /// Files and directories in the directory; none when they are not told.
    pub dirstat: Option<(u64, u64)>,
    /// How an encrypted inode is encrypted.
    pub fscrypt: Fscrypt<'a>,
}

impl<'a> ClientCaps<'a> {
    /// Takes front and middle of a message of the version.
    pub fn decode(front: &'a [u8], middle: &'a [u8], version: u16) -> Result<Self> {
        let mut d = Decoder::new(front);
        let op = CapOp(d.u32()?);
        let (ino, realm, cap_id) = (d.u64()?, d.u64()?, d.u64()?);
        let (seq, issue_seq) = (d.u32()?, d.u32()?);
        let (caps, wanted, dirty) = (Caps(d.u32()?), Caps(d.u32()?), Caps(d.u32()?));
        let (mseq, snap_follows) = (d.u32()?, d.u64()?);
        let snap_trace_len = d.u32()?;
        let (uid, gid, mode, nlink) = (d.u32()?, d.u32()?, d.u32()?, d.u32()?);
        let (xattr_len, xattr_version) = (d.u32()?, d.u64()?);
        // One of two bodies, of the same size.
        let mut body = d.sub(8 * 3 + 4 + 8 * 3 + FileLayout::SIZE + 4)?;
        let (mut inode, mut peer) = (CapInode::default(), None);
        if op == CapOp::EXPORT {
            if version >= 3 {
                peer = Some(CapPeer::decode(&mut body)?);
            }
        } else {
            inode = CapInode {
                size: body.u64()?,
                max_size: body.u64()?,
                truncate_size: body.u64()?,
                truncate_seq: body.u32()?,
                mtime: body.timespec()?,
                atime: body.timespec()?,
                ctime: body.timespec()?,
                layout: Some(FileLayout::decode(&mut body)?),
                time_warp_seq: body.u32()?,
            };
        }
        let snap_trace = usize::try_from(snap_trace_len).map_err(|_| EINVAL)?;
        let snap_trace = SnapTrace::decode(d.bytes(snap_trace)?)?;
        let mut xattrs = None;
        if xattr_len != 0 {
            let len = usize::try_from(xattr_len).map_err(|_| EINVAL)?;
            xattrs = Some(Decoder::new(middle).bytes(len)?);
        }
        if version >= 2 {
            d.blob()?; // flock state
        }
        if version >= 3 && op == CapOp::IMPORT {
            peer = Some(CapPeer::decode(&mut d)?);
        }
        let mut message = Self {
            op,
            ino,
            realm,
            cap_id,
            seq,
            issue_seq,
            caps,
            wanted,
            dirty,
            mseq,
            snap_follows,
            uid,
            gid,
            mode,
            nlink,
            xattr_version,
            xattrs,
            inode,
            snap_trace,
            peer,
            inline_version: InodeStat::INLINE_NONE,
            inline_data: &[],
            osd_epoch_barrier: 0,
            pool_ns: None,
            btime: None,
            dirstat: None,
            fscrypt: Fscrypt::default(),
        };
        if version >= 4 {
            message.inline_version = d.u64()?;
            message.inline_data = d.blob()?;
        }
        if version >= 5 {
            message.osd_epoch_barrier = d.u32()?;
        }
        if version >= 6 {
            d.skip(8)?; // oldest_flush_tid
        }
        if version >= 7 {
            d.skip(8)?; // caller's user and group
        }
        if version >= 8 {
            message.pool_ns = Some(d.blob()?);
        }
        if version >= 9 {
            message.btime = Some((d.timespec()?, d.u64()?));
        }
        if version >= 10 {
            d.skip(4)?; // flags
        }
        if version >= 11 {
            message.dirstat = Some((d.u64()?, d.u64()?));
        }
        if version >= 12 {
            message.fscrypt = Fscrypt {
                context: d.blob()?,
                file: d.blob()?,
            };
        }
        Ok(message)
    }
}

/// A message about a capability, as this client sends it (version 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapUpdate {
    /// What happens.
    pub op: CapOp,
    /// The inode.
    pub ino: u64,
    /// Identity.
    pub cap_id: u64,
    /// Version.
    pub seq: u32,
    /// Version at which it was issued.
    pub issue_seq: u32,
    /// Version of the migration.
    pub mseq: u32,
    /// What is held.
    pub caps: Caps,
    /// What is wanted.
    pub wanted: Caps,
    /// What is changed and sent with this.
    pub dirty: Caps,
    /// Snapshot version.
    pub snap_follows: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Type and permissions.
    pub mode: u32,
    /// Version of the extended attributes.
    pub xattr_version: u64,
    /// Attributes of the content.
    pub inode: CapInode,
    /// Birth time.
    pub btime: Timespec,
    /// Count of changes.
    pub change_attr: u64,
    /// Identity of the flush; 0 without.
    pub flush_tid: u64,
    /// The oldest flush that is not acknowledged.
    pub oldest_flush_tid: u64,
    /// The OSD map that must be known before data is touched.
    pub osd_epoch_barrier: u32,
    /// Whether the file has inline data.
    pub has_inline_data: bool,
    /// `CEPH_CLIENT_CAPS_*`.
    pub flags: u32,
}

impl CapUpdate {
    /// Version of the message.
    pub const VERSION: u16 = 12;

    /// The front of a message; its header's tid is the flush's.
    pub fn encode(&self) -> Result<KVVec<u8>> {
        let mut e = Encoder::with_capacity(320)?;
        e.u32(self.op.0)?.u64(self.ino)?.u64(0)?.u64(self.cap_id)?;
        e.u32(self.seq)?.u32(self.issue_seq)?;
        e.u32(self.caps.0)?.u32(self.wanted.0)?.u32(self.dirty.0)?;
        e.u32(self.mseq)?.u64(self.snap_follows)?.u32(0)?;
        e.u32(self.uid)?.u32(self.gid)?.u32(self.mode)?.u32(0)?;
        e.u32(0)?.u64(self.xattr_version)?;
        let i = &self.inode;
        e.u64(i.size)?.u64(i.max_size)?.u64(i.truncate_size)?;
        e.u32(i.truncate_seq)?;
        e.timespec(i.mtime)?.timespec(i.atime)?.timespec(i.ctime)?;
        // The server does not read the layout from a client.
        e.bytes(&[0; FileLayout::SIZE])?.u32(i.time_warp_seq)?;
        e.u32(0)?; // flock state
        let inline = if self.has_inline_data {
            0
        } else {
            InodeStat::INLINE_NONE
        };
        e.u64(inline)?.u32(0)?;
        e.u32(self.osd_epoch_barrier)?.u64(self.oldest_flush_tid)?;
        // No caller: with -1 the server does not take us for root.
        e.u32(u32::MAX)?.u32(u32::MAX)?;
        e.u32(0)?; // RADOS namespace
        e.timespec(self.btime)?.u64(self.change_attr)?;
        e.u32(self.flags)?.u64(0)?.u64(0)?;
        e.u32(0)?.u32(0)?; // fscrypt context and size
        Ok(e.into_vec())
    }
}

/// A capability that is given back (`ceph_mds_cap_item`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapItem {
    /// Inode.
    pub ino: u64,
    /// Identity.
    pub cap_id: u64,
    /// Version of the migration.
    pub mseq: u32,
    /// Version at which it was issued.
    pub issue_seq: u32,
}

impl CapItem {
    /// As many as a message of one page carries.
    pub const PER_MESSAGE: usize = (4096 - 4 - 4) / 24;
    /// Version of the message.
    pub const VERSION: u16 = 2;

    /// The front of an `MClientCapRelease`.
    pub fn encode_release(items: &[Self], osd_epoch_barrier: u32) -> Result<KVVec<u8>> {
        let mut e = Encoder::with_capacity(4096)?;
        e.length(items.len())?;
        for item in items {
            e.u64(item.ino)?.u64(item.cap_id)?;
            e.u32(item.mseq)?.u32(item.issue_seq)?;
        }
        e.u32(osd_epoch_barrier)?;
        Ok(e.into_vec())
    }
}

#[kunit_tests(ceph_wire_client_caps)]
mod tests {
    use super::*;

    fn sample(op: CapOp, version: u16) -> Result<KVVec<u8>> {
        let mut e = Encoder::new();
        e.u32(op.0)?.u64(0x1000)?.u64(1)?.u64(77)?.u32(3)?.u32(4)?;
        e.u32(0x155)?.u32(0x555)?.u32(0)?.u32(9)?.u64(0)?.u32(0)?;
        e.u32(10)?.u32(11)?.u32(0o100644)?.u32(1)?.u32(2)?.u64(5)?;
        let start = e.len();
        if op == CapOp::EXPORT {
            e.u64(88)?.u32(1)?.u32(2)?.u32(1)?.u8(1)?;
            while e.len() < start + 84 {
                e.u8(0)?;
            }
        } else {
            e.u64(100)?
                .u64(200)?
                .u64(u64::MAX)?
                .u32(1)?
                .bytes(&[1; 24])?;
            e.bytes(&[2; 28])?.u32(6)?;
        }
        assert_eq!(e.len() - start, 84);
        if version >= 2 {
            e.u32(0)?;
        }
        if version >= 3 && op == CapOp::IMPORT {
            e.u64(88)?.u32(1)?.u32(2)?.u32(1)?.u8(1)?;
        }
        if version >= 4 {
            e.u64(u64::MAX)?.blob(b"")?;
        }
        if version >= 5 {
            e.u32(12)?;
        }
        if version >= 8 {
            e.u64(0)?.u64(0)?.blob(b"ns")?;
        }
        if version >= 9 {
            e.bytes(&[3; 8])?.u64(4)?;
        }
        if version >= 11 {
            e.u32(0)?.u64(5)?.u64(6)?;
        }
        if version >= 12 {
            e.blob(b"")?.blob(b"")?;
        }
        Ok(e.into_vec())
    }

    #[test]
    fn what_servers_send() -> Result {
        for op in [CapOp::GRANT, CapOp::IMPORT, CapOp::EXPORT] {
            for version in [1, 2, 3, 4, 5, 8, 9, 11, 12] {
                let bytes = sample(op, version)?;
                let caps = ClientCaps::decode(&bytes, b"xa", version)?;
                assert_eq!(
                    (caps.ino, caps.cap_id, caps.caps),
                    (0x1000, 77, Caps(0x155))
                );
                assert_eq!(caps.xattrs, Some(&b"xa"[..]));
                let peer = op != CapOp::GRANT && version >= 3;
                assert_eq!(caps.peer.map(|p| p.cap_id), peer.then_some(88));
                assert_eq!(caps.dirstat, (version >= 11).then_some((5, 6)));
                for len in 0..bytes.len() {
                    let short = bytes.get(..len).ok_or(EINVAL)?;
                    assert!(ClientCaps::decode(short, b"xa", version).is_err());
                }
                assert!(ClientCaps::decode(&bytes, b"x", version).is_err());
            }
        }
        Ok(())
    }

    #[test]
    fn what_we_send_can_be_read() -> Result {
        let update = CapUpdate {
            op: CapOp::UPDATE,
            ino: 0x1000,
            cap_id: 77,
            seq: 1,
            issue_seq: 2,
            mseq: 3,
            caps: Caps::PIN,
            wanted: Caps::FILE_RD,
            dirty: Caps::NONE,
            snap_follows: 0,
            uid: 4,
            gid: 5,
            mode: 6,
            xattr_version: 7,
            inode: CapInode {
                size: 8,
                ..CapInode::default()
            },
            btime: Timespec::default(),
            change_attr: 9,
            flush_tid: 0,
            oldest_flush_tid: 0,
            osd_epoch_barrier: 10,
            has_inline_data: false,
            flags: 0,
        };
        let bytes = update.encode()?;
        let caps = ClientCaps::decode(&bytes, &[], CapUpdate::VERSION)?;
        assert_eq!((caps.op, caps.seq, caps.mseq), (CapOp::UPDATE, 1, 3));
        assert_eq!((caps.inode.size, caps.osd_epoch_barrier), (8, 10));
        Ok(())
    }

    #[test]
    fn releases_fill_a_page() -> Result {
        let items = [CapItem::default(); CapItem::PER_MESSAGE];
        let bytes = CapItem::encode_release(&items, 5)?;
        assert!(bytes.len() <= 4096 && bytes.len() > 4096 - 24);
        Ok(())
    }
}
