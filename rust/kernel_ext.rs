// SPDX-License-Identifier: GPL-2.0
//! Safe abstractions that the `kernel` crate lacks.
//!
//! Nothing here knows of Ceph.
use kernel_ext_bindings as bindings;

// What the printing macros of the kernel crate look for; `module!` makes it elsewhere.
#[allow(non_upper_case_globals)]
const __LOG_PREFIX: &[u8] = b"kernel_ext\0";

/// Whose the tables of this crate are, as `module!` says it elsewhere: those of tests, which no
/// module has to be held for.
#[cfg(kernel_7_3)]
#[doc(hidden)]
pub struct LocalModule;

#[cfg(kernel_7_3)]
impl kernel::ModuleMetadata for LocalModule {
    const NAME: &'static kernel::str::CStr = c"kernel_ext";
    const THIS_MODULE: kernel::ThisModule = {
        // SAFETY: Null stands for no module, which needs no counting.
        unsafe { kernel::ThisModule::from_ptr(core::ptr::null_mut()) }
    };
}

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
pub mod published;
pub mod random;
pub mod sync;
pub mod task;
pub mod time;
pub mod wait;
pub mod workqueue;
