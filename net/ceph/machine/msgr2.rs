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
//! Bytes to send gather in [`Machine::take_output`]. Segments of messages go past
//! the machine in that direction, diverted data in the other.
use kernel::prelude::*;

pub use super::msgr2_reader::{Body, Fault, Segments};
use super::msgr2_reader::{Item, Reader};
use crate::errno::{eaddrnotavail, eprotonosupport};
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::msgr2::{
    banner, client_addr, control_frame, keepalive, message_head, msgr2_addr, AuthBadMethod,
    AuthDone, AuthRequest, ClientIdent, Crypto, Hello, MessageHead, ServerIdent, SessionReconnect,
    Tag, FEATURE_REVISION_1, IDENT_LOSSY, SIGNATURE_LEN,
};
use crate::wire::types::{EntityAddr, EntityName, EntityType, Timespec};

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
    /// A message begins; answer with [`Machine::body`]. Messages up to
    /// `head.ack_seq` have arrived at the server.
    Head(MessageHead, [u32; 3]),
    /// The message whose head came last is complete.
    Message(Segments),
    /// Messages up to this have arrived at the server.
    Acked(u64),
    /// The server answers the keepalive of this time.
    KeepaliveAck(Timespec),
}

/// Who the client is, for CLIENT_IDENT and SESSION_RECONNECT.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The client's address.
    pub addr: EntityAddr,
    /// The client's number.
    pub global_id: u64,
    /// Number of this attempt among all of the client's.
    pub global_seq: u64,
    /// A random number, not 0: name of a session that begins.
    pub cookie: u64,
    /// Features that the client knows.
    pub supported: u64,
    /// Features that the client needs.
    pub required: u64,
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

