// SPDX-License-Identifier: GPL-2.0
//! Where the bytes of a file are.
use crate::harness::Events;
use ceph_fs_proto::machine::striper::extents;
use ceph_fs_proto::wire::layout::FileLayout;

pub(crate) fn striper(raw: &[u8]) {
    let mut e = Events(raw);
    let shift = e.u8();
    let layout = FileLayout {
        stripe_unit: e.u32() << (shift & 15),
        stripe_count: e.u32() >> (shift & 16),
        object_size: e.u32() << (shift & 15),
        pool: i64::from(e.u8()) - 1,
    };
    let (offset, len) = (e.u64(), e.u64());
    let good = layout.check().is_ok() && offset.checked_add(len).is_some();
    let mut done = 0;
    for extent in extents(layout, offset, len).take(64) {
        let Ok(extent) = extent else {
            // Only object numbers can be too large then.
            assert!(!good || offset > u64::MAX >> 1 || layout.stripe_count > 1);
            return;
        };
        assert!(good && extent.len > 0 && extent.len <= len - done);
        assert!(extent.offset + extent.len <= u64::from(layout.object_size));
        // Back again.
        let (unit, count) = (
            u128::from(layout.stripe_unit),
            u128::from(layout.stripe_count),
        );
        let (in_object, objno) = (u128::from(extent.offset), u128::from(extent.objno));
        let rows = u128::from(layout.object_size) / unit;
        let stripe = objno / count * rows + in_object / unit;
        let at = (stripe * count + objno % count) * unit + in_object % unit;
        assert_eq!(at, u128::from(offset) + u128::from(done));
        done += extent.len;
    }
}
