// SPDX-License-Identifier: GPL-2.0
//! Tests of msgr1 against a server that is written out byte by byte.
use super::*;
use crate::wire::types::AddrType;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A checksum that depends on every byte, and a cipher that does.
struct Sums;

fn sum(seed: u32, bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(seed, |sum, b| sum.rotate_left(5) ^ u32::from(*b) ^ 1)
}

impl msgr2::Crypto for Sums {
    fn crc32c(&self, seed: u32, bytes: &[u8]) -> u32 {
        sum(seed, bytes)
    }

    fn hmac_sha256(&self, key: &[u8], parts: &[&[u8]]) -> Result<[u8; 32]> {
        let mut out = [0; 32];
        let bytes = parts.iter().flat_map(|part| part.iter());
        for (i, byte) in Iterator::chain(bytes, key).enumerate() {
            out[i % 32] ^= byte.rotate_left(i as u32);
        }
        Ok(out)
    }
}

impl Crypto for Sums {
    fn encrypt(&self, key: &[u8; 16], iv: &[u8; 16], blocks: &mut [[u8; 16]; 2]) {
        for (i, byte) in blocks.as_flattened_mut().iter_mut().enumerate() {
            let k = key[i % 16].wrapping_mul(i as u8 + 1);
            *byte = byte.wrapping_add(k).rotate_left(3) ^ iv[i % 16];
        }
    }
}

const FEATURES: u64 = MSG_AUTH | CEPHX_V2 | 1;

fn addr(port: u16, nonce: u32) -> EntityAddr {
    EntityAddr {
        kind: AddrType::LEGACY,
        nonce,
        sock: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
    }
}

fn identity(global_seq: u64) -> Identity {
    Identity {
        addr: addr(0, 9),
        global_id: 4_100,
        global_seq,
        cookie: 1,
        supported: FEATURES,
        required: 0,
    }
}

fn request() -> Result<AuthRequest> {
    Ok(AuthRequest {
        method: method::CEPHX,
        modes: one(CON_MODE_CRC)?,
        payload: copy(b"ticket")?,
    })
}

fn new(kind: EntityType) -> Machine {
    Machine::new(EntityName { kind, num: 0 }, addr(6_800, 7), true, true)
}

fn hello(port: u16, nonce: u32) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.bytes(BANNER)?;
    encode_addr(&mut e, &addr(port, nonce))?;
    encode_addr(&mut e, &addr(50_000, 0))?;
    Ok(e.into_vec())
}

#[derive(Clone, Copy)]
struct Answer {
    tag: u8,
    features: u64,
    seqs: [u32; 2],
    payload: &'static [u8],
    flags: u8,
}

const READY: Answer = Answer {
    tag: tag::READY,
    features: FEATURES,
    seqs: [1, 1],
    payload: b"proof",
    flags: 0,
};

fn answer(answer: Answer) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.u8(answer.tag)?.u64(answer.features)?;
    e.u32(answer.seqs[0])?.u32(answer.seqs[1])?.u32(24)?;
    e.length(answer.payload.len())?.u8(answer.flags)?;
    e.bytes(answer.payload)?;
    Ok(e.into_vec())
}

/// Feeds all of it, in pieces of `step` bytes, up to the first action.
fn feed(m: &mut Machine, c: &Sums, bytes: &[u8], step: usize) -> Result<Option<Action>, Fault> {
    let mut at = 0;
    loop {
        let end = bytes.len().min(at + step);
        let (taken, action) = m.feed(c, &bytes[at..end])?;
        at += taken;
        if action.is_some() || (at == bytes.len() && !m.has_item()) {
            assert_eq!(at, bytes.len());
            return Ok(action);
        }
    }
}

/// What a Connect says: connect_seq, global_seq, and the authorizer.
fn connect_of(output: &[u8], first: bool) -> Result<(u32, u32, &[u8])> {
    let mut d = Decoder::new(output);
    if first {
        assert_eq!(d.bytes(BANNER.len())?, BANNER);
        d.skip(crate::wire::msgr1::ADDR_LEN)?;
    }
    assert_eq!((d.u64()?, d.u32()?), (FEATURES, 8));
    let (global_seq, connect_seq) = (d.u32()?, d.u32()?);
    d.u32()?;
    let (protocol, len) = (d.u32()?, d.u32()?);
    assert_eq!(d.u8()?, 0);
    assert_eq!(protocol, if len == 0 { 0 } else { method::CEPHX });
    let authorizer = d.rest();
    assert_eq!(authorizer.len(), len as usize);
    Ok((connect_seq, global_seq, authorizer))
}

