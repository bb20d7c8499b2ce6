// SPDX-License-Identifier: GPL-2.0
//! Tests of OSD maps and of where requests go, on a small map: four OSDs, a pool of
//! two copies, a pool of shards, and a cache tier. (Placement itself is compared with
//! Ceph's own by tools/testing/crush.)
use kernel::prelude::*;

#[kunit_tests(ceph_machine_osd_target)]
pub(super) mod tests {
    use super::super::osd_target::{Context, ObjectName, Outcome, Target};
    use super::super::placements::UpActing;
    use super::*;
    use crate::crush::map::{CrushMap, Tunables, ITEM_NONE};
    use crate::crush::mapper::do_rule;
    use crate::crush::placement::is_split;
    use crate::errno::eopnotsupp;
    use crate::wire::decode::Decoder;
    use crate::wire::encode::Encoder;
    use crate::wire::osd::{flag, SpgId};
    use crate::wire::osdmap::{flags, osd_state, OsdMap};
    use crate::wire::osdmap_inc::Incremental;
    use crate::wire::osdmap_pool::{PgId, Pool};
    use crate::wire::types::{AddrType, AddrVec, EntityAddr};
    use core::net::{IpAddr, Ipv4Addr, SocketAddr};

    const OSDS: u16 = 4;
    pub(in crate::machine) const DATA: i64 = 1;
    pub(in crate::machine) const SHARDS: i64 = 2;
    const TIER: i64 = 3;

    /// A root (straw2) over the OSDs; rule 0 takes the first n of it, rule 1 shards.
    fn crush(root: i32) -> Result<KVVec<u8>> {
        let mut e = Encoder::new();
        e.u32(0x1_0000)?.u32(1)?.u32(2)?.i32(i32::from(OSDS))?;
        e.u32(5)?.i32(-1)?.u16(1)?.u8(5)?.u8(0)?.u32(0x4_0000)?;
        e.u32(u32::from(OSDS))?;
        for osd in 0..i32::from(OSDS) {
            // A cycle if the root shall be in itself.
            e.i32(if osd == 0 { root } else { osd })?;
        }
        for _ in 0..OSDS {
            e.u32(0x1_0000)?;
        }
        for (kind, op) in [(1, 2), (3, 3)] {
            e.u32(1)?.u32(3)?.bytes(&[0, kind, 1, 10])?;
            for (op, arg1) in [(1, -1), (op, 0), (4, 0)] {
                e.u32(op)?.i32(arg1)?.i32(0)?;
            }
        }
        // Names of types, buckets and rules; then tunables.
        e.u32(1)?
            .i32(1)?
            .blob(b"root")?
            .u32(1)?
            .i32(-1)?
            .blob(b"default")?;
        e.u32(0)?;
        e.u32(0)?
            .u32(0)?
            .u32(50)?
            .u32(1)?
            .u8(1)?
            .u8(1)?
            .u32(62)?
            .u8(1)?;
        Ok(e.into_vec())
    }

    fn addr(osd: u16) -> EntityAddr {
        let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        EntityAddr {
            kind: AddrType::MSGR2,
            nonce: 1,
            sock: Some(SocketAddr::new(ip, 6800 + osd)),
        }
    }

    fn pool(e: &mut Encoder, kind: u8, rule: u8, pg_num: u32, read_tier: i64) -> Result {
        pool_of((14, 5), e, kind, rule, pg_num, read_tier)
    }

