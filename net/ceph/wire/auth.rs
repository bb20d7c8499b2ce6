// SPDX-License-Identifier: GPL-2.0
//! Keys and the messages of cephx and of authentication "none"
//! (Ceph: src/auth/Crypto.cc, src/auth/cephx/CephxProtocol.h, src/auth/Auth.h).
//!
//! Only encodings; what is encrypted with which key, and when, is the business of
//! [`crate::machine::auth`].
use kernel::prelude::*;

use super::secret::Secret;
use super::{decode::Decoder, encode::Encoder, mon, types::EntityType, types::Timespec};
use crate::errno::{ebadmsg, eopnotsupp};

/// Authentication methods (`CEPH_AUTH_*`).
pub mod method {
    /// Neither side proves anything.
    pub const NONE: u32 = 1;
    /// Shared keys and tickets.
    pub const CEPHX: u32 = 2;

    /// The name that Ceph prints.
    pub const fn name(method: u32) -> &'static str {
        match method {
            0 => "unknown",
            NONE => "none",
            CEPHX => "cephx",
            4 => "gss",
            _ => "???",
        }
    }
}

/// What an authentication payload is for (`AUTH_MODE_*`); its first byte.
mod mode {
    pub(super) const AUTHORIZER: u8 = 1;
    pub(super) const MON: u8 = 10;
}

/// Kind of a key: none.
pub const KEY_NONE: u16 = 0;
/// Kind of a key: AES-128-CBC.
pub const KEY_AES: u16 = 1;
/// Kind of a key: AES256-CTS-HMAC384-192 (what Ceph 20.2 makes by default).
pub const KEY_AES256KRB5: u16 = 2;

/// Initial vector of all that is encrypted with AES (`CEPH_AES_IV`).
pub const IV: &[u8; 16] = b"cephsageyudagreg";

/// More bytes than any key has (`CEPH_MAX_KEY_LEN`).
const MAX_KEY_LEN: usize = 32;
/// More bytes than any connection secret has (`CEPH_MAX_CON_SECRET_LEN`).
const MAX_CON_SECRET_LEN: usize = 64;

/// `CryptoKey`.
#[derive(Debug, PartialEq)]
pub struct CryptoKey {
    /// `KEY_*`.
    pub kind: u16,
    /// When it was made.
    pub created: Timespec,
    /// The key itself.
    pub secret: Secret,
}

impl CryptoKey {
    /// Takes a key.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if the bytes are malformed, which a kind that is not known is not.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let kind = d.u16()?;
        let created = d.timespec()?;
        let len = usize::from(d.u16()?);
        let bytes = d.bytes(len)?;
        if len > MAX_KEY_LEN {
            return Err(ebadmsg());
        }
        Ok(Self {
            kind,
            created,
            secret: Secret::new(bytes)?,
        })
    }

    /// Reads the text form: base64 of the encoding.
    ///
    /// # Errors
    ///
    /// `EINVAL` if that is not what it is, `ENOMEM`.
    pub fn from_armor(text: &[u8]) -> Result<Self> {
        let bytes = unarmor(text)?;
        Self::from_bytes(bytes.as_slice())
    }

    /// Reads the encoding, as the mount helper hands it to the keyring.
    ///
    /// # Errors
    ///
    /// `EINVAL` if that is not what it is, `ENOMEM`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::decode(&mut Decoder::new(bytes)).map_err(|error| match error {
            ENOMEM => ENOMEM,
            _ => EINVAL,
        })
    }

    /// Copies the key.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self {
            kind: self.kind,
            created: self.created,
            secret: self.secret.try_clone()?,
        })
    }

    /// What the key encrypts with.
    ///
    /// # Errors
    ///
    /// * `EOPNOTSUPP` - a kind of key that is not known.
    /// * `EBADMSG` - its length is not that of its kind.
    pub fn cipher(&self) -> Result<Cipher<'_>> {
        let bytes = self.secret.as_slice();
        match self.kind {
            KEY_AES => bytes.try_into().map(Cipher::Aes),
            KEY_AES256KRB5 => bytes.try_into().map(Cipher::Aes256Krb5),
            _ => return Err(eopnotsupp()),
        }
        .map_err(|_| ebadmsg())
    }
}

