// SPDX-License-Identifier: GPL-2.0
//! Authentication: answers of monitors and services, well-formed and not.
use crate::harness::{run_events, Events};
use ceph_proto::machine::auth::{AuthClient, Authorizer, Crypto};
use ceph_proto::wire::auth::{
    CryptoKey, KeyUsage, GET_AUTH_SESSION_KEY, GET_PRINCIPAL_SESSION_KEY, KEY_AES, KEY_AES256KRB5,
};
use ceph_proto::wire::encode::Encoder;
use ceph_proto::wire::secret::Secret;
use ceph_proto::wire::types::{EntityType, Timespec};
use kernel::prelude::*;

/// A cipher that leaves all as it is.
struct Plain;

impl Crypto for Plain {
    fn encrypt(&self, _key: &[u8; 16], _iv: &[u8; 16], data: &mut [u8]) -> Result {
        assert_eq!(data.len() % 16, 0);
        Ok(())
    }
    fn decrypt(&self, _key: &[u8; 16], _iv: &[u8; 16], data: &mut [u8]) -> Result {
        assert_eq!(data.len() % 16, 0);
        Ok(())
    }
    fn krb5_encrypt(&self, _key: &[u8; 32], usage: KeyUsage, plain: &[u8]) -> Result<KVVec<u8>> {
        let mut e = Encoder::new();
        e.bytes(&[0; 16])?.bytes(plain)?.bytes(&[usage as u8; 24])?;
        Ok(e.into_vec())
    }
    fn krb5_decrypt(&self, _key: &[u8; 32], usage: KeyUsage, sealed: &[u8]) -> Result<Secret> {
        let len = sealed.len().checked_sub(40).ok_or(EACCES)?;
        if sealed[16 + len] != usage as u8 {
            return Err(EACCES);
        }
        Secret::new(&sealed[16..16 + len])
    }
    fn hmac_sha256(&self, _key: &[u8], _data: &[u8]) -> [u8; 32] {
        [3; 32]
    }
    fn random(&self) -> u64 {
        0x1234
    }
}

/// As cephx seals, with keys of this kind.
fn seal(kind: u16, usage: KeyUsage, plain: &[u8]) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.u8(1)?.u64(0xff00_9cad_8826_aa55)?.bytes(plain)?;
    if kind == KEY_AES256KRB5 {
        return Plain.krb5_encrypt(&[0; 32], usage, e.as_slice());
    }
    let padding = 16 - e.len() % 16;
    for _ in 0..padding {
        e.u8(padding as u8)?;
    }
    Ok(e.into_vec())
}

fn sealed_blob(e: &mut Encoder, kind: u16, usage: KeyUsage, plain: &[u8]) -> Result {
    e.blob(&seal(kind, usage, plain)?).map(drop)
}

fn key_len(kind: u16) -> u16 {
    match kind {
        KEY_AES256KRB5 => 32,
        _ => 16,
    }
}

const SERVICES: [EntityType; 3] = [EntityType::MON, EntityType::OSD, EntityType::MDS];

/// A list of tickets, of which each byte of `which` describes one.
fn tickets(e: &mut Encoder, kind: u16, which: &[u8]) -> Result {
    e.u8(1)?.length(which.len())?;
    for what in which {
        let service = match what & 7 {
            0..=2 => u32::from(SERVICES[usize::from(what & 3)].0),
            3 => 0x40,
            4 => 0,
            _ => u32::from(EntityType::AUTH.0),
        };
        let mut plain = Encoder::new();
        let len = key_len(kind) - u16::from(what & 0x40 != 0);
        plain.u8(1)?.u16(kind)?.u64(0)?.u16(len)?;
        plain.bytes(&[7; 32][..usize::from(len)])?;
        plain
            .u32(if what & 0x20 != 0 { u32::MAX } else { 100 })?
            .u32(0)?;
        e.u32(service)?.u8(1)?;
        sealed_blob(e, kind, KeyUsage::TicketSessionKey, plain.as_slice())?;
        let mut ticket = Encoder::new();
        ticket.u8(1)?.u64(3)?.blob(b"ticket")?;
        if what & 0x10 != 0 {
            let mut sized = Encoder::new();
            sized.blob(ticket.as_slice())?;
            e.u8(1)?;
            sealed_blob(e, kind, KeyUsage::TicketBlob, sized.as_slice())?;
        } else {
            e.u8(0)?.blob(ticket.as_slice())?;
        }
    }
    Ok(())
}

/// An answer, made with care or as the input has it.
fn payload(e: &mut Events<'_>, kind: u16, what: u8) -> Result<KVVec<u8>> {
    let bytes = e.blob();
    let mut out = Encoder::new();
    match what & 3 {
        0 => drop(out.bytes(bytes)?),
        1 => {
            // Two thirds of the bytes choose other tickets, the rest those for all.
            let (first, others) = bytes.split_at(bytes.len() / 3);
            out.u16(GET_AUTH_SESSION_KEY)?.i32(0)?;
            tickets(&mut out, kind, if first.is_empty() { &[5] } else { first })?;
            let mut secret = Encoder::new();
            secret.blob(&[9; 40][..bytes.len().min(40)])?;
            let mut sealed = Encoder::new();
            sealed_blob(
                &mut sealed,
                kind,
                KeyUsage::AuthConnectionSecret,
                secret.as_slice(),
            )?;
            out.blob(sealed.as_slice())?;
            let mut extra = Encoder::new();
            tickets(&mut extra, kind, others)?;
            out.blob(extra.as_slice())?;
        }
        2 => {
            out.u16(GET_PRINCIPAL_SESSION_KEY)?
                .i32(if what & 4 == 0 { 0 } else { -13 })?;
            tickets(&mut out, kind, bytes)?;
        }
        _ => sealed_blob(&mut out, kind, KeyUsage::TicketSessionKey, bytes)?,
    }
    Ok(out.into_vec())
}

