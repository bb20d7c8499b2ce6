// SPDX-License-Identifier: GPL-2.0
//! `kernel::error`.
use crate::alloc::AllocError;
use core::fmt;
use core::num::{NonZeroI32, TryFromIntError};

/// An error number, -4095 to -1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(NonZeroI32);

/// A result with an error number.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

/// The names that the kernel crate gives to error numbers.
pub mod code {
    use super::Error;
    macro_rules! codes {
        ($($name:ident = $number:literal,)*) => {$(
            #[doc = stringify!($name)]
            pub const $name: Error = Error::new(-$number);
        )*};
    }
    codes! {
        EPERM = 1,
        ENOENT = 2,
        ESRCH = 3,
        EINTR = 4,
        EIO = 5,
        ENXIO = 6,
        E2BIG = 7,
        ENOEXEC = 8,
        EBADF = 9,
        ECHILD = 10,
        EAGAIN = 11,
        ENOMEM = 12,
        EACCES = 13,
        EFAULT = 14,
        ENOTBLK = 15,
        EBUSY = 16,
        EEXIST = 17,
        EXDEV = 18,
        ENODEV = 19,
        ENOTDIR = 20,
        EISDIR = 21,
        EINVAL = 22,
        ENFILE = 23,
        EMFILE = 24,
        ENOTTY = 25,
        ETXTBSY = 26,
        EFBIG = 27,
        ENOSPC = 28,
        ESPIPE = 29,
        EROFS = 30,
        EMLINK = 31,
        EPIPE = 32,
        EDOM = 33,
        ERANGE = 34,
        EOVERFLOW = 75,
        EMSGSIZE = 90,
        ETIMEDOUT = 110,
        ERESTARTSYS = 512,
        ERESTARTNOINTR = 513,
        ERESTARTNOHAND = 514,
        ENOIOCTLCMD = 515,
        ERESTART_RESTARTBLOCK = 516,
        EPROBE_DEFER = 517,
        EOPENSTALE = 518,
        ENOPARAM = 519,
        EBADHANDLE = 521,
        ENOTSYNC = 522,
        EBADCOOKIE = 523,
        ENOTSUPP = 524,
        ETOOSMALL = 525,
        ESERVERFAULT = 526,
        EBADTYPE = 527,
        EJUKEBOX = 528,
        EIOCBQUEUED = 529,
        ERECALLCONFLICT = 530,
        ENOGRACE = 531,
    }
}

impl Error {
    const fn new(errno: i32) -> Self {
        match NonZeroI32::new(errno) {
            Some(errno) => Error(errno),
            None => panic!("errno 0"),
        }
    }

    /// An error from a negative number; from any other it is `EINVAL`.
    pub fn from_errno(errno: i32) -> Self {
        match errno {
            -4095..=-1 => Self::new(errno),
            _ => code::EINVAL,
        }
    }

    /// The negative number.
    pub fn to_errno(self) -> i32 {
        self.0.get()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "errno {}", self.0)
    }
}

macro_rules! from {
    ($($type:ty => $code:ident,)*) => {$(
        impl From<$type> for Error {
            fn from(_: $type) -> Self {
                code::$code
            }
        }
    )*};
}

from! {
    AllocError => ENOMEM,
    TryFromIntError => EINVAL,
    core::str::Utf8Error => EINVAL,
    core::alloc::LayoutError => ENOMEM,
    fmt::Error => EINVAL,
}

impl From<core::convert::Infallible> for Error {
    fn from(e: core::convert::Infallible) -> Self {
        match e {}
    }
}

/// Error from a negative number, nothing from any other.
pub fn to_result(errno: i32) -> Result {
    if errno < 0 {
        return Err(Error::from_errno(errno));
    }
    Ok(())
}
