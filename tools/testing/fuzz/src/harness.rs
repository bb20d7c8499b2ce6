// SPDX-License-Identifier: GPL-2.0
//! What all targets share: how an input is read, and what every decoder must keep.
use ceph_proto::wire::{decode::Decoder, encode::Encoder};
use kernel::host::{live, memory_limit, peak_of, with_one_fault};
use kernel::prelude::*;

/// Which allocation fails, if any: most inputs let all succeed.
pub fn fault(byte: u8) -> Option<u64> {
    (1..=64).contains(&byte).then(|| u64::from(byte) - 1)
}

/// An input of a decoder: what is decoded, and behind it three bytes for the rest, so
/// that a message from the wire becomes an input by adding them.
pub struct Input<'a> {
    /// What is decoded.
    pub bytes: &'a [u8],
    /// Second choice, as a target wants it.
    pub aux: u8,
    /// First choice, as a target wants it: mostly the version of the message.
    pub param: u8,
    fault: u8,
}

impl<'a> Input<'a> {
    /// Splits an input.
    pub fn new(raw: &'a [u8]) -> Self {
        let (bytes, [aux, param, fault]) = match raw.split_last_chunk::<3>() {
            Some((bytes, choices)) => (bytes, *choices),
            None => (raw, [0; 3]),
        };
        Self {
            bytes,
            aux,
            param,
            fault,
        }
    }

    /// Decodes, with all that must hold: no more memory than the limit allows; where
    /// an allocation fails, `ENOMEM`; nothing leaks. `then` looks at the value.
    pub fn check<T>(&self, decode: impl FnOnce(&'a [u8]) -> Result<T>, then: impl FnOnce(T)) {
        let before = live();
        let result = match fault(self.fault) {
            Some(n) => {
                let (result, failed) = with_one_fault(n, || decode(self.bytes));
                if failed {
                    let error = result.err();
                    assert_eq!(error, Some(ENOMEM), "when allocation {n} failed");
                    assert_eq!(live(), before, "leaked when allocation {n} failed");
                    return;
                }
                result
            }
            None => {
                let (result, peak) = peak_of(|| decode(self.bytes));
                let limit = memory_limit(self.bytes.len());
                assert!(peak <= limit, "{peak} bytes allocated, more than {limit}");
                result
            }
        };
        if let Ok(value) = result {
            then(value);
        }
        assert_eq!(live(), before, "leaked");
    }

    /// As [`Input::check`] of a decoder that reads from a [`Decoder`].
    pub fn decode<T>(
        &self,
        decode: impl FnOnce(&mut Decoder<'a>) -> Result<T>,
        then: impl FnOnce(T),
    ) {
        self.check(|bytes| decode(&mut Decoder::new(bytes)), then);
    }
}

/// What was decoded and is encoded must decode to the same, and to the end.
pub fn again<T>(
    value: &T,
    encode: impl FnOnce(&T, &mut Encoder) -> Result,
    decode: impl FnOnce(&mut Decoder<'_>) -> Result<T>,
    same: impl FnOnce(&T, &T) -> bool,
) {
    let mut e = Encoder::new();
    encode(value, &mut e).expect("what was decoded can be encoded");
    let mut d = Decoder::new(e.as_slice());
    let second = decode(&mut d).expect("what was encoded can be decoded");
    assert!(same(value, &second), "round trip changes the value");
    assert!(d.is_empty(), "round trip leaves bytes");
}

/// A source of small decisions for state machines: the input, and zeroes behind it.
#[derive(Clone, Copy)]
pub struct Events<'a>(pub &'a [u8]);

impl<'a> Events<'a> {
    /// Whether there is more.
    pub fn more(&self) -> bool {
        !self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(N);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }

    /// So many bytes, or what there is.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// A byte.
    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// A number of 16 bits.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// A number of 32 bits.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A number of 64 bits.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A byte with a length, and that many bytes.
    pub fn blob(&mut self) -> &'a [u8] {
        let len = usize::from(self.u8());
        self.bytes(len)
    }
}

/// Runs a state machine's events, of whose allocations one fails if the first byte
/// says so, and looks for leaks.
pub fn run_events(raw: &[u8], run: impl FnOnce(Events<'_>)) {
    let before = live();
    let mut events = Events(raw);
    match fault(events.u8()) {
        Some(n) => {
            with_one_fault(n, || run(events));
        }
        None => run(events),
    }
    assert_eq!(live(), before, "leaked");
}
