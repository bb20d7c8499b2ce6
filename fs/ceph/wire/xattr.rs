// SPDX-License-Identifier: GPL-2.0
//! Extended attributes of an inode, as messages carry them all at once: a map of names to
//! values (Ceph: `mempool_xattr_map` in src/mds/CInode.cc).
use ceph_proto::wire::decode::Decoder;
use kernel::prelude::*;

/// The attributes, borrowed from their encoding.
#[derive(Clone, Copy, Debug)]
pub struct Xattrs<'a> {
    count: usize,
    body: &'a [u8],
}

impl<'a> Xattrs<'a> {
    /// Bytes of a name or value with nothing in it.
    const LENGTH: usize = 4;

    /// Takes the encoding. Bytes that follow do not count, and without any there are no
    /// attributes.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if it ends early.
    pub fn decode(blob: &'a [u8]) -> Result<Self> {
        let mut d = Decoder::new(blob);
        if d.is_empty() {
            return Ok(Self {
                count: 0,
                body: &[],
            });
        }
        let count = d.count(2 * Self::LENGTH)?;
        let body = d.rest();
        for _ in 0..count {
            d.blob()?;
            d.blob()?;
        }
        Ok(Self { count, body })
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut d = Decoder::new(self.body);
        let all = core::iter::from_fn(move || Some((d.blob().ok()?, d.blob().ok()?)));
        all.take(self.count)
    }

    /// The value of a name.
    pub fn get(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.iter()
            .find_map(|(known, value)| (known == name).then_some(value))
    }
}

#[kunit_tests(ceph_wire_xattr)]
mod tests {
    use super::*;
    use ceph_proto::wire::encode::Encoder;

    fn sample() -> Result<KVVec<u8>> {
        let mut e = Encoder::new();
        e.u32(2)?;
        e.blob(b"system.posix_acl_access")?.blob(&[2, 0, 0, 0])?;
        e.blob(b"user.a")?.blob(b"")?;
        Ok(e.into_vec())
    }

    #[test]
    fn names_and_values() -> Result {
        let bytes = sample()?;
        let xattrs = Xattrs::decode(&bytes)?;
        assert_eq!(xattrs.iter().count(), 2);
        let acl = xattrs.get(b"system.posix_acl_access");
        assert_eq!(acl, Some(&[2, 0, 0, 0][..]));
        assert_eq!(xattrs.get(b"user.a"), Some(&b""[..]));
        assert_eq!(xattrs.get(b"user."), None);
        for len in 1..bytes.len() {
            let short = bytes.get(..len).ok_or(EINVAL)?;
            assert!(Xattrs::decode(short).is_err());
        }
        Ok(())
    }

    #[test]
    fn lengths_are_bounded() -> Result {
        let good = sample()?;
        // Where the length of a name is, and that of a value.
        for at in [4, 4 + 4 + 23] {
            for len in [1000, i32::MAX as u32, u32::MAX - 7, u32::MAX] {
                let mut bytes = KVVec::new();
                bytes.extend_from_slice(&good, GFP_KERNEL)?;
                let place = bytes.get_mut(at..).ok_or(EINVAL)?;
                *place.first_chunk_mut().ok_or(EINVAL)? = u32::to_le_bytes(len);
                assert!(Xattrs::decode(&bytes).is_err());
            }
        }
        Ok(())
    }

    #[test]
    fn none() -> Result {
        assert!(Xattrs::decode(&[])?.is_empty());
        assert!(Xattrs::decode(&[0; 4])?.is_empty());
        // More than there are bytes for.
        assert!(Xattrs::decode(&[0xff; 12]).is_err());
        Ok(())
    }
}
