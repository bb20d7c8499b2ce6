// SPDX-License-Identifier: GPL-2.0
//! Being shut out by the cluster (blocklisted, after an eviction), and what the option
//! `recover_session=clean` does about it.
//!
//! ```text
//!   a server refuses us ──▶ blocklisted ── no ──▶ stays so: EACCES, ESHUTDOWN
//!                                │ clean
//!                                ▼
//!     all sessions end, and what they vouched for goes: capabilities, leases, cached pages
//!                                ▼
//!     another nonce, new sessions with monitors and OSDs; requests go on
//! ```
//!
//! A session that was lost may have been followed by changes of others, so nothing from
//! before is trusted. Files that are open for reading stay so: they ask for capabilities
//! anew, as those of the C client do.
use kernel::sync::Arc;

use ceph_core::log::{error, info};

use crate::fs_client::FsClient;

impl FsClient {
    /// A server said that the cluster has shut this client out.
    pub(crate) fn shut_out(self: &Arc<Self>, who: core::fmt::Arguments<'_>) {
        if self.is_shut_down() || !self.mdsc.set_blocklisted(true) {
            return;
        }
        self.client
            .events
            .add(format_args!("{who} says that this client is blocklisted"));
        if self.options.recover_clean {
            self.mdsc.tick_soon();
        } else {
            error!(
                "{who}: this client is blocklisted: unmount, see `ceph osd blocklist ls`, and \
                mount again, or mount with recover_session=clean\n"
            );
        }
    }

    /// If the client is shut out and shall recover, begins anew. From the tick.
    pub(crate) fn recover_if_shut_out(&self) {
        if !self.options.recover_clean || !self.mdsc.is_blocklisted() || self.is_shut_down() {
            return;
        }
        info!("auto reconnect after blocklisted\n");
        self.mdsc.begin_recovery();
        self.client.renew();
        self.mdsc.end_recovery();
        let addr = self.client.messenger.addr();
        self.client
            .events
            .add(format_args!("reconnecting as {addr}/{}", addr.nonce));
    }
}
