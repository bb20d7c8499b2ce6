// SPDX-License-Identifier: GPL-2.0
//! What tasks that wait for a metadata server say in the [`Reason`](kernel_ext::wait::Reason).

/// Whom they wait for.
pub(crate) const FROM_MDS: &str = "mds";

/// What an unmount waits for.
pub(crate) const CLOSE_WAIT: &str = "close of the sessions";
