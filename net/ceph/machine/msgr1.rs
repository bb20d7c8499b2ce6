// SPDX-License-Identifier: GPL-2.0
//! The client's side of a msgr1 session, on bytes alone.
//!
//! ```text
//!                 connected()
//!   Closed ------------------> Hello
//!     ^                          | banner and addresses -> Action::Hello
//!     | fault()                  v
//!     | (from anywhere;        Method <-------------+
//!     |  the session stays)      | auth_request()   |   -> Action::Identify
//!     |                          v                  |
//!     |      +--------------> Identify              |
//!     |      |                   | identify()   > banner, Connect, authorizer
//!     |      | RETRY_GLOBAL,     v                  | BADAUTHORIZER -> Action::BadMethod
//!     |      | RESETSESSION   Connect --------------+
//!     |      +-------------------|  ^ CHALLENGE_AUTHORIZER -> Action::AuthMore;
//!     |                          |  +- auth_more()  > Connect, authorizer
//!     |                          | READY, SEQ
//!     |                          v
//!     |        with authorizer AuthDone             -> Action::AuthDone
//!     |                          | auth_done()
//!     |                          v
//!     |                SEQ only Seq                 > number of what was received
//!     |                          | number
//!     |                          v
//!     +------------------------ Open                -> Action::Established
//! ```
//!
//! `>` is what is sent, `->` an [`Action`] that the caller performs; they and what else the
//! caller does are those of [`msgr2`](super::msgr2). A session with a monitor has no
//! authorizer: the client authenticates by messages once it is open.
//!
//! An open session is a sequence of tags, each with what belongs to it; see
//! [`wire::msgr1`](crate::wire::msgr1). Messages are signed with the session key of the
//! authorizer if both sides know `MSG_AUTH` and the client did not opt out of it.
use kernel::prelude::*;

use super::fault::Fault;
use super::framer::Segments;
use super::msgr2::{handshake_limit_ms, Action, Began, Body, Identity, LONG_MESSAGE};
use crate::errno::{eaddrnotavail, enotconn, eprotonosupport};
use crate::wire::auth::{method, IV};
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::msgr1::{
    ack, decode_addr, encode_addr, keepalive2, signed_block, tag, Connect, ConnectReply, Footer,
    Header, ADDR_LEN, BANNER, CONNECT_LOSSY, CONNECT_REPLY_LEN, FOOTER_COMPLETE, FOOTER_LEN,
    FOOTER_NOCRC, FOOTER_SIGNED, HEADER_LEN, OLD_FOOTER_LEN,
};
use crate::wire::msgr2::{
    self, AuthBadMethod, AuthRequest, MessageHead, CON_MODE_CRC, DATA_MAX, SEGMENT_MAX,
};
use crate::wire::secret::Secret;
use crate::wire::types::{EntityAddr, EntityName, EntityType, Timespec};

/// Checksums and ciphers.
pub trait Crypto: msgr2::Crypto {
    /// Encrypts two blocks in place with AES-128-CBC.
    fn encrypt(&self, key: &[u8; 16], iv: &[u8; 16], blocks: &mut [[u8; 16]; 2]);
}

/// Signs a message, of which `block` is [`signed_block`], with a session key: what is encrypted
/// (AES) or authenticated (AES256KRB5), folded into a word (`calc_signature`,
/// `CephxSessionHandler::_calc_signature`).
///
/// # Errors
///
/// * `EINVAL` - no key has that length.
/// * `ENOMEM`
fn sign(crypto: &impl Crypto, key: &[u8], block: &[u8; 32]) -> Result<u64> {
    let fold = |words: &[u8]| {
        let mut d = Decoder::new(words);
        let mut word = 0;
        while let Ok(next) = d.u64() {
            word ^= next;
        }
        word
    };
    if let Ok(key) = <&[u8; 16]>::try_from(key) {
        let mut blocks = [[0; 16]; 2];
        blocks.as_flattened_mut().copy_from_slice(block);
        crypto.encrypt(key, IV, &mut blocks);
        return Ok(fold(blocks.as_flattened()));
    }
    if key.len() == 32 {
        return Ok(fold(&crypto.hmac_sha256(key, &[block])?));
    }
    Err(EINVAL)
}

/// Why a [`Fault`]: the peer speaks msgr2.
pub const MSGR2: &str = "server is speaking msgr2 protocol";

