// SPDX-License-Identifier: GPL-2.0
//! Operations of dentries: whether a name is still good, and what follows when it goes.
use kernel::prelude::*;
use kernel_ext::fs::{
    dentry::{
        self,
        LookupFlags,
        Stable,
        Uncounted, //
    },
    inode,
    Dentry,
    Inode, //
};

use crate::fs_type::CephFs;

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
        if !dir.key().is_head() {
            return Ok(true);
        }
        let fs = dir.super_block().data();
        match dentry.data().is_valid(&dir.data()) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(_) => {
                if let Some((session, seq)) = dentry.data().renew() {
                    fs.renew_lease(&session, dir.key().ino, name, seq);
                }
                return Ok(true);
            }
        }
        let trace = fs.lookup(dir, name)?;
        let same = match (dentry.inode(), &trace.target) {
            (Some(known), Some(found)) => known.key() == found.key(),
            (None, None) => true,
            _ => false,
        };
        if same {
            if let Some((origin, grant)) = &trace.name {
                dentry.data().learn(origin, *grant);
            }
        } else {
            // The VFS drops the dentry, but not before others have looked for the name.
            fs.name_dropped(dir);
        }
        Ok(same)
    }

    fn revalidate_rcu(
        dir: &inode::Uncounted<CephFs>,
        _name: &[u8],
        dentry: &Uncounted<CephFs>,
        _flags: LookupFlags,
    ) -> Result<bool> {
        match dir.key().is_head() {
            true => dentry.data().is_valid(&dir.data()).ok(),
            false => Some(true),
        }
        .filter(|valid| *valid)
        .ok_or(ECHILD)
    }

    fn prune(dentry: Stable<'_, CephFs>) {
        if dentry.is_unhashed() || dentry.is_negative() {
            return;
        }
        if let Some(dir) = dentry.parent().inode_uncounted() {
            match dir.super_data() {
                Some(fs) => fs.name_dropped(dir),
                // All goes.
                None => {
                    let _ = dir.data().clear_complete();
                }
            }
        }
    }

    fn release(dentry: &Uncounted<CephFs>) {
        dentry.data().forget();
    }
}