fn renewal_reply(payload: &[u8], result: i32) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.u32(2)?.i32(result)?.u64(9)?.blob(payload)?.blob(b"")?;
    Ok(e.into_vec())
}

fn check_authorizer(authorizer: &Authorizer, e: &mut Events<'_>, kind: u16, detail: u8) -> Result {
    authorizer.request(&Plain)?;
    let challenge = match detail & 1 {
        0 => seal(kind, KeyUsage::AuthorizeChallenge, e.blob())?,
        _ => payload(e, kind, 0)?,
    };
    if let Ok(answer) = authorizer.challenge(&Plain, &challenge) {
        assert!(!answer.is_empty());
    }
    let mut reply = Encoder::new();
    match detail & 2 {
        0 => {
            let mut plain = Encoder::new();
            plain
                .u8(2)?
                .u64(0x1234 + u64::from(detail & 4 == 0))?
                .blob(&[1; 8])?;
            sealed_blob(&mut reply, kind, KeyUsage::AuthorizeReply, plain.as_slice())?;
            let keys = authorizer.verify(&Plain, reply.as_slice());
            let convinced = keys.is_ok_and(|keys| !keys.session.is_empty());
            assert!(!convinced || detail & 4 == 0);
        }
        _ => {
            reply.blob(e.blob())?;
            let _ = authorizer.verify(&Plain, reply.as_slice());
        }
    }
    Ok(())
}

fn run(e: &mut Events<'_>) -> Result {
    let method = e.u8();
    let (cephx, kind) = match method & 3 {
        0 => (true, KEY_AES),
        2 => (true, KEY_AES256KRB5),
        _ => (false, KEY_AES),
    };
    let key = match cephx {
        true => Some(CryptoKey {
            kind,
            created: Timespec::default(),
            secret: Secret::new(&[5; 32][..usize::from(key_len(kind))])?,
        }),
        false => None,
    };
    let mut client = AuthClient::new(b"user", key, &SERVICES)?;
    let mut now = 1_000_000;
    assert!(!client.is_authenticated(now));
    while e.more() {
        let (op, detail) = (e.u8(), e.u8());
        match op % 10 {
            0 => drop(client.request()),
            1 => client.reset(),
            2 => {
                let bytes = match detail & 1 {
                    0 => {
                        let mut challenge = KVVec::new();
                        challenge.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 9], GFP_KERNEL)?;
                        challenge
                    }
                    _ => payload(e, kind, 0)?,
                };
                drop(client.more(&Plain, &bytes));
            }
            3 => {
                let bytes = payload(e, kind, detail)?;
                if client.done(&Plain, now, 77, &bytes).is_ok() {
                    assert!(client.is_authenticated(now) && client.global_id() == 77);
                }
            }
            4 => {
                if let Ok(Some(request)) = client.renewal(&Plain, now) {
                    assert!(cephx && !request.is_empty());
                }
            }
            5 => {
                let bytes = payload(e, kind, detail)?;
                let result = if detail & 0x80 != 0 { -1 } else { 0 };
                let front = renewal_reply(&bytes, result)?;
                let again = client.renewed(&Plain, now, &front);
                assert!(result == 0 || again.is_err());
            }
            6 => {
                let service = SERVICES[usize::from(detail >> 4) % 3];
                match client.authorizer(&Plain, service) {
                    Ok(authorizer) => check_authorizer(&authorizer, e, kind, detail)?,
                    Err(error) => assert!(error == EACCES || error == ENOMEM),
                }
            }
            7 => {
                client.invalidate(SERVICES[usize::from(detail) % 3]);
                assert!(!cephx || !client.is_authenticated(now));
            }
            8 => now += u64::from(detail) * 10,
            _ => {
                // The whole of a handshake that goes well.
                client.request()?;
                if cephx {
                    client.more(&Plain, &[1, 0, 0, 0, 0, 0, 0, 0, 9])?;
                }
                let mut out = Encoder::new();
                out.u16(GET_AUTH_SESSION_KEY)?.i32(0)?;
                tickets(&mut out, kind, &[5])?;
                out.blob(&[])?;
                let mut extra = Encoder::new();
                tickets(&mut extra, kind, &[0, 1, 2])?;
                out.blob(extra.as_slice())?;
                client.done(&Plain, now, 77, out.as_slice())?;
                assert!(client.is_authenticated(now));
                assert!(client.renewal(&Plain, now)?.is_none());
            }
        }
    }
    Ok(())
}

pub(crate) fn auth_client(raw: &[u8]) {
    run_events(raw, |mut e| match run(&mut e) {
        Ok(()) | Err(ENOMEM) => {}
        Err(error) => panic!("{error:?}"),
    });
}