/// `CEPH_FEATURE_MSG_AUTH`: messages have signatures.
const MSG_AUTH: u64 = 1 << 23;
/// `CEPH_FEATUREMASK_CEPHX_V2`: signatures cover lengths and numbers, too.
const CEPHX_V2: u64 = 1 << 61;
/// Least that is missing of a segment for which [`Machine::room`] is worth its while, in bytes.
const LONG: usize = 256;
/// As in msgr2; but no message of ours acknowledges on the way.
const ACK_AFTER: u64 = 8;
/// The longest answer to an authorizer that is taken, in bytes; it needs about 100.
const AUTH_REPLY_MAX: usize = 4096;
/// Length of what stands before the segments of a message.
pub const HEAD_LEN: usize = 1 + HEADER_LEN;

/// Version of the protocol that is spoken with a daemon above the messenger
/// (`CEPH_MONC_PROTOCOL` and so on).
fn protocol_version(kind: EntityType) -> u32 {
    match kind {
        EntityType::OSD => 24,
        EntityType::MDS => 32,
        _ => 15,
    }
}

/// Where the handshake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// The server says hello.
    Hello,
    /// The caller gives an authorizer.
    Method,
    /// The caller says who we are.
    Identify,
    /// The server's turn.
    Connect,
    /// The caller answers the challenge.
    AuthMore,
    /// The caller checks the server's answer to the authorizer.
    AuthDone,
    /// The server says what it has received.
    Seq,
    Open,
}

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Banner,
    Addrs,
    ConnectReply,
    AuthorizerReply,
    Seq,
    Tag,
    Ack,
    KeepaliveAck,
    Keepalive,
    Header,
    Decide,
    Front,
    Middle,
    Data,
    Footer,
}

impl Stage {
    fn is_segment(self) -> bool {
        matches!(self, Self::Front | Self::Middle | Self::Data)
    }
}

/// What outlives a socket.
#[derive(Clone, Copy, Debug, Default)]
struct Session {
    /// How often it was connected.
    connect_seq: u32,
    peer_features: u64,
    lossy: bool,
    established: bool,
    /// The last message received, and the last that we acknowledged.
    in_seq: u64,
    acked_seq: u64,
    /// The last number given to a message of ours.
    out_seq: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Machine {
    state: State,
    /// When the handshake is to be over, in milliseconds of the caller's clock.
    deadline: Option<u64>,
    peer: EntityName,
    peer_addr: EntityAddr,
    session: Session,
    /// Who we are, in this attempt.
    name: EntityName,
    identity: Option<Identity>,
    /// The banner was sent.
    greeted: bool,
    /// How to authenticate to a service, and the connection mode to pretend.
    method: u32,
    con_mode: u32,
    authorizer: KVVec<u8>,
    reply: Option<ConnectReply>,
    missing_features: u64,
    /// Whether messages are to be signed, if the server can.
    sign: bool,
    /// What they are signed with; empty if they are not.
    key: Secret,
    stage: Stage,
    /// Bytes that the stage still needs.
    left: usize,
    /// What the stage has so far, unless that goes into a segment.
    buf: KVVec<u8>,
    header: Header,
    head: MessageHead,
    body: Body,
    segments: Segments,
    data_crc: u32,
    verify_data: bool,
    /// The message being received counts when it is complete: `None` for one that came before.
    receiving: Option<u64>,
    /// What the caller is to do, though nothing came.
    pending: Option<Action>,
    output: KVVec<u8>,
}

impl Machine {
    /// A session with `peer`, not yet connected. Data is compared with its checksum only if
    /// `verify_data`; messages are signed only if `sign`.
    pub fn new(peer: EntityName, peer_addr: EntityAddr, verify_data: bool, sign: bool) -> Self {
        Self {
            state: State::Closed,
            deadline: None,
            peer,
            peer_addr,
            session: Session::default(),
            name: EntityName {
                kind: EntityType::CLIENT,
                num: 0,
            },
            identity: None,
            greeted: false,
            method: 0,
            con_mode: CON_MODE_CRC,
            authorizer: KVVec::new(),
            reply: None,
            missing_features: 0,
            sign,
            key: Secret::default(),
            stage: Stage::Banner,
            left: BANNER.len(),
            buf: KVVec::new(),
            header: Header::EMPTY,
            head: MessageHead::default(),
            body: Body::Skip,
            segments: Segments::default(),
            data_crc: 0,
            verify_data,
            receiving: None,
            pending: None,
            output: KVVec::new(),
        }
    }

    /// A socket is about to be connected, at this time in milliseconds. Returns by when the
    /// session must be open; see [`Self::check_deadline`].
    pub fn connecting(&mut self, now: u64) -> u64 {
        let deadline = now.saturating_add(handshake_limit_ms(self.peer.kind));
        self.deadline = Some(deadline);
        deadline
    }

