// SPDX-License-Identifier: GPL-2.0
//! What goes out to the socket: frames of the handshake and control frames, then messages.
use kernel::{prelude::*, sync::Arc};
use kernel_ext::net::Socket;

use ceph_proto::machine::{msgr2::Fault, protocol::Machine};

use super::{
    crypto::KernelCrypto, keepalive::now, message::Message, sending::Sending, shared::Shared,
};

/// The sending half of a connection.
pub(super) struct Outbound {
    /// Frames that are being sent, and how far.
    frames: KVVec<u8>,
    frames_at: usize,
    /// The message that is being sent.
    sending: Option<Sending>,
}

impl Outbound {
    pub(super) fn new() -> Self {
        Self {
            frames: KVVec::new(),
            frames_at: 0,
            sending: None,
        }
    }

    /// The socket is gone.
    pub(super) fn fault(&mut self) {
        *self = Self::new();
    }

    /// The message was revoked: if it is being sent, not another byte of it is read.
    pub(super) fn abort(&mut self, msg: &Arc<Message>) {
        if let Some(sending) = self.sending.as_mut().filter(|sending| sending.is(msg)) {
            sending.abort(&KernelCrypto);
        }
    }

    /// Whether there may be something to send.
    pub(super) fn has_output<O: Unpin>(&self, machine: &Machine, shared: &Shared<O>) -> bool {
        let started = self.sending.is_some() || self.frames_at < self.frames.len();
        started || machine.has_output() || shared.has_work()
    }

    /// Sends what there is, as far as the socket takes it. `keep` says that messages stay in
    /// the queue until they are acknowledged.
    #[inline]
    pub(super) fn transmit<O: Unpin>(
        &mut self,
        sock: &Socket,
        machine: &mut Machine,
        shared: &Shared<O>,
        generation: u64,
        keep: bool,
    ) -> Result<(), Fault> {
        if !self.has_output(machine, shared) {
            return Ok(());
        }
        match self.try_transmit(sock, machine, shared, generation, keep) {
            Err(fault) if fault.error == EAGAIN => Ok(()),
            result => result,
        }
    }

    #[inline(never)]
    fn try_transmit<O: Unpin>(
        &mut self,
        sock: &Socket,
        machine: &mut Machine,
        shared: &Shared<O>,
        generation: u64,
        keep: bool,
    ) -> Result<(), Fault> {
        loop {
            // First the rest of what was begun, and frames.
            if let Some(sending) = &mut self.sending {
                sending
                    .send(|slices, more| sock.send(slices, more))
                    .map_err(write_error)?;
                self.sending = None;
            }
            while let Some(rest @ [_, ..]) = self.frames.get(self.frames_at..) {
                self.frames_at += sock.send(&[rest], false).map_err(write_error)?;
            }
            if machine.has_output() {
                self.frames = machine.take_output();
                self.frames_at = 0;
                continue;
            }
            if !machine.is_open() || !shared.has_work() {
                return Ok(());
            }
            let (keepalive, msg, more) = {
                let mut state = shared.lock();
                if state.generation != generation {
                    return Ok(());
                }
                let (keepalive, msg) = match core::mem::take(&mut state.keepalive) {
                    true => (true, None),
                    false => (false, state.queue.next(keep)),
                };
                // Who may take it out again needs our lock, so what comes now, comes.
                let more = !state.queue.is_idle();
                shared.set_work(more || keepalive);
                (keepalive, msg, more)
            };
            if keepalive {
                machine.keepalive(&KernelCrypto, now())?;
                continue;
            }
            let Some(msg) = msg else {
                return Ok(());
            };
            let mut sending = Sending::new(msg, more);
            sending.begin(&KernelCrypto, machine)?;
            if let Err(error) = sending.send(|slices, more| sock.send(slices, more)) {
                self.sending = Some(sending);
                return Err(write_error(error));
            }
        }
    }
}

fn write_error(error: Error) -> Fault {
    Fault {
        error,
        why: "write error",
    }
}
