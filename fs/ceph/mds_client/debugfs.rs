// SPDX-License-Identifier: GPL-2.0
//! The files `mdsmap`, `mdsc` and `mds_sessions`, in the C client's formats.
use ceph_core::log::show;
use kernel::seq_file::SeqFile;

use super::{request::Place, MdsClient, MdsHooks};

impl<H: MdsHooks> MdsClient<H> {
    /// Prints the map.
    pub(crate) fn show_map(&self, m: &SeqFile) {
        let Some(map) = self.map() else { return };
        show!(m, "epoch {}\n", map.epoch);
        show!(m, "root {}\n", map.root);
        show!(m, "max_mds {}\n", map.max_mds);
        show!(m, "session_timeout {}\n", map.session_timeout);
        show!(m, "session_autoclose {}\n", map.session_autoclose);
        for info in map.ranks() {
            if let Some(addr) = map.addr(info.rank) {
                show!(m, "\tmds{}\t{}\t({})\n", info.rank, addr, info.state.name());
            }
        }
    }

    /// Prints the requests that have no reply yet.
    pub(crate) fn show_requests(&self, m: &SeqFile) {
        let state = self.state.lock();
        for (tid, request) in state.requests.iter() {
            let place = request.progress.lock().place;
            match place {
                Place::Sent(rank) => show!(m, "{}\tmds{}\t", tid, rank),
                Place::WaitsForSession(_) => show!(m, "{}\t(no session)\t", tid),
                Place::WaitsForMap => show!(m, "{}\t(no request)\t", tid),
            }
            show!(m, "{}\t", request.spec.op.name());
            let path = &request.spec.path1;
            show!(m, " #{:x}", path.ino);
            if !path.path.is_empty() {
                show!(m, "/{}", super::Text(&path.path));
            }
            show!(m, "\n");
        }
    }

    /// Prints the sessions.
    pub(crate) fn show_sessions(&self, m: &SeqFile) {
        show!(m, "global_id {}\n", self.client.global_id());
        show!(m, "name \"{}\"\n", super::Text(&self.config.entity_id));
        for session in self.sessions() {
            show!(m, "mds.{} {}\n", session.rank, session.state().name());
        }
    }
}
