// SPDX-License-Identifier: GPL-2.0
//! `MDSMap`: the metadata servers of one file system (Ceph: src/mds/MDSMap.cc).
//!
//! Read up to extended version 19; what follows is passed over.
use ceph_proto::errno::{ebadmsg, eopnotsupp};
use ceph_proto::wire::decode::Decoder;
use ceph_proto::wire::types::{AddrType, AddrVec, EntityAddr, Fsid};
use kernel::prelude::*;

use super::msg::MAX_MDS;

/// What a metadata server is doing (`CEPH_MDS_STATE_*`): negative before it has a
/// rank, otherwise growing towards "active".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MdsState(pub i32);

impl MdsState {
    /// There is none.
    pub const DNE: Self = Self(0);
    /// Making a new rank.
    pub const CREATING: Self = Self(-6);
    /// Starting a rank that was stopped.
    pub const STARTING: Self = Self(-7);
    /// Waiting for the clients of a failed predecessor.
    pub const RECONNECT: Self = Self(10);
    /// Serving.
    pub const ACTIVE: Self = Self(13);
    /// Giving its work away.
    pub const STOPPING: Self = Self(14);

    /// The name that Ceph prints.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "down:dne",
            -1 => "down:stopped",
            -4 => "up:boot",
            -5 => "up:standby",
            -8 => "up:standby-replay",
            -9 => "up:oneshot-replay",
            -6 => "up:creating",
            -7 => "up:starting",
            8 => "up:replay",
            9 => "up:resolve",
            10 => "up:reconnect",
            11 => "up:rejoin",
            12 => "up:clientreplay",
            13 => "up:active",
            14 => "up:stopping",
            _ => "???",
        }
    }
}

/// A daemon that holds a rank.
#[derive(Debug)]
pub struct MdsInfo {
    /// Identity of the daemon's life.
    pub global_id: u64,
    /// Its rank.
    pub rank: u32,
    /// What it does.
    pub state: MdsState,
    /// All its addresses.
    pub addrs: AddrVec,
    /// Whether the monitors miss its beacons.
    pub laggy: bool,
    /// Ranks that it is giving directories to.
    pub export_targets: KVVec<u32>,
}

/// The metadata servers of one file system.
#[derive(Debug)]
pub struct MdsMap {
    /// Version of the map.
    pub epoch: u32,
    /// Rank of the root directory.
    pub root: u32,
    /// Seconds after which a silent client's capabilities are stale.
    pub session_timeout: u32,
    /// Seconds after which a silent client is evicted.
    pub session_autoclose: u32,
    /// The largest file allowed, in bytes.
    pub max_file_size: u64,
    /// Ranks that the administrator wants.
    pub max_mds: u32,
    /// Whether the file system may be used.
    pub enabled: bool,
    /// Whether a rank is damaged.
    pub damaged: bool,
    /// Pools for data.
    pub data_pools: KVVec<i64>,
    /// Pool for metadata.
    pub metadata_pool: i64,
    /// Name of the file system; empty when the map is older than names.
    pub fs_name: KVVec<u8>,
    /// Features that a client must have, bit by bit.
    pub required_client_features: u64,
    /// The largest extended attributes of one inode, in bytes; 0 for no limit.
    pub max_xattr_size: u64,
    ranks: KVVec<MdsInfo>,
    in_ranks: KVVec<u32>,
}

fn skip_compat_set(d: &mut Decoder<'_>) -> Result {
    for _ in 0..3 {
        d.skip(8)?;
        for _ in 0..d.count(12)? {
            d.skip(8)?;
            d.blob()?;
        }
    }
    Ok(())
}

fn skip_map(d: &mut Decoder<'_>, entry: usize) -> Result {
    let count = d.count(entry)?;
    d.skip(count.checked_mul(entry).ok_or_else(ebadmsg)?)
}

