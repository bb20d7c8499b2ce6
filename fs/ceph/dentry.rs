// SPDX-License-Identifier: GPL-2.0
//! Names: whether they are still good, and what follows when they go.
//!
//! A name that a server has told is good while its lease lasts, or while the directory's
//! Fs that it was told under is issued ([`DentryInfo::is_valid`]). Then nobody is asked.
//!
//! [`DentryInfo::is_valid`]: crate::inode::DentryInfo::is_valid
use kernel::prelude::*;
use kernel_ext::fs::{
    dentry::{self, LookupFlags, Uncounted},
    inode, Dentry, Inode,
};

use crate::super_block::CephFs;

/// The operations of dentries.
pub(crate) struct DentryOps;

#[vtable]
impl dentry::Operations for DentryOps {
    type Fs = CephFs;

    fn revalidate(
        dir: &Inode<CephFs>,
        name: &[u8],
        dentry: &Dentry<CephFs>,
        _flags: LookupFlags,
    ) -> Result<bool> {
        // A snapshot does not change.
        if !dir.key().is_head() || dentry.data().is_valid(&dir.data()) {
            return Ok(true);
        }
        let filled = dir.super_block().data().lookup(dir, name)?;
        let same = match (dentry.inode(), &filled.target) {
            (Some(known), Some(found)) => known.key() == found.key(),
            (None, None) => true,
            _ => false,
        };
        if same {
            if let Some(lease) = filled.lease {
                dentry.data().set_lease(lease);
            }
        } else {
            // The VFS drops the dentry, but not before others have looked for the name.
            dir.data().clear_complete();
        }
        Ok(same)
    }

    fn revalidate_rcu(
        dir: &inode::Uncounted<CephFs>,
        _name: &[u8],
        dentry: &Uncounted<CephFs>,
        _flags: LookupFlags,
    ) -> Result<bool> {
        if !dir.key().is_head() || dentry.data().is_valid(&dir.data()) {
            Ok(true)
        } else {
            Err(ECHILD)
        }
    }

    fn delete(dentry: &Uncounted<CephFs>, parent: &Uncounted<CephFs>) -> bool {
        let (Some(inode), Some(dir)) = (dentry.inode_uncounted(), parent.inode_uncounted()) else {
            return false;
        };
        inode.key().is_head() && !dentry.data().may_be_valid(&dir.data())
    }

    fn prune(dentry: &Uncounted<CephFs>, parent: &Uncounted<CephFs>) {
        if dentry.is_unhashed() || dentry.is_negative() {
            return;
        }
        if let Some(dir) = parent.inode_uncounted() {
            dir.data().clear_complete();
        }
    }

    fn release(dentry: &Uncounted<CephFs>) {
        dentry.data().forget();
    }
}
