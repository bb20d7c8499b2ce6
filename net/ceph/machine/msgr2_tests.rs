// SPDX-License-Identifier: GPL-2.0
//! Tests of the msgr2 machine: against a server made of the same codecs, and
//! against nonsense.
use kernel::prelude::*;

#[kunit_tests(ceph_machine_msgr2)]
mod tests {
    use super::super::msgr2::{Action, Began, Body, Fault, Identity, Machine};
    use super::super::msgr2_reader::segment_crcs;
    use super::*;
    use crate::errno::{ebadmsg, eproto};
    use crate::wire::decode::Decoder;
    use crate::wire::encode::Encoder;
    use crate::wire::msgr2::{
        banner, control_frame, message_head, AuthRequest, ClientIdent, Crypto, Epilogue, FrameHead,
        Hello, MessageHead, Preamble, ServerIdent, SessionReconnect, Tag, CRC_LEN, CRC_SEED,
        FRAME_HEAD_LEN, IDENT_LOSSY, PREAMBLE_LEN, SIGNATURE_LEN,
    };
    use crate::wire::types::{AddrType, AddrVec, EntityAddr, EntityName, EntityType, Timespec};
    use core::net::{IpAddr, Ipv4Addr, SocketAddr};

    /// CRC-32C bit by bit, and something that depends on key and bytes.
    struct Reference;

    impl Crypto for Reference {
        fn crc32c(&self, seed: u32, bytes: &[u8]) -> u32 {
            bytes.iter().fold(seed, |crc, byte| {
                (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                    (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
                })
            })
        }

        fn hmac_sha256(&self, key: &[u8], parts: &[&[u8]]) -> Result<[u8; SIGNATURE_LEN]> {
            let mut crc = self.crc32c(CRC_SEED, key);
            for part in parts {
                crc = self.crc32c(crc, part);
            }
            let mut out = [0; SIGNATURE_LEN];
            for (i, byte) in (0u32..).zip(&mut out) {
                *byte = self.crc32c(crc, &i.to_le_bytes()).to_le_bytes()[0];
            }
            Ok(out)
        }
    }

    const C: &Reference = &Reference;

    /// Feeds a copy, which may be changed.
    trait Fed {
        fn fed(&mut self, bytes: &[u8]) -> Result<(usize, Option<Action>), Fault>;
    }

    impl Fed for Machine {
        fn fed(&mut self, bytes: &[u8]) -> Result<(usize, Option<Action>), Fault> {
            let mut copy = KVVec::new();
            copy.extend_from_slice(bytes, GFP_KERNEL)?;
            self.feed(C, &mut copy)
        }
    }
    const KEY: &[u8] = b"session key";

    fn outgoing(
        client: &mut Machine,
        head: MessageHead,
        lens: [u32; 3],
    ) -> Result<(u64, FrameHead)> {
        let mut bytes = [0; FRAME_HEAD_LEN];
        Ok((client.message(C, head, lens, &mut bytes)?, bytes))
    }

    fn addr(last: u8, port: u16, nonce: u32) -> EntityAddr {
        let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        EntityAddr {
            kind: AddrType::MSGR2,
            nonce,
            sock: Some(SocketAddr::new(ip, port)),
        }
    }

    fn mds() -> EntityName {
        EntityName {
            kind: EntityType::MDS,
            num: 0,
        }
    }

    fn identity(global_seq: u64) -> Identity {
        Identity {
            addr: addr(9, 0, 77),
            global_id: 4242,
            global_seq,
            cookie: 0xc00c1e,
            supported: 0xff,
            required: 0x1,
        }
    }

    fn frame(tag: Tag, body: impl FnOnce(&mut Encoder) -> Result) -> Result<KVVec<u8>> {
        control_frame(C, tag, body)
    }

    fn numbers(tag: Tag, numbers: &[u64]) -> Result<KVVec<u8>> {
        frame(tag, |e| {
            for n in numbers {
                e.u64(*n)?;
            }
            Ok(())
        })
    }

