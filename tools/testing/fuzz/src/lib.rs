// SPDX-License-Identifier: GPL-2.0
//! Fuzz targets for every decoder and every state machine of the pure crates
//! (Documentation/fuzzing.rst). A target is a function of bytes that panics when
//! something is wrong; tests run all of them on the corpus, and main.rs hands them to
//! libFuzzer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster_options;
mod fs;
mod harness;
mod machines;
mod maps;
mod net;
mod table;

// What net/ceph/options.rs finds in its crate.
pub(crate) use cluster_options::{keyring, log};
pub use table::{Target, NOT_DECODERS, TARGETS};