    /// As a release encodes it that knows of fields up to a version; what is beyond
    /// those that we read is noise.
    fn pool_of(
        (version, compat): (u8, u8),
        e: &mut Encoder,
        kind: u8,
        rule: u8,
        pg_num: u32,
        read_tier: i64,
    ) -> Result {
        e.versioned(version, compat, |e| {
            e.u8(kind)?
                .u8(2)?
                .u8(rule)?
                .u8(2)?
                .u32(pg_num)?
                .u32(pg_num)?;
            e.bytes(&[0; 24])?.u32(0)?.u32(0)?.u64(0)?.u64(1)?.u32(0)?;
            e.u8(1)?.bytes(&[0; 16])?.u32(0)?.bytes(&[0; 9])?;
            e.i64(read_tier)?.i64(-1)?.u32(0)?;
            e.u8(1)?
                .u8(1)?
                .blob(&[])?
                .bytes(&[0; 12])?
                .bytes(&[0; 32])?;
            e.blob(b"profile")?;
            for (since, size) in [
                (15, 4),
                (16, 4),
                (17, 8),
                (19, 4),
                (20, 4),
                (21, 1),
                (22, 1),
                (23, 8),
            ] {
                if version >= since {
                    e.bytes(&[9; 8][..size])?;
                }
            }
            if version >= 24 {
                e.versioned(2, 1, |e| e.u32(0).map(|_| ()))?;
            }
            if version >= 25 {
                e.u32(77)?;
            }
            if version >= 32 {
                // Applications, times and numbers, merges, stretch mode, shards 1 and 2.
                e.u32(0)?.bytes(&[0xee; 33])?;
                e.versioned(1, 1, |e| e.bytes(&[0xee; 9]).map(|_| ()))?;
                e.bool(false)?.bytes(&[6, 0])?;
            }
            for _ in version.clamp(25, 32)..version {
                e.bytes(&[0xee; 5])?;
            }
            Ok(())
        })?;
        Ok(())
    }

    #[test]
    fn pools_of_all_releases() -> Result {
        // Up to Quincy, Reef, Squid and Tentacle, and what nobody has thought of.
        for version in [14, 15, 16, 24, 25, 29, 30, 31, 32, 255] {
            let mut e = Encoder::new();
            pool_of((version, 9), &mut e, 1, 7, 32, 5)?;
            e.u32(0xabcd)?;
            let mut d = Decoder::new(e.as_slice());
            let pool = Pool::decode(4, &mut d)?;
            assert_eq!((pool.crush_rule, pool.pg_num, pool.read_tier), (7, 32, 5));
            let since = match version {
                ..15 => 0,
                15..25 => 0x0909_0909,
                _ => 77,
            };
            assert_eq!((pool.last_force_resend, d.u32()?), (since, 0xabcd));
            let nonprimary = if version < 32 { 0 } else { 6 };
            assert_eq!(pool.nonprimary_shards, nonprimary);
        }
        let mut e = Encoder::new();
        pool_of((32, 10), &mut e, 1, 7, 32, 5)?;
        let refused = Pool::decode(4, &mut Decoder::new(e.as_slice())).err();
        assert_eq!(refused, Some(eopnotsupp()));
        let mut e = Encoder::new();
        pool_of((13, 5), &mut e, 1, 7, 32, 5)?;
        assert!(Pool::decode(4, &mut Decoder::new(e.as_slice())).is_err());
        Ok(())
    }

    #[test]
    fn maps_of_all_releases() -> Result {
        let pg = PgId {
            pool: DATA,
            seed: 3,
        };
        let primaries = |e: &mut Encoder| -> Result {
            e.u32(1)?;
            pg.encode(e)?;
            e.i32(2)?;
            Ok(())
        };
        // Nautilus to Quincy; Reef on, for those who know of such primaries; later.
        for version in [8, 9, 10, 11, 255] {
            let map = OsdMap::decode(&full_of(version, 0, 8, primaries)?)?;
            assert_eq!((map.epoch, map.pools().len()), (10, 3));
            assert_eq!(map.pg_upmap_primaries().is_empty(), version < 10);
            for version in [7, 8, 9, 10, 255] {
                let next = apply(&map, &incremental_of(version, 11, &[(1, 0)], &[])?)?;
                assert_eq!((next.epoch, next.osd_is_up(1)), (11, false));
            }
        }
        assert!(OsdMap::decode(&full_of(7, 0, 8, primaries)?).is_err());
        assert!(Incremental::decode(&incremental_of(6, 11, &[], &[])?).is_err());
        // One that only a newer client understands.
        let mut e = Encoder::new();
        e.versioned(9, 8, |_| Ok(()))?;
        assert_eq!(OsdMap::decode(e.as_slice()).err(), Some(eopnotsupp()));
        Ok(())
    }