    /// To be called again and again until the session is open.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if that takes too long: close the socket.
    pub fn check_deadline(&self, now: u64) -> Result<(), Fault> {
        match self.deadline {
            Some(deadline) if deadline <= now => Err(Fault::timeout("handshake timed out")),
            _ => Ok(()),
        }
    }

    /// The socket is connected. The server speaks first: so we learn our address before we
    /// have to tell it.
    ///
    /// # Errors
    ///
    /// None; the type is that of msgr2.
    pub fn connected(&mut self) -> Result {
        self.restart();
        self.state = State::Hello;
        Ok(())
    }

    /// The socket is gone. Unless the session was lossy, it can be taken up again.
    pub fn fault(&mut self) {
        self.deadline = None;
        self.restart();
    }

    fn restart(&mut self) {
        self.state = State::Closed;
        self.identity = None;
        self.greeted = false;
        self.authorizer = KVVec::new();
        self.reply = None;
        self.missing_features = 0;
        self.key = Secret::default();
        self.enter(Stage::Banner, BANNER.len());
        self.segments = Segments::default();
        self.receiving = None;
        self.pending = None;
        self.output.clear();
    }

    fn awaits_caller(&self) -> bool {
        self.pending.is_some()
            || matches!(
                self.state,
                State::Closed | State::Method | State::Identify | State::AuthMore | State::AuthDone
            )
    }

    /// Takes bytes up to the next thing that the caller must do. Returns how many it took, and
    /// what to do. Call it again, also without new bytes, until it takes none and asks for
    /// nothing.
    ///
    /// # Errors
    ///
    /// A [`Fault`]: close the socket.
    pub fn feed(
        &mut self,
        crypto: &impl Crypto,
        input: &[u8],
    ) -> Result<(usize, Option<Action>), Fault> {
        let mut taken = 0usize;
        loop {
            if let Some(action) = self.go_on(crypto)? {
                return Ok((taken, Some(action)));
            }
            let rest = input.get(taken..).unwrap_or_default();
            let wants = self.wants();
            let Some(now @ [_, ..]) = rest.get(..wants.min(rest.len())) else {
                return Ok((taken, None));
            };
            self.left = self.left.saturating_sub(now.len());
            if let Some(buf) = self.buffer() {
                buf.extend_from_slice(now, GFP_KERNEL)?;
            }
            taken = taken.saturating_add(now.len());
        }
    }

    /// The shortest way for what mostly comes, a message that begins with `input`: takes its
    /// head. Returns how many bytes it took, and what that was. None if it is something else,
    /// and up to [`Self::feed`].
    pub fn feed_message(&mut self, crypto: &impl Crypto, input: &[u8]) -> Option<(usize, Began)> {
        if self.state != State::Open || self.stage != Stage::Tag || self.left != 1 {
            return None;
        }
        let (&[tag], rest) = input.split_first_chunk::<1>()?;
        let (bytes, _) = rest.split_first_chunk::<HEADER_LEN>()?;
        if tag != tag::MSG {
            return None;
        }
        let header = self.checked(crypto, bytes).ok()?;
        let due = self.session.in_seq.wrapping_add(1);
        if header.seq != due {
            return None;
        }
        self.take_header(header);
        self.receiving = Some(due);
        if self.is_asked_for() {
            return Some((HEAD_LEN, Began::Head));
        }
        self.body(Body::Collect);
        Some((HEAD_LEN, Began::Body))
    }

    /// As [`Self::feed`] without input: after [`Self::filled`], [`Self::data_taken`],
    /// [`Self::body`], and after what the caller answers.
    ///
    /// # Errors
    ///
    /// A [`Fault`]: close the socket.
    pub fn go_on(&mut self, crypto: &impl Crypto) -> Result<Option<Action>, Fault> {
        loop {
            if let Some(action) = self.pending.take() {
                return Ok(Some(action));
            }
            if !self.has_item() {
                return Ok(None);
            }
            let buf = core::mem::take(&mut self.buf);
            let action = self.advance(crypto, &buf);
            if self.buf.is_empty() {
                self.buf = buf;
                self.buf.clear();
            }
            if let Some(action) = action? {
                return Ok(Some(action));
            }
        }
    }

    /// How many bytes are missing of what is being read; 0 while the caller is to answer or
    /// to take data itself.
    pub fn wants(&self) -> usize {
        if self.awaits_caller() || self.diverted() > 0 {
            0
        } else {
            self.left
        }
    }

