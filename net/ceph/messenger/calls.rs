// SPDX-License-Identifier: GPL-2.0
//! What the work of a connection calls its owner for, with no lock held, and what it
//! does with the answers.
use kernel::{prelude::*, sync::Arc};

use ceph_proto::machine::msgr2::Fault;
use ceph_proto::wire::msgr2::AuthBadMethod;

use super::{
    actor::Actor,
    connection::{Connection, Lent},
    crypto::KernelCrypto,
    message::{Header, Incoming},
    ops::{Alloc, Broken, ConnectionOps},
};

/// Why a connection is reset whose owner cannot make sense of a message, and has said so.
pub(super) const CORRUPT: &str = "corrupt message";

/// A call of the owner for anything but a message.
pub(super) enum Call {
    AuthRequest,
    AuthBadMethod(AuthBadMethod),
    AuthMore(KVVec<u8>),
    AuthDone {
        global_id: u64,
        con_mode: u32,
        payload: KVVec<u8>,
    },
    Established {
        /// The peer has forgotten the session that was.
        reset: bool,
    },
    Fault(Option<Lent>, Broken),
}

/// Hands an answer of the owner to the actor, unless the session is over.
fn answer(con: &Connection, generation: u64, f: impl FnOnce(&mut Actor) -> Result<(), Fault>) {
    let mut actor = con.actor.lock();
    if actor.generation == generation {
        if let Err(fault) = f(&mut actor) {
            actor.failed = Some(fault);
        }
    }
}

/// Asks the owner where the data of a message shall go.
pub(super) fn alloc(
    con: &Arc<Connection>,
    generation: u64,
    ops: &dyn ConnectionOps,
    header: &Header,
) {
    let mut alloc = Some(ops.alloc_msg(con, header));
    answer(con, generation, |actor| {
        actor.begin_body(header, alloc.take().unwrap_or(Alloc::Skip))
    });
    // The session ended meanwhile.
    if let Some(Alloc::Fill(dest)) = alloc {
        ops.returned(con, header.tid, dest);
    }
}

/// Gives a message to the owner; whether it took it in.
pub(super) fn dispatch(
    con: &Arc<Connection>,
    generation: u64,
    ops: &dyn ConnectionOps,
    msg: Incoming,
) -> bool {
    match ops.dispatch(con, msg) {
        Ok(()) => true,
        Err(error) => {
            answer(con, generation, |actor| actor.not_taken(error));
            false
        }
    }
}

/// Calls the owner and hands the answer to the machine.
pub(super) fn perform(con: &Arc<Connection>, generation: u64, ops: &dyn ConnectionOps, call: Call) {
    let answer = |f: &mut dyn FnMut(&mut Actor) -> Result<(), Fault>| answer(con, generation, f);
    match call {
        Call::AuthRequest => {
            let request = ops.auth_request(con);
            answer(&mut |actor| actor.auth_request(&request));
        }
        Call::AuthBadMethod(bad) => {
            let request = ops
                .auth_bad_method(con, &bad)
                .and_then(|()| ops.auth_request(con));
            answer(&mut |actor| actor.auth_request(&request));
        }
        Call::AuthMore(payload) => {
            let reply = ops.auth_more(con, &payload);
            answer(&mut |actor| {
                let reply = reply.as_ref().map_err(auth_fault)?;
                actor.with_machine(|m| Ok(m.auth_more(&KernelCrypto, reply)?))
            });
        }
        Call::AuthDone {
            global_id,
            con_mode,
            payload,
        } => {
            let keys = ops.auth_done(con, global_id, con_mode, &payload);
            answer(&mut |actor| {
                let keys = keys.as_ref().map_err(auth_fault)?;
                let key = keys.session_key.as_slice();
                actor.with_machine(|m| Ok(m.auth_done(&KernelCrypto, key)?))
            });
        }
        Call::Established { reset } => {
            if reset {
                ops.peer_reset(con);
            }
            ops.established(con);
        }
        Call::Fault(lent, broken) => {
            if let Some(Lent { tid, dest }) = lent {
                ops.returned(con, tid, dest);
            }
            ops.fault(con, &broken);
        }
    }
}

pub(super) fn auth_fault(error: &Error) -> Fault {
    Fault {
        error: *error,
        why: "authentication failed",
    }
}
