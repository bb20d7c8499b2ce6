// SPDX-License-Identifier: GPL-2.0
//! Stand-ins for the kernel's procedural macros.
use proc_macro::TokenStream;

/// `#[kunit_tests(suite)] mod tests` is `#[cfg(test)] mod tests` on the host.
#[proc_macro_attribute]
pub fn kunit_tests(_suite: TokenStream, item: TokenStream) -> TokenStream {
    let mut out: TokenStream = "#[cfg(test)]".parse().unwrap();
    out.extend(item);
    out
}

/// The kernel's marks for optional trait methods; nothing is optional here.
#[proc_macro_attribute]
pub fn vtable(_args: TokenStream, item: TokenStream) -> TokenStream {
    item
}