    fn wrapped(version: u8, data: impl FnOnce(&mut Encoder) -> Result) -> Result<KVVec<u8>> {
        let mut e = Encoder::new();
        e.versioned(8, 7, |e| e.versioned(version, 1, data).map(|_| ()))?;
        Ok(e.into_vec())
    }

    pub(in crate::machine) fn full(map_flags: u32, pg_num: u32) -> Result<KVVec<u8>> {
        full_of(9, map_flags, pg_num, |_| Ok(()))
    }

    /// With `primaries` in a version that has them, and noise after what we know.
    fn full_of(
        version: u8,
        map_flags: u32,
        pg_num: u32,
        primaries: impl Fn(&mut Encoder) -> Result,
    ) -> Result<KVVec<u8>> {
        wrapped(version, |e| {
            e.bytes(&[7; 16])?
                .u32(10)?
                .bytes(&[0; 16])?
                .u32(3)?
                .i64(DATA)?;
            pool(e, 1, 0, pg_num, -1)?;
            e.i64(SHARDS)?;
            pool(e, 3, 1, pg_num, -1)?;
            e.i64(TIER)?;
            pool(e, 1, 0, pg_num, DATA)?;
            e.u32(1)?.i64(DATA)?.blob(b"data")?.u32(3)?.u32(map_flags)?;
            let osds = u32::from(OSDS);
            e.u32(osds)?.u32(osds)?;
            for _ in 0..OSDS {
                e.u32(osd_state::EXISTS | osd_state::UP)?;
            }
            e.u32(osds)?;
            for _ in 0..OSDS {
                e.u32(0x1_0000)?;
            }
            e.u32(osds)?;
            for osd in 0..OSDS {
                AddrVec::encode_one(&addr(osd), e)?;
            }
            e.u32(0)?.u32(0)?.u32(0)?.blob(&crush(0)?)?;
            e.u32(0)?.u32(0)?.u32(0)?.u32(1)?.u32(0)?.u32(0)?;
            if version >= 9 {
                e.bytes(&[0; 16])?;
            }
            if version >= 10 {
                primaries(e)?;
            }
            for _ in 10..version {
                e.bytes(&[0xee; 5])?;
            }
            Ok(())
        })
    }

    /// What changes: an OSD's state flips, a group's acting set.
    pub(in crate::machine) fn incremental(
        epoch: u32,
        flip: &[(i32, u32)],
        temp: &[(PgId, &[i32])],
    ) -> Result<KVVec<u8>> {
        incremental_of(8, epoch, flip, temp)
    }

    fn incremental_of(
        version: u8,
        epoch: u32,
        flip: &[(i32, u32)],
        temp: &[(PgId, &[i32])],
    ) -> Result<KVVec<u8>> {
        incremental_with(version, epoch, (&[], &[]), flip, temp)
    }

    /// Pools that come, of which the rule is that of the data, and pools that go.
    pub(in crate::machine) fn incremental_pools(
        epoch: u32,
        come: &[i64],
        go: &[i64],
    ) -> Result<KVVec<u8>> {
        incremental_with(8, epoch, (come, go), &[], &[])
    }