    /// While a long segment is collected, where the bytes that come next go, appended, and how
    /// many of them at most. Tell [`Self::filled`] how many it were.
    #[inline]
    pub fn room(&mut self) -> Option<(&mut KVVec<u8>, usize)> {
        let left = self.wants();
        if self.state != State::Open || left < LONG || !self.stage.is_segment() {
            return None;
        }
        Some((self.buffer()?, left))
    }

    /// So many bytes were appended. Then [`Self::go_on`].
    #[inline]
    pub fn filled(&mut self, len: usize) {
        self.left = self.left.saturating_sub(len);
    }

    /// The head of the message that is being received, or of the one before, and the lengths
    /// of front, middle and data.
    #[inline]
    pub fn head(&self) -> (&MessageHead, [u32; 3]) {
        (&self.head, self.header.segments)
    }

    /// The segments of the message of [`Action::Message`], before anything else is read.
    #[inline]
    pub fn take_segments(&mut self) -> Segments {
        core::mem::take(&mut self.segments)
    }

    /// Whether [`Self::go_on`] may have something to tell.
    pub fn has_item(&self) -> bool {
        self.pending.is_some()
            || (!self.awaits_caller() && self.left == 0 && self.stage != Stage::Decide)
    }

    /// Bytes of message data that come next in the stream, for the caller to take itself and
    /// to tell [`Self::data_taken`].
    pub fn diverted(&self) -> usize {
        if self.stage == Stage::Data && self.body == Body::Divert {
            self.left
        } else {
            0
        }
    }

    /// Whether diverted data needs a checksum.
    pub fn verifies_data(&self) -> bool {
        self.verify_data
    }

    /// The checksum of the data diverted so far; to be continued.
    pub fn data_crc(&self) -> u32 {
        self.data_crc
    }

    /// The caller took `len` bytes of data, and `crc` is the checksum so far.
    pub fn data_taken(&mut self, len: usize, crc: u32) {
        if self.diverted() > 0 {
            self.left = self.left.saturating_sub(len);
            self.data_crc = crc;
        }
    }

    /// Answers [`Action::Head`].
    pub fn body(&mut self, body: Body) {
        if self.stage == Stage::Decide {
            self.body = body;
            self.segments = Segments::default();
            self.data_crc = 0;
            self.enter_segment(0);
        }
    }

    /// Throws away what is still to come of the message that is being received.
    pub fn skip(&mut self) {
        if self.stage.is_segment() || self.stage == Stage::Footer {
            self.body = Body::Skip;
            self.segments = Segments::default();
        }
    }

    /// Whether the body of a message is being received.
    pub fn is_receiving(&self) -> bool {
        self.receiving.is_some()
    }

    /// Whether the message whose head was read last is long, or has data: somebody is to say
    /// where to.
    fn is_asked_for(&self) -> bool {
        let [front, middle, data] = self.header.segments;
        data > 0 || front.saturating_add(middle) as usize > LONG_MESSAGE
    }

    fn enter(&mut self, stage: Stage, left: usize) {
        self.stage = stage;
        self.left = left;
        self.buf.clear();
    }

    /// Goes on with the first segment from `first` on that is not empty, or the footer.
    fn enter_segment(&mut self, first: usize) {
        let stages = [Stage::Front, Stage::Middle, Stage::Data];
        let segments = stages.into_iter().zip(self.header.segments).skip(first);
        for (stage, len) in segments {
            if len > 0 {
                return self.enter(stage, len as usize);
            }
        }
        let len = match self.session.peer_features & MSG_AUTH {
            0 => OLD_FOOTER_LEN,
            _ => FOOTER_LEN,
        };
        self.enter(Stage::Footer, len);
    }

    /// Where bytes of this stage go; none if they are thrown away.
    #[inline]
    fn buffer(&mut self) -> Option<&mut KVVec<u8>> {
        match self.stage {
            Stage::Front | Stage::Middle | Stage::Data if self.body == Body::Skip => None,
            Stage::Front => Some(self.segments.front.as_mut_vec()),
            Stage::Middle => Some(self.segments.middle.as_mut_vec()),
            Stage::Data => Some(self.segments.data.as_mut_vec()),
            _ => Some(&mut self.buf),
        }
    }

    /// A header whose checksum is right and whose segments are not too long.
    fn checked(&self, crypto: &impl Crypto, bytes: &[u8; HEADER_LEN]) -> Result<Header, Fault> {
        let header = Header::decode(bytes)?;
        let covered = bytes.get(..Header::COVERED).unwrap_or_default();
        if crypto.crc32c(0, covered) != header.crc {
            return Err(Fault::integrity("integrity error, bad header crc"));
        }
        let [front, middle, data] = header.segments;
        if front > SEGMENT_MAX || middle > SEGMENT_MAX || data > DATA_MAX {
            return Err(Fault::protocol("protocol error, message too long"));
        }
        Ok(header)
    }

