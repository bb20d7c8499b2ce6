// SPDX-License-Identifier: GPL-2.0
//! Capability bits, `CEPH_CAP_*` (include/linux/ceph/ceph_fs.h).
//!
//! A capability allows a client to know or do something without asking. There is
//! one group of bits for each lock of the inode: A (owner, mode), L (link count),
//! X (extended attributes), F (everything of the content), and the pin.
use core::fmt::{self, Write};
use core::ops::{BitAnd, BitOr, BitOrAssign, Not};
use kernel::prelude::*;

/// A set of capability bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps(pub u32);

impl Caps {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// p: the inode stays known.
    pub const PIN: Self = Self(1);
    /// As: owner and mode may be read from the cache.
    pub const AUTH_SHARED: Self = Self(1 << 2);
    /// Ax: owner and mode may be changed.
    pub const AUTH_EXCL: Self = Self(2 << 2);
    /// Ls: the link count may be read from the cache.
    pub const LINK_SHARED: Self = Self(1 << 4);
    /// Lx: the link count may be changed.
    pub const LINK_EXCL: Self = Self(2 << 4);
    /// Xs: extended attributes may be read from the cache.
    pub const XATTR_SHARED: Self = Self(1 << 6);
    /// Xx: extended attributes may be changed.
    pub const XATTR_EXCL: Self = Self(2 << 6);
    /// Fs: size, times, layout may be read from the cache; of a directory, its
    /// list of entries.
    pub const FILE_SHARED: Self = Self(1 << 8);
    /// Fx: size and times may be changed.
    pub const FILE_EXCL: Self = Self(2 << 8);
    /// Fc: content may be cached.
    pub const FILE_CACHE: Self = Self(4 << 8);
    /// Fr: content may be read.
    pub const FILE_RD: Self = Self(8 << 8);
    /// Fw: content may be written.
    pub const FILE_WR: Self = Self(16 << 8);
    /// Fb: content that was written may be held back.
    pub const FILE_BUFFER: Self = Self(32 << 8);
    /// Fa: the end of the file may be moved. In a request's mask: recursive
    /// statistics are wanted (`CEPH_STAT_RSTAT`).
    pub const FILE_WREXTEND: Self = Self(64 << 8);
    /// Fl: lazy I/O, without coherency.
    pub const FILE_LAZYIO: Self = Self(128 << 8);

    /// All shared bits.
    pub const ANY_SHARED: Self = Self(
        Self::AUTH_SHARED.0 | Self::LINK_SHARED.0 | Self::XATTR_SHARED.0 | Self::FILE_SHARED.0,
    );
    /// All exclusive bits.
    pub const ANY_EXCL: Self =
        Self(Self::AUTH_EXCL.0 | Self::LINK_EXCL.0 | Self::XATTR_EXCL.0 | Self::FILE_EXCL.0);
    /// All bits for reading.
    pub const ANY_RD: Self = Self(Self::ANY_SHARED.0 | Self::FILE_RD.0 | Self::FILE_CACHE.0);
    /// File bits for writing.
    pub const ANY_FILE_WR: Self = Self(Self::FILE_WR.0 | Self::FILE_BUFFER.0 | Self::FILE_EXCL.0);
    /// All bits for writing.
    pub const ANY_WR: Self = Self(Self::ANY_EXCL.0 | Self::ANY_FILE_WR.0);
    /// Everything that stat(2) of an inode shows (`CEPH_STAT_CAP_INODE_ALL`).
    pub const STAT_ALL: Self = Self(Self::PIN.0 | Self::ANY_SHARED.0);
    /// What inline data needs (`CEPH_STAT_CAP_INLINE_DATA`).
    pub const STAT_INLINE_DATA: Self = Self(Self::FILE_SHARED.0 | Self::FILE_RD.0);
    /// Bits of a directory that allow changes without asking
    /// (`CEPH_CAP_ANY_DIR_OPS`); they are lost with the session.
    pub const ANY_DIR_OPS: Self =
        Self(Self::FILE_CACHE.0 | Self::FILE_RD.0 | Self::FILE_WREXTEND.0 | Self::FILE_LAZYIO.0);

    /// Whether no bit is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These bits without those of `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Caps {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Caps {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Caps {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for Caps {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

/// As `ceph_cap_string`: `pAsLsXsFscr`, or `-` for nothing.
impl fmt::Display for Caps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Through a buffer, so that `{:<17}` pads the whole.
        let mut text = CapText {
            bytes: [0; 24],
            len: 0,
        };
        if self.contains(Self::PIN) {
            text.write_char('p')?;
        }
        let groups = [('A', 2, 3u32), ('L', 4, 3), ('X', 6, 3), ('F', 8, 0xff)];
        for (name, shift, mask) in groups {
            let mut bits = self.0.wrapping_shr(shift) & mask;
            if bits != 0 {
                text.write_char(name)?;
            }
            for letter in "sxcrwbal".chars() {
                if bits & 1 != 0 {
                    text.write_char(letter)?;
                }
                bits >>= 1;
            }
        }
        if text.len == 0 {
            text.write_char('-')?;
        }
        f.pad(text.as_str())
    }
}

/// The longest form is "pAsxLsxXsxFsxcrwbal", 19 letters.
struct CapText {
    bytes: [u8; 24],
    len: usize,
}

impl CapText {
    fn as_str(&self) -> &str {
        let text = self.bytes.get(..self.len).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }
}

impl Write for CapText {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let end = self.len.checked_add(s.len()).ok_or(fmt::Error)?;
        let place = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        place.copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[kunit_tests(ceph_wire_cap_bits)]
mod tests {
    use super::*;

    fn text(caps: u32) -> Result<[u8; 24]> {
        let mut text = CapText {
            bytes: [0; 24],
            len: 0,
        };
        write!(text, "{}", Caps(caps)).map_err(|_| EINVAL)?;
        Ok(text.bytes)
    }

    #[test]
    fn strings_are_those_of_the_c_client() -> Result {
        assert!(text(0)?.starts_with(b"-\0"));
        assert!(text(1 | 1 << 2 | 1 << 4 | 1 << 6 | 13 << 8)?.starts_with(b"pAsLsXsFscr\0"));
        assert!(text(u32::MAX)?.starts_with(b"pAsxLsxXsxFsxcrwbal\0"));
        Ok(())
    }
}
