// SPDX-License-Identifier: GPL-2.0
//! The hashes that place data: Robert Jenkins' 32-bit mix over integers (CRUSH)
//! and over object names (pools), and the old dcache hash of names.
//!
//! All servers and clients must agree on every bit of them.
use core::num::Wrapping;
use kernel::prelude::*;

/// The only hash of CRUSH buckets (`CRUSH_HASH_RJENKINS1`).
pub const RJENKINS1: u8 = 0;

/// Hash of object names: dcache hash (`CEPH_STR_HASH_LINUX`).
pub const STR_HASH_LINUX: u8 = 1;
/// Hash of object names: Jenkins (`CEPH_STR_HASH_RJENKINS`), what pools use.
pub const STR_HASH_RJENKINS: u8 = 2;

type Word = Wrapping<u32>;

const SEED: u32 = 1_315_423_911;
const X: Word = Wrapping(231_232);
const Y: Word = Wrapping(1232);

#[inline(always)]
fn mix(a: &mut Word, b: &mut Word, c: &mut Word) {
    *a = (*a - *b - *c) ^ (*c >> 13);
    *b = (*b - *c - *a) ^ (*a << 8);
    *c = (*c - *a - *b) ^ (*b >> 13);
    *a = (*a - *b - *c) ^ (*c >> 12);
    *b = (*b - *c - *a) ^ (*a << 16);
    *c = (*c - *a - *b) ^ (*b >> 5);
    *a = (*a - *b - *c) ^ (*c >> 3);
    *b = (*b - *c - *a) ^ (*a << 10);
    *c = (*c - *a - *b) ^ (*b >> 15);
}

/// `crush_hash32_2`: hash of two words.
pub fn hash2(a: u32, b: u32) -> u32 {
    let mut hash = Wrapping(SEED ^ a ^ b);
    let (mut a, mut b, mut x, mut y) = (Wrapping(a), Wrapping(b), X, Y);
    mix(&mut a, &mut b, &mut hash);
    mix(&mut x, &mut a, &mut hash);
    mix(&mut b, &mut y, &mut hash);
    hash.0
}

/// `crush_hash32_3`: hash of three words.
#[inline]
pub fn hash3(a: u32, b: u32, c: u32) -> u32 {
    let mut hash = Wrapping(SEED ^ a ^ b ^ c);
    let (mut a, mut b, mut c) = (Wrapping(a), Wrapping(b), Wrapping(c));
    let (mut x, mut y) = (X, Y);
    mix(&mut a, &mut b, &mut hash);
    mix(&mut c, &mut x, &mut hash);
    mix(&mut y, &mut a, &mut hash);
    mix(&mut b, &mut x, &mut hash);
    mix(&mut y, &mut c, &mut hash);
    hash.0
}

/// `crush_hash32_4`: hash of four words.
#[inline]
pub fn hash4(a: u32, b: u32, c: u32, d: u32) -> u32 {
    let mut hash = Wrapping(SEED ^ a ^ b ^ c ^ d);
    let (mut a, mut b, mut c, mut d) = (Wrapping(a), Wrapping(b), Wrapping(c), Wrapping(d));
    let (mut x, mut y) = (X, Y);
    mix(&mut a, &mut b, &mut hash);
    mix(&mut c, &mut d, &mut hash);
    mix(&mut a, &mut x, &mut hash);
    mix(&mut y, &mut b, &mut hash);
    mix(&mut c, &mut x, &mut hash);
    mix(&mut y, &mut d, &mut hash);
    hash.0
}

