// SPDX-License-Identifier: GPL-2.0
//! One session with a monitor: the callbacks of its connection.
use kernel::{prelude::*, sync::Arc, sync::MutexGuard};

use ceph_proto::errno;
use ceph_proto::machine::{auth::Step, subs::Sub};
use ceph_proto::wire::{
    mon::{self, kind},
    monmap::{Mon, MonMap},
};

use super::{
    auth::State,
    cause::Cause,
    client::{Inner, MonClient},
    maps::now,
};
use crate::auth::{self, KernelCrypto, Refusal};
use crate::log::{error, info, warning};
use crate::messenger::{
    Alloc, AuthBadMethod, AuthKeys, AuthRequest, Broken, Connection, ConnectionOps, Header,
    Incoming,
};

/// What the connection calls; with the number of the session, so that calls of an
/// old one are known.
pub(super) struct Session {
    monc: Arc<MonClient>,
    number: u64,
    mon: Mon,
}

impl Session {
    pub(super) fn new(monc: Arc<MonClient>, number: u64, mon: Mon) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { monc, number, mon }, GFP_KERNEL)?)
    }

    /// Subscribes, and asks again what was asked before.
    fn opened(&self, inner: &mut Inner) {
        let monc = &self.monc;
        inner.cause = None;
        inner.broken = None;
        inner.lost_at = None;
        inner.subs.session_opened(now());
        if inner.hunt.found() {
            monc.schedule(inner);
        }
        monc.send_subs(inner);
        monc.resend_requests(inner);
        let Mon { rank, addr } = self.mon;
        info!("mon{rank} {addr} session established\n");
        monc.events
            .add(format_args!("mon{rank} {addr} session established"));
    }

    /// The monitor does not take us, or is not who it should be.
    fn refused(&self, error: Error) {
        // That there is no memory says nothing of the key: the next attempt will.
        if error == ENOMEM {
            return;
        }
        if let Ok(method) = self.lock_auth().map(|auth| auth.client.method()) {
            self.blame(Cause::Refused(self.mon, Refusal::client(method, error)));
        }
    }

    fn blame(&self, cause: Cause) {
        if let Some(mut inner) = self.monc.lock_session(self.number) {
            self.monc.blame(&mut inner, cause);
        }
    }

    fn lock_auth(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.monc.auth.lock_session(self.number);
        state.ok_or_else(errno::econnaborted)
    }

    fn handle_monmap(&self, msg: &Incoming) -> Result {
        let monc = &self.monc;
        let map = Arc::new(
            MonMap::decode_for(monc.messenger.addr_kind(), &msg.front)?,
            GFP_KERNEL,
        )?;
        if monc.check_fsid(&map.fsid).is_err() {
            return Ok(());
        }
        if let Some(mut inner) = monc.lock_session(self.number) {
            let current = map
                .mons
                .iter()
                .position(|m| m.addr.sock == self.mon.addr.sock);
            inner.hunt.renumber(current);
            if inner.subs.get(Sub::MonMap).1 != map.epoch {
                monc.events.add(format_args!("monmap {}", map.epoch));
            }
            inner.subs.got(Sub::MonMap, map.epoch);
            // The guard is gone before the old map is.
            let old = core::mem::replace(&mut *monc.map.lock(), map);
            drop(old);
        }
        monc.changed.wake_all();
        Ok(())
    }

    fn handle_auth_reply(&self, msg: &Incoming) {
        let monc = &self.monc;
        if self.is_proving() {
            return self.authenticated(msg);
        }
        let Err(error) = monc.renewed(self.number, &msg.front) else {
            return;
        };
        error!("cannot renew tickets: {}\n", error.to_errno());
        if let Some(mut inner) = monc.lock_session(self.number) {
            monc.reopen(&mut inner);
            monc.schedule(&inner);
        }
    }

    /// With msgr1 the client authenticates by messages, once the connection is open.
    fn prove(&self) {
        let sent = self.lock_auth().and_then(|mut auth| {
            let front = auth.client.request_by_message()?;
            self.monc.send_auth(front)
        });
        if let Err(error) = sent {
            self.refused(error);
        }
    }

    /// Whether [`Self::prove`] has not come to its end.
    fn is_proving(&self) -> bool {
        self.lock_auth().is_ok_and(|auth| auth.client.is_proving())
    }

    /// The monitor's answer to [`Self::prove`].
    fn authenticated(&self, msg: &Incoming) {
        let monc = &self.monc;
        let done = self.lock_auth().and_then(|mut auth| {
            let now = auth::now();
            let step = auth
                .client
                .reply_by_message(&KernelCrypto, now, &msg.front)?;
            match step {
                Step::Send(front) => monc.send_auth(front).map(|()| None),
                Step::Done => Ok(Some(auth.client.global_id())),
            }
        });
        match done {
            Ok(None) => {}
            Ok(Some(global_id)) => {
                monc.messenger.set_global_id(global_id);
                if let Some(mut inner) = monc.lock_session(self.number) {
                    self.opened(&mut inner);
                }
            }
            Err(error) => {
                let is_ticket = self.lock_auth().is_ok_and(|mut auth| auth.client.refused());
                if !is_ticket {
                    self.refused(error);
                }
                // To another monitor, or once more after a pause.
                if let Some(mut inner) = monc.lock_session(self.number) {
                    if inner.hunt.lost() {
                        monc.reopen(&mut inner);
                    }
                    monc.schedule(&inner);
                }
            }
        }
    }

    fn handle_subscribe_ack(&self, msg: &Incoming) -> Result {
        let (duration, _) = mon::subscribe_ack(&msg.front)?;
        if let Some(mut inner) = self.monc.lock_session(self.number) {
            inner.subs.acknowledged(duration);
        }
        Ok(())
    }

    fn handle(&self, msg: &Incoming) -> Result {
        if is_reply(msg.header.kind) {
            self.monc.handle_reply(msg);
            return Ok(());
        }
        let Some(version) = understood(msg.header.kind) else {
            warn_unknown(msg.header.kind);
            return Ok(());
        };
        msg.header.check_compat(version)?;
        match msg.header.kind {
            kind::MON_MAP => self.handle_monmap(msg),
            kind::MON_SUBSCRIBE_ACK => self.handle_subscribe_ack(msg),
            kind::AUTH_REPLY => {
                self.handle_auth_reply(msg);
                Ok(())
            }
            other => {
                let maps = self
                    .monc
                    .lock_session(self.number)
                    .and_then(|i| i.maps.clone());
                let Some(maps) = maps else { return Ok(()) };
                if !maps.dispatch(&self.monc, msg)? {
                    warning!("received unknown message type {other}\n");
                }
                Ok(())
            }
        }
    }
}

