// SPDX-License-Identifier: GPL-2.0
//! A sorted map from keys to short lists, in two allocations.
//!
//! Maps of the cluster hold many thousands of tiny lists (placement groups with
//! their OSDs, ids with their names). They are built once, in order, from a
//! `std::map` on the wire, read often, and copied with some entries changed when
//! an incremental map arrives; so an entry of its own for each would only cost.
use core::ops::Range;
use kernel::prelude::*;

use super::decode::Decoder;
use crate::errno::ebadmsg;

/// See the module's documentation.
pub struct FlatMap<K, V> {
    entries: KVVec<Entry<K>>,
    values: KVVec<V>,
}

struct Entry<K> {
    key: K,
    start: u32,
    len: u32,
}

impl<K> Entry<K> {
    fn range(&self) -> Range<usize> {
        let start = usize::try_from(self.start).unwrap_or(usize::MAX);
        let len = usize::try_from(self.len).unwrap_or(0);
        start..start.saturating_add(len)
    }
}

impl<K, V> Default for FlatMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> FlatMap<K, V> {
    /// An empty map.
    pub const fn new() -> Self {
        Self {
            entries: KVVec::new(),
            values: KVVec::new(),
        }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All keys in order, with their lists.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &[V])> {
        self.entries
            .iter()
            .map(|entry| (&entry.key, self.values.get(entry.range()).unwrap_or(&[])))
    }
}

impl<K: Copy + Ord, V: Copy> FlatMap<K, V> {
    /// The list of `key`.
    #[inline]
    pub fn get(&self, key: &K) -> Option<&[V]> {
        let at = self.entries.binary_search_by(|e| e.key.cmp(key)).ok()?;
        self.values.get(self.entries.get(at)?.range())
    }

    /// Adds a key that is greater than all there are.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if it is not, [`E2BIG`] if there are too many values.
    pub fn push(&mut self, key: K, list: &[V]) -> Result {
        let start = self.begin(&key)?;
        self.values.extend_from_slice(list, GFP_KERNEL)?;
        self.finish(key, start)
    }

    fn begin(&self, key: &K) -> Result<usize> {
        match self.entries.last() {
            Some(last) if last.key >= *key => Err(ebadmsg()),
            _ => Ok(self.values.len()),
        }
    }

    fn finish(&mut self, key: K, start: usize) -> Result {
        let len = self.values.len().saturating_sub(start);
        let entry = Entry {
            key,
            start: u32::try_from(start).map_err(|_| E2BIG)?,
            len: u32::try_from(len).map_err(|_| E2BIG)?,
        };
        self.entries.push(entry, GFP_KERNEL)?;
        Ok(())
    }

