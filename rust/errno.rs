// SPDX-License-Identifier: GPL-2.0
//! Error numbers that `kernel::error::code` lacks.

use crate::bindings;
use kernel::error::Error;

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $value:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name() -> Error {
            Error::from_errno(-(bindings::$value as i32))
        }
    )*};
}

errnos! {
    /// Operation now in progress.
    einprogress = EINPROGRESS;
    /// Operation not supported.
    eopnotsupp = EOPNOTSUPP;
    /// Address family not supported.
    eafnosupport = EAFNOSUPPORT;
    /// Required key not available.
    enokey = ENOKEY;
}
