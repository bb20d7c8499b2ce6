// SPDX-License-Identifier: GPL-2.0
//! Messages between clients and OSDs: `MOSDOp` v8, `MOSDOpReply` v8, `MOSDMap`
//! (Ceph: src/messages). `MOSDBackoff` is in [`osd_backoff`](super::osd_backoff).
use core::{fmt, ops::Deref};
use kernel::prelude::*;

use super::decode::Decoder;
use super::encode::{Encoder, Writer};
use super::osdmap_pool::PgId;
use super::types::{Fsid, Timespec};
use crate::errno::ebadmsg;

/// Kinds of messages (`CEPH_MSG_*`).
pub mod kind {
    /// `MOSDMap`.
    pub const OSD_MAP: u16 = 41;
    /// `MOSDOp`.
    pub const OSD_OP: u16 = 42;
    /// `MOSDOpReply`.
    pub const OSD_OPREPLY: u16 = 43;
    /// `MOSDBackoff`.
    pub const OSD_BACKOFF: u16 = 61;
}

/// Flags of a request (`CEPH_OSD_FLAG_*`).
pub mod flag {
    /// An answer is wanted when the request is done.
    pub const ONDISK: u32 = 0x4;
    /// The request was sent before.
    pub const RETRY: u32 = 0x8;
    /// It reads.
    pub const READ: u32 = 0x10;
    /// It writes.
    pub const WRITE: u32 = 0x20;
    /// Any replica may answer.
    pub const BALANCE_READS: u32 = 0x100;
    /// The nearest replica may answer.
    pub const LOCALIZE_READS: u32 = 0x2000;
    /// Cache tiers shall not be considered by the OSD.
    pub const IGNORE_CACHE: u32 = 0x8000;
    /// Cache tiers shall not be considered by the client.
    pub const IGNORE_OVERLAY: u32 = 0x2_0000;
    /// It was redirected.
    pub const REDIRECTED: u32 = 0x20_0000;
    /// [`REDIRECTED`] means what it says.
    pub const KNOWN_REDIR: u32 = 0x40_0000;
}

/// The id of what is not a snapshot (`CEPH_NOSNAP`).
pub const NO_SNAP: u64 = u64::MAX - 1;
/// The id of the snapshots' directory object (`CEPH_SNAPDIR`).
pub const SNAP_DIR: u64 = u64::MAX;

/// Most operations in one request or reply.
pub const MAX_OPS: usize = 16;

/// A placement group, and which shard of it in an erasure-coded pool (`spg_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpgId {
    /// Placement group.
    pub pg: PgId,
    /// Shard, or -1.
    pub shard: i8,
}

impl SpgId {
    /// Not a shard.
    pub const NO_SHARD: i8 = -1;

    /// Takes 24 bytes.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let (_, mut body) = d.versioned(1)?;
        let pg = PgId::decode(&mut body)?;
        let [shard] = body.array::<1>()?;
        Ok(Self {
            pg,
            shard: i8::from_le_bytes([shard]),
        })
    }

    /// Adds 24 bytes.
    pub fn encode(&self, e: &mut Encoder) -> Result {
        e.bytes(&self.to_bytes())?;
        Ok(())
    }

    #[inline]
    fn to_bytes(self) -> [u8; 24] {
        let mut out = [0; 24];
        let mut w = Writer::new(&mut out);
        w.put([1, 1]);
        w.put(18u32.to_le_bytes());
        w.put([1]);
        w.put(self.pg.pool.to_le_bytes());
        w.put(self.pg.seed.to_le_bytes());
        // The preferred OSD of old.
        w.put((-1i32).to_le_bytes());
        w.put(self.shard.to_le_bytes());
        out
    }
}

impl fmt::Display for SpgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pg)?;
        match self.shard {
            Self::NO_SHARD => Ok(()),
            shard => write!(f, "s{shard}"),
        }
    }
}

/// One operation of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads a range of bytes. Of an object that was written before the file was
    /// truncated (by `truncate_seq`), nothing at or beyond `truncate_size`.
    Read {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// Where the file was truncated.
        truncate_size: u64,
        /// How many times it was.
        truncate_seq: u32,
    },
    /// Size and modification time.
    Stat,
}

impl Op {
    /// Bytes of a `ceph_osd_op`.
    const SIZE: usize = 38;