impl MdsInfo {
    fn decode(d: &mut Decoder<'_>) -> Result<Option<Self>> {
        d.skip(8)?; // key of the map: the global id again
        let (version, mut d) = d.versioned(10)?;
        let global_id = d.u64()?;
        d.blob()?; // name
        let rank = d.i32()?;
        d.skip(4)?; // incarnation
        let state = MdsState(d.i32()?);
        d.skip(8)?; // state_seq
        if version < 8 {
            return Err(eopnotsupp());
        }
        let addrs = AddrVec::decode(&mut d)?;
        let laggy_since = d.timespec()?;
        d.skip(4)?; // standby_for_rank
        d.blob()?; // standby_for_name
        let export_targets = d.vec(4, Decoder::u32)?;
        // A standby has no rank and no state above zero.
        let (Ok(rank), true) = (u32::try_from(rank), state.0 > 0) else {
            return Ok(None);
        };
        if rank >= MAX_MDS || export_targets.iter().any(|t| *t >= MAX_MDS) {
            return Err(ebadmsg());
        }
        Ok(Some(Self {
            global_id,
            rank,
            state,
            addrs,
            laggy: laggy_since.sec != 0 || laggy_since.nsec != 0,
            export_targets,
        }))
    }
}

impl MdsMap {
    /// Takes the front of an `MMDSMap`: the cluster's identity and the map.
    pub fn decode_message(front: &[u8]) -> Result<(Fsid, Self)> {
        let mut d = Decoder::new(front);
        let fsid = Fsid::decode(&mut d)?;
        let epoch = d.u32()?;
        let map = Self::decode(&mut d.blob_decoder()?)?;
        if map.epoch != epoch {
            return Err(ebadmsg());
        }
        Ok((fsid, map))
    }

    /// Takes a map.
    ///
    /// # Errors
    ///
    /// `EBADMSG` also when two daemons hold one rank.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let (version, mut d) = d.versioned(5)?;
        if version < 4 {
            return Err(eopnotsupp());
        }
        let epoch = d.u32()?;
        d.skip(8)?; // flags, last_failure
        let root = d.u32()?;
        let session_timeout = d.u32()?;
        let session_autoclose = d.u32()?;
        let max_file_size = d.u64()?;
        let max_mds = d.u32()?;
        let mut ranks = KVVec::new();
        // A daemon has at least its key, the head and what is read above.
        for _ in 0..d.count(8 + 6 + 8 + 4 + 12 + 8 + 5 + 8 + 4 + 4 + 4)? {
            if let Some(info) = MdsInfo::decode(&mut d)? {
                ranks.push(info, GFP_KERNEL)?;
            }
        }
        ranks.sort_unstable_by_key(|info: &MdsInfo| info.rank);
        if ranks
            .windows(2)
            .any(|w| matches!(w, [a, b] if a.rank == b.rank))
        {
            return Err(ebadmsg());
        }
        let data_pools = d.vec(8, Decoder::i64)?;
        d.skip(8)?; // CAS pool
        let ev = d.u16()?;
        if ev < 8 {
            return Err(eopnotsupp());
        }
        skip_compat_set(&mut d)?;
        let metadata_pool = d.i64()?;
        d.skip(8 + 8 + 4)?; // created, modified, table server
        let in_ranks = d.vec(4, Decoder::u32)?;
        skip_map(&mut d, 8)?; // inc
        skip_map(&mut d, 12)?; // up
        skip_map(&mut d, 4)?; // failed
        skip_map(&mut d, 4)?; // stopped
        d.skip(4 + 1 + 1 + 1)?; // last failure's OSD epoch, allowed features, inline data
        let enabled = d.bool()?;
        let mut fs_name = KVVec::new();
        fs_name.extend_from_slice(d.blob()?, GFP_KERNEL)?;
        let mut map = Self {
            epoch,
            root,
            session_timeout,
            session_autoclose,
            max_file_size,
            max_mds,
            enabled,
            damaged: false,
            data_pools,
            metadata_pool,
            fs_name,
            required_client_features: 0,
            max_xattr_size: 0,
            ranks,
            in_ranks,
        };
        if ev >= 9 {
            map.damaged = !d.vec(4, Decoder::u32)?.is_empty();
        }
        if ev >= 11 {
            d.blob()?; // balancer
        }
        if ev >= 12 {
            d.skip(4)?; // standby_count_wanted
        }
        if ev >= 13 {
            d.skip(4)?; // old_max_mds
        }
        if ev >= 14 {
            d.skip(1)?; // min_compat_client
        }
        if ev >= 16 {
            map.required_client_features = feature_bits(d.blob()?);
        }
        if ev >= 17 {
            d.blob()?; // bal_rank_mask
        }
        if ev >= 18 {
            map.max_xattr_size = d.u64()?;
        }
        Ok(map)
    }

    /// The daemons that hold ranks, in the order of these.
    pub fn ranks(&self) -> &[MdsInfo] {
        &self.ranks
    }

    /// The daemon of the rank.
    pub fn get(&self, rank: u32) -> Option<&MdsInfo> {
        let at = self.ranks.binary_search_by_key(&rank, |info| info.rank);
        self.ranks.get(at.ok()?)
    }

    /// Whether the rank is part of the file system, with or without a daemon.
    pub fn is_in(&self, rank: u32) -> bool {
        self.in_ranks.contains(&rank)
    }

    /// The state of the rank.
    pub fn state(&self, rank: u32) -> MdsState {
        self.get(rank).map_or(MdsState::DNE, |info| info.state)
    }

    /// Whether the rank's daemon is laggy.
    pub fn is_laggy(&self, rank: u32) -> bool {
        self.get(rank).is_some_and(|info| info.laggy)
    }

    /// The address of the rank's daemon, for msgr1 or msgr2.
    pub fn addr(&self, rank: u32, kind: AddrType) -> Option<EntityAddr> {
        self.get(rank)?.addrs.find(kind)
    }

    /// An active rank, laggy ones only when there is no other; `random` is any
    /// number.
    pub fn choose(&self, random: u32) -> Option<u32> {
        let active = |laggy: bool| {
            let wanted = move |i: &&MdsInfo| i.state >= MdsState::ACTIVE && (laggy || !i.laggy);
            self.ranks.iter().filter(wanted)
        };
        let laggy = active(false).next().is_none();
        let count = u32::try_from(active(laggy).count()).ok()?;
        let at = usize::try_from(random.checked_rem(count)?).ok()?;
        active(laggy).nth(at).map(|info| info.rank)
    }

    /// Whether requests can be served or will be soon: enabled, not damaged, a
    /// rank is active and none that should be there is laggy
    /// (`ceph_mdsmap_is_cluster_available`).
    pub fn is_available(&self) -> bool {
        let active = |i: &MdsInfo| i.state == MdsState::ACTIVE;
        self.enabled
            && !self.damaged
            && !self.in_ranks.iter().any(|rank| self.is_laggy(*rank))
            && self.ranks.iter().any(active)
    }
}