/// See the module.
#[derive(Debug)]
pub struct Machine {
    state: State,
    peer: EntityName,
    peer_addr: EntityAddr,
    reader: Reader,
    session: Session,
    /// The message being received counts when it is complete: `None` for one that
    /// came before.
    receiving: Option<u64>,
    required: u64,
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
            peer,
            peer_addr,
            reader: Reader::new(verify_data),
            session: Session::default(),
            receiving: None,
            required: 0,
            output: KVVec::new(),
            transcript_in: KVVec::new(),
            transcript_out: KVVec::new(),
            expected_signature: [0; SIGNATURE_LEN],
            verify_data,
        }
    }

    /// The socket is connected.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn connected(&mut self) -> Result {
        self.fault();
        if self.session.server_cookie != 0 {
            self.session.connect_seq = self.session.connect_seq.wrapping_add(1);
        }
        self.send(&banner(FEATURE_REVISION_1, FEATURE_REVISION_1)?)?;
        self.state = State::Banner;
        Ok(())
    }

    /// The socket is gone. Unless the session was lossy, it can be taken up again.
    pub fn fault(&mut self) {
        self.state = State::Closed;
        self.reader = Reader::new(self.verify_data);
        self.receiving = None;
        self.output.clear();
        self.transcript_in = KVVec::new();
        self.transcript_out = KVVec::new();
    }

    /// Takes bytes up to the next thing that the caller must do. Returns how many
    /// it took, and what to do. Call it again, also without new bytes, until it
    /// takes none and asks for nothing.
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
            if self.awaits_caller() {
                return Ok((taken, None));
            }
            let rest = input.get(taken..).unwrap_or_default();
            let (used, item) = self.reader.feed(crypto, rest)?;
            if !matches!(self.state, State::Open) {
                let bytes = rest.get(..used).unwrap_or_default();
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

    fn awaits_caller(&self) -> bool {
        matches!(
            self.state,
            State::Closed | State::Method | State::AuthMore | State::AuthDone | State::Identify
        )
    }

    /// How many bytes [`Self::feed`] takes without leaving any; 0 while the caller
    /// is to answer or to take data itself.
    pub fn wants(&self) -> usize {
        if self.awaits_caller() {
            0
        } else {
            self.reader.wants()
        }
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

    /// Answers [`Action::Hello`] and [`Action::BadMethod`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`, [`E2BIG`].
    pub fn auth_request(&mut self, crypto: &impl Crypto, request: &AuthRequest) -> Result {
        if self.state == State::Method {
            self.control(crypto, Tag::AuthRequest, |e| request.encode(e))?;
            self.state = State::Auth;
        }
        Ok(())
    }

    /// Answers [`Action::AuthMore`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`, [`E2BIG`].
    pub fn auth_more(&mut self, crypto: &impl Crypto, payload: &[u8]) -> Result {
        if self.state == State::AuthMore {
            self.control(crypto, Tag::AuthRequestMore, |e| {
                e.blob(payload).map(|_| ())
            })?;
            self.state = State::Auth;
        }
        Ok(())
    }

    /// Answers [`Action::AuthDone`]; `key` signs the handshake, and is empty if the
    /// method has no keys.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn auth_done(&mut self, crypto: &impl Crypto, key: &[u8]) -> Result {
        if self.state != State::AuthDone {
            return Ok(());
        }
        let mut ours = [0; SIGNATURE_LEN];
        self.expected_signature = ours;
        if !key.is_empty() {
            ours = crypto.hmac_sha256(key, &[&self.transcript_in])?;
            self.expected_signature = crypto.hmac_sha256(key, &[&self.transcript_out])?;
        }
        self.control(crypto, Tag::AuthSignature, |e| e.bytes(&ours).map(|_| ()))?;
        self.state = State::Signature;
        Ok(())
    }

    /// Answers [`Action::Identify`], [`Action::RetryGlobal`] and
    /// [`Action::PeerReset`].
    ///
    /// # Errors
    ///
    /// `EADDRNOTAVAIL` if the address is blank, `ENOMEM`.
    pub fn identify(&mut self, crypto: &impl Crypto, identity: &Identity) -> Result {
        if self.state != State::Identify {
            return Ok(());
        }
        if identity.addr.is_blank() {
            return Err(eaddrnotavail());
        }
        let addr = client_addr(identity.addr);
        let session = self.session;
        if session.server_cookie != 0 {
            let reconnect = SessionReconnect {
                addr,
                client_cookie: session.client_cookie,
                server_cookie: session.server_cookie,
                global_seq: identity.global_seq,
                connect_seq: session.connect_seq,
                in_seq: session.in_seq,
            };
            self.control(crypto, Tag::SessionReconnect, |e| reconnect.encode(e))?;
            self.state = State::Reconnecting;
            return Ok(());
        }
        if session.client_cookie == 0 {
            self.session.client_cookie = identity.cookie;
        }
        self.required = identity.required;
        let ident = ClientIdent {
            addr,
            target: self.peer_addr,
            global_id: identity.global_id,
            global_seq: identity.global_seq,
            supported: identity.supported,
            required: identity.required,
            flags: 0,
            cookie: self.session.client_cookie,
        };
        self.control(crypto, Tag::ClientIdent, |e| ident.encode(e))?;
        self.state = State::Connecting;
        Ok(())
    }

    /// Gives a message a number and makes the bytes that go before its segments;
    /// `head.seq` is kept if it is not 0 (the message was sent before). What was
    /// received so far is acknowledged on the way.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` unless open, `ENOMEM`.
    pub fn message(
        &mut self,
        crypto: &impl Crypto,
        head: MessageHead,
        lens: [u32; 3],
    ) -> Result<(u64, KVVec<u8>)> {
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
        let bytes = message_head(crypto, &head, lens)?;
        self.session.out_seq = self.session.out_seq.max(seq);
        self.session.acked_seq = self.session.in_seq;
        Ok((seq, bytes))
    }

    /// Whether there are messages that the server would like to be acknowledged.
    pub fn wants_ack(&self) -> bool {
        self.state == State::Open
            && !self.session.lossy
            && self.session.in_seq != self.session.acked_seq
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
        let frame = control_frame(crypto, tag, body)?;
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
                if supported & FEATURE_REVISION_1 == 0 || required & !FEATURE_REVISION_1 != 0 {
                    return Err(Fault {
                        error: eprotonosupport(),
                        why: "missing required protocol features",
                    });
                }
                let hello = Hello {
                    entity: EntityType::CLIENT,
                    peer_addr: self.peer_addr,
                };
                self.control(crypto, Tag::Hello, |e| hello.encode(e))?;
                self.state = State::Hello;
                Ok(None)
            }
            Item::Control(tag, body) => self.frame(tag, &body),
            Item::Head(head, lens) => self.head(head, lens),
            Item::Complete(segments) => {
                let Some(seq) = self.receiving.take() else {
                    return Ok(None);
                };
                self.session.in_seq = seq;
                Ok(Some(Action::Message(segments)))
            }
        }
    }

    fn head(&mut self, head: MessageHead, lens: [u32; 3]) -> Result<Option<Action>, Fault> {
        if self.state != State::Open {
            return Err(Fault::protocol("protocol error, unexpected message"));
        }
        let next = self.session.in_seq.wrapping_add(1);
        if head.seq == next {
            self.receiving = Some(head.seq);
            return Ok(Some(Action::Head(head, lens)));
        }
        if head.seq > next {
            return Err(Fault::protocol(
                "bad message sequence # for incoming message",
            ));
        }
        // Seen already, before the socket broke.
        self.reader.body(Body::Skip);
        Ok(None)
    }

    fn frame(&mut self, tag: Tag, body: &[u8]) -> Result<Option<Action>, Fault> {
        let d = &mut Decoder::new(body);
        match (self.state, tag) {
            (State::Hello, Tag::Hello) => {
                let hello = Hello::decode(d)?;
                if hello.entity != self.peer.kind {
                    return Err(Fault::protocol("wrong peer at address"));
                }
                self.state = State::Method;
                Ok(Some(Action::Hello(hello.peer_addr)))
            }
            (State::Auth, Tag::AuthBadMethod) => {
                let bad = AuthBadMethod::decode(d)?;
                self.state = State::Method;
                Ok(Some(Action::BadMethod(bad)))
            }
            (State::Auth, Tag::AuthReplyMore) => {
                let payload = copy(d.blob()?)?;
                self.state = State::AuthMore;
                Ok(Some(Action::AuthMore(payload)))
            }
            (State::Auth, Tag::AuthDone) => {
                let done = AuthDone::decode(d)?;
                self.state = State::AuthDone;
                Ok(Some(Action::AuthDone {
                    global_id: done.global_id,
                    con_mode: done.con_mode,
                    payload: copy(done.payload)?,
                }))
            }
            (State::Signature, Tag::AuthSignature) => {
                let signature: [u8; SIGNATURE_LEN] = d.array()?;
                if !equal(&signature, &self.expected_signature) {
                    return Err(Fault::integrity("integrity error, bad auth signature"));
                }
                self.transcript_in = KVVec::new();
                self.transcript_out = KVVec::new();
                self.state = State::Identify;
                Ok(Some(Action::Identify))
            }
            (State::Connecting, Tag::ServerIdent) => self.server_ident(ServerIdent::decode(d)?),
            (State::Connecting, Tag::IdentMissingFeatures) => Err(Fault {
                error: eprotonosupport(),
                why: "missing required protocol features",
            }),
            (State::Reconnecting, Tag::SessionReconnectOk) => {
                let received = d.u64()?;
                self.state = State::Open;
                self.opened();
                Ok(Some(Action::Established { received }))
            }
            (State::Reconnecting, Tag::SessionRetry) => {
                self.session.connect_seq = d.u64()?.wrapping_add(1);
                self.state = State::Identify;
                Ok(Some(Action::Identify))
            }
            (State::Reconnecting, Tag::SessionRetryGlobal) => {
                let above = d.u64()?;
                self.state = State::Identify;
                Ok(Some(Action::RetryGlobal(above)))
            }
            (State::Reconnecting, Tag::SessionReset) => {
                if !d.bool()? {
                    return Err(Fault::protocol("protocol error, bad session_reset"));
                }
                self.session = Session::default();
                self.state = State::Identify;
                Ok(Some(Action::PeerReset))
            }
            (State::Open, Tag::Keepalive2Ack) => Ok(Some(Action::KeepaliveAck(keepalive(d)?))),
            (State::Open, Tag::Ack) => Ok(Some(Action::Acked(d.u64()?))),
            _ => Err(Fault::protocol(unexpected(tag))),
        }
    }

    fn server_ident(&mut self, ident: ServerIdent) -> Result<Option<Action>, Fault> {
        let addr = msgr2_addr(&ident.addrs);
        if !addr.is_some_and(|addr| same_addr(&addr, &self.peer_addr)) {
            return Err(Fault::protocol("wrong peer at address"));
        }
        if self.required & !ident.supported != 0 {
            return Err(Fault {
                error: eprotonosupport(),
                why: "missing required protocol features",
            });
        }
        self.session.peer_features = ident.supported;
        self.session.lossy = ident.flags & IDENT_LOSSY != 0;
        self.session.server_cookie = if self.session.lossy { 0 } else { ident.cookie };
        self.state = State::Open;
        self.opened();
        Ok(Some(Action::Established { received: 0 }))
    }

    fn opened(&mut self) {
        self.session.established = true;
        self.transcript_in = KVVec::new();
        self.transcript_out = KVVec::new();
    }
}

