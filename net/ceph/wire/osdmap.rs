// SPDX-License-Identifier: GPL-2.0
//! `OSDMap`: which OSDs there are, and where placement groups go.
//!
//! Encoding: `OSDMap::encode` of Ceph, a wrapper (v8, compat 7) around the data for
//! clients (v8 to v10 here, later ones by their tail), data for OSDs, and a CRC. A
//! map is a value: an incremental map makes a new one, which shares with the old one
//! what stays the same.
use kernel::prelude::*;
use kernel::sync::Arc;

use super::decode::Decoder;
use super::flat_map::FlatMap;
use super::osd_table::OsdTable;
use super::osdmap_pool::{PgId, Pool};
use super::types::{AddrType, AddrVec, EntityAddr, Fsid, Timespec};
use crate::crush::map::CrushMap;
use crate::errno::ebadmsg;

/// Largest number of OSDs in a set (`CEPH_PG_MAX_SIZE`).
pub const PG_MAX_SIZE: usize = 32;

/// Oldest and newest compat versions: of the wrapper, of the client's data.
pub(super) const WRAPPER_COMPAT: u8 = 7;
pub(super) const CLIENT_COMPAT: u8 = 1;

/// Bits of an OSD's state.
pub mod osd_state {
    /// It is part of the cluster.
    pub const EXISTS: u32 = 1 << 0;
    /// It is running.
    pub const UP: u32 = 1 << 1;
    /// It was marked out without being asked.
    pub const AUTOOUT: u32 = 1 << 2;
    /// It was never in.
    pub const NEW: u32 = 1 << 3;
}

/// Flags of the map.
pub mod flags {
    /// Nothing may be written.
    pub const FULL: u32 = 1 << 1;
    /// Reads wait.
    pub const PAUSERD: u32 = 1 << 2;
    /// Writes wait.
    pub const PAUSEWR: u32 = 1 << 3;
    /// Objects are sorted by their bits.
    pub const SORTBITWISE: u32 = 1 << 15;
    /// Recovery deletes objects.
    pub const RECOVERY_DELETES: u32 = 1 << 19;
}

/// Weight of an OSD that takes all of its share.
pub const OSD_IN: u32 = 0x1_0000;

/// Affinity of an OSD that has none set.
pub const DEFAULT_PRIMARY_AFFINITY: u32 = 0x1_0000;

/// A map of the OSDs.
pub struct OsdMap {
    /// Cluster.
    pub fsid: Fsid,
    /// Version of the map.
    pub epoch: u32,
    /// When it was made.
    pub modified: Timespec,
    /// [`flags`].
    pub flags: u32,
    pub(super) pools: Arc<KVVec<Pool>>,
    pub(super) pool_names: Arc<FlatMap<i64, u8>>,
    pub(super) states: OsdTable<u32>,
    pub(super) weights: OsdTable<u32>,
    pub(super) addrs: OsdTable<EntityAddr>,
    /// Empty if all have the default.
    pub(super) affinities: OsdTable<u32>,
    pub(super) pg_temp: Arc<FlatMap<PgId, i32>>,
    pub(super) primary_temp: Arc<FlatMap<PgId, i32>>,
    pub(super) pg_upmap: Arc<FlatMap<PgId, i32>>,
    pub(super) pg_upmap_items: Arc<FlatMap<PgId, (i32, i32)>>,
    pub(super) pg_upmap_primaries: Arc<FlatMap<PgId, i32>>,
    pub(super) crush: Arc<CrushMap>,
}

