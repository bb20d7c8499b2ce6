// SPDX-License-Identifier: GPL-2.0
//! Tests of authentication against a monitor and a service of our own, with a
//! cipher that only has the shape of one.
use super::*;
use crate::errno::eopnotsupp;

/// XOR with key, vector and place: undone by itself.
struct Toy;

fn toy(key: &[u8; 16], iv: &[u8; 16], data: &mut [u8]) -> Result {
    if data.len() % BLOCK != 0 {
        return Err(EINVAL);
    }
    for (byte, k) in data.iter_mut().zip(key.iter().zip(iv).cycle()) {
        *byte ^= k.0 ^ k.1;
    }
    Ok(())
}

impl Crypto for Toy {
    fn encrypt(&self, key: &[u8; 16], iv: &[u8; 16], data: &mut [u8]) -> Result {
        toy(key, iv, data)
    }

    fn decrypt(&self, key: &[u8; 16], iv: &[u8; 16], data: &mut [u8]) -> Result {
        toy(key, iv, data)
    }

    fn krb5_encrypt(&self, key: &[u8; 32], usage: KeyUsage, plain: &[u8]) -> Result<KVVec<u8>> {
        let mut e = Encoder::new();
        e.bytes(&[0x5a; 16])?;
        for byte in plain {
            e.u8(byte ^ key[0])?;
        }
        e.bytes(&check(key, usage, plain))?;
        Ok(e.into_vec())
    }

    fn krb5_decrypt(&self, key: &[u8; 32], usage: KeyUsage, sealed: &[u8]) -> Result<Secret> {
        let len = sealed.len().checked_sub(40).ok_or(EACCES)?;
        let mut plain = Secret::new(sealed.get(16..).and_then(|s| s.get(..len)).ok_or(EACCES)?)?;
        for byte in plain.as_mut_slice() {
            *byte ^= key[0];
        }
        if sealed.get(len + 16..) != Some(&check(key, usage, plain.as_slice())[..]) {
            return Err(EACCES);
        }
        Ok(plain)
    }

    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        for (i, byte) in Iterator::chain(data.iter(), key).enumerate() {
            out[i % 32] ^= byte.rotate_left((i / 32) as u32);
        }
        out
    }

    fn random(&self) -> u64 {
        0x1234_5678_9abc_def0
    }
}

/// What a text of Kerberos ends with.
fn check(key: &[u8; 32], usage: KeyUsage, plain: &[u8]) -> [u8; 24] {
    let sum = plain
        .iter()
        .fold(plain.len() as u8, |sum, b| sum.rotate_left(1) ^ b);
    [sum ^ key[0].rotate_left(3) ^ usage as u8; 24]
}

const MON: u32 = EntityType::MON.0 as u32;
const OSD: u32 = EntityType::OSD.0 as u32;

/// Added to the number of a key, makes it one of the other kind.
const KRB5: u8 = 0x40;

fn key(byte: u8) -> Result<CryptoKey> {
    let (kind, len) = match byte & KRB5 {
        0 => (auth::KEY_AES, 16),
        _ => (auth::KEY_AES256KRB5, 32),
    };
    Ok(CryptoKey {
        kind,
        created: Default::default(),
        secret: Secret::new([byte; 32].get(..len).ok_or(EINVAL)?)?,
    })
}

fn encode_key(e: &mut Encoder, byte: u8) -> Result {
    let key = key(byte)?;
    let secret = key.secret.as_slice();
    e.u16(key.kind)?
        .u64(0)?
        .u16(secret.len() as u16)?
        .bytes(secret)?;
    Ok(())
}

fn add_ticket(
    e: &mut Encoder,
    service: u32,
    for_key: &CryptoKey,
    session: u8,
    validity: u32,
    old: Option<&CryptoKey>,
) -> Result {
    let mut plain = Encoder::new();
    plain.u8(1)?;
    encode_key(&mut plain, session)?;
    plain.u32(validity)?.u32(0)?;
    e.u32(service)?.u8(1)?;
    e.blob(&seal(
        &Toy,
        for_key,
        KeyUsage::TicketSessionKey,
        plain.as_slice(),
    )?)?;
    let mut blob = Encoder::new();
    blob.u8(1)?
        .u64(u64::from(session))?
        .blob(b"for the service")?;
    match old {
        None => e.u8(0)?.blob(blob.as_slice())?,
        Some(old) => {
            let mut sized = Encoder::new();
            sized.blob(blob.as_slice())?;
            e.u8(1)?
                .blob(&seal(&Toy, old, KeyUsage::TicketBlob, sized.as_slice())?)?
        }
    };
    Ok(())
}

