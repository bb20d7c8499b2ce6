// SPDX-License-Identifier: GPL-2.0
//! Files: opening and reading.

pub(crate) mod locks;
pub(crate) mod open;
pub(crate) mod ops;
pub(crate) mod read;