/// A name as a sequence of pieces, so that "namespace, separator, object" need not
/// be joined in memory before it is hashed.
fn bytes<'a>(pieces: &'a [&'a [u8]]) -> impl Iterator<Item = u8> + 'a {
    pieces.iter().flat_map(|piece| piece.iter().copied())
}

/// Hash of an object's name, given in pieces (`ceph_str_hash`); all ones for a
/// kind of hash that is not known.
pub fn hash_name(kind: u8, pieces: &[&[u8]]) -> u32 {
    match kind {
        STR_HASH_LINUX => hash_name_linux(pieces),
        STR_HASH_RJENKINS => hash_name_rjenkins(pieces),
        _ => u32::MAX,
    }
}

/// The same of a name in one piece, of which nothing has to wait for the rest of a block.
pub fn hash_whole_name(kind: u8, name: &[u8]) -> u32 {
    if kind != STR_HASH_RJENKINS {
        return hash_name(kind, &[name]);
    }
    let mut state = START;
    let mut rest = name;
    while let Some((block, after)) = rest.split_first_chunk() {
        add_block(&mut state, block);
        rest = after;
    }
    finish(state, name.len(), rest)
}

fn hash_name_linux(pieces: &[&[u8]]) -> u32 {
    bytes(pieces)
        .map(|byte| Wrapping(u32::from(byte)))
        .fold(Wrapping(0u32), |hash, c| {
            (hash + (c << 4) + (c >> 4)) * Wrapping(11)
        })
        .0
}

const GOLDEN: Word = Wrapping(0x9e37_79b9);

/// Where a hash of a name begins.
const START: [Word; 3] = [GOLDEN, GOLDEN, Wrapping(0)];

/// Robert Jenkins' hash of 1996, <https://burtleburtle.net/bob/hash/evahash.html>.
fn hash_name_rjenkins(pieces: &[&[u8]]) -> u32 {
    let mut state = START;
    let mut length = 0usize;
    let mut tail = [0u8; BLOCK];
    let mut filled = 0usize;
    for piece in pieces {
        let mut rest = *piece;
        length = length.wrapping_add(rest.len());
        while !rest.is_empty() {
            if let (0, Some((block, after))) = (filled, rest.split_first_chunk()) {
                add_block(&mut state, block);
                rest = after;
                continue;
            }
            // What is left of a piece waits for the next.
            let room = tail.get_mut(filled..).unwrap_or_default();
            let (now, after) = rest.split_at(room.len().min(rest.len()));
            for (to, from) in room.iter_mut().zip(now) {
                *to = *from;
            }
            rest = after;
            filled = filled.wrapping_add(now.len());
            if filled == BLOCK {
                add_block(&mut state, &tail);
                filled = 0;
            }
        }
    }
    finish(state, length, tail.get(..filled).unwrap_or_default())
}

/// Bytes that are hashed at once.
const BLOCK: usize = 12;

#[inline(always)]
fn add_block(state: &mut [Word; 3], block: &[u8; BLOCK]) {
    let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3] = *block;
    let [x, y, z] = [[a0, a1, a2, a3], [b0, b1, b2, b3], [c0, c1, c2, c3]]
        .map(|bytes| Wrapping(u32::from_le_bytes(bytes)));
    let [mut a, mut b, mut c] = *state;
    a += x;
    b += y;
    c += z;
    mix(&mut a, &mut b, &mut c);
    *state = [a, b, c];
}

/// The first word of what is left, as if zeros followed, and what follows it.
#[inline(always)]
fn take_word(bytes: &[u8]) -> (Word, &[u8]) {
    if let Some((word, rest)) = bytes.split_first_chunk() {
        return (Wrapping(u32::from_le_bytes(*word)), rest);
    }
    // Not put together bytewise, which is slow.
    let word = match bytes {
        [a, b, c, ..] => u32::from(*a) | u32::from(*b) << 8 | u32::from(*c) << 16,
        [a, b] => u32::from(*a) | u32::from(*b) << 8,
        [a] => u32::from(*a),
        [] => 0,
    };
    (Wrapping(word), &[])
}

/// Hashes what is left, less than a block, and the length of all.
#[inline(always)]
fn finish(state: [Word; 3], length: usize, rest: &[u8]) -> u32 {
    let (x, rest) = take_word(rest);
    let (y, rest) = take_word(rest);
    let (z, _) = take_word(rest);
    let [mut a, mut b, mut c] = state;
    a += x;
    b += y;
    // The lowest byte of the last word belongs to the length.
    c += (z << 8) + Wrapping(u32::try_from(length).unwrap_or(u32::MAX));
    mix(&mut a, &mut b, &mut c);
    c.0
}

#[kunit_tests(ceph_crush_hash)]
mod tests {
    use super::*;

    #[test]
    fn known_names() {
        // `ceph osd map` and `rados` print these for real objects.
        let hash = |name: &[u8]| hash_name(STR_HASH_RJENKINS, &[name]);
        assert_eq!(hash(b""), 0xbd49_d10d);
        assert_eq!(hash(b"10000000001.00000000"), 0x0c9e_0747);
        assert_eq!(hash(b"10000000001.00000001"), 0xb1e4_64af);
    }

    #[test]
    fn pieces_do_not_matter() {
        for kind in [STR_HASH_LINUX, STR_HASH_RJENKINS] {
            let whole = hash_name(kind, &[b"name_space\x1fobject.name"]);
            let parts = hash_name(kind, &[b"name_space", b"\x1f", b"object.name"]);
            assert_eq!(whole, parts);
            assert_eq!(whole, hash_whole_name(kind, b"name_space\x1fobject.name"));
            // Whatever the pieces, whole blocks among them.
            let name = b"a name of more than two blocks of it";
            for cut in 0..=name.len() {
                let (one, two) = name.split_at(cut);
                assert_eq!(hash_name(kind, &[one, b"", two]), hash_name(kind, &[name]));
                assert_eq!(hash_whole_name(kind, one), hash_name(kind, &[one]));
            }
        }
    }
}