/// The end of a handshake: tickets for authentication (key 2), monitors (3) and
/// OSDs (4), each for 1,000 s, and a connection secret.
fn session_reply(client_key: u8, old: Option<&CryptoKey>) -> Result<KVVec<u8>> {
    session_reply_with(client_key, [2, 3, 4], old)
}

fn session_reply_with(
    client_key: u8,
    [auth, mon, osd]: [u8; 3],
    old: Option<&CryptoKey>,
) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.u16(auth::GET_AUTH_SESSION_KEY)?.i32(0)?.u8(1)?.u32(1)?;
    add_ticket(&mut e, AUTH, &key(client_key)?, auth, 1_000, old)?;
    let mut secret = Encoder::new();
    secret.blob(&[9; 40])?;
    let usage = KeyUsage::AuthConnectionSecret;
    let sealed = seal(&Toy, &key(auth)?, usage, secret.as_slice())?;
    e.sized(|e| e.blob(&sealed).map(|_| ()))?;
    e.sized(|e| {
        e.u8(1)?.u32(3)?;
        add_ticket(e, MON, &key(auth)?, mon, 1_000, None)?;
        add_ticket(e, OSD, &key(auth)?, osd, 1_000, None)?;
        // One that was not asked for.
        add_ticket(e, 0x40, &key(auth)?, 5, 1_000, None)
    })?;
    Ok(e.into_vec())
}

fn client() -> Result<AuthClient> {
    AuthClient::new(b"user", Some(key(1)?), &[EntityType::MON, EntityType::OSD])
}

const CHALLENGE: &[u8] = &[1, 7, 0, 0, 0, 0, 0, 0, 0];

fn authenticated() -> Result<AuthClient> {
    let mut client = client()?;
    client.request()?;
    client.more(&Toy, CHALLENGE)?;
    client.done(&Toy, 100, 4_200, &session_reply(1, None)?)?;
    Ok(client)
}

#[kunit_tests(ceph_machine_auth)]
mod tests {
    use super::*;

    #[test]
    fn sealed_texts() -> Result {
        for len in 0..40 {
            let plain = [5u8; 40];
            let plain = plain.get(..len).ok_or(EINVAL)?;
            let usage = KeyUsage::Authorize;
            let sealed = seal(&Toy, &key(1)?, usage, plain)?;
            assert_eq!(open(&Toy, &key(1)?, usage, &sealed)?.as_slice(), plain);
            assert!(open(&Toy, &key(2)?, usage, &sealed).is_err());
            // A cut between blocks may leave what looks like padding.
            for cut in (0..sealed.len()).filter(|cut| cut % BLOCK != 0) {
                assert!(open(&Toy, &key(1)?, usage, sealed.get(..cut).ok_or(EINVAL)?).is_err());
            }
            let sealed = seal(&Toy, &key(1 | KRB5)?, usage, plain)?;
            assert_eq!(
                open(&Toy, &key(1 | KRB5)?, usage, &sealed)?.as_slice(),
                plain
            );
            let other = KeyUsage::AuthorizeReply;
            assert!(open(&Toy, &key(1 | KRB5)?, other, &sealed).is_err());
            for cut in 0..sealed.len() {
                let short = sealed.get(..cut).ok_or(EINVAL)?;
                assert!(open(&Toy, &key(1 | KRB5)?, usage, short).is_err());
            }
        }
        Ok(())
    }

