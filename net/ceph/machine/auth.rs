// SPDX-License-Identifier: GPL-2.0
//! Authentication of a client: cephx with its tickets, or none.
//!
//! ```text
//!              request()            more(challenge)             done(tickets)
//!   Idle ------------------> Opening -----------------> Proving -------------> Established
//!    ^                          |                          |                       |
//!    '------- request(): another connection to a monitor begins again -------------'
//! ```
//!
//! With authentication "none", `done` follows `Opening` directly.
//!
//! A monitor gives, in one go, the ticket for the authentication service and the
//! tickets for the services that we want. Each is valid for some time and is
//! renewed when three quarters of it are over: [`AuthClient::renewal`] makes the
//! message, [`AuthClient::renewed`] takes the answer.
//!
//! A service is convinced by an [`Authorizer`], which is made of a ticket; it
//! answers with a challenge first.
//!
//! Time is in seconds since the epoch. Cryptography is a trait, so that the order
//! of events can be tested on bytes alone.
//!
//! # Errors
//!
//! `EBADMSG`: malformed bytes. `EACCES`: not what the one who has the key would
//! send, or no ticket. `EOPNOTSUPP`: a kind of key that is not known.
//! `EPROTO`: a message that this state does not expect.
use kernel::prelude::*;

use crate::errno::{ebadmsg, eproto};
use crate::wire::auth::{self, method, Cipher, CryptoKey, KeyUsage, TicketBlob, IV};
use crate::wire::{decode::Decoder, encode::Encoder, mon, secret::Secret, types::EntityType};

/// Ciphers and random numbers.
pub trait Crypto {
    /// Encrypts whole blocks in place with AES-128-CBC.
    fn encrypt(&self, key: &[u8; 16], iv: &[u8; 16], data: &mut [u8]) -> Result;
    /// Decrypts whole blocks in place.
    fn decrypt(&self, key: &[u8; 16], iv: &[u8; 16], data: &mut [u8]) -> Result;
    /// Encrypts with aes256-cts-hmac-sha384-192 of RFC 8009: adds a random block in
    /// front and a checksum behind.
    fn krb5_encrypt(&self, key: &[u8; 32], usage: KeyUsage, plain: &[u8]) -> Result<KVVec<u8>>;
    /// Undoes that. `EACCES` if it was not made with this key for this usage.
    fn krb5_decrypt(&self, key: &[u8; 32], usage: KeyUsage, sealed: &[u8]) -> Result<Secret>;
    /// HMAC-SHA-256.
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> [u8; 32];
    /// A number that nobody can guess.
    fn random(&self) -> u64;
}

const BLOCK: usize = IV.len();
/// Says that a decrypted text is one (`CEPHX_ENC_MAGIC`).
const MAGIC: u64 = 0xff00_9cad_8826_aa55;

/// Encrypts `plain` with the header that cephx gives it and, for AES, the padding.
fn seal(crypto: &dyn Crypto, key: &CryptoKey, usage: KeyUsage, plain: &[u8]) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.u8(1)?.u64(MAGIC)?.bytes(plain)?;
    match key.cipher()? {
        Cipher::Aes(key) => {
            let padding = BLOCK.wrapping_sub(e.len() % BLOCK);
            for _ in 0..padding {
                e.u8(u8::try_from(padding).map_err(|_| EINVAL)?)?;
            }
            let mut sealed = e.into_vec();
            crypto.encrypt(key, IV, &mut sealed)?;
            Ok(sealed)
        }
        Cipher::Aes256Krb5(key) => crypto.krb5_encrypt(key, usage, e.as_slice()),
    }
}