/// The lowest 64 bits of a `feature_bitset_t`'s blocks.
pub(super) fn feature_bits(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .rev()
        .fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
}

/// A map of (rank, state, laggy since) as a monitor encodes it, with rank 0 in it.
#[cfg(any(test, CONFIG_KUNIT))]
pub(crate) fn sample(ranks: &[(i32, i32, u32)], ev: u16) -> Result<KVVec<u8>> {
    use ceph_proto::wire::encode::Encoder;
    let mut e = Encoder::new();
    e.versioned(5, 4, |e| {
        e.u32(7)?
            .u64(0)?
            .u32(0)?
            .u32(60)?
            .u32(300)?
            .u64(1 << 40)?
            .u32(2)?;
        e.length(ranks.len())?;
        for (i, (rank, state, laggy)) in ranks.iter().enumerate() {
            let id = u64::try_from(i).map_err(|_| EINVAL)? + 100;
            e.u64(id)?.versioned(10, 4, |e| {
                e.u64(id)?
                    .blob(b"a")?
                    .i32(*rank)?
                    .u32(1)?
                    .i32(*state)?
                    .u64(3)?;
                AddrVec::encode_one(&EntityAddr::BLANK, e)?;
                e.u32(*laggy)?.u32(0)?.i32(-1)?.blob(b"")?.u32(1)?.u32(1)?;
                e.u64(0)?;
                Ok(())
            })?;
        }
        e.u32(1)?.i64(2)?.i64(-1)?.u16(ev)?;
        for _ in 0..3 {
            e.u64(1)?.u32(1)?.u64(1)?.blob(b"feature")?;
        }
        e.i64(1)?.bytes(&[0; 20])?;
        e.u32(1)?.u32(0)?; // in
        e.u32(1)?.u64(0)?; // inc
        e.u32(1)?.bytes(&[0; 12])?; // up
        e.u64(0)?.u32(0)?.bytes(&[0; 3])?; // failed, stopped, ...
        e.u8(1)?.blob(b"cephfs")?.u32(0)?;
        e.blob(b"")?
            .u32(0)?
            .u32(0)?
            .u8(0)?
            .blob(&[3, 0, 0, 0, 0, 0, 0, 1])?;
        e.blob(b"")?.u64(65536)?.u64(99)?;
        Ok(())
    })?;
    Ok(e.into_vec())
}

