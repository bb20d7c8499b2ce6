// SPDX-License-Identifier: GPL-2.0
//! The files `osdmap` and `osdc` of debugfs, as the C client has them.
use core::fmt;
use kernel::{prelude::*, seq_file::SeqFile, sync::atomic::Relaxed};

use kernel_ext::{alloc_scope::NoIo, task::Comm, time};

use ceph_proto::machine::osd_request::State as LifeState;
use ceph_proto::machine::osd_target::ObjectName;
use ceph_proto::wire::osdmap::osd_state;

use super::{
    client::OsdClient,
    request::Pending,
    session::{Session, HOMELESS},
};
use crate::log::show;

/// Numbers with commas in brackets.
struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, item) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{item}")?;
        }
        f.write_str("]")
    }
}

/// `from->to`.
struct Arrow((i32, i32));

impl fmt::Display for Arrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}", self.0 .0, self.0 .1)
    }
}

/// Bytes of a name; what is not printable as `%pE` of printk has it.
struct Name<'a>(&'a [u8]);

impl Name<'_> {
    fn escape(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
        for byte in bytes {
            match byte {
                b'\n' => f.write_str("\\n"),
                b'\r' => f.write_str("\\r"),
                b'\t' => f.write_str("\\t"),
                0x0b => f.write_str("\\v"),
                0x0c => f.write_str("\\f"),
                0x07 => f.write_str("\\a"),
                0x1b => f.write_str("\\e"),
                0 => f.write_str("\\0"),
                _ => write!(f, "\\{byte:03o}"),
            }?;
        }
        Ok(())
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The kernel takes the upper half of Latin-1 for printable.
        let printable = |byte: &u8| matches!(byte, b' '..=b'~' | 0xa0..);
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                let mut buf = [0; 4];
                let text = c.encode_utf8(&mut buf);
                match text.as_bytes().iter().all(printable) {
                    true => f.write_str(text)?,
                    false => Self::escape(f, text.as_bytes())?,
                }
            }
            Self::escape(f, chunk.invalid())?;
        }
        Ok(())
    }
}

/// Bytes of a name as they are, as `%s` has them, if they are text.
struct Text<'a>(&'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            Name::escape(f, chunk.invalid())?;
        }
        Ok(())
    }
}

/// A 16.16 fixed-point number in percent.
fn percent(weight: u32) -> u64 {
    (u64::from(weight) * 100) >> 16
}

fn state_name(state: u32) -> &'static str {
    match (state & osd_state::EXISTS != 0, state & osd_state::UP != 0) {
        (true, true) => "exists, up",
        (true, false) => "exists",
        (false, true) => "up",
        (false, false) => "doesn't exist",
    }
}

impl OsdClient {
    /// Prints the map.
    pub fn show_map(&self, m: &SeqFile) {
        let Some(map) = self.map() else {
            show!(m, "epoch 0 barrier {} flags 0x0\n", self.barrier());
            return;
        };
        show!(
            m,
            "epoch {} barrier {} flags {:#x}\n",
            map.epoch,
            self.barrier(),
            map.flags
        );
        for pool in map.pools() {
            show!(
                m,
                "pool {} '{}' type {} size {} min_size {} pg_num {} pg_num_mask {} flags {:#x} \
                lfor {} read_tier {} write_tier {}\n",
                pool.id,
                Text(map.pool_name(pool.id).unwrap_or(b"")),
                pool.kind.0,
                pool.size,
                pool.min_size,
                pool.pg_num,
                pool.pg_num_mask(),
                pool.flags,
                pool.last_force_resend,
                pool.read_tier,
                pool.write_tier
            );
        }
        for osd in 0..i32::try_from(map.max_osd()).unwrap_or(0) {
            show!(
                m,
                "osd{osd}\t{}\t{:3}%\t({})\t{:3}%\t{:2}\n",
                map.osd_addr(osd),
                percent(map.osd_weight(osd)),
                state_name(map.osd_state(osd)),
                percent(map.primary_affinity(osd)),
                self.locality(&map, osd).map_or(-1, i32::from)
            );
        }
        for (pg, osds) in map.pg_temp().iter() {
            show!(m, "pg_temp {pg} {}\n", List(osds));
        }
        for (pg, osd) in map.primary_temp().iter() {
            if let [osd] = osd {
                show!(m, "primary_temp {pg} {osd}\n");
            }
        }
        for (pg, osds) in map.pg_upmap().iter() {
            show!(m, "pg_upmap {pg} {}\n", List(osds));
        }
        for (pg, pairs) in map.pg_upmap_items().iter() {
            show!(m, "pg_upmap_items {pg} [");
            for (i, pair) in pairs.iter().enumerate() {
                show!(m, "{}{}", if i == 0 { "" } else { "," }, Arrow(*pair));
            }
            show!(m, "]\n");
        }
    }

