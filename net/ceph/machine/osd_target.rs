// SPDX-License-Identifier: GPL-2.0
//! Where a request to an object goes, and whether a new map changes that.
//!
//! The OSDs of a placement group forget requests when its *interval* ends (the set of
//! OSDs, or who is primary, changes), so whoever waits has to send again. What a request
//! does about that is in [`osd_request`](super::osd_request).
use kernel::{prelude::*, sync::Arc};

use super::placements::UpActing;
use crate::crush::placement::{is_split, OsdSet, NO_OSD};
use crate::wire::encode::Writer;
use crate::wire::osd::{flag, SpgId, NO_SNAP};
use crate::wire::osd_backoff::HObject;
use crate::wire::osdmap::{flags, OsdMap};
use crate::wire::osdmap_pool::{PgId, Pool, PoolType};

/// An object's name of up to [`ObjectName::MAX`] bytes, without allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ObjectName {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl ObjectName {
    /// Longest name; that of a file's object has at most 33 bytes.
    pub const MAX: usize = 100;

    /// A name.
    ///
    /// # Errors
    ///
    /// [`E2BIG`] if it is too long.
    pub fn new(name: &[u8]) -> Result<Self> {
        let mut bytes = [0; Self::MAX];
        let place = bytes.get_mut(..name.len()).ok_or(E2BIG)?;
        place.copy_from_slice(name);
        let len = u8::try_from(name.len()).map_err(|_| E2BIG)?;
        Ok(Self { bytes, len })
    }

    /// The object with a number of the file with an inode number.
    pub fn of_file(ino: u64, object: u64) -> Self {
        let mut name = Self {
            bytes: [0; Self::MAX],
            len: 0,
        };
        // 16 + 1 + 16 digits at most.
        name.hex(ino, 1);
        name.push(b".");
        name.hex(object, 8);
        name
    }

    /// Adds bytes, for which there is room in the names that are made here.
    fn push(&mut self, bytes: &[u8]) {
        let start = usize::from(self.len);
        let end = start.saturating_add(bytes.len());
        if let (Some(room), Ok(len)) = (self.bytes.get_mut(start..end), u8::try_from(end)) {
            room.copy_from_slice(bytes);
            self.len = len;
        }
    }

    fn hex(&mut self, number: u64, min_digits: usize) {
        let zeros = (number | 1).leading_zeros();
        // 1 to 16.
        let digits = (u64::BITS.wrapping_sub(zeros).wrapping_add(3) >> 2) as usize;
        let [high, low] = [number >> 32, number].map(hex_digits);
        let mut all = [0; 16];
        let mut w = Writer::new(&mut all);
        w.put(high);
        w.put(low);
        let first = all.len().saturating_sub(digits.max(min_digits));
        self.push(all.get(first..).unwrap_or_default());
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

/// The lower half of a number in hexadecimal digits, all at once.
fn hex_digits(number: u64) -> [u8; 8] {
    // A nibble in each byte.
    let n = number & 0xffff_ffff;
    let n = (n | n << 16) & 0x0000_ffff_0000_ffff;
    let n = (n | n << 8) & 0x00ff_00ff_00ff_00ff;
    let n = (n | n << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // A 1 in each byte whose digit is a letter.
    let letters = n.wrapping_add(0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    let offset = letters.wrapping_mul(u64::from(b'a' - b'0' - 10));
    n.wrapping_add(0x3030_3030_3030_3030)
        .wrapping_add(offset)
        .to_be_bytes()
}

/// What became of a target with a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing that matters.
    Unchanged,
    /// The request has to be sent (again), to [`Target::osd`].
    Send,
    /// The pool is not in the map.
    PoolGone,
    /// There is no memory for where it goes. Nothing has changed, not the epoch either.
    NoMemory,
}

/// What decides besides the map.
pub struct Context<'a> {
    /// Requests wait for a map of this epoch.
    pub barrier: u32,
    /// Picks the position of a replica of the set to read from.
    pub pick: &'a dyn Fn(&OsdMap, &OsdSet) -> usize,
    /// Where the group of a hash is: [`OsdMap::pg_to_up_acting`], or what is remembered of
    /// that ([`Placements`](super::placements::Placements)). Without memory for it, none.
    pub place: &'a Place<'a>,
}

/// Where a group is by a map.
pub type Place<'a> = dyn Fn(&OsdMap, &Pool, PgId) -> Option<Arc<UpActing>> + 'a;

/// Where a request goes.
pub struct Target {
    /// Pool that the object belongs to; cache tiers are beside it.
    base_pool: i64,
    namespace: KVec<u8>,
    object: ObjectName,
    /// [`flag`] of `wire::osd`.
    pub flags: u32,
    /// Pool that the request goes to.
    pub pool: i64,
    /// Full hash of the object.
    pub hash: PgId,
    /// Placement group and shard.
    pub spg: SpgId,
    /// The OSD that the request goes to, or -1.
    pub osd: i32,
    /// Epoch of the map that this is of.
    pub epoch: u32,
    /// Facts of the interval, none before the first map, and without the pool.
    interval: Option<Interval>,
    used_replica: bool,
    last_force_resend: u32,
    /// The pool that an OSD named instead.
    redirect: Option<i64>,
}

/// What makes up an interval.
struct Interval {
    pg_num: u32,
    placed: Arc<UpActing>,
}

impl Target {
    /// A target that no map was seen for.
    pub fn new(pool: i64, namespace: KVec<u8>, object: ObjectName, flags: u32) -> Self {
        let hash = PgId { pool: -1, seed: 0 };
        Self {
            base_pool: pool,
            namespace,
            object,
            flags,
            pool,
            hash,
            spg: SpgId {
                pg: hash,
                shard: SpgId::NO_SHARD,
            },
            osd: NO_OSD,
            epoch: 0,
            interval: None,
            used_replica: false,
            last_force_resend: 0,
            redirect: None,
        }
    }

    /// Namespace in the pool.
    pub fn namespace(&self) -> &[u8] {
        &self.namespace
    }

    /// The OSDs that should have the object, and those that serve it.
    pub fn up_acting(&self) -> &UpActing {
        match &self.interval {
            Some(interval) => &interval.placed,
            None => &UpActing::NONE,
        }
    }

    /// Name of the object, to keep.
    pub fn name(&self) -> ObjectName {
        self.object
    }

    /// Name of the object.
    pub fn object(&self) -> &[u8] {
        self.object.as_bytes()
    }

    /// The object in the order of its pool.
    pub fn hobject(&self) -> HObject<'_> {
        HObject {
            key: &[],
            name: self.object(),
            snap: NO_SNAP,
            hash: self.hash.seed,
            is_max: false,
            namespace: &self.namespace,
            pool: self.pool,
        }
    }

    fn reads(&self) -> bool {
        self.flags & flag::READ != 0
    }

    fn writes(&self) -> bool {
        self.flags & flag::WRITE != 0
    }

    /// An OSD said that the request goes to another pool.
    pub fn redirected(&mut self, pool: i64) {
        self.redirect = Some(pool);
        self.flags |= flag::REDIRECTED | flag::IGNORE_OVERLAY | flag::IGNORE_CACHE;
        self.forget();
    }

    /// A replica cannot serve the request: the primary has to.
    pub fn ask_primary(&mut self) {
        self.flags &= !(flag::BALANCE_READS | flag::LOCALIZE_READS);
        self.forget();
    }

    /// Makes the next update send the request.
    fn forget(&mut self) {
        self.interval = None;
    }

    /// The pool to go to: the object's own, its cache tier, or where we were sent.
    fn tier<'m>(&self, map: &'m OsdMap) -> Option<&'m Pool> {
        let base = map.pool(self.base_pool)?;
        if let Some(pool) = self.redirect {
            return map.pool(pool);
        }
        if self.flags & flag::IGNORE_OVERLAY != 0 {
            return Some(base);
        }
        match (self.writes(), self.reads()) {
            (true, _) if base.write_tier >= 0 => map.pool(base.write_tier),
            (_, true) if base.read_tier >= 0 => map.pool(base.read_tier),
            _ => Some(base),
        }
    }

    /// Whether a map that has the pool forbids that the request is sent: by its flags, or
    /// because requests wait for a newer one.
    pub fn should_pause(&self, map: &OsdMap, barrier: u32) -> bool {
        let full = || {
            let pool = map.pool(self.base_pool);
            map.has_flags(flags::FULL) || pool.is_some_and(|pool| pool.flags & Pool::FULL != 0)
        };
        (self.reads() && map.has_flags(flags::PAUSERD))
            || (self.writes() && (map.has_flags(flags::PAUSEWR) || full()))
            || map.epoch < barrier
    }

    /// Takes a map into account.
    pub fn update(&mut self, map: &OsdMap, context: &Context<'_>) -> Outcome {
        let (Some(base), Some(pool)) = (map.pool(self.base_pool), self.tier(map)) else {
            self.epoch = map.epoch;
            self.osd = NO_OSD;
            self.forget();
            return Outcome::PoolGone;
        };
        let hash = pool.hash_object(&self.namespace, self.object());
        let Some(placed) = (context.place)(map, pool, hash) else {
            return Outcome::NoMemory;
        };
        self.epoch = map.epoch;
        // Once for each time that the monitors ask for it.
        let forced = map.epoch == base.last_force_resend
            && (self.last_force_resend < base.last_force_resend || self.last_force_resend == 0);
        if forced {
            self.last_force_resend = base.last_force_resend;
        }
        let (acting, pg) = (&placed.acting, pool.pg(hash));
        let changed = match &self.interval {
            None => true,
            // Nothing has, mostly.
            Some(old) if Arc::ptr_eq(&old.placed, &placed) => {
                self.spg.pg != pg || self.hash != hash || old.pg_num != pool.pg_num
            }
            Some(old) => {
                let was = &old.placed.acting;
                self.hash != hash
                    // Split, or merged with another.
                    || self.spg.pg != pg
                    || primary_changed(was, acting)
                    || (self.used_replica && was.as_slice() != acting.as_slice())
                    || is_split(self.spg.pg, old.pg_num, pool.pg_num)
            }
        };
        if !changed && !forced {
            return Outcome::Unchanged;
        }
        self.pool = pool.id;
        self.hash = hash;
        self.spg = shard(map, pool, pg, acting);
        self.choose_osd(map, pool, acting, context);
        self.interval = Some(Interval {
            pg_num: pool.pg_num,
            placed,
        });
        Outcome::Send
    }

    /// The primary, or for some reads any replica.
    fn choose_osd(&mut self, map: &OsdMap, pool: &Pool, acting: &OsdSet, context: &Context<'_>) {
        let replicas = acting.as_slice();
        let any = self.flags & (flag::BALANCE_READS | flag::LOCALIZE_READS) != 0
            && !self.writes()
            && pool.kind == PoolType::REPLICATED
            && replicas.len() > 1;
        let position = match any {
            true => (context.pick)(map, acting),
            false => 0,
        };
        (self.osd, self.used_replica) = match replicas.get(position) {
            Some(osd) if any => (*osd, position > 0),
            _ => (acting.primary, false),
        };
    }
}

/// The group of a hash, and which shard of it the primary has.
fn shard(map: &OsdMap, pool: &Pool, pg: PgId, acting: &OsdSet) -> SpgId {
    let shard = map.primary_shard(pool, pg, acting);
    let shard = shard.and_then(|shard| i8::try_from(shard).ok());
    SpgId {
        pg,
        shard: shard.unwrap_or(SpgId::NO_SHARD),
    }
}

fn primary_changed(old: &OsdSet, new: &OsdSet) -> bool {
    match (old.as_slice().is_empty(), new.as_slice().is_empty()) {
        (true, true) => false,
        (true, false) | (false, true) => true,
        (false, false) => {
            old.primary != new.primary || old.position(old.primary) != new.position(new.primary)
        }
    }
}
