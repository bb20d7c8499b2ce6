// SPDX-License-Identifier: GPL-2.0
//! Mount parameters: tables for `fs_parse` and the values that it finds.
//!
//! C header: [`include/linux/fs_parser.h`](srctree/include/linux/fs_parser.h)
//!
//! ```
//! use kernel_ext::fs::param::{EnumTable, Named, ParamSpec, ParamTable};
//!
//! static COLOUR: EnumTable =
//!     EnumTable::new(&[Named::new(c"red", 1), Named::new(c"blue", 2), Named::END]);
//! static PARAMS: ParamTable = ParamTable::new(&[
//!     ParamSpec::flag_no(c"cache", 0),
//!     ParamSpec::u32(c"size", 1),
//!     ParamSpec::enumeration(c"colour", 2, &COLOUR),
//!     ParamSpec::END,
//! ]);
//! ```

use crate::bindings;
use core::ptr;
use kernel::prelude::*;
use kernel::str::CStr;

/// One name of an [`EnumTable`].
#[repr(transparent)]
pub struct Named(bindings::constant_table);

// SAFETY: It is constant and points to a `'static` string.
unsafe impl Sync for Named {}

impl Named {
    /// The end of a table.
    pub const END: Named = Named(bindings::constant_table {
        name: ptr::null(),
        value: 0,
    });

    /// A name and its value.
    pub const fn new(name: &'static CStr, value: i32) -> Self {
        Named(bindings::constant_table {
            name: name.to_bytes_with_nul().as_ptr(),
            value,
        })
    }
}

/// The names that an enumeration accepts.
///
/// # Invariants
///
/// The last element is [`Named::END`].
pub struct EnumTable(&'static [Named]);

impl EnumTable {
    /// A table; its last element must be [`Named::END`] (checked at compile time
    /// for a static).
    pub const fn new(names: &'static [Named]) -> Self {
        assert!(!names.is_empty() && names[names.len() - 1].0.name.is_null());
        // INVARIANT: Just checked.
        EnumTable(names)
    }
}

/// The value of a parameter after parsing.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A flag: true, or false for `noNAME`.
    Flag(bool),
    /// A string as it was given.
    String(&'a CStr),
    /// An unsigned number.
    U32(u32),
    /// A signed number.
    S32(i32),
    /// The value of a name in an [`EnumTable`].
    Enum(i32),
}

/// One parameter.
#[repr(transparent)]
pub struct ParamSpec(bindings::fs_parameter_spec);

// SAFETY: It is constant and points to `'static` data.
unsafe impl Sync for ParamSpec {}

const NEG_WITH_NO: u16 = bindings::fs_param_neg_with_no as u16;
const CAN_BE_EMPTY: u16 = bindings::fs_param_can_be_empty as u16;

impl ParamSpec {
    /// The end of a table.
    pub const END: ParamSpec = ParamSpec(bindings::fs_parameter_spec {
        name: ptr::null(),
        type_: None,
        opt: 0,
        flags: 0,
        data: ptr::null(),
    });

    const fn with(
        name: &'static CStr,
        opt: u8,
        type_: bindings::fs_param_type,
        flags: u16,
        data: *const kernel::ffi::c_void,
    ) -> Self {
        ParamSpec(bindings::fs_parameter_spec {
            name: name.to_bytes_with_nul().as_ptr(),
            type_,
            opt,
            flags,
            data,
        })
    }

    /// `NAME`, without a value.
    pub const fn flag(name: &'static CStr, opt: u8) -> Self {
        Self::with(name, opt, None, 0, ptr::null())
    }

    /// `NAME` or `noNAME`, without a value.
    pub const fn flag_no(name: &'static CStr, opt: u8) -> Self {
        Self::with(name, opt, None, NEG_WITH_NO, ptr::null())
    }

    /// `NAME=string`.
    pub const fn string(name: &'static CStr, opt: u8) -> Self {
        Self::with(
            name,
            opt,
            Some(bindings::fs_param_is_string),
            0,
            ptr::null(),
        )
    }

    /// `NAME=string`, where the string may be empty.
    pub const fn string_empty(name: &'static CStr, opt: u8) -> Self {
        Self::with(
            name,
            opt,
            Some(bindings::fs_param_is_string),
            CAN_BE_EMPTY,
            ptr::null(),
        )
    }

    /// `NAME=number`, decimal, or octal or hexadecimal with its prefix.
    pub const fn u32(name: &'static CStr, opt: u8) -> Self {
        Self::with(name, opt, Some(bindings::fs_param_is_u32), 0, ptr::null())
    }

    /// `NAME=number`, signed.
    pub const fn s32(name: &'static CStr, opt: u8) -> Self {
        Self::with(name, opt, Some(bindings::fs_param_is_s32), 0, ptr::null())
    }

    /// `NAME=name`, one of a table.
    pub const fn enumeration(name: &'static CStr, opt: u8, table: &'static EnumTable) -> Self {
        Self::with(
            name,
            opt,
            Some(bindings::fs_param_is_enum),
            0,
            table.0.as_ptr().cast(),
        )
    }

    /// Which kind of value the parameter has.
    fn kind(&self) -> Kind {
        let Some(parser) = self.0.type_ else {
            return Kind::Flag;
        };
        // The constructors above are the only ones, so it is one of these. They are C
        // functions, which have one address each.
        let is = |f: Parser| ptr::fn_addr_eq(parser, f);
        if is(bindings::fs_param_is_u32) {
            Kind::U32
        } else if is(bindings::fs_param_is_s32) {
            Kind::S32
        } else if is(bindings::fs_param_is_enum) {
            Kind::Enum
        } else {
            Kind::String
        }
    }
}

/// What `fs_param_type` points to.
type Parser = unsafe extern "C" fn(
    *mut bindings::p_log,
    *const bindings::fs_parameter_spec,
    *mut bindings::fs_parameter,
    *mut bindings::fs_parse_result,
) -> kernel::ffi::c_int;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flag,
    String,
    U32,
    S32,
    Enum,
}

