// SPDX-License-Identifier: GPL-2.0
//! msgr1: what a server sends, with care or as the input has it, in any pieces, and what the
//! client answers.
use crate::harness::{run_events, Events};
use ceph_proto::errno::eprotonosupport;
use ceph_proto::machine::msgr1::{Crypto, Machine, HEAD_LEN};
use ceph_proto::machine::msgr2::{Action, Began, Body, Identity};
use ceph_proto::wire::encode::Encoder;
use ceph_proto::wire::msgr1::{
    encode_addr, tag, Footer, Header, BANNER, CONNECT_LOSSY, FOOTER_COMPLETE,
};
use ceph_proto::wire::msgr2::{self, AuthRequest, MessageHead};
use ceph_proto::wire::types::{AddrType, EntityAddr, EntityName, EntityType, Timespec};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use kernel::prelude::*;

/// Checksums and signatures that are all alike, so that any bytes pass.
struct Alike;

impl msgr2::Crypto for Alike {
    fn crc32c(&self, _seed: u32, _bytes: &[u8]) -> u32 {
        0
    }
    fn hmac_sha256(&self, _key: &[u8], _parts: &[&[u8]]) -> Result<[u8; 32]> {
        Ok([0; 32])
    }
}

impl Crypto for Alike {
    fn encrypt(&self, _key: &[u8; 16], _iv: &[u8; 16], blocks: &mut [[u8; 16]; 2]) {
        *blocks = [[0; 16]; 2];
    }
}

const FEATURES: u64 = 1 << 23 | 1 << 61;

fn addr(port: u16, nonce: u32) -> EntityAddr {
    EntityAddr {
        kind: AddrType::LEGACY,
        nonce,
        sock: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
    }
}

/// Something that a server says.
fn saying(e: &mut Events<'_>, seq: u64) -> Result<KVVec<u8>> {
    let (what, detail) = (e.u8(), e.u8());
    let mut out = Encoder::new();
    match what % 6 {
        0 => drop(out.bytes(e.blob())?),
        1 => {
            out.bytes(BANNER)?;
            encode_addr(&mut out, &addr(6_800, 7))?;
            encode_addr(&mut out, &addr(50_000, 0))?;
        }
        2 => {
            let payload = e.blob();
            let tags = [
                tag::READY,
                tag::SEQ,
                tag::CHALLENGE_AUTHORIZER,
                tag::RETRY_GLOBAL,
                tag::RETRY_SESSION,
                tag::RESETSESSION,
                tag::BADAUTHORIZER,
                detail,
            ];
            out.u8(tags[usize::from(detail & 7)])?.u64(FEATURES)?;
            out.u32(u32::from(detail))?.u32(1)?.u32(24)?;
            out.length(payload.len())?;
            out.u8(if detail & 8 != 0 { CONNECT_LOSSY } else { 0 })?;
            out.bytes(payload)?;
        }
        3 | 4 => {
            let parts = [e.blob(), e.blob(), e.blob()];
            let header = Header {
                seq: seq.wrapping_add(u64::from(detail & 3 == 3)),
                tid: 5,
                kind: u16::from(detail),
                segments: parts.map(|part| part.len() as u32),
                ..Header::EMPTY
            };
            out.u8(tag::MSG)?.bytes(&header.encode(|_| 0))?;
            for part in parts {
                out.bytes(part)?;
            }
            let footer = Footer {
                flags: FOOTER_COMPLETE,
                ..Footer::default()
            };
            out.bytes(&footer.encode(true).0)?;
        }
        _ => {
            let tags = [tag::ACK, tag::KEEPALIVE2_ACK, tag::KEEPALIVE2, tag::CLOSE];
            out.u8(tags[usize::from(detail & 3)])?.u64(e.u64())?;
        }
    }
    Ok(out.into_vec())
}

