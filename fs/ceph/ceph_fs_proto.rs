// SPDX-License-Identifier: GPL-2.0
//! Pure protocol code.
#![forbid(unsafe_code)]

/// What the mount command says.
pub mod mount {
    pub mod options;
    pub mod source;
}