    #[test]
    fn a_handshake() -> Result {
        let mut client = client()?;
        let hello = client.request()?;
        assert_eq!(hello.first(), Some(&10));
        assert!(!client.is_authenticated(0));
        let proof = client.more(&Toy, CHALLENGE)?;
        let mut d = Decoder::new(&proof);
        assert_eq!((d.u16()?, d.u8()?, d.u64()?), (0x100, 3, Toy.random()));
        d.u64()?;
        assert!(TicketBlob::decode(&mut d)? == TicketBlob::default());
        assert_eq!((d.u32()?, d.is_empty()), (MON | OSD, true));
        let keys = client.done(&Toy, 100, 4_200, &session_reply(1, None)?)?;
        assert_eq!(keys.session.as_slice(), &[2; 16]);
        assert_eq!(keys.connection.as_slice(), &[9; 40]);
        assert_eq!(client.global_id(), 4_200);
        assert!(client.is_authenticated(1_099) && !client.is_authenticated(1_100));
        Ok(())
    }

    #[test]
    fn events_out_of_order() -> Result {
        let reply = session_reply(1, None)?;
        let mut client = client()?;
        assert_eq!(client.more(&Toy, CHALLENGE).err(), Some(eproto()));
        assert_eq!(client.done(&Toy, 0, 1, &reply).err(), Some(eproto()));
        client.request()?;
        assert_eq!(client.done(&Toy, 0, 1, &reply).err(), Some(eproto()));
        client.more(&Toy, CHALLENGE)?;
        assert_eq!(client.more(&Toy, CHALLENGE).err(), Some(eproto()));
        client.reset();
        assert_eq!(client.done(&Toy, 0, 1, &reply).err(), Some(eproto()));
        assert!(client.renewal(&Toy, 0)?.is_none());
        assert!(client.authorizer(&Toy, EntityType::OSD).is_err());
        Ok(())
    }

    #[test]
    fn replies_that_are_cut_off_or_for_another() -> Result {
        let reply = session_reply(1, None)?;
        for len in 0..reply.len() {
            let mut client = client()?;
            client.request()?;
            client.more(&Toy, CHALLENGE)?;
            let short = reply.get(..len).ok_or(EINVAL)?;
            assert!(client.done(&Toy, 0, 1, short).is_err());
            // The next attempt shows no ticket, as it has no number yet.
            assert_eq!(client.global_id(), 0);
            client.request()?;
            let proof = client.more(&Toy, CHALLENGE)?;
            let mut d = Decoder::new(proof.get(19..).ok_or(EINVAL)?);
            assert!(TicketBlob::decode(&mut d)? == TicketBlob::default());
        }
        let mut client = client()?;
        client.request()?;
        client.more(&Toy, CHALLENGE)?;
        assert!(client.done(&Toy, 0, 1, &session_reply(7, None)?).is_err());
        assert!(!client.is_authenticated(0));
        Ok(())
    }

    #[test]
    fn another_monitor_knows_the_old_ticket() -> Result {
        let mut client = authenticated()?;
        client.request()?;
        assert!(client.is_authenticated(200));
        let proof = client.more(&Toy, CHALLENGE)?;
        let mut d = Decoder::new(proof.get(19..).ok_or(EINVAL)?);
        assert_eq!(TicketBlob::decode(&mut d)?.secret_id, 2);
        client.done(&Toy, 200, 4_200, &session_reply(1, Some(&key(2)?))?)?;
        assert!(client.is_authenticated(1_199));
        Ok(())
    }

    #[test]
    fn a_monitor_has_forgotten_the_ticket() -> Result {
        let number = |hello: &[u8]| hello.last_chunk().map(|b| u64::from_le_bytes(*b));
        let mut client = authenticated()?;
        assert_eq!(number(&client.request()?), Some(4_200));
        client.more(&Toy, CHALLENGE)?;
        // It says no: without the ticket the number cannot be had again, either.
        assert!(client.refused());
        client.reset();
        assert_eq!(number(&client.request()?), Some(0));
        let proof = client.more(&Toy, CHALLENGE)?;
        let mut d = Decoder::new(proof.get(19..).ok_or(EINVAL)?);
        assert!(TicketBlob::decode(&mut d)? == TicketBlob::default());
        // Once more no: that is the key.
        assert!(!client.refused());
        client.request()?;
        client.more(&Toy, CHALLENGE)?;
        client.done(&Toy, 100, 4_300, &session_reply(1, None)?)?;
        assert_eq!(client.global_id(), 4_300);
        Ok(())
    }