/// Whether it answers a request, which knows what it understands.
fn is_reply(kind: u16) -> bool {
    matches!(
        kind,
        kind::STATFS_REPLY | kind::MON_GET_VERSION_REPLY | kind::MON_COMMAND_ACK
    )
}

/// Up to which version of its encoding a message is read.
fn understood(kind: u16) -> Option<u16> {
    match kind {
        kind::MON_MAP | kind::MON_SUBSCRIBE_ACK | kind::AUTH_REPLY | kind::FS_MAP_USER => Some(1),
        kind::MDS_MAP => Some(2),
        kind::OSD_MAP => Some(4),
        _ => None,
    }
}

fn warn_unknown(kind: u16) {
    warning!("monitor sends message of unknown type {kind}\n");
}

impl ConnectionOps for Session {
    fn alloc_msg(&self, _con: &Arc<Connection>, header: &Header) -> Alloc {
        match header.kind {
            reply if is_reply(reply) => match self.monc.has_request(header.tid) {
                true => Alloc::Accept,
                false => Alloc::Skip,
            },
            known if understood(known).is_some() => Alloc::Accept,
            unknown => {
                warn_unknown(unknown);
                Alloc::Skip
            }
        }
    }

    fn dispatch(&self, _con: &Arc<Connection>, msg: Incoming) -> Result {
        self.handle(&msg).inspect_err(|error| {
            let Mon { rank, addr } = self.mon;
            let errno = error.to_errno();
            error!(
                "mon{rank} {addr} cannot take in message of type {}, version {}: {errno}\n",
                msg.header.kind, msg.header.version
            );
            if *error == ENOMEM {
                // Says nothing of the monitor; the next session asks for it again.
                return;
            }
            if let Some(mut inner) = self.monc.lock_session(self.number) {
                inner.hunt.distrust();
                self.monc.schedule(&inner);
            }
        })
    }

    fn established(&self, _con: &Arc<Connection>) {
        if self.monc.messenger.is_msgr1() {
            return self.prove();
        }
        if let Some(mut inner) = self.monc.lock_session(self.number) {
            self.opened(&mut inner);
        }
    }

    fn fault(&self, _con: &Arc<Connection>, broken: &Broken) {
        if let Some(mut inner) = self.monc.lock_session(self.number) {
            inner.broken = Some((self.mon, *broken));
            if let Some(cause) = Cause::of(self.mon, broken) {
                self.monc.blame(&mut inner, cause);
            }
            if inner.hunt.lost() {
                self.monc.reopen(&mut inner);
                self.monc.schedule(&inner);
            }
        }
    }

    fn auth_request(&self, _con: &Arc<Connection>) -> Result<AuthRequest> {
        let (method, payload) = {
            let mut auth = self.lock_auth()?;
            (auth.client.method(), auth.client.request()?)
        };
        auth::request(method, payload)
    }

    fn auth_more(&self, _con: &Arc<Connection>, payload: &[u8]) -> Result<KVVec<u8>> {
        let answer = self.lock_auth()?.client.more(&KernelCrypto, payload);
        answer.inspect_err(|error| self.refused(*error))
    }

    fn auth_done(
        &self,
        _con: &Arc<Connection>,
        global_id: u64,
        _con_mode: u32,
        payload: &[u8],
    ) -> Result<AuthKeys> {
        let done = {
            let mut auth = self.lock_auth()?;
            let now = auth::now();
            auth.client.done(&KernelCrypto, now, global_id, payload)
        };
        let keys = done.inspect_err(|error| self.refused(*error))?;
        self.monc.messenger.set_global_id(global_id);
        Ok(auth::keys(keys))
    }

    fn auth_bad_method(&self, _con: &Arc<Connection>, bad: &AuthBadMethod) -> Result {
        let refusal = Refusal::of(bad);
        let is_client = matches!(refusal, Refusal::Client { .. });
        if is_client && self.lock_auth()?.client.refused() {
            let Mon { rank, addr } = self.mon;
            // The connection tries again by itself.
            info!("mon{rank} {addr} does not take our ticket, beginning without\n");
            self.monc
                .events
                .add(format_args!("mon{rank} does not take our ticket"));
        } else {
            self.blame(Cause::Refused(self.mon, refusal));
        }
        Err(refusal.error())
    }
}
