// SPDX-License-Identifier: GPL-2.0
//! What only the host can do: count the memory of each thread and let
//! allocations fail.
use crate::alloc::AllocError;
use crate::error::{code::ENOMEM, Result};
use std::cell::Cell;

#[derive(Clone, Copy)]
struct Counts {
    live: usize,
    peak: usize,
    /// Allocations that succeed before one fails.
    left: u64,
    /// Only one fails, not all that follow.
    once: bool,
    /// One failed.
    failed: bool,
}

thread_local!(static COUNTS: Cell<Counts> = const {
    Cell::new(Counts { live: 0, peak: 0, left: u64::MAX, once: false, failed: false })
});

/// Memory that is held by a vector or box of this thread.
pub(crate) struct Charge(usize);

impl Charge {
    pub(crate) const NONE: Self = Self(0);

    /// What the allocator is asked first: it may refuse.
    pub(crate) fn may_allocate() -> Result<(), AllocError> {
        let mut c = COUNTS.get();
        match c.left {
            0 => {
                c.failed = true;
                if c.once {
                    c.left = u64::MAX;
                }
                COUNTS.set(c);
                return Err(AllocError);
            }
            u64::MAX => return Ok(()),
            _ => c.left -= 1,
        }
        COUNTS.set(c);
        Ok(())
    }

    pub(crate) fn set(&mut self, bytes: usize) {
        let mut c = COUNTS.get();
        // What one thread allocated another may free.
        c.live = c.live.wrapping_sub(self.0).wrapping_add(bytes);
        if (c.live as isize) > (c.peak as isize) {
            c.peak = c.live;
        }
        COUNTS.set(c);
        self.0 = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Runs `f` and returns by how many bytes the thread's memory grew at its peak.
pub fn peak_of<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = COUNTS.get();
    COUNTS.set(Counts {
        peak: before.live,
        ..before
    });
    let value = f();
    let after = COUNTS.get();
    COUNTS.set(Counts {
        peak: after.peak.max(before.peak),
        ..after
    });
    (value, after.peak.wrapping_sub(before.live))
}

/// Runs `f` while only `allocations` more succeed in this thread.
pub fn with_faults<T>(allocations: u64, f: impl FnOnce() -> T) -> T {
    let set = |left| {
        COUNTS.set(Counts {
            left,
            ..COUNTS.get()
        })
    };
    set(allocations);
    let value = f();
    set(u64::MAX);
    value
}

/// Runs `f` while, after so many allocations of this thread, one fails and no other.
/// Whether it came to that.
pub fn with_one_fault<T>(allocations: u64, f: impl FnOnce() -> T) -> (T, bool) {
    COUNTS.set(Counts {
        left: allocations,
        once: true,
        failed: false,
        ..COUNTS.get()
    });
    let value = f();
    let after = COUNTS.get();
    COUNTS.set(Counts {
        left: u64::MAX,
        once: false,
        ..after
    });
    (value, after.failed)
}

/// Bytes that are held by vectors and boxes of this thread.
pub fn live() -> usize {
    COUNTS.get().live
}

/// Lets every allocation of `f` fail in its turn: each time `f` must return
/// `ENOMEM`, and in the end succeed.
pub fn check_faults<T>(mut f: impl FnMut() -> Result<T>) {
    for allocations in 0..100_000 {
        match with_faults(allocations, &mut f) {
            Ok(_) => return,
            Err(e) => assert_eq!(e, ENOMEM, "allocation {allocations} failed"),
        }
    }
    panic!("no end of allocations");
}

/// Most that decoding `len` bytes may allocate.
pub const fn memory_limit(len: usize) -> usize {
    len * 16 + 4096
}

/// Checks that `decode` keeps within [`memory_limit`], and does not panic: on
/// `bytes`, which it must accept, on every truncation of them, on bytes with any
/// one, two or four of them set to ones, and with every allocation failing.
pub fn check_decoder<T>(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T>) {
    let run = |bytes: &[u8], what: &str| {
        let (result, peak) = peak_of(|| decode(bytes).map(drop));
        let limit = memory_limit(bytes.len());
        assert!(
            peak <= limit,
            "{peak} bytes allocated for {} of input ({what}), more than {limit}",
            bytes.len()
        );
        result
    };
    if let Err(e) = run(bytes, "valid") {
        panic!("valid bytes refused: {e:?}");
    }
    // All of a short input, a sample of a long one: the work is quadratic.
    let step = (bytes.len() / 2048).max(1);
    for at in (0..bytes.len()).step_by(step) {
        let _ = run(&bytes[..at], "truncated");
        for width in [1, 2, 4] {
            let mut bad = bytes.to_vec();
            let end = bytes.len().min(at + width);
            bad[at..end].fill(0xff);
            let _ = run(&bad, "with ones");
            if width == 4 {
                // A count that is large and yet could pass a coarse check.
                bad[at..end].fill(0);
                bad[at] = u8::try_from(bytes.len().min(255)).unwrap_or(255);
                let _ = run(&bad, "with a large count");
            }
        }
    }
    if bytes.len() <= 64 * 1024 {
        check_faults(|| decode(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[test]
    fn memory_is_counted() -> Result {
        let (v, peak) = peak_of(|| -> Result<_> {
            drop(KVec::<u64>::with_capacity(100, GFP_KERNEL)?);
            KVVec::<u8>::from_elem(0, 10, GFP_KERNEL).map_err(Error::from)
        });
        let v = v?;
        assert_eq!(peak, 800);
        let (rest, peak) = peak_of(|| v.into_iter().collect(GFP_KERNEL));
        assert_eq!((rest.len(), peak), (10, 0));
        let (_, peak) = peak_of(|| KBox::new([0u8; 64], GFP_KERNEL));
        assert_eq!(peak, 64);
        Ok(())
    }

    #[test]
    fn boxes_hold_trait_objects() -> Result {
        let b: KBox<dyn Fn() -> u32> = KBox::new(|| 7, GFP_KERNEL)?;
        assert_eq!(b(), 7);
        assert_eq!(crate::kvec![1, 2, 3]?, [1, 2, 3]);
        Ok(())
    }

    #[test]
    fn faults_are_reported() {
        let two = || -> Result<_> { Ok((crate::kvec![1u8; 3]?, KBox::new(1u8, GFP_KERNEL)?)) };
        let (first, failed) = with_one_fault(0, || (two().is_err(), two().is_ok()));
        assert_eq!((first, failed), ((true, true), true));
        let (held, failed) = with_one_fault(2, || two().map(|two| (live(), two)));
        assert_eq!((held.map(|held| held.0), failed), (Ok(4), false));
        assert_eq!(live(), 0);
        assert_eq!(with_faults(1, two).err(), Some(ENOMEM));
        check_faults(two);
    }

    #[test]
    #[should_panic(expected = "bytes allocated")]
    fn a_greedy_decoder_is_caught() {
        check_decoder(&[0; 8], |b| {
            let n = b.first().copied().unwrap_or(0);
            Ok(KVec::<u8>::with_capacity(usize::from(n) * 100, GFP_KERNEL)?)
        });
    }
}
