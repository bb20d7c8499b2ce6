// SPDX-License-Identifier: GPL-2.0
//! Error numbers that `kernel::error::code` lacks.
//!
//! ```
//! use kernel_ext::errno::eopnotsupp;
//!
//! fn not_here() -> Result {
//!     Err(eopnotsupp())
//! }
//! ```

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
    /// Package not installed.
    enopkg = ENOPKG;
    /// Not a data message.
    ebadmsg = EBADMSG;
    /// Protocol error.
    eproto = EPROTO;
    /// Required key not available.
    enokey = ENOKEY;
    /// No locks available.
    enolck = ENOLCK;
}

#[kernel::prelude::kunit_tests(kernel_ext_errno)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(einprogress().to_errno(), -115);
        assert_eq!(eopnotsupp().to_errno(), -95);
        assert_eq!(eafnosupport().to_errno(), -97);
        assert_eq!(enokey().to_errno(), -126);
        assert_eq!(enolck().to_errno(), -37);
    }
}
