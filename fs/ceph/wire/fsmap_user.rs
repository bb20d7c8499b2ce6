// SPDX-License-Identifier: GPL-2.0
//! `FSMapUser`: the names and ids of the cluster's file systems (Ceph:
//! src/mds/FSMapUser.cc), carried by `MFSMapUser`.
use ceph_proto::wire::decode::Decoder;
use kernel::prelude::*;

/// Names and ids of the file systems, borrowed from the message.
#[derive(Debug)]
pub struct FsMapUser<'a> {
    /// Version of the map.
    pub epoch: u32,
    /// The file system that is mounted when none is named; -1 for none.
    pub default_fscid: i32,
    entries: KVVec<(i32, &'a [u8])>,
}

impl<'a> FsMapUser<'a> {
    /// Takes the front of an `MFSMapUser`.
    pub fn decode(front: &'a [u8]) -> Result<Self> {
        let mut d = Decoder::new(front);
        let epoch = d.u32()?;
        let (_, mut body) = d.versioned(1)?;
        body.skip(4)?; // the epoch again
        let default_fscid = body.i32()?;
        // Each entry has at least its head of six bytes, an id and a length.
        let entries = body.vec(14, |d| {
            let (_, mut info) = d.versioned(1)?;
            Ok((info.i32()?, info.blob()?))
        })?;
        Ok(Self {
            epoch,
            default_fscid,
            entries,
        })
    }

    /// The id of the file system of the name.
    pub fn find(&self, name: &[u8]) -> Option<i32> {
        let entry = self.entries.iter().find(|(_, n)| *n == name);
        entry.map(|(id, _)| *id)
    }
}

#[kunit_tests(ceph_wire_fsmap_user)]
mod tests {
    use super::*;
    use ceph_proto::wire::encode::Encoder;

    #[test]
    fn names_are_found() -> Result {
        let mut e = Encoder::new();
        e.u32(9)?.versioned(1, 1, |e| {
            e.u32(9)?.i32(1)?.u32(2)?;
            for (id, name) in [(1, &b"cephfs"[..]), (4, b"other")] {
                e.versioned(1, 1, |e| {
                    e.i32(id)?.blob(name)?;
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        let bytes = e.into_vec();
        let map = FsMapUser::decode(&bytes)?;
        assert_eq!((map.epoch, map.default_fscid), (9, 1));
        assert_eq!(map.find(b"other"), Some(4));
        assert_eq!(map.find(b"othe"), None);
        for len in 0..bytes.len() {
            assert!(FsMapUser::decode(bytes.get(..len).ok_or(EINVAL)?).is_err());
        }
        Ok(())
    }
}
