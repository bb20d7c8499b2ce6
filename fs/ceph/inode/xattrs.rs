// SPDX-License-Identifier: GPL-2.0
//! Extended attributes that are known.
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::fs::{
    acl::AclType,
    inode::Uncounted, //
};

use ceph_fs_proto::wire::xattr::Xattrs;

use crate::fs_type::CephFs;

/// Extended attributes, as a server told them last.
pub(crate) struct KnownXattrs {
    version: u64,
    /// There are some.
    told: bool,
    /// Their encoding; none if there are none.
    bytes: Option<Arc<KVec<u8>>>,
}

/// Bytes of an encoding with no attribute in it.
const EMPTY: usize = 4;

/// Attributes on their way from a message to an inode.
pub(crate) struct NewXattrs {
    version: u64,
    told: bool,
    /// Whether one of them is an ACL.
    has_acl: bool,
    bytes: Option<Arc<KVec<u8>>>,
}

impl NewXattrs {
    /// Of what a message tells; with nothing in it, that is nothing.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(version: u64, encoded: &[u8]) -> Result<Self> {
        let mut new = Self {
            version,
            told: !encoded.is_empty(),
            has_acl: false,
            bytes: None,
        };
        if encoded.len() > EMPTY {
            new.has_acl = Xattrs::decode(encoded).map_or(true, |xattrs| {
                let is_acl = |kind: AclType| xattrs.get(kind.xattr_name()).is_some();
                is_acl(AclType::Access) || is_acl(AclType::Default)
            });
            let mut bytes = KVec::new();
            bytes.extend_from_slice(encoded, GFP_KERNEL)?;
            new.bytes = Some(Arc::new(bytes, GFP_KERNEL)?);
        }
        Ok(new)
    }
}

impl KnownXattrs {
    /// Nothing is known.
    pub(crate) const fn new() -> Self {
        Self {
            version: 0,
            told: false,
            bytes: None,
        }
    }

    /// Takes in what is newer; what it replaces is left in `new`, to be freed without the
    /// inode's lock.
    pub(crate) fn take(&mut self, inode: &Uncounted<CephFs>, new: &mut NewXattrs) {
        if !new.told || self.told && new.version <= self.version {
            return;
        }
        self.told = true;
        self.version = new.version;
        core::mem::swap(&mut self.bytes, &mut new.bytes);
        if new.has_acl {
            inode.forget_acls();
        } else {
            inode.set_no_acls();
        }
    }

    /// The encoding, if they are known; none in it if there are none.
    pub(crate) fn bytes(&self) -> Option<Option<Arc<KVec<u8>>>> {
        self.told.then(|| self.bytes.clone())
    }
}
