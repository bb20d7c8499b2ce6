// SPDX-License-Identifier: GPL-2.0
//! The client's side of a msgr2.1 session, on bytes alone.
//!
//! ```text
//!                 connected()
//!   Closed ------------------> Banner
//!     ^                          | banner           > HELLO
//!     |                          v
//!     |                        Hello
//!     | fault()                  | HELLO            -> Action::LearnAddr
//!     | (from anywhere;          v
//!     |  the session stays)    Method <-----------+ -> Action::AuthRequest
//!     |                          | auth_request() |    (with LearnAddr)
//!     |                          v  > AUTH_REQUEST|
//!     |                        Auth --------------+ BAD_METHOD
//!     |                          |  ^ REPLY_MORE -> Action::AuthMore;
//!     |                          |  +- auth_more() > AUTH_REQUEST_MORE
//!     |                          | DONE           -> Action::AuthDone;
//!     |                          v   auth_done()    > AUTH_SIGNATURE
//!     |                        Signature
//!     |                          | SIGNATURE
//!     |                          v
//!     |      +--------------> Identify              -> Action::Identify
//!     |      |                   | identify()
//!     |      |          new      |      known session
//!     |      |          +--------+---------+
//!     |      |          v > CLIENT_IDENT   v > SESSION_RECONNECT
//!     |      |       Connecting          Reconnecting
//!     |      |          |                  |   | RESET        -> PeerReset
//!     |      +----------|------------------|---+ RETRY
//!     |                 | SERVER_IDENT     |     RETRY_GLOBAL
//!     |                 v                  v RECONNECT_OK
//!     +-------------- Open <---------------+        -> Action::Established
//! ```
//!
//! `>` is a frame that is sent, `->` an [`Action`] that the caller performs. While
//! an action wants an answer, nothing is read. WAIT is meant for peers that
//! connect to each other; a client that gets it has a fault.
//!
//! What happens before a session is open is in `msgr2_handshake.rs`.
//!
//! From the first packet to an open session there is a time limit ([`handshake_limit_ms`]),
//! whatever the peer sends meanwhile.
//!
//! Bytes to send gather in [`Machine::take_output`]. Segments of messages go past
//! the machine in that direction, diverted data in the other.
use kernel::prelude::*;

use super::framer::Framer;
pub use super::msgr2_reader::{Began, Body, Fault, Segments, LONG_MESSAGE, MSGR1};
use super::msgr2_reader::{Item, Reader};
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::msgr2::{
    banner, keepalive, AuthBadMethod, Crypto, FrameHead, MessageHead, Tag, EPILOGUE_LEN,
    FEATURE_REVISION_1, SIGNATURE_LEN,
};
use crate::wire::types::{EntityAddr, EntityName, EntityType, Timespec};

#[path = "../machine/msgr2_handshake.rs"]
mod handshake;
pub use handshake::Identity;

/// Where the handshake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Banner,
    Hello,
    /// The caller chooses how to authenticate.
    Method,
    /// The server's turn.
    Auth,
    /// The caller answers AUTH_REPLY_MORE.
    AuthMore,
    /// The caller checks AUTH_DONE.
    AuthDone,
    Signature,
    /// The caller says who we are.
    Identify,
    Connecting,
    Reconnecting,
    Open,
}