fn answer(m: &mut Machine, action: &Action, e: &mut Events<'_>, global_seq: &mut u64) -> Result {
    let identity = |global_seq| Identity {
        addr: addr(0, 9),
        global_id: 4_100,
        global_seq,
        cookie: 1,
        supported: FEATURES,
        required: 0,
    };
    let mut payload = KVVec::new();
    payload.extend_from_slice(b"ticket", GFP_KERNEL)?;
    match action {
        Action::Hello(_) | Action::BadMethod(_) => {
            let mut modes = KVVec::new();
            modes.push(1, GFP_KERNEL)?;
            m.auth_request(&AuthRequest {
                method: 2,
                modes,
                payload,
            })
        }
        Action::AuthMore(_) => m.auth_more(&payload),
        Action::AuthDone { .. } => m.auth_done(&[3; 16]),
        Action::Identify | Action::PeerReset => m.identify(&identity(*global_seq)),
        Action::RetryGlobal(above) => {
            *global_seq = above.wrapping_add(1);
            m.identify(&identity(*global_seq))
        }
        Action::Head => {
            m.body(match e.u8() % 3 {
                0 => Body::Skip,
                1 => Body::Collect,
                _ => Body::Divert,
            });
            Ok(())
        }
        Action::Message => {
            let lens = m.head().1;
            let segments = m.take_segments();
            assert!(segments.front.len() <= lens[0] as usize);
            assert!(segments.middle.len() <= lens[1] as usize);
            if e.u8() & 15 == 15 {
                m.not_taken();
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Feeds what a server says, in pieces; false once the connection is broken.
fn feed(m: &mut Machine, said: &[u8], e: &mut Events<'_>, global_seq: &mut u64) -> Result<bool> {
    let step = 1 + usize::from(e.u8());
    let mut at = 0;
    loop {
        let diverted = m.diverted();
        if diverted > 0 {
            let taken = diverted.min(said.len() - at);
            if taken == 0 {
                return Ok(true);
            }
            m.data_taken(taken, 0);
            at += taken;
            continue;
        }
        let end = said.len().min(at + step);
        let whole = m.feed_message(&Alike, &said[at..]);
        let action = match whole {
            Some((taken, began)) => {
                assert!(taken == HEAD_LEN && began != Began::Whole);
                at += taken;
                (began == Began::Head).then_some(Action::Head)
            }
            None => match m.feed(&Alike, &said[at..end]) {
                Ok((taken, action)) => {
                    assert!(taken <= end - at);
                    at += taken;
                    if action.is_none() && taken == 0 && m.diverted() == 0 {
                        // All is taken, or somebody is to answer first.
                        return Ok(true);
                    }
                    action
                }
                Err(fault) => {
                    assert!(!fault.why.is_empty());
                    return Ok(false);
                }
            },
        };
        if let Some(action) = action {
            answer(m, &action, e, global_seq)?;
        }
    }
}

fn run(e: &mut Events<'_>) -> Result {
    let kind = match e.u8() % 3 {
        0 => EntityType::MON,
        1 => EntityType::MDS,
        _ => EntityType::OSD,
    };
    let sign = e.u8() & 1 == 0;
    let mut m = Machine::new(EntityName { kind, num: 0 }, addr(6_800, 7), true, sign);
    let (mut now, mut global_seq, mut seq) = (1_000, 1, 1);
    m.connecting(now);
    m.connected()?;
    while e.more() {
        match e.u8() % 8 {
            0 => {
                m.fault();
                m.connecting(now);
                m.connected()?;
            }
            1 => {
                let head = MessageHead::default();
                if let Ok((number, bytes)) = m.message(&Alike, head, [1, 0, 0]) {
                    assert!(m.is_open() && number > 0);
                    let tail = m.message_tail(&Alike, &bytes, b"x", b"", 0);
                    assert!(tail.is_ok_and(|(_, len)| len > 0));
                }
            }
            2 => m.skip(),
            3 => {
                if m.wants_ack() {
                    m.ack()?;
                }
                m.keepalive(Timespec::default())?;
                drop(m.take_output());
            }
            4 => {
                now += 40_000;
                assert!(!m.is_open() || m.check_deadline(now).is_ok());
            }
            _ => {
                let said = saying(e, seq)?;
                if !feed(&mut m, &said, e, &mut global_seq)? {
                    m.fault();
                    m.connecting(now);
                    m.connected()?;
                }
                if m.is_open() && !m.is_receiving() {
                    seq = m.head().0.seq.wrapping_add(1);
                }
            }
        }
    }
    Ok(())
}

pub(crate) fn msgr1(raw: &[u8]) {
    run_events(raw, |mut e| {
        // Memory may be missing, and what a server before Mimic would sign.
        if let Err(error) = run(&mut e) {
            assert!(error == ENOMEM || error == EINVAL || error == eprotonosupport());
        }
    });
}
