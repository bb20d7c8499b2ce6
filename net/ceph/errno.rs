// SPDX-License-Identifier: GPL-2.0
//! Error numbers that the kernel crate does not name (include/uapi/asm-generic).
//!
//! Functions, because `kernel::error::Error` has no public `const` constructor.
use kernel::prelude::*;

macro_rules! errno {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {$(
        $(#[$doc])*
        #[inline]
        pub fn $name() -> Error {
            Error::from_errno(-$number)
        }
    )*};
}

errno! {
    /// No data available.
    enodata = 61,
    /// Multihop attempted.
    emultihop = 72,
    /// Protocol error.
    eproto = 71,
    /// Bad message: malformed bytes from the wire.
    ebadmsg = 74,
    /// Operation not supported; an encoding too new to be understood.
    eopnotsupp = 95,
    /// Protocol family or option not supported.
    eprotonosupport = 93,
    /// Cannot assign requested address.
    eaddrnotavail = 99,
    /// Connection aborted.
    econnaborted = 103,
    /// Connection reset by peer.
    econnreset = 104,
    /// Not connected.
    enotconn = 107,
    /// Cannot send after shutdown.
    eshutdown = 108,
    /// Connection refused.
    econnrefused = 111,
    /// No route to host.
    ehostunreach = 113,
    /// Operation already in progress.
    ealready = 114,
    /// Operation now in progress.
    einprogress = 115,
    /// Stale file handle.
    estale = 116,
    /// File name too long.
    enametoolong = 36,
    /// No locks available.
    enolck = 37,
    /// Too many symbolic links.
    eloop = 40,
    /// Disk quota exceeded.
    edquot = 122,
    /// No medium.
    enomedium = 123,
    /// Required key not available.
    enokey = 126,
    /// Key has been revoked.
    ekeyrevoked = 128,
    /// Key was rejected.
    ekeyrejected = 129,
}
