// SPDX-License-Identifier: GPL-2.0
//! Locks of files.
use kernel::prelude::*;
use kernel_ext::fs::file::lock::{
    Kind,
    Request, //
};

use ceph_proto::errno::enolck;

/// No lock is given, as the servers would have to know of it: other clients may have one.
pub(crate) fn no_lock(request: &Request<'_>) -> Result {
    match request.kind() {
        // There is none to end.
        Kind::Unlock => Ok(()),
        Kind::Read | Kind::Write => Err(enolck()),
    }
}