    /// Takes a counted map, each key followed by a counted list.
    ///
    /// `min_key` and `min_value` are the least sizes on the wire.
    ///
    /// # Errors
    ///
    /// `EBADMSG` also if the keys do not ascend or a list is longer than `max_list`.
    pub fn decode<'a>(
        d: &mut Decoder<'a>,
        (min_key, min_value): (usize, usize),
        max_list: usize,
        mut key: impl FnMut(&mut Decoder<'a>) -> Result<K>,
        mut value: impl FnMut(&mut Decoder<'a>) -> Result<V>,
    ) -> Result<Self> {
        let mut map = Self::new();
        let count = d.count(min_key.saturating_add(4))?;
        map.entries.reserve(count, GFP_KERNEL)?;
        for _ in 0..count {
            let key = key(d)?;
            let start = map.begin(&key)?;
            let len = d.count(min_value)?;
            if len > max_list {
                return Err(ebadmsg());
            }
            for _ in 0..len {
                map.values.push(value(d)?, GFP_KERNEL)?;
            }
            map.finish(key, start)?;
        }
        Ok(map)
    }

    /// Takes a counted map, each key followed by one value.
    pub fn decode_single<'a>(
        d: &mut Decoder<'a>,
        min_entry: usize,
        mut key: impl FnMut(&mut Decoder<'a>) -> Result<K>,
        mut value: impl FnMut(&mut Decoder<'a>) -> Result<V>,
    ) -> Result<Self> {
        let mut map = Self::new();
        let count = d.count(min_entry)?;
        map.entries.reserve(count, GFP_KERNEL)?;
        map.values.reserve(count, GFP_KERNEL)?;
        for _ in 0..count {
            let key = key(d)?;
            let value = value(d)?;
            map.push(key, &[value])?;
        }
        Ok(map)
    }

    /// A copy in which the entries of `changes` replace those here.
    ///
    /// The keys in `removed`, which are sorted, are not part of the result, and neither is
    /// what changes to the list `gone`.
    pub fn merged(&self, changes: &Self, removed: &[K], gone: Option<&[V]>) -> Result<Self>
    where
        V: PartialEq,
    {
        let mut result = Self::new();
        let room = self.len().saturating_add(changes.len());
        result.entries.reserve(room, GFP_KERNEL)?;
        result.values.reserve(
            self.values.len().saturating_add(changes.values.len()),
            GFP_KERNEL,
        )?;
        let (mut old, mut new) = (self.iter().peekable(), changes.iter().peekable());
        loop {
            let take_new = match (old.peek(), new.peek()) {
                (None, None) => return Ok(result),
                (Some(_), None) => false,
                (None, Some(_)) => true,
                (Some((a, _)), Some((b, _))) => {
                    if a == b {
                        old.next();
                        true
                    } else {
                        a > b
                    }
                }
            };
            let entry = if take_new {
                new.next().filter(|(_, list)| gone != Some(list))
            } else {
                old.next()
            };
            if let Some((key, list)) = entry {
                if removed.binary_search(key).is_err() {
                    result.push(*key, list)?;
                }
            }
        }
    }
}

impl<K: Copy + Ord> FlatMap<K, u8> {
    /// Takes a counted map, each key followed by a string.
    pub fn decode_names<'a>(
        d: &mut Decoder<'a>,
        min_key: usize,
        mut key: impl FnMut(&mut Decoder<'a>) -> Result<K>,
    ) -> Result<Self> {
        let mut map = Self::new();
        let count = d.count(min_key.saturating_add(4))?;
        map.entries.reserve(count, GFP_KERNEL)?;
        for _ in 0..count {
            let key = key(d)?;
            map.push(key, d.blob()?)?;
        }
        Ok(map)
    }
}

#[kunit_tests(ceph_wire_flat_map)]
mod tests {
    use super::*;

    #[test]
    fn keys_ascend() -> Result {
        let mut map = FlatMap::new();
        map.push(3u32, &[1u8, 2])?;
        map.push(5, &[])?;
        assert!(map.push(5, &[9]).is_err());
        assert_eq!(map.get(&3), Some(&[1u8, 2][..]));
        assert_eq!(map.get(&5), Some(&[][..]));
        assert_eq!(map.get(&4), None);
        Ok(())
    }

    #[test]
    fn changes_replace_add_and_remove() -> Result {
        let mut map = FlatMap::new();
        for key in [1u32, 3, 5, 7] {
            map.push(key, &[key])?;
        }
        let mut changes = FlatMap::new();
        changes.push(0, &[10])?;
        changes.push(3, &[13, 14])?;
        changes.push(5, &[])?;
        changes.push(9, &[19])?;
        let merged = map.merged(&changes, &[7], Some(&[]))?;
        let mut keys = [0u32; 4];
        for (place, (key, _)) in keys.iter_mut().zip(merged.iter()) {
            *place = *key;
        }
        assert_eq!((merged.len(), keys), (4, [0, 1, 3, 9]));
        assert_eq!(merged.get(&3), Some(&[13, 14][..]));
        Ok(())
    }

    #[test]
    fn truncated_or_unordered_bytes_are_refused() -> Result {
        let bytes = [
            2, 0, 0, 0, // entries
            1, 0, 0, 0, 1, 0, 0, 0, b'a', // 1: "a"
            2, 0, 0, 0, 2, 0, 0, 0, b'b', b'c', // 2: "bc"
        ];
        let names = |bytes: &[u8]| FlatMap::decode_names(&mut Decoder::new(bytes), 4, Decoder::u32);
        assert_eq!(names(&bytes)?.get(&2), Some(&b"bc"[..]));
        for len in 0..bytes.len() {
            assert!(names(bytes.get(..len).ok_or(EINVAL)?).is_err());
        }
        let mut same = bytes;
        same[13] = 1;
        assert!(names(&same).is_err());
        Ok(())
    }
}