impl OsdMap {
    /// Decodes a full map.
    ///
    /// # Errors
    ///
    /// `EBADMSG` for malformed bytes or an encoding older than Nautilus',
    /// `EOPNOTSUPP` for one that is too new, `ENOMEM`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        Self::decode_for(AddrType::MSGR2, bytes)
    }

    /// As [`Self::decode`], with the addresses of the OSDs for msgr1 or msgr2.
    ///
    /// # Errors
    ///
    /// As [`Self::decode`].
    pub fn decode_for(kind: AddrType, bytes: &[u8]) -> Result<Self> {
        let (version, mut body) = client_data(bytes, 8)?;
        let d = &mut body;
        let fsid = Fsid::decode(d)?;
        let epoch = d.u32()?;
        d.timespec()?; // Created.
        let modified = d.timespec()?;
        let pools = decode_pools(d)?;
        let pool_names = FlatMap::decode_names(d, 8, Decoder::i64)?;
        d.skip(4)?; // Largest id of a pool.
        let flags = d.u32()?;

        // Each OSD has a state, a weight and an address vector.
        let max_osd = d.count(4 + 4 + 5)?;
        let states = decode_counted(d, max_osd, 4, Decoder::u32)?;
        let weights = decode_counted(d, max_osd, 4, Decoder::u32)?;
        let addrs = decode_counted(d, max_osd, 5, |d| decode_addr(kind, d))?;

        let pg_temp = decode_osds(d)?;
        let primary_temp = FlatMap::decode_single(d, 21, PgId::decode, Decoder::i32)?;
        let affinities = match d.count(4)? {
            n if n == 0 || n == max_osd => OsdTable::decode(d, n, Decoder::u32)?,
            _ => return Err(ebadmsg()),
        };
        let crush = Arc::new(CrushMap::decode(d.blob()?)?, GFP_KERNEL)?;
        skip_profiles(d)?;
        let pg_upmap = decode_osds(d)?;
        let pg_upmap_items = decode_pairs(d)?;
        d.skip(4)?; // Version of the CRUSH map.
        skip_snaps(d)?; // New removed snapshots,
        skip_snaps(d)?; // and new purged ones.
        let mut pg_upmap_primaries = FlatMap::new();
        if version >= 9 {
            d.skip(16)?; // Last time that an OSD went up, and in.
        }
        if version >= 10 {
            pg_upmap_primaries = FlatMap::decode_single(d, 21, PgId::decode, Decoder::i32)?;
        }
        Ok(Self {
            fsid,
            epoch,
            modified,
            flags,
            pools: Arc::new(pools, GFP_KERNEL)?,
            pool_names: Arc::new(pool_names, GFP_KERNEL)?,
            states,
            weights,
            addrs,
            affinities,
            pg_temp: Arc::new(pg_temp, GFP_KERNEL)?,
            primary_temp: Arc::new(primary_temp, GFP_KERNEL)?,
            pg_upmap: Arc::new(pg_upmap, GFP_KERNEL)?,
            pg_upmap_items: Arc::new(pg_upmap_items, GFP_KERNEL)?,
            pg_upmap_primaries: Arc::new(pg_upmap_primaries, GFP_KERNEL)?,
            crush,
        })
    }

    /// All pools by id.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// The pool with the id.
    pub fn pool(&self, id: i64) -> Option<&Pool> {
        let at = self.pools.binary_search_by(|pool| pool.id.cmp(&id));
        self.pools.get(at.ok()?)
    }

    /// The name of a pool.
    pub fn pool_name(&self, id: i64) -> Option<&[u8]> {
        self.pool_names.get(&id)
    }

    /// The pool of the name.
    pub fn pool_by_name(&self, name: &[u8]) -> Option<&Pool> {
        let (id, _) = self.pool_names.iter().find(|(_, n)| *n == name)?;
        self.pool(*id)
    }

    /// One more than the largest possible id of an OSD.
    pub fn max_osd(&self) -> usize {
        self.states.len()
    }

    /// [`osd_state`] of an OSD; 0 for one that is not in the map.
    #[inline]
    pub fn osd_state(&self, osd: i32) -> u32 {
        self.states.get(osd).unwrap_or(0)
    }

    /// Whether the OSD is part of the cluster.
    #[inline]
    pub fn osd_exists(&self, osd: i32) -> bool {
        self.osd_state(osd) & osd_state::EXISTS != 0
    }

    /// Whether the OSD is running.
    #[inline]
    pub fn osd_is_up(&self, osd: i32) -> bool {
        let state = self.osd_state(osd);
        state & osd_state::EXISTS != 0 && state & osd_state::UP != 0
    }

    /// Whether an OSD of the map is out: its weight is 0.
    #[inline]
    pub(crate) fn osd_is_out(&self, osd: i32) -> bool {
        self.weights.get(osd) == Some(0)
    }

    /// The weight of an OSD, 16.16 fixed point.
    pub fn osd_weight(&self, osd: i32) -> u32 {
        self.weights.get(osd).unwrap_or(0)
    }

    /// The msgr2 address of an OSD; blank if it has none.
    pub fn osd_addr(&self, osd: i32) -> EntityAddr {
        self.addrs.get(osd).unwrap_or(EntityAddr::BLANK)
    }

    /// How gladly an OSD is primary, 16.16 fixed point.
    #[inline]
    pub fn primary_affinity(&self, osd: i32) -> u32 {
        self.affinities.get(osd).unwrap_or(DEFAULT_PRIMARY_AFFINITY)
    }

    /// Whether no OSD has an affinity set.
    pub(crate) fn affinities_are_default(&self) -> bool {
        self.affinities.is_empty()
    }

    /// Acting sets that OSDs asked for.
    pub fn pg_temp(&self) -> &FlatMap<PgId, i32> {
        &self.pg_temp
    }

    /// Primaries that OSDs asked for.
    pub fn primary_temp(&self) -> &FlatMap<PgId, i32> {
        &self.primary_temp
    }

    /// Sets that replace what CRUSH says.
    pub fn pg_upmap(&self) -> &FlatMap<PgId, i32> {
        &self.pg_upmap
    }

    /// Single OSDs that replace others in what CRUSH says.
    pub fn pg_upmap_items(&self) -> &FlatMap<PgId, (i32, i32)> {
        &self.pg_upmap_items
    }

    /// OSDs that are moved to the front of what CRUSH says.
    pub fn pg_upmap_primaries(&self) -> &FlatMap<PgId, i32> {
        &self.pg_upmap_primaries
    }

    /// The CRUSH map.
    pub fn crush(&self) -> &CrushMap {
        &self.crush
    }

    /// Whether all of the flags are set.
    pub fn has_flags(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }
}

