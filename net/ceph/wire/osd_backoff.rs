// SPDX-License-Identifier: GPL-2.0
//! `MOSDBackoff` v1: an OSD asks not to be sent requests for a range of objects,
//! until it says otherwise or the session ends; and `hobject_t`, by which objects
//! are ordered.
use core::cmp::Ordering;
use core::fmt::{self, Write};
use kernel::prelude::*;

use super::decode::Decoder;
use super::encode::Encoder;
use super::osd::{SpgId, NO_SNAP, SNAP_DIR};
use crate::errno::ebadmsg;

/// An object's place in the order of a pool's objects (`hobject_t`), borrowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct HObject<'a> {
    /// What is hashed instead of the name; empty for the name.
    pub key: &'a [u8],
    /// Name.
    pub name: &'a [u8],
    /// Snapshot.
    pub snap: u64,
    /// Hash.
    pub hash: u32,
    /// Greater than all objects.
    pub is_max: bool,
    /// Namespace.
    pub namespace: &'a [u8],
    /// Pool.
    pub pool: i64,
}

impl<'a> HObject<'a> {
    fn decode(d: &mut Decoder<'a>) -> Result<Self> {
        let (version, mut body) = d.versioned(4)?;
        if version < 4 {
            return Err(ebadmsg());
        }
        Ok(Self {
            key: body.blob()?,
            name: body.blob()?,
            snap: body.u64()?,
            hash: body.u32()?,
            is_max: body.bool()?,
            namespace: body.blob()?,
            pool: body.i64()?,
        })
    }

    /// Bytes of its names.
    pub fn names_len(&self) -> usize {
        let all = [self.key, self.name, self.namespace];
        all.iter()
            .fold(0, |sum, name| sum.saturating_add(name.len()))
    }

    fn encode(&self, e: &mut Encoder) -> Result {
        e.versioned(4, 3, |e| {
            e.blob(self.key)?.blob(self.name)?.u64(self.snap)?;
            e.u32(self.hash)?.bool(self.is_max)?;
            e.blob(self.namespace)?.i64(self.pool)?;
            Ok(())
        })?;
        Ok(())
    }

    fn effective_key(&self) -> &'a [u8] {
        match self.key {
            [] => self.name,
            key => key,
        }
    }
}

/// The order in which OSDs sort objects ("bitwise").
impl Ord for HObject<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // For what is greater than all, Ceph takes a hash beyond 32 bits.
        let bits = |o: &Self| match o.is_max {
            true => 1 << 32,
            false => u64::from(o.hash.reverse_bits()),
        };
        self.is_max
            .cmp(&other.is_max)
            .then_with(|| self.pool.cmp(&other.pool))
            .then_with(|| bits(self).cmp(&bits(other)))
            .then_with(|| self.namespace.cmp(other.namespace))
            .then_with(|| self.effective_key().cmp(other.effective_key()))
            .then_with(|| self.name.cmp(other.name))
            .then_with(|| self.snap.cmp(&other.snap))
    }
}

impl PartialOrd for HObject<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for HObject<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for HObject<'_> {}

/// An [`HObject`] that owns its names.
pub struct OwnedHObject {
    key: KVec<u8>,
    name: KVec<u8>,
    namespace: KVec<u8>,
    snap: u64,
    hash: u32,
    is_max: bool,
    pool: i64,
}

impl OwnedHObject {
    /// A copy.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(object: &HObject<'_>) -> Result<Self> {
        let copy = |bytes: &[u8]| -> Result<KVec<u8>> {
            let mut copy = KVec::new();
            copy.extend_from_slice(bytes, GFP_KERNEL)?;
            Ok(copy)
        };
        Ok(Self {
            key: copy(object.key)?,
            name: copy(object.name)?,
            namespace: copy(object.namespace)?,
            snap: object.snap,
            hash: object.hash,
            is_max: object.is_max,
            pool: object.pool,
        })
    }

    /// The object.
    pub fn as_ref(&self) -> HObject<'_> {
        HObject {
            key: &self.key,
            name: &self.name,
            snap: self.snap,
            hash: self.hash,
            is_max: self.is_max,
            namespace: &self.namespace,
            pool: self.pool,
        }
    }
}