fn unexpected(tag: Tag) -> &'static str {
    match tag {
        Tag::Hello => "protocol error, unexpected hello",
        Tag::AuthBadMethod => "protocol error, unexpected auth_bad_method",
        Tag::AuthReplyMore => "protocol error, unexpected auth_reply_more",
        Tag::AuthDone => "protocol error, unexpected auth_done",
        Tag::AuthSignature => "protocol error, unexpected auth_signature",
        Tag::ServerIdent => "protocol error, unexpected server_ident",
        Tag::IdentMissingFeatures => "protocol error, unexpected ident_missing_features",
        Tag::SessionReconnectOk => "protocol error, unexpected session_reconnect_ok",
        Tag::SessionRetry => "protocol error, unexpected session_retry",
        Tag::SessionRetryGlobal => "protocol error, unexpected session_retry_global",
        Tag::SessionReset => "protocol error, unexpected session_reset",
        Tag::Keepalive2Ack => "protocol error, unexpected keepalive2_ack",
        Tag::Ack => "protocol error, unexpected ack",
        _ => "protocol error, bad tag",
    }
}

fn copy(bytes: &[u8]) -> Result<KVVec<u8>> {
    let mut copy = KVVec::new();
    copy.extend_from_slice(bytes, GFP_KERNEL)?;
    Ok(copy)
}

/// Compares in a time that does not depend on where they differ.
fn equal(a: &[u8; SIGNATURE_LEN], b: &[u8; SIGNATURE_LEN]) -> bool {
    a.iter().zip(b).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

/// Whether both name the same life of the same daemon.
fn same_addr(a: &EntityAddr, b: &EntityAddr) -> bool {
    let place = |addr: &EntityAddr| addr.sock.map(|sock| (sock.ip(), sock.port()));
    a.kind == b.kind && a.nonce == b.nonce && place(a) == place(b)
}