    fn take_header(&mut self, header: Header) {
        self.header = header;
        self.head = MessageHead {
            seq: header.seq,
            tid: header.tid,
            kind: header.kind,
            priority: header.priority,
            version: header.version,
            data_off: header.data_off,
            compat_version: header.compat_version,
            ..MessageHead::default()
        };
        self.enter(Stage::Decide, 0);
    }

    /// The stage has all its bytes.
    fn advance(&mut self, crypto: &impl Crypto, bytes: &[u8]) -> Result<Option<Action>, Fault> {
        let d = &mut Decoder::new(bytes);
        match self.stage {
            Stage::Banner => {
                let banner: [u8; BANNER.len()] = d.array()?;
                if banner.starts_with(msgr2::BANNER) {
                    return Err(Fault::protocol(MSGR2));
                }
                if banner != *BANNER {
                    return Err(Fault::protocol("protocol error, bad banner"));
                }
                self.enter(Stage::Addrs, 2 * ADDR_LEN);
            }
            Stage::Addrs => return self.hello(d),
            Stage::ConnectReply => {
                let reply = ConnectReply::decode(d.chunk()?)?;
                let len = reply.authorizer_len as usize;
                if len > AUTH_REPLY_MAX {
                    return Err(Fault::protocol("protocol error, authorizer reply too big"));
                }
                self.reply = Some(reply);
                self.enter(Stage::AuthorizerReply, len);
            }
            Stage::AuthorizerReply => return self.connect_reply(bytes),
            Stage::Seq => {
                let received = d.u64()?;
                return Ok(Some(self.opened(received)));
            }
            Stage::Tag => self.begin(d.u8()?)?,
            Stage::Ack => {
                let seq = d.u64()?;
                self.enter(Stage::Tag, 1);
                return Ok(Some(Action::Acked(seq)));
            }
            Stage::KeepaliveAck => {
                let sent = d.timespec()?;
                self.enter(Stage::Tag, 1);
                return Ok(Some(Action::KeepaliveAck(sent)));
            }
            Stage::Keepalive => self.enter(Stage::Tag, 1),
            Stage::Header => {
                let header = self.checked(crypto, d.chunk()?)?;
                self.take_header(header);
                return self.begin_message();
            }
            Stage::Decide => {}
            Stage::Front => self.enter_segment(1),
            Stage::Middle => self.enter_segment(2),
            Stage::Data => self.enter_segment(3),
            Stage::Footer => return self.end_message(crypto, d),
        }
        Ok(None)
    }

    fn begin(&mut self, tag: u8) -> Result<(), Fault> {
        match tag {
            tag::MSG => self.enter(Stage::Header, HEADER_LEN),
            tag::ACK => self.enter(Stage::Ack, 8),
            tag::KEEPALIVE2_ACK => self.enter(Stage::KeepaliveAck, 8),
            tag::KEEPALIVE2 => self.enter(Stage::Keepalive, 8),
            tag::KEEPALIVE => self.enter(Stage::Tag, 1),
            tag::CLOSE => {
                return Err(Fault {
                    error: enotconn(),
                    why: "socket closed by peer",
                });
            }
            _ => return Err(Fault::protocol("protocol error, bad tag")),
        }
        Ok(())
    }

    fn begin_message(&mut self) -> Result<Option<Action>, Fault> {
        let next = self.session.in_seq.wrapping_add(1);
        let seq = self.header.seq;
        if seq > next {
            return Err(Fault::protocol(
                "bad message sequence # for incoming message",
            ));
        }
        if seq < next {
            // Seen already, before the socket broke.
            self.body(Body::Skip);
            return Ok(None);
        }
        self.receiving = Some(seq);
        if self.is_asked_for() {
            return Ok(Some(Action::Head));
        }
        self.body(Body::Collect);
        Ok(None)
    }

    fn end_message(
        &mut self,
        crypto: &impl Crypto,
        d: &mut Decoder<'_>,
    ) -> Result<Option<Action>, Fault> {
        let footer = match self.session.peer_features & MSG_AUTH {
            0 => Footer::decode_old(d.chunk()?)?,
            _ => Footer::decode(d.chunk()?)?,
        };
        if footer.flags & FOOTER_COMPLETE == 0 {
            // A client is never sent one that its sender gave up.
            return Err(Fault::protocol("protocol error, incomplete message"));
        }
        if self.body != Body::Skip {
            self.verify(crypto, &footer)?;
        }
        self.enter(Stage::Tag, 1);
        let Some(seq) = self.receiving.take() else {
            return Ok(None);
        };
        self.session.in_seq = seq;
        Ok(Some(Action::Message))
    }