    #[test]
    fn renewal_of_services() -> Result {
        let mut client = authenticated()?;
        assert!(client.renewal(&Toy, 849)?.is_none());
        client.invalidate(EntityType::OSD);
        // The ticket for tickets is doubted too, so the key itself is used.
        let front = client.renewal(&Toy, 200)?.ok_or(EINVAL)?;
        assert_eq!(front.get(26..28), Some(&[0, 1][..]));

        // All are old: first the one that the others are got with.
        let mut client = authenticated()?;
        let front = client.renewal(&Toy, 850)?.ok_or(EINVAL)?;
        assert_eq!(front.get(26..28), Some(&[0, 1][..]));
        let mut e = Encoder::new();
        e.u32(method::CEPHX)?.i32(0)?.u64(4_200)?;
        e.sized(|e| {
            e.u16(auth::GET_AUTH_SESSION_KEY)?.i32(0)?.u8(1)?.u32(1)?;
            add_ticket(e, AUTH, &key(1)?, 6, 1_000, Some(&key(2)?))?;
            e.u32(0)?.u32(0)?;
            Ok(())
        })?;
        e.blob(b"")?;
        // Then those, with its authorizer.
        let front = client.renewed(&Toy, 851, e.as_slice())?.ok_or(EINVAL)?;
        assert_eq!(front.get(26..28), Some(&[0, 2][..]));
        let mut e = Encoder::new();
        e.u32(method::CEPHX)?.i32(0)?.u64(4_200)?;
        e.sized(|e| {
            e.u16(auth::GET_PRINCIPAL_SESSION_KEY)?
                .i32(0)?
                .u8(1)?
                .u32(2)?;
            add_ticket(e, MON, &key(6)?, 7, 1_000, None)?;
            add_ticket(e, OSD, &key(6)?, 8, 1_000, None)
        })?;
        e.blob(b"")?;
        let front = e.into_vec();
        for len in 0..front.len() {
            let short = front.get(..len).ok_or(EINVAL)?;
            assert!(authenticated()?.renewed(&Toy, 852, short).is_err());
        }
        assert!(client.renewed(&Toy, 852, &front)?.is_none());
        assert!(client.renewal(&Toy, 1_500)?.is_none());
        assert!(client.is_authenticated(1_500));
        // The same again brings nothing new.
        assert!(client.renewed(&Toy, 1_800, &front).is_ok());
        Ok(())
    }

    #[test]
    fn a_renewal_is_refused() -> Result {
        let mut client = authenticated()?;
        let mut e = Encoder::new();
        e.u32(method::CEPHX)?
            .i32(-13)?
            .u64(0)?
            .blob(b"")?
            .blob(b"no")?;
        assert_eq!(client.renewed(&Toy, 0, e.as_slice()).err(), Some(EACCES));
        Ok(())
    }

    #[test]
    fn a_service() -> Result {
        let client = authenticated()?;
        let authorizer = client.authorizer(&Toy, EntityType::OSD)?;
        let request = authorizer.request(&Toy)?;
        let mut d = Decoder::new(&request);
        assert_eq!((d.u8()?, d.u64()?, d.u32()?), (1, 4_200, OSD));
        assert_eq!(TicketBlob::decode(&mut d)?.secret_id, 4);
        let plain = open(&Toy, &key(4)?, KeyUsage::Authorize, d.blob()?)?;
        assert_eq!(plain.as_slice().len(), 18);

        let mut e = Encoder::new();
        e.u8(1)?.u64(77)?;
        let challenge = seal(&Toy, &key(4)?, KeyUsage::AuthorizeChallenge, e.as_slice())?;
        for len in 0..challenge.len() {
            let short = challenge.get(..len).ok_or(EINVAL)?;
            assert!(authorizer.challenge(&Toy, short).is_err());
        }
        let answer = authorizer.challenge(&Toy, &challenge)?;
        let mut d = Decoder::new(answer.get(13..).ok_or(EINVAL)?);
        TicketBlob::decode(&mut d)?;
        let plain = open(&Toy, &key(4)?, KeyUsage::Authorize, d.blob()?)?;
        let mut d = Decoder::new(plain.as_slice().get(9..).ok_or(EINVAL)?);
        assert_eq!((d.u8()?, d.u64()?), (1, 78));

        let reply = |nonce: u64| -> Result<KVVec<u8>> {
            let mut e = Encoder::new();
            e.u8(2)?.u64(nonce)?.blob(&[3; 40])?;
            let sealed = seal(&Toy, &key(4)?, KeyUsage::AuthorizeReply, e.as_slice())?;
            let mut e = Encoder::new();
            e.blob(&sealed)?;
            Ok(e.into_vec())
        };
        let good = reply(Toy.random() + 1)?;
        let keys = authorizer.verify(&Toy, &good)?;
        assert_eq!(keys.session.as_slice(), &[4; 16]);
        assert_eq!(keys.connection.as_slice(), &[3; 40]);
        for len in 0..good.len() {
            let short = good.get(..len).ok_or(EINVAL)?;
            assert!(authorizer.verify(&Toy, short).is_err());
        }
        assert_eq!(authorizer.verify(&Toy, &reply(0)?).err(), Some(EACCES));
        assert!(client.authorizer(&Toy, EntityType::MDS).is_err());
        Ok(())
    }