    /// Name in debugfs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Stat => "stat",
        }
    }

    const fn code(&self) -> u16 {
        match self {
            Self::Read { .. } => 0x1201,
            Self::Stat => 0x1202,
        }
    }

    fn encode(&self, e: &mut Encoder) -> Result {
        // Code, flags, a union of 28 bytes, length of the data that goes with it.
        let mut out = [0; Self::SIZE];
        let mut w = Writer::new(&mut out);
        w.put(self.code().to_le_bytes());
        w.put([0; 4]);
        if let Self::Read {
            offset,
            length,
            truncate_size,
            truncate_seq,
        } = *self
        {
            w.put(offset.to_le_bytes());
            w.put(length.to_le_bytes());
            w.put(truncate_size.to_le_bytes());
            w.put(truncate_seq.to_le_bytes());
        }
        e.bytes(&out)?;
        Ok(())
    }
}

/// The operations of a request, at least one, in the order in which an OSD does them.
pub struct OpVec {
    /// Mostly there is no other.
    first: Op,
    more: KVec<Op>,
}

impl OpVec {
    /// With one operation.
    pub const fn new(first: Op) -> Self {
        Self {
            first,
            more: KVec::new(),
        }
    }

    /// Adds one to the end.
    ///
    /// # Errors
    ///
    /// [`E2BIG`] if there are [`MAX_OPS`], `ENOMEM`.
    pub fn push(&mut self, op: Op) -> Result {
        if self.count() >= MAX_OPS {
            return Err(E2BIG);
        }
        self.more.push(op, GFP_KERNEL)?;
        Ok(())
    }

    /// The first, which says what the request is about.
    pub fn first(&self) -> &Op {
        &self.first
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.more.len().saturating_add(1)
    }

    /// All.
    pub fn iter(&self) -> impl Iterator<Item = &Op> {
        Iterator::chain(core::iter::once(&self.first), self.more.iter())
    }
}

/// `MOSDOp` v8, without data.
pub struct OsdOp<'a> {
    /// Where the object is.
    pub spg: SpgId,
    /// Full hash of the object.
    pub hash: u32,
    /// Epoch of the map that says so.
    pub epoch: u32,
    /// [`flag`].
    pub flags: u32,
    /// Time of the change, for a write.
    pub mtime: Timespec,
    /// Pool that the object is in.
    pub pool: i64,
    /// Namespace in the pool.
    pub namespace: &'a [u8],
    /// Name of the object.
    pub object: &'a [u8],
    /// What to do.
    pub ops: &'a OpVec,
    /// Which snapshot to read, or [`NO_SNAP`].
    pub snap: u64,
    /// How many times this was sent before.
    pub attempts: u32,
}

impl OsdOp<'_> {
    /// Version of the encoding.
    pub const VERSION: u16 = 8;

    /// Encodes the front.
    ///
    /// # Errors
    ///
    /// [`E2BIG`] if a name is too long, `ENOMEM`.
    pub fn encode(&self) -> Result<KVVec<u8>> {
        let names = self.namespace.len().saturating_add(self.object.len());
        let ops = self.ops.count().saturating_mul(Op::SIZE);
        let len = names.saturating_add(ops).saturating_add(163);
        let mut e = Encoder::with_capacity(len)?;
        let mut head = [0; 99];
        let mut w = Writer::new(&mut head);
        w.put(self.spg.to_bytes());
        w.put(self.hash.to_le_bytes());
        w.put(self.epoch.to_le_bytes());
        w.put(self.flags.to_le_bytes());
        // Request id (the connection says it all), trace and client_inc.
        w.put([2, 2]);
        w.put(21u32.to_le_bytes());
        w.put([0; 21 + 24 + 4]);
        w.put(self.mtime.sec.to_le_bytes());
        w.put(self.mtime.nsec.to_le_bytes());
        e.bytes(&head)?;
        let namespace_len = u32::try_from(self.namespace.len()).map_err(|_| E2BIG)?;
        let mut locator = [0; 26];
        let mut w = Writer::new(&mut locator);
        w.put([5, 4]);
        w.put(namespace_len.checked_add(20).ok_or(E2BIG)?.to_le_bytes());
        w.put(self.pool.to_le_bytes());
        // Without a preferred OSD, and without a key instead of the name.
        w.put((-1i32).to_le_bytes());
        w.put(0u32.to_le_bytes());
        w.put(namespace_len.to_le_bytes());
        e.bytes(&locator)?.bytes(self.namespace)?;
        e.blob(self.object)?;
        e.u16(u16::try_from(self.ops.count()).map_err(|_| E2BIG)?)?;
        for op in self.ops.iter() {
            op.encode(&mut e)?;
        }
        let mut tail = [0; 32];
        let mut w = Writer::new(&mut tail);
        w.put(self.snap.to_le_bytes());
        w.put([0; 12]); // Snapshot context of a write.
        w.put(self.attempts.to_le_bytes());
        // Features of the client: 0 for those of the connection.
        w.put([0; 8]);
        e.bytes(&tail)?;
        Ok(e.into_vec())
    }
}

