// SPDX-License-Identifier: GPL-2.0
//! Stand-ins for the kernel's procedural macros.
use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

/// `#[kunit_tests(suite)] mod tests` is `#[cfg(test)] mod tests` on the host, with
/// the kernel's two assertions, which take no message.
#[proc_macro_attribute]
pub fn kunit_tests(_suite: TokenStream, item: TokenStream) -> TokenStream {
    let asserts: TokenStream = "
        #[allow(unused)]
        macro_rules! assert {
            ($cond:expr $(,)?) => { ::core::assert!($cond) };
        }
        #[allow(unused)]
        macro_rules! assert_eq {
            ($left:expr, $right:expr $(,)?) => { ::core::assert_eq!($left, $right) };
        }
    "
    .parse()
    .unwrap();
    let mut out: TokenStream = "#[cfg(test)]".parse().unwrap();
    out.extend(item.into_iter().map(|tree| match tree {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
            let mut body = asserts.clone();
            body.extend(group.stream());
            TokenTree::Group(Group::new(Delimiter::Brace, body))
        }
        other => other,
    }));
    out
}

/// The kernel's marks for optional trait methods; nothing is optional here.
#[proc_macro_attribute]
pub fn vtable(_args: TokenStream, item: TokenStream) -> TokenStream {
    item
}
