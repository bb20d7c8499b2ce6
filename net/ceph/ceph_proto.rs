// SPDX-License-Identifier: GPL-2.0
//! The pure half of libceph: wire formats, CRUSH, and protocol state machines.
//!
//! No locks, no I/O, no C. The same files are compiled by Kbuild into libceph.ko
//! and by cargo (tools/testing/host) for tests and fuzzing.
#![forbid(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation
)]

#[cfg(CONFIG_RUST)]
const __LOG_PREFIX: &[u8] = b"libceph\0";

/// Where data is: CRUSH, and placement groups to OSDs.
pub mod crush {
    mod choose;
    pub mod hash;
    mod ln;
    pub mod map;
    pub mod mapper;
    mod msr;
    pub mod placement;
}
pub mod errno;

/// Bytes known: encodings of Ceph's types and messages.
pub mod wire {
    #[path = "../wire/auth.rs"]
    pub mod auth;
    #[path = "../wire/decode.rs"]
    pub mod decode;
    #[path = "../wire/encode.rs"]
    pub mod encode;
    #[path = "../wire/features.rs"]
    pub mod features;
    #[path = "../wire/flat_map.rs"]
    pub mod flat_map;
    #[path = "../wire/mon.rs"]
    pub mod mon;
    #[path = "../wire/mon_request.rs"]
    pub mod mon_request;
    #[path = "../wire/monmap.rs"]
    pub mod monmap;
    #[path = "../wire/msgr1.rs"]
    pub mod msgr1;
    #[path = "../wire/msgr2.rs"]
    pub mod msgr2;
    #[path = "../wire/osd.rs"]
    pub mod osd;
    #[path = "../wire/osd_backoff.rs"]
    pub mod osd_backoff;
    #[path = "../wire/osd_table.rs"]
    pub mod osd_table;
    #[path = "../wire/osdmap.rs"]
    pub mod osdmap;
    #[path = "../wire/osdmap_inc.rs"]
    pub mod osdmap_inc;
    #[path = "../wire/osdmap_pool.rs"]
    pub mod osdmap_pool;
    #[path = "../wire/secret.rs"]
    pub mod secret;
    #[path = "../wire/segment.rs"]
    pub mod segment;
    #[path = "../wire/types.rs"]
    pub mod types;
}

/// Order of events known: protocol state machines.
pub mod machine {
    #[path = "../machine/auth.rs"]
    pub mod auth;
    #[path = "../machine/fault.rs"]
    pub mod fault;
    #[path = "../machine/framer.rs"]
    pub mod framer;
    #[path = "../machine/hunt.rs"]
    pub mod hunt;
    #[path = "../machine/msgr1.rs"]
    pub mod msgr1;
    #[path = "../machine/msgr2.rs"]
    pub mod msgr2;
    #[path = "../machine/msgr2_reader.rs"]
    pub mod msgr2_reader;
    #[path = "../machine/msgr2_tests.rs"]
    mod msgr2_tests;
    #[path = "../machine/osd_backoffs.rs"]
    pub mod osd_backoffs;
    #[path = "../machine/osd_barrier.rs"]
    pub mod osd_barrier;
    #[path = "../machine/osd_request.rs"]
    pub mod osd_request;
    #[path = "../machine/osd_request_tests.rs"]
    mod osd_request_tests;
    #[path = "../machine/osd_target.rs"]
    pub mod osd_target;
    #[path = "../machine/osd_target_tests.rs"]
    mod osd_target_tests;
    #[path = "../machine/placements.rs"]
    pub mod placements;
    #[path = "../machine/protocol.rs"]
    pub mod protocol;
    #[path = "../machine/subs.rs"]
    pub mod subs;
}
