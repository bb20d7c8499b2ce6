// SPDX-License-Identifier: GPL-2.0
//! Pure protocol code.
#![forbid(unsafe_code)]