    fn verify(&mut self, crypto: &impl Crypto, footer: &Footer) -> Result<(), Fault> {
        let [front, middle, data] = footer.crcs;
        let has_crc = footer.flags & FOOTER_NOCRC == 0;
        let data_ok = !self.verify_data
            || !has_crc
            || match self.body {
                Body::Divert => self.data_crc == data,
                _ => crypto.crc32c(0, &self.segments.data) == data,
            };
        if crypto.crc32c(0, &self.segments.front) != front
            || crypto.crc32c(0, &self.segments.middle) != middle
            || !data_ok
        {
            return Err(Fault::integrity("integrity error, bad crc"));
        }
        // The signature covers the checksums. It need not be there to be wanted.
        if !self.key.is_empty() {
            let block = signed_block(&self.header, footer);
            if sign(crypto, self.key.as_slice(), &block)? != footer.sig {
                return Err(Fault::integrity("integrity error, bad message signature"));
            }
        }
        Ok(())
    }
}

/// The handshake.
impl Machine {
    fn hello(&mut self, d: &mut Decoder<'_>) -> Result<Option<Action>, Fault> {
        let (its, ours) = (decode_addr(d)?, decode_addr(d)?);
        // A server that has just started may not know its IP address.
        let is_it = same_place(&its, &self.peer_addr) || its.is_blank();
        if !is_it || its.nonce != self.peer_addr.nonce {
            return Err(Fault::protocol("wrong peer at address"));
        }
        self.state = State::Method;
        Ok(Some(Action::Hello(ours)))
    }

    /// Answers [`Action::Hello`] and [`Action::BadMethod`]. What a monitor is sent is not used:
    /// it is asked by messages.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn auth_request(&mut self, request: &AuthRequest) -> Result {
        if self.state != State::Method {
            return Ok(());
        }
        self.con_mode = request.modes.first().copied().unwrap_or(CON_MODE_CRC);
        self.authorizer.clear();
        self.method = 0;
        if self.peer.kind != EntityType::MON {
            self.method = request.method;
            self.authorizer
                .extend_from_slice(&request.payload, GFP_KERNEL)?;
        }
        self.state = State::Identify;
        self.pending = Some(Action::Identify);
        Ok(())
    }