/// Undoes [`seal`].
fn open(crypto: &dyn Crypto, key: &CryptoKey, usage: KeyUsage, sealed: &[u8]) -> Result<Secret> {
    let text = match key.cipher()? {
        Cipher::Aes(key) => open_aes(crypto, key, sealed)?,
        Cipher::Aes256Krb5(key) => crypto.krb5_decrypt(key, usage, sealed)?,
    };
    let mut d = Decoder::new(text.as_slice());
    if d.u8().and_then(|_| d.u64()).map_err(|_| EACCES)? != MAGIC {
        return Err(EACCES);
    }
    let plain = Secret::new(d.rest())?;
    Ok(plain)
}

/// Decrypts with AES and takes the padding away.
fn open_aes(crypto: &dyn Crypto, key: &[u8; 16], sealed: &[u8]) -> Result<Secret> {
    if sealed.is_empty() || sealed.len() % BLOCK != 0 {
        return Err(ebadmsg());
    }
    let mut text = Secret::new(sealed)?;
    crypto.decrypt(key, IV, text.as_mut_slice())?;
    let padding = usize::from(*text.as_slice().last().ok_or_else(ebadmsg)?);
    if padding == 0 || padding > BLOCK {
        return Err(EACCES);
    }
    text.truncate(sealed.len().checked_sub(padding).ok_or(EACCES)?);
    Ok(text)
}

/// The keys of a connection that was authenticated.
#[derive(Debug, Default)]
pub struct ConnectionKeys {
    /// Signs what was said before (msgr2's AUTH_SIGNATURE); empty: nothing is signed.
    pub session: Secret,
    /// For secure mode.
    pub connection: Secret,
}

/// The right to use one service until it expires.
struct Ticket {
    service: u32,
    key: CryptoKey,
    blob: TicketBlob,
    renew_after: u64,
    expires: u64,
    /// A service did not take it.
    refused: bool,
}

impl Ticket {
    fn is_valid(&self, now: u64) -> bool {
        !self.refused && now < self.expires
    }

    fn is_fresh(&self, now: u64) -> bool {
        self.is_valid(now) && now < self.renew_after
    }
}

/// Where the handshake with a monitor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Opening,
    Proving,
    Established,
}

/// cephx: the client's key and what it got for it.
struct CephX {
    key: CryptoKey,
    tickets: KVec<Ticket>,
    server_challenge: u64,
}

enum Protocol {
    None,
    CephX(CephX),
}

/// How authentication by messages goes on.
#[derive(Debug)]
pub enum Step {
    /// Send this front of an `AUTH` message.
    Send(KVVec<u8>),
    /// The monitor knows us.
    Done,
}

/// Who the client is and what it may use.
pub struct AuthClient {
    name: KVec<u8>,
    global_id: u64,
    /// Services that tickets are wanted for, a bit each, without `AUTH`.
    want: u32,
    state: State,
    protocol: Protocol,
}

const AUTH: u32 = EntityType::AUTH.0 as u32;

impl AuthClient {
    /// Starts with no ticket; without a key, with authentication "none".
    ///
    /// # Errors
    ///
    /// * `EOPNOTSUPP` - a kind of key that is not known.
    /// * `EBADMSG` - a key whose length is not that of its kind.
    /// * `ENOMEM`
    pub fn new(name: &[u8], key: Option<CryptoKey>, services: &[EntityType]) -> Result<Self> {
        let mut copy = KVec::new();
        copy.extend_from_slice(name, GFP_KERNEL)?;
        let protocol = match key {
            Some(key) => {
                key.cipher()?;
                Protocol::CephX(CephX {
                    key,
                    tickets: KVec::new(),
                    server_challenge: 0,
                })
            }
            None => Protocol::None,
        };
        Ok(Self {
            name: copy,
            global_id: 0,
            want: services.iter().fold(0, |all, s| all | u32::from(s.0)),
            state: State::Idle,
            protocol,
        })
    }

    /// The method, as its number on the wire.
    pub fn method(&self) -> u32 {
        match self.protocol {
            Protocol::None => method::NONE,
            Protocol::CephX(_) => method::CEPHX,
        }
    }

