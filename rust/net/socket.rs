// SPDX-License-Identifier: GPL-2.0
//! A TCP socket that never blocks and tells by callbacks when to go on.
//!
//! The socket is in the process of connecting after [`Socket::connect`];
//! [`SocketCallbacks::state_change`] says when it is established. Callbacks only
//! start work: they run in softirq under a spin lock.
//!
//! C headers: [`include/linux/net.h`](srctree/include/linux/net.h),
//! [`include/net/sock.h`](srctree/include/net/sock.h)
//!
//! ```
//! use core::net::SocketAddr;
//! use kernel::sync::atomic::{Atomic, Relaxed};
//! use kernel::sync::Arc;
//! use kernel_ext::net::{Net, Socket, SocketCallbacks, TcpState};
//!
//! struct Events {
//!     calls: Atomic<i32>,
//! }
//!
//! // Real callbacks queue work, which then sends or reads.
//! impl SocketCallbacks for Events {
//!     fn data_ready(&self) {
//!         self.calls.fetch_add(1, Relaxed);
//!     }
//!     fn write_space(&self) {
//!         self.calls.fetch_add(1, Relaxed);
//!     }
//!     fn state_change(&self, _state: TcpState) {
//!         self.calls.fetch_add(1, Relaxed);
//!     }
//! }
//!
//! fn connect(addr: SocketAddr) -> Result<Socket> {
//!     let events = Arc::new(Events { calls: Atomic::new(0) }, GFP_KERNEL)?;
//!     Socket::connect(&Net::current(), addr, events, true)
//! }
//!
//! // After `state_change(Established)`, and again after `write_space`.
//! fn send(sock: &Socket, header: &[u8], payload: &[u8]) -> Result<usize> {
//!     sock.send(&[header, payload], false)
//! }
//!
//! // After `data_ready`.
//! fn receive(sock: &Socket, buf: &mut [u8]) -> Result<usize> {
//!     sock.read_sock(&mut |chunk| {
//!         chunk.copy_to(buf)?;
//!         chunk.stop();
//!         Ok(())
//!     })
//! }
//! ```

use super::{Net, SkbChunk};
use crate::{bindings, errno};
use core::mem::MaybeUninit;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::ptr::{self, NonNull};
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::Arc;

/// State of a TCP socket (`TCP_*` of `include/net/tcp_states.h`), seen from our side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpState {
    /// Both sides can send.
    Established,
    /// Waits for the answer to its SYN.
    SynSent,
    /// Got a SYN, waits for the ACK of its own.
    SynRecv,
    /// Closed by us; neither FIN nor data may have arrived.
    FinWait1,
    /// Closed by us; waits for the FIN of the peer.
    FinWait2,
    /// Closed; late segments are waited for.
    TimeWait,
    /// Not connected.
    Close,
    /// Closed by the peer; we may send.
    CloseWait,
    /// Closed by both; waits for the ACK of our FIN.
    LastAck,
    /// Listens.
    Listen,
    /// Closed by both at once.
    Closing,
    /// One that this kernel version does not have.
    Unknown,
}

impl TcpState {
    fn from_raw(state: i32) -> Self {
        match state {
            1 => Self::Established,
            2 => Self::SynSent,
            3 => Self::SynRecv,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Close,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            _ => Self::Unknown,
        }
    }
}

/// What there is to read from a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Nothing will come after what is in the queue: the peer has closed its side, or there
    /// is no connection.
    pub closed: bool,
    /// Something has been received that was not read.
    pub data: bool,
}

/// What a socket tells. All run in softirq or process context with a spin lock
/// held: they must not sleep, nor call the socket. None runs after the socket has
/// been dropped.
pub trait SocketCallbacks: Send + Sync {
    /// There is something to read (or an end, or an error).
    fn data_ready(&self);
    /// A send that was short can go on.
    fn write_space(&self);
    /// The connection's state has changed.
    fn state_change(&self, state: TcpState);
}

/// Of `include/uapi/linux/in.h`.
const IPPROTO_TCP: i32 = 6;

type Callback = Option<unsafe extern "C" fn(*mut bindings::sock)>;

/// The C functions that are not installed: ours before [`Socket::connect`] and
/// after `Drop`, else those that were there.
struct Hooks {
    data_ready: Callback,
    write_space: Callback,
    state_change: Callback,
}

/// A connected or connecting TCP socket. Dropping it sleeps, and aborts the connection: the
/// peer gets a reset, not what it has not received yet. So nothing is left of it that would
/// hold the namespace while the peer cannot be reached.
///
/// # Invariants
///
/// `sock` is a live socket that only we release. Until then its `sk_user_data` is
/// the address in `callbacks`.
pub struct Socket {
    sock: NonNull<bindings::socket>,
    hooks: Hooks,
    callbacks: KBox<Arc<dyn SocketCallbacks>>,
    _net: Net,
}