    fn message(head: &MessageHead, parts: [&[u8]; 3]) -> Result<KVVec<u8>> {
        let [front, middle, data] = parts;
        let lens = parts.map(|part| part.len() as u32);
        let mut bytes = KVVec::new();
        let mut first = [0; FRAME_HEAD_LEN];
        message_head(C, head, lens, &mut first);
        bytes.extend_from_slice(&first, GFP_KERNEL)?;
        for part in parts {
            bytes.extend_from_slice(part, GFP_KERNEL)?;
        }
        if lens != [0; 3] {
            let data = (!data.is_empty()).then(|| C.crc32c(CRC_SEED, data));
            let epilogue = Epilogue {
                aborted: false,
                crcs: segment_crcs(C, front, middle, data),
            };
            bytes.extend_from_slice(&epilogue.encode(), GFP_KERNEL)?;
        }
        Ok(bytes)
    }

    fn seq(seq: u64) -> MessageHead {
        MessageHead {
            seq,
            kind: 42,
            tid: 7,
            ..MessageHead::default()
        }
    }

    /// The server's end: takes what the client sent, as frames.
    #[derive(Default)]
    struct Server {
        /// All that it ever got and sent over this socket.
        got: KVVec<u8>,
        sent: KVVec<u8>,
        /// What it has looked at.
        read: usize,
    }

    impl Server {
        fn take(&mut self, client: &mut Machine) -> Result {
            self.got
                .extend_from_slice(&client.take_output(), GFP_KERNEL)?;
            Ok(())
        }

        fn banner(&mut self) -> Result {
            assert_eq!(&self.got[..8], b"ceph v2\n");
            self.read = 26;
            Ok(())
        }

        /// The next frame of one segment.
        fn frame(&mut self) -> Result<(Tag, KVVec<u8>)> {
            let mut d = Decoder::new(&self.got[self.read..]);
            let preamble = Preamble::decode(C, &d.array()?)?;
            let len = preamble.segments[0] as usize;
            let body = d.bytes(len)?;
            assert_eq!(C.crc32c(CRC_SEED, body), d.u32()?);
            self.read += PREAMBLE_LEN + len + CRC_LEN;
            let mut copy = KVVec::new();
            copy.extend_from_slice(body, GFP_KERNEL)?;
            Ok((preamble.tag, copy))
        }

        fn expect(&mut self, tag: Tag) -> Result<KVVec<u8>> {
            let (got, body) = self.frame()?;
            assert_eq!(got, tag);
            Ok(body)
        }

        /// Sends bytes, in pieces of `step`; the last action must use up all.
        fn send(
            &mut self,
            client: &mut Machine,
            bytes: &[u8],
            step: usize,
        ) -> Result<Option<Action>, Fault> {
            self.sent.extend_from_slice(bytes, GFP_KERNEL)?;
            let mut action = None;
            for piece in bytes.chunks(step) {
                assert!(action.is_none());
                let room = client.room().filter(|(_, most)| *most >= piece.len());
                if let Some((vec, _)) = room {
                    vec.extend_from_slice(piece, GFP_KERNEL)?;
                    client.filled(piece.len());
                    action = client.go_on(C)?;
                    continue;
                }
                let mut rest = piece;
                // By both ways.
                if step % 2 == 0 {
                    if let Some((used, began)) = client.feed_message(C, piece) {
                        rest = &piece[used..];
                        action = match began {
                            Began::Whole => Some(Action::Message),
                            Began::Head => Some(Action::Head),
                            Began::Body => None,
                        };
                    }
                }
                if action.is_none() {
                    let (used, next) = client.fed(rest)?;
                    rest = &rest[used..];
                    action = next;
                }
                assert!(rest.is_empty());
            }
            if action.is_none() {
                action = client.fed(&[])?.1;
            }
            Ok(action)
        }
    }

    fn server_hello() -> Result<KVVec<u8>> {
        frame(Tag::Hello, |e| {
            Hello {
                entity: EntityType::MDS,
                peer_addr: addr(9, 5555, 0),
            }
            .encode(e)
        })
    }

    fn request(method: u32) -> AuthRequest {
        AuthRequest {
            method,
            modes: KVVec::from_elem(1, 1, GFP_KERNEL).unwrap_or_default(),
            payload: KVVec::new(),
        }
    }

    fn auth_done() -> Result<KVVec<u8>> {
        frame(Tag::AuthDone, |e| {
            e.u64(4242)?.u32(1)?.blob(b"ticket")?;
            Ok(())
        })
    }

