// SPDX-License-Identifier: GPL-2.0
//! The messenger as a whole: what a server sends, in any order and in any pieces, and
//! what the client does meanwhile. A server of our own reads what the client sends.
//!
//! With one sort of checksum only frames that the target makes pass, with the other
//! everything does.
use crate::harness::{run_events, Events};
use ceph_proto::machine::msgr2::{Action, Began, Body, Identity, Machine, Segments, LONG_MESSAGE};
use ceph_proto::machine::msgr2_reader::{Item, Reader};
use ceph_proto::wire::decode::Decoder;
use ceph_proto::wire::encode::Encoder;
use ceph_proto::wire::msgr2::{
    banner, control_frame, message_head, AuthRequest, ClientIdent, Crypto, Epilogue, Hello,
    MessageHead, ServerIdent, SessionReconnect, Tag, CRC_SEED, FRAME_HEAD_LEN,
};
use ceph_proto::wire::types::{AddrType, AddrVec, EntityAddr, EntityName, EntityType, Timespec};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use kernel::host::{memory_limit, peak_of};
use kernel::prelude::*;

/// Any function of all bytes, or of none.
#[derive(Clone, Copy)]
struct Sums {
    real: bool,
}

impl Crypto for Sums {
    fn crc32c(&self, seed: u32, bytes: &[u8]) -> u32 {
        if !self.real {
            return 0;
        }
        bytes.iter().fold(seed, |sum, byte| {
            sum.wrapping_mul(0x0100_0193) ^ u32::from(*byte)
        })
    }

    fn hmac_sha256(&self, key: &[u8], parts: &[&[u8]]) -> Result<[u8; 32]> {
        let sum = parts
            .iter()
            .fold(key.len() as u32, |sum, part| self.crc32c(sum, part));
        let mut signature = [0; 32];
        signature[..4].copy_from_slice(&sum.to_le_bytes());
        Ok(signature)
    }
}

fn addr(port: u16) -> EntityAddr {
    EntityAddr {
        kind: AddrType::MSGR2,
        nonce: 7,
        sock: Some(SocketAddr::new(
            IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)),
            port,
        )),
    }
}

const SERVER_PORT: u16 = 6800;

/// Whether somebody is to say what becomes of a message.
fn is_asked_for([front, middle, data]: [u32; 3]) -> bool {
    data != 0 || front as usize + middle as usize > LONG_MESSAGE
}

/// What the caller decides, fixed for one run.
#[derive(Clone, Copy)]
struct Policy {
    sums: Sums,
    verify_data: bool,
    /// The method of authentication has keys.
    signs: bool,
    /// An action is not answered but ends the connection.
    gives_up: bool,
    bodies: u8,
}

/// A client: the machine, and around it what the shell does.
struct Client {
    policy: Policy,
    machine: Machine,
    /// Came from the socket, not taken yet.
    pending: KVVec<u8>,
    /// Sum of all actions.
    seen: u64,
    refusals: u8,
    in_seq: u64,
    /// Lengths of the message that is being received, and whether segments are to
    /// be there.
    receiving: Option<Body>,
    global_seq: u64,
    out_seq: u64,
    signature: Option<[u8; 32]>,
    sent: KVVec<u8>,
}

impl Client {
    fn new(policy: Policy) -> Self {
        let peer = EntityName {
            kind: EntityType::OSD,
            num: 3,
        };
        Self {
            policy,
            machine: Machine::new(peer, addr(SERVER_PORT), policy.verify_data),
            pending: KVVec::new(),
            seen: 0,
            refusals: 0,
            in_seq: 0,
            receiving: None,
            global_seq: 1,
            out_seq: 0,
            signature: None,
            sent: KVVec::new(),
        }
    }

    fn note(&mut self, number: u64) {
        self.seen = (self.seen ^ number)
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(5);
    }

