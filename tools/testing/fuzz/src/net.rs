// SPDX-License-Identifier: GPL-2.0
//! Decoders of libceph.
use crate::harness::{again, Input};
use ceph_proto::wire::auth::{self, CryptoKey, TicketBlob};
use ceph_proto::wire::decode::Decoder;
use ceph_proto::wire::flat_map::FlatMap;
use ceph_proto::wire::mon::{self, AuthReply};
use ceph_proto::wire::mon_request::{
    get_version_handle, Command, GetVersion, MonRequest, StatfsRequest,
};
use ceph_proto::wire::monmap::{parse_addrs, MonMap, MAX_MON};
use ceph_proto::wire::msgr2::{
    self, AuthBadMethod, AuthDone, AuthRequest, ClientIdent, Crypto, Epilogue, Hello, MessageHead,
    Preamble, ServerIdent, SessionReconnect, EPILOGUE_LEN, PREAMBLE_LEN,
};
use ceph_proto::wire::osd::{OsdMaps, OsdOpReply, SpgId, MAX_OPS, NO_SNAP};
use ceph_proto::wire::osd_backoff::{Backoff, HObject};
use ceph_proto::wire::types::{AddrType, AddrVec, EntityAddr, EntityName, Fsid};
use kernel::prelude::*;
use std::vec::Vec;

fn eq<T: PartialEq>(a: &T, b: &T) -> bool {
    a == b
}

/// Each byte chooses what is taken next.
pub(crate) fn decoder(raw: &[u8]) {
    let input = Input::new(raw);
    let (program, data) = input.bytes.split_at(input.bytes.len() / 4);
    input.check(
        |_| {
            let mut d = Decoder::new(data);
            for op in program {
                let before = d.remaining();
                let n = usize::from(*op >> 4);
                let taken = match op & 15 {
                    0 => d.u8().map(drop),
                    1 => d.u16().map(drop),
                    2 => d.u32().map(drop),
                    3 => d.u64().map(drop),
                    4 => d.bool().map(drop),
                    5 => d.blob().map(drop),
                    6 => d.blob_decoder().map(|inner| d = inner),
                    7 => d.length().map(|len| assert!(len <= d.remaining())),
                    8 => d.count(n).map(|count| assert!(count * n <= d.remaining())),
                    9 => d.versioned(*op).map(|(_, inner)| d = inner),
                    10 => d.timespec().map(drop),
                    11 => d.vec(n, Decoder::u32).map(drop),
                    12 => d.vec(n, |d| d.array::<64>()).map(drop),
                    13 => d.skip(n),
                    14 => d.sub(n).map(|inner| d = inner),
                    _ => d.bytes(n).map(|bytes| assert_eq!(bytes.len(), n)),
                };
                assert!(d.remaining() <= before);
                taken?;
            }
            Ok(())
        },
        drop,
    );
}

pub(crate) fn flat_map(raw: &[u8]) {
    type Map = FlatMap<u16, u32>;
    let input = Input::new(raw);
    input.decode(
        |d| {
            let lists = |d: &mut Decoder<'_>| Map::decode(d, (2, 4), 8, Decoder::u16, Decoder::u32);
            let single = |d: &mut Decoder<'_>| Map::decode_single(d, 6, Decoder::u16, Decoder::u32);
            let names = FlatMap::<u16, u8>::decode_names(d, 2, Decoder::u16)?;
            Ok((lists(d)?, single(d)?, names))
        },
        |(old, new, names)| {
            assert!(names.iter().all(|(k, name)| names.get(k) == Some(name)));
            let removed: Vec<u16> = (0..=u16::MAX).filter(|k| k & 7 == 7).collect();
            let Ok(merged) = old.merged(&new, &removed, None) else {
                panic!("two maps can be merged");
            };
            for (k, list) in merged.iter() {
                assert!(k & 7 != 7 && new.get(k).or(old.get(k)) == Some(list));
            }
            let keys = old.iter().chain(new.iter()).filter(|(k, _)| *k & 7 != 7);
            for (k, _) in keys {
                assert!(merged.get(k).is_some());
            }
        },
    );
}

