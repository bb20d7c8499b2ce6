// SPDX-License-Identifier: GPL-2.0
//! From bytes of a file to bytes of its objects, and back.
//!
//! A file is a sequence of stripe units. They are dealt out to `stripe_count`
//! objects in turn until these are full; then the next such set of objects begins.
use ceph_proto::errno::ebadmsg;
use kernel::prelude::*;

use crate::wire::layout::FileLayout;

/// A run of bytes in one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectExtent {
    /// Number of the object in the file.
    pub objno: u64,
    /// Where it begins in the object.
    pub offset: u64,
    /// How long it is; also in the file.
    pub len: u64,
}

/// The run of bytes in one object that the file's bytes from `offset` on lie in,
/// `len` bytes at most.
///
/// # Errors
///
/// `EBADMSG` for a layout that no file can have ([`FileLayout::check`]), and
/// [`EFBIG`] when the file's end would be passed.
pub fn map(layout: &FileLayout, offset: u64, len: u64) -> Result<ObjectExtent> {
    layout.check()?;
    offset.checked_add(len).ok_or(EFBIG)?;
    let unit = u64::from(layout.stripe_unit);
    let count = u64::from(layout.stripe_count);
    let units_per_object = u64::from(layout.object_size)
        .checked_div(unit)
        .ok_or_else(ebadmsg)?;
    let div = |a: u64, b: u64| -> Result<(u64, u64)> {
        Ok((
            a.checked_div(b).ok_or_else(ebadmsg)?,
            a.checked_rem(b).ok_or_else(ebadmsg)?,
        ))
    };
    let (unit_no, in_unit) = div(offset, unit)?;
    let (stripe, column) = div(unit_no, count)?;
    let (set, row) = div(stripe, units_per_object)?;
    let objno = set.checked_mul(count).and_then(|n| n.checked_add(column));
    let start = row.checked_mul(unit).and_then(|n| n.checked_add(in_unit));
    // With one column the units of an object follow each other in the file too.
    let left = if count == 1 {
        let done = start.ok_or(EFBIG)?;
        u64::from(layout.object_size).saturating_sub(done)
    } else {
        unit.saturating_sub(in_unit)
    };
    Ok(ObjectExtent {
        objno: objno.ok_or(EFBIG)?,
        offset: start.ok_or(EFBIG)?,
        len: len.min(left),
    })
}

/// All runs in turn, in the order of the file.
pub fn extents(
    layout: FileLayout,
    mut offset: u64,
    mut len: u64,
) -> impl Iterator<Item = Result<ObjectExtent>> {
    core::iter::from_fn(move || {
        if len == 0 {
            return None;
        }
        let extent = map(&layout, offset, len);
        match &extent {
            Ok(e) => {
                offset = offset.saturating_add(e.len);
                len = len.saturating_sub(e.len);
            }
            Err(_) => len = 0,
        }
        Some(extent)
    })
}

#[kunit_tests(ceph_machine_striper)]
mod tests {
    use super::*;

    const K: u64 = 1024;

    fn layout(unit: u32, count: u32, object: u32) -> FileLayout {
        FileLayout {
            stripe_unit: unit,
            stripe_count: count,
            object_size: object,
            pool: 1,
        }
    }

    #[test]
    fn whole_objects() -> Result {
        let l = layout(4 << 20, 1, 4 << 20);
        let e = map(&l, (9 << 20) + 5, 100 << 20)?;
        assert_eq!(
            (e.objno, e.offset, e.len),
            (2, (1 << 20) + 5, (3 << 20) - 5)
        );
        assert_eq!(extents(l, 0, 10 << 20).count(), 3);
        Ok(())
    }

    #[test]
    fn units_are_dealt_out() -> Result {
        // 64 KiB units over two objects of 1 MiB: 16 units each.
        let l = layout(64 << 10, 2, 1 << 20);
        for (offset, objno, at) in [
            (0, 0, 0),
            (64 * K, 1, 0),
            (128 * K, 0, 64 * K),
            (128 * K + 7, 0, 64 * K + 7),
            (2048 * K - 1, 1, 1024 * K - 1),
            (2048 * K, 2, 0),
            (2048 * K + 64 * K, 3, 0),
        ] {
            let e = map(&l, offset, 1)?;
            assert_eq!((e.objno, e.offset, e.len), (objno, at, 1));
        }
        let runs = extents(l, 10, 200 * K);
        let mut sum = 0;
        for run in runs {
            let run = run?;
            assert!(run.len <= 64 * K);
            sum += run.len;
        }
        assert_eq!(sum, 200 * K);
        Ok(())
    }

    #[test]
    fn every_byte_has_one_place() -> Result {
        let l = layout(64 << 10, 3, 128 << 10);
        let mut seen = KVec::new();
        for unit in 0..24u64 {
            let e = map(&l, unit * 64 * K, 64 * K)?;
            assert_eq!(e.len, 64 * K);
            assert!(!seen.contains(&(e.objno, e.offset)));
            seen.push((e.objno, e.offset), GFP_KERNEL)?;
        }
        Ok(())
    }

    #[test]
    fn impossible_layouts() {
        assert!(map(&layout(0, 1, 1 << 20), 0, 1).is_err());
        assert!(map(&layout(1 << 16, 0, 1 << 20), 0, 1).is_err());
        assert!(map(&layout(3 << 16, 1, 1 << 20), 0, 1).is_err());
        assert!(map(&layout(1 << 16, 1, 1 << 20), u64::MAX, 1).is_err());
        assert!(map(&layout(1 << 16, 1, 1 << 20), u64::MAX - 1, 1).is_ok());
    }
}