/// What became of the operations of a request: for each its result, and how much data it read.
#[derive(Clone, Copy, Debug)]
pub struct OpResults {
    all: [(i32, u32); MAX_OPS],
    count: usize,
}

impl OpResults {
    /// Bytes that all operations read. The data of a reply has those of one after the other.
    pub fn data_len(&self) -> u64 {
        let lens = self.iter().map(|(_, len)| u64::from(*len));
        lens.fold(0, u64::saturating_add)
    }
}

impl Deref for OpResults {
    type Target = [(i32, u32)];

    fn deref(&self) -> &[(i32, u32)] {
        self.all.get(..self.count).unwrap_or(&self.all)
    }
}

/// `MOSDOpReply` v8.
#[derive(Debug)]
pub struct OsdOpReply {
    /// [`flag`].
    pub flags: u64,
    /// 0, or a negative error number.
    pub result: i32,
    /// Epoch of the OSD's map.
    pub epoch: u32,
    /// For each operation, its result and the length of its data.
    pub ops: OpResults,
    /// Which sending of the request this answers.
    pub attempt: i32,
    /// Version of the object for users.
    pub user_version: u64,
    /// The pool that the request shall be sent to instead.
    pub redirect: Option<i64>,
}

impl OsdOpReply {
    /// Version of the encoding that is read.
    pub const VERSION: u16 = 8;

    /// Decodes the front of a reply to a request in a namespace.
    ///
    /// # Errors
    ///
    /// `EBADMSG` for malformed bytes, a version before Luminous', more than
    /// [`MAX_OPS`] operations, and a redirect to another name, `EOPNOTSUPP` for a
    /// redirect that is too new.
    pub fn decode(bytes: &[u8], version: u16, namespace: &[u8]) -> Result<Self> {
        if version < 7 {
            return Err(ebadmsg());
        }
        let d = &mut Decoder::new(bytes);
        d.blob()?; // Object.
        PgId::decode(d)?;
        let flags = d.u64()?;
        let result = d.i32()?;
        d.skip(12)?; // Version for replay of old.
        let epoch = d.u32()?;
        let count = d.count(Op::SIZE)?;
        if count > MAX_OPS {
            return Err(ebadmsg());
        }
        let mut all = [(0, 0); MAX_OPS];
        for op in all.iter_mut().take(count) {
            d.skip(Op::SIZE - 4)?;
            op.1 = d.u32()?;
        }
        let attempt = d.i32()?;
        for op in all.iter_mut().take(count) {
            op.0 = d.i32()?;
        }
        let ops = OpResults { all, count };
        d.skip(12)?; // Version for replay.
        let user_version = d.u64()?;
        let redirect = match d.bool()? {
            true => Some(decode_redirect(d, namespace)?),
            false => None,
        };
        Ok(Self {
            flags,
            result,
            epoch,
            ops,
            attempt,
            user_version,
            redirect,
        })
    }
}

/// `request_redirect_t`: another pool; nothing else may change.
fn decode_redirect(d: &mut Decoder<'_>, namespace: &[u8]) -> Result<i64> {
    let (_, mut body) = d.versioned(1)?;
    let (version, mut locator) = body.versioned(6)?;
    if version < 3 {
        return Err(ebadmsg());
    }
    let pool = locator.i64()?;
    locator.skip(4)?; // Preferred OSD.
    let key = locator.blob()?;
    let other_namespace = version >= 5 && locator.blob()? != namespace;
    let hash = if version >= 6 { locator.i64()? } else { -1 };
    let object = body.blob()?;
    if !key.is_empty() || other_namespace || hash != -1 || !object.is_empty() {
        return Err(ebadmsg());
    }
    Ok(pool)
}