    fn fault(&mut self) {
        self.machine.fault();
        assert!(!self.machine.is_open() && !self.machine.has_output());
        assert!(!self.machine.is_receiving() && self.machine.wants() == 0);
        self.pending = KVVec::new();
        self.receiving = None;
        self.note(1);
        if self.machine.is_lossy() {
            // A lossy session ends; the shell makes a new machine.
            *self = Self {
                seen: self.seen,
                global_seq: self.global_seq,
                ..Self::new(self.policy)
            };
        }
    }

    fn connected(&mut self) {
        self.pending = KVVec::new();
        self.receiving = None;
        self.global_seq += 1;
        if self.machine.connected().is_err() {
            self.fault();
        }
        self.refusals = 0;
    }

    /// Bytes come, in pieces of `step`.
    fn receive(&mut self, bytes: &[u8], step: usize) {
        let mut pending = core::mem::take(&mut self.pending);
        if pending.extend_from_slice(bytes, GFP_KERNEL).is_err() {
            return self.fault();
        }
        let mut rest = &pending[..];
        loop {
            let piece = &rest[..rest.len().min(step)];
            let diverted = self.machine.diverted();
            if diverted > 0 {
                assert!(self.machine.is_receiving() && self.machine.wants() == 0);
                let (taken, left) = rest.split_at(piece.len().min(diverted));
                if taken.is_empty() {
                    break;
                }
                let crc = self.policy.sums.crc32c(self.machine.data_crc(), taken);
                self.machine.data_taken(taken.len(), crc);
                rest = left;
                continue;
            }
            let wants = self.machine.wants();
            let fed = match self.machine.room() {
                // By turns, straight to where it goes.
                Some((vec, most)) if self.in_seq & 1 == 1 && !piece.is_empty() => {
                    let used = most.min(piece.len());
                    assert_eq!(most, wants);
                    match vec.extend_from_slice(&piece[..used], GFP_KERNEL) {
                        Ok(()) => {
                            self.machine.filled(used);
                            let next = self.machine.go_on(&self.policy.sums);
                            next.map(|action| (used, action))
                        }
                        Err(_) => Err(ENOMEM.into()),
                    }
                }
                _ => match self.machine.feed_message(&self.policy.sums, piece) {
                    Some((used, began)) => Ok((
                        used,
                        match began {
                            Began::Whole => Some(Action::Message),
                            Began::Head => Some(Action::Head),
                            Began::Body => None,
                        },
                    )),
                    None => self.machine.feed(&self.policy.sums, &mut piece.to_vec()),
                },
            };
            match fed {
                Ok((used, action)) => {
                    assert!(used <= piece.len());
                    // What was asked for is taken.
                    assert!(used >= wants.min(piece.len()) || action.is_some());
                    rest = &rest[used..];
                    match action {
                        Some(action) => {
                            if self.perform(action).is_err() {
                                return self.fault();
                            }
                        }
                        None if used == 0 && self.machine.diverted() == 0 => break,
                        None => {}
                    }
                }
                Err(fault) => {
                    assert!(!fault.why.is_empty());
                    self.note(fault.error.to_errno() as u64);
                    return self.fault();
                }
            }
        }
        let waits = self.machine.wants() == 0;
        assert!(
            rest.is_empty() || waits,
            "bytes are left that could be taken"
        );
        let mut left = KVVec::new();
        match left.extend_from_slice(rest, GFP_KERNEL) {
            Ok(()) => self.pending = left,
            Err(_) => self.fault(),
        }
    }

    fn identify(&mut self) -> Result {
        self.machine.identify(
            &self.policy.sums,
            &Identity {
                addr: addr(0),
                global_id: 4242,
                global_seq: self.global_seq,
                cookie: 0xc0ffee,
                supported: 0x1ff,
                required: 1,
            },
        )
    }

