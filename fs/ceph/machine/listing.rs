// SPDX-License-Identifier: GPL-2.0
//! The names of a directory, in the order in which readdir gives them.
//!
//! # Positions
//!
//! Servers list a directory in the order of the hashes of its names. A position in it is a
//! hash and a number, which counts the names of that hash from 2 on; 0 and 1 are `.` and
//! `..`. So a position stays good when names come and go, and when the directory is split
//! into fragments. The encoding is that of the C client.
//!
//! # Parts
//!
//! What one reply lists is a [`Part`]: a table of fixed size records, and all names in one
//! buffer. It never changes, and is shared by those who read the directory now and by what
//! the directory remembers ([`Listing`]). So listing costs no allocation for each name, and
//! giving it again touches neither dentries nor inodes.
use kernel::{prelude::*, sync::Arc};

/// A place in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub i64);

impl Position {
    const HASH_ORDER: i64 = 0xff << 52;
    const NUMBER_BITS: u32 = 28;
    const NUMBER_MASK: i64 = (1 << Self::NUMBER_BITS) - 1;
    const HASH_MASK: u32 = 0xff_ffff;
    /// Number of the first name of a hash, so that the start is not that of `.`.
    const FIRST: u32 = 2;
    /// After `.` and `..`.
    pub const START: Self = Self(2);

    /// The first name of a hash, of which the lowest 24 bits count.
    #[inline]
    pub const fn of_hash(hash: u32) -> Self {
        Self::new(hash, Self::FIRST)
    }

    const fn new(hash: u32, number: u32) -> Self {
        let hash = (hash & Self::HASH_MASK) as i64;
        Self(Self::HASH_ORDER | (hash << Self::NUMBER_BITS) | number as i64)
    }

    /// The hash; 0 at the start.
    pub const fn hash(self) -> u32 {
        if self.0 < Self::HASH_ORDER {
            return 0;
        }
        let [a, b, c, ..] = (self.0 >> Self::NUMBER_BITS).to_le_bytes();
        u32::from_le_bytes([a, b, c, 0])
    }

    /// Whether the names here and there have one hash.
    const fn has_hash_of(self, other: Self) -> bool {
        (self.0 ^ other.0) >> Self::NUMBER_BITS == 0
    }

    const fn number(self) -> u32 {
        (self.0 & Self::NUMBER_MASK) as u32
    }

    /// The place after it.
    #[inline]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

#[derive(Clone, Copy, Debug)]
struct Record {
    at: Position,
    ino: u64,
    name_end: u32,
    kind: u16,
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its place.
    pub at: Position,
    /// Its name.
    pub name: &'a [u8],
    /// Number of the inode that it names.
    pub ino: u64,
    /// That inode's mode, or the type bits of it.
    pub kind: u16,
}

/// Entries of a directory that follow each other.
#[derive(Debug, Default)]
pub struct Part {
    records: KVVec<Record>,
    names: KVVec<u8>,
}

impl Part {
    /// An empty one, with room for so many entries, and for so many bytes of names at first.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn with_capacity(entries: usize, bytes: usize) -> Result<Self> {
        Ok(Self {
            records: KVVec::with_capacity(entries, GFP_KERNEL)?,
            names: KVVec::with_capacity(bytes, GFP_KERNEL)?,
        })
    }

    /// Adds an entry at the end.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`EINVAL`] if its hash is less than that of the entry before it, or if
    /// there is no room left for an entry.
    pub fn push(&mut self, hash: u32, name: &[u8], ino: u64, kind: u16) -> Result {
        let first = Position::of_hash(hash);
        let at = match self.last() {
            Some(last) if last.has_hash_of(first) => last.next(),
            Some(last) if last > first => return Err(EINVAL),
            _ => first,
        };
        let name_start = self.names.len();
        let name_end = name_start.saturating_add(name.len());
        let record = Record {
            at,
            ino,
            name_end: u32::try_from(name_end).map_err(|_| EINVAL)?,
            kind,
        };
        self.names.extend_from_slice(name, GFP_KERNEL)?;
        // A name is only there together with its record.
        self.records.push_within_capacity(record).map_err(|_| {
            self.names.truncate(name_start);
            EINVAL
        })
    }

    /// Counts names of the same hash on from `before`, the last name of what the part
    /// follows.
    pub fn follow(&mut self, before: Position) {
        let count = before.number().saturating_sub(Position::FIRST - 1);
        for record in self.records.iter_mut() {
            if !record.at.has_hash_of(before) {
                break;
            }
            let number = record.at.number().saturating_add(count);
            record.at = Position::new(before.hash(), number);
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The place of the first entry.
    pub fn first(&self) -> Option<Position> {
        self.records.first().map(|record| record.at)
    }

    /// The place of the last entry.
    pub fn last(&self) -> Option<Position> {
        self.records.last().map(|record| record.at)
    }

    /// Name of the last entry.
    pub fn last_name(&self) -> Option<&[u8]> {
        self.last()
            .and_then(|at| self.from(at).next())
            .map(|entry| entry.name)
    }

    /// The entries from a place on.
    pub fn from(&self, at: Position) -> impl Iterator<Item = Entry<'_>> {
        let index = self.records.partition_point(|record| record.at < at);
        let (before, after) = self.records.split_at_checked(index).unwrap_or_default();
        let mut start = before.last().map_or(0, |record| record.name_end as usize);
        after.iter().map(move |record| {
            let end = record.name_end as usize;
            // It is there, as `push` put it there.
            let name = self.names.get(start..end).unwrap_or_default();
            start = end;
            Entry {
                at: record.at,
                name,
                ino: record.ino,
                kind: record.kind,
            }
        })
    }
}

/// All names of a directory.
#[derive(Default)]
pub struct Listing {
    parts: KVec<Arc<Part>>,
}

impl Listing {
    /// None yet.
    pub const fn new() -> Self {
        Self { parts: KVec::new() }
    }

