// SPDX-License-Identifier: GPL-2.0
//! msgr2.1 on the wire (Ceph: src/msg/async/frames_v2.h, doc/dev/msgr2.rst).
//!
//! A connection opens with a banner in each direction; frames follow. A frame in
//! crc mode is a [`Preamble`] with a checksum of its own, one to four segments, and
//! checksums of the segments: the first has its own right behind it, those of the
//! others are in the epilogue, which is missing when there is only one segment.
use kernel::prelude::*;

use super::{
    decode::Decoder,
    encode::{Encoder, Writer},
    types::{AddrType, AddrVec, EntityAddr, EntityType, Timespec},
};
use crate::errno::{ebadmsg, eproto};

/// How both sides start to talk.
pub const BANNER: &[u8; 8] = b"ceph v2\n";
/// How a server that only knows msgr1 starts to talk.
pub const BANNER_V1: &[u8; 8] = b"ceph v02";
/// [`BANNER`] and the length of the banner's payload.
pub const BANNER_PREFIX_LEN: usize = 10;
/// What a banner's payload may be long. The field would allow 65535; the two
/// feature masks that are defined need 16.
pub const BANNER_PAYLOAD_MAX: usize = 4096;
/// `CEPH_MSGR2_FEATURE_REVISION_1`: frames of msgr2.1.
pub const FEATURE_REVISION_1: u64 = 1;
/// On the wire, a preamble with its checksum.
pub const PREAMBLE_LEN: usize = 32;
/// On the wire, the epilogue of crc mode: late status and three checksums.
pub const EPILOGUE_LEN: usize = 13;
/// On the wire, a checksum.
pub const CRC_LEN: usize = 4;
/// On the wire, a [`MessageHead`].
pub const MESSAGE_HEAD_LEN: usize = 41;
/// The longest front or middle segment that is taken.
pub const SEGMENT_MAX: u32 = 16 << 20;
/// The longest frame of one segment that is taken: any but a message. Tickets are the longest
/// that servers send, a few KiB.
pub const CONTROL_MAX: u32 = 256 << 10;
/// The longest data segment that is taken.
pub const DATA_MAX: u32 = 64 << 20;
/// On the wire, an HMAC-SHA256.
pub const SIGNATURE_LEN: usize = 32;
/// Seed of every checksum, and the checksum of an empty segment that counts.
pub const CRC_SEED: u32 = u32::MAX;

/// `FRAME_LATE_STATUS_*`: the sender gave up on the frame half-way.
const LATE_ABORTED: u8 = 0x1;
/// The sender completed the frame.
const LATE_COMPLETE: u8 = 0xe;
const LATE_MASK: u8 = 0xf;

/// `CEPH_MSG_CONNECT_LOSSY`: the session does not outlive its socket.
pub const IDENT_LOSSY: u64 = 1;

/// Connection mode: checksums only.
pub const CON_MODE_CRC: u32 = 1;
/// Connection mode: AES-GCM.
pub const CON_MODE_SECURE: u32 = 2;

/// What a frame is (Ceph: `ceph::msgr::v2::Tag`).
// Ceph's names say it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Tag {
    Hello = 1,
    AuthRequest = 2,
    AuthBadMethod = 3,
    AuthReplyMore = 4,
    AuthRequestMore = 5,
    AuthDone = 6,
    AuthSignature = 7,
    ClientIdent = 8,
    ServerIdent = 9,
    IdentMissingFeatures = 10,
    SessionReconnect = 11,
    SessionReset = 12,
    SessionRetry = 13,
    SessionRetryGlobal = 14,
    SessionReconnectOk = 15,
    Wait = 16,
    Message = 17,
    Keepalive2 = 18,
    Keepalive2Ack = 19,
    Ack = 20,
}

impl Tag {
    const ALL: [Self; 20] = [
        Self::Hello,
        Self::AuthRequest,
        Self::AuthBadMethod,
        Self::AuthReplyMore,
        Self::AuthRequestMore,
        Self::AuthDone,
        Self::AuthSignature,
        Self::ClientIdent,
        Self::ServerIdent,
        Self::IdentMissingFeatures,
        Self::SessionReconnect,
        Self::SessionReset,
        Self::SessionRetry,
        Self::SessionRetryGlobal,
        Self::SessionReconnectOk,
        Self::Wait,
        Self::Message,
        Self::Keepalive2,
        Self::Keepalive2Ack,
        Self::Ack,
    ];

