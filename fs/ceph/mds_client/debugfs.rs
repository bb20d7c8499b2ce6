// SPDX-License-Identifier: GPL-2.0
//! The files `mdsmap`, `mdsc` and `mds_sessions`, in the C client's formats.
use ceph_core::log::show;
use kernel::seq_file::SeqFile;

use ceph_fs_proto::machine::request::RequestState;

use super::{
    client::MdsClient,
    events::MdsEvents, //
};
use crate::text::Text;

impl<F: MdsEvents> MdsClient<F> {
    /// Prints the map.
    pub(crate) fn show_map(&self, m: &SeqFile) {
        let Some(map) = self.map() else { return };
        show!(m, "epoch {}\n", map.epoch);
        show!(m, "root {}\n", map.root);
        show!(m, "max_mds {}\n", map.max_mds);
        show!(m, "session_timeout {}\n", map.session_timeout);
        show!(m, "session_autoclose {}\n", map.session_autoclose);
        for info in map.ranks() {
            if let Some(addr) = map.addr(info.rank, self.client.messenger.addr_kind()) {
                show!(m, "\tmds{}\t{}\t({})\n", info.rank, addr, info.state.name());
            }
        }
    }

    /// Prints the requests that have no reply yet.
    pub(crate) fn show_requests(&self, m: &SeqFile) {
        let state = self.state.lock();
        for (tid, request) in state.requests.iter() {
            match request.progress().lock().life.state() {
                RequestState::Sending(rank)
                | RequestState::Sent(rank)
                | RequestState::Unsafe(rank) => show!(m, "{}\tmds{}\t", tid, rank),
                RequestState::WaitsForSession(_) => show!(m, "{}\t(no session)\t", tid),
                RequestState::WaitsForMap | RequestState::Over => {
                    show!(m, "{}\t(no request)\t", tid)
                }
            }
            show!(m, "{}\t", request.op().name());
            let path = request.path();
            show!(m, " #{:x}", path.ino);
            if !path.path.is_empty() {
                show!(m, "/{}", Text(path.path));
            }
            show!(m, "\n");
        }
    }

    /// Prints the sessions.
    pub(crate) fn show_sessions(&self, m: &SeqFile) {
        show!(m, "global_id {}\n", self.client.global_id());
        show!(m, "name \"{}\"\n", Text(&self.config.entity_id));
        for session in self.sessions() {
            show!(m, "mds.{} {}\n", session.rank, session.state().name());
        }
    }
}