/// `MOSDMap`: maps of several epochs, still encoded.
pub struct OsdMaps<'a> {
    /// Cluster.
    pub fsid: Fsid,
    /// Incremental maps by epoch.
    pub incremental: KVVec<(u32, &'a [u8])>,
    /// Full maps by epoch.
    pub full: KVVec<(u32, &'a [u8])>,
}

impl<'a> OsdMaps<'a> {
    /// Version of the encoding that is read.
    pub const VERSION: u16 = 4;

    /// Decodes the front.
    ///
    /// # Errors
    ///
    /// `EBADMSG`, `ENOMEM`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        let d = &mut Decoder::new(bytes);
        Ok(Self {
            fsid: Fsid::decode(d)?,
            incremental: d.vec(8, |d| Ok((d.u32()?, d.blob()?)))?,
            full: d.vec(8, |d| Ok((d.u32()?, d.blob()?)))?,
        })
    }

    /// The newest epoch that there is a map of; 0 if there is none.
    pub fn newest(&self) -> u32 {
        let all = Iterator::chain(self.incremental.iter(), self.full.iter());
        all.map(|(epoch, _)| *epoch).max().unwrap_or(0)
    }
}

#[kunit_tests(ceph_wire_osd)]
mod tests {
    use super::*;

    const SPG: SpgId = SpgId {
        pg: PgId { pool: 2, seed: 7 },
        shard: 3,
    };

    #[test]
    fn a_read() -> Result {
        let mut ops = OpVec::new(Op::Stat);
        ops.push(Op::Read {
            offset: 4096,
            length: 65536,
            truncate_size: 1,
            truncate_seq: 2,
        })?;
        let op = OsdOp {
            spg: SPG,
            hash: 0x0c9e_0747,
            epoch: 7,
            flags: flag::READ,
            mtime: Timespec::default(),
            pool: 2,
            namespace: b"ns",
            object: b"10000000001.00000000",
            ops: &ops,
            snap: NO_SNAP,
            attempts: 1,
        };
        let bytes = op.encode()?;
        // The memory that was asked for is what it takes.
        assert_eq!(
            bytes.len(),
            163 + 2 * Op::SIZE + b"ns10000000001.00000000".len()
        );
        let d = &mut Decoder::new(&bytes);
        assert_eq!(SpgId::decode(d)?, SPG);
        assert_eq!(d.u32()?, op.hash);
        d.skip(4 + 4 + 6 + 21 + 24 + 4 + 8)?;
        let (_, mut locator) = d.versioned(6)?;
        assert_eq!(locator.i64()?, 2);
        assert_eq!(d.blob()?, op.object);
        assert_eq!(d.u16()?, 2);
        d.skip(Op::SIZE)?;
        assert_eq!(d.u16()?, 0x1201);
        d.skip(Op::SIZE - 2)?;
        assert_eq!(d.u64()?, NO_SNAP);
        d.skip(12)?;
        assert_eq!((d.u32()?, d.u64()?, d.is_empty()), (1, 0, true));
        while ops.count() < MAX_OPS {
            ops.push(Op::Stat)?;
        }
        assert!(ops.push(Op::Stat).is_err() && ops.iter().count() == MAX_OPS);
        Ok(())
    }

    fn reply(redirect: Option<&[u8]>) -> Result<KVVec<u8>> {
        let mut e = Encoder::new();
        e.blob(b"object")?;
        SPG.pg.encode(&mut e)?;
        e.u64(u64::from(flag::ONDISK))?.i32(-2)?.bytes(&[0; 12])?;
        e.u32(9)?.u32(1)?;
        Op::Stat.encode(&mut e)?;
        let at = e.len();
        e.patch(at - 4, &16u32.to_le_bytes())?;
        e.i32(4)?.i32(-2)?.bytes(&[0; 12])?.u64(77)?;
        e.bool(redirect.is_some())?;
        if let Some(name) = redirect {
            e.versioned(1, 1, |e| {
                e.versioned(6, 3, |e| {
                    e.i64(5)?.i32(-1)?.blob(b"")?.blob(b"ns")?.i64(-1)?;
                    Ok(())
                })?;
                e.blob(name)?.u32(0)?;
                Ok(())
            })?;
        }
        e.bytes(&[0; 24])?; // Trace.
        Ok(e.into_vec())
    }