// SAFETY: Sockets are used from any thread; the callbacks are `Send + Sync`.
unsafe impl Send for Socket {}
// SAFETY: As above; the socket has its own lock.
unsafe impl Sync for Socket {}

/// Room for any socket address.
#[repr(C, align(8))]
pub(super) struct RawAddr([u8; 128]);

impl RawAddr {
    pub(super) fn new(addr: &SocketAddr) -> (Self, usize) {
        let mut raw = [0; 128];
        let mut put = |at: usize, bytes: &[u8]| {
            for (to, from) in raw.iter_mut().skip(at).zip(bytes) {
                *to = *from;
            }
        };
        put(2, &addr.port().to_be_bytes());
        // struct sockaddr_in, struct sockaddr_in6
        let len = match addr {
            SocketAddr::V4(addr) => {
                put(0, &(bindings::AF_INET as u16).to_ne_bytes());
                put(4, &addr.ip().octets());
                16
            }
            SocketAddr::V6(addr) => {
                put(0, &(bindings::AF_INET6 as u16).to_ne_bytes());
                put(4, &addr.flowinfo().to_be_bytes());
                put(8, &addr.ip().octets());
                put(24, &addr.scope_id().to_ne_bytes());
                28
            }
        };
        (Self(raw), len)
    }

    pub(super) fn get(&self) -> Option<SocketAddr> {
        fn at<const N: usize>(raw: &[u8; 128], pos: usize) -> Option<[u8; N]> {
            raw.get(pos..pos.checked_add(N)?)?.try_into().ok()
        }
        let raw = &self.0;
        let port = u16::from_be_bytes(at(raw, 2)?);
        match u32::from(u16::from_ne_bytes(at(raw, 0)?)) {
            bindings::AF_INET => {
                Some(SocketAddrV4::new(Ipv4Addr::from(at::<4>(raw, 4)?), port).into())
            }
            bindings::AF_INET6 => Some(
                SocketAddrV6::new(
                    Ipv6Addr::from(at::<16>(raw, 8)?),
                    port,
                    u32::from_be_bytes(at(raw, 4)?),
                    u32::from_ne_bytes(at(raw, 24)?),
                )
                .into(),
            ),
            _ => None,
        }
    }
}

impl Socket {
    /// Creates a socket in `net` and begins to connect it to `addr`. Sleeps, but does not
    /// wait for the peer.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EAFNOSUPPORT`, and what `connect(2)` fails with at once, such as
    /// `ENETUNREACH`.
    pub fn connect(
        net: &Net,
        addr: SocketAddr,
        callbacks: Arc<dyn SocketCallbacks>,
        nodelay: bool,
    ) -> Result<Self> {
        let callbacks = KBox::new(callbacks, GFP_KERNEL)?;
        let hooks = Hooks {
            data_ready: Some(data_ready),
            write_space: Some(write_space),
            state_change: Some(state_change),
        };
        let family = if addr.is_ipv4() {
            bindings::AF_INET
        } else {
            bindings::AF_INET6
        };
        let mut sock = ptr::null_mut();
        // SAFETY: We hold the namespace; `sock` is valid for writes.
        to_result(unsafe {
            bindings::sock_create_kern(
                net.as_ptr(),
                family as i32,
                bindings::sock_type_SOCK_STREAM as i32,
                IPPROTO_TCP,
                &mut sock,
            )
        })?;
        let sock = NonNull::new(sock).ok_or(ENOMEM)?;

        // INVARIANT: A new socket, and `swap_hooks` sets `sk_user_data`.
        let mut this = Self {
            sock,
            hooks,
            callbacks,
            _net: net.clone(),
        };
        // SAFETY: The socket is live and nobody else knows it yet. From here on it counts as a
        // user of the namespace, since what is left of it may outlive its release. That is not
        // for long: it does not linger.
        unsafe {
            bindings::sk_net_refcnt_upgrade(this.sk());
            bindings::sock_no_linger(this.sk());
            bindings::sock_prepare_for_reclaim(this.sk());
            if nodelay {
                bindings::tcp_sock_set_nodelay(this.sk());
            }
        }
        let callbacks = ptr::from_ref::<Arc<dyn SocketCallbacks>>(&this.callbacks)
            .cast_mut()
            .cast();
        this.swap_hooks(callbacks);

        let (mut raw, len) = RawAddr::new(&addr);
        // SAFETY: The address is valid for `len` bytes.
        let ret = unsafe {
            bindings::kernel_connect(
                this.sock.as_ptr(),
                (&raw mut raw).cast(),
                len as i32,
                bindings::O_NONBLOCK as i32,
            )
        };
        match to_result(ret) {
            Err(e) if e != errno::einprogress() => Err(e),
            _ => Ok(this),
        }
    }

