// SPDX-License-Identifier: GPL-2.0
//! What uses the capabilities of an inode: open files by mode, and uses by class of bits.
//!
//! From these counts follows what is *used*, which no server gets back, and what is *wanted*,
//! which servers are told.
use crate::wire::cap_bits::Caps;

/// How a file is open (`CEPH_FILE_MODE_*`, those of a client that only reads).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only the inode is held: `O_PATH`, directories.
    Pin,
    /// For reading.
    Read,
}

impl Mode {
    /// Bits that it is good to have.
    pub const fn caps(self) -> Caps {
        match self {
            Self::Pin => Caps::PIN,
            Self::Read => {
                Caps(Caps::PIN.0 | Caps::FILE_SHARED.0 | Caps::FILE_RD.0 | Caps::FILE_CACHE.0)
            }
        }
    }
}

/// The counts of one inode.
#[derive(Debug, Default)]
pub struct Refs {
    open_pin: u32,
    open_read: u32,
    reading: u32,
    caching: u32,
}

impl Refs {
    /// Nothing is used.
    pub const fn new() -> Self {
        Self {
            open_pin: 0,
            open_read: 0,
            reading: 0,
            caching: 0,
        }
    }

    /// What is in use; `cached` says whether there are pages of the file's content.
    pub fn used(&self, cached: bool) -> Caps {
        let mut used = Caps::PIN;
        if self.reading > 0 {
            used |= Caps::FILE_RD;
        }
        if self.caching > 0 || cached {
            used |= Caps::FILE_CACHE;
        }
        used
    }

    /// What is wanted, for the files that are open.
    pub fn wanted(&self, is_dir: bool) -> Caps {
        let mut wanted = Caps::NONE;
        if self.open_pin > 0 {
            wanted |= Caps::PIN;
        }
        if self.open_read > 0 {
            wanted |= if is_dir {
                Caps::PIN | Caps::ANY_SHARED
            } else {
                Mode::Read.caps()
            };
        }
        if self.reading > 0 {
            wanted |= Caps::FILE_RD;
        }
        wanted
    }

    /// Whether a file is open.
    pub fn is_open(&self) -> bool {
        self.open_pin > 0 || self.open_read > 0
    }

    /// A file was opened.
    pub fn open(&mut self, mode: Mode) {
        let count = self.open_count(mode);
        *count = count.saturating_add(1);
    }

    /// A file was closed. Whether it was the last of its mode.
    pub fn close(&mut self, mode: Mode) -> bool {
        let count = self.open_count(mode);
        *count = count.saturating_sub(1);
        *count == 0
    }

    fn open_count(&mut self, mode: Mode) -> &mut u32 {
        match mode {
            Mode::Pin => &mut self.open_pin,
            Mode::Read => &mut self.open_read,
        }
    }

    /// Begins to use bits. Only [`Caps::FILE_RD`] and [`Caps::FILE_CACHE`] are counted.
    pub fn take(&mut self, got: Caps) {
        if got.intersects(Caps::FILE_RD) {
            self.reading = self.reading.saturating_add(1);
        }
        if got.intersects(Caps::FILE_CACHE) {
            self.caching = self.caching.saturating_add(1);
        }
    }

    /// Ends the use of what was taken.
    pub fn put(&mut self, got: Caps) {
        if got.intersects(Caps::FILE_RD) {
            self.reading = self.reading.saturating_sub(1);
        }
        if got.intersects(Caps::FILE_CACHE) {
            self.caching = self.caching.saturating_sub(1);
        }
    }
}