/// A name with what separates parts escaped.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            match byte {
                b'%' | b':' | b'/' | ..=31 | 127.. => write!(f, "%{byte:02x}")?,
                _ => f.write_char(char::from(*byte))?,
            }
        }
        Ok(())
    }
}

/// As the C client's debugfs: `pool:hash:namespace:key:name:snap`, MIN or MAX.
impl fmt::Display for HObject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.snap == 0 && self.hash == 0 && !self.is_max && self.pool == i64::MIN {
            return f.write_str("MIN");
        }
        if self.is_max {
            return f.write_str("MAX");
        }
        write!(
            f,
            "{}:{:08x}:{}:{}:{}:",
            self.pool,
            self.hash.reverse_bits(),
            Escaped(self.namespace),
            Escaped(self.key),
            Escaped(self.name)
        )?;
        match self.snap {
            NO_SNAP => f.write_str("head"),
            SNAP_DIR => f.write_str("snapdir"),
            snap => write!(f, "{snap:x}"),
        }
    }
}

/// What a backoff message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffOp {
    /// Do not send requests for the range.
    Block,
    /// A block is known, says the client.
    AckBlock,
    /// Send them again.
    Unblock,
}

/// A backoff message.
pub struct Backoff<'a> {
    /// Placement group that it is about.
    pub spg: SpgId,
    /// Epoch of the OSD's map.
    pub epoch: u32,
    /// What to do.
    pub op: BackoffOp,
    /// Number of the backoff in the session.
    pub id: u64,
    /// First object of the range.
    pub begin: HObject<'a>,
    /// The one behind the last.
    pub end: HObject<'a>,
}

impl<'a> Backoff<'a> {
    /// Version of the encoding.
    pub const VERSION: u16 = 1;

    /// Decodes the front.
    ///
    /// # Errors
    ///
    /// `EBADMSG` for malformed bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        let d = &mut Decoder::new(bytes);
        Ok(Self {
            spg: SpgId::decode(d)?,
            epoch: d.u32()?,
            op: match d.u8()? {
                1 => BackoffOp::Block,
                2 => BackoffOp::AckBlock,
                3 => BackoffOp::Unblock,
                _ => return Err(ebadmsg()),
            },
            id: d.u64()?,
            begin: HObject::decode(d)?,
            end: HObject::decode(d)?,
        })
    }

    /// Whether an object of the placement group is in the range.
    pub fn covers(&self, spg: &SpgId, object: &HObject<'_>) -> bool {
        self.spg == *spg && (*object == self.begin || (*object > self.begin && *object < self.end))
    }

    /// The front of the message that acknowledges a block.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn acknowledge(&self) -> Result<KVVec<u8>> {
        let names = self.begin.names_len().saturating_add(self.end.names_len());
        let mut e = Encoder::with_capacity(names.saturating_add(160))?;
        self.spg.encode(&mut e)?;
        // With the epoch of the block, by which the OSD knows of a split.
        e.u32(self.epoch)?.u8(2)?.u64(self.id)?;
        self.begin.encode(&mut e)?;
        self.end.encode(&mut e)?;
        Ok(e.into_vec())
    }
}

#[kunit_tests(ceph_wire_osd_backoff)]
mod tests {
    use super::super::osdmap_pool::PgId;
    use super::*;