    fn server_ident(flags: u64) -> Result<KVVec<u8>> {
        let mut addrs = AddrVec::default();
        addrs.0.push(addr(1, 6800, 5), GFP_KERNEL)?;
        frame(Tag::ServerIdent, |e| {
            ServerIdent {
                addrs,
                global_id: 0,
                global_seq: 3,
                supported: 0x1ff,
                required: 0,
                flags,
                cookie: if flags & IDENT_LOSSY == 0 { 0x5e4 } else { 0 },
            }
            .encode(e)
        })
    }

    fn client() -> Machine {
        Machine::new(mds(), addr(1, 6800, 5), true)
    }

    /// From the socket to the end of the signatures.
    fn authenticate(client: &mut Machine, step: usize) -> Result<Server, Fault> {
        let mut server = Server::default();
        client.connected()?;
        server.take(client)?;
        server.banner()?;
        assert!(server.send(client, &banner(3, 1)?, step)?.is_none());
        server.take(client)?;
        let hello = server.expect(Tag::Hello)?;
        let hello = Hello::decode(&mut Decoder::new(&hello))?;
        assert_eq!(hello.entity, EntityType::CLIENT);
        assert!(matches!(
            server.send(client, &server_hello()?, step)?,
            Some(Action::Hello(seen)) if seen == addr(9, 5555, 0)
        ));
        assert_eq!(client.wants(), 0);

        client.auth_request(C, &request(1))?;
        server.take(client)?;
        server.expect(Tag::AuthRequest)?;
        let bad = frame(Tag::AuthBadMethod, |e| {
            e.u32(1)?.i32(-95)?.u32(1)?.u32(2)?.u32(1)?.u32(1)?;
            Ok(())
        })?;
        match server.send(client, &bad, step)? {
            Some(Action::BadMethod(bad)) => {
                assert_eq!((bad.method, bad.result), (1, -95));
                assert_eq!(&bad.allowed_methods[..], &[2]);
            }
            other => panic!("{other:?}"),
        }
        client.auth_request(C, &request(2))?;
        server.take(client)?;
        let body = server.expect(Tag::AuthRequest)?;
        assert_eq!(AuthRequest::decode(&mut Decoder::new(&body))?.method, 2);

        let more = frame(Tag::AuthReplyMore, |e| {
            e.blob(b"challenge")?;
            Ok(())
        })?;
        match server.send(client, &more, step)? {
            Some(Action::AuthMore(payload)) => assert_eq!(&payload[..], b"challenge"),
            other => panic!("{other:?}"),
        }
        client.auth_more(C, b"answer")?;
        server.take(client)?;
        assert_eq!(
            &server.expect(Tag::AuthRequestMore)?[..],
            b"\x06\0\0\0answer"
        );

        match server.send(client, &auth_done()?, step)? {
            Some(Action::AuthDone {
                global_id,
                con_mode,
                payload,
            }) => assert_eq!(
                (global_id, con_mode, &payload[..]),
                (4242, 1, &b"ticket"[..])
            ),
            other => panic!("{other:?}"),
        }
        // Signatures cover all that went before in that direction.
        let (sent, got) = (
            C.hmac_sha256(KEY, &[&server.sent])?,
            C.hmac_sha256(KEY, &[&server.got])?,
        );
        client.auth_done(C, KEY)?;
        server.take(client)?;
        assert_eq!(&server.expect(Tag::AuthSignature)?[..], &sent);
        let signature = frame(Tag::AuthSignature, |e| e.bytes(&got).map(|_| ()))?;
        assert!(matches!(
            server.send(client, &signature, step)?,
            Some(Action::Identify)
        ));
        Ok(server)
    }

    fn open(client: &mut Machine, flags: u64, step: usize) -> Result<Server, Fault> {
        let mut server = authenticate(client, step)?;
        client.identify(C, &identity(1))?;
        server.take(client)?;
        let ident = server.expect(Tag::ClientIdent)?;
        let ident = ClientIdent::decode(&mut Decoder::new(&ident))?;
        assert_eq!((ident.global_id, ident.global_seq), (4242, 1));
        assert_eq!((ident.cookie, ident.target), (0xc00c1e, addr(1, 6800, 5)));
        assert_eq!(ident.addr.kind, AddrType::ANY);
        assert!(matches!(
            server.send(client, &server_ident(flags)?, step)?,
            Some(Action::Established { received: 0 })
        ));
        assert!(client.is_open() && client.was_established());
        assert_eq!(client.peer_features(), 0x1ff);
        Ok(server)
    }

