// SPDX-License-Identifier: GPL-2.0
//! Module parameters that show in sysfs: switches, and texts made when read.
//!
//! `module!` of the kernel crate knows integers without a file in sysfs only.
//! [`module_params!`](crate::module_params) goes beside it, in the module's root:
//!
//! ```
//! use kernel::fmt;
//! use kernel_ext::module_params;
//!
//! module_params! {
//!     /// Documentation.
//!     bool fast = true, 0o444, "what modinfo says of it";
//!     text features = show_features, 0o444, "feature bits";
//! }
//!
//! fn show_features(out: &mut dyn fmt::Write) -> fmt::Result {
//!     out.write_str("0x2a")
//! }
//!
//! fn window() -> usize {
//!     if fast.get() { 16 } else { 1 }
//! }
//! ```
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)

use crate::bindings;
use core::cell::UnsafeCell;
use kernel::ffi::{c_char, c_void};
use kernel::fmt;
use kernel::module_param::KernelParam;
use kernel::prelude::*;

#[doc(hidden)]
pub use kernel_ext_bindings as __bindings;

/// A parameter in a static, to be turned into an entry of the module's table.
macro_rules! entry {
    ($ops:expr) => {
        /// The entry for [`module_params!`](crate::module_params). `module` is null for
        /// what is built in.
        #[doc(hidden)]
        pub const fn __entry(
            &'static self,
            name: &'static CStr,
            module: *mut bindings::module,
            mode: u16,
        ) -> KernelParam {
            KernelParam::new(bindings::kernel_param {
                name: kernel::str::as_char_ptr_in_const_context(name),
                mod_: module,
                ops: $ops,
                perm: mode & 0o777,
                level: -1,
                flags: 0,
                __bindgen_anon_1: bindings::kernel_param__bindgen_ty_1 { arg: self.as_ptr() },
            })
        }
    };
}

/// A switch, written by C (`param_ops_bool`) at load time or through sysfs.
#[repr(transparent)]
pub struct BoolParam(UnsafeCell<bool>);

// SAFETY: C stores a single byte that is 0 or 1; reads are volatile.
unsafe impl Sync for BoolParam {}

impl BoolParam {
    #[doc(hidden)]
    pub const fn new(default: bool) -> Self {
        Self(UnsafeCell::new(default))
    }

    const fn as_ptr(&self) -> *mut c_void {
        self.0.get().cast()
    }

    entry!(&raw const bindings::param_ops_bool);

    /// The value at this moment.
    pub fn get(&self) -> bool {
        // SAFETY: The cell is valid; see `Sync`.
        unsafe { self.0.get().read_volatile() }
    }
}

/// Writes the text of a parameter, without a newline at its end.
pub type TextGetter = fn(&mut dyn fmt::Write) -> fmt::Result;

/// A read-only text.
#[doc(hidden)]
pub struct TextParam(TextGetter);

impl TextParam {
    #[doc(hidden)]
    pub const fn new(getter: TextGetter) -> Self {
        Self(getter)
    }

    const fn as_ptr(&self) -> *mut c_void {
        core::ptr::from_ref(self).cast_mut().cast()
    }

    entry!(&raw const TEXT_OPS.0);
}

/// `kernel_param_ops` in a static.
#[repr(transparent)]
struct Ops(bindings::kernel_param_ops);

// SAFETY: Constant function pointers.
unsafe impl Sync for Ops {}

static TEXT_OPS: Ops = Ops(bindings::kernel_param_ops {
    flags: 0,
    // C calls it without a look if the parameter is given at load time.
    set: Some(refuse_text),
    get: Some(get_text),
    free: None,
});

/// # Safety
///
/// None; it is so by type.
unsafe extern "C" fn refuse_text(
    _value: *const c_char,
    _param: *const bindings::kernel_param,
) -> i32 {
    EPERM.to_errno()
}

/// Size of the buffer that `kernel_param_ops.get` is given.
const PAGE: usize = 4096;

struct Buffer {
    at: *mut u8,
    len: usize,
}

impl fmt::Write for Buffer {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        // One byte is kept for the newline.
        if s.len() >= PAGE - self.len {
            return Err(fmt::Error);
        }
        // SAFETY: The page has that much left.
        unsafe { core::ptr::copy_nonoverlapping(s.as_ptr(), self.at.add(self.len), s.len()) };
        self.len += s.len();
        Ok(())
    }
}