    fn object(name: &[u8], hash: u32) -> HObject<'_> {
        HObject {
            name,
            hash,
            snap: NO_SNAP,
            pool: 2,
            ..HObject::default()
        }
    }

    fn message(begin: HObject<'_>, end: HObject<'_>) -> Result<KVVec<u8>> {
        let mut e = Encoder::new();
        let pg = PgId { pool: 2, seed: 7 };
        SpgId { pg, shard: -1 }.encode(&mut e)?;
        e.u32(5)?.u8(1)?.u64(9)?;
        begin.encode(&mut e)?;
        end.encode(&mut e)?;
        Ok(e.into_vec())
    }

    #[test]
    fn order() {
        // Sorted by the reversed bits of the hash.
        assert!(object(b"a", 1) > object(b"a", 2));
        assert!(object(b"a", 2) < object(b"b", 2));
        let max = HObject {
            is_max: true,
            ..HObject::default()
        };
        assert!(max > object(b"z", u32::MAX));
        assert!(object(b"a", 1) == object(b"a", 1));
    }

    #[test]
    #[cfg(not(CONFIG_RUST))]
    fn memory_is_bounded() -> Result {
        let bytes = message(object(b"b", 4), object(b"d", 4))?;
        kernel::host::check_decoder(&bytes, |b| Backoff::decode(b)?.acknowledge().map(drop));
        Ok(())
    }

    #[test]
    fn names_in_debugfs() {
        use core::fmt::Write;
        struct Text([u8; 64], usize);
        impl Write for Text {
            fn write_str(&mut self, s: &str) -> fmt::Result {
                for byte in s.bytes() {
                    *self.0.get_mut(self.1).ok_or(fmt::Error)? = byte;
                    self.1 += 1;
                }
                Ok(())
            }
        }
        let min = HObject {
            pool: i64::MIN,
            ..HObject::default()
        };
        let max = HObject {
            is_max: true,
            ..HObject::default()
        };
        for (object, want) in [
            (object(b"a:b", 1), "2:80000000:::a%3ab:head"),
            (min, "MIN"),
            (max, "MAX"),
        ] {
            let mut text = Text([0; 64], 0);
            assert!(write!(text, "{object}").is_ok());
            assert_eq!(text.0.get(..text.1), Some(want.as_bytes()));
        }
    }

    #[test]
    fn a_block_and_its_acknowledgement() -> Result {
        let bytes = message(object(b"b", 4), object(b"d", 4))?;
        for len in 0..bytes.len() {
            assert!(Backoff::decode(bytes.get(..len).ok_or(EINVAL)?).is_err());
        }
        let backoff = Backoff::decode(&bytes)?;
        assert_eq!((backoff.op, backoff.id), (BackoffOp::Block, 9));
        let bytes = backoff.acknowledge()?;
        let ack = Backoff::decode(&bytes)?;
        assert_eq!((ack.op, ack.id, ack.epoch), (BackoffOp::AckBlock, 9, 5));
        assert!((ack.begin, ack.end) == (backoff.begin, backoff.end));
        assert!(backoff.covers(&backoff.spg, &object(b"b", 4)));
        assert!(backoff.covers(&backoff.spg, &object(b"c", 4)));
        assert!(!backoff.covers(&backoff.spg, &object(b"d", 4)));
        assert!(!backoff.covers(&backoff.spg, &object(b"a", 4)));
        let other = SpgId {
            shard: 1,
            ..backoff.spg
        };
        assert!(!backoff.covers(&other, &object(b"c", 4)));
        Ok(())
    }

    #[test]
    fn a_placement_group_of_a_newer_version() -> Result {
        let bytes = message(object(b"b", 4), object(b"d", 4))?;
        // A version that adds three bytes at the end of the group.
        let mut newer = Encoder::new();
        newer.u8(2)?.u8(1)?.u32(18 + 3)?;
        newer
            .bytes(bytes.get(6..24).ok_or(EINVAL)?)?
            .bytes(b"new")?;
        newer.bytes(bytes.get(24..).ok_or(EINVAL)?)?;
        let backoff = Backoff::decode(newer.as_slice())?;
        assert!((backoff.begin, backoff.end) == (object(b"b", 4), object(b"d", 4)));
        assert!(backoff.covers(&backoff.spg, &object(b"c", 4)));
        Ok(())
    }
}