/// A key, by its kind.
#[derive(Clone, Copy)]
pub enum Cipher<'a> {
    /// AES-128-CBC.
    Aes(&'a [u8; 16]),
    /// AES256-CTS-HMAC384-192 of RFC 8009; the usage of the key is part of it.
    Aes256Krb5(&'a [u8; 32]),
}

/// What a key of Kerberos encrypts (`CEPHX_KEY_USAGE_*`,
/// src/auth/cephx/CephxProtocol.h): a text for one usage is none for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum KeyUsage {
    /// The connection secret of a session with a monitor.
    AuthConnectionSecret = 0x03,
    /// The session key that belongs to a ticket, for the client.
    TicketSessionKey = 0x04,
    /// The ticket itself, encrypted once more for the client.
    TicketBlob = 0x05,
    /// The client's request to a service.
    Authorize = 0x10,
    /// The service's challenge.
    AuthorizeChallenge = 0x11,
    /// The service's answer, with the connection secret.
    AuthorizeReply = 0x12,
}

/// Reads base64; line feeds between groups are passed over.
fn unarmor(text: &[u8]) -> Result<Secret> {
    fn digit(c: u8) -> Result<u32> {
        Ok(u32::from(match c {
            b'A'..=b'Z' => c.wrapping_sub(b'A'),
            b'a'..=b'z' => c.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => c.wrapping_sub(b'0').wrapping_add(52),
            b'+' => 62,
            b'/' => 63,
            _ => return Err(EINVAL),
        }))
    }
    // In place of the text, in a buffer that is wiped however this ends.
    let mut out = Secret::new(text)?;
    let mut len = 0usize;
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if first == b'\n' {
            rest = after;
            continue;
        }
        let (group, after) = rest.split_first_chunk::<4>().ok_or(EINVAL)?;
        let (digits, count) = match *group {
            [a, b, b'=', b'='] => ([a, b, b'A', b'A'], 1),
            [a, b, c, b'='] => ([a, b, c, b'A'], 2),
            all => (all, 3),
        };
        let mut bits = 0;
        for c in digits {
            bits = (bits << 6) | digit(c)?;
        }
        for byte in bits.to_be_bytes().into_iter().skip(1).take(count) {
            *out.as_mut_slice().get_mut(len).ok_or(EINVAL)? = byte;
            len = len.saturating_add(1);
        }
        if count < 3 {
            break;
        }
        rest = after;
    }
    out.truncate(len);
    Ok(out)
}

/// `EntityName` of authentication, which is not `entity_name_t`: a kind and a text.
fn entity_name(e: &mut Encoder, name: &[u8]) -> Result {
    e.u32(u32::from(EntityType::CLIENT.0))?.blob(name)?;
    Ok(())
}

/// The payload that opens authentication with a monitor: who we are, and the
/// global id that we had before or 0.
pub fn mon_hello(name: &[u8], global_id: u64) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.u8(mode::MON)?;
    entity_name(&mut e, name)?;
    e.u64(global_id)?;
    Ok(e.into_vec())
}

/// The front of the message that opens authentication with a monitor over msgr1: which
/// method we know, who we are, and the global id that we had before or 0. The number of its
/// own method is 0.
pub fn first_message(name: &[u8], global_id: u64, method: u32) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.u8(1)?.u32(1)?.u32(method)?;
    entity_name(&mut e, name)?;
    e.u64(global_id)?;
    mon::auth(0, e.as_slice())
}

/// The authorizer of authentication "none".
pub fn none_authorizer(name: &[u8], global_id: u64) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.u8(mode::AUTHORIZER)?;
    entity_name(&mut e, name)?;
    e.u64(global_id)?;
    Ok(e.into_vec())
}

/// Takes `CephXServerChallenge`; a later version may have more at its end.
pub fn server_challenge(payload: &[u8]) -> Result<u64> {
    let mut d = Decoder::new(payload);
    d.u8()?;
    d.u64()
}

/// A ticket for a service, which only the service can read, and the number of the
/// rotating secret that it is encrypted with (`CephXTicketBlob`).
#[derive(Default, PartialEq)]
pub struct TicketBlob {
    /// Number of the service's secret.
    pub secret_id: u64,
    /// Opaque to us.
    pub blob: KVVec<u8>,
}

impl TicketBlob {
    /// Takes a ticket.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        if d.u8()? != 1 {
            return Err(ebadmsg());
        }
        let secret_id = d.u64()?;
        let bytes = d.blob()?;
        let mut blob = KVVec::with_capacity(bytes.len(), GFP_KERNEL)?;
        blob.extend_from_slice(bytes, GFP_KERNEL)?;
        Ok(Self { secret_id, blob })
    }

    /// Adds the ticket.
    pub fn encode(&self, e: &mut Encoder) -> Result {
        e.u8(1)?.u64(self.secret_id)?.blob(&self.blob)?;
        Ok(())
    }

    /// Copies the ticket.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn try_clone(&self) -> Result<Self> {
        let mut blob = KVVec::with_capacity(self.blob.len(), GFP_KERNEL)?;
        blob.extend_from_slice(&self.blob, GFP_KERNEL)?;
        Ok(Self {
            secret_id: self.secret_id,
            blob,
        })
    }
}

