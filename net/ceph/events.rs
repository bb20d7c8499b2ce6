// SPDX-License-Identifier: GPL-2.0
//! What happened to the sessions of a client lately, for the file `health`.
use core::fmt;
use kernel::{new_spinlock, prelude::*, seq_file::SeqFile, sync::SpinLock};
use kernel_ext::time;

use crate::log::show;

/// How many events are kept.
const KEPT: usize = 64;
/// Longest text of an event, in bytes; what is longer is cut.
const TEXT: usize = 120;

struct Event {
    /// Microseconds since the machine started.
    at: u64,
    len: usize,
    text: [u8; TEXT],
}

impl Event {
    fn new(args: fmt::Arguments<'_>) -> Self {
        let mut event = Self {
            at: time::uptime_micros(),
            len: 0,
            text: [0; TEXT],
        };
        // It only fails to say that the text was cut.
        let _ = fmt::write(&mut event, args);
        event
    }

    fn text(&self) -> &str {
        let text = self.text.get(..self.len).unwrap_or_default();
        // Cut in the middle of a character, perhaps.
        text.utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }
}

impl fmt::Write for Event {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = self.text.get_mut(self.len..).unwrap_or_default();
        let len = s.len().min(room.len());
        if let (Some(place), Some(text)) = (room.get_mut(..len), s.as_bytes().get(..len)) {
            place.copy_from_slice(text);
            self.len = self.len.saturating_add(len);
        }
        match len == s.len() {
            true => Ok(()),
            false => Err(fmt::Error),
        }
    }
}

struct Ring {
    /// At most [`KEPT`]; there is room for that many.
    events: KVec<Event>,
    /// Where the oldest is, once there is no room.
    oldest: usize,
}

/// The last events of a client's sessions.
#[pin_data]
pub struct Events {
    /// Leaf lock.
    #[pin]
    ring: SpinLock<Ring>,
}

impl Events {
    /// None has happened.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<impl PinInit<Self>> {
        let events = KVec::with_capacity(KEPT, GFP_KERNEL)?;
        Ok(pin_init!(Self {
            ring <- new_spinlock!(Ring { events, oldest: 0 }, "ceph::Events::ring"),
        }))
    }

    /// Notes what happened just now. Never sleeps.
    pub fn add(&self, args: fmt::Arguments<'_>) {
        let event = Event::new(args);
        let mut ring = self.ring.lock();
        if ring.events.len() < KEPT {
            // There is room.
            let _ = ring.events.push_within_capacity(event);
            return;
        }
        let oldest = ring.oldest;
        if let Some(slot) = ring.events.get_mut(oldest) {
            *slot = event;
        }
        ring.oldest = oldest.wrapping_add(1) % KEPT;
    }

    /// Prints the events, the oldest first, with their times as the kernel's log has
    /// them.
    pub fn show(&self, m: &SeqFile) {
        let ring = self.ring.lock();
        let (new, old) = ring
            .events
            .split_at_checked(ring.oldest)
            .unwrap_or_default();
        for event in Iterator::chain(old.iter(), new) {
            let (secs, micros) = (event.at / 1_000_000, event.at % 1_000_000);
            show!(m, "[{secs:5}.{micros:06}] {}\n", event.text());
        }
    }
}

#[kunit_tests(ceph_events)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut() {
        let event = Event::new(format_args!("{:>130}", 7));
        assert_eq!(event.text().len(), TEXT);
        let event = Event::new(format_args!("{:>119}é!", 7));
        assert_eq!(event.text().len(), TEXT - 1);
        assert_eq!(
            Event::new(format_args!("mds{} {}", 0, "open")).text(),
            "mds0 open"
        );
    }

    #[test]
    fn the_last_ones_are_kept() -> Result {
        let events = KBox::pin_init(Events::new()?, GFP_KERNEL)?;
        for number in 0..KEPT + 3 {
            events.add(format_args!("{number}"));
        }
        let ring = events.ring.lock();
        assert_eq!(ring.events.len(), KEPT);
        assert_eq!(ring.events[ring.oldest].text(), "3");
        assert_eq!(ring.events[ring.oldest - 1].text(), "66");
        Ok(())
    }
}