pub(crate) fn crypto_key(raw: &[u8]) {
    Input::new(raw).decode(CryptoKey::decode, |key| {
        assert_eq!(
            key.cipher().is_ok(),
            matches!(
                (key.kind, key.secret.as_slice().len()),
                (auth::KEY_AES, 16) | (auth::KEY_AES256KRB5, 32)
            )
        );
        assert!(key.try_clone().is_ok_and(|copy| copy == key));
        assert_eq!(format!("{:?}", key.secret), "<hidden>");
    });
}

pub(crate) fn crypto_key_armor(raw: &[u8]) {
    let input = Input::new(raw);
    input.check(CryptoKey::from_armor, drop);
    input.check(CryptoKey::from_bytes, drop);
}

pub(crate) fn cephx_payloads(raw: &[u8]) {
    let input = Input::new(raw);
    match input.param % 6 {
        0 => input.check(auth::server_challenge, drop),
        1 => input.decode(auth::reply_header, drop),
        2 => input.check(auth::service_ticket, drop),
        3 => input.decode(auth::connection_secret, |secret| {
            assert!(secret.as_slice().len() <= input.bytes.len());
        }),
        4 => input.check(auth::authorize_challenge, drop),
        _ => input.check(auth::authorize_reply, drop),
    }
}

pub(crate) fn ticket_blob(raw: &[u8]) {
    Input::new(raw).decode(TicketBlob::decode, |ticket| {
        again(&ticket, TicketBlob::encode, TicketBlob::decode, eq);
        assert!(ticket.try_clone().is_ok_and(|copy| copy == ticket));
    });
}

pub(crate) fn ticket_replies(raw: &[u8]) {
    Input::new(raw).decode(auth::ticket_replies, drop);
}

pub(crate) fn auth_reply(raw: &[u8]) {
    Input::new(raw).check(AuthReply::decode, drop);
}

pub(crate) fn mon_replies(raw: &[u8]) {
    let input = Input::new(raw);
    match input.param % 5 {
        0 => input.check(mon::subscribe_ack, drop),
        1 => input.check(StatfsRequest::decode, drop),
        2 => input.check(GetVersion::decode, drop),
        3 => input.check(Command::decode, drop),
        _ => input.check(get_version_handle, drop),
    }
}

pub(crate) fn monmap(raw: &[u8]) {
    Input::new(raw).check(MonMap::decode, |map| {
        assert!((1..=MAX_MON).contains(&map.mons.len()));
        assert!(map.mons.is_sorted_by(|a, b| a.rank < b.rank));
        for mon in &map.mons {
            assert!(!mon.addr.is_blank() && mon.addr.kind == AddrType::MSGR2);
            assert!(mon.addr.sock.is_some_and(|sock| map.contains(&sock)));
        }
    });
}

pub(crate) fn addrs_text(raw: &[u8]) {
    let input = Input::new(raw);
    let Ok(text) = core::str::from_utf8(input.bytes) else {
        return;
    };
    let delimiter = if input.param & 1 == 0 { ',' } else { '/' };
    input.check(
        |_| parse_addrs(text, delimiter, MAX_MON),
        |addrs| {
            assert!((1..=MAX_MON).contains(&addrs.len()));
            assert!(!addrs.is_empty());
            for addr in &addrs {
                let text = addr.to_string();
                assert_eq!(
                    parse_addrs(&text, delimiter, 1).map(|a| a[0]).ok(),
                    Some(*addr)
                );
            }
        },
    );
}

/// Checksums that are all alike, so that any bytes pass.
struct NoCrypto;

