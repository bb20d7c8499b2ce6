// SPDX-License-Identifier: GPL-2.0
//! Mount options of the cluster. Their file belongs to the module's shell, since it
//! asks the keyrings and logs; here it is compiled against stand-ins for these.
use crate::harness::{Events, Input};
use kernel::prelude::*;

/// What `crate::keyring` is to the file.
pub(crate) mod keyring {
    use ceph_proto::wire::auth::CryptoKey;
    use kernel::prelude::*;

    pub(crate) fn find(description: &str) -> Result<CryptoKey> {
        CryptoKey::from_armor(description.as_bytes())
    }
}

/// What `crate::log` is to the file.
pub(crate) mod log {
    macro_rules! warning {
        ($($arg:tt)*) => { { let _ = ::core::format_args!($($arg)*); } };
    }
    pub(crate) use warning;
}

#[allow(dead_code)] // What only the module uses.
#[path = "../../../../net/ceph/options.rs"]
mod options;

const NAMES: [&str; 27] = [
    "abort_on_full",
    "cephx_require_signatures",
    "cephx_sign_messages",
    "nocephx_sign_messages",
    "crc",
    "nocrc",
    "rxbounce",
    "share",
    "noshare",
    "tcp_nodelay",
    "notcp_nodelay",
    "mount_timeout",
    "osd_idle_ttl",
    "osd_request_timeout",
    "osdkeepalive",
    "name",
    "fsid",
    "ip",
    "secret",
    "key",
    "crush_location",
    "read_from_replica",
    "ms_mode",
    "mon_addr",
    "noname",
    "",
    "unknown",
];

/// A run of options: which one, whether there is a value, the value.
pub(crate) fn cluster_options(raw: &[u8]) {
    let input = Input::new(raw);
    input.check(
        |bytes| {
            let mut options = options::Options::new();
            let mut e = Events(bytes);
            while e.more() {
                let which = e.u8();
                let name = NAMES
                    .get(usize::from(which & 31))
                    .copied()
                    .unwrap_or("share");
                let text = match which & 0x80 {
                    0 => None,
                    _ => core::str::from_utf8(e.blob()).ok(),
                };
                let result = match (name, text) {
                    ("mon_addr", Some(text)) => options.parse_mon_addrs(text, '/'),
                    _ => options.parse(name, text),
                };
                match result {
                    Err(options::OptionError::NoMemory) => return Err(ENOMEM),
                    Err(options::OptionError::NoKey(error)) if error == ENOMEM => {
                        return Err(ENOMEM)
                    }
                    Err(_) | Ok(()) => {}
                }
            }
            Ok(options)
        },
        |mut options| {
            let text = options.shown(true).to_string();
            assert!(!text.contains([' ', '\n', '\t']));
            assert!(options.same_behaviour(&options));
            assert!(options.check().is_err() || !options.mon_addrs.is_empty());
        },
    );
}