    /// What the shell does when the machine asks for it.
    fn perform(&mut self, action: Action) -> Result {
        let sums = self.policy.sums;
        let request = || AuthRequest {
            method: 2,
            modes: KVVec::new(),
            payload: KVVec::new(),
        };
        if self.policy.gives_up {
            return Err(EACCES);
        }
        match action {
            Action::Hello(addr) => {
                self.note(u64::from(addr.nonce));
                self.machine.auth_request(&sums, &request())?;
            }
            Action::BadMethod(bad) => {
                self.note(u64::from(bad.method));
                self.refusals += 1;
                if self.refusals > 2 {
                    return Err(EACCES);
                }
                self.machine.auth_request(&sums, &request())?;
            }
            Action::AuthMore(payload) => {
                self.note(u64::from(sums.crc32c(1, &payload)));
                self.machine.auth_more(&sums, b"answer")?;
            }
            Action::AuthDone {
                global_id,
                con_mode,
                payload,
            } => {
                self.note(global_id ^ u64::from(con_mode) ^ u64::from(sums.crc32c(1, &payload)));
                let key: &[u8] = if self.policy.signs { b"key" } else { b"" };
                if let Err(fault) = self.machine.auth_done(&sums, key) {
                    return Err(fault.error);
                }
            }
            Action::Identify => self.identify()?,
            Action::RetryGlobal(above) => {
                self.global_seq = self.global_seq.max(above).saturating_add(1).min(1 << 60);
                self.identify()?;
            }
            Action::PeerReset => {
                (self.in_seq, self.out_seq) = (0, 0);
                self.identify()?;
            }
            Action::Established { received } => {
                self.note(received);
                assert!(self.machine.is_open() && self.machine.was_established());
                if self.machine.is_lossy() {
                    (self.in_seq, self.out_seq) = (0, 0);
                }
            }
            Action::Head => {
                let (head, lens) = self.machine.head();
                let head = *head;
                assert!(self.machine.is_open() && self.machine.is_receiving());
                assert_eq!(head.seq, self.in_seq.wrapping_add(1));
                self.note(head.tid ^ u64::from(head.kind));
                let body = match (head.tid as u8 ^ self.policy.bodies) & 3 {
                    0 => Body::Skip,
                    1 => Body::Divert,
                    _ => Body::Collect,
                };
                // Others are collected without a question.
                assert!(is_asked_for(lens));
                self.machine.body(body);
                self.receiving = Some(body);
            }
            Action::Message => {
                let segments = self.machine.take_segments();
                self.message(segments);
            }
            Action::Acked(seq) => self.note(seq),
            Action::KeepaliveAck(time) => self.note(u64::from(time.sec)),
        }
        Ok(())
    }

    fn message(&mut self, segments: Segments) {
        let (head, lens) = self.machine.head();
        assert_eq!(self.receiving.is_some(), is_asked_for(lens));
        let body = self.receiving.take().unwrap_or(Body::Collect);
        self.in_seq = self.in_seq.wrapping_add(1);
        assert_eq!(head.seq, self.in_seq);
        assert!(!self.machine.is_receiving());
        let all = [&segments.front, &segments.middle, &segments.data];
        for (i, (len, segment)) in lens.iter().zip(all).enumerate() {
            let want = match body {
                Body::Skip => 0,
                Body::Divert if i == 2 => 0,
                _ => *len as usize,
            };
            assert_eq!(segment.len(), want);
            self.note(u64::from(self.policy.sums.crc32c(2, segment)));
        }
    }

