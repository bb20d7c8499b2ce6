// SPDX-License-Identifier: GPL-2.0
//! Raw bindings: the kernel's `bindings` crate and what it lacks.
//!
//! The generated part only has items that `kernel::bindings` does not have, so
//! the types of both are the same types.
// As rust/bindings/lib.rs of the kernel does for code that bindgen writes.
#![allow(
    clippy::all,
    clippy::as_underscore,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ptr_cast_constness,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    clippy::unnecessary_safety_doc,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    improper_ctypes,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    dead_code,
    unused_imports
)]
pub use kernel::bindings::*;
use kernel::ffi;
use pin_init::{MaybeZeroable, Zeroable};
include!(concat!(env!("KERNEL_EXT_OBJ"), "/bindings_generated.rs"));
pub use helpers::*;
mod helpers {
    use super::*;
    include!(concat!(
        env!("KERNEL_EXT_OBJ"),
        "/bindings_helpers_generated.rs"
    ));
}