    fn ok<T>(result: Result<T, Fault>) -> Result<T> {
        result.map_err(|fault| fault.error)
    }

    #[test]
    fn features_that_the_client_lacks() -> Result {
        let mut client = client();
        let mut server = ok(authenticate(&mut client, 999))?;
        client.identify(C, &identity(1))?;
        server.take(&mut client)?;
        let missing = frame(Tag::IdentMissingFeatures, |e| e.u64(1 << 31).map(|_| ()))?;
        match server.send(&mut client, &missing, 999) {
            Err(fault) => assert_eq!(fault.why, "missing required protocol features"),
            other => panic!("{other:?}"),
        }
        assert_eq!(client.missing_features(), 1 << 31);
        assert!(!client.was_established());
        // The next attempt may end otherwise.
        client.fault();
        assert_eq!(client.missing_features(), 0);
        Ok(())
    }

    #[test]
    fn a_handshake_in_pieces_of_any_size() -> Result {
        for step in 1..200 {
            ok(open(&mut client(), 0, step))?;
        }
        Ok(())
    }

    #[test]
    fn messages_in_and_out() -> Result {
        for step in [1, 2, 3, 7, 64, 10_000] {
            let mut client = client();
            let mut server = ok(open(&mut client, 0, step))?;
            assert!(!client.wants_ack());
            let all: [&[u8]; 3] = [b"front", b"middle", b"some data"];
            for (i, mask) in (0..8).enumerate() {
                let parts: [&[u8]; 3] =
                    core::array::from_fn(|i| if mask & (1 << i) == 0 { &[] } else { all[i] });
                let n = i as u64 + 1;
                // Not by a frame for each.
                assert!(!client.wants_ack());
                let bytes = message(&seq(n), parts)?;
                let (head, rest) = bytes.split_at(PREAMBLE_LEN + 41 + CRC_LEN);
                let mut action = ok(server.send(&mut client, head, step))?;
                let (got, lens) = client.head();
                assert_eq!(*got, seq(n));
                assert_eq!(lens, parts.map(|part| part.len() as u32));
                // Only where data is to go is asked for.
                match action {
                    Some(Action::Head) if mask & 4 != 0 => client.body(Body::Collect),
                    None if matches!(mask, 1..4) => {}
                    Some(Action::Message) if mask == 0 => {}
                    other => panic!("{other:?}"),
                }
                if mask != 0 {
                    action = ok(server.send(&mut client, rest, step))?;
                }
                match action {
                    Some(Action::Message) => {
                        let segments = client.take_segments();
                        assert_eq!(&segments.front[..], parts[0]);
                        assert_eq!(&segments.middle[..], parts[1]);
                        assert_eq!(&segments.data[..], parts[2]);
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert!(client.wants_ack());
            client.ack(C)?;
            assert!(!client.wants_ack());
            server.take(&mut client)?;
            assert_eq!(&server.expect(Tag::Ack)?[..], &8u64.to_le_bytes());

            let (first, head) = outgoing(&mut client, seq(0), [5, 0, 0])?;
            assert_eq!((first, head.len()), (1, PREAMBLE_LEN + 41 + CRC_LEN));
            let sent = MessageHead::decode(&mut Decoder::new(&head[PREAMBLE_LEN..]))?;
            assert_eq!((sent.seq, sent.ack_seq), (1, 8));
            assert_eq!(outgoing(&mut client, seq(0), [5, 0, 0])?.0, 2);
            let acked = numbers(Tag::Ack, &[2])?;
            assert!(matches!(
                ok(server.send(&mut client, &acked, step))?,
                Some(Action::Acked(2))
            ));

            let time = Timespec { sec: 5, nsec: 6 };
            client.keepalive(C, time)?;
            server.take(&mut client)?;
            let body = server.expect(Tag::Keepalive2)?;
            let ack = frame(Tag::Keepalive2Ack, |e| e.bytes(&body).map(|_| ()))?;
            assert!(matches!(
                ok(server.send(&mut client, &ack, step))?,
                Some(Action::KeepaliveAck(got)) if got == time
            ));
        }
        Ok(())
    }

    #[test]
    fn data_goes_past_the_machine() -> Result {
        let mut client = client();
        let mut server = ok(open(&mut client, IDENT_LOSSY, 999))?;
        assert!(client.is_lossy());
        for (n, damage) in [(1, false), (2, true)] {
            let bytes = message(&seq(n), [b"front", b"", b"0123456789"])?;
            let (head, rest) = bytes.split_at(PREAMBLE_LEN + 41 + CRC_LEN);
            ok(server.send(&mut client, head, 999))?;
            client.body(Body::Divert);
            let (used, action) = ok(client.fed(rest))?;
            assert_eq!((used, client.diverted(), client.wants()), (5, 10, 0));
            assert!(action.is_none());
            let mut data = [0u8; 10];
            data.copy_from_slice(&rest[5..15]);
            data[3] ^= u8::from(damage);
            for half in data.chunks(5) {
                let crc = C.crc32c(client.data_crc(), half);
                client.data_taken(half.len(), crc);
            }
            assert_eq!(client.diverted(), 0);
            match client.fed(&rest[15..]) {
                Ok((_, Some(Action::Message))) if !damage => {
                    let segments = client.take_segments();
                    assert_eq!(&segments.front[..], b"front");
                    assert!(segments.data.is_empty());
                }
                Err(fault) if damage => assert_eq!(fault.error, ebadmsg()),
                other => panic!("{other:?}"),
            }
        }
        assert!(!client.wants_ack());
        Ok(())
    }

    #[test]
    fn what_is_not_wanted_is_passed_over() -> Result {
        let mut client = client();
        let mut server = ok(open(&mut client, 0, 999))?;
        // Skipped from the start, and in the middle of diverted data.
        for n in 1..3 {
            let bytes = message(&seq(n), [b"front", b"mid", b"0123456789"])?;
            let (head, rest) = bytes.split_at(PREAMBLE_LEN + 41 + CRC_LEN);
            ok(server.send(&mut client, head, 999))?;
            let mut rest = rest;
            if n == 1 {
                client.body(Body::Skip);
            } else {
                client.body(Body::Divert);
                let (used, _) = ok(client.fed(rest))?;
                client.data_taken(4, 0);
                client.skip();
                assert_eq!(client.diverted(), 0);
                rest = &rest[used + 4..];
            }
            match ok(client.fed(rest))? {
                (used, Some(Action::Message)) => {
                    assert_eq!(used, rest.len());
                    assert!(client.take_segments().front.is_empty());
                }
                other => panic!("{other:?}"),
            }
        }
        let (_, head) = outgoing(&mut client, seq(0), [5, 0, 0])?;
        let sent = MessageHead::decode(&mut Decoder::new(&head[PREAMBLE_LEN..]))?;
        assert_eq!(sent.ack_seq, 2);
        // An old one is no news, and does not count.
        let old = message(&seq(2), [b"front", b"", b""])?;
        assert!(ok(server.send(&mut client, &old, 999))?.is_none());
        // One is missing.
        let gap = message(&seq(4), [b"front", b"", b""])?;
        match server.send(&mut client, &gap, 999) {
            Err(fault) => assert_eq!(fault.error, eproto()),
            other => panic!("{other:?}"),
        }
        Ok(())
    }

    #[test]
    fn a_session_goes_on_over_another_socket() -> Result {
        let mut client = client();
        let mut server = ok(open(&mut client, 0, 999))?;
        let bytes = message(&seq(1), [b"", b"", b""])?;
        ok(server.send(&mut client, &bytes, 999))?;
        client.body(Body::Collect);
        ok(client.fed(&[]))?;
        outgoing(&mut client, seq(0), [1, 0, 0])?;

        for connect_seq in 1..3 {
            client.fault();
            assert!(!client.is_open() && client.was_established());
            let mut server = ok(authenticate(&mut client, 999))?;
            client.identify(C, &identity(10))?;
            server.take(&mut client)?;
            let body = server.expect(Tag::SessionReconnect)?;
            let body = SessionReconnect::decode(&mut Decoder::new(&body))?;
            assert_eq!((body.client_cookie, body.server_cookie), (0xc00c1e, 0x5e4));
            assert_eq!(
                (body.global_seq, body.connect_seq, body.in_seq),
                (10, connect_seq, 1)
            );
            let okay = numbers(Tag::SessionReconnectOk, &[1])?;
            assert!(matches!(
                ok(server.send(&mut client, &okay, 999))?,
                Some(Action::Established { received: 1 })
            ));
        }
        // Numbers go on; a message that is sent again keeps its own.
        assert_eq!(outgoing(&mut client, seq(1), [1, 0, 0])?.0, 1);
        assert_eq!(outgoing(&mut client, seq(0), [1, 0, 0])?.0, 2);
        Ok(())
    }

    #[test]
    fn what_could_not_be_taken_in_comes_again() -> Result {
        let mut client = client();
        let mut server = ok(open(&mut client, 0, 999))?;
        for n in 1..3 {
            let bytes = message(&seq(n), [b"", b"", b""])?;
            let taken = ok(server.send(&mut client, &bytes, 999))?;
            assert!(matches!(taken, Some(Action::Message)));
        }
        client.not_taken();
        client.fault();
        let mut server = ok(authenticate(&mut client, 999))?;
        client.identify(C, &identity(10))?;
        server.take(&mut client)?;
        let body = server.expect(Tag::SessionReconnect)?;
        let body = SessionReconnect::decode(&mut Decoder::new(&body))?;
        assert_eq!(body.in_seq, 1);
        let okay = numbers(Tag::SessionReconnectOk, &[0])?;
        ok(server.send(&mut client, &okay, 999))?;
        let bytes = message(&seq(2), [b"", b"", b""])?;
        let taken = ok(server.send(&mut client, &bytes, 999))?;
        assert!(matches!(taken, Some(Action::Message)));
        Ok(())
    }

    #[test]
    fn retry_and_reset() -> Result {
        let mut client = client();
        ok(open(&mut client, 0, 999))?;
        client.fault();
        let mut server = ok(authenticate(&mut client, 999))?;
        client.identify(C, &identity(10))?;
        server.take(&mut client)?;
        server.expect(Tag::SessionReconnect)?;

        let retry = numbers(Tag::SessionRetry, &[41])?;
        assert!(matches!(
            ok(server.send(&mut client, &retry, 999))?,
            Some(Action::Identify)
        ));
        client.identify(C, &identity(10))?;
        server.take(&mut client)?;
        let body = server.expect(Tag::SessionReconnect)?;
        let body = SessionReconnect::decode(&mut Decoder::new(&body))?;
        assert_eq!(body.connect_seq, 42);

        let retry = numbers(Tag::SessionRetryGlobal, &[99])?;
        assert!(matches!(
            ok(server.send(&mut client, &retry, 999))?,
            Some(Action::RetryGlobal(99))
        ));
        client.identify(C, &identity(100))?;
        server.take(&mut client)?;
        let body = server.expect(Tag::SessionReconnect)?;
        let body = SessionReconnect::decode(&mut Decoder::new(&body))?;
        assert_eq!(body.global_seq, 100);

        let reset = frame(Tag::SessionReset, |e| e.bool(true).map(|_| ()))?;
        assert!(matches!(
            ok(server.send(&mut client, &reset, 999))?,
            Some(Action::PeerReset)
        ));
        client.identify(C, &identity(100))?;
        server.take(&mut client)?;
        server.expect(Tag::ClientIdent)?;
        assert!(matches!(
            ok(server.send(&mut client, &server_ident(0)?, 999))?,
            Some(Action::Established { received: 0 })
        ));
        assert_eq!(outgoing(&mut client, seq(0), [1, 0, 0])?.0, 1);
        Ok(())
    }

    #[test]
    fn wait_and_strangers_are_faults() -> Result {
        // A server that has forgotten the rules, at each stage of the handshake.
        let wait = frame(Tag::Wait, |e| e.u8(0).map(|_| ()))?;
        let other = frame(Tag::Message, |e| e.bytes(&[0; 41]).map(|_| ()))?;
        for bytes in [&wait, &other] {
            let mut fresh = client();
            fresh.connected()?;
            assert!(fresh.fed(bytes).is_err());

            let mut fresh = client();
            let mut server = ok(authenticate(&mut fresh, 999))?;
            fresh.identify(C, &identity(1))?;
            assert!(server.send(&mut fresh, bytes, 999).is_err());
        }
        let mut fresh = client();
        let mut server = ok(open(&mut fresh, 0, 999))?;
        assert!(server.send(&mut fresh, &server_hello()?, 999).is_err());

        // Another daemon at the address, by kind and by address.
        let mut osd = Machine::new(
            EntityName {
                kind: EntityType::OSD,
                num: 0,
            },
            addr(1, 6800, 5),
            true,
        );
        osd.connected()?;
        ok(osd.fed(&banner(3, 1)?))?;
        assert!(osd.fed(&server_hello()?).is_err());
        let mut later = Machine::new(mds(), addr(1, 6800, 6), true);
        let mut server = ok(authenticate(&mut later, 999))?;
        later.identify(C, &identity(1))?;
        assert!(server.send(&mut later, &server_ident(0)?, 999).is_err());
        Ok(())
    }

    #[test]
    fn each_kind_of_peer_has_a_time_for_the_handshake() -> Result {
        for (kind, limit) in [
            (EntityType::MON, 30_000),
            (EntityType::MDS, 60_000),
            (EntityType::OSD, 60_000),
        ] {
            let peer = EntityName { kind, num: 0 };
            let mut client = Machine::new(peer, addr(1, 6800, 5), true);
            assert!(client.check_deadline(u64::MAX).is_ok());
            assert_eq!(client.connecting(1000), 1000 + limit);
            // A socket that is never connected counts, too.
            let slow = client.check_deadline(1000 + limit);
            assert!(slow.is_err_and(|fault| fault.error == ETIMEDOUT));
            // The end of the socket is the end of the time.
            client.fault();
            assert!(client.check_deadline(u64::MAX).is_ok());
        }

        // Silence after each step: the last one is that of a peer that has authenticated us.
        for steps in 0..3 {
            let mut client = client();
            let deadline = client.connecting(7);
            let mut server = ok(authenticate(&mut client, 999))?;
            if steps > 0 {
                client.identify(C, &identity(1))?;
            }
            assert!(client.check_deadline(deadline - 1).is_ok());
            if steps < 2 {
                assert!(client.check_deadline(deadline).is_err());
                continue;
            }
            ok(server.send(&mut client, &server_ident(0)?, 999))?;
            assert!(client.check_deadline(u64::MAX).is_ok());

            // A session that is taken up again has no more time than a new one, however
            // often the peer makes us ask.
            client.fault();
            let deadline = client.connecting(500);
            let mut server = ok(authenticate(&mut client, 999))?;
            for n in 0..5 {
                client.identify(C, &identity(2 + n))?;
                let retry = numbers(Tag::SessionRetry, &[n])?;
                ok(server.send(&mut client, &retry, 999))?;
                assert!(client.check_deadline(deadline - 1).is_ok());
                assert!(client.check_deadline(deadline).is_err());
            }
        }
        Ok(())
    }

    #[test]
    fn a_mode_that_is_not_known_is_refused() -> Result {
        for (mode, good) in [(1, true), (2, false), (3, false)] {
            let mut client = client();
            client.connected()?;
            for bytes in [banner(1, 1)?, server_hello()?] {
                ok(client.fed(&bytes))?;
            }
            client.auth_request(C, &request(2))?;
            let done = frame(Tag::AuthDone, |e| {
                e.u64(4242)?.u32(mode)?.blob(b"")?;
                Ok(())
            })?;
            ok(client.fed(&done))?;
            assert_eq!(client.auth_done(C, KEY).is_ok(), good);
        }
        Ok(())
    }

    #[test]
    fn banners_of_others() -> Result {
        for bytes in [&b"ceph v027\0\0"[..], b"HTTP/1.1 400", b"ceph v2\n\x0f\0"] {
            let mut client = client();
            client.connected()?;
            assert!(client.fed(bytes).is_err());
        }
        for (supported, required) in [(0, 0), (1, 4), (2, 1)] {
            let mut client = client();
            client.connected()?;
            assert!(client.fed(&banner(supported, required)?).is_err());
        }
        Ok(())
    }

    #[test]
    fn every_damaged_byte_is_noticed() -> Result {
        let bytes = message(&seq(1), [b"front", b"middle", b"data"])?;
        for at in 0..bytes.len() {
            // A preamble has bits that nobody looks at, but its checksum does.
            let mut client = client();
            ok(open(&mut client, 0, 999))?;
            let mut damaged = KVVec::new();
            damaged.extend_from_slice(&bytes, GFP_KERNEL)?;
            damaged[at] ^= 0x04;
            let mut rest = &damaged[..];
            let fault = loop {
                match client.fed(rest) {
                    Ok((_, Some(Action::Message))) => break None,
                    Ok((used, action)) => {
                        if action.is_some() {
                            client.body(Body::Collect);
                        } else if used == rest.len() {
                            break None;
                        }
                        rest = &rest[used..];
                    }
                    Err(fault) => break Some(fault),
                }
            };
            assert!(fault.is_some());
        }
        Ok(())
    }

    #[test]
    fn a_signature_must_fit() -> Result {
        let mut client = client();
        client.connected()?;
        for bytes in [banner(1, 1)?, server_hello()?] {
            ok(client.fed(&bytes))?;
        }
        client.auth_request(C, &request(2))?;
        ok(client.fed(&auth_done()?))?;
        ok(client.auth_done(C, KEY))?;
        let wrong = frame(Tag::AuthSignature, |e| e.bytes(&[1; 32]).map(|_| ()))?;
        match client.fed(&wrong) {
            Err(fault) => assert_eq!(fault.error, ebadmsg()),
            other => panic!("{other:?}"),
        }
        Ok(())
    }

    #[test]
    #[cfg(not(CONFIG_RUST))]
    fn decoders_are_frugal() -> Result {
        use crate::wire::msgr2::{AuthBadMethod, AuthDone};
        use kernel::host::check_decoder;

        let body = |frame: KVVec<u8>| frame[PREAMBLE_LEN..frame.len() - CRC_LEN].to_vec();
        check_decoder(&body(server_hello()?), |b| {
            Hello::decode(&mut Decoder::new(b))
        });
        check_decoder(&body(server_ident(0)?), |b| {
            ServerIdent::decode(&mut Decoder::new(b))
        });
        check_decoder(&body(auth_done()?), |b| {
            AuthDone::decode(&mut Decoder::new(b)).map(|done| done.global_id)
        });
        let mut e = Encoder::new();
        e.u32(1)?.i32(-13)?.u32(1)?.u32(2)?.u32(1)?.u32(1)?;
        check_decoder(e.as_slice(), |b| {
            AuthBadMethod::decode(&mut Decoder::new(b))
        });
        let mut e = Encoder::new();
        request(2).encode(&mut e)?;
        check_decoder(e.as_slice(), |b| AuthRequest::decode(&mut Decoder::new(b)));
        check_decoder(&seq(7).encode(), |b| {
            MessageHead::decode(&mut Decoder::new(b))
        });
        Ok(())
    }

    /// A length that lies costs no more memory than the bytes that come.
    #[test]
    #[cfg(not(CONFIG_RUST))]
    fn memory_is_bounded() -> Result {
        let mut client = client();
        ok(open(&mut client, 0, 999))?;
        let most = 16 << 20;
        let mut bytes = KVVec::new();
        let mut head = [0; FRAME_HEAD_LEN];
        message_head(C, &seq(1), [most, most, most], &mut head);
        bytes.extend_from_slice(&head, GFP_KERNEL)?;
        let head = bytes.len();
        bytes.resize(head + 5000, 1, GFP_KERNEL)?;
        let (_, peak) = kernel::host::peak_of(|| {
            assert!(client.fed(&bytes[..head]).is_ok());
            client.body(Body::Collect);
            assert!(client.fed(&bytes[head..]).is_ok());
        });
        assert!(peak <= 16 * bytes.len() + 4096);

        let mut reader = super::super::msgr2_reader::Reader::new(true);
        let mut e = Encoder::new();
        e.bytes(&banner(1, 1)?)?;
        let preamble = Preamble {
            tag: Tag::AuthReplyMore,
            segments: [crate::wire::msgr2::CONTROL_MAX, 0, 0, 0],
        };
        e.bytes(&preamble.encode(C))?;
        let mut bytes = KVVec::new();
        bytes.extend_from_slice(e.as_slice(), GFP_KERNEL)?;
        let (_, peak) = kernel::host::peak_of(|| {
            assert!(reader.feed(C, &mut bytes).is_ok());
            assert!(reader.feed(C, &mut bytes[26..]).is_ok());
        });
        assert!(peak <= 16 * e.len() + 4096);
        Ok(())
    }
}