    /// The tag of a byte.
    #[inline]
    pub fn from_byte(byte: u8) -> Option<Self> {
        static ALL: [Tag; 20] = Tag::ALL;
        // In order, without gaps, from 1 on.
        ALL.get(usize::from(byte.checked_sub(1)?)).copied()
    }
}

/// CRC-32C with the seed given and no final inversion (the kernel's `crc32c()`),
/// and HMAC-SHA256. The shell uses the kernel's own, so no algorithm is written
/// down twice.
pub trait Crypto {
    /// Continues the checksum `seed` with `bytes`.
    fn crc32c(&self, seed: u32, bytes: &[u8]) -> u32;
    /// Authenticates the concatenation of `parts`.
    ///
    /// # Errors
    ///
    /// Those of the allocator.
    fn hmac_sha256(&self, key: &[u8], parts: &[&[u8]]) -> Result<[u8; SIGNATURE_LEN]>;
}

/// Head of a frame: what it is and how long its segments are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// What the frame is.
    pub tag: Tag,
    /// Length of each segment; trailing empty ones are not counted on the wire.
    pub segments: [u32; 4],
}

impl Preamble {
    /// Reads a preamble.
    ///
    /// # Errors
    ///
    /// `EBADMSG` for a wrong checksum, `EPROTO` for a frame that makes no sense.
    #[inline]
    pub fn decode(crypto: &impl Crypto, bytes: &[u8; PREAMBLE_LEN]) -> Result<Self> {
        let mut d = Decoder::new(bytes);
        let mut covered = d.block::<{ PREAMBLE_LEN - CRC_LEN }>()?;
        if crypto.crc32c(0, covered.rest()) != d.u32()? {
            return Err(ebadmsg());
        }
        let d = &mut covered;
        let tag = Tag::from_byte(d.u8()?).ok_or_else(eproto)?;
        let count = d.u8()?;
        let mut segments = [0; 4];
        for segment in &mut segments {
            *segment = d.u32()?;
            d.u16()?; // Alignment.
        }
        let [control, front, middle, data] = segments;
        // The first segment is never empty, nor is the last that is counted.
        if control == 0
            || count != count_of(segments)
            || (count != 1 && tag != Tag::Message)
            || control > CONTROL_MAX
            || front.max(middle) > SEGMENT_MAX
            || data > DATA_MAX
        {
            return Err(eproto());
        }
        Ok(Self { tag, segments })
    }

    /// The bytes to send, with their checksum.
    #[inline]
    pub fn encode(&self, crypto: &impl Crypto) -> [u8; PREAMBLE_LEN] {
        let mut out = [0; PREAMBLE_LEN];
        self.write(crypto, &mut out);
        out
    }

    #[inline]
    fn write(&self, crypto: &impl Crypto, out: &mut [u8; PREAMBLE_LEN]) {
        let [control, front, middle, data] = self.segments;
        if let Some((covered, crc)) = out.split_first_chunk_mut::<{ PREAMBLE_LEN - CRC_LEN }>() {
            let mut w = Writer::new(covered);
            w.put([self.tag as u8, count_of(self.segments)]);
            // Alignment is a hint to the receiver: page-aligned data, else words.
            let mut put = |len: u32, align: u16| {
                w.put(len.to_le_bytes());
                w.put(if len == 0 { 0 } else { align }.to_le_bytes());
            };
            put(control, 8);
            put(front, 8);
            put(middle, 8);
            put(data, 4096);
            // What is unused.
            w.put([0; 2]);
            Writer::new(crc).put(crypto.crc32c(0, covered).to_le_bytes());
        }
    }

    /// Whether an epilogue follows the segments.
    pub fn has_epilogue(&self) -> bool {
        self.segments.iter().skip(1).any(|len| *len != 0)
    }
}

/// How many segments are counted on the wire, without trailing empty ones.
#[inline]
fn count_of([_, front, middle, data]: [u32; 4]) -> u8 {
    match (front, middle, data) {
        (0, 0, 0) => 1,
        (_, 0, 0) => 2,
        (_, _, 0) => 3,
        _ => 4,
    }
}

/// What follows the segments of a frame that has more than one, in crc mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epilogue {
    /// The sender gave up half-way: the frame is to be ignored.
    pub aborted: bool,
    /// Checksums of front, middle and data.
    pub crcs: [u32; 3],
}