    /// Answers [`Action::AuthMore`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn auth_more(&mut self, payload: &[u8]) -> Result {
        if self.state == State::AuthMore {
            self.authorizer.clear();
            self.authorizer.extend_from_slice(payload, GFP_KERNEL)?;
            self.connect()?;
        }
        Ok(())
    }

    /// Answers [`Action::AuthDone`]; `key` signs messages, and is empty if the method has no
    /// keys.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a key that cannot sign, `ENOMEM`.
    pub fn auth_done(&mut self, key: &[u8]) -> Result {
        if self.state == State::AuthDone {
            self.ready(key)?;
        }
        Ok(())
    }

    /// Answers [`Action::Identify`], [`Action::RetryGlobal`] and [`Action::PeerReset`].
    ///
    /// # Errors
    ///
    /// `EADDRNOTAVAIL` if the address is blank, `ENOMEM`.
    pub fn identify(&mut self, identity: &Identity) -> Result {
        if self.state != State::Identify {
            return Ok(());
        }
        if identity.addr.is_blank() {
            return Err(eaddrnotavail());
        }
        self.name.num = identity.global_id;
        self.identity = Some(*identity);
        self.connect()
    }

    /// Asks for a session.
    fn connect(&mut self) -> Result {
        let Some(identity) = &self.identity else {
            return Err(EINVAL);
        };
        let mut e = Encoder::new();
        if !self.greeted {
            e.bytes(BANNER)?;
            encode_addr(&mut e, &identity.addr)?;
        }
        let connect = Connect {
            features: identity.supported & self.known(),
            // As large as it is in msgr2; nobody connects so often.
            global_seq: u32::try_from(identity.global_seq).unwrap_or(u32::MAX),
            connect_seq: self.session.connect_seq,
            protocol_version: protocol_version(self.peer.kind),
            authorizer_protocol: self.method,
            authorizer_len: u32::try_from(self.authorizer.len()).map_err(|_| E2BIG)?,
            flags: 0,
        };
        connect.encode(&mut e)?;
        e.bytes(&self.authorizer)?;
        self.output.extend_from_slice(e.as_slice(), GFP_KERNEL)?;
        self.greeted = true;
        self.state = State::Connect;
        self.enter(Stage::ConnectReply, CONNECT_REPLY_LEN);
        Ok(())
    }

    fn connect_reply(&mut self, payload: &[u8]) -> Result<Option<Action>, Fault> {
        let (Some(reply), Some(identity)) = (self.reply, &self.identity) else {
            return Err(Fault::protocol("protocol error, unexpected reply"));
        };
        match reply.tag {
            tag::CHALLENGE_AUTHORIZER if !self.authorizer.is_empty() => {
                self.state = State::AuthMore;
                Ok(Some(Action::AuthMore(copy(payload)?)))
            }
            tag::READY | tag::SEQ => {
                if identity.required & !reply.features != 0 {
                    return Err(Fault::missing_features());
                }
                self.session.peer_features = reply.features & self.known();
                self.session.lossy = reply.flags & CONNECT_LOSSY != 0;
                if self.authorizer.is_empty() {
                    self.ready(&[])?;
                    return Ok(None);
                }
                self.state = State::AuthDone;
                Ok(Some(Action::AuthDone {
                    global_id: 0,
                    con_mode: self.con_mode,
                    payload: copy(payload)?,
                }))
            }
            tag::BADAUTHORIZER => {
                self.state = State::Method;
                Ok(Some(Action::BadMethod(AuthBadMethod {
                    method: self.method,
                    result: EACCES.to_errno(),
                    allowed_methods: one(method::CEPHX)?,
                    allowed_modes: one(self.con_mode)?,
                })))
            }
            tag::RESETSESSION => {
                self.session = Session::default();
                self.state = State::Identify;
                Ok(Some(Action::PeerReset))
            }
            tag::RETRY_SESSION => {
                self.session.connect_seq = reply.connect_seq;
                self.connect()?;
                Ok(None)
            }
            tag::RETRY_GLOBAL => {
                self.state = State::Identify;
                Ok(Some(Action::RetryGlobal(u64::from(reply.global_seq))))
            }
            tag::FEATURES => {
                self.missing_features = reply.features & !identity.supported;
                Err(Fault::missing_features())
            }
            tag::BADPROTOVER => Err(Fault::protocol("protocol version mismatch")),
            tag::WAIT => Err(Fault::protocol("protocol error, got WAIT as client")),
            _ => Err(Fault::protocol(
                "protocol error, garbage tag during connect",
            )),
        }
    }

    /// The features that we may say we know. A server refuses each unsigned message of a client
    /// that could sign it; one that wants signatures then says so, and others do without.
    fn known(&self) -> u64 {
        if self.sign {
            u64::MAX
        } else {
            !MSG_AUTH
        }
    }

    /// The server takes us.
    fn ready(&mut self, key: &[u8]) -> Result {
        let features = self.session.peer_features;
        if self.sign && !key.is_empty() && features & MSG_AUTH != 0 {
            if features & CEPHX_V2 == 0 {
                // What servers before Mimic sign is something else.
                return Err(eprotonosupport());
            }
            self.key = Secret::new(key)?;
        }
        self.session.connect_seq = self.session.connect_seq.wrapping_add(1);
        match self.reply.map(|reply| reply.tag) {
            Some(tag::SEQ) => {
                let received = self.session.in_seq.to_le_bytes();
                self.output.extend_from_slice(&received, GFP_KERNEL)?;
                self.session.acked_seq = self.session.in_seq;
                self.state = State::Seq;
                self.enter(Stage::Seq, 8);
            }
            _ => {
                let action = self.opened(0);
                self.pending = Some(action);
            }
        }
        Ok(())
    }

    fn opened(&mut self, received: u64) -> Action {
        self.deadline = None;
        self.session.established = true;
        self.identity = None;
        self.authorizer = KVVec::new();
        self.state = State::Open;
        self.enter(Stage::Tag, 1);
        Action::Established { received }
    }
}

/// What goes out.
impl Machine {
    /// Gives a message a number and makes what goes before its segments; `head.seq` is kept if
    /// it is not 0 (the message was sent before).
    ///
    /// # Errors
    ///
    /// `ENOTCONN` unless open.
    pub fn message(
        &mut self,
        crypto: &impl Crypto,
        head: MessageHead,
        lens: [u32; 3],
    ) -> Result<(u64, [u8; HEAD_LEN])> {
        if self.state != State::Open {
            return Err(enotconn());
        }
        let fresh = self.session.out_seq.wrapping_add(1);
        let seq = if head.seq == 0 { fresh } else { head.seq };
        self.session.out_seq = self.session.out_seq.max(seq);
        let bytes = self
            .header_of(&head, seq, lens)
            .encode(|covered| crypto.crc32c(0, covered));
        let mut out = [0; HEAD_LEN];
        if let Some((first, rest)) = out.split_first_mut() {
            *first = tag::MSG;
            rest.copy_from_slice(&bytes);
        }
        Ok((seq, out))
    }

