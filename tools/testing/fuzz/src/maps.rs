// SPDX-License-Identifier: GPL-2.0
//! OSD maps: decoding, incremental maps on top, and where objects go with them.
use crate::harness::{Events, Input};
use ceph_proto::crush::map::{CrushMap, ITEM_NONE};
use ceph_proto::crush::mapper::do_rule;
use ceph_proto::crush::placement::{is_split, OsdSet, NO_OSD};
use ceph_proto::wire::osdmap::OsdMap;
use ceph_proto::wire::osdmap_inc::Incremental;
use ceph_proto::wire::osdmap_pool::{PgId, Pool};
use kernel::host::{live, memory_limit, peak_of};

pub(crate) fn pg_id(raw: &[u8]) {
    Input::new(raw).decode(PgId::decode, |pg| {
        crate::harness::again(&pg, PgId::encode, PgId::decode, |a, b| a == b);
    });
}

pub(crate) fn pool(raw: &[u8]) {
    let input = Input::new(raw);
    let id = i64::from(input.param);
    input.decode(
        |d| Pool::decode(id, d),
        |pool| {
            let hash = pool.hash_object(&[input.aux][..usize::from(input.aux & 1)], b"object");
            let pg = pool.pg(hash);
            assert_eq!((hash.pool, pg.pool), (id, id));
            assert!(pg.seed < pool.pg_num);
            assert_eq!(pool.pg(pg), pg);
            is_split(pg, pool.pgp_num, pool.pg_num);
        },
    );
}

pub(crate) fn crush(raw: &[u8]) {
    let input = Input::new(raw);
    input.check(CrushMap::decode, |map| {
        map.choose_args(i64::from(input.param >> 6));
        map.locality(i32::from(input.aux), |kind, name| kind.len() == name.len());
    });
}

/// A rule of a map, which may use up all of CRUSH's budget: some hundred times slower than
/// reading the map.
pub(crate) fn crush_rule(raw: &[u8]) {
    let input = Input::new(raw);
    let Ok(map) = CrushMap::decode(input.bytes) else {
        return;
    };
    let weights = [
        0x1_0000, 0, 0x8000, 0x1_0000, 0x1_0000, 0x1_0000, 0x1_0000, 0xffff,
    ];
    let mut result = [ITEM_NONE; 40];
    let room = usize::from(input.aux % 40);
    let len = do_rule(
        &map,
        u32::from(input.param & 3),
        raw.len() as u32,
        &mut result[..room],
        &|device| weights.get(device as usize).copied().unwrap_or(0),
        map.choose_args(i64::from(input.param >> 6)),
    );
    assert!(len <= room && len <= 32);
    assert!(result[len..].iter().all(|item| *item == ITEM_NONE));
}

/// What a map says of a pool and an OSD fits together.
fn look(map: &OsdMap, choice: u8) {
    if let Some(pool) = map.pools().get(usize::from(choice & 3)) {
        assert!(map.pool(pool.id).is_some_and(|found| found.id == pool.id));
        if let Some(name) = map.pool_name(pool.id) {
            assert!(map
                .pool_by_name(name)
                .is_none_or(|found| map.pool_name(found.id) == Some(name)));
        }
    }
    let osd = i32::from(choice);
    assert!(usize::from(choice) < map.max_osd() || !map.osd_exists(osd));
    let _ = (
        map.osd_addr(osd),
        map.osd_weight(osd),
        map.primary_affinity(osd),
    );
}

/// Maps some objects of some pools and looks at what comes out.
fn place(map: &OsdMap, choice: u8) {
    let in_map = |osd: i32| osd == ITEM_NONE || map.osd_exists(osd);
    let sane = |set: &OsdSet| {
        assert!(set.as_slice().len() <= 32);
        assert!(set.as_slice().iter().all(|osd| in_map(*osd)));
    };
    let Some(pool) = map.pools().get(usize::from(choice & 3)) else {
        return;
    };
    if map.crush().tunables.choose_total_tries > 100 {
        // It may use up CRUSH's whole budget, which the target of CRUSH's rules tries.
        return;
    }
    // Groups that the map names first.
    let named = map.pg_upmap_items().iter().map(|(pg, _)| *pg);
    let named = named.chain(map.pg_temp().iter().map(|(pg, _)| *pg));
    let hash = pool.hash_object(b"", &[choice]);
    for pg in named.filter(|pg| pg.pool == pool.id).take(1).chain([hash]) {
        let (up, acting) = map.pg_to_up_acting(pool, pg);
        sane(&up);
        sane(&acting);
        assert!(up
            .as_slice()
            .iter()
            .all(|osd| *osd == ITEM_NONE || map.osd_is_up(*osd)));
        assert!(up.primary == NO_OSD || up.position(up.primary).is_some());
        assert!(acting.primary == NO_OSD || map.osd_is_up(acting.primary));
    }
}

pub(crate) fn osdmap(raw: &[u8]) {
    let input = Input::new(raw);
    input.check(OsdMap::decode, |map| look(&map, input.aux));
}

/// Where a map puts objects, some hundred times slower than reading it.
pub(crate) fn osdmap_place(raw: &[u8]) {
    let input = Input::new(raw);
    if let Ok(map) = OsdMap::decode(input.bytes) {
        place(&map, input.aux);
    }
}

pub(crate) fn osdmap_inc(raw: &[u8]) {
    Input::new(raw).check(Incremental::decode, drop);
}

/// A full map (its length goes before it) and an incremental one.
pub(crate) fn osdmap_apply(raw: &[u8]) {
    let input = Input::new(raw);
    let before = live();
    let mut e = Events(input.bytes);
    let len = usize::from(e.u16());
    let full = e.bytes(len);
    if let (Ok(mut map), Ok(inc)) = (OsdMap::decode(full), Incremental::decode(e.0)) {
        if input.param & 1 == 0 {
            // Most would not follow.
            (map.fsid, map.epoch) = (inc.fsid, inc.epoch.wrapping_sub(1));
        }
        let epoch = map.epoch;
        let (next, peak) = peak_of(|| map.apply(inc));
        let max_osd = next.as_ref().map_or(1 << 18, OsdMap::max_osd);
        let limit = memory_limit(input.bytes.len()) + max_osd * 64;
        assert!(peak <= limit, "{peak} bytes allocated, more than {limit}");
        if let Ok(next) = next {
            assert_eq!((next.epoch, next.fsid), (epoch + 1, map.fsid));
            look(&next, input.aux);
        }
    }
    assert_eq!(live(), before, "leaked");
}