/// What the caller is to do.
#[derive(Debug)]
pub enum Action {
    /// Remember `EntityAddr` as our own address if there is none yet, and answer
    /// with [`Machine::auth_request`].
    Hello(EntityAddr),
    /// The server refuses; answer with [`Machine::auth_request`] if there is
    /// something else to try.
    BadMethod(AuthBadMethod),
    /// Answer the payload with [`Machine::auth_more`].
    AuthMore(KVVec<u8>),
    /// Answer with [`Machine::auth_done`] if all is right.
    AuthDone {
        /// The client's number, from a monitor.
        global_id: u64,
        /// The mode that the server chose.
        con_mode: u32,
        /// What the method says last.
        payload: KVVec<u8>,
    },
    /// Answer with [`Machine::identify`].
    Identify,
    /// The server wants a `global_seq` above this; choose one, and answer with
    /// [`Machine::identify`].
    RetryGlobal(u64),
    /// The server does not know the session. Forget what was sent and received,
    /// and answer with [`Machine::identify`].
    PeerReset,
    /// The session is open. Of the messages that were sent before, those up to
    /// `received` have arrived.
    Established {
        /// The server's position; 0 for a new session.
        received: u64,
    },
    /// A message with data begins, or one that is longer than [`LONG_MESSAGE`], of which
    /// [`Machine::head`] tells; answer with [`Machine::body`]. (Others are collected.)
    Head,
    /// The message whose head came last is complete; see [`Machine::take_segments`].
    /// Messages up to `ack_seq` of its head have arrived at the server.
    Message,
    /// Messages up to this have arrived at the server.
    Acked(u64),
    /// The server answers the keepalive of this time.
    KeepaliveAck(Timespec),
}

/// What outlives a socket.
#[derive(Clone, Copy, Debug, Default)]
struct Session {
    client_cookie: u64,
    /// 0 when there is no session to go on with.
    server_cookie: u64,
    connect_seq: u64,
    peer_features: u64,
    lossy: bool,
    established: bool,
    /// The last message received, and the last that we acknowledged.
    in_seq: u64,
    acked_seq: u64,
    /// The last number given to a message of ours.
    out_seq: u64,
}

/// Messages that may come in before they are acknowledged by a frame of its own. Each
/// message of ours acknowledges all that came before it, so as long as questions and
/// answers take turns, no such frame is sent.
const ACK_AFTER: u64 = 8;

/// Bytes that a server may send before it has proved who it is: they are kept until then. It
/// needs a few KiB.
const TRANSCRIPT_MAX: usize = 1 << 20;

/// How long it may take from the first packet to an open session, in milliseconds. A monitor
/// that is slow is not waited for: there are others. An OSD or MDS is the only one that can
/// answer, and may be busy.
pub fn handshake_limit_ms(kind: EntityType) -> u64 {
    match kind {
        EntityType::MON => 30_000,
        _ => 60_000,
    }
}

/// See the module.
#[derive(Debug)]
pub struct Machine {
    state: State,
    /// When the handshake is to be over, in milliseconds of the caller's clock.
    deadline: Option<u64>,
    peer: EntityName,
    peer_addr: EntityAddr,
    reader: Reader,
    /// Of what is sent; that of what is received is the reader's.
    framer: Framer,
    /// The mode that AUTH_DONE chose.
    con_mode: u32,
    session: Session,
    /// The message being received counts when it is complete: `None` for one that
    /// came before.
    receiving: Option<u64>,
    required: u64,
    /// Features that the server requires and the client lacks.
    missing_features: u64,
    output: KVVec<u8>,
    /// All that was received and sent before the signatures, which cover it.
    transcript_in: KVVec<u8>,
    transcript_out: KVVec<u8>,
    expected_signature: [u8; SIGNATURE_LEN],
    verify_data: bool,
}

