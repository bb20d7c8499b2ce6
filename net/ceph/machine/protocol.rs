// SPDX-License-Identifier: GPL-2.0
//! The protocol of a connection: msgr2 or msgr1, which the messenger does not tell apart.
use kernel::prelude::*;

use super::fault::Fault;
use super::framer::Segments;
use super::msgr1::{self, Crypto};
use super::msgr2::{self, Action, Began, Body, Identity};
use crate::wire::msgr1::FOOTER_LEN;
use crate::wire::msgr2::{AuthRequest, Epilogue, FrameHead, MessageHead, CRC_SEED, FRAME_HEAD_LEN};
use crate::wire::types::{EntityAddr, EntityName, Timespec};

/// Which protocol a client speaks with all its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// msgr1 (`ms_mode=legacy`); whether messages are signed.
    V1 {
        /// All but `nocephx_sign_messages`.
        sign: bool,
    },
    /// msgr2.1.
    V2,
}

/// The session with one peer.
#[derive(Debug)]
pub enum Machine {
    /// msgr1.
    V1(msgr1::Machine),
    /// msgr2.1.
    V2(msgr2::Machine),
}

/// The bytes before or behind the segments of a message.
#[derive(Clone, Copy)]
pub struct Bytes<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Bytes<N> {
    /// None.
    pub const EMPTY: Self = Self {
        bytes: [0; N],
        len: 0,
    };

    /// These bytes; none if they are too many.
    pub fn of(bytes: &[u8]) -> Self {
        let mut this = Self::EMPTY;
        if let Some(place) = this.bytes.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
            this.len = bytes.len();
        }
        this
    }

    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What goes before the segments of a message.
pub type Head = Bytes<FRAME_HEAD_LEN>;
/// What goes behind them.
pub type Tail = Bytes<FOOTER_LEN>;

const _: () = assert!(msgr1::HEAD_LEN <= FRAME_HEAD_LEN);

