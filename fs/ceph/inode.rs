use kernel::prelude::*;
use crate::super_block::CephFs;
use kernel_ext::fs::{inode::InodeData, dentry::DentryData, InodeRef};
pub(crate) struct InodeInfo; pub(crate) struct DentryInfo;
#[derive(Default)] pub(crate) struct Subject; pub(crate) struct Filled { pub target: Option<InodeRef<CephFs>> }
impl InodeData for InodeInfo { type Key = u64; fn hash(k:&u64)->u64{*k} fn ino(k:&u64)->u64{*k} fn init()-> impl PinInit<Self, Error> { Ok(InodeInfo) } }
impl DentryData for DentryInfo { fn init()-> impl PinInit<Self, Error> { Ok(DentryInfo) } }