    /// Name of the entity, without its kind.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The number that the monitors gave this client; 0 before.
    pub fn global_id(&self) -> u64 {
        self.global_id
    }

    /// Whether a monitor knows us and every ticket is there and valid.
    pub fn is_authenticated(&self, now: u64) -> bool {
        match &self.protocol {
            Protocol::None => self.state == State::Established,
            Protocol::CephX(x) => x.missing(self.want | AUTH, |t| t.is_valid(now)) == 0,
        }
    }

    /// Begins a handshake with a monitor: the payload of the authentication
    /// request. Tickets that are there stay valid for the services.
    pub fn request(&mut self) -> Result<KVVec<u8>> {
        self.state = State::Opening;
        auth::mon_hello(&self.name, self.global_id)
    }

    /// The connection to the monitor is gone.
    pub fn reset(&mut self) {
        self.state = State::Idle;
    }

    /// A monitor refuses us. Returns whether that may be for the ticket that it was shown,
    /// and the next attempt shows none: one that has outlived its service's secret is of no
    /// use for getting another, nor is the number that it proves. Else it is the key.
    pub fn refused(&mut self) -> bool {
        match &mut self.protocol {
            Protocol::CephX(x) if x.ticket(AUTH).is_some() => {
                x.tickets.clear();
                self.global_id = 0;
                true
            }
            _ => false,
        }
    }