    #[test]
    fn without_keys() -> Result {
        let mut client = AuthClient::new(b"user", None, &[EntityType::OSD])?;
        assert_eq!(client.method(), method::NONE);
        client.request()?;
        assert!(client.more(&Toy, CHALLENGE).is_err());
        let keys = client.done(&Toy, 0, 5, b"")?;
        assert!(keys.session.is_empty() && client.is_authenticated(0));
        let authorizer = client.authorizer(&Toy, EntityType::OSD)?;
        assert_eq!(authorizer.request(&Toy)?.first(), Some(&1));
        assert!(authorizer.verify(&Toy, b"").is_ok());
        assert!(client.renewal(&Toy, u64::MAX)?.is_none());
        Ok(())
    }

    #[test]
    fn kinds_of_keys_mixed() -> Result {
        // The client's key and those of the services need not be of one kind.
        for which in 0..16u8 {
            let kind = |bit: u8, number: u8| match which >> bit & 1 {
                0 => number,
                _ => number | KRB5,
            };
            let (client_key, session, osd) = (kind(0, 1), kind(1, 2), kind(2, 4));
            let services = [EntityType::MON, EntityType::OSD];
            let mut client = AuthClient::new(b"user", Some(key(client_key)?), &services)?;
            client.request()?;
            client.more(&Toy, CHALLENGE)?;
            let reply = session_reply_with(client_key, [session, kind(3, 3), osd], None)?;
            for len in 0..reply.len() {
                let short = reply.get(..len).ok_or(EINVAL)?;
                assert!(client.done(&Toy, 100, 4_200, short).is_err());
            }
            let keys = client.done(&Toy, 100, 4_200, &reply)?;
            assert!(keys.session == key(session)?.secret);
            assert_eq!(keys.connection.as_slice(), &[9; 40]);

            let authorizer = client.authorizer(&Toy, EntityType::OSD)?;
            let request = authorizer.request(&Toy)?;
            let mut d = Decoder::new(request.get(13..).ok_or(EINVAL)?);
            TicketBlob::decode(&mut d)?;
            open(&Toy, &key(osd)?, KeyUsage::Authorize, d.blob()?)?;
            let mut e = Encoder::new();
            e.u8(1)?.u64(77)?;
            let usage = KeyUsage::AuthorizeChallenge;
            authorizer.challenge(&Toy, &seal(&Toy, &key(osd)?, usage, e.as_slice())?)?;
            let mut e = Encoder::new();
            e.u8(2)?.u64(Toy.random() + 1)?.blob(&[3; 40])?;
            let sealed = seal(&Toy, &key(osd)?, KeyUsage::AuthorizeReply, e.as_slice())?;
            let mut e = Encoder::new();
            e.blob(&sealed)?;
            let keys = authorizer.verify(&Toy, e.as_slice())?;
            assert!(keys.session == key(osd)?.secret);

            // Another monitor encrypts the new ticket with the old key, the reset of
            // which must not depend on its kind either.
            client.request()?;
            client.more(&Toy, CHALLENGE)?;
            let next = session_reply_with(client_key, [kind(3, 6), 3, 4], Some(&key(session)?))?;
            client.done(&Toy, 200, 4_200, &next)?;
        }
        Ok(())
    }

