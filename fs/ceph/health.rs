// SPDX-License-Identifier: GPL-2.0
//! The file `health` of debugfs: a line that says how the mount is, then what happened to
//! its sessions lately.
use core::fmt;
use kernel::{prelude::*, seq_file::SeqFile, sync::Arc};

use ceph_core::{log::show, osd_client::Waiting};
use ceph_fs_proto::{machine::session::SessionState, wire::mdsmap::MdsState};

use crate::fs_client::FsClient;

/// A wait that is so long is worth telling (ms).
const LONG: u64 = 5000;

/// The first line: what is wrong, or that nothing is.
struct State<'a> {
    m: &'a SeqFile,
    well: bool,
}

impl State<'_> {
    fn say(&mut self, what: fmt::Arguments<'_>) {
        let separator = if self.well { "" } else { "; " };
        show!(self.m, "{separator}{what}");
        self.well = false;
    }

    fn end(self) {
        show!(self.m, "{}\n", if self.well { "ok" } else { "" });
    }
}

impl FsClient {
    /// Prints state and events.
    pub(crate) fn show_health(self: &Arc<Self>, m: &SeqFile) -> Result {
        let tasks = self.client.waits.snapshot()?;
        let reads = self.client.osdc.waiting()?;
        let mut state = State { m, well: true };
        if self.is_shut_down() {
            state.say(format_args!("shut down by force: unmount it"));
        }
        if self.mdsc.is_blocklisted() {
            match self.options.recover_clean {
                true => state.say(format_args!("blocklisted, reconnecting")),
                false => state.say(format_args!(
                    "blocklisted: unmount, see `ceph osd blocklist ls`, and mount again"
                )),
            }
        }
        if let (peer, Some(msecs)) = self.client.monc.peer() {
            state.say(format_args!("hunting for a monitor for {} s", msecs / 1000));
            if let Some(mon) = peer {
                show!(m, " (trying {mon})");
            }
        }
        if let Some(cause) = self.client.cause() {
            state.say(format_args!("{cause}"));
        }
        self.say_mds(&mut state);
        say_osds(&mut state, &reads);
        let waits = tasks.iter().map(|task| task.msecs);
        let waits = Iterator::chain(waits, reads.iter().map(|read| read.msecs));
        let (count, longest) = waits
            .filter(|msecs| *msecs >= LONG)
            .fold((0u32, 0), |(count, longest), msecs| {
                (count.saturating_add(1), longest.max(msecs))
            });
        if count > 0 {
            let longest = longest / 1000;
            state.say(format_args!(
                "{count} waiting, the longest for {longest} s (see the file waiting)"
            ));
        }
        state.end();
        self.client.events.show(m);
        Ok(())
    }

    fn say_mds(&self, state: &mut State<'_>) {
        match self.mdsc.map() {
            Some(map) => {
                for info in map.ranks() {
                    if info.state != MdsState::ACTIVE && info.state != MdsState::STOPPING {
                        state.say(format_args!("mds{} is {}", info.rank, info.state.name()));
                    }
                }
                if !map.is_available() {
                    state.say(format_args!("no mds serves"));
                }
            }
            None => state.say(format_args!("no mdsmap")),
        }
        self.mdsc.for_each_session(|session| {
            let (rank, what) = (session.rank, session.state());
            if what != SessionState::Open {
                state.say(format_args!("mds{rank} session {}", what.name()));
            } else if !session.cap_validity().1 {
                state.say(format_args!("mds{rank} session stale"));
            }
        });
    }
}

/// OSDs that do not answer, and reads without an OSD.
fn say_osds(state: &mut State<'_>, reads: &[Waiting]) {
    let mut last = None;
    // They come grouped by OSD.
    for read in reads {
        let Some(osd) = read.osd else { continue };
        let slow =
            |read: &&Waiting| read.osd == Some(osd) && read.sent.is_some_and(|msecs| msecs >= LONG);
        if last.replace(osd) == Some(osd) {
            continue;
        }
        let longest = reads.iter().filter(slow).filter_map(|read| read.sent).max();
        if let Some(msecs) = longest {
            let count = reads.iter().filter(slow).count();
            state.say(format_args!(
                "osd{osd} silent for {} s ({count} reads)",
                msecs / 1000
            ));
        }
    }
    let homeless = reads.iter().filter(|read| read.osd.is_none()).count();
    if homeless > 0 {
        state.say(format_args!("{homeless} reads without an OSD"));
    }
}
