// SPDX-License-Identifier: GPL-2.0
//! Why there is no session with the monitors: for whoever waits for one, for the log, and
//! for the file `health`.
use core::fmt;
use kernel::prelude::*;

use ceph_proto::errno;
use ceph_proto::machine::{msgr1::MSGR2, msgr2::MSGR1};
use ceph_proto::wire::{
    features,
    monmap::{Mon, MON_PORT, MON_PORT_LEGACY},
    types::Fsid,
};

use crate::auth::{Name, Refusal};
use crate::messenger::Broken;
use crate::options::{MsMode, Options};

/// Why there is no session with the monitors.
#[derive(Clone, Copy, Debug)]
pub enum Cause {
    /// A monitor refuses the user, its key, or the way in which we ask.
    Refused(Mon, Refusal),
    /// The monitors are of another cluster.
    OtherCluster {
        /// The one that was asked for.
        wanted: Fsid,
        /// Theirs.
        found: Fsid,
    },
    /// A monitor requires features (a mask) that this client lacks.
    MissingFeatures(Mon, u64),
    /// What is at the address of a monitor speaks msgr1, and the mount does not.
    Msgr1(Mon),
    /// What is at the address of a monitor speaks msgr2, and the mount does not.
    Msgr2(Mon),
    /// No monitor has answered for so many seconds. What became of the last attempt.
    Silent(u32, Option<(Mon, Broken)>),
}

impl Cause {
    /// What the end of a connection says; `None`: nothing but that there is no connection.
    pub(super) fn of(mon: Mon, broken: &Broken) -> Option<Self> {
        match broken {
            broken if broken.missing != 0 => Some(Self::MissingFeatures(mon, broken.missing)),
            broken if broken.why == MSGR1 => Some(Self::Msgr1(mon)),
            broken if broken.why == MSGR2 => Some(Self::Msgr2(mon)),
            _ => None,
        }
    }

    /// The error that waiting for a session ends with at once; `None` if it is worth to go on.
    pub(super) fn in_vain(&self) -> Option<Error> {
        match self {
            Self::Refused(..) => Some(EACCES),
            Self::OtherCluster { .. } => Some(errno::ehostunreach()),
            Self::MissingFeatures(..) => Some(errno::eprotonosupport()),
            // Another one of the addresses may be right.
            Self::Msgr1(_) | Self::Msgr2(_) | Self::Silent(..) => None,
        }
    }

    /// Its text, for a client with these options.
    pub(crate) fn explain(self, options: &Options) -> Explained<'_> {
        Explained {
            cause: self,
            options,
        }
    }
}

/// A [`Cause`] in words: what is wrong, and what to do. One line.
pub struct Explained<'a> {
    cause: Cause,
    options: &'a Options,
}

impl Explained<'_> {
    /// The cause.
    pub fn cause(&self) -> Cause {
        self.cause
    }
}

/// Of which monitor, and where: `mon0 10.0.0.1:3300`.
struct Where(Mon);

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mon { rank, addr } = self.0;
        match addr.sock {
            Some(sock) => write!(f, "mon{rank} {sock}"),
            None => write!(f, "mon{rank}"),
        }
    }
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Refused(mon, refusal) => {
                let name = Name(self.options.entity_name());
                match refusal {
                    Refusal::Client { method, error } => write!(
                        f,
                        "{} auth protocol '{method}' authentication of client.{name} failed: {}; \
                        check that the user exists and that its key is the cluster's",
                        Where(mon),
                        error.to_errno()
                    ),
                    other => write!(f, "{}", other.by("mon")),
                }
            }
            Cause::OtherCluster { wanted, found } => write!(
                f,
                "bad fsid, had {wanted} got {found}: these monitors are of another cluster, check \
                the source of the mount and its monitors"
            ),
            Cause::MissingFeatures(mon, mask) => write!(
                f,
                "{} requires features that this client lacks: {} ({mask:#x}); see `ceph osd \
                get-require-min-compat-client` and `ceph features`",
                Where(mon),
                features::Names(mask)
            ),
            Cause::Msgr1(mon) => write!(
                f,
                "{} speaks msgr1, but the mount asks for msgr2 (ms_mode): {MON_PORT} is the port \
                of msgr2, {MON_PORT_LEGACY} that of msgr1",
                Where(mon)
            ),
            Cause::Msgr2(mon) => write!(
                f,
                "{} speaks msgr2, but the mount asks for msgr1 (no ms_mode, or ms_mode=legacy): \
                {MON_PORT_LEGACY} is the port of msgr1; for msgr2 add ms_mode=prefer-crc",
                Where(mon)
            ),
            Cause::Silent(seconds, last) => {
                write!(f, "no monitor answered within {seconds} s")?;
                if let Some((mon, broken)) = last {
                    let errno = broken.error.to_errno();
                    write!(f, " ({}: {}, {errno})", Where(mon), broken.why)?;
                }
                let addrs = &self.options.mon_addrs;
                write!(
                    f,
                    ": check the addresses of the monitors ({} given), that they run, and that the \
                    network lets us reach their port",
                    addrs.len()
                )?;
                let (port, other) = match self.options.ms_mode {
                    MsMode::Legacy => (MON_PORT_LEGACY, MON_PORT),
                    MsMode::Crc | MsMode::PreferCrc => (MON_PORT, MON_PORT_LEGACY),
                };
                match addrs.iter().any(|addr| addr.port() == other) {
                    true => write!(f, " ({port}, not {other}, with this ms_mode)"),
                    false => Ok(()),
                }
            }
        }
    }
}