    #[test]
    fn a_text_for_another_usage() -> Result {
        let (client_key, session) = (1 | KRB5, 2 | KRB5);
        let mut e = Encoder::new();
        e.u16(auth::GET_AUTH_SESSION_KEY)?.i32(0)?.u8(1)?.u32(1)?;
        let mut plain = Encoder::new();
        plain.u8(1)?;
        encode_key(&mut plain, session)?;
        plain.u32(1_000)?.u32(0)?;
        e.u32(AUTH)?.u8(1)?;
        // Right in all but the usage.
        let sealed = seal(
            &Toy,
            &key(client_key)?,
            KeyUsage::TicketBlob,
            plain.as_slice(),
        )?;
        e.blob(&sealed)?.u8(0)?.blob(b"")?;
        let mut client = AuthClient::new(b"user", Some(key(client_key)?), &[])?;
        client.request()?;
        client.more(&Toy, CHALLENGE)?;
        let refused = client.done(&Toy, 0, 1, e.as_slice()).err();
        assert_eq!(refused, Some(EACCES));
        Ok(())
    }

    #[test]
    fn a_handshake_by_messages() -> Result {
        let reply = |method: u32, result: i32, payload: &[u8]| -> Result<KVVec<u8>> {
            let mut e = Encoder::new();
            e.u32(method)?.i32(result)?.u64(4_200)?;
            e.blob(payload)?.blob(b"text")?;
            Ok(e.into_vec())
        };
        let mut client = client()?;
        let front = client.request_by_message()?;
        // Behind the header of monitors' messages: no method yet, and which we know.
        let mut d = Decoder::new(front.get(18..).ok_or(EINVAL)?);
        assert_eq!((d.u32()?, d.u32()?), (0, 29));
        assert_eq!((d.u8()?, d.u32()?, d.u32()?), (1, 1, method::CEPHX));
        assert_eq!((d.u32()?, d.blob()?, d.u64()?), (8, &b"user"[..], 0));
        assert!(client.is_proving() && d.is_empty());

        let challenge = reply(method::CEPHX, 0, CHALLENGE)?;
        let step = client.reply_by_message(&Toy, 100, &challenge)?;
        assert!(matches!(step, Step::Send(front) if front.get(18) == Some(&2)));
        let end = reply(method::CEPHX, 0, &session_reply(1, None)?)?;
        let step = client.reply_by_message(&Toy, 100, &end)?;
        assert!(matches!(step, Step::Done) && !client.is_proving());
        assert_eq!(
            (client.global_id(), client.is_authenticated(1_099)),
            (4_200, true)
        );

        for (method, result, error) in [
            (method::CEPHX, -13, EACCES),
            (method::NONE, 0, EACCES),
            (method::CEPHX, -2, ENOENT),
        ] {
            client.request_by_message()?;
            let no = reply(method, result, b"")?;
            let refused = client.reply_by_message(&Toy, 100, &no).err();
            assert_eq!(refused, Some(error));
        }
        for len in 0..challenge.len() {
            client.request_by_message()?;
            let short = challenge.get(..len).ok_or(EINVAL)?;
            assert!(client.reply_by_message(&Toy, 100, short).is_err());
        }
        Ok(())
    }

    #[test]
    fn keys_of_unknown_kinds() -> Result {
        for (kind, len, error) in [
            (auth::KEY_NONE, 0, eopnotsupp()),
            (3, 32, eopnotsupp()),
            (auth::KEY_AES256KRB5, 16, ebadmsg()),
        ] {
            let key = CryptoKey {
                kind,
                created: Default::default(),
                secret: Secret::new([1; 32].get(..len).ok_or(EINVAL)?)?,
            };
            let refused = AuthClient::new(b"user", Some(key), &[]).err();
            assert_eq!(refused, Some(error));
        }
        Ok(())
    }
}