/// Operation: prove to know the client's key, get the ticket for the
/// authentication service and tickets for others.
pub const GET_AUTH_SESSION_KEY: u16 = 0x0100;
/// Operation: get tickets for services with the ticket for authentication.
pub const GET_PRINCIPAL_SESSION_KEY: u16 = 0x0200;

/// `CephXAuthenticate` version 3, with its operation: `key` proves the knowledge of
/// the secret; `services` are those that tickets are wanted for.
pub fn authenticate(
    client_challenge: u64,
    key: u64,
    old: &TicketBlob,
    services: u32,
) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.u16(GET_AUTH_SESSION_KEY)?;
    e.u8(3)?.u64(client_challenge)?.u64(key)?;
    old.encode(&mut e)?;
    e.u32(services)?;
    Ok(e.into_vec())
}

/// `CephXServiceTicketRequest`, with its operation and the authorizer for the
/// authentication service.
pub fn service_tickets(authorizer: &[u8], services: u32) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.u16(GET_PRINCIPAL_SESSION_KEY)?.bytes(authorizer)?;
    e.u8(1)?.u32(services)?;
    Ok(e.into_vec())
}

/// Takes the head of a reply: operation and result (0 or a negative errno).
pub fn reply_header(d: &mut Decoder<'_>) -> Result<(u16, i32)> {
    Ok((d.u16()?, d.i32()?))
}

/// One of the tickets of a reply, with what is encrypted as it came.
pub struct TicketReply<'a> {
    /// Service (`EntityType`).
    pub service: u32,
    /// `CephXServiceTicket` for us, encrypted.
    pub session: &'a [u8],
    /// Whether `ticket` is encrypted with the previous session key.
    pub ticket_is_encrypted: bool,
    /// The blob that holds a [`TicketBlob`].
    pub ticket: &'a [u8],
}

/// Takes the tickets of a reply.
pub fn ticket_replies<'a>(d: &mut Decoder<'a>) -> Result<KVVec<TicketReply<'a>>> {
    if d.u8()? != 1 {
        return Err(ebadmsg());
    }
    d.vec(14, |d| {
        let service = d.u32()?;
        if d.u8()? != 1 {
            return Err(ebadmsg());
        }
        let session = d.blob()?;
        Ok(TicketReply {
            service,
            session,
            ticket_is_encrypted: d.bool()?,
            ticket: d.blob()?,
        })
    })
}

/// `CephXServiceTicket`: the key of a session and for how many seconds it is valid.
pub fn service_ticket(plain: &[u8]) -> Result<(CryptoKey, u32)> {
    let mut d = Decoder::new(plain);
    if d.u8()? != 1 {
        return Err(ebadmsg());
    }
    let key = CryptoKey::decode(&mut d)?;
    Ok((key, d.timespec()?.sec))
}

/// Takes a connection secret; it may be empty.
pub fn connection_secret(d: &mut Decoder<'_>) -> Result<Secret> {
    let bytes = d.blob()?;
    if bytes.len() > MAX_CON_SECRET_LEN {
        return Err(ebadmsg());
    }
    Secret::new(bytes)
}

/// `CephXAuthorize` before encryption: our nonce and, once the service has sent
/// one, its challenge plus one.
pub fn authorize(nonce: u64, challenge: Option<u64>) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.u8(2)?.u64(nonce)?.bool(challenge.is_some())?;
    e.u64(challenge.map_or(0, |c| c.wrapping_add(1)))?;
    Ok(e.into_vec())
}

/// An authorizer: who wants what, with which ticket, and the sealed
/// [`authorize()`].
pub fn authorizer(
    global_id: u64,
    service: EntityType,
    ticket: &TicketBlob,
    sealed: &[u8],
) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.u8(mode::AUTHORIZER)?
        .u64(global_id)?
        .u32(u32::from(service.0))?;
    ticket.encode(&mut e)?;
    e.blob(sealed)?;
    Ok(e.into_vec())
}

/// `CephXAuthorizeChallenge` after decryption.
pub fn authorize_challenge(plain: &[u8]) -> Result<u64> {
    let mut d = Decoder::new(plain);
    d.u8()?;
    d.u64()
}