macro_rules! methods {
    ($($(#[$doc:meta])* $self:ident [$($receiver:tt)*]
        fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        $($(#[$doc])*
        #[inline]
        pub fn $name($($receiver)*, $($arg: $type),*) $(-> $result)? {
            match $self {
                Machine::V1(machine) => machine.$name($($arg),*),
                Machine::V2(machine) => machine.$name($($arg),*),
            }
        })*
    };
}

/// See [`msgr2::Machine`] for what these do.
impl Machine {
    methods! {
        /// A socket is about to be connected, at this time in milliseconds.
        self [&mut self] fn connecting(now: u64) -> u64;
        /// Whether the handshake takes too long.
        self [&self] fn check_deadline(now: u64) -> Result<(), Fault>;
        /// The socket is connected.
        self [&mut self] fn connected() -> Result;
        /// The socket is gone.
        self [&mut self] fn fault();
        /// How many bytes are missing of what is being read.
        self [&self] fn wants() -> usize;
        /// Where the bytes that come next go.
        self [&mut self] fn room() -> Option<(&mut KVVec<u8>, usize)>;
        /// So many bytes were put there.
        self [&mut self] fn filled(len: usize);
        /// The head of the message that is being received, and its lengths.
        self [&self] fn head() -> (&MessageHead, [u32; 3]);
        /// The segments of a message that is complete.
        self [&mut self] fn take_segments() -> Segments;
        /// Whether there may be something to tell without new bytes.
        self [&self] fn has_item() -> bool;
        /// Bytes of data that come next, for the caller to take itself.
        self [&self] fn diverted() -> usize;
        /// Whether diverted data needs a checksum.
        self [&self] fn verifies_data() -> bool;
        /// The checksum of the data diverted so far.
        self [&self] fn data_crc() -> u32;
        /// The caller took data.
        self [&mut self] fn data_taken(len: usize, crc: u32);
        /// Answers [`Action::Head`].
        self [&mut self] fn body(body: Body);
        /// Throws away the rest of the message that is being received.
        self [&mut self] fn skip();
        /// Whether the body of a message is being received.
        self [&self] fn is_receiving() -> bool;
        /// Whether it is time to acknowledge messages.
        self [&self] fn wants_ack() -> bool;
        /// The message that was received last could not be taken in.
        self [&mut self] fn not_taken();
        /// Whether there are bytes to send.
        self [&self] fn has_output() -> bool;
        /// The bytes to send.
        self [&mut self] fn take_output() -> KVVec<u8>;
        /// Whether messages can be sent.
        self [&self] fn is_open() -> bool;
        /// Whether the session was ever open.
        self [&self] fn was_established() -> bool;
        /// Whether the server ends the session with the socket.
        self [&self] fn is_lossy() -> bool;
        /// Features that the server has.
        self [&self] fn peer_features() -> u64;
        /// Features that the server requires and the client lacks.
        self [&self] fn missing_features() -> u64;
        /// The state as the log of the C client has it.
        self [&self] fn state_name() -> &'static str;
    }

    /// A session with `peer`, not yet connected.
    pub fn new(
        version: Version,
        peer: EntityName,
        peer_addr: EntityAddr,
        verify_data: bool,
    ) -> Self {
        match version {
            Version::V1 { sign } => {
                Self::V1(msgr1::Machine::new(peer, peer_addr, verify_data, sign))
            }
            Version::V2 => Self::V2(msgr2::Machine::new(peer, peer_addr, verify_data)),
        }
    }

    /// Takes bytes up to the next thing that the caller must do.
    ///
    /// # Errors
    ///
    /// A [`Fault`]: close the socket.
    pub fn feed(
        &mut self,
        crypto: &impl Crypto,
        input: &mut [u8],
    ) -> Result<(usize, Option<Action>), Fault> {
        match self {
            Self::V1(machine) => machine.feed(crypto, input),
            Self::V2(machine) => machine.feed(crypto, input),
        }
    }

    /// The shortest way for what mostly comes.
    #[inline]
    pub fn feed_message(&mut self, crypto: &impl Crypto, input: &[u8]) -> Option<(usize, Began)> {
        match self {
            Self::V1(machine) => machine.feed_message(crypto, input),
            Self::V2(machine) => machine.feed_message(crypto, input),
        }
    }

    /// As [`Self::feed`] without input.
    ///
    /// # Errors
    ///
    /// A [`Fault`]: close the socket.
    #[inline]
    pub fn go_on(&mut self, crypto: &impl Crypto) -> Result<Option<Action>, Fault> {
        match self {
            Self::V1(machine) => machine.go_on(crypto),
            Self::V2(machine) => machine.go_on(crypto),
        }
    }

    /// What a checksum of data begins with.
    #[inline]
    pub fn data_seed(&self) -> u32 {
        match self {
            Self::V1(_) => 0,
            Self::V2(_) => CRC_SEED,
        }
    }

    /// Gives a message a number and makes what goes before its segments.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` unless open.
    #[inline]
    pub fn message(
        &mut self,
        crypto: &impl Crypto,
        head: MessageHead,
        lens: [u32; 3],
    ) -> Result<(u64, Head)> {
        match self {
            Self::V1(machine) => {
                let (seq, head) = machine.message(crypto, head, lens)?;
                Ok((seq, Head::of(&head)))
            }
            Self::V2(machine) => {
                let mut out = Head {
                    bytes: FrameHead::from([0; FRAME_HEAD_LEN]),
                    len: FRAME_HEAD_LEN,
                };
                let seq = machine.message(crypto, head, lens, &mut out.bytes)?;
                Ok((seq, out))
            }
        }
    }

    /// What goes behind the segments of the message whose `head` [`Self::message`] has made,
    /// given the checksum of its data, if it has any.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[inline]
    pub fn message_tail(
        &mut self,
        crypto: &impl Crypto,
        head: &Head,
        front: &[u8],
        middle: &[u8],
        data: Option<u32>,
    ) -> Result<Tail> {
        match self {
            Self::V1(machine) => {
                let head = head.bytes.first_chunk().ok_or(EINVAL)?;
                let data = data.unwrap_or(0);
                let (tail, len) = machine.message_tail(crypto, head, front, middle, data)?;
                Ok(Tail { bytes: tail, len })
            }
            Self::V2(machine) => Ok(match machine.message_tail(crypto, front, middle, data) {
                Some(tail) => Tail::of(&tail),
                None => Tail::EMPTY,
            }),
        }
    }

    /// Acknowledges what was received so far.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn ack(&mut self, crypto: &impl Crypto) -> Result {
        match self {
            Self::V1(machine) => machine.ack(),
            Self::V2(machine) => machine.ack(crypto),
        }
    }

    /// Asks whether the server is there.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn keepalive(&mut self, crypto: &impl Crypto, now: Timespec) -> Result {
        match self {
            Self::V1(machine) => machine.keepalive(now),
            Self::V2(machine) => machine.keepalive(crypto, now),
        }
    }

    /// Answers [`Action::Hello`] and [`Action::BadMethod`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`, [`E2BIG`].
    pub fn auth_request(&mut self, crypto: &impl Crypto, request: &AuthRequest) -> Result {
        match self {
            Self::V1(machine) => machine.auth_request(request),
            Self::V2(machine) => machine.auth_request(crypto, request),
        }
    }

    /// Answers [`Action::AuthMore`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`, [`E2BIG`].
    pub fn auth_more(&mut self, crypto: &impl Crypto, payload: &[u8]) -> Result {
        match self {
            Self::V1(machine) => machine.auth_more(payload),
            Self::V2(machine) => machine.auth_more(crypto, payload),
        }
    }

    /// Answers [`Action::AuthDone`].
    ///
    /// # Errors
    ///
    /// `EPROTONOSUPPORT` for a mode that is not known, `ENOMEM`.
    pub fn auth_done(&mut self, crypto: &impl Crypto, key: &[u8]) -> Result<(), Fault> {
        match self {
            Self::V1(machine) => Ok(machine.auth_done(key)?),
            Self::V2(machine) => machine.auth_done(crypto, key),
        }
    }

    /// Answers [`Action::Identify`], [`Action::RetryGlobal`] and [`Action::PeerReset`].
    ///
    /// # Errors
    ///
    /// `EADDRNOTAVAIL` if the address is blank, `ENOMEM`.
    pub fn identify(&mut self, crypto: &impl Crypto, identity: &Identity) -> Result {
        match self {
            Self::V1(machine) => machine.identify(identity),
            Self::V2(machine) => machine.identify(crypto, identity),
        }
    }

    /// The tail of a message that was given up half-way, and is as long as `tail`: the peer
    /// passes over the message. `crcs` are the checksums of its segments as they were sent.
    pub fn aborted_tail(is_v1: bool, tail: &Tail, crcs: [u32; 3]) -> Tail {
        match is_v1 {
            // Not complete, so nobody looks at the rest.
            true => Tail {
                bytes: [0; FOOTER_LEN],
                len: tail.len,
            },
            false => {
                let aborted = true;
                Tail::of(&Epilogue { aborted, crcs }.encode())
            }
        }
    }
}