/// Up to the Connect that the server answers.
fn begin(m: &mut Machine, c: &Sums, step: usize) -> Result<KVVec<u8>, Fault> {
    m.connected()?;
    let action = feed(m, c, &hello(6_800, 7)?, step)?;
    assert!(matches!(action, Some(Action::Hello(a)) if a.sock == addr(50_000, 0).sock));
    m.auth_request(&request()?)?;
    assert!(matches!(m.go_on(c)?, Some(Action::Identify)));
    m.identify(&identity(5))?;
    Ok(m.take_output())
}

fn open(m: &mut Machine, c: &Sums) -> Result<(), Fault> {
    begin(m, c, usize::MAX)?;
    let action = feed(m, c, &answer(READY)?, usize::MAX)?;
    assert!(
        matches!(action, Some(Action::AuthDone { ref payload, .. }) if payload[..] == *b"proof")
    );
    m.auth_done(&[3; 16])?;
    let action = m.go_on(c)?;
    assert!(matches!(action, Some(Action::Established { received: 0 })));
    assert!(m.is_open() && !m.is_lossy());
    Ok(())
}

/// A message as a server with this key sends it.
fn message(seq: u64, parts: [&[u8]; 3], key: u8) -> Result<KVVec<u8>> {
    let header = Header {
        seq,
        tid: 77,
        kind: 43,
        segments: parts.map(|part| part.len() as u32),
        ..Header::EMPTY
    };
    let bytes = header.encode(|covered| sum(0, covered));
    let mut footer = Footer {
        crcs: parts.map(|part| sum(0, part)),
        sig: 0,
        flags: FOOTER_COMPLETE | FOOTER_SIGNED,
    };
    let block = signed_block(&Header::decode(&bytes)?, &footer);
    footer.sig = sign(&Sums, &[key; 16], &block)?;
    let mut e = Encoder::new();
    e.u8(tag::MSG)?.bytes(&bytes)?;
    for part in parts {
        e.bytes(part)?;
    }
    e.bytes(&footer.encode(true).0)?;
    Ok(e.into_vec())
}

#[kunit_tests(ceph_machine_msgr1)]
mod tests {
    use super::*;

    #[test]
    fn a_session_with_a_service() -> Result {
        for step in [1, 7, 1_000] {
            let (mut m, c) = (new(EntityType::OSD), Sums);
            let mut run = || -> Result<(), Fault> {
                let output = begin(&mut m, &c, step)?;
                assert_eq!(connect_of(&output, true)?, (0, 5, &b"ticket"[..]));
                let challenge = Answer {
                    tag: tag::CHALLENGE_AUTHORIZER,
                    payload: b"challenge",
                    ..READY
                };
                let action = feed(&mut m, &c, &answer(challenge)?, step)?;
                assert!(matches!(action, Some(Action::AuthMore(ref p)) if p[..] == *b"challenge"));
                m.auth_more(b"better")?;
                let output = m.take_output();
                assert_eq!(connect_of(&output, false)?, (0, 5, &b"better"[..]));
                let lossy = Answer {
                    flags: CONNECT_LOSSY,
                    ..READY
                };
                let action = feed(&mut m, &c, &answer(lossy)?, step)?;
                assert!(matches!(action, Some(Action::AuthDone { .. })));
                assert!(!m.is_open());
                m.auth_done(&[3; 16])?;
                let action = m.go_on(&c)?;
                assert!(matches!(action, Some(Action::Established { received: 0 })));
                assert!(m.is_lossy());
                Ok(())
            };
            assert_eq!(run(), Ok(()));
        }
        Ok(())
    }

    #[test]
    fn a_monitor_needs_no_authorizer() -> Result {
        let (mut m, c) = (new(EntityType::MON), Sums);
        let mut run = || -> Result<(), Fault> {
            let output = begin(&mut m, &c, 1_000)?;
            assert_eq!(connect_of(&output, true)?, (0, 5, &b""[..]));
            let ready = Answer {
                payload: b"",
                ..READY
            };
            let action = feed(&mut m, &c, &answer(ready)?, 1_000)?;
            assert!(matches!(action, Some(Action::Established { received: 0 })));
            // Nothing signs.
            assert!(m.key.is_empty());
            Ok(())
        };
        assert_eq!(run(), Ok(()));
        Ok(())
    }