    /// What the client does by itself.
    fn act(&mut self, what: u8, e: &mut Events<'_>) {
        let sums = self.policy.sums;
        let result = match what {
            0 => {
                self.fault();
                Ok(())
            }
            1 => {
                self.connected();
                Ok(())
            }
            2 => self.machine.keepalive(&sums, Timespec { sec: 1, nsec: 2 }),
            3 => {
                let wanted = self.machine.wants_ack();
                assert!(!wanted || self.machine.is_open() && !self.machine.is_lossy());
                let result = self.machine.ack(&sums);
                assert!(result.is_err() || !self.machine.wants_ack());
                result
            }
            4 => {
                // The request of the reply that is being received is cancelled.
                self.machine.skip();
                if let Some(body) = &mut self.receiving {
                    *body = Body::Skip;
                }
                assert_eq!(self.machine.diverted(), 0);
                let pending = core::mem::take(&mut self.pending);
                self.receive(&pending, usize::MAX);
                Ok(())
            }
            _ => self.send(e),
        };
        match result {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error, ENOMEM);
                self.fault();
            }
        }
    }

    /// A message is sent, maybe one that was sent before.
    fn send(&mut self, e: &mut Events<'_>) -> Result {
        let (front, middle, data) = (e.blob(), e.blob(), e.blob());
        let again = e.u8() & 1 != 0 && self.out_seq > 0;
        let lens = [front, middle, data].map(|segment| segment.len() as u32);
        let head = MessageHead {
            seq: if again { self.out_seq } else { 0 },
            kind: 42,
            ..MessageHead::default()
        };
        let output = self.machine.take_output();
        self.sent.extend_from_slice(&output, GFP_KERNEL)?;
        let mut bytes = [0; FRAME_HEAD_LEN];
        let result = self
            .machine
            .message(&self.policy.sums, head, lens, &mut bytes);
        let seq = match result {
            Err(error) if !self.machine.is_open() => {
                assert!(error.to_errno() == -107 || error == ENOMEM);
                return if error == ENOMEM { Err(error) } else { Ok(()) };
            }
            result => result?,
        };
        assert!(self.machine.is_open() && !self.machine.wants_ack());
        assert_eq!(
            seq,
            if again {
                self.out_seq
            } else {
                self.out_seq + 1
            }
        );
        self.out_seq = seq;
        self.sent.extend_from_slice(&bytes, GFP_KERNEL)?;
        append_segments(&mut self.sent, self.policy.sums, front, middle, data)
    }
}

/// Adds segments and what closes a frame of more than one.
fn append_segments(
    out: &mut KVVec<u8>,
    sums: Sums,
    front: &[u8],
    middle: &[u8],
    data: &[u8],
) -> Result {
    for segment in [front, middle, data] {
        out.extend_from_slice(segment, GFP_KERNEL)?;
    }
    if front.len() + middle.len() + data.len() > 0 {
        let sum = |segment: &[u8]| sums.crc32c(CRC_SEED, segment);
        let epilogue = Epilogue {
            aborted: false,
            crcs: [
                sum(front),
                if middle.len() + data.len() > 0 {
                    sum(middle)
                } else {
                    0
                },
                if data.is_empty() { 0 } else { sum(data) },
            ],
        };
        out.extend_from_slice(&epilogue.encode(), GFP_KERNEL)?;
    }
    Ok(())
}

/// The other side: it makes frames, and reads what the client sends.
struct Server {
    sums: Sums,
    reader: Reader,
    lossy: bool,
}

impl Server {
    fn new(sums: Sums, lossy: bool) -> Self {
        Self {
            sums,
            reader: Reader::new(true),
            lossy,
        }
    }

    fn frame(&self, tag: Tag, body: impl FnOnce(&mut Encoder) -> Result) -> Result<KVVec<u8>> {
        control_frame(&self.sums, tag, body)
    }

    fn ident(&self, e: &mut Encoder) -> Result {
        let mut addrs = AddrVec::default();
        addrs.0.push(addr(SERVER_PORT), GFP_KERNEL)?;
        ServerIdent {
            addrs,
            global_id: 3,
            global_seq: 9,
            supported: 0x1ff,
            required: 0,
            flags: u64::from(self.lossy),
            cookie: if self.lossy { 0 } else { 0x5e },
        }
        .encode(e)
    }

