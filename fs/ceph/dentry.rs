use kernel::prelude::*;
pub(crate) struct DentryOps;
#[vtable] impl kernel_ext::fs::dentry::Operations for DentryOps { type Fs = crate::super_block::CephFs; }