    #[test]
    fn messages_come_in() -> Result {
        for step in [1, 13, 1 << 20] {
            let (mut m, c) = (new(EntityType::MDS), Sums);
            let mut run = || -> Result<(), Fault> {
                open(&mut m, &c)?;
                let bytes = message(1, [b"front", b"mid", b""], 3)?;
                let action = feed(&mut m, &c, &bytes, step)?;
                assert!(matches!(action, Some(Action::Message)));
                assert_eq!((m.head().0.tid, m.head().0.kind), (77, 43));
                let segments = m.take_segments();
                assert_eq!(
                    (&segments.front[..], &segments.middle[..]),
                    (&b"front"[..], &b"mid"[..])
                );
                // One with data: somebody says where to.
                let bytes = message(2, [b"f", b"", b"data"], 3)?;
                let (head, rest) = bytes.split_at(HEAD_LEN);
                let action = feed(&mut m, &c, head, step)?;
                assert!(matches!(action, Some(Action::Head)));
                m.body(Body::Divert);
                let action = feed(&mut m, &c, &rest[..1], step)?;
                assert!(action.is_none() && m.diverted() == 4 && m.wants() == 0);
                let crc = sum(m.data_crc(), &rest[1..5]);
                m.data_taken(4, crc);
                let action = feed(&mut m, &c, &rest[5..], step)?;
                assert!(matches!(action, Some(Action::Message)));
                // Acknowledgements and the like between them.
                let mut e = Encoder::new();
                e.u8(tag::KEEPALIVE)?.u8(tag::ACK)?.u64(4)?;
                let action = feed(&mut m, &c, e.as_slice(), step)?;
                assert!(matches!(action, Some(Action::Acked(4))));
                let mut e = Encoder::new();
                e.u8(tag::KEEPALIVE2_ACK)?.u32(5)?.u32(6)?;
                let action = feed(&mut m, &c, e.as_slice(), step)?;
                assert!(matches!(action, Some(Action::KeepaliveAck(t)) if t.sec == 5));
                // What came before comes again, and is passed over.
                let action = feed(&mut m, &c, &message(2, [b"x", b"", b"y"], 3)?, step)?;
                assert!(action.is_none());
                let mut e = Encoder::new();
                e.bytes(&message(3, [b"z", b"", b""], 3)?)?;
                assert!(matches!(
                    feed(&mut m, &c, e.as_slice(), step)?,
                    Some(Action::Message)
                ));
                Ok(())
            };
            assert_eq!(run(), Ok(()));
        }
        Ok(())
    }

    #[test]
    fn what_is_damaged_is_refused() -> Result {
        let bytes = message(1, [b"front", b"mid", b"data"], 3)?;
        // The last byte is the flags, of which not all have a meaning.
        for at in 0..bytes.len() - 1 {
            let (mut m, c) = (new(EntityType::MDS), Sums);
            let mut damaged = copy(&bytes)?;
            damaged[at] ^= 0x10;
            let mut run = || -> Result<Option<Action>, Fault> {
                open(&mut m, &c)?;
                let mut at = 0;
                loop {
                    let (taken, action) = m.feed(&c, &damaged[at..])?;
                    at += taken;
                    match action {
                        Some(Action::Head) => m.body(Body::Collect),
                        other => return Ok(other),
                    }
                }
            };
            // Lengths that grew may want more bytes.
            let result = run();
            assert!(!matches!(result, Ok(Some(Action::Message))));
        }
        Ok(())
    }

    #[test]
    fn a_signature_of_another_key_is_refused() -> Result {
        let (mut m, c) = (new(EntityType::MDS), Sums);
        assert_eq!(open(&mut m, &c), Ok(()));
        let refused = feed(&mut m, &c, &message(1, [b"f", b"", b""], 4)?, 100).err();
        assert!(refused.is_some_and(|fault| fault.why.contains("signature")));
        Ok(())
    }

