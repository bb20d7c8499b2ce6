// SPDX-License-Identifier: GPL-2.0
//! Safe abstractions that the `kernel` crate lacks.
//!
//! Nothing here knows of Ceph.
use kernel_ext_bindings as bindings;

// What the printing macros of the kernel crate look for; `module!` makes it elsewhere.
#[allow(non_upper_case_globals)]
const __LOG_PREFIX: &[u8] = b"kernel_ext\0";

pub mod alloc_scope;
pub mod crypto;
pub mod debugfs;
pub mod errno;
pub mod fs;
pub mod global;
pub mod iov;
pub mod keys;
pub mod net;
pub mod param;
mod pin_init;
pub mod print;
pub mod random;
pub mod sync;
pub mod task;
pub mod time;
pub mod wait;
pub mod workqueue;