impl Crypto for NoCrypto {
    fn crc32c(&self, _seed: u32, _bytes: &[u8]) -> u32 {
        0
    }
    fn hmac_sha256(&self, _key: &[u8], _parts: &[&[u8]]) -> Result<[u8; 32]> {
        Ok([0; 32])
    }
}

pub(crate) fn preamble(raw: &[u8]) {
    let input = Input::new(raw);
    let mut bytes = [0; PREAMBLE_LEN];
    let len = input.bytes.len().min(PREAMBLE_LEN - 4);
    bytes[..len].copy_from_slice(&input.bytes[..len]);
    input.check(
        |_| Preamble::decode(&NoCrypto, &bytes),
        |preamble| {
            assert!(preamble.segments[0] != 0 && preamble.segments[3] <= msgr2::DATA_MAX);
            again(
                &preamble,
                |p, e| e.bytes(&p.encode(&NoCrypto)).map(drop),
                |d| Preamble::decode(&NoCrypto, &d.array()?),
                eq,
            );
        },
    );
}

pub(crate) fn epilogue(raw: &[u8]) {
    let input = Input::new(raw);
    let mut bytes = [0; EPILOGUE_LEN];
    let len = input.bytes.len().min(EPILOGUE_LEN);
    bytes[..len].copy_from_slice(&input.bytes[..len]);
    input.check(
        |_| Epilogue::decode(&bytes),
        |epilogue| {
            let second = Epilogue::decode(&epilogue.encode());
            assert!(second.is_ok_and(|second| second == epilogue));
        },
    );
}

pub(crate) fn message_head(raw: &[u8]) {
    Input::new(raw).decode(MessageHead::decode, |head| {
        again(
            &head,
            |head, e| e.bytes(&head.encode()).map(drop),
            MessageHead::decode,
            eq,
        );
    });
}

pub(crate) fn hello(raw: &[u8]) {
    Input::new(raw).decode(Hello::decode, |hello| {
        again(&hello, Hello::encode, Hello::decode, eq);
    });
}

pub(crate) fn auth_request(raw: &[u8]) {
    Input::new(raw).decode(AuthRequest::decode, |request| {
        again(
            &request,
            AuthRequest::encode,
            AuthRequest::decode,
            |a, b| a.method == b.method && a.modes == b.modes && a.payload == b.payload,
        );
    });
}

pub(crate) fn auth_bad_method(raw: &[u8]) {
    Input::new(raw).decode(AuthBadMethod::decode, |bad| {
        assert!(bad.allowed_methods.len() <= 8 && bad.allowed_modes.len() <= 8);
    });
}

pub(crate) fn auth_done(raw: &[u8]) {
    Input::new(raw).decode(AuthDone::decode, drop);
}

pub(crate) fn client_ident(raw: &[u8]) {
    Input::new(raw).decode(ClientIdent::decode, |ident| {
        again(&ident, ClientIdent::encode, ClientIdent::decode, eq);
    });
}

pub(crate) fn server_ident(raw: &[u8]) {
    Input::new(raw).decode(ServerIdent::decode, |ident| {
        let addr = msgr2::msgr2_addr(&ident.addrs);
        assert!(addr.is_none_or(|addr| addr.kind == AddrType::MSGR2));
        if ident.addrs.0.is_empty() {
            return;
        }
        again(&ident, ServerIdent::encode, ServerIdent::decode, |a, b| {
            a.addrs.0.first() == b.addrs.0.first()
                && (a.global_id, a.global_seq) == (b.global_id, b.global_seq)
                && (a.supported, a.required) == (b.supported, b.required)
                && (a.flags, a.cookie) == (b.flags, b.cookie)
        });
    });
}

pub(crate) fn session_reconnect(raw: &[u8]) {
    Input::new(raw).decode(SessionReconnect::decode, |reconnect| {
        again(
            &reconnect,
            SessionReconnect::encode,
            SessionReconnect::decode,
            eq,
        );
    });
}