    /// One of the frames that come in a good session.
    fn good(&mut self, what: u8, client: &Client) -> Result<KVVec<u8>> {
        match what {
            0 => banner(3, 1),
            1 => self.frame(Tag::Hello, |e| {
                Hello {
                    entity: EntityType::OSD,
                    peer_addr: addr(5),
                }
                .encode(e)
            }),
            2 => self.frame(Tag::AuthReplyMore, |e| e.blob(b"challenge").map(drop)),
            3 => self.frame(Tag::AuthDone, |e| e.u64(7)?.u32(1)?.blob(b"").map(drop)),
            4 => {
                let signature = client.signature.unwrap_or_default();
                self.frame(Tag::AuthSignature, |e| e.bytes(&signature).map(drop))
            }
            5 => self.frame(Tag::ServerIdent, |e| self.ident(e)),
            6 => self.frame(Tag::SessionReconnectOk, |e| e.u64(client.out_seq).map(drop)),
            7 => self.frame(Tag::SessionRetry, |e| e.u64(5).map(drop)),
            8 => self.frame(Tag::SessionRetryGlobal, |e| e.u64(50).map(drop)),
            9 => self.frame(Tag::SessionReset, |e| e.u8(1).map(drop)),
            10 => self.frame(Tag::Ack, |e| e.u64(client.out_seq).map(drop)),
            11 => self.frame(Tag::Keepalive2Ack, |e| {
                e.timespec(Timespec::default()).map(drop)
            }),
            12 => self.frame(Tag::AuthBadMethod, |e| {
                e.u32(2)?.i32(-95)?.u32(1)?.u32(2)?.u32(1)?.u32(1).map(drop)
            }),
            _ => self.frame(Tag::Wait, |e| e.u8(0).map(drop)),
        }
    }

    /// A message with a number `skew` after the one that is due.
    fn message(&mut self, due: u64, skew: u8, e: &mut Events<'_>) -> Result<KVVec<u8>> {
        let tid = u64::from(e.u8());
        let (front, middle, data) = (e.blob(), e.blob(), e.blob());
        let head = MessageHead {
            seq: due.wrapping_add(u64::from(skew)).wrapping_sub(1),
            tid,
            kind: 43,
            ..MessageHead::default()
        };
        let lens = [front, middle, data].map(|segment| segment.len() as u32);
        let mut bytes = KVVec::new();
        let mut first = [0; FRAME_HEAD_LEN];
        message_head(&self.sums, &head, lens, &mut first);
        bytes.extend_from_slice(&first, GFP_KERNEL)?;
        append_segments(&mut bytes, self.sums, front, middle, data)?;
        Ok(bytes)
    }

    /// Reads all that the client sent: it must be well-formed.
    fn read(&mut self, client: &mut Client) -> Result {
        let output = client.machine.take_output();
        client.sent.extend_from_slice(&output, GFP_KERNEL)?;
        let mut rest = &client.sent[..];
        loop {
            let (used, item) = match self.reader.feed(&self.sums, &mut rest.to_vec()) {
                Ok(progress) => progress,
                Err(fault) if fault.error == ENOMEM => return Err(ENOMEM),
                Err(fault) => panic!("the client sends nonsense: {fault}"),
            };
            rest = &rest[used..];
            match item {
                Some(Item::Head) => {
                    assert!(self.reader.head().0.seq > 0);
                    self.reader.body(Body::Collect);
                }
                Some(Item::Control(tag)) => {
                    let d = &mut Decoder::new(self.reader.control());
                    let good = match tag {
                        Tag::Hello => Hello::decode(d).map(drop),
                        Tag::AuthRequest => AuthRequest::decode(d).map(drop),
                        Tag::AuthRequestMore => d.blob().map(drop),
                        Tag::AuthSignature => d.array::<32>().map(drop),
                        Tag::ClientIdent => ClientIdent::decode(d).map(drop),
                        Tag::SessionReconnect => SessionReconnect::decode(d).map(drop),
                        Tag::Keepalive2 => d.timespec().map(drop),
                        Tag::Ack => d.u64().map(drop),
                        _ => panic!("a client does not send {tag:?}"),
                    };
                    assert!(good.is_ok() && d.is_empty() || good == Err(ENOMEM));
                }
                Some(Item::Banner { .. } | Item::Complete) => {}
                None if used == 0 => break,
                None => {}
            }
        }
        client.sent = KVVec::new();
        Ok(())
    }

    fn restart(&mut self) {
        self.reader = Reader::new(true);
    }
}

/// The signature that a server owes: of all that the client sent it.
fn remember_signature(client: &mut Client, transcript: &KVVec<u8>) {
    let key: &[u8] = b"key";
    client.signature = match client.policy.signs {
        true => client.policy.sums.hmac_sha256(key, &[transcript]).ok(),
        false => None,
    };
}