impl Epilogue {
    /// Reads an epilogue.
    ///
    /// # Errors
    ///
    /// `EPROTO` for an unknown status.
    pub fn decode(bytes: &[u8; EPILOGUE_LEN]) -> Result<Self> {
        let mut d = Decoder::new(bytes);
        let aborted = match d.u8()? & LATE_MASK {
            LATE_COMPLETE => false,
            LATE_ABORTED => true,
            _ => return Err(eproto()),
        };
        Ok(Self {
            aborted,
            crcs: [d.u32()?, d.u32()?, d.u32()?],
        })
    }

    /// The bytes to send.
    #[inline]
    pub fn encode(&self) -> [u8; EPILOGUE_LEN] {
        let mut out = [0; EPILOGUE_LEN];
        let mut w = Writer::new(&mut out);
        w.put([match self.aborted {
            true => LATE_ABORTED,
            false => LATE_COMPLETE,
        }]);
        let [front, middle, data] = self.crcs;
        w.put(front.to_le_bytes());
        w.put(middle.to_le_bytes());
        w.put(data.to_le_bytes());
        out
    }
}

/// Adds a frame of the one segment that `body` adds: any frame but a message.
pub fn control_frame(
    crypto: &impl Crypto,
    tag: Tag,
    body: impl FnOnce(&mut Encoder) -> Result,
) -> Result<KVVec<u8>> {
    let mut inner = Encoder::new();
    body(&mut inner)?;
    let len = u32::try_from(inner.len()).map_err(|_| E2BIG)?;
    if len == 0 || len > CONTROL_MAX {
        return Err(E2BIG);
    }
    let preamble = Preamble {
        tag,
        segments: [len, 0, 0, 0],
    };
    let mut e = Encoder::with_capacity(inner.len().saturating_add(PREAMBLE_LEN + CRC_LEN))?;
    e.bytes(&preamble.encode(crypto))?;
    e.bytes(inner.as_slice())?;
    e.u32(crypto.crc32c(CRC_SEED, inner.as_slice()))?;
    Ok(e.into_vec())
}

/// The banner and its payload: what is supported and what is required.
pub fn banner(supported: u64, required: u64) -> Result<KVVec<u8>> {
    let mut e = Encoder::new();
    e.bytes(BANNER)?.u16(16)?.u64(supported)?.u64(required)?;
    Ok(e.into_vec())
}

/// `ceph_msg_header2`: first segment of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageHead {
    /// Position in the stream of messages of the session, from 1.
    pub seq: u64,
    /// Chosen by the sender; a reply repeats it.
    pub tid: u64,
    /// `CEPH_MSG_*`.
    pub kind: u16,
    /// Larger goes first.
    pub priority: u16,
    /// Version of the encoding of front and middle.
    pub version: u16,
    /// Bytes before the data segment begins.
    pub data_pre_padding: u32,
    /// Where in a page the data would like to begin.
    pub data_off: u16,
    /// The last message that the sender of this one received.
    pub ack_seq: u64,
    /// Flags.
    pub flags: u8,
    /// The oldest version whose reader understands this one.
    pub compat_version: u16,
}

impl MessageHead {
    /// Takes 41 bytes.
    #[inline]
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let d = &mut d.block::<MESSAGE_HEAD_LEN>()?;
        let head = Self {
            seq: d.u64()?,
            tid: d.u64()?,
            kind: d.u16()?,
            priority: d.u16()?,
            version: d.u16()?,
            data_pre_padding: d.u32()?,
            data_off: d.u16()?,
            ack_seq: d.u64()?,
            flags: d.u8()?,
            compat_version: d.u16()?,
        };
        d.u16()?;
        Ok(head)
    }

    /// The bytes to send.
    pub fn encode(&self) -> [u8; MESSAGE_HEAD_LEN] {
        let mut out = [0; MESSAGE_HEAD_LEN];
        self.write(&mut out);
        out
    }

    #[inline]
    fn write(&self, out: &mut [u8; MESSAGE_HEAD_LEN]) {
        let mut w = Writer::new(out);
        w.put(self.seq.to_le_bytes());
        w.put(self.tid.to_le_bytes());
        w.put(self.kind.to_le_bytes());
        w.put(self.priority.to_le_bytes());
        w.put(self.version.to_le_bytes());
        w.put(self.data_pre_padding.to_le_bytes());
        w.put(self.data_off.to_le_bytes());
        w.put(self.ack_seq.to_le_bytes());
        w.put([self.flags]);
        w.put(self.compat_version.to_le_bytes());
        w.put([0; 2]); // Reserved.
    }
}

/// `HELLO`: who speaks, and how the other side's address looks from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Kind of the speaker.
    pub entity: EntityType,
    /// Address of the other side as the speaker sees it.
    pub peer_addr: EntityAddr,
}