/// All parameters of a file system.
///
/// # Invariants
///
/// The last element is [`ParamSpec::END`].
pub struct ParamTable(&'static [ParamSpec]);

impl ParamTable {
    /// A table; its last element must be [`ParamSpec::END`] (checked at compile
    /// time for a static).
    pub const fn new(specs: &'static [ParamSpec]) -> Self {
        assert!(!specs.is_empty() && specs[specs.len() - 1].0.name.is_null());
        // INVARIANT: Just checked.
        ParamTable(specs)
    }

    pub(super) const fn as_ptr(&self) -> *const bindings::fs_parameter_spec {
        self.0.as_ptr().cast()
    }

    /// Parses one parameter. Errors are logged to `log`.
    ///
    /// # Errors
    ///
    /// `None` if the table does not have it; what `fs_parse` says otherwise.
    ///
    /// # Safety
    ///
    /// `log` and `param` must be valid; the string of `param` must not change and
    /// stay alive for `'a`.
    pub(super) unsafe fn parse<'a>(
        &self,
        log: *mut bindings::p_log,
        param: *mut bindings::fs_parameter,
    ) -> Result<Option<(u8, Value<'a>)>> {
        let mut result = bindings::fs_parse_result::default();
        // SAFETY: The table ends with an element without a name; the caller
        // promises the rest.
        let ret = unsafe { bindings::__fs_parse(log, self.as_ptr(), param, &mut result) };
        if ret == -(bindings::ENOPARAM as i32) {
            return Ok(None);
        }
        let opt = u8::try_from(kernel::error::to_result(ret.min(0)).map(|()| ret)?)
            .map_err(|_| EINVAL)?;
        // SAFETY: `param` is valid.
        let is_flag = unsafe { (*param).type_() } == bindings::fs_value_type_fs_value_is_flag;
        let kind = if is_flag {
            Kind::Flag
        } else {
            // A flag and a valued parameter may share the number.
            self.0
                .iter()
                .filter(|s| !s.0.name.is_null() && s.0.opt == opt)
                .map(ParamSpec::kind)
                .find(|&k| k != Kind::Flag)
                .ok_or(EINVAL)?
        };
        Ok(Some((
            opt,
            match kind {
                Kind::Flag => Value::Flag(!result.negated),
                Kind::String => {
                    // SAFETY: `fs_param_is_string` only accepts strings.
                    let string = unsafe { (*param).__bindgen_anon_1.string };
                    if string.is_null() {
                        // An empty value where that is allowed.
                        Value::String(c"")
                    } else {
                        // SAFETY: It is a C string that lives for `'a`.
                        Value::String(unsafe { CStr::from_char_ptr(string) })
                    }
                }
                // SAFETY: The parser has set the member that belongs to it.
                Kind::U32 => Value::U32(unsafe { *result.__bindgen_anon_1.uint_32.as_ref() }),
                // SAFETY: As above.
                Kind::S32 => Value::S32(unsafe { *result.__bindgen_anon_1.int_32.as_ref() }),
                // SAFETY: `fs_param_is_enum` sets the unsigned member, of the same size.
                Kind::Enum => Value::Enum(unsafe { *result.__bindgen_anon_1.int_32.as_ref() }),
            },
        )))
    }
}
