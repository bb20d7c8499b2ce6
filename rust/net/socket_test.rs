// SPDX-License-Identifier: GPL-2.0
//! Tests of [`Socket`](super::Socket) against a plain socket on the loopback
//! interface, which must be up.

use kernel::prelude::*;

#[kunit_tests(kernel_ext_socket)]
mod tests {
    use super::super::socket::RawAddr;
    use super::super::{Net, Socket, SocketCallbacks, TcpState};
    use crate::iov::IovDest;
    use crate::wait::{Reason, WaitQueue, WaitTable};
    use crate::{bindings, crypto, new_wait_queue, time};
    use core::mem::MaybeUninit;
    use core::net::SocketAddr;
    use core::ptr::{self, NonNull};
    use kernel::error::to_result;
    use kernel::prelude::*;
    use kernel::sync::atomic::{Acquire, Atomic, Full, Relaxed, Release};
    use kernel::sync::Arc;
    use kernel::time::Jiffies;

    /// A blocking socket, as any program has it.
    struct Peer(NonNull<bindings::socket>);

    impl Peer {
        fn listen() -> Result<(Self, SocketAddr)> {
            let mut sock = ptr::null_mut();
            let (mut raw, len) = RawAddr::new(&"127.0.0.1:0".parse().map_err(|_| EINVAL)?);
            // SAFETY: The socket and the address are valid for the calls.
            unsafe {
                to_result(bindings::sock_create_kern(
                    Net::current().as_ptr(),
                    bindings::AF_INET as i32,
                    bindings::sock_type_SOCK_STREAM as i32,
                    6,
                    &mut sock,
                ))?;
                let this = Self(NonNull::new(sock).ok_or(ENOMEM)?);
                to_result(bindings::kernel_bind(
                    sock,
                    (&raw mut raw).cast(),
                    len as i32,
                ))?;
                to_result(bindings::kernel_listen(sock, 1))?;
                to_result(bindings::kernel_getsockname(sock, (&raw mut raw).cast()).min(0))?;
                Ok((this, raw.get().ok_or(EINVAL)?))
            }
        }

        fn accept(&self) -> Result<Self> {
            let mut new = ptr::null_mut();
            // SAFETY: We have a listening socket.
            to_result(unsafe { bindings::kernel_accept(self.0.as_ptr(), &mut new, 0) })?;
            Ok(Self(NonNull::new(new).ok_or(ENOMEM)?))
        }

        fn call(&self, buf: &mut [u8], send: bool) -> Result<usize> {
            let len = buf.len();
            let mut vec = bindings::kvec {
                iov_base: buf.as_mut_ptr().cast(),
                iov_len: len,
            };
            // SAFETY: All zeroes is a valid value of this C struct.
            let mut msg: bindings::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
            let (sock, msg) = (self.0.as_ptr(), &mut msg);
            // SAFETY: `vec` describes the buffer.
            let ret = unsafe {
                if send {
                    bindings::kernel_sendmsg(sock, msg, &mut vec, 1, len)
                } else {
                    bindings::kernel_recvmsg(sock, msg, &mut vec, 1, len, 0)
                }
            };
            to_result(ret)?;
            Ok(ret as usize)
        }
    }

    impl Drop for Peer {
        fn drop(&mut self) {
            // SAFETY: It is ours.
            unsafe { bindings::sock_release(self.0.as_ptr()) }
        }
    }

    #[pin_data]
    struct Events {
        #[pin]
        queue: WaitQueue,
        #[pin]
        waits: WaitTable,
        readable: Atomic<i32>,
        writable: Atomic<i32>,
        changes: Atomic<i32>,
    }

    impl Events {
        fn new() -> Result<Arc<Self>> {
            Arc::pin_init(
                pin_init!(Self {
                    queue <- new_wait_queue!("kernel_ext_socket"),
                    waits <- WaitTable::new(),
                    readable: Atomic::new(0),
                    writable: Atomic::new(0),
                    changes: Atomic::new(0),
                }),
                GFP_KERNEL,
            )
        }

