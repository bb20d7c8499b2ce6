// SPDX-License-Identifier: GPL-2.0
//! osdmap_dump MAP [INCREMENTAL...]: where our code places each placement group, as
//! `osdmaptool --test-map-pgs-dump-all` prints it, without the raw sets.
use ceph_proto::crush::placement::OsdSet;
use ceph_proto::wire::osdmap::OsdMap;
use ceph_proto::wire::osdmap_inc::Incremental;
use ceph_proto::wire::osdmap_pool::PgId;
use std::io::Write;

fn text(set: &OsdSet) -> String {
    let osds: Vec<String> = set.as_slice().iter().map(|osd| osd.to_string()).collect();
    format!("([{}], p{})", osds.join(","), set.primary)
}

fn main() {
    let mut files = std::env::args()
        .skip(1)
        .map(|path| std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")));
    let full = files
        .next()
        .expect("usage: osdmap_dump MAP [INCREMENTAL...]");
    let mut map = OsdMap::decode(&full).expect("a full map");
    for bytes in files {
        let inc = Incremental::decode(&bytes).expect("an incremental map");
        map = map.apply(inc).expect("an incremental map that follows");
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for pool in map.pools() {
        for seed in 0..pool.pg_num {
            let pg = PgId {
                pool: pool.id,
                seed,
            };
            let (up, acting) = map.pg_to_up_acting(pool, pg);
            writeln!(out, "{pg} up {} acting {}", text(&up), text(&acting)).expect("stdout");
        }
    }
}