/// Opens the wrapper and returns the version and body of the client's data.
pub(super) fn client_data(bytes: &[u8], least: u8) -> Result<(u8, Decoder<'_>)> {
    let (wrapper, mut body) = Decoder::new(bytes).versioned(WRAPPER_COMPAT)?;
    let (version, data) = body.versioned(CLIENT_COMPAT)?;
    if wrapper < 7 || version < least {
        return Err(ebadmsg());
    }
    Ok((version, data))
}

/// Takes an address vector and returns its address of that kind.
///
/// A daemon without one is no reason to refuse the map: blank, so that only it is
/// out of reach.
pub(super) fn decode_addr(kind: AddrType, d: &mut Decoder<'_>) -> Result<EntityAddr> {
    let addrs = AddrVec::decode(d)?;
    Ok(addrs.find(kind).unwrap_or(EntityAddr::BLANK))
}

/// Takes a count, which must be that of the OSDs, and their values.
fn decode_counted<'a, T: Copy>(
    d: &mut Decoder<'a>,
    max_osd: usize,
    min_size: usize,
    value: impl Fn(&mut Decoder<'a>) -> Result<T>,
) -> Result<OsdTable<T>> {
    match d.count(min_size)? == max_osd {
        true => OsdTable::decode(d, max_osd, value),
        false => Err(ebadmsg()),
    }
}

/// Takes pools, which ascend by id.
pub(super) fn decode_pools(d: &mut Decoder<'_>) -> Result<KVVec<Pool>> {
    let pools = d.vec(100, |d| {
        let id = d.i64()?;
        Pool::decode(id, d)
    })?;
    match pools.is_sorted_by(|a, b| a.id < b.id) {
        true => Ok(pools),
        false => Err(ebadmsg()),
    }
}

/// Takes groups with sets of OSDs.
pub(super) fn decode_osds(d: &mut Decoder<'_>) -> Result<FlatMap<PgId, i32>> {
    let sizes = (PgId::SIZE, 4);
    FlatMap::decode(d, sizes, PG_MAX_SIZE, PgId::decode, Decoder::i32)
}

/// Takes groups with pairs of OSDs.
pub(super) fn decode_pairs(d: &mut Decoder<'_>) -> Result<FlatMap<PgId, (i32, i32)>> {
    let sizes = (PgId::SIZE, 8);
    FlatMap::decode(d, sizes, PG_MAX_SIZE, PgId::decode, |d| {
        Ok((d.i32()?, d.i32()?))
    })
}

/// Passes over the profiles of erasure codes.
pub(super) fn skip_profiles(d: &mut Decoder<'_>) -> Result {
    for _ in 0..d.count(8)? {
        d.blob()?;
        for _ in 0..d.count(8)? {
            d.blob()?;
            d.blob()?;
        }
    }
    Ok(())
}

/// Passes over pools with sets of snapshots.
pub(super) fn skip_snaps(d: &mut Decoder<'_>) -> Result {
    for _ in 0..d.count(12)? {
        d.skip(8)?;
        for _ in 0..d.count(16)? {
            d.skip(16)?;
        }
    }
    Ok(())
}