impl Machine {
    /// A session with `peer`, not yet connected. Its number is not compared: that
    /// of a monitor may not be known.
    pub fn new(peer: EntityName, peer_addr: EntityAddr, verify_data: bool) -> Self {
        Self {
            state: State::Closed,
            deadline: None,
            peer,
            peer_addr,
            reader: Reader::new(verify_data),
            framer: Framer::Crc,
            con_mode: 0,
            session: Session::default(),
            receiving: None,
            required: 0,
            missing_features: 0,
            output: KVVec::new(),
            transcript_in: KVVec::new(),
            transcript_out: KVVec::new(),
            expected_signature: [0; SIGNATURE_LEN],
            verify_data,
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

    /// The socket is connected.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn connected(&mut self) -> Result {
        self.restart();
        if self.session.server_cookie != 0 {
            self.session.connect_seq = self.session.connect_seq.wrapping_add(1);
        }
        self.send(&banner(FEATURE_REVISION_1, FEATURE_REVISION_1)?)?;
        self.state = State::Banner;
        Ok(())
    }

    /// The socket is gone. Unless the session was lossy, it can be taken up again.
    pub fn fault(&mut self) {
        self.deadline = None;
        self.restart();
    }

    fn restart(&mut self) {
        self.state = State::Closed;
        self.reader = Reader::new(self.verify_data);
        self.framer = Framer::Crc;
        self.receiving = None;
        self.missing_features = 0;
        self.output.clear();
        self.transcript_in = KVVec::new();
        self.transcript_out = KVVec::new();
    }

    /// Takes bytes up to the next thing that the caller must do. What it takes may be
    /// changed. Returns how many it took, and what to do. Call it again, also without new bytes, until it
    /// takes none and asks for nothing.
    ///
    /// # Errors
    ///
    /// A [`Fault`]: close the socket.
    pub fn feed(
        &mut self,
        crypto: &impl Crypto,
        input: &mut [u8],
    ) -> Result<(usize, Option<Action>), Fault> {
        let mut taken = 0usize;
        loop {
            if self.awaits_caller() {
                return Ok((taken, None));
            }
            let rest = input.get_mut(taken..).unwrap_or_default();
            let (used, item) = self.reader.feed(crypto, rest)?;
            if !matches!(self.state, State::Open) {
                // No frame before the signatures is encrypted, so this is what was sent.
                let bytes = rest.get(..used).unwrap_or_default();
                if self.transcript_in.len() > TRANSCRIPT_MAX {
                    return Err(Fault::protocol("protocol error, endless handshake"));
                }
                self.transcript_in.extend_from_slice(bytes, GFP_KERNEL)?;
            }
            taken = taken.saturating_add(used);
            let Some(item) = item else {
                return Ok((taken, None));
            };
            if let Some(action) = self.item(crypto, item)? {
                return Ok((taken, Some(action)));
            }
        }
    }

    /// The shortest way for what mostly comes, a message that begins with `input`: takes its
    /// head, or all of it. Returns how many bytes it took, and what that was. None if it is
    /// something else, and up to [`Self::feed`].
    pub fn feed_message(&mut self, crypto: &impl Crypto, input: &[u8]) -> Option<(usize, Began)> {
        if self.state != State::Open {
            return None;
        }
        let due = self.session.in_seq.wrapping_add(1);
        let (taken, began) = self.reader.message(crypto, due, input)?;
        if began == Began::Whole {
            self.session.in_seq = due;
        } else {
            self.receiving = Some(due);
        }
        Some((taken, began))
    }

    /// As [`Self::feed`] without input: after [`Self::filled`], [`Self::data_taken`] and
    /// [`Self::body`].
    ///
    /// # Errors
    ///
    /// A [`Fault`]: close the socket.
    pub fn go_on(&mut self, crypto: &impl Crypto) -> Result<Option<Action>, Fault> {
        while self.has_item() {
            let Some(item) = self.reader.go_on(crypto)? else {
                return Ok(None);
            };
            if let Some(action) = self.item(crypto, item)? {
                return Ok(Some(action));
            }
        }
        Ok(None)
    }

    fn awaits_caller(&self) -> bool {
        matches!(
            self.state,
            State::Closed | State::Method | State::AuthMore | State::AuthDone | State::Identify
        )
    }

    /// How many bytes are missing of what is being read; 0 while the caller is to answer or
    /// to take data itself.
    pub fn wants(&self) -> usize {
        if self.awaits_caller() {
            0
        } else {
            self.reader.wants()
        }
    }

    /// Where the bytes that come next go ([`Reader::room`]); tell [`Self::filled`]. None when
    /// they are to be fed.
    #[inline]
    pub fn room(&mut self) -> Option<(&mut KVVec<u8>, usize)> {
        if self.state != State::Open {
            return None;
        }
        self.reader.room()
    }

    /// So many bytes were put where [`Self::room`] said. Then [`Self::go_on`].
    #[inline]
    pub fn filled(&mut self, len: usize) {
        self.reader.filled(len);
    }

    /// The head of the message that is being received, or of the one before, and the
    /// lengths of front, middle and data.
    #[inline]
    pub fn head(&self) -> (&MessageHead, [u32; 3]) {
        self.reader.head()
    }

    /// The segments of the message of [`Action::Message`], before anything else is read.
    #[inline]
    pub fn take_segments(&mut self) -> Segments {
        self.reader.take_segments()
    }

    /// Whether [`Self::feed`] may have something to tell without new bytes.
    pub fn has_item(&self) -> bool {
        !self.awaits_caller() && self.reader.has_item()
    }

    /// Bytes of message data that come next in the stream, for the caller to take
    /// itself and to tell [`Self::data_taken`].
    pub fn diverted(&self) -> usize {
        self.reader.diverted()
    }

    /// Whether diverted data needs a checksum.
    pub fn verifies_data(&self) -> bool {
        self.verify_data
    }

    /// The checksum of the data diverted so far; to be continued.
    pub fn data_crc(&self) -> u32 {
        self.reader.data_crc()
    }

    /// The caller took `len` bytes of data, and `crc` is the checksum so far.
    pub fn data_taken(&mut self, len: usize, crc: u32) {
        self.reader.data_taken(len, crc);
    }

    /// Answers [`Action::Head`].
    pub fn body(&mut self, body: Body) {
        self.reader.body(body);
    }

    /// Throws away what is still to come of the message that is being received.
    pub fn skip(&mut self) {
        self.reader.skip();
    }

    /// Whether the body of a message is being received.
    pub fn is_receiving(&self) -> bool {
        self.receiving.is_some()
    }

    /// Gives a message a number and makes the bytes that go before its segments;
    /// `head.seq` is kept if it is not 0 (the message was sent before). What was
    /// received so far is acknowledged on the way.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` unless open.
    pub fn message(
        &mut self,
        crypto: &impl Crypto,
        head: MessageHead,
        lens: [u32; 3],
        out: &mut FrameHead,
    ) -> Result<u64> {
        if self.state != State::Open {
            return Err(crate::errno::enotconn());
        }
        let fresh = self.session.out_seq.wrapping_add(1);
        let seq = if head.seq == 0 { fresh } else { head.seq };
        let head = MessageHead {
            seq,
            ack_seq: self.session.in_seq,
            ..head
        };
        self.framer.seal_head(crypto, &head, lens, out);
        self.session.out_seq = self.session.out_seq.max(seq);
        self.session.acked_seq = self.session.in_seq;
        Ok(seq)
    }

    /// What goes behind the segments of the message of [`Self::message`], given the checksum
    /// of its data, if it has any.
    #[inline]
    pub fn message_tail(
        &mut self,
        crypto: &impl Crypto,
        front: &[u8],
        middle: &[u8],
        data: Option<u32>,
    ) -> Option<[u8; EPILOGUE_LEN]> {
        self.framer.seal_tail(crypto, front, middle, data)
    }

    /// Whether it is time to acknowledge messages by a frame of its own. The server keeps
    /// copies until then, of a few messages at most.
    pub fn wants_ack(&self) -> bool {
        let unacknowledged = self.session.in_seq.wrapping_sub(self.session.acked_seq);
        self.state == State::Open && !self.session.lossy && unacknowledged >= ACK_AFTER
    }

    /// The message that was received last could not be taken in. It counts as not
    /// received: the server of a lossless session sends it again after the fault that
    /// has to follow, before anything else is sent.
    pub fn not_taken(&mut self) {
        self.session.in_seq = self.session.in_seq.wrapping_sub(1);
    }

    /// Acknowledges what was received so far.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn ack(&mut self, crypto: &impl Crypto) -> Result {
        if self.wants_ack() {
            let seq = self.session.in_seq;
            self.control(crypto, Tag::Ack, |e| e.u64(seq).map(|_| ()))?;
            self.session.acked_seq = seq;
        }
        Ok(())
    }

