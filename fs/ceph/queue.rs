// SPDX-License-Identifier: GPL-2.0
//! The queue of the periodic work of all mounts.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    global::Global,
    workqueue::OwnedQueue, //
};

/// There as long as the module.
pub(crate) static QUEUE: Global<Arc<OwnedQueue>> = Global::new();

/// [`QUEUE`].
///
/// # Errors
///
/// `ENODEV` while the module is not there.
pub(crate) fn queue() -> Result<Arc<OwnedQueue>> {
    QUEUE.get().ok_or(ENODEV)
}