    /// As [`Self::request`] for msgr1: the front of the first of the `AUTH` messages.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn request_by_message(&mut self) -> Result<KVVec<u8>> {
        self.state = State::Opening;
        auth::first_message(&self.name, self.global_id, self.method())
    }

    /// Takes the front of an `AUTH_REPLY` to these.
    ///
    /// # Errors
    ///
    /// The monitor's, `EBADMSG`, `EACCES`, `EPROTO`, `ENOMEM`: this attempt has failed.
    pub fn reply_by_message(
        &mut self,
        crypto: &dyn Crypto,
        now: u64,
        front: &[u8],
    ) -> Result<Step> {
        let reply = mon::AuthReply::decode(front)?;
        if reply.result < 0 {
            return Err(refusal(reply.result));
        }
        let method = self.method();
        if reply.method != method {
            return Err(EACCES);
        }
        if method == method::CEPHX && self.state == State::Opening {
            let answer = self.more(crypto, reply.payload)?;
            return mon::auth(method, &answer).map(Step::Send);
        }
        self.done(crypto, now, reply.global_id, reply.payload)?;
        Ok(Step::Done)
    }

    /// Whether a handshake is under way.
    pub fn is_proving(&self) -> bool {
        matches!(self.state, State::Opening | State::Proving)
    }

    /// Takes the monitor's challenge and answers it.
    pub fn more(&mut self, crypto: &dyn Crypto, payload: &[u8]) -> Result<KVVec<u8>> {
        let Protocol::CephX(x) = &mut self.protocol else {
            return Err(eproto());
        };
        if self.state != State::Opening {
            return Err(eproto());
        }
        x.server_challenge = auth::server_challenge(payload)?;
        self.state = State::Proving;
        x.authenticate(crypto, self.want)
    }

    /// Takes the end of the handshake: our global id, the tickets, and the keys of
    /// the connection.
    pub fn done(
        &mut self,
        crypto: &dyn Crypto,
        now: u64,
        global_id: u64,
        payload: &[u8],
    ) -> Result<ConnectionKeys> {
        let keys = self.take_end(crypto, now, payload).inspect_err(|_| {
            // A monitor that is shown a ticket expects its number with it: both or none.
            match &mut self.protocol {
                Protocol::CephX(x) if self.global_id != global_id => x.tickets.clear(),
                _ => {}
            }
        })?;
        self.global_id = global_id;
        self.state = State::Established;
        Ok(keys)
    }

    fn take_end(
        &mut self,
        crypto: &dyn Crypto,
        now: u64,
        payload: &[u8],
    ) -> Result<ConnectionKeys> {
        let x = match &mut self.protocol {
            Protocol::None if self.state == State::Opening => return Ok(ConnectionKeys::default()),
            Protocol::CephX(x) if self.state == State::Proving => x,
            _ => return Err(eproto()),
        };
        let mut d = Decoder::new(payload);
        match auth::reply_header(&mut d)? {
            (auth::GET_AUTH_SESSION_KEY, 0) => {}
            (auth::GET_AUTH_SESSION_KEY, error) => return Err(refusal(error)),
            _ => return Err(eproto()),
        }
        let keys = x.session_reply(crypto, now, self.want, &mut d)?;
        match x.missing(self.want | AUTH, |t| t.is_valid(now)) {
            0 => Ok(keys),
            _ => Err(EACCES),
        }
    }

    /// The front of an `AUTH` message that renews what has to be renewed; none if
    /// nothing has to.
    pub fn renewal(&mut self, crypto: &dyn Crypto, now: u64) -> Result<Option<KVVec<u8>>> {
        let Protocol::CephX(x) = &self.protocol else {
            return Ok(None);
        };
        let need = x.missing(self.want | AUTH, |t| t.is_fresh(now));
        if self.state != State::Established || need == 0 {
            return Ok(None);
        }
        let request = match x.ticket(AUTH) {
            Some(ticket) if need & AUTH == 0 => {
                let authorizer = Authorizer::new(crypto, ticket, self.global_id)?;
                auth::service_tickets(&authorizer.request(crypto)?, need)?
            }
            _ => x.authenticate(crypto, self.want)?,
        };
        mon::auth(method::CEPHX, &request).map(Some)
    }

    /// Takes the front of an `AUTH_REPLY`; gives the front of another `AUTH`
    /// message if something is still missing.
    pub fn renewed(
        &mut self,
        crypto: &dyn Crypto,
        now: u64,
        front: &[u8],
    ) -> Result<Option<KVVec<u8>>> {
        let reply = mon::AuthReply::decode(front)?;
        if reply.result < 0 {
            return Err(refusal(reply.result));
        }
        let Protocol::CephX(x) = &mut self.protocol else {
            return Ok(None);
        };
        let before = x.missing(self.want | AUTH, |t| t.is_fresh(now));
        let mut d = Decoder::new(reply.payload);
        match auth::reply_header(&mut d)? {
            (_, error) if error != 0 => return Err(refusal(error)),
            (auth::GET_AUTH_SESSION_KEY, _) => {
                x.session_reply(crypto, now, self.want, &mut d)?;
            }
            (auth::GET_PRINCIPAL_SESSION_KEY, _) => {
                let key = x.ticket(AUTH).ok_or(EACCES)?.key.try_clone()?;
                x.take_tickets(crypto, now, self.want, &key, &mut d)?;
            }
            _ => return Err(eproto()),
        }
        // An answer that brought nothing must not make us ask for ever.
        if x.missing(self.want | AUTH, |t| t.is_fresh(now)) == before {
            return Ok(None);
        }
        self.renewal(crypto, now)
    }

    /// What to show to a service.
    ///
    /// # Errors
    ///
    /// `EACCES` if there is no ticket for it.
    pub fn authorizer(&self, crypto: &dyn Crypto, service: EntityType) -> Result<Authorizer> {
        match &self.protocol {
            Protocol::None => Ok(Authorizer(Proof::None(auth::none_authorizer(
                &self.name,
                self.global_id,
            )?))),
            Protocol::CephX(x) => Authorizer::new(
                crypto,
                x.ticket(u32::from(service.0)).ok_or(EACCES)?,
                self.global_id,
            ),
        }
    }

    /// A service did not take our ticket: it and the ticket that gets a new one
    /// are to be renewed.
    pub fn invalidate(&mut self, service: EntityType) {
        if let Protocol::CephX(x) = &mut self.protocol {
            for ticket in &mut x.tickets {
                if ticket.service == AUTH || ticket.service == u32::from(service.0) {
                    ticket.refused = true;
                }
            }
        }
    }
}