/// All of a handshake up to the end of the signatures, or as far as it goes.
fn handshake(client: &mut Client, server: &mut Server, steps: u8) -> Result {
    client.fault();
    client.connected();
    client.sent = KVVec::new();
    server.restart();
    let mut transcript = KVVec::new();
    for what in 0..=steps.min(4) {
        let output = client.machine.take_output();
        client.sent.extend_from_slice(&output, GFP_KERNEL)?;
        if what < 4 {
            transcript.extend_from_slice(&output, GFP_KERNEL)?;
        } else {
            remember_signature(client, &transcript);
        }
        let bytes = server.good(what, client)?;
        client.receive(&bytes, usize::MAX);
    }
    Ok(())
}

fn run(e: &mut Events<'_>, total: &mut usize, split: bool) -> u64 {
    let (choices, bodies) = (e.u8(), e.u8());
    let policy = Policy {
        sums: Sums {
            real: choices & 1 != 0,
        },
        verify_data: choices & 2 != 0,
        signs: choices & 4 != 0,
        gives_up: choices & 0xe0 == 0xe0,
        bodies,
    };
    let mut client = Client::new(policy);
    let mut server = Server::new(policy.sums, choices & 8 != 0);
    while e.more() {
        let (op, detail) = (e.u8(), e.u8());
        let step = match split {
            true => usize::from(detail >> 4).max(1),
            false => usize::MAX,
        };
        let bytes = match op % 8 {
            // Whatever a server may say.
            0 => {
                let raw = e.blob();
                client.receive(raw, step);
                continue;
            }
            1 => server.good(detail & 15, &client),
            2 => {
                let due = client.in_seq.wrapping_add(1);
                let skew = if detail & 12 == 12 { detail & 3 } else { 1 };
                server.message(due, skew, e)
            }
            3 => {
                let tag = Tag::from_byte(detail & 31).unwrap_or(Tag::Ack);
                let body = e.blob();
                server.frame(tag, |e| e.bytes(body).map(drop))
            }
            4 => handshake(&mut client, &mut server, detail & 7).map(|()| KVVec::new()),
            5 => {
                // From nothing to an open session.
                let ident = 5 + (detail & 1);
                handshake(&mut client, &mut server, 4).and_then(|()| server.good(ident, &client))
            }
            6 => {
                client.act(detail & 7, e);
                if detail & 7 == 1 {
                    // Its new socket has another at the other end.
                    client.sent = KVVec::new();
                    server.restart();
                }
                Ok(KVVec::new())
            }
            _ => server.read(&mut client).map(|()| KVVec::new()),
        };
        match bytes {
            Ok(bytes) => {
                *total += bytes.len();
                client.receive(&bytes, step);
            }
            Err(ENOMEM) => client.fault(),
            // A frame that cannot be made.
            Err(error) => assert_eq!(error, E2BIG),
        }
        if !client.machine.was_established() {
            assert!(!client.machine.is_open());
        }
        // A new socket on either side begins with a banner.
        if client.machine.state_name() == "PREOPEN" {
            client.sent = KVVec::new();
            server.restart();
        }
    }
    client.seen
}

/// The first bytes: which allocation fails, and the caller's policy.
pub(crate) fn messenger(raw: &[u8]) {
    let mut seen = None;
    run_events(raw, |mut e| {
        let (mut total, before) = (0, e.0.len());
        let (split, peak) = peak_of(|| run(&mut e, &mut total, true));
        // Each byte may be held here, in the machine, and in its answer; and a
        // handshake's answers are longer than what they answer.
        let limit = memory_limit(before + total) + before * 512;
        assert!(peak <= limit, "{peak} bytes allocated, more than {limit}");
        seen = Some(split);
    });
    // The pieces in which bytes come make no difference.
    if crate::harness::fault(raw.first().copied().unwrap_or(0)).is_none() {
        run_events(raw, |mut e| {
            assert_eq!(seen, Some(run(&mut e, &mut 0, false)))
        });
    }
}