pub(crate) fn keepalive(raw: &[u8]) {
    Input::new(raw).decode(msgr2::keepalive, |time| {
        again(&time, |t, e| e.timespec(*t).map(drop), msgr2::keepalive, eq);
    });
}

pub(crate) fn fsid(raw: &[u8]) {
    let input = Input::new(raw);
    input.check(Fsid::parse, |fsid| {
        let text = fsid.to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(Fsid::parse(text.as_bytes()).ok(), Some(fsid));
    });
    input.decode(Fsid::decode, |fsid| {
        again(&fsid, |f, e| e.bytes(&f.0).map(drop), Fsid::decode, eq);
    });
}

pub(crate) fn entity_name(raw: &[u8]) {
    Input::new(raw).decode(EntityName::decode, |name| {
        again(&name, EntityName::encode, EntityName::decode, eq);
    });
}

pub(crate) fn entity_addr(raw: &[u8]) {
    Input::new(raw).decode(EntityAddr::decode, |addr| {
        again(&addr, EntityAddr::encode, EntityAddr::decode, eq);
    });
}

pub(crate) fn addr_vec(raw: &[u8]) {
    Input::new(raw).decode(AddrVec::decode, |addrs| {
        if let Some(addr) = addrs.find(AddrType::MSGR2) {
            assert_eq!(addr.kind, AddrType::MSGR2);
        }
        for addr in &addrs.0 {
            again(
                addr,
                AddrVec::encode_one,
                |d| Ok(AddrVec::decode(d)?.0[0]),
                eq,
            );
        }
    });
}

pub(crate) fn spg_id(raw: &[u8]) {
    Input::new(raw).decode(SpgId::decode, |spg| {
        again(&spg, SpgId::encode, SpgId::decode, eq);
    });
}

pub(crate) fn osd_op_reply(raw: &[u8]) {
    let input = Input::new(raw);
    let version = u16::from(input.param);
    let namespace: &[u8] = if input.aux & 1 == 0 { b"" } else { b"ns" };
    input.check(
        |bytes| OsdOpReply::decode(bytes, version, namespace),
        |reply| {
            assert!(reply.ops.len() <= MAX_OPS);
            assert!(reply.ops.data_len() <= 16 * u64::from(u32::MAX));
        },
    );
}

pub(crate) fn msgr1_addr(raw: &[u8]) {
    Input::new(raw).decode(ceph_proto::wire::msgr1::decode_addr, |_| {});
}

pub(crate) fn osd_maps(raw: &[u8]) {
    Input::new(raw).check(OsdMaps::decode, |maps| {
        let newest = maps.newest();
        let maps = maps.incremental.iter().chain(&maps.full);
        assert!(maps.clone().all(|(epoch, _)| *epoch <= newest));
        assert!(maps.map(|(_, bytes)| bytes.len()).sum::<usize>() < raw.len());
    });
}

pub(crate) fn osd_backoff(raw: &[u8]) {
    Input::new(raw).check(Backoff::decode, |backoff| {
        let (begin, end) = (backoff.begin, backoff.end);
        let ack = backoff.acknowledge().expect("a block can be acknowledged");
        let ack = Backoff::decode(&ack).expect("what was encoded can be decoded");
        assert_eq!(
            (ack.spg, ack.epoch, ack.id),
            (backoff.spg, backoff.epoch, backoff.id)
        );
        assert_eq!((begin, end), (ack.begin, ack.end));
        assert_eq!((begin.name, end.name), (ack.begin.name, ack.end.name));
        assert!(backoff.covers(&backoff.spg, &begin));
        assert!(begin == end || !backoff.covers(&backoff.spg, &end));
        let other = HObject {
            name: begin.name,
            snap: NO_SNAP,
            ..end
        };
        assert_eq!(begin.cmp(&other), other.cmp(&begin).reverse());
        let _ = format!("{begin}{end}");
    });
}