/// The error of a peer that says no.
fn refusal(result: i32) -> Error {
    match result {
        -511..=-1 => Error::from_errno(result),
        _ => EACCES,
    }
}

impl CephX {
    fn ticket(&self, service: u32) -> Option<&Ticket> {
        self.tickets.iter().find(|t| t.service == service)
    }

    /// Those of `services` for which no ticket is `good`.
    fn missing(&self, services: u32, good: impl Fn(&Ticket) -> bool) -> u32 {
        self.tickets
            .iter()
            .filter(|t| good(t))
            .fold(services, |missing, t| missing & !t.service)
    }

    /// Proves that we know the key: both challenges, encrypted (AES) or signed, folded
    /// into a word.
    fn authenticate(&self, crypto: &dyn Crypto, want: u32) -> Result<KVVec<u8>> {
        let client_challenge = crypto.random();
        let mut e = Encoder::new();
        e.u64(self.server_challenge)?.u64(client_challenge)?;
        let mut folded = Encoder::new();
        match self.key.cipher()? {
            // As it is on the wire: the length goes into the fold too.
            Cipher::Aes(_) => {
                // An AES key knows no usage.
                let usage = KeyUsage::Authorize;
                folded.blob(&seal(crypto, &self.key, usage, e.as_slice())?)?
            }
            Cipher::Aes256Krb5(key) => folded.bytes(&crypto.hmac_sha256(key, e.as_slice()))?,
        };
        let mut d = Decoder::new(folded.as_slice());
        let mut proof = 0;
        while let Ok(word) = d.u64() {
            proof ^= word;
        }
        let none = TicketBlob::default();
        let old = self.ticket(AUTH).map_or(&none, |t| &t.blob);
        auth::authenticate(client_challenge, proof, old, want)
    }

    /// The ticket for the authentication service, encrypted for our key, then the
    /// secret of the connection and the other tickets, encrypted for the new key.
    fn session_reply(
        &mut self,
        crypto: &dyn Crypto,
        now: u64,
        want: u32,
        d: &mut Decoder<'_>,
    ) -> Result<ConnectionKeys> {
        let key = self.key.try_clone()?;
        self.take_tickets(crypto, now, want, &key, d)?;
        let session = self.ticket(AUTH).ok_or(EACCES)?.key.try_clone()?;
        let mut keys = ConnectionKeys {
            session: session.secret.try_clone()?,
            connection: Secret::default(),
        };
        let mut blob = d.blob_decoder()?;
        if !blob.is_empty() {
            let plain = open(
                crypto,
                &session,
                KeyUsage::AuthConnectionSecret,
                blob.blob()?,
            )?;
            keys.connection = auth::connection_secret(&mut Decoder::new(plain.as_slice()))?;
        }
        let mut blob = d.blob_decoder()?;
        if !blob.is_empty() {
            self.take_tickets(crypto, now, want, &session, &mut blob)?;
        }
        Ok(keys)
    }

    /// Decrypts tickets with `key` and keeps those that are wanted.
    fn take_tickets(
        &mut self,
        crypto: &dyn Crypto,
        now: u64,
        want: u32,
        key: &CryptoKey,
        d: &mut Decoder<'_>,
    ) -> Result {
        for reply in auth::ticket_replies(d)? {
            let service = reply.service;
            if !service.is_power_of_two() || (want | AUTH) & service == 0 {
                continue;
            }
            let plain = open(crypto, key, KeyUsage::TicketSessionKey, reply.session)?;
            let (session_key, validity) = auth::service_ticket(plain.as_slice())?;
            session_key.cipher()?;
            let blob = if reply.ticket_is_encrypted {
                let old = &self.ticket(service).ok_or(EACCES)?.key;
                let plain = open(crypto, old, KeyUsage::TicketBlob, reply.ticket)?;
                let mut d = Decoder::new(plain.as_slice());
                TicketBlob::decode(&mut d.blob_decoder()?)?
            } else {
                TicketBlob::decode(&mut Decoder::new(reply.ticket))?
            };
            let expires = now.saturating_add(u64::from(validity));
            let ticket = Ticket {
                service,
                key: session_key,
                blob,
                expires,
                renew_after: expires.saturating_sub(u64::from(validity / 4)),
                refused: false,
            };
            match self.tickets.iter_mut().find(|t| t.service == service) {
                Some(place) => *place = ticket,
                None => self.tickets.push(ticket, GFP_KERNEL)?,
            }
        }
        Ok(())
    }
}