        fn wait(&self, cond: impl FnMut() -> bool) -> Result {
            self.wait_for(time::secs(20), cond)
        }

        fn wait_for(&self, limit: Jiffies, cond: impl FnMut() -> bool) -> Result {
            self.queue
                .wait_until(&self.waits, Reason::default(), Some(limit), cond)
        }
    }

    impl SocketCallbacks for Events {
        fn data_ready(&self) {
            self.readable.store(1, Release);
            self.queue.wake_all();
        }

        fn write_space(&self) {
            self.writable.store(1, Release);
            self.queue.wake_all();
        }

        fn state_change(&self, _: TcpState) {
            self.changes.fetch_add(1, Relaxed);
            self.queue.wake_all();
        }
    }

    fn pair() -> Result<(Arc<Events>, Socket, Peer)> {
        let (listener, addr) = Peer::listen()?;
        let events = Events::new()?;
        let sock = Socket::connect(&Net::current(), addr, events.clone(), true)?;
        events.wait(|| events.changes.load(Relaxed) > 0)?;
        assert!(sock.state() == TcpState::Established);
        let peer = listener.accept()?;
        Ok((events, sock, peer))
    }

    #[test]
    fn receives_with_crc() -> Result {
        const LEN: usize = 100_000;
        let (events, sock, peer) = pair()?;
        let mut data = KVVec::from_elem(0u8, LEN, GFP_KERNEL)?;
        crate::random::fill(&mut data);
        assert!(sock.local_addr()?.ip().is_loopback());

        let mut head = [0u8; 10];
        let mut front = KVVec::new();
        let mut dest = IovDest::with_len(LEN - 110)?;
        let (mut got, mut sent, mut crc) = (0, 0, 0);
        while got < LEN {
            if sent < LEN {
                let upto = LEN.min(sent + 30_000);
                sent += peer.call(&mut data[sent..upto], true)?;
            }
            got += sock.read_sock(&mut |chunk| {
                if front.is_empty() {
                    // The first bytes of a connection come in one run.
                    chunk.copy_to(&mut head)?;
                }
                let want = 100 - front.len();
                chunk.copy_to_vec(&mut front, want)?;
                chunk.copy_to_iov(&mut dest, usize::MAX, Some(&mut crc))?;
                Ok(())
            })?;
            if got < sent {
                events.wait(|| events.readable.load(Acquire) != 0)?;
                events.readable.store(0, Release);
            }
        }
        assert_eq!(head[..], data[..10]);
        assert_eq!(front[..], data[10..110]);
        assert_eq!(crc, crypto::crc32c(0, &data[110..]));
        let rest = dest.into_buffer().map_err(|_| EINVAL)?;
        assert_eq!(rest[..], data[110..]);

        assert!(!sock.ready().closed);
        drop(peer);
        events.wait(|| sock.ready().closed)?;
        assert_eq!(sock.read_sock(&mut |_| Ok(()))?, 0);
        drop(sock);
        assert!(Arc::into_unique_or_drop(events).is_some());
        Ok(())
    }

    #[test]
    fn stops_and_fails_inside_a_run() -> Result {
        let (events, sock, peer) = pair()?;
        peer.call(&mut [b'x'; 100], true)?;
        events.wait(|| events.readable.load(Acquire) != 0)?;
        let mut calls = 0;
        let n = sock.read_sock(&mut |chunk| {
            calls += 1;
            chunk.skip(30);
            Ok(())
        })?;
        assert_eq!((n, calls), (30, 1));
        let failed = sock.read_sock(&mut |chunk| {
            chunk.skip(20);
            Err(EIO)
        });
        assert!(matches!(failed, Err(e) if e == EIO));
        let mut small = IovDest::with_len(5)?;
        let too_long = sock.read_sock(&mut |c| c.copy_to_iov(&mut small, 50, None).map(drop));
        assert!(matches!(too_long, Err(e) if e == EMSGSIZE));
        let n = sock.read_sock(&mut |chunk| {
            assert_eq!(chunk.len(), 50);
            chunk.skip(50);
            Ok(())
        })?;
        assert_eq!(n, 50);

        // Two runs, as there is a pause in between and no coalescing of read ones.
        peer.call(&mut [b'y'; 10], true)?;
        peer.call(&mut [b'z'; 10], true)?;
        events.wait(|| {
            let mut calls = 0;
            let n = sock.read_sock(&mut |chunk| {
                calls += 1;
                let _ = chunk.copy_to(&mut [0; 10])?;
                chunk.stop();
                Ok(())
            });
            assert!(calls <= 1);
            n == Ok(10)
        })?;
        Ok(())
    }

