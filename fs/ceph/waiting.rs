// SPDX-License-Identifier: GPL-2.0
//! The file `waiting` of debugfs: who is blocked, on what, and for how long.
//!
//! Tasks that wait for a metadata server, a capability or a monitor wait with a reason, in
//! the client's table. Those that wait for data (inside of netfs, in the page cache, or for a
//! direct read) show as the reads that they wait for, each with the task that asked for it.
use core::fmt;
use kernel::{prelude::*, seq_file::SeqFile, sync::Arc};
use kernel_ext::{
    fs::super_block::THIS_MOUNT,
    task::Comm,
    wait::{Reason, Waiting},
};

use ceph_core::{
    log::show,
    mon_client::{MonClient, FROM_MONITORS},
    osd_client,
};
use ceph_fs_proto::{
    machine::{caps::Issuer, session::SessionState},
    wire::{cap_bits::Caps, msg::Vino},
};

use crate::{
    caps::refs::CAPS_WAIT,
    fs_client::FsClient,
    mds_client::reason::{CLOSE_WAIT, FROM_MDS},
    text::Text,
};

/// One line.
struct Line<'a> {
    pid: i32,
    comm: Comm,
    op: &'a str,
    ino: u64,
    /// A name in the directory `ino`; may be empty.
    name: &'a [u8],
    msecs: u64,
}

impl FsClient {
    /// Prints a line for each blocked task.
    pub(crate) fn show_waiting(self: &Arc<Self>, m: &SeqFile) -> Result {
        show!(
            m,
            "pid\tcommand\toperation\tinode\tpath\twaits for\tseconds\n"
        );
        for task in self.client.waits.snapshot()? {
            self.show_task(m, &task);
        }
        for read in self.client.osdc.waiting()? {
            self.show_read(m, &read);
        }
        Ok(())
    }

    fn show_task(self: &Arc<Self>, m: &SeqFile, task: &Waiting) {
        let reason = &task.reason;
        let line = |op, ino, name| Line {
            pid: task.pid,
            comm: task.comm,
            op,
            ino,
            name,
            msecs: task.msecs,
        };
        match (reason.whom, reason.what) {
            (FROM_MDS, CAPS_WAIT) => {
                let line = line("read", reason.ino, &[]);
                self.show_line(m, &line, format_args!("{}", self.cap_wait(reason)));
            }
            (FROM_MDS, CLOSE_WAIT) => {
                // The first that does not answer will do.
                let mut rank = None;
                self.mdsc.for_each_session(|session| {
                    if session.state() == SessionState::Closing {
                        rank.get_or_insert(session.rank);
                    }
                });
                let line = line("umount", 0, &[]);
                match rank {
                    Some(rank) => {
                        self.show_line(m, &line, format_args!("mds{rank} ({CLOSE_WAIT})"));
                    }
                    None => self.show_line(m, &line, format_args!("mds ({CLOSE_WAIT})")),
                }
            }
            (FROM_MDS, what) => match self.mdsc.request(reason.id) {
                Some(request) => {
                    let path = request.path();
                    let line = line(what, path.ino, path.path);
                    self.show_line(m, &line, format_args!("{}", request.waits_for()));
                }
                // It is answered, and the task has yet to run.
                None => self.show_line(m, &line(what, reason.ino, &[]), format_args!("cpu")),
            },
            (FROM_MONITORS, what) => {
                let text = MonWait(&self.client.monc, reason);
                self.show_line(m, &line(what, reason.ino, &[]), format_args!("{text}"));
            }
            (THIS_MOUNT, what) => {
                let line = line("umount", 0, &[]);
                self.show_line(m, &line, format_args!("{} {what}", reason.id));
            }
            // The read itself tells it.
            _ => {}
        }
    }

    fn show_read(self: &Arc<Self>, m: &SeqFile, read: &osd_client::Waiting) {
        let line = Line {
            pid: read.pid,
            comm: read.comm,
            op: read.op,
            ino: read.ino,
            name: &[],
            msecs: read.msecs,
        };
        self.show_line(m, &line, format_args!("{read}"));
    }

    fn show_line(self: &Arc<Self>, m: &SeqFile, line: &Line<'_>, on: fmt::Arguments<'_>) {
        let comm = Text(line.comm.as_bytes());
        show!(m, "{}\t{comm}\t{}\t", line.pid, line.op);
        if line.ino == 0 {
            show!(m, "-\t-\t");
        } else {
            let path = self.path_of(line.ino).unwrap_or_default();
            let slash = match path.last() {
                Some(b'/') => "",
                _ if line.name.is_empty() => "",
                _ => "/",
            };
            let (path, name) = (Text(&path), Text(line.name));
            show!(m, "{:#x}\t{path}{slash}{name}\t", line.ino);
        }
        show!(m, "{on}\t{}.{:03}\n", line.msecs / 1000, line.msecs % 1000);
    }

    /// Some path of an inode in memory. Waits for nobody.
    fn path_of(&self, ino: u64) -> Option<KVec<u8>> {
        let inode = self.super_block()?.find_inode_now(&Vino::head(ino))?;
        inode.find_alias()?.path().ok()
    }

    fn cap_wait(&self, reason: &Reason) -> CapWait {
        let mut wait = CapWait {
            need: Caps(reason.id as u32),
            issued: Caps::NONE,
            rank: None,
        };
        let sb = self.super_block();
        if let Some(inode) = sb.and_then(|sb| sb.find_inode_now(&Vino::head(reason.ino))) {
            let info = inode.data();
            let state = info.state();
            wait.issued = state.caps.issued();
            let cap = state.caps.auth().or_else(|| state.caps.caps().next());
            wait.rank = cap.map(|cap| cap.issuer().rank());
        }
        wait
    }
}

/// A wait for capabilities.
struct CapWait {
    need: Caps,
    issued: Caps,
    /// Who has them to give.
    rank: Option<u32>,
}

impl fmt::Display for CapWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "caps {} of ", self.need)?;
        match self.rank {
            Some(rank) => write!(f, "mds{rank}")?,
            None => f.write_str("any mds")?,
        }
        write!(f, " (has {})", self.issued)
    }
}

/// A wait for monitors.
struct MonWait<'a>(&'a MonClient, &'a Reason);

impl fmt::Display for MonWait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (peer, lost) = self.0.peer();
        match (lost, peer) {
            (None, Some(mon)) => write!(f, "{mon}"),
            (Some(_), Some(mon)) => write!(f, "a monitor (trying {mon})"),
            (_, None) => f.write_str("a monitor"),
        }?;
        match self.1.id {
            0 => Ok(()),
            id => write!(f, " ({} {id})", self.1.what),
        }
    }
}