/// # Safety
///
/// Called by the module code with a page, for a parameter whose `arg` is a
/// [`TextParam`].
unsafe extern "C" fn get_text(buffer: *mut c_char, param: *const bindings::kernel_param) -> i32 {
    // SAFETY: The caller gives a parameter whose `arg` is a `TextParam`.
    let text = unsafe { &*(*param).__bindgen_anon_1.arg.cast::<TextParam>() };
    let mut out = Buffer {
        at: buffer.cast(),
        len: 0,
    };
    if (text.0)(&mut out).is_err() {
        return ENOSPC.to_errno();
    }
    // SAFETY: `Buffer` keeps the last byte free.
    unsafe { out.at.add(out.len).write(b'\n') };
    (out.len + 1) as i32
}

/// The bytes of a modinfo entry with its NUL.
#[doc(hidden)]
pub const fn __modinfo<const N: usize>(text: &str) -> [u8; N] {
    let bytes = text.as_bytes();
    let mut out = [0; N];
    let mut i = 0;
    while i < N {
        out[i] = bytes[i];
        i += 1;
    }
    out
}

/// Declares parameters of a module; see [`param`](crate::param).
#[macro_export]
macro_rules! module_params {
    () => {};
    ($(#[$meta:meta])* bool $name:ident = $default:literal, $mode:literal, $desc:literal; $($rest:tt)*) => {
        $(#[$meta])*
        // The name is that of the parameter, as the user writes it.
        #[allow(non_upper_case_globals)]
        pub static $name: $crate::param::BoolParam = $crate::param::BoolParam::new($default);
        $crate::module_params!(@entry $name, "bool", $mode, $desc, $name);
        $crate::module_params!($($rest)*);
    };
    ($(#[$meta:meta])* text $name:ident = $getter:path, $mode:literal, $desc:literal; $($rest:tt)*) => {
        const _: () = {
            static TEXT: $crate::param::TextParam = $crate::param::TextParam::new($getter);
            $crate::module_params!(@entry $name, "string", $mode, $desc, TEXT);
        };
        $crate::module_params!($($rest)*);
    };
    (@entry $name:ident, $type:literal, $mode:literal, $desc:literal, $param:expr) => {
        const _: () = {
            #[link_section = "__param"]
            #[used]
            static PARAM: ::kernel::module_param::KernelParam = $param.__entry(
                ::kernel::c_str!(::core::stringify!($name)),
                (&raw const $crate::param::__bindings::__this_module).cast_mut(),
                $mode,
            );
            const TYPE: &str = ::core::concat!(
                "parmtype=", ::core::stringify!($name), ":", $type, "\0");
            const DESC: &str = ::core::concat!(
                "parm=", ::core::stringify!($name), ":", $desc, "\0");
            #[link_section = ".modinfo"]
            #[used]
            static INFO_TYPE: [u8; TYPE.len()] = $crate::param::__modinfo(TYPE);
            #[link_section = ".modinfo"]
            #[used]
            static INFO_DESC: [u8; DESC.len()] = $crate::param::__modinfo(DESC);
        };
    };
}
pub use crate::module_params;

#[kunit_tests(kernel_ext_param)]
mod tests {
    use super::*;

    fn long(out: &mut dyn fmt::Write) -> fmt::Result {
        for _ in 0..PAGE {
            out.write_str("x")?;
        }
        Ok(())
    }

    fn short(out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str("0x2a")
    }

    fn param(arg: *mut c_void) -> bindings::kernel_param {
        bindings::kernel_param {
            name: core::ptr::null(),
            mod_: core::ptr::null_mut(),
            ops: &raw const TEXT_OPS.0,
            perm: 0,
            level: -1,
            flags: 0,
            __bindgen_anon_1: bindings::kernel_param__bindgen_ty_1 { arg },
        }
    }

    fn get(getter: TextGetter, page: &mut [u8; PAGE]) -> i32 {
        let text = TextParam::new(getter);
        let param = param(text.as_ptr());
        // SAFETY: A page, and a parameter with a text.
        unsafe { get_text(page.as_mut_ptr().cast(), &param) }
    }

    #[test]
    fn texts() -> Result {
        let mut page = KBox::new([0u8; PAGE], GFP_KERNEL)?;
        assert_eq!(get(short, &mut page), 5);
        assert_eq!(&page[..5], b"0x2a\n");
        assert_eq!(get(long, &mut page), ENOSPC.to_errno());
        // Given at load time.
        let text = TextParam::new(short);
        let set = TEXT_OPS.0.set.ok_or(EINVAL)?;
        // SAFETY: A string, and a parameter with a text.
        let ret = unsafe { set(c"1".as_char_ptr(), &param(text.as_ptr())) };
        assert_eq!(ret, EPERM.to_errno());
        Ok(())
    }

    #[test]
    fn switch() {
        let param = BoolParam::new(true);
        assert!(param.get());
        // SAFETY: As `param_set_bool()` does it.
        unsafe { param.as_ptr().cast::<bool>().write(false) };
        assert!(!param.get());
    }
}
