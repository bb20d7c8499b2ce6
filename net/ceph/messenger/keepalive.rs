// SPDX-License-Identifier: GPL-2.0
//! The time, and how keepalives carry it.
use kernel::{prelude::*, time::Jiffies};
use kernel_ext::time;

use ceph_proto::wire::types::Timespec;

/// The time that a keepalive carries and its answer brings back: since the machine
/// started, so that nobody is taken for dead when the wall clock is set.
pub(super) fn now() -> Timespec {
    let micros = time::uptime_micros();
    Timespec {
        // Wraps after 136 years.
        sec: (micros / 1_000_000) as u32,
        nsec: (micros % 1_000_000 * 1000) as u32,
    }
}

/// Milliseconds since the machine started.
pub(super) fn now_ms() -> u64 {
    time::uptime_micros() / 1000
}

/// When a keepalive with this time was sent.
pub(super) fn sent_at(sent: Timespec) -> Jiffies {
    let then = u64::from(sent.sec) * 1000 + u64::from(sent.nsec) / 1_000_000;
    let age = now_ms().saturating_sub(then);
    time::jiffies().wrapping_sub(time::msecs(age))
}

#[kunit_tests(ceph_messenger_keepalive)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_old_as_its_question() {
        let uptime = time::msecs(time::uptime_micros() / 1000);
        let mut sent = now();
        assert!(time::elapsed(sent_at(sent)) < time::secs(5));
        // Nobody answers what was not asked yet.
        sent.sec += 100;
        assert!(time::elapsed(sent_at(sent)) < time::secs(5));
        let first = Timespec { sec: 0, nsec: 0 };
        assert!(time::elapsed(sent_at(first)) >= uptime);
    }
}