    #[test]
    fn who_does_not_sign_says_so() -> Result {
        let peer = EntityName {
            kind: EntityType::MDS,
            num: 0,
        };
        let unsigned = || Machine::new(peer, addr(6_800, 7), true, false);
        let (mut m, c) = (unsigned(), Sums);
        let Ok(output) = begin(&mut m, &c, usize::MAX) else {
            return Err(EINVAL);
        };
        let mut d = Decoder::new(&output);
        d.skip(BANNER.len() + crate::wire::msgr1::ADDR_LEN)?;
        assert_eq!(d.u64()?, FEATURES & !MSG_AUTH);
        // Then messages have the footer without a signature, in both directions.
        let mut m = unsigned();
        assert_eq!(open(&mut m, &c), Ok(()));
        let mut bytes = message(1, [b"f", b"", b""], 4)?;
        let at = bytes.len() - FOOTER_LEN;
        let footer = Footer::decode(Decoder::new(&bytes[at..]).chunk()?)?;
        bytes.truncate(at);
        let (old, len) = footer.encode(false);
        bytes.extend_from_slice(&old[..len], GFP_KERNEL)?;
        let taken = feed(&mut m, &c, &bytes, 100);
        assert!(matches!(taken, Ok(Some(Action::Message))));
        let (_, bytes) = m.message(&c, MessageHead::default(), [0; 3])?;
        assert_eq!(m.message_tail(&c, &bytes, b"", b"", 0)?.1, len);
        Ok(())
    }

    #[test]
    fn messages_go_out() -> Result {
        let (mut m, c) = (new(EntityType::OSD), Sums);
        let head = MessageHead {
            tid: 8,
            kind: 42,
            ..MessageHead::default()
        };
        assert!(m.message(&c, head, [2, 0, 0]).is_err());
        assert_eq!(open(&mut m, &c), Ok(()));
        let (seq, bytes) = m.message(&c, head, [2, 0, 1])?;
        assert_eq!((seq, bytes[0]), (1, tag::MSG));
        let header = Header::decode(Decoder::new(&bytes[1..]).chunk()?)?;
        assert_eq!((header.seq, header.tid, header.src.num), (1, 8, 4_100));
        let (tail, len) = m.message_tail(&c, &bytes, b"fr", b"", 5)?;
        let footer = Footer::decode(&tail)?;
        assert_eq!((len, footer.crcs), (FOOTER_LEN, [sum(0, b"fr"), 0, 5]));
        assert_eq!(footer.flags, FOOTER_COMPLETE | FOOTER_SIGNED);
        let block = signed_block(&header, &footer);
        assert_eq!(footer.sig, sign(&c, &[3; 16], &block)?);
        // The other kind of key signs otherwise; others do not.
        assert_ne!(sign(&c, &[3; 32], &block)?, footer.sig);
        assert!(sign(&c, &[3; 24], &block).is_err());
        // Sent again under its number; the next has the next.
        let again = MessageHead { seq: 1, ..head };
        assert_eq!(m.message(&c, again, [0; 3])?.0, 1);
        assert_eq!(m.message(&c, head, [0; 3])?.0, 2);
        Ok(())
    }

    #[test]
    fn a_session_is_taken_up_again() -> Result {
        let (mut m, c) = (new(EntityType::MDS), Sums);
        let mut run = || -> Result<(), Fault> {
            open(&mut m, &c)?;
            let action = feed(&mut m, &c, &message(1, [b"f", b"", b""], 3)?, 100)?;
            assert!(matches!(action, Some(Action::Message)));
            m.fault();
            let output = begin(&mut m, &c, 100)?;
            assert_eq!(connect_of(&output, true)?.0, 1);
            // Higher numbers are wanted.
            let retry = Answer {
                tag: tag::RETRY_SESSION,
                seqs: [1, 9],
                payload: b"",
                ..READY
            };
            assert!(feed(&mut m, &c, &answer(retry)?, 100)?.is_none());
            assert_eq!(connect_of(&m.take_output(), false)?.0, 9);
            let retry = Answer {
                tag: tag::RETRY_GLOBAL,
                seqs: [50, 9],
                payload: b"",
                ..READY
            };
            let action = feed(&mut m, &c, &answer(retry)?, 100)?;
            assert!(matches!(action, Some(Action::RetryGlobal(50))));
            m.identify(&identity(51))?;
            assert_eq!(connect_of(&m.take_output(), false)?.1, 51);
            let seq = Answer {
                tag: tag::SEQ,
                ..READY
            };
            let action = feed(&mut m, &c, &answer(seq)?, 100)?;
            assert!(matches!(action, Some(Action::AuthDone { .. })));
            m.auth_done(&[3; 16])?;
            assert!(m.go_on(&c)?.is_none());
            // Each says what it has received.
            assert_eq!(m.take_output()[..], 1u64.to_le_bytes());
            let action = feed(&mut m, &c, &6u64.to_le_bytes(), 3)?;
            assert!(matches!(action, Some(Action::Established { received: 6 })));
            Ok(())
        };
        assert_eq!(run(), Ok(()));
        Ok(())
    }