    /// Asks for a sign of life, if the session is open.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn keepalive(&mut self, crypto: &impl Crypto, now: Timespec) -> Result {
        if self.state == State::Open {
            self.control(crypto, Tag::Keepalive2, |e| e.timespec(now).map(|_| ()))?;
        }
        Ok(())
    }

    /// Bytes to send, in order, before anything else.
    pub fn take_output(&mut self) -> KVVec<u8> {
        core::mem::take(&mut self.output)
    }

    /// Whether there are bytes to send.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether messages flow.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether a session was ever established.
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
    /// ended; 0 if it did not end so. To be looked at before [`fault`](Self::fault).
    pub fn missing_features(&self) -> u64 {
        self.missing_features
    }

    /// The state as the log of the C client has it.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            State::Closed => "PREOPEN",
            State::Banner => "V2_BANNER_PREFIX",
            State::Hello => "V2_HELLO",
            State::Method | State::Auth | State::AuthMore | State::AuthDone => "V2_AUTH",
            State::Signature | State::Identify => "V2_AUTH_SIGNATURE",
            State::Connecting => "V2_SESSION_CONNECT",
            State::Reconnecting => "V2_SESSION_RECONNECT",
            State::Open => "OPEN",
        }
    }

    fn control(
        &mut self,
        crypto: &impl Crypto,
        tag: Tag,
        body: impl FnOnce(&mut Encoder) -> Result,
    ) -> Result {
        let frame = self.framer.seal_control(crypto, tag, body)?;
        self.send(&frame)
    }

    fn send(&mut self, bytes: &[u8]) -> Result {
        self.output.extend_from_slice(bytes, GFP_KERNEL)?;
        if !matches!(self.state, State::Open) {
            self.transcript_out.extend_from_slice(bytes, GFP_KERNEL)?;
        }
        Ok(())
    }

    fn item(&mut self, crypto: &impl Crypto, item: Item) -> Result<Option<Action>, Fault> {
        match item {
            Item::Banner {
                supported,
                required,
            } => {
                self.banner(crypto, supported, required)?;
                Ok(None)
            }
            Item::Control(tag) => self.frame(tag),
            Item::Head => self.begin_message(),
            Item::Complete => {
                let Some(seq) = self.receiving.take() else {
                    return Ok(None);
                };
                self.session.in_seq = seq;
                Ok(Some(Action::Message))
            }
        }
    }

    fn begin_message(&mut self) -> Result<Option<Action>, Fault> {
        if self.state != State::Open {
            return Err(Fault::protocol("protocol error, unexpected message"));
        }
        let next = self.session.in_seq.wrapping_add(1);
        let seq = self.reader.head().0.seq;
        if seq == next {
            self.receiving = Some(seq);
            if self.reader.is_asked_for() {
                return Ok(Some(Action::Head));
            }
            self.reader.body(Body::Collect);
            return Ok(None);
        }
        if seq > next {
            return Err(Fault::protocol(
                "bad message sequence # for incoming message",
            ));
        }
        // Seen already, before the socket broke.
        self.reader.body(Body::Skip);
        Ok(None)
    }

    fn frame(&mut self, tag: Tag) -> Result<Option<Action>, Fault> {
        let d = &mut Decoder::new(self.reader.control());
        match (self.state, tag) {
            (State::Open, Tag::Keepalive2Ack) => Ok(Some(Action::KeepaliveAck(keepalive(d)?))),
            (State::Open, Tag::Ack) => Ok(Some(Action::Acked(d.u64()?))),
            _ => {
                let mut body = KVVec::new();
                body.extend_from_slice(d.rest(), GFP_KERNEL)?;
                self.handshake(tag, &mut Decoder::new(&body))
            }
        }
    }
}
