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

fn hash_name_linux(pieces: &[&[u8]]) -> u32 {
    bytes(pieces)
        .map(|byte| Wrapping(u32::from(byte)))
        .fold(Wrapping(0u32), |hash, c| {
            (hash + (c << 4) + (c >> 4)) * Wrapping(11)
        })
        .0
}

fn hash_name_rjenkins(pieces: &[&[u8]]) -> u32 {
    let golden = Wrapping(0x9e37_79b9u32);
    let (mut a, mut b, mut c) = (golden, golden, Wrapping(0u32));
    let mut length = Wrapping(0u32);
    let mut words = [Wrapping(0u32); 3];
    let mut filled = 0usize;
    for byte in bytes(pieces) {
        length += 1;
        let shift = (filled & 3) << 3;
        if let Some(word) = words.get_mut(filled >> 2) {
            *word += Wrapping(u32::from(byte)) << shift;
        }
        filled = filled.wrapping_add(1);
        if filled == 12 {
            let [x, y, z] = words;
            a += x;
            b += y;
            c += z;
            mix(&mut a, &mut b, &mut c);
            words = [Wrapping(0); 3];
            filled = 0;
        }
    }
    // The lowest byte of the last word belongs to the length.
    let [x, y, z] = words;
    c += length;
    a += x;
    b += y;
    c += z << 8;
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
        }
    }
}
