// SPDX-License-Identifier: GPL-2.0
//! The one list of targets. A test compares it with the sources: each public function
//! of wire/, mount/ and crush/map.rs that takes bytes, and each machine, is in it.
use crate::{cluster_options, fs, machines, maps, net};

/// A fuzz target.
pub struct Target {
    path: &'static str,
    /// Longest input in bytes.
    pub max_len: usize,
    /// What it is for, as `file::Type::function`, `file::function` or `machine::file`.
    pub covers: &'static [&'static str],
    /// Panics if something is wrong.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($run:path, $max_len:literal: $($covers:literal)*;)*) => {
        &[$(Target {
            path: stringify!($run),
            max_len: $max_len,
            covers: &[$($covers),*],
            run: $run,
        },)*]
    };
}

impl Target {
    /// Its name, and that of its corpus: the function's.
    pub fn name(&self) -> &'static str {
        self.path.rsplit(':').next().unwrap_or(self.path).trim()
    }
}

/// All of them.
pub const TARGETS: &[Target] = targets! {
    net::decoder, 256: "decode::Decoder::new";
    net::flat_map, 512: "flat_map::FlatMap::decode" "flat_map::FlatMap::decode_single"
        "flat_map::FlatMap::decode_names";
    net::crypto_key, 128: "auth::CryptoKey::decode";
    net::crypto_key_armor, 128: "auth::CryptoKey::from_armor" "auth::CryptoKey::from_bytes";
    net::cephx_payloads, 1024: "auth::server_challenge" "auth::reply_header" "auth::service_ticket"
        "auth::connection_secret" "auth::authorize_challenge" "auth::authorize_reply";
    net::ticket_blob, 256: "auth::TicketBlob::decode";
    net::ticket_replies, 1024: "auth::ticket_replies";
    net::auth_reply, 1024: "mon::AuthReply::decode";
    net::mon_replies, 128: "mon::subscribe_ack" "mon_request::StatfsRequest::decode"
        "mon_request::GetVersion::decode" "mon_request::Command::decode"
        "mon_request::get_version_handle";
    net::monmap, 2048: "monmap::MonMap::decode" "monmap::MonMap::decode_for";
    net::addrs_text, 256: "monmap::parse_addrs";
    net::preamble, 64: "msgr2::Preamble::decode";
    net::epilogue, 32: "msgr2::Epilogue::decode";
    net::message_head, 64: "msgr2::MessageHead::decode";
    net::hello, 128: "msgr2::Hello::decode";
    net::auth_request, 256: "msgr2::AuthRequest::decode";
    net::auth_bad_method, 128: "msgr2::AuthBadMethod::decode";
    net::auth_done, 1024: "msgr2::AuthDone::decode";
    net::client_ident, 256: "msgr2::ClientIdent::decode";
    net::server_ident, 256: "msgr2::ServerIdent::decode";
    net::session_reconnect, 256: "msgr2::SessionReconnect::decode";
    net::keepalive, 32: "msgr2::keepalive";
    net::msgr1_addr, 160: "msgr1::decode_addr";
    net::fsid, 64: "types::Fsid::decode" "types::Fsid::parse";
    net::entity_name, 32: "types::EntityName::decode";
    net::entity_addr, 128: "types::EntityAddr::decode";
    net::addr_vec, 512: "types::AddrVec::decode";
    net::spg_id, 64: "osd::SpgId::decode";
    net::osd_op_reply, 1024: "osd::OsdOpReply::decode";
    net::osd_maps, 6144: "osd::OsdMaps::decode";
    net::osd_backoff, 512: "osd_backoff::Backoff::decode";
    maps::pg_id, 32: "osdmap_pool::PgId::decode";
    maps::pool, 512: "osdmap_pool::Pool::decode";
    maps::crush, 4096: "map::CrushMap::decode";
    maps::crush_rule, 4096: "mapper::do_rule";
    maps::osdmap, 8192: "osdmap::OsdMap::decode" "osdmap::OsdMap::decode_for";
    maps::osdmap_place, 8192: "placement::OsdMap::pg_to_up_acting";
    maps::osdmap_inc, 4096: "osdmap_inc::Incremental::decode"
        "osdmap_inc::Incremental::decode_for";
    maps::osdmap_apply, 12288: "osdmap_inc::OsdMap::apply";
    cluster_options::cluster_options, 256: "options::Options::parse";
    fs::client_caps, 1024: "client_caps::ClientCaps::decode";
    fs::dir_hash, 64: "dir_hash::DirHash::decode" "dir_hash::DirHash::hash";
    fs::frag, 32: "frag::Frag::checked";
    fs::fsmap_user, 512: "fsmap_user::FsMapUser::decode";
    fs::inode_stat, 1024: "inode_stat::InodeStat::decode";
    fs::layout, 64: "layout::FileLayout::decode";
    fs::lease_stat, 128: "lease::LeaseStat::decode";
    fs::client_lease, 128: "lease::ClientLease::decode";
    fs::mdsmap, 2048: "mdsmap::MdsMap::decode" "machine::route";
    fs::mdsmap_message, 2048: "mdsmap::MdsMap::decode_message";
    fs::quota, 64: "quota::Quota::decode";
    fs::client_quota, 128: "quota::ClientQuota::decode";
    fs::dir_stat, 128: "reply::DirStat::decode";
    fs::client_reply, 4096: "reply::ClientReply::decode";
    fs::forward, 32: "reply::Forward::decode";
    fs::client_session, 1024: "session::ClientSession::decode" "machine::access";
    fs::snap_trace, 512: "snap::SnapTrace::decode";
    fs::client_snap, 512: "snap::ClientSnap::decode";
    fs::xattrs, 512: "xattr::Xattrs::decode";
    fs::source, 256: "source::Source::parse" "source::canonical_path";
    fs::mount_options, 256: "options::MountOptions::set";
    machines::messenger::messenger, 512: "machine::msgr2" "machine::msgr2_handshake"
        "machine::msgr2_reader" "machine::framer" "machine::fault";
    machines::msgr1::msgr1, 512: "machine::msgr1" "machine::protocol";
    machines::auth::auth_client, 512: "machine::auth";
    machines::mon::hunt, 256: "machine::hunt";
    machines::mon::subs, 256: "machine::subs";
    machines::osd_target::osd_target, 128: "machine::osd_target" "machine::placements";
    machines::osd_request::osd_request, 256: "machine::osd_request";
    machines::osd_request::osd_backoffs, 256: "machine::osd_backoffs";
    machines::osd_request::osd_barrier, 256: "machine::osd_barrier";
    machines::session::mds_session, 256: "machine::session";
    machines::session::reconnect, 512: "reconnect::Reconnect::cap" "reconnect::Reconnect::finish";
    machines::request::mds_request, 512: "machine::request";
    machines::caps::caps, 512: "machine::caps" "machine::refs";
    machines::files::striper, 64: "machine::striper";
    machines::registry::registry, 256: "machine::registry";
    machines::listing::listing, 512: "machine::listing";
};

/// Public functions that take bytes or text and decode nothing, and why.
pub const NOT_DECODERS: &[(&str, &str)] = &[
    ("encode::Encoder::blob", "encodes"),
    ("encode::Encoder::bytes", "encodes"),
    ("encode::Encoder::patch", "encodes"),
    ("encode::Writer::new", "encodes"),
    (
        "fsmap_user::FsMapUser::find",
        "looks up a name; called by the map's target",
    ),
    (
        "map::CrushMap::locality",
        "compares names; called by the map's target",
    ),
    (
        "options::MountOptions::set_fs_name",
        "copies a name; called by set",
    ),
    (
        "osdmap::OsdMap::pool_by_name",
        "looks up a name; called by the map's target",
    ),
    ("mon_request::blocklist_add", "encodes"),
    ("msgr1::Header::encode", "encodes"),
    ("secret::Secret::new", "copies"),
    (
        "xattr::Xattrs::get",
        "looks up a name; called by the attributes' target",
    ),
];