    /// Prints the requests and backoffs.
    pub fn show_requests(&self, m: &SeqFile) {
        let homeless = self.homeless.state.lock().requests.values().count();
        show!(
            m,
            "REQUESTS {} homeless {homeless}\n",
            self.count.load(Relaxed)
        );
        self.for_each_session(|session| show_session(m, session));
        show!(m, "LINGER REQUESTS\nBACKOFFS\n");
        self.for_each_session(|session| {
            for (spg, id, begin, end) in session.state.lock().backoffs.iter() {
                show!(m, "osd{}\t{spg}\t{id}\t{begin}\t{end}\n", session.id);
            }
        });
    }

    /// The requests that have no answer yet, in no order.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn waiting(&self) -> Result<KVec<Waiting>> {
        // The worker, which reclaim may wait for, takes these locks too.
        let _noio = NoIo::enter();
        let mut all = KVec::new();
        let mut failed = Ok(());
        let barrier = self.barrier();
        self.for_each_session(|session| {
            for pending in session.state.lock().requests.values() {
                let waiting = Waiting::new(pending, session.id, barrier);
                if let Err(e) = all.push(waiting, GFP_KERNEL) {
                    failed = Err(e.into());
                }
            }
        });
        failed.map(|()| all)
    }
}

/// A request that has no answer yet.
pub struct Waiting {
    /// The task that asked.
    pub pid: i32,
    /// Its command name.
    pub comm: Comm,
    /// Operation.
    pub op: &'static str,
    /// Inode number of the file, 0 if there is none.
    pub ino: u64,
    /// Milliseconds since it was asked.
    pub msecs: u64,
    /// Milliseconds since it was last sent; `None` if it was not.
    pub sent: Option<u64>,
    /// The OSD it was sent to, or is to be sent to.
    pub osd: Option<i32>,
    tid: u64,
    object: ObjectName,
    /// Epoch of the map that it waits for; 0 if it waits for the OSD.
    after: u32,
    attempts: u32,
}

impl Waiting {
    fn new(pending: &Pending, session: i32, barrier: u32) -> Self {
        let since = |then| time::to_msecs(time::elapsed(then));
        let Pending {
            submission,
            life,
            sent_at,
            ..
        } = pending;
        let homeless = session == HOMELESS;
        let target = life.target();
        Self {
            pid: submission.pid(),
            comm: submission.submitter().comm(),
            op: life.ops().first().name(),
            ino: pending.ino(),
            msecs: since(submission.submitted()),
            sent: (life.attempts() > 0).then(|| since(*sent_at)),
            osd: (!homeless).then_some(session),
            tid: pending.tid(),
            object: target.name(),
            after: match homeless || life.waits_for_map() {
                true => barrier.max(target.epoch.saturating_add(1)),
                false => 0,
            },
            attempts: life.attempts(),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.osd, self.after) {
            (Some(osd), 0) => write!(f, "osd{osd}")?,
            (Some(osd), after) => write!(f, "osdmap {after}, then osd{osd}")?,
            (None, after) => write!(f, "osdmap {after}: no OSD has the object")?,
        }
        let name = Name(self.object.as_bytes());
        write!(
            f,
            " (object {name}, tid {}, sent {}x)",
            self.tid, self.attempts
        )
    }
}

fn show_session(m: &SeqFile, session: &Session) {
    for pending in session.state.lock().requests.values() {
        show_request(m, pending);
    }
}

fn show_request(m: &SeqFile, pending: &Pending) {
    let life = &pending.life;
    let t = life.target();
    let found = t.up_acting();
    show!(
        m,
        "{}\tosd{}\t{}\t{}\t{}/{}\t{}/{}\te{}\t",
        pending.tid(),
        t.osd,
        t.hash,
        t.spg,
        List(found.up.as_slice()),
        found.up.primary,
        List(found.acting.as_slice()),
        found.acting.primary,
        t.epoch
    );
    if !t.namespace().is_empty() {
        show!(m, "{}/", Name(t.namespace()));
    }
    let paused = matches!(life.state(), LifeState::Paused);
    show!(
        m,
        "{}\t{:#x}{}\t{}\t",
        Name(t.object()),
        t.flags,
        if paused { "\tP" } else { "" },
        life.attempts()
    );
    for (i, op) in life.ops().iter().enumerate() {
        show!(m, "{}{}", if i == 0 { "" } else { "," }, op.name());
    }
    show!(m, "\n");
}
