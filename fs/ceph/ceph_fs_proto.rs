// SPDX-License-Identifier: GPL-2.0
//! The pure half of ceph.ko: encodings of the metadata server's messages, and the
//! state machines of sessions and capabilities.
//!
//! No locks, no I/O, no C. The same files are compiled by Kbuild into ceph.ko and
//! by cargo (tools/testing/host) for tests and fuzzing.
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
const __LOG_PREFIX: &[u8] = b"ceph\0";

/// Bytes known: encodings of the file system's types and messages.
pub mod wire {
    pub mod cap_bits;
    pub mod client_caps;
    pub mod dir_hash;
    pub mod frag;
    pub mod fsmap_user;
    pub mod inode_stat;
    pub mod layout;
    pub mod lease;
    pub mod mdsmap;
    pub mod msg;
    pub mod quota;
    pub mod reconnect;
    pub mod reply;
    pub mod request;
    pub mod session;
    pub mod snap;
    pub mod xattr;
}

/// Order of events known: state machines, pure.
pub mod machine {
    pub mod access;
    pub mod caps;
    mod caps_tests;
    pub mod listing;
    pub mod refs;
    pub mod registry;
    pub mod request;
    pub mod route;
    pub mod session;
    pub mod striper;
}

/// What the mount command says.
pub mod mount {
    pub mod options;
    pub mod source;
}