    fn header_of(&self, head: &MessageHead, seq: u64, segments: [u32; 3]) -> Header {
        Header {
            seq,
            tid: head.tid,
            kind: head.kind,
            priority: head.priority,
            version: head.version,
            segments,
            data_off: head.data_off,
            src: self.name,
            compat_version: head.compat_version,
            crc: 0,
        }
    }

    /// What goes behind the segments of the message whose `head` [`Self::message`] has made,
    /// and how many bytes that is; `data` is the checksum of its data, 0 if it has none.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn message_tail(
        &mut self,
        crypto: &impl Crypto,
        head: &[u8; HEAD_LEN],
        front: &[u8],
        middle: &[u8],
        data: u32,
    ) -> Result<([u8; FOOTER_LEN], usize)> {
        let mut footer = Footer {
            crcs: [crypto.crc32c(0, front), crypto.crc32c(0, middle), data],
            sig: 0,
            flags: FOOTER_COMPLETE,
        };
        if !self.key.is_empty() {
            let header = Header::decode(Decoder::new(head.get(1..).unwrap_or_default()).chunk()?)?;
            let block = signed_block(&header, &footer);
            footer.sig = sign(crypto, self.key.as_slice(), &block)?;
            footer.flags |= FOOTER_SIGNED;
        }
        Ok(footer.encode(self.session.peer_features & MSG_AUTH != 0))
    }

    /// Whether it is time to acknowledge messages. The server keeps copies until then.
    pub fn wants_ack(&self) -> bool {
        let unacknowledged = self.session.in_seq.wrapping_sub(self.session.acked_seq);
        self.state == State::Open && !self.session.lossy && unacknowledged >= ACK_AFTER
    }

    /// The message that was received last could not be taken in. It counts as not received.
    pub fn not_taken(&mut self) {
        self.session.in_seq = self.session.in_seq.wrapping_sub(1);
    }

    /// Acknowledges what was received so far.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn ack(&mut self) -> Result {
        self.session.acked_seq = self.session.in_seq;
        let frame = ack(self.session.in_seq)?;
        Ok(self.output.extend_from_slice(&frame, GFP_KERNEL)?)
    }

    /// Asks whether the server is there.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn keepalive(&mut self, now: Timespec) -> Result {
        if self.state != State::Open {
            return Ok(());
        }
        let frame = keepalive2(now)?;
        Ok(self.output.extend_from_slice(&frame, GFP_KERNEL)?)
    }

    /// Whether there are bytes to send.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// The bytes to send.
    pub fn take_output(&mut self) -> KVVec<u8> {
        core::mem::take(&mut self.output)
    }

    /// Whether messages can be sent.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the session was ever open.
    pub fn was_established(&self) -> bool {
        self.session.established
    }

    /// Whether the server ends the session with the socket.
    pub fn is_lossy(&self) -> bool {
        self.session.lossy
    }

    /// Features that the server has; 0 before the session is established.
    pub fn peer_features(&self) -> u64 {
        self.session.peer_features
    }

    /// Features that the server requires and the client lacks, which is why the handshake
    /// ended; 0 if it did not end so.
    pub fn missing_features(&self) -> u64 {
        self.missing_features
    }

    /// The state as the log of the C client has it.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            State::Closed => "PREOPEN",
            State::Hello | State::Method | State::Identify => "V1_BANNER",
            State::Connect | State::AuthMore | State::AuthDone | State::Seq => "V1_CONNECT_MSG",
            State::Open => "OPEN",
        }
    }
}

fn copy(bytes: &[u8]) -> Result<KVVec<u8>> {
    let mut copy = KVVec::new();
    copy.extend_from_slice(bytes, GFP_KERNEL)?;
    Ok(copy)
}

fn one(value: u32) -> Result<KVVec<u32>> {
    let mut list = KVVec::new();
    list.push(value, GFP_KERNEL)?;
    Ok(list)
}

/// Whether both are at one IP address and port.
fn same_place(a: &EntityAddr, b: &EntityAddr) -> bool {
    let place = |addr: &EntityAddr| addr.sock.map(|sock| (sock.ip(), sock.port()));
    place(a) == place(b)
}

#[cfg(any(test, CONFIG_KUNIT))]
#[path = "../machine/msgr1_test.rs"]
mod test;
