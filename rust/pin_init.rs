// SPDX-License-Identifier: GPL-2.0
//! What differs between the series of the kernel in its crate `pin-init`.
use kernel::prelude::*;

/// Initialises what `slot` points to.
///
/// # Safety
///
/// `slot` is valid for writes. After `Ok` its content is pinned until it is dropped; after
/// an error it is uninitialised.
///
/// # Errors
///
/// * What `init` fails with.
pub(crate) unsafe fn init_at<T, E>(init: impl PinInit<T, E>, slot: *mut T) -> Result<(), E> {
    #[cfg(kernel_7_3)]
    // SAFETY: That is what our caller promises.
    return unsafe { init.__init(slot) };
    #[cfg(not(kernel_7_3))]
    // SAFETY: As above; the method had another name before 7.3.
    return unsafe { init.__pinned_init(slot) };
}
