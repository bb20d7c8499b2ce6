// SPDX-License-Identifier: GPL-2.0
//! fuzz TARGET [LIBFUZZER-ARGUMENT...]: runs libFuzzer on one target;
//! fuzz --list: prints name and longest input of each target.
use std::ffi::{c_char, c_int, CString};
use std::sync::OnceLock;

/// The environment's word for the target.
const TARGET: &str = "FUZZ_TARGET";

static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

extern "C" {
    /// Of libFuzzer; takes its arguments out of the array.
    fn LLVMFuzzerRunDriver(
        argc: *mut c_int,
        argv: *mut *mut *mut c_char,
        run: extern "C" fn(*const u8, usize) -> c_int,
    ) -> c_int;
}

extern "C" fn run(data: *const u8, len: usize) -> c_int {
    let bytes = match len {
        0 => &[][..],
        // SAFETY: libFuzzer passes `len` bytes that live until this returns.
        _ => unsafe { std::slice::from_raw_parts(data, len) },
    };
    if let Some(run) = RUN.get() {
        run(bytes);
    }
    0
}

fn main() {
    let mut args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == "--list") {
        for target in fuzz::TARGETS {
            println!("{} {}", target.name(), target.max_len);
        }
        return;
    }
    // libFuzzer runs the program again, with its own arguments, when it merges.
    let name = std::env::var(TARGET).unwrap_or_else(|_| match args.len() {
        0 | 1 => String::new(),
        _ => args.remove(1),
    });
    std::env::set_var(TARGET, &name);
    let Some(target) = fuzz::TARGETS.iter().find(|target| target.name() == name) else {
        eprintln!("no such target: {name:?}; see --list");
        std::process::exit(2);
    };
    RUN.get_or_init(|| target.run);
    let args: Vec<CString> = args
        .into_iter()
        .map(|arg| CString::new(arg).expect("arguments have no NUL"))
        .collect();
    let mut pointers: Vec<*mut c_char> = args.iter().map(|arg| arg.as_ptr().cast_mut()).collect();
    let mut argc = c_int::try_from(pointers.len()).expect("few arguments");
    pointers.push(std::ptr::null_mut());
    let mut argv = pointers.as_mut_ptr();
    // SAFETY: `argc` strings and a null pointer, which live until the end.
    std::process::exit(unsafe { LLVMFuzzerRunDriver(&mut argc, &mut argv, run) });
}