    #[test]
    fn a_server_that_has_forgotten() -> Result {
        let (mut m, c) = (new(EntityType::MDS), Sums);
        let mut run = || -> Result<(), Fault> {
            open(&mut m, &c)?;
            m.fault();
            begin(&mut m, &c, 100)?;
            let reset = Answer {
                tag: tag::RESETSESSION,
                payload: b"",
                ..READY
            };
            let action = feed(&mut m, &c, &answer(reset)?, 100)?;
            assert!(matches!(action, Some(Action::PeerReset)));
            m.identify(&identity(6))?;
            assert_eq!(connect_of(&m.take_output(), false)?.0, 0);
            Ok(())
        };
        assert_eq!(run(), Ok(()));
        Ok(())
    }

    #[test]
    fn a_server_that_does_not_want_us() -> Result {
        let (mut m, c) = (new(EntityType::OSD), Sums);
        let begun = begin(&mut m, &c, 100).is_ok();
        let bad = Answer {
            tag: tag::BADAUTHORIZER,
            payload: b"",
            ..READY
        };
        let action = feed(&mut m, &c, &answer(bad)?, 100);
        assert!(begun && matches!(action, Ok(Some(Action::BadMethod(b))) if b.result == -13));
        // With another ticket.
        m.auth_request(&request()?)?;
        assert!(matches!(m.go_on(&c), Ok(Some(Action::Identify))));

        for (tag, features) in [
            (tag::FEATURES, FEATURES | 1 << 40),
            (tag::BADPROTOVER, 0),
            (tag::WAIT, 0),
            (99, 0),
        ] {
            let (mut m, c) = (new(EntityType::OSD), Sums);
            assert!(begin(&mut m, &c, 100).is_ok());
            let no = Answer {
                tag,
                features,
                payload: b"",
                ..READY
            };
            assert!(feed(&mut m, &c, &answer(no)?, 100).is_err());
            let missing = if tag == tag::FEATURES { 1 << 40 } else { 0 };
            assert_eq!(m.missing_features(), missing);
        }
        Ok(())
    }

    #[test]
    fn somebody_else_at_the_address() -> Result {
        for (port, nonce) in [(6_801, 7), (6_800, 8)] {
            let (mut m, c) = (new(EntityType::OSD), Sums);
            m.connected()?;
            assert!(feed(&mut m, &c, &hello(port, nonce)?, 100).is_err());
        }
        let (mut m, c) = (new(EntityType::OSD), Sums);
        m.connected()?;
        let mut other = hello(6_800, 7)?;
        other[6] = b'9';
        assert!(feed(&mut m, &c, &other, 100).is_err());
        // Of msgr2 not more comes than its banner, which is enough.
        m.connected()?;
        let mut e = Encoder::new();
        e.bytes(msgr2::BANNER)?.u16(16)?.u64(1)?.u64(0)?;
        let fault = m.feed(&c, e.as_slice()).err();
        assert!(fault.is_some_and(|fault| fault.why == MSGR2));
        Ok(())
    }

    #[test]
    fn no_answer_in_time() {
        let mut m = new(EntityType::MON);
        let deadline = m.connecting(1_000);
        assert!(m.check_deadline(deadline - 1).is_ok());
        assert!(m.check_deadline(deadline).is_err());
        m.fault();
        assert!(m.check_deadline(u64::MAX).is_ok());
    }

    #[test]
    fn messages_are_acknowledged() -> Result {
        let (mut m, c) = (new(EntityType::MDS), Sums);
        assert_eq!(open(&mut m, &c), Ok(()));
        for seq in 1..=ACK_AFTER {
            assert!(!m.wants_ack());
            let bytes = message(seq, [b"f", b"", b""], 3)?;
            assert!(matches!(
                feed(&mut m, &c, &bytes, 100),
                Ok(Some(Action::Message))
            ));
        }
        assert!(m.wants_ack());
        m.ack()?;
        assert!(!m.wants_ack());
        assert_eq!(m.take_output()[..], ack(ACK_AFTER)?[..]);
        Ok(())
    }
}