#[kunit_tests(ceph_wire_mdsmap)]
mod tests {
    use super::*;
    #[test]
    fn a_map_is_read() -> Result {
        let bytes = sample(&[(-1, -5, 0), (1, 13, 0), (0, 10, 0)], 19)?;
        let map = MdsMap::decode(&mut Decoder::new(&bytes))?;
        assert_eq!((map.epoch, map.session_timeout, map.max_mds), (7, 60, 2));
        assert_eq!(map.ranks().len(), 2);
        assert_eq!(map.state(0), MdsState::RECONNECT);
        assert_eq!(map.state(1), MdsState::ACTIVE);
        assert_eq!(map.state(u32::MAX), MdsState::DNE);
        assert_eq!(map.required_client_features, 3 | 1 << 56);
        assert_eq!(map.max_xattr_size, 65536);
        assert_eq!(&map.fs_name[..], b"cephfs");
        assert!(map.is_available());
        for len in 0..bytes.len() {
            let short = bytes.get(..len).ok_or(EINVAL)?;
            assert!(MdsMap::decode(&mut Decoder::new(short)).is_err());
        }
        Ok(())
    }

    #[test]
    fn active_ranks_are_chosen() -> Result {
        let bytes = sample(&[(0, 13, 5), (1, 13, 0), (2, 10, 0)], 19)?;
        let map = MdsMap::decode(&mut Decoder::new(&bytes))?;
        for random in 0..5 {
            assert_eq!(map.choose(random), Some(1));
        }
        assert!(!map.is_available());
        let none = MdsMap::decode(&mut Decoder::new(&sample(&[(0, 9, 0)], 18)?))?;
        assert_eq!(none.choose(3), None);
        Ok(())
    }

    #[test]
    fn nothing_is_longer_than_what_it_is_in() -> Result {
        let good = sample(&[(0, 13, 0)], 19)?;
        // Where max_mds is, the number of daemons, and the first one's body.
        let (max_mds, count) = (6 + 32, 6 + 36);
        let body = count + 4 + 8 + 6;
        let put = |at: usize, value: u32| -> Result<KVVec<u8>> {
            let mut bytes = KVVec::new();
            bytes.extend_from_slice(&good, GFP_KERNEL)?;
            let place = bytes.get_mut(at..).ok_or(EINVAL)?;
            *place.first_chunk_mut().ok_or(EINVAL)? = value.to_le_bytes();
            Ok(bytes)
        };
        let decode = |bytes: &[u8]| MdsMap::decode(&mut Decoder::new(bytes)).map(|map| map.max_mds);
        assert_eq!(good.get(body + 8..body + 13), Some(&b"\x01\0\0\0a"[..]));
        assert_eq!(decode(&put(max_mds, 9)?), Ok(9));
        // A name that reaches to behind the daemon, the map, or the end of memory.
        for name_len in [100, 1000, i32::MAX as u32, u32::MAX - 8, u32::MAX] {
            assert!(decode(&put(body + 8, name_len)?).is_err());
        }
        // So many daemons are not there.
        assert!(decode(&put(count, u32::MAX)?).is_err());
        // Nothing is allocated for ranks that nobody holds.
        assert_eq!(decode(&put(max_mds, u32::MAX)?), Ok(u32::MAX));
        Ok(())
    }

    #[test]
    fn ranks_are_bounded() -> Result {
        for rank in [MAX_MDS as i32, i32::MAX] {
            let bytes = sample(&[(rank, 13, 0)], 19)?;
            assert!(MdsMap::decode(&mut Decoder::new(&bytes)).is_err());
        }
        Ok(())
    }

    #[test]
    fn one_rank_has_one_daemon() -> Result {
        let bytes = sample(&[(0, 13, 0), (0, 13, 0)], 19)?;
        assert!(MdsMap::decode(&mut Decoder::new(&bytes)).is_err());
        Ok(())
    }
}