    fn incremental_with(
        version: u8,
        epoch: u32,
        (come, go): (&[i64], &[i64]),
        flip: &[(i32, u32)],
        temp: &[(PgId, &[i32])],
    ) -> Result<KVVec<u8>> {
        wrapped(version, |e| {
            e.bytes(&[7; 16])?.u32(epoch)?.u64(0)?.i64(-1)?.i32(-1)?;
            e.u32(0)?.u32(0)?.i32(-1)?.length(come.len())?;
            for id in come {
                e.i64(*id)?;
                pool(e, 1, 0, 8, -1)?;
            }
            e.u32(0)?.length(go.len())?;
            for id in go {
                e.i64(*id)?;
            }
            e.u32(0)?;
            e.length(flip.len())?;
            for (osd, bits) in flip {
                e.i32(*osd)?.u32(*bits)?;
            }
            e.u32(0)?.length(temp.len())?;
            for (pg, osds) in temp {
                pg.encode(e)?;
                e.length(osds.len())?;
                for osd in *osds {
                    e.i32(*osd)?;
                }
            }
            // Primaries, affinities, profiles, upmaps, snapshots, times.
            for _ in 0..10 {
                e.u32(0)?;
            }
            if version >= 8 {
                e.bytes(&[0; 16])?;
            }
            if version >= 9 {
                e.u32(0)?.u32(0)?;
            }
            for _ in 9..version {
                e.bytes(&[0xee; 5])?;
            }
            Ok(())
        })
    }

    pub(in crate::machine) fn apply(map: &OsdMap, bytes: &[u8]) -> Result<OsdMap> {
        map.apply(Incremental::decode(bytes)?)
    }

