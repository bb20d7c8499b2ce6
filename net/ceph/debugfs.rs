// SPDX-License-Identifier: GPL-2.0
//! What libceph shows in debugfs: `ceph/<fsid>.client<id>/` with the files of the
//! C client, in its formats.
use kernel::{prelude::*, seq_file::SeqFile, str::CString, sync::Arc};
use kernel_ext::{
    debugfs::{Dir, File},
    global::Global,
};

use crate::log::show;
use crate::mon_client::MonClient;
use crate::options::Options;
use crate::osd_client::OsdClient;

/// The directory `ceph`.
pub(crate) static ROOT: Global<Dir> = Global::new();

/// The directory of one client and its files, until dropped.
pub(crate) struct ClientFiles {
    dir: Dir,
    _files: KVec<File>,
}

impl ClientFiles {
    /// Shows a client whose cluster and number are known.
    pub(crate) fn new(
        options: &Arc<Options>,
        mon_client: &Arc<MonClient>,
        osd_client: &Arc<OsdClient>,
    ) -> Result<Self> {
        let root = ROOT.get().ok_or(ENODEV)?;
        let fsid = mon_client.fsid().ok_or(ENODEV)?;
        let id = mon_client.global_id();
        let name = CString::try_from_fmt(fmt!("{}", format_args!("{fsid}.client{id}")))?;
        let dir = root.subdir(&name);
        let mut files = KVec::new();

        let monc = mon_client.clone();
        let show_monmap = move |m: &_| {
            monc.show_monmap(m);
            Ok(())
        };
        files.push(dir.file(c"monmap", 0o400, show_monmap)?, GFP_KERNEL)?;

        let monc = mon_client.clone();
        let show_monc = move |m: &_| {
            monc.show_monc(m);
            Ok(())
        };
        files.push(dir.file(c"monc", 0o400, show_monc)?, GFP_KERNEL)?;

        let osdc = osd_client.clone();
        let show_osdmap = move |m: &_| {
            osdc.show_map(m);
            Ok(())
        };
        files.push(dir.file(c"osdmap", 0o400, show_osdmap)?, GFP_KERNEL)?;

        let osdc = osd_client.clone();
        let show_osdc = move |m: &_| {
            osdc.show_requests(m);
            Ok(())
        };
        files.push(dir.file(c"osdc", 0o400, show_osdc)?, GFP_KERNEL)?;

        let options = options.clone();
        let show_options = move |m: &SeqFile| {
            show!(m, "{}\n", options.shown(true));
            Ok(())
        };
        files.push(
            dir.file(c"client_options", 0o400, show_options)?,
            GFP_KERNEL,
        )?;

        Ok(Self { dir, _files: files })
    }

    /// The directory, for the files of others.
    pub(crate) fn dir(&self) -> Dir {
        self.dir.clone()
    }
}
