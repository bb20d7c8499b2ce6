// SPDX-License-Identifier: GPL-2.0
//! The handshake of a msgr2.1 session, which [`Machine`] draws: from the banner to the
//! idents, or to taking up a session again.
use kernel::prelude::*;

use super::{Action, Fault, Framer, Machine, Session, State};
use crate::errno::eaddrnotavail;
use crate::wire::decode::Decoder;
use crate::wire::msgr2::{
    client_addr, msgr2_addr, AuthBadMethod, AuthDone, AuthRequest, ClientIdent, Crypto, Hello,
    ServerIdent, SessionReconnect, Tag, FEATURE_REVISION_1, IDENT_LOSSY, SIGNATURE_LEN,
};
use crate::wire::types::{EntityAddr, EntityType};

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

/// What the caller answers.
impl Machine {
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
    /// method has no keys. From here on, frames are protected as the mode of AUTH_DONE says.
    ///
    /// # Errors
    ///
    /// `EPROTONOSUPPORT` if that mode is not known, `ENOMEM`.
    pub fn auth_done(&mut self, crypto: &impl Crypto, key: &[u8]) -> Result<(), Fault> {
        if self.state != State::AuthDone {
            return Ok(());
        }
        let mut ours = [0; SIGNATURE_LEN];
        self.expected_signature = ours;
        if !key.is_empty() {
            ours = crypto.hmac_sha256(key, &[&self.transcript_in])?;
            self.expected_signature = crypto.hmac_sha256(key, &[&self.transcript_out])?;
        }
        let (incoming, outgoing) = Framer::of_mode(self.con_mode)?;
        self.reader.set_framer(incoming);
        self.framer = outgoing;
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
}

/// What the server says.
impl Machine {
    pub(super) fn banner(
        &mut self,
        crypto: &impl Crypto,
        supported: u64,
        required: u64,
    ) -> Result<(), Fault> {
        if supported & FEATURE_REVISION_1 == 0 || required & !FEATURE_REVISION_1 != 0 {
            return Err(Fault::missing_features());
        }
        let hello = Hello {
            entity: EntityType::CLIENT,
            peer_addr: self.peer_addr,
        };
        self.control(crypto, Tag::Hello, |e| hello.encode(e))?;
        self.state = State::Hello;
        Ok(())
    }

    /// A frame that is not of an open session.
    pub(super) fn handshake(
        &mut self,
        tag: Tag,
        d: &mut Decoder<'_>,
    ) -> Result<Option<Action>, Fault> {
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
                self.con_mode = done.con_mode;
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
            (State::Connecting, Tag::IdentMissingFeatures) => {
                self.missing_features = d.u64()?;
                Err(Fault::missing_features())
            }
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
            _ => Err(Fault::protocol(unexpected(tag))),
        }
    }

    fn server_ident(&mut self, ident: ServerIdent) -> Result<Option<Action>, Fault> {
        let addr = msgr2_addr(&ident.addrs);
        if !addr.is_some_and(|addr| same_addr(&addr, &self.peer_addr)) {
            return Err(Fault::protocol("wrong peer at address"));
        }
        if self.required & !ident.supported != 0 {
            return Err(Fault::missing_features());
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
        self.deadline = None;
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

#[kunit_tests(ceph_machine_msgr2_handshake)]
mod tests {
    use super::*;
    use crate::wire::msgr2::{banner, control_frame};
    use crate::wire::types::{AddrType, EntityName};

    struct Nothing;

    impl Crypto for Nothing {
        fn crc32c(&self, _: u32, _: &[u8]) -> u32 {
            0
        }

        fn hmac_sha256(&self, _: &[u8], _: &[&[u8]]) -> Result<[u8; SIGNATURE_LEN]> {
            Ok([0; SIGNATURE_LEN])
        }
    }

    #[test]
    fn a_handshake_has_an_end() -> Result {
        let (kind, num) = (EntityType::OSD, 3);
        let mut client = Machine::new(EntityName { kind, num }, EntityAddr::BLANK, true);
        client.connected()?;
        let feed = |client: &mut Machine, bytes: &[u8]| {
            let mut copy = KVVec::new();
            copy.extend_from_slice(bytes, GFP_KERNEL)?;
            client.feed(&Nothing, &mut copy)
        };
        assert!(feed(&mut client, &banner(FEATURE_REVISION_1, 0)?).is_ok());
        let hello = Hello {
            entity: kind,
            peer_addr: EntityAddr {
                kind: AddrType::MSGR2,
                ..EntityAddr::BLANK
            },
        };
        let hello = control_frame(&Nothing, Tag::Hello, |e| hello.encode(e))?;
        assert!(matches!(
            feed(&mut client, &hello),
            Ok((_, Some(Action::Hello(_))))
        ));
        let request = AuthRequest {
            method: 2,
            modes: KVVec::new(),
            payload: KVVec::new(),
        };
        client.auth_request(&Nothing, &request)?;
        let more = control_frame(&Nothing, Tag::AuthReplyMore, |e| {
            e.blob(&[7; 2048]).map(|_| ())
        })?;
        for turn in 0..1024 {
            match feed(&mut client, &more) {
                Ok((_, Some(Action::AuthMore(_)))) => client.auth_more(&Nothing, b"answer")?,
                Err(fault) => {
                    assert!(turn > 256);
                    assert_eq!(fault.why, "protocol error, endless handshake");
                    return Ok(());
                }
                other => panic!("{other:?}"),
            }
            drop(client.take_output());
        }
        Err(EINVAL)
    }
}