impl Hello {
    /// Reads the segment.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            entity: EntityType(d.u8()?),
            peer_addr: EntityAddr::decode(d)?,
        })
    }

    /// Adds the segment.
    pub fn encode(&self, e: &mut Encoder) -> Result {
        e.u8(self.entity.0)?;
        self.peer_addr.encode(e)
    }
}

/// The most methods or modes that a server may offer.
const ALTERNATIVES_MAX: usize = 8;

/// `AUTH_REQUEST`: how the client would like to authenticate.
#[derive(Debug)]
pub struct AuthRequest {
    /// `CEPH_AUTH_*`.
    pub method: u32,
    /// Acceptable `CON_MODE_*`, best first.
    pub modes: KVVec<u32>,
    /// What the method says first.
    pub payload: KVVec<u8>,
}

impl AuthRequest {
    /// Reads the segment.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let method = d.u32()?;
        let modes = d.vec(4, Decoder::u32)?;
        let mut payload = KVVec::new();
        payload.extend_from_slice(d.blob()?, GFP_KERNEL)?;
        Ok(Self {
            method,
            modes,
            payload,
        })
    }

    /// Adds the segment.
    pub fn encode(&self, e: &mut Encoder) -> Result {
        e.u32(self.method)?.length(self.modes.len())?;
        for mode in self.modes.iter() {
            e.u32(*mode)?;
        }
        e.blob(&self.payload)?;
        Ok(())
    }
}

/// `AUTH_BAD_METHOD`: the server refuses, and says what it would accept.
#[derive(Debug)]
pub struct AuthBadMethod {
    /// The method that was tried.
    pub method: u32,
    /// A negative errno.
    pub result: i32,
    /// Methods that the server accepts.
    pub allowed_methods: KVVec<u32>,
    /// Connection modes that the server accepts.
    pub allowed_modes: KVVec<u32>,
}

impl AuthBadMethod {
    /// Reads the segment.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        fn alternatives(d: &mut Decoder<'_>) -> Result<KVVec<u32>> {
            let list = d.vec(4, Decoder::u32)?;
            if list.len() > ALTERNATIVES_MAX {
                return Err(ebadmsg());
            }
            Ok(list)
        }
        Ok(Self {
            method: d.u32()?,
            result: d.i32()?,
            allowed_methods: alternatives(d)?,
            allowed_modes: alternatives(d)?,
        })
    }
}

/// `AUTH_DONE`: the server is content.
#[derive(Debug)]
pub struct AuthDone<'a> {
    /// The client's number, chosen by a monitor; 0 from others.
    pub global_id: u64,
    /// The `CON_MODE_*` that the server chose.
    pub con_mode: u32,
    /// What the method says last.
    pub payload: &'a [u8],
}

impl<'a> AuthDone<'a> {
    /// Reads the segment.
    pub fn decode(d: &mut Decoder<'a>) -> Result<Self> {
        Ok(Self {
            global_id: d.u64()?,
            con_mode: d.u32()?,
            payload: d.blob()?,
        })
    }
}

/// `CLIENT_IDENT`: the client asks for a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientIdent {
    /// The client's address.
    pub addr: EntityAddr,
    /// The address that the client means to talk to.
    pub target: EntityAddr,
    /// The client's number.
    pub global_id: u64,
    /// Count of all connection attempts of the client.
    pub global_seq: u64,
    /// Features that the client knows.
    pub supported: u64,
    /// Features that the client needs.
    pub required: u64,
    /// `IDENT_*`.
    pub flags: u64,
    /// Name of the session on the client's side.
    pub cookie: u64,
}

impl ClientIdent {
    /// Reads the segment.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            addr: first_addr(d)?,
            target: EntityAddr::decode(d)?,
            global_id: d.u64()?,
            global_seq: d.u64()?,
            supported: d.u64()?,
            required: d.u64()?,
            flags: d.u64()?,
            cookie: d.u64()?,
        })
    }

    /// Adds the segment.
    pub fn encode(&self, e: &mut Encoder) -> Result {
        AddrVec::encode_one(&self.addr, e)?;
        self.target.encode(e)?;
        e.u64(self.global_id)?.u64(self.global_seq)?;
        e.u64(self.supported)?.u64(self.required)?;
        e.u64(self.flags)?.u64(self.cookie)?;
        Ok(())
    }
}