    #[test]
    fn sends_until_full_and_goes_on() -> Result {
        let (events, sock, peer) = pair()?;
        let block = KVVec::from_elem(7u8, 64 << 10, GFP_KERNEL)?;
        let mut sent = 0;
        loop {
            match sock.send(&[b"ab", &block, b"c"], true) {
                Ok(n) => sent += n,
                Err(e) if e == EAGAIN => {
                    // What the peer's side takes late makes room once more.
                    let room = || events.writable.xchg(0, Full) != 0;
                    if events.wait_for(time::msecs(200), room).is_err() {
                        break;
                    }
                }
                Err(e) => return Err(e),
            }
        }
        assert!(sent > block.len());
        let mut buf = KVVec::from_elem(0u8, 64 << 10, GFP_KERNEL)?;
        let mut received = 0;
        while events.writable.load(Acquire) == 0 && received < sent {
            received += peer.call(&mut buf, false)?;
        }
        events.wait(|| events.writable.load(Acquire) != 0)?;
        assert!(sock.send(&[b"more"], false)? > 0);
        drop(sock);
        drop(peer);
        assert!(Arc::into_unique_or_drop(events).is_some());
        Ok(())
    }

    #[test]
    fn nothing_lingers() -> Result {
        let (events, sock, peer) = pair()?;
        // More than the peer's side takes, so that something is not sent when it ends.
        let block = KVVec::from_elem(7u8, 64 << 10, GFP_KERNEL)?;
        let mut sent = 0;
        for _ in 0..1000 {
            match sock.send(&[&block], false) {
                Ok(n) => sent += n,
                Err(e) if e == EAGAIN => {
                    let room = || events.writable.xchg(0, Full) != 0;
                    if events.wait_for(time::msecs(200), room).is_err() {
                        break;
                    }
                }
                Err(e) => return Err(e),
            }
        }
        drop(sock);
        // The peer is told at once, and not by an end after all of it.
        let mut buf = KVVec::from_elem(0u8, 64 << 10, GFP_KERNEL)?;
        let mut received = 0;
        let end = loop {
            match peer.call(&mut buf, false) {
                Ok(0) => break Ok(()),
                Ok(n) => received += n,
                Err(e) => break Err(e),
            }
        };
        assert!(matches!(end, Err(e) if e.to_errno() == -104));
        assert!(received < sent);
        Ok(())
    }

    #[test]
    fn refused() -> Result {
        let (listener, addr) = Peer::listen()?;
        drop(listener);
        let events = Events::new()?;
        match Socket::connect(&Net::current(), addr, events.clone(), false) {
            Ok(sock) => {
                events.wait(|| sock.state() == TcpState::Close)?;
                assert!(sock.take_error().is_err());
                assert!(sock.take_error().is_ok());
                assert!(sock.send(&[b"x"], false).is_err());
            }
            Err(e) => assert!(e != EINVAL),
        }
        assert!(Arc::into_unique_or_drop(events).is_some());
        Ok(())
    }

    #[test]
    fn addresses() -> Result {
        for text in ["10.1.2.3:3300", "[fe80::1%7]:6789", "[::1]:1"] {
            let addr: SocketAddr = text.parse().map_err(|_| EINVAL)?;
            let (raw, _) = RawAddr::new(&addr);
            assert!(raw.get() == Some(addr));
        }
        Ok(())
    }
}