    fn sk(&self) -> *mut bindings::sock {
        // SAFETY: The socket is live; `sk` does not change.
        unsafe { (*self.sock.as_ptr()).sk }
    }

    /// Exchanges the socket's callbacks with those in `hooks`.
    fn swap_hooks(&mut self, user_data: *mut kernel::ffi::c_void) {
        let sk = self.sk();
        let hooks = &mut self.hooks;
        // SAFETY: `sk` is live; the function takes the lock that guards the
        // callbacks. Nobody reads these fields of `hooks` but we.
        unsafe {
            bindings::sock_swap_hooks(
                sk,
                user_data,
                &mut hooks.data_ready,
                &mut hooks.write_space,
                &mut hooks.state_change,
            );
        }
    }

    /// Copies the slices to the socket's send queue, one after the other, as much
    /// as there is space for; `more` says that more will follow at once. Returns how
    /// many bytes were taken; if not all, `write_space` will be called. May sleep for the
    /// socket's lock and for memory. At most 8 slices are looked at.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when there is no space, or the socket is not connected yet; `EPIPE`,
    /// `ECONNRESET` and so on when the connection is dead.
    pub fn send(&self, slices: &[&[u8]], more: bool) -> Result<usize> {
        const MAX: usize = 8;
        let mut vecs = [const {
            bindings::kvec {
                iov_base: ptr::null_mut(),
                iov_len: 0,
            }
        }; MAX];
        let mut flags = bindings::MSG_DONTWAIT | bindings::MSG_NOSIGNAL;
        if more || slices.len() > MAX {
            flags |= bindings::MSG_MORE;
        }
        let (mut n, mut len) = (0, 0usize);
        for (vec, slice) in vecs.iter_mut().zip(slices) {
            vec.iov_base = slice.as_ptr().cast_mut().cast();
            vec.iov_len = slice.len();
            n += 1;
            len = len.saturating_add(slice.len());
        }
        // SAFETY: All zeroes is a valid value of this C struct.
        let mut msg: bindings::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        msg.msg_flags = flags;
        // SAFETY: The socket is live; the first `n` entries describe `len` readable
        // bytes, which are only read.
        let ret = unsafe {
            bindings::kernel_sendmsg(self.sock.as_ptr(), &mut msg, vecs.as_mut_ptr(), n, len)
        };
        to_result(ret)?;
        Ok(ret as usize)
    }

    /// Passes what has been received to `f`, run by run, with the socket locked.
    /// Reading ends when nothing is left, when `f` leaves part of a run (which stays in
    /// the queue), or when it says so ([`SkbChunk::stop`]). `f` may sleep, but must not
    /// call the socket. Returns the number of bytes taken, 0 at the end of the stream as
    /// well (see [`ready`](Self::ready)).
    ///
    /// # Errors
    ///
    /// What `f` returned; what it had taken until then is gone from the queue.
    pub fn read_sock(&self, f: &mut dyn FnMut(&mut SkbChunk<'_>) -> Result) -> Result<usize> {
        let mut ctx = ReadContext {
            f,
            stopped: false,
            result: Ok(()),
        };
        let mut desc = bindings::read_descriptor_t {
            count: 1,
            arg: bindings::read_descriptor_t__bindgen_ty_1 {
                data: (&raw mut ctx).cast(),
            },
            ..Default::default()
        };
        // SAFETY: The socket is live, and of TCP, whose operations have read_sock,
        // which wants the lock held. `desc` and `ctx` outlive the call, which is the
        // only one to call `receive`.
        let ret = unsafe {
            let sk = self.sk();
            bindings::sock_lock(sk);
            let ret = match (*(*self.sock.as_ptr()).ops).read_sock {
                Some(read_sock) => read_sock(sk, &mut desc, Some(receive)),
                None => errno::eopnotsupp().to_errno(),
            };
            bindings::release_sock(sk);
            ret
        };
        ctx.result?;
        to_result(ret)?;
        Ok(ret as usize)
    }

    /// What there is to read. What comes later is told by `data_ready`.
    #[inline]
    pub fn ready(&self) -> Ready {
        // SAFETY: The socket is live.
        let bits = unsafe { bindings::sock_ready(self.sk()) };
        Ready {
            closed: bits & 1 != 0,
            data: bits & 2 != 0,
        }
    }

    /// The connection's state.
    pub fn state(&self) -> TcpState {
        // SAFETY: The socket is live.
        TcpState::from_raw(unsafe { bindings::sock_state(self.sk()) })
    }

    /// The pending error of the socket (`SO_ERROR`), which is cleared.
    ///
    /// # Errors
    ///
    /// That error, such as `ECONNREFUSED` or `ETIMEDOUT`.
    pub fn take_error(&self) -> Result {
        // SAFETY: The socket is live.
        to_result(unsafe { bindings::sock_take_error(self.sk()) })
    }

    /// Our own address in this connection.
    ///
    /// # Errors
    ///
    /// `EAFNOSUPPORT`, or what `getsockname(2)` fails with.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        let mut raw = RawAddr([0; 128]);
        // SAFETY: The buffer has the size of a `struct sockaddr_storage`.
        let ret =
            unsafe { bindings::kernel_getsockname(self.sock.as_ptr(), (&raw mut raw).cast()) };
        to_result(ret.min(0))?;
        raw.get().ok_or(errno::eafnosupport())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The callbacks hold the lock for reading while they use the hooks, so after
        // this none does. One that has been called but not got the lock yet finds no
        // hooks; it ends before sock_release() gets the socket's own lock, in which
        // the stack calls them.
        self.swap_hooks(ptr::null_mut());
        // SAFETY: By the invariants only we release it.
        unsafe { bindings::sock_release(self.sock.as_ptr()) }
    }
}