    #[test]
    fn replies() -> Result {
        let bytes = reply(None)?;
        let r = OsdOpReply::decode(&bytes, 8, b"")?;
        assert_eq!(
            (r.result, r.epoch, r.attempt, r.user_version),
            (-2, 9, 4, 77)
        );
        assert_eq!(
            (&r.ops[..], r.ops.data_len(), r.redirect),
            (&[(-2, 16)][..], 16, None)
        );
        let needed = bytes.len().checked_sub(24).ok_or(EINVAL)?;
        for len in 0..needed {
            let short = bytes.get(..len).ok_or(EINVAL)?;
            assert!(OsdOpReply::decode(short, 8, b"").is_err());
        }
        Ok(())
    }

    #[test]
    fn redirects() -> Result {
        let bytes = reply(Some(b""))?;
        assert_eq!(OsdOpReply::decode(&bytes, 8, b"ns")?.redirect, Some(5));
        assert!(OsdOpReply::decode(&bytes, 8, b"other").is_err());
        assert!(OsdOpReply::decode(&reply(Some(b"name"))?, 8, b"ns").is_err());
        Ok(())
    }

    #[test]
    fn a_redirect_ends_where_it_says() -> Result {
        let decode = |locator: &[u8], object: Option<u32>| -> Result<i64> {
            let mut e = Encoder::new();
            e.versioned(1, 1, |e| {
                e.u8(6)?.u8(3)?.blob(locator)?;
                if let Some(len) = object {
                    e.u32(len)?;
                }
                Ok(())
            })?;
            // What follows is not the redirect's.
            e.bytes(&[0; 64])?;
            decode_redirect(&mut Decoder::new(e.as_slice()), b"ns")
        };
        let mut e = Encoder::new();
        e.i64(5)?.i32(-1)?.blob(b"")?.blob(b"ns")?.i64(-1)?;
        let locator = e.into_vec();
        assert_eq!(decode(&locator, Some(0)), Ok(5));
        assert!(decode(&locator, None).is_err());
        assert!(decode(&locator, Some(u32::MAX)).is_err());
        for len in 0..locator.len() {
            assert!(decode(locator.get(..len).ok_or(EINVAL)?, Some(0)).is_err());
        }
        // A key, then a namespace, longer than the locator.
        for at in [12, 16] {
            let mut bad = KVVec::new();
            bad.extend_from_slice(&locator, GFP_KERNEL)?;
            let place = bad.get_mut(at..).and_then(|rest| rest.first_chunk_mut());
            *place.ok_or(EINVAL)? = u32::MAX.to_le_bytes();
            assert!(decode(&bad, Some(0)).is_err());
        }
        Ok(())
    }

    #[test]
    fn maps() -> Result {
        let mut e = Encoder::new();
        e.bytes(&[1; 16])?.u32(1)?.u32(8)?.blob(b"inc")?;
        e.u32(1)?.u32(9)?.blob(b"full")?.u32(1)?.u32(9)?;
        let bytes = e.into_vec();
        let maps = OsdMaps::decode(&bytes)?;
        assert_eq!(maps.incremental.first(), Some(&(8, &b"inc"[..])));
        assert_eq!(maps.full.first(), Some(&(9, &b"full"[..])));
        assert_eq!(maps.newest(), 9);
        for len in 0..bytes.len().saturating_sub(8) {
            assert!(OsdMaps::decode(bytes.get(..len).ok_or(EINVAL)?).is_err());
        }
        Ok(())
    }

    #[test]
    #[cfg(not(CONFIG_RUST))]
    fn memory_is_bounded() -> Result {
        kernel::host::check_decoder(&reply(Some(b""))?, |b| OsdOpReply::decode(b, 8, b"ns"));
        let mut e = Encoder::new();
        e.bytes(&[1; 16])?.u32(2)?.u32(8)?.blob(b"inc")?;
        e.u32(9)?.blob(b"inc")?.u32(1)?.u32(9)?.blob(b"full")?;
        kernel::host::check_decoder(e.as_slice(), |b| OsdMaps::decode(b).map(|m| m.full.len()));
        Ok(())
    }
}
