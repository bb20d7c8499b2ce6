// SPDX-License-Identifier: GPL-2.0
//! What a mount says of itself and wants.
use kernel::prelude::*;

/// What a mount says of itself and wants.
pub(crate) struct Config {
    /// File system name; `None` for the cluster's default one.
    pub fs_name: Option<KVec<u8>>,
    /// Fail requests at once, while mounting, if no rank is active.
    pub require_active: bool,
    /// Begin anew when the cluster has shut this client out (`recover_session=clean`).
    pub recover: bool,
    /// Host name, for the list of sessions that a server shows.
    pub hostname: KVec<u8>,
    /// Kernel release, likewise.
    pub kernel_release: KVec<u8>,
    /// Entity name without `client.`, likewise.
    pub entity_id: KVec<u8>,
    /// Path that is mounted, likewise.
    pub root: KVec<u8>,
}