    pub(in crate::machine) const NEVER: Context<'_> = Context {
        barrier: 0,
        pick: &|_, _| 0,
        place: &UpActing::of,
    };

    fn target(pool: i64, flags: u32) -> Target {
        Target::new(
            pool,
            KVec::new(),
            ObjectName::of_file(0x100_0000_0001, 0),
            flags,
        )
    }

    #[test]
    fn names_of_objects() -> Result {
        let name = ObjectName::of_file(0x100_0000_0001, 0x12);
        assert_eq!(name.as_bytes(), b"10000000001.00000012");
        let name = ObjectName::of_file(u64::MAX, u64::MAX);
        assert_eq!(name.as_bytes(), b"ffffffffffffffff.ffffffffffffffff");
        assert_eq!(ObjectName::of_file(0, 0).as_bytes(), b"0.00000000");
        let name = ObjectName::of_file(0x9_abcd_ef01, 0x1_2345_6789);
        assert_eq!(name.as_bytes(), b"9abcdef01.123456789");
        assert!(ObjectName::new(&[b'a'; ObjectName::MAX + 1]).is_err());
        Ok(())
    }

    #[test]
    fn a_map_and_what_follows() -> Result {
        let map = OsdMap::decode(&full(0, 8)?)?;
        assert_eq!((map.epoch, map.max_osd(), map.pools().len()), (10, 4, 3));
        assert_eq!(map.osd_addr(3), addr(3));
        assert_eq!(map.pool_by_name(b"data").map(|pool| pool.id), Some(DATA));
        assert!(map.osd_is_up(0) && !map.osd_is_up(4) && !map.osd_is_up(-1));
        assert_eq!(
            map.crush()
                .locality(2, |k, n| k == b"root" && n == b"default"),
            Some(1)
        );

        let pg = PgId {
            pool: DATA,
            seed: 3,
        };
        let next = apply(&map, &incremental(11, &[(1, 0)], &[(pg, &[2, 3])])?)?;
        assert!(map.osd_is_up(1) && !next.osd_is_up(1) && next.osd_exists(1));
        let pool = next.pool(DATA).ok_or(ENOENT)?;
        let (_, acting) = next.pg_to_up_acting(pool, pg);
        assert_eq!((acting.as_slice(), acting.primary), (&[2, 3][..], 2));
        // Removed again; an OSD that is destroyed is no more.
        let gone = incremental(12, &[(1, osd_state::EXISTS)], &[(pg, &[])])?;
        let last = apply(&next, &gone)?;
        assert!(last.pg_temp().is_empty() && !last.osd_exists(1));
        assert!(last.osd_addr(1).is_blank());
        // Not the next one, or of OSDs that there are not.
        assert!(apply(&next, &incremental(11, &[], &[])?).is_err());
        assert!(apply(&next, &incremental(12, &[(4, 1)], &[])?).is_err());
        assert!(apply(&next, &incremental(12, &[(-1, 1)], &[])?).is_err());
        Ok(())
    }

    #[test]
    fn a_whole_map_in_an_incremental_one() -> Result {
        let holding = |full: &[u8]| {
            wrapped(8, |e| {
                e.bytes(&[7; 16])?.u32(10)?.u64(0)?.i64(-1)?.i32(-1)?;
                e.blob(full).map(|_| ())
            })
        };
        let mut bytes = full(0, 8)?;
        let mut map = OsdMap::decode(&bytes)?;
        assert!(apply(&map, &holding(&bytes)?).is_err());
        map.epoch = 9;
        assert_eq!(apply(&map, &holding(&bytes)?)?.epoch, 10);
        // Of another cluster: its identity is behind the heads of wrapper and data.
        *bytes.get_mut(12).ok_or(EINVAL)? = 8;
        assert!(apply(&map, &holding(&bytes)?).is_err());
        Ok(())
    }

    #[test]
    fn truncated_maps_are_refused() -> Result {
        let bytes = full(0, 8)?;
        for len in 0..bytes.len() {
            assert!(OsdMap::decode(bytes.get(..len).ok_or(EINVAL)?).is_err());
        }
        let bytes = incremental(11, &[(1, 0)], &[])?;
        for len in 0..bytes.len() {
            assert!(Incremental::decode(bytes.get(..len).ok_or(EINVAL)?).is_err());
        }
        let bytes = crush(0)?;
        assert_eq!(CrushMap::decode(&bytes)?.tunables.choose_total_tries, 50);
        // Old maps end before their tunables.
        let old = bytes.get(..bytes.len() - 23).ok_or(EINVAL)?;
        assert_eq!(CrushMap::decode(old)?.tunables, Tunables::LEGACY);
        for len in 0..old.len() {
            assert!(CrushMap::decode(old.get(..len).ok_or(EINVAL)?).is_err());
        }
        Ok(())
    }

    #[test]
    fn a_cycle_ends() -> Result {
        let map = CrushMap::decode(&crush(-1)?)?;
        let mut result = [0; 4];
        let found = do_rule(&map, 0, 7, &mut result, &|_| 0, None);
        assert_eq!(found, 0);
        let found = do_rule(&map, 1, 7, &mut result, &|_| 0, None);
        assert_eq!((found, result), (4, [ITEM_NONE; 4]));
        Ok(())
    }

    #[test]
    fn sent_again_when_the_primary_changes() -> Result {
        let map = OsdMap::decode(&full(0, 8)?)?;
        let mut t = target(DATA, flag::READ);
        assert_eq!(t.update(&map, &NEVER), Outcome::Send);
        assert_eq!(
            (t.osd, t.epoch, t.spg.shard),
            (t.up_acting().acting.primary, 10, SpgId::NO_SHARD)
        );
        assert!(t.osd >= 0);
        assert_eq!(t.update(&map, &NEVER), Outcome::Unchanged);
        let first = t.osd;
        let down = apply(&map, &incremental(11, &[(first, 0)], &[])?)?;
        assert_eq!(t.update(&down, &NEVER), Outcome::Send);
        assert!(t.osd >= 0 && t.osd != first);
        // Another OSD's end is of no interest, except to a read from a replica.
        let other = (0..4).find(|osd| !t.up_acting().up.as_slice().contains(osd) && *osd != first);
        let other = other.ok_or(ENOENT)?;
        let unrelated = apply(&down, &incremental(12, &[(other, 0)], &[])?)?;
        assert_eq!(t.update(&unrelated, &NEVER), Outcome::Unchanged);
        // Nobody is left.
        assert_eq!(t.up_acting().up.as_slice(), &[t.osd]);
        let all = [(t.osd, 0)];
        let none = apply(&unrelated, &incremental(13, &all, &[])?)?;
        assert_eq!(t.update(&none, &NEVER), Outcome::Send);
        assert_eq!(t.osd, -1);
        Ok(())
    }

    #[test]
    fn shards_that_cannot_be_the_primary() -> Result {
        let map = OsdMap::decode(&full(0, 8)?)?;
        let pg = PgId {
            pool: SHARDS,
            seed: 3,
        };
        // 3+1 shards: the order of pg_temp is that of shards 0, 3, 1, 2.
        let optimized = Pool {
            size: 4,
            flags: Pool::HASHPSPOOL | Pool::EC_OPTIMIZATIONS,
            nonprimary_shards: 0b0110,
            ..*map.pool(SHARDS).ok_or(ENOENT)?
        };
        let plain = Pool {
            flags: Pool::HASHPSPOOL,
            ..optimized
        };
        let placed = |pool: &Pool, stored: &[i32]| -> Result<([i32; 4], i32, Option<usize>)> {
            let map = apply(&map, &incremental(11, &[(0, 0)], &[(pg, stored)])?)?;
            let (_, acting) = map.pg_to_up_acting(pool, pg);
            Ok((
                acting.as_slice().try_into().map_err(|_| EINVAL)?,
                acting.primary,
                map.primary_shard(pool, pg, &acting),
            ))
        };
        // OSD 0 is down, and was shard 0: shard 3 serves, not 1.
        let none = ITEM_NONE;
        assert_eq!(
            placed(&optimized, &[0, 3, 1, 2])?,
            ([none, 1, 2, 3], 3, Some(3))
        );
        assert_eq!(
            placed(&plain, &[0, 3, 1, 2])?,
            ([none, 3, 1, 2], 3, Some(1))
        );
        // Shard 0 serves, though its OSD has shard 1, too.
        assert_eq!(
            placed(&optimized, &[2, 3, 2, 1])?,
            ([2, 2, 1, 3], 2, Some(0))
        );
        // Shard 3 of the OSD serves, though shard 1 comes before it.
        assert_eq!(
            placed(&optimized, &[0, 2, 2, 1])?,
            ([none, 2, 1, 2], 2, Some(3))
        );
        // No pg_temp: as CRUSH has it.
        let (_, acting) = map.pg_to_up_acting(&optimized, pg);
        let shard = map.primary_shard(&optimized, pg, &acting);
        assert_eq!(shard, acting.position(acting.primary));
        Ok(())
    }

    #[test]
    fn shards() -> Result {
        let map = OsdMap::decode(&full(0, 8)?)?;
        let mut t = target(SHARDS, flag::READ);
        assert_eq!(t.update(&map, &NEVER), Outcome::Send);
        assert_eq!((t.osd, t.spg.shard), (t.up_acting().up.as_slice()[0], 0));
        let down = apply(&map, &incremental(11, &[(t.osd, 0)], &[])?)?;
        assert_eq!(t.update(&down, &NEVER), Outcome::Send);
        assert_eq!(
            (t.up_acting().up.as_slice()[0], t.osd),
            (ITEM_NONE, t.up_acting().up.as_slice()[1])
        );
        assert_eq!(t.spg.shard, 1);
        Ok(())
    }

    #[test]
    fn paused_and_barred() -> Result {
        let paused = |map_flags, wants, barrier| -> Result<bool> {
            let map = OsdMap::decode(&full(map_flags, 8)?)?;
            let mut t = target(DATA, wants);
            t.update(&map, &NEVER);
            Ok(t.should_pause(&map, barrier))
        };
        let (reads, writes) = (flag::READ, flag::WRITE);
        for (flags, wants, pauses) in [
            (0, reads, false),
            (0, writes, false),
            (flags::PAUSERD, reads, true),
            (flags::PAUSERD, writes, false),
            (flags::PAUSEWR, reads, false),
            (flags::PAUSEWR, writes, true),
            (flags::FULL, reads, false),
            (flags::FULL, writes, true),
        ] {
            assert_eq!(paused(flags, wants, 10)?, pauses);
            // A map of a later epoch is waited for.
            assert!(paused(flags, wants, 11)?);
        }
        Ok(())
    }

    #[test]
    fn tiers_and_redirects() -> Result {
        let map = OsdMap::decode(&full(0, 8)?)?;
        let mut t = target(TIER, flag::READ);
        t.update(&map, &NEVER);
        assert_eq!(t.pool, DATA);
        t.redirected(TIER);
        assert_eq!(t.update(&map, &NEVER), Outcome::Send);
        assert_eq!(
            (t.pool, t.flags & flag::REDIRECTED),
            (TIER, flag::REDIRECTED)
        );
        let mut t = target(77, flag::READ);
        assert_eq!(t.update(&map, &NEVER), Outcome::PoolGone);
        assert_eq!(t.osd, -1);
        Ok(())
    }

    #[test]
    fn replicas() -> Result {
        let map = OsdMap::decode(&full(0, 8)?)?;
        let second = Context {
            pick: &|_, _| 1,
            ..NEVER
        };
        let mut t = target(DATA, flag::READ | flag::BALANCE_READS);
        t.update(&map, &second);
        assert_eq!(t.osd, t.up_acting().acting.as_slice()[1]);
        t.ask_primary();
        assert_eq!(t.update(&map, &second), Outcome::Send);
        assert_eq!(t.osd, t.up_acting().acting.primary);
        for what in [flag::WRITE, flag::READ | flag::WRITE] {
            let mut t = target(DATA, what | flag::BALANCE_READS | flag::LOCALIZE_READS);
            t.update(&map, &second);
            assert_eq!(t.osd, t.up_acting().acting.primary);
        }
        Ok(())
    }

    #[test]
    fn splits() -> Result {
        let pg = |seed| PgId { pool: 1, seed };
        assert!(is_split(pg(0), 8, 16) && is_split(pg(7), 8, 16));
        assert!(is_split(pg(0), 8, 9) && !is_split(pg(1), 8, 9));
        assert!(!is_split(pg(0), 8, 8) && !is_split(pg(0), 16, 8));
        assert!(is_split(pg(0), 1, 2));
        // The request is sent again if its group gave up objects.
        let map = OsdMap::decode(&full(0, 1)?)?;
        let mut t = target(DATA, flag::READ);
        t.update(&map, &NEVER);
        assert_eq!(
            t.update(&OsdMap::decode(&full(0, 8)?)?, &NEVER),
            Outcome::Send
        );
        // And if its group is merged with another: none is left but the first.
        assert!(t.spg.pg.seed != 0);
        assert_eq!(t.update(&map, &NEVER), Outcome::Send);
        assert_eq!(t.spg.pg.seed, 0);
        Ok(())
    }

    #[test]
    #[cfg(not(CONFIG_RUST))]
    fn memory_is_bounded() -> Result {
        kernel::host::check_decoder(&full(0, 8)?, OsdMap::decode);
        kernel::host::check_decoder(&crush(0)?, CrushMap::decode);
        let pg = PgId {
            pool: DATA,
            seed: 3,
        };
        let bytes = incremental(11, &[(1, 0)], &[(pg, &[2, 3])])?;
        kernel::host::check_decoder(&bytes, Incremental::decode);
        // Maps that were damaged may be used, too.
        let map = full(0, 8)?;
        for at in 0..map.len() {
            let mut bad = KVVec::new();
            bad.extend_from_slice(&map, GFP_KERNEL)?;
            bad[at] ^= 0xff;
            if let Ok(map) = OsdMap::decode(&bad) {
                target(DATA, flag::READ).update(&map, &NEVER);
                target(SHARDS, flag::READ).update(&map, &NEVER);
                let _ = apply(&map, &bytes);
            }
        }
        Ok(())
    }
}
