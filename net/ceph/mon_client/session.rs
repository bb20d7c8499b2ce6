// SPDX-License-Identifier: GPL-2.0
//! One session with a monitor: the callbacks of its connection.
use kernel::{prelude::*, sync::Arc};

use ceph_proto::errno;
use ceph_proto::wire::{
    auth::method,
    mon::{self, kind},
    monmap::{Mon, MonMap},
};

use super::{now, Inner, MonClient, Sub};
use crate::auth::{self, KernelCrypto};
use crate::log::{error, info, warning};
use crate::messenger::{
    Alloc, AuthBadMethod, AuthKeys, AuthRequest, Connection, ConnectionOps, Header, Incoming,
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

    /// The monitor knows us: subscribes, and asks again what was asked before.
    fn established(&self, inner: &mut Inner) {
        let monc = &self.monc;
        inner.error = None;
        inner.lost_at = None;
        inner.renewing = false;
        inner.subs.session_opened(now());
        if inner.hunt.found() {
            monc.schedule(inner);
        }
        monc.send_subs(inner);
        monc.resend_queries(inner);
        let Mon { rank, addr } = self.mon;
        info!("mon{rank} {addr} session established\n");
        monc.events
            .add(format_args!("mon{rank} {addr} session established"));
    }

    /// The monitor does not take us, or is not who it should be.
    fn refused(&self, inner: &mut Inner, error: Error) {
        if error == ENOMEM {
            // Says nothing of the key: the next attempt will.
            return;
        }
        let Mon { rank, addr } = self.mon;
        let name = auth::Name(inner.auth.name());
        let protocol = method::name(inner.auth.method());
        // It is tried again and again; one line tells it.
        if inner.error.is_none() {
            error!(
                "mon{rank} {addr} auth protocol '{protocol}' authentication of client.{name} \
                failed: {}; check that the user exists and that its key is the cluster's\n",
                error.to_errno()
            );
            self.monc.events.add(format_args!(
                "mon{rank} refused client.{name}: {}",
                error.to_errno()
            ));
        }
        self.monc.give_up(inner, EACCES);
    }

    fn handle_monmap(&self, msg: &Incoming) -> Result {
        let monc = &self.monc;
        let map = Arc::new(MonMap::decode(&msg.front)?, GFP_KERNEL)?;
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
        let Some(mut inner) = monc.lock_session(self.number) else {
            return;
        };
        inner.renewing = false;
        let next = inner.auth.renewed(&KernelCrypto, auth::now(), &msg.front);
        let sent = next.and_then(|front| match front {
            Some(front) => monc.send_auth(front).map(|()| true),
            None => Ok(false),
        });
        match sent {
            Ok(sent) => inner.renewing = sent,
            Err(error) => {
                // A new session begins with a new proof.
                error!("cannot renew tickets: {}\n", error.to_errno());
                monc.reopen(&mut inner);
                monc.schedule(&inner);
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
        let Some(version) = understood(msg.header.kind) else {
            warn_unknown(msg.header.kind);
            return Ok(());
        };
        msg.header.check_compat(version)?;
        match msg.header.kind {
            kind::MON_MAP => self.handle_monmap(msg),
            kind::MON_SUBSCRIBE_ACK => self.handle_subscribe_ack(msg),
            kind::STATFS_REPLY | kind::MON_GET_VERSION_REPLY | kind::MON_COMMAND_ACK => {
                self.monc.handle_answer(msg)
            }
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

/// Up to which version of its encoding a message is read.
fn understood(kind: u16) -> Option<u16> {
    match kind {
        kind::MON_MAP
        | kind::STATFS_REPLY
        | kind::MON_SUBSCRIBE_ACK
        | kind::AUTH_REPLY
        | kind::MON_COMMAND_ACK
        | kind::FS_MAP_USER => Some(1),
        kind::MON_GET_VERSION_REPLY | kind::MDS_MAP => Some(2),
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
            kind::STATFS_REPLY | kind::MON_COMMAND_ACK if !self.monc.has_query(header.tid) => {
                Alloc::Skip
            }
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

    fn fault(&self, _con: &Arc<Connection>) {
        if let Some(mut inner) = self.monc.lock_session(self.number) {
            if inner.hunt.lost() {
                self.monc.reopen(&mut inner);
                self.monc.schedule(&inner);
            }
        }
    }

    fn auth_request(&self, _con: &Arc<Connection>) -> Result<AuthRequest> {
        let mut inner = self
            .monc
            .lock_session(self.number)
            .ok_or_else(errno::econnaborted)?;
        let payload = inner.auth.request()?;
        auth::request(inner.auth.method(), payload)
    }

    fn auth_more(&self, _con: &Arc<Connection>, payload: &[u8]) -> Result<KVVec<u8>> {
        let mut inner = self
            .monc
            .lock_session(self.number)
            .ok_or_else(errno::econnaborted)?;
        let answer = inner.auth.more(&KernelCrypto, payload);
        answer.inspect_err(|error| self.refused(&mut inner, *error))
    }

    fn auth_done(
        &self,
        _con: &Arc<Connection>,
        global_id: u64,
        _con_mode: u32,
        payload: &[u8],
    ) -> Result<AuthKeys> {
        let mut inner = self
            .monc
            .lock_session(self.number)
            .ok_or_else(errno::econnaborted)?;
        let keys = inner
            .auth
            .done(&KernelCrypto, auth::now(), global_id, payload)
            .inspect_err(|error| self.refused(&mut inner, *error))?;
        let keys = auth::keys(&keys)?;
        self.monc.messenger.set_global_id(global_id);
        self.established(&mut inner);
        Ok(keys)
    }

    fn auth_bad_method(&self, _con: &Arc<Connection>, bad: &AuthBadMethod) -> Result {
        let mut inner = self
            .monc
            .lock_session(self.number)
            .ok_or_else(errno::econnaborted)?;
        let error = auth::bad_method(inner.error.is_none(), "mon", bad);
        if auth::is_refusal(bad) {
            self.refused(&mut inner, error);
        } else {
            self.monc.give_up(&mut inner, error);
        }
        Err(error)
    }
}