    /// Adds what follows.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`EINVAL`] if it does not follow.
    pub fn push(&mut self, part: &Arc<Part>) -> Result {
        let Some(first) = part.first() else {
            return Ok(());
        };
        if self.parts.last().and_then(|part| part.last()) >= Some(first) {
            return Err(EINVAL);
        }
        self.parts.push(part.clone(), GFP_KERNEL)?;
        Ok(())
    }

    /// The entries from a place on. Finding it takes time that grows as the logarithm of
    /// the directory's size.
    pub fn from(&self, at: Position) -> impl Iterator<Item = Entry<'_>> {
        let skip = self.parts.partition_point(|part| part.last() < Some(at));
        let parts = self.parts.get(skip..).unwrap_or_default();
        parts.iter().flat_map(move |part| part.from(at))
    }
}

#[kunit_tests(ceph_machine_listing)]
mod tests {
    use super::*;

    fn part(entries: &[(u32, &[u8])]) -> Result<Part> {
        let mut part = Part::with_capacity(entries.len(), 0)?;
        for (i, (hash, name)) in entries.iter().enumerate() {
            part.push(*hash, name, i as u64, 0o100_000)?;
        }
        Ok(part)
    }

    #[test]
    fn positions_of_the_c_client() {
        let at = Position::new(0xab12_3456, 7);
        assert_eq!(at.0, 0x0ff1_2345_6000_0007);
        assert_eq!((at.hash(), at.number()), (0x12_3456, 7));
        assert_eq!(Position::START.hash(), 0);
        assert!(Position::START < Position::of_hash(0));
        assert!(Position::new(1, 9) < Position::of_hash(2));
        assert_eq!(at.next(), Position::new(0x12_3456, 8));
    }

    #[test]
    fn names_of_one_hash_are_counted() -> Result {
        let part = part(&[(1, b"a"), (7, b"bb"), (7, b"c"), (9, b"")])?;
        let all = part.from(Position::START);
        let mut numbers = all.map(|e| (e.at.hash(), e.at.number(), e.name, e.ino));
        assert_eq!(numbers.next(), Some((1, 2, &b"a"[..], 0)));
        assert_eq!(numbers.next(), Some((7, 2, &b"bb"[..], 1)));
        assert_eq!(numbers.next(), Some((7, 3, &b"c"[..], 2)));
        assert_eq!(numbers.next(), Some((9, 2, &b""[..], 3)));
        assert_eq!(numbers.next(), None);
        assert_eq!(part.last_name(), Some(&b""[..]));
        Ok(())
    }

    #[test]
    fn a_place_that_is_gone_is_the_next_one() -> Result {
        let part = part(&[(1, b"a"), (7, b"bb"), (7, b"c"), (9, b"d")])?;
        let at = |hash, number| {
            part.from(Position::new(hash, number))
                .next()
                .map(|e| e.name)
        };
        assert_eq!(at(1, 3), Some(&b"bb"[..]));
        assert_eq!(at(7, 3), Some(&b"c"[..]));
        assert_eq!(at(7, 4), Some(&b"d"[..]));
        assert_eq!(at(9, 3), None);
        Ok(())
    }

    #[test]
    fn a_part_counts_on_from_the_one_before() -> Result {
        let before = part(&[(7, b"a"), (7, b"b")])?;
        let mut next = part(&[(7, b"c"), (7, b"d"), (8, b"e")])?;
        next.follow(before.last().ok_or(EINVAL)?);
        let numbers = next
            .from(Position::START)
            .map(|e| (e.at.hash(), e.at.number()));
        assert!(numbers.eq([(7, 4), (7, 5), (8, 2)]));
        Ok(())
    }

    #[test]
    fn a_hash_that_goes_back_is_refused() -> Result {
        let mut part = part(&[(7, b"a")])?;
        assert_eq!(part.push(6, b"b", 1, 0), Err(EINVAL));
        assert_eq!(part.len(), 1);
        Ok(())
    }

    #[test]
    fn parts_make_a_listing() -> Result {
        let first = Arc::new(part(&[(1, b"a"), (2, b"b")])?, GFP_KERNEL)?;
        let second = Arc::new(part(&[(3, b"c"), (5, b"d")])?, GFP_KERNEL)?;
        let mut all = Listing::new();
        all.push(&first)?;
        all.push(&Arc::new(Part::default(), GFP_KERNEL)?)?;
        all.push(&second)?;
        assert_eq!(all.push(&first), Err(EINVAL));
        let from = |hash| all.from(Position::of_hash(hash)).map(|e| e.name);
        assert!(from(0).eq([b"a", b"b", b"c", b"d"]));
        assert!(from(2).eq([b"b", b"c", b"d"]));
        assert!(from(3).eq([b"c", b"d"]));
        assert!(from(4).eq([b"d"]));
        assert!(from(6).next().is_none());
        assert!(all.from(Position::START).eq(all.from(Position(0))));
        Ok(())
    }
}
