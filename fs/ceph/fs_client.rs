use crate::{inode::*, mds_client::*, super_block::CephFs};
use ceph_core::{client::Client, messenger::{Incoming, Parts}};
use ceph_fs_proto::{mount::options::MountOptions, wire::reply::ClientReply};
use kernel::{prelude::*, sync::Arc, str::CStr};
use kernel_ext::fs::super_block::Handle;
pub(crate) struct FsClient { pub client: Arc<Client>, pub mdsc: Arc<MdsClient<FsClient>>, pub options: MountOptions, pub path: KVec<u8>, pub new_syntax: bool }
impl FsClient {
    pub fn new(client: Arc<Client>, mdsc: Arc<MdsClient<FsClient>>, options: MountOptions, path: KVec<u8>, new_syntax: bool) -> Result<Arc<Self>> { Ok(Arc::new(Self{client,mdsc,options,path,new_syntax}, GFP_KERNEL)?) }
    pub fn set_super_block(&self, _h: Handle<CephFs>) {}
    pub fn stop(&self) {}
    pub fn shut_down(&self) {}
    pub fn is_shut_down(&self) -> bool { false }
    pub fn statfs_id(&self) -> u64 { 0 }
    pub fn create_debugfs(&self, _b: &CStr) -> Result { Ok(()) }
    pub fn evict(_i: &kernel_ext::fs::inode::Uncounted<CephFs>) {}
}
impl MdsHooks for FsClient {
    type Subject = Subject; type Filled = Filled; type SessionData = ();
    fn session_data() -> impl PinInit<(), Error> { unsafe_init() }
    fn choose_rank(&self, _s: &Spec<Subject>) -> Choice { Choice::Any }
    fn releases(&self, _s: &Spec<Subject>, _x: &Arc<Session<Self>>) -> Result<KVVec<OwnedRelease>> { Ok(KVVec::new()) }
    fn fill(&self, _a: &Arc<Session<Self>>, _b: &Spec<Subject>, _r: &ClientReply<'_>) -> Result<Filled> { Err(EINVAL) }
    fn message(&self, _a: &Arc<Session<Self>>, _m: &Incoming) {}
    fn recall(&self, _a: &Arc<Session<Self>>, _m: u32) {}
    fn flush_releases(&self, _a: &Arc<Session<Self>>) {}
    fn renewed(&self, _a: &Arc<Session<Self>>) {}
    fn force_readonly(&self, _a: &Arc<Session<Self>>) {}
    fn session_closed(&self, _a: &Arc<Session<Self>>) {}
    fn reconnect(&self, _a: &Arc<Session<Self>>) -> Result<KVec<Parts>> { Ok(KVec::new()) }
    fn reconnected(&self, _a: &Arc<Session<Self>>) {}
    fn tick(&self) {}
}
fn unsafe_init() -> impl PinInit<(), Error> { Ok(()) }