struct ReadContext<'a> {
    f: &'a mut dyn FnMut(&mut SkbChunk<'_>) -> Result,
    stopped: bool,
    result: Result,
}

/// The `sk_read_actor_t` of [`Socket::read_sock`].
///
/// # Safety
///
/// `desc` is the descriptor of a `read_sock` call that is in progress; `skb` has
/// `len` bytes from `offset` on.
unsafe extern "C" fn receive(
    desc: *mut bindings::read_descriptor_t,
    skb: *mut bindings::sk_buff,
    offset: u32,
    len: usize,
) -> i32 {
    // SAFETY: `Socket::read_sock` put its context there, and does not use it now.
    let ctx = unsafe { &mut *(*desc).arg.data.cast::<ReadContext<'_>>() };
    // tcp_read_sock() looks at `desc->count` only after whole buffers.
    if ctx.stopped {
        return 0;
    }
    // SAFETY: `skb` has these bytes for the duration of this function.
    let mut chunk = unsafe { SkbChunk::new(skb, offset as usize, len) };
    let total = chunk.len();
    ctx.result = (ctx.f)(&mut chunk);
    let taken = total - chunk.len();
    if ctx.result.is_err() || !chunk.goes_on() {
        ctx.stopped = true;
        // SAFETY: `desc` is valid.
        unsafe { (*desc).count = 0 };
    }
    taken as i32
}

/// Calls `f` with the callbacks for `sk`, if they are (still) installed.
///
/// # Safety
///
/// `sk` is a socket with the hooks of a [`Socket`], or had them until just now.
unsafe fn with_callbacks(sk: *mut bindings::sock, f: impl FnOnce(&dyn SocketCallbacks)) {
    // SAFETY: `sk` is valid. `Socket::drop` takes the hooks away under the lock
    // held for writing, so they live while we hold it for reading.
    unsafe {
        let data = bindings::sock_hooks_begin(sk);
        if let Some(callbacks) = data.cast::<Arc<dyn SocketCallbacks>>().as_ref() {
            f(&**callbacks);
        }
        bindings::sock_hooks_end(sk);
    }
}

/// # Safety
///
/// Called by the network stack for a socket with the hooks of a [`Socket`].
unsafe extern "C" fn data_ready(sk: *mut bindings::sock) {
    // SAFETY: The stack calls this for a socket with the hooks of a `Socket`.
    unsafe { with_callbacks(sk, |callbacks| callbacks.data_ready()) }
}

/// # Safety
///
/// Called by the network stack for a socket with the hooks of a [`Socket`].
unsafe extern "C" fn write_space(sk: *mut bindings::sock) {
    // SAFETY: The stack calls this for a socket with the hooks of a `Socket`. The stack keeps SOCK_NOSPACE set, and calls
    // again, until there is enough space for us to clear it.
    unsafe {
        with_callbacks(sk, |callbacks| {
            if bindings::sock_take_nospace(sk) {
                callbacks.write_space();
            }
        })
    }
}

/// # Safety
///
/// Called by the network stack for a socket with the hooks of a [`Socket`].
unsafe extern "C" fn state_change(sk: *mut bindings::sock) {
    // SAFETY: The stack calls this for a socket with the hooks of a `Socket`.
    unsafe {
        with_callbacks(sk, |callbacks| {
            callbacks.state_change(TcpState::from_raw(bindings::sock_state(sk)));
        })
    }
}