enum Proof {
    None(KVVec<u8>),
    CephX {
        service: EntityType,
        global_id: u64,
        key: CryptoKey,
        blob: TicketBlob,
        nonce: u64,
    },
}

/// Convinces one service over one connection that we may use it, and us that it is
/// the service: [`Authorizer::request`], then [`Authorizer::challenge`], then
/// [`Authorizer::verify`].
pub struct Authorizer(Proof);

impl Authorizer {
    fn new(crypto: &dyn Crypto, ticket: &Ticket, global_id: u64) -> Result<Self> {
        Ok(Self(Proof::CephX {
            service: EntityType(u8::try_from(ticket.service).map_err(|_| EINVAL)?),
            global_id,
            key: ticket.key.try_clone()?,
            blob: ticket.blob.try_clone()?,
            nonce: crypto.random(),
        }))
    }

    fn build(&self, crypto: &dyn Crypto, challenge: Option<u64>) -> Result<KVVec<u8>> {
        match &self.0 {
            Proof::None(_) => Err(eproto()),
            Proof::CephX {
                service,
                global_id,
                key,
                blob,
                nonce,
            } => {
                let plain = auth::authorize(*nonce, challenge)?;
                let sealed = seal(crypto, key, KeyUsage::Authorize, &plain)?;
                auth::authorizer(*global_id, *service, blob, &sealed)
            }
        }
    }

    /// What opens the handshake.
    pub fn request(&self, crypto: &dyn Crypto) -> Result<KVVec<u8>> {
        match &self.0 {
            Proof::None(bytes) => {
                let mut copy = KVVec::with_capacity(bytes.len(), GFP_KERNEL)?;
                copy.extend_from_slice(bytes, GFP_KERNEL)?;
                Ok(copy)
            }
            Proof::CephX { .. } => self.build(crypto, None),
        }
    }

    /// Answers the challenge of the service.
    pub fn challenge(&self, crypto: &dyn Crypto, payload: &[u8]) -> Result<KVVec<u8>> {
        let Proof::CephX { key, .. } = &self.0 else {
            return Err(eproto());
        };
        let plain = open(crypto, key, KeyUsage::AuthorizeChallenge, payload)?;
        self.build(crypto, Some(auth::authorize_challenge(plain.as_slice())?))
    }

    /// Checks that the service could read our ticket.
    ///
    /// # Errors
    ///
    /// `EACCES` if it could not.
    pub fn verify(&self, crypto: &dyn Crypto, payload: &[u8]) -> Result<ConnectionKeys> {
        let Proof::CephX { key, nonce, .. } = &self.0 else {
            return Ok(ConnectionKeys::default());
        };
        let sealed = Decoder::new(payload).blob()?;
        let plain = open(crypto, key, KeyUsage::AuthorizeReply, sealed)?;
        let (nonce_plus_one, connection) = auth::authorize_reply(plain.as_slice())?;
        if nonce_plus_one != nonce.wrapping_add(1) {
            return Err(EACCES);
        }
        Ok(ConnectionKeys {
            session: key.secret.try_clone()?,
            connection,
        })
    }
}

#[cfg(any(test, CONFIG_KUNIT))]
#[path = "../machine/auth_test.rs"]
mod test;