/// `CephXAuthorizeReply` after decryption: our nonce plus one, which proves that
/// the service could read the ticket, and the secret of the connection.
pub fn authorize_reply(plain: &[u8]) -> Result<(u64, Secret)> {
    let mut d = Decoder::new(plain);
    let version = d.u8()?;
    let nonce_plus_one = d.u64()?;
    let secret = if version >= 2 {
        connection_secret(&mut d)?
    } else {
        Secret::default()
    };
    Ok((nonce_plus_one, secret))
}

#[kunit_tests(ceph_wire_auth)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"AQBQ6IVh8L2cIBAAQ1mq2fOJPo2iQEdH0Lz5tA==";

    #[test]
    fn armored_key() -> Result {
        let key = CryptoKey::from_armor(KEY)?;
        assert_eq!((key.kind, key.created.sec), (KEY_AES, 0x6185_e850));
        assert!(matches!(key.cipher()?, Cipher::Aes([0x43, ..])));
        for len in 0..KEY.len() {
            let short = KEY.get(..len).ok_or(EINVAL)?;
            assert!(CryptoKey::from_armor(short).is_err());
        }
        assert!(CryptoKey::from_armor(b"AQBQ6IVh8L2cIBA!Q1mq2fOJPo2iQEdH0Lz5tA==").is_err());
        Ok(())
    }

    #[test]
    fn kinds_of_keys() -> Result {
        // As `ceph-authtool --gen-key` of 20.2 makes them: 32 bytes.
        let key =
            CryptoKey::from_armor(b"AgBQ6IVh8L2cICAAQ1mq2fOJPo2iQEdH0Lz5tENZqtnziT6NokBHR9C8+bQ=")?;
        assert!(matches!(key.cipher()?, Cipher::Aes256Krb5([0x43, ..])));
        for (kind, len, good) in [
            (KEY_AES, 16, true),
            (KEY_AES, 32, false),
            (KEY_AES256KRB5, 32, true),
            (KEY_AES256KRB5, 16, false),
            (KEY_NONE, 0, false),
            (3, 32, false),
        ] {
            let key = CryptoKey {
                kind,
                created: Timespec::default(),
                secret: Secret::new([7; 32].split_at(len).0)?,
            };
            assert_eq!(key.cipher().is_ok(), good);
        }
        Ok(())
    }

    #[test]
    fn a_key_that_is_too_long() -> Result {
        let mut e = Encoder::new();
        e.u16(KEY_AES)?.timespec(Timespec::default())?;
        e.u16(33)?.bytes(&[1; 33])?;
        assert!(CryptoKey::decode(&mut Decoder::new(e.as_slice())).is_err());
        Ok(())
    }

    #[test]
    fn ticket_lists_are_bounded() -> Result {
        let mut e = Encoder::new();
        e.u8(1)?.u32(1)?;
        e.u32(4)?.u8(1)?.blob(b"session")?.u8(0)?.blob(b"ticket")?;
        let bytes = e.into_vec();
        let tickets = ticket_replies(&mut Decoder::new(&bytes))?;
        let ticket = tickets.first().ok_or(EINVAL)?;
        assert_eq!((ticket.service, ticket.ticket), (4, &b"ticket"[..]));
        for len in 0..bytes.len() {
            let short = bytes.get(..len).ok_or(EINVAL)?;
            assert!(ticket_replies(&mut Decoder::new(short)).is_err());
        }
        assert!(ticket_replies(&mut Decoder::new(&[1, 255, 255, 255, 255, 0, 0])).is_err());
        Ok(())
    }

    #[test]
    #[cfg(not(CONFIG_RUST))]
    fn memory_is_bounded() -> Result {
        let mut e = Encoder::new();
        e.u8(1)?.u32(4)?;
        for service in 0..4 {
            e.u32(service)?.u8(1)?.blob(b"session")?.u8(0)?.blob(b"")?;
        }
        kernel::host::check_decoder(e.as_slice(), |b| {
            ticket_replies(&mut Decoder::new(b)).map(|tickets| tickets.len())
        });
        let mut e = Encoder::new();
        e.u8(1)?.u64(7)?.blob(&[1; 100])?;
        kernel::host::check_decoder(e.as_slice(), |b| TicketBlob::decode(&mut Decoder::new(b)));
        kernel::host::check_decoder(KEY, CryptoKey::from_armor);
        Ok(())
    }

    #[test]
    fn challenge() {
        assert_eq!(server_challenge(&[1, 7, 0, 0, 0, 0, 0, 0, 0]).ok(), Some(7));
        for len in 0..9 {
            assert!(server_challenge(&[1; 16].split_at(len).0).is_err());
        }
        assert!(server_challenge(&[1; 10]).is_ok());
    }
}
