// SPDX-License-Identifier: GPL-2.0
//! Names of the feature bits that daemons and clients tell each other
//! (Ceph: src/include/ceph_features.h).
//!
//! Bits that were retired have been given new meanings. Only the newest is here: a daemon
//! that requires one of them means that.
use core::fmt;
use kernel::prelude::*;

/// What a bit means, if it means several things then the first of them that the
/// cluster's tools know by name.
static NAMES: [Option<&str>; 64] = [
    Some("UID"),
    Some("NOSRCADDR"),
    Some("SERVER_NAUTILUS"),
    Some("FLOCK"),
    Some("SUBSCRIBE2"),
    Some("MONNAMES"),
    Some("RECONNECT_SEQ"),
    Some("DIRLAYOUTHASH"),
    Some("OBJECTLOCATOR"),
    Some("PGID64"),
    Some("INCSUBOSDMAP"),
    Some("PGPOOL3"),
    Some("OSDREPLYMUX"),
    Some("OSDENC"),
    Some("SERVER_KRAKEN"),
    Some("MONENC"),
    Some("SERVER_OCTOPUS"),
    Some("OS_PERF_STAT_NS"),
    Some("CRUSH_TUNABLES"),
    Some("OSD_PGLOG_HARDLIMIT"),
    Some("SERVER_PACIFIC"),
    Some("SERVER_LUMINOUS"),
    Some("OSD_FIXED_COLLECTION_LIST"),
    Some("MSG_AUTH"),
    Some("RECOVERY_RESERVATION_2"),
    Some("CRUSH_TUNABLES2"),
    Some("CREATEPOOLID"),
    Some("REPLY_CREATE_INODE"),
    Some("SERVER_MIMIC"),
    Some("MDSENC"),
    Some("OSDHASHPSPOOL"),
    Some("SERVER_REEF"),
    Some("STRETCH_MODE"),
    Some("SERVER_QUINCY"),
    Some("RANGE_BLOCKLIST"),
    Some("OSD_CACHEPOOL"),
    Some("CRUSH_V2"),
    Some("EXPORT_PEER"),
    Some("CRUSH_MSR"),
    Some("OSDMAP_ENC"),
    Some("MDS_INLINE_DATA"),
    Some("CRUSH_TUNABLES3"),
    Some("MSGR_KEEPALIVE2"),
    Some("OSD_POOLRESEND"),
    Some("NVMEOFHA"),
    Some("NVMEOFHAMAP"),
    Some("OSD_FADVISE_FLAGS"),
    Some("MDS_QUOTA"),
    Some("CRUSH_V4"),
    Some("SERVER_SQUID"),
    Some("SERVER_TENTACLE"),
    None,
    None,
    None,
    None,
    None,
    Some("NEW_OSDOP_ENCODING"),
    Some("SERVER_JEWEL"),
    Some("CRUSH_TUNABLES5"),
    Some("MSG_ADDR2"),
    Some("OSD_RECOVERY_DELETES"),
    Some("CEPHX_V2"),
    None,
    None,
];

/// A mask of features, which prints as their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names(pub u64);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut rest = self.0;
        for (bit, name) in (0u32..).zip(&NAMES) {
            let set = rest & 1 != 0;
            rest >>= 1;
            if !set {
                continue;
            }
            f.write_str(separator)?;
            match name {
                Some(name) => f.write_str(name)?,
                None => write!(f, "bit {bit}")?,
            }
            separator = ", ";
        }
        Ok(())
    }
}

#[kunit_tests(ceph_wire_features)]
mod tests {
    use super::*;
    use core::fmt::Write;

    struct Text([u8; 80], usize);

    impl Write for Text {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            for byte in s.bytes() {
                *self.0.get_mut(self.1).ok_or(fmt::Error)? = byte;
                self.1 += 1;
            }
            Ok(())
        }
    }

    #[test]
    fn masks_have_names() {
        for (mask, want) in [
            (0, ""),
            (1 << 31, "SERVER_REEF"),
            ((1 << 31) | (1 << 38), "SERVER_REEF, CRUSH_MSR"),
            (1 | (1 << 51) | (1 << 63), "UID, bit 51, bit 63"),
        ] {
            let mut text = Text([0; 80], 0);
            assert!(write!(text, "{}", Names(mask)).is_ok());
            assert_eq!(text.0.get(..text.1), Some(want.as_bytes()));
        }
    }
}
