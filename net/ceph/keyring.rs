// SPDX-License-Identifier: GPL-2.0
//! Keys of type `ceph` in the kernel's keyrings: what the mount helper puts there,
//! and names with `key=`, so that no secret stands in the options of a mount.
use kernel::{prelude::*, str::CString, sync::Arc};
use kernel_ext::{
    global::{Global, Guard},
    keys::{KeyType, Registration},
};

use ceph_proto::wire::auth::CryptoKey;

struct CephKey;

impl KeyType for CephKey {
    const NAME: &'static CStr = c"ceph";
    type Payload = CryptoKey;

    fn preparse(data: &[u8]) -> Result<Arc<CryptoKey>> {
        if data.len() > 32_767 {
            return Err(EINVAL);
        }
        Ok(Arc::new(CryptoKey::from_bytes(data)?, GFP_KERNEL)?)
    }
}

static TYPE: Global<Arc<Registration<CephKey>>> = Global::new();

/// Keeps the key type registered.
pub(crate) struct Keyring {
    _registration: Guard<Arc<Registration<CephKey>>>,
}

impl Keyring {
    pub(crate) fn new() -> Result<Self> {
        let registration = Arc::new(Registration::new()?, GFP_KERNEL)?;
        Ok(Self {
            _registration: TYPE.set(registration)?,
        })
    }
}

/// Finds a key in the keyrings of the current task.
///
/// # Errors
///
/// `ENOKEY`, `EKEYEXPIRED`, `EKEYREVOKED`, `EKEYREJECTED`, `EINTR`, `ENOMEM`.
pub(crate) fn find(description: &str) -> Result<CryptoKey> {
    let description = CString::try_from_fmt(fmt!("{description}"))?;
    let keys = TYPE.get().ok_or(ENODEV)?;
    let key = keys.request(&description)?;
    key.try_clone()
}