/// `SERVER_IDENT`: the server accepts a new session.
#[derive(Debug)]
pub struct ServerIdent {
    /// The server's addresses.
    pub addrs: AddrVec,
    /// The server's number (its rank, or id).
    pub global_id: u64,
    /// Count of all connection attempts of the server.
    pub global_seq: u64,
    /// Features that the server knows.
    pub supported: u64,
    /// Features that the server needs.
    pub required: u64,
    /// `IDENT_*`.
    pub flags: u64,
    /// Name of the session on the server's side; 0 when lossy.
    pub cookie: u64,
}

impl ServerIdent {
    /// Reads the segment.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            addrs: AddrVec::decode(d)?,
            global_id: d.u64()?,
            global_seq: d.u64()?,
            supported: d.u64()?,
            required: d.u64()?,
            flags: d.u64()?,
            cookie: d.u64()?,
        })
    }

    /// Adds the segment, with the first address only.
    pub fn encode(&self, e: &mut Encoder) -> Result {
        AddrVec::encode_one(self.addrs.0.first().ok_or(EINVAL)?, e)?;
        e.u64(self.global_id)?.u64(self.global_seq)?;
        e.u64(self.supported)?.u64(self.required)?;
        e.u64(self.flags)?.u64(self.cookie)?;
        Ok(())
    }
}

/// `SESSION_RECONNECT`: the client asks to go on with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionReconnect {
    /// The client's address.
    pub addr: EntityAddr,
    /// Name of the session on the client's side.
    pub client_cookie: u64,
    /// Name of the session on the server's side.
    pub server_cookie: u64,
    /// Count of all connection attempts of the client.
    pub global_seq: u64,
    /// Count of the reconnects of this session.
    pub connect_seq: u64,
    /// The last message that the client received.
    pub in_seq: u64,
}

impl SessionReconnect {
    /// Reads the segment.
    pub fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            addr: first_addr(d)?,
            client_cookie: d.u64()?,
            server_cookie: d.u64()?,
            global_seq: d.u64()?,
            connect_seq: d.u64()?,
            in_seq: d.u64()?,
        })
    }

    /// Adds the segment.
    pub fn encode(&self, e: &mut Encoder) -> Result {
        AddrVec::encode_one(&self.addr, e)?;
        e.u64(self.client_cookie)?.u64(self.server_cookie)?;
        e.u64(self.global_seq)?.u64(self.connect_seq)?;
        e.u64(self.in_seq)?;
        Ok(())
    }
}

/// What goes before the segments of a message: preamble, head, and its checksum.
pub type FrameHead = [u8; FRAME_HEAD_LEN];

/// Length of a [`FrameHead`].
pub const FRAME_HEAD_LEN: usize = PREAMBLE_LEN + MESSAGE_HEAD_LEN + CRC_LEN;

/// Writes what goes before the segments of a message. The caller sends front, middle and
/// data themselves, then the [`Epilogue`].
#[inline]
pub fn message_head(
    crypto: &impl Crypto,
    head: &MessageHead,
    [front, middle, data]: [u32; 3],
    out: &mut FrameHead,
) {
    // It is 41.
    #[allow(clippy::cast_possible_truncation)]
    const LEN: u32 = MESSAGE_HEAD_LEN as u32;
    let preamble = Preamble {
        tag: Tag::Message,
        segments: [LEN, front, middle, data],
    };
    let Some((first, rest)) = out.split_first_chunk_mut() else {
        return;
    };
    preamble.write(crypto, first);
    if let Some((segment, crc)) = rest.split_first_chunk_mut() {
        head.write(segment);
        Writer::new(crc).put(crypto.crc32c(CRC_SEED, segment).to_le_bytes());
    }
}

/// Segment of `KEEPALIVE2` and its ack: the time when the first was sent.
pub fn keepalive(d: &mut Decoder<'_>) -> Result<Timespec> {
    d.timespec()
}

fn first_addr(d: &mut Decoder<'_>) -> Result<EntityAddr> {
    let addrs = AddrVec::decode(d)?;
    addrs.0.first().copied().ok_or_else(ebadmsg)
}

/// The address that is meant in an address vector: the one for msgr2.
pub fn msgr2_addr(addrs: &AddrVec) -> Option<EntityAddr> {
    addrs.find(AddrType::MSGR2)
}

/// The client's address as `CLIENT_IDENT` wants it: any protocol, no port.
pub fn client_addr(addr: EntityAddr) -> EntityAddr {
    let mut addr = addr;
    addr.kind = AddrType::ANY;
    if let Some(sock) = &mut addr.sock {
        sock.set_port(0);
    }
    addr
}
