// SPDX-License-Identifier: GPL-2.0
//! What debugfs shows of the monitor client, in the C client's formats.
use kernel::seq_file::SeqFile;
use kernel_ext::time;

use ceph_proto::machine::subs::{Sub, Want};
use ceph_proto::wire::{mon::kind, types::EntityName};

use super::client::MonClient;
use crate::log::show;

impl MonClient {
    /// File `monmap`.
    pub(crate) fn show_monmap(&self, m: &SeqFile) {
        let map = self.map();
        show!(m, "epoch {}\n", map.epoch);
        for mon in &map.mons {
            show!(m, "\tmon{}\t{}\n", mon.rank, mon.addr);
        }
    }

    /// The monitor that there is a session with, or that one is tried to be opened with;
    /// then also for how many milliseconds there has been none.
    pub fn peer(&self) -> (Option<EntityName>, Option<u64>) {
        let lost_at = self.inner.lock().lost_at;
        let msecs = lost_at.map(|then| time::to_msecs(time::elapsed(then)));
        (self.con.peer(), msecs)
    }

    /// File `monc`.
    pub(crate) fn show_monc(&self, m: &SeqFile) {
        let inner = self.inner.lock();
        for sub in Sub::ALL {
            let (want, have) = inner.subs.get(sub);
            let name = sub.name();
            match want {
                Want::Nothing => show!(m, "have {name} {have}\n"),
                Want::Once(start) => show!(m, "have {name} {have} want {start}\n"),
                Want::From(start) => show!(m, "have {name} {have} want {start}+\n"),
            }
        }
        show!(m, "fs_cluster_id {}\n", inner.subs.fs().unwrap_or(-1));
        for request in inner.requests.values() {
            let message = request.message();
            let what = match message.kind() {
                kind::STATFS => "statfs",
                kind::MON_GET_VERSION => "mon_get_version",
                _ => "unknown",
            };
            show!(m, "{} {what}\n", message.tid());
        }
    }
}
