// SPDX-License-Identifier: GPL-2.0
//! Mount options of the cluster, which every user of libceph takes.
//!
//! Names, limits, defaults and the way they are shown are those of the C client
//! (Documentation/filesystems/ceph.rst). An option that asks for something that is
//! not built is refused by name, so that no mount behaves otherwise than it was
//! told to.
use core::fmt::{self, Write};
use core::net::{IpAddr, SocketAddr};
use kernel::{alloc::AllocError, prelude::*};

use ceph_proto::errno::enokey;
use ceph_proto::wire::auth::CryptoKey;
use ceph_proto::wire::monmap::{parse_addrs, MAX_MON, MON_PORT, MON_PORT_LEGACY};
use ceph_proto::wire::types::Fsid;

use crate::{keyring, log::warning};

/// The longest time in seconds that the C client can represent.
const MAX_SECONDS: u32 = i32::MAX as u32 / 1000;

const MOUNT_TIMEOUT: u32 = 60;
const OSD_IDLE_TTL: u32 = 60;
const OSD_KEEPALIVE: u32 = 5;

/// Why an option was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionError {
    /// Not an option of libceph.
    Unknown,
    /// The value is missing, not of its kind, or out of its range.
    Invalid,
    /// Not a key in base64.
    BadSecret,
    /// Not an address, or a host name, or too many.
    BadAddress,
    /// Known, but what it asks for is not built.
    NotBuilt(&'static str),
    /// There is no such key in the keyrings of the caller.
    NoKey(Error),
    /// Out of memory.
    NoMemory,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown option"),
            Self::Invalid => f.write_str("bad value"),
            Self::BadSecret => f.write_str("not a key (base64 text as in a keyring file)"),
            Self::BadAddress => f.write_str("not a list of IP addresses with ports"),
            Self::NotBuilt(hint) => write!(f, "not supported by this client yet{hint}"),
            Self::NoKey(error) if *error == enokey() => f.write_str("key not found"),
            Self::NoKey(error) => write!(f, "key error {}", error.to_errno()),
            Self::NoMemory => f.write_str("out of memory"),
        }
    }
}

impl From<OptionError> for Error {
    fn from(error: OptionError) -> Error {
        match error {
            OptionError::Unknown => ENOPARAM,
            OptionError::NoMemory => ENOMEM,
            OptionError::NoKey(_) => EPERM,
            _ => EINVAL,
        }
    }
}

impl From<AllocError> for OptionError {
    fn from(_: AllocError) -> Self {
        Self::NoMemory
    }
}

/// The reason to give for an error, which memory always is by itself.
fn because(reason: OptionError) -> impl Fn(Error) -> OptionError {
    move |error| match error {
        ENOMEM => OptionError::NoMemory,
        _ => reason,
    }
}

type Parsed<T = ()> = core::result::Result<T, OptionError>;

/// How connections are protected and who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsMode {
    /// msgr1: what no `ms_mode` means.
    Legacy,
    /// msgr2 with checksums.
    Crc,
    /// msgr2 with checksums; encrypted where the server insists.
    PreferCrc,
}

/// Which OSD of a replicated pool reads are sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFromReplica {
    /// The primary.
    No,
    /// Any.
    Balance,
    /// The nearest by `crush_location`.
    Localize,
}

/// Options of the cluster. Times are in seconds; `None` or 0 as described.
pub struct Options {
    /// Entity name without `client.`, if given.
    pub name: Option<KVec<u8>>,
    /// The client's key; without one, authentication is "none".
    pub key: Option<CryptoKey>,
    /// Monitors to begin with.
    pub mon_addrs: KVec<SocketAddr>,
    /// The cluster must have this identity.
    pub fsid: Option<Fsid>,
    /// Address to show to servers.
    pub ip: Option<IpAddr>,
    /// Protection.
    pub ms_mode: MsMode,
    /// For how long a mount waits; 0: for ever.
    pub mount_timeout: u32,
    /// When to close an OSD session that is not used.
    pub osd_idle_ttl: u32,
    /// When to ask an OSD that a request waits for for a sign of life.
    pub osd_keepalive: u32,
    /// When a request to an OSD fails; 0: never.
    pub osd_request_timeout: u32,
    /// Where reads go.
    pub read_from_replica: ReadFromReplica,
    /// Where the client is: pairs of a bucket type and a name, sorted.
    pub crush_location: KVec<(KVec<u8>, KVec<u8>)>,
    /// Writes fail at once where the cluster is full.
    pub abort_on_full: bool,
    /// Do not share this client between mounts.
    pub noshare: bool,
    /// Do not verify checksums of data.
    pub nocrc: bool,
    /// msgr1 messages are not signed.
    pub nosign: bool,
    /// Small segments are sent at once.
    pub tcp_nodelay: bool,
    /// Receive into a page of its own before use. This client verifies data while
    /// it copies it, which makes that needless.
    pub rxbounce: bool,
}

impl Options {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            name: None,
            key: None,
            mon_addrs: KVec::new(),
            fsid: None,
            ip: None,
            ms_mode: MsMode::Legacy,
            mount_timeout: MOUNT_TIMEOUT,
            osd_idle_ttl: OSD_IDLE_TTL,
            osd_keepalive: OSD_KEEPALIVE,
            osd_request_timeout: 0,
            read_from_replica: ReadFromReplica::No,
            crush_location: KVec::new(),
            abort_on_full: false,
            noshare: false,
            nocrc: false,
            nosign: false,
            tcp_nodelay: true,
            rxbounce: false,
        }
    }

    /// Takes one option as mount(2) has it: `name` or `name=value`.
    ///
    /// # Errors
    ///
    /// [`OptionError::Unknown`] for an option that is not one of libceph's; of the
    /// others, the caller tells the user the name and the error's text.
    pub fn parse(&mut self, name: &str, value: Option<&str>) -> Parsed {
        let flag = |on: bool| match value {
            None => Ok(on),
            Some(_) => Err(OptionError::Invalid),
        };
        let text = || value.ok_or(OptionError::Invalid);
        let seconds = |least: u32| match parse_u32(text()?) {
            Some(n) if (least..=MAX_SECONDS).contains(&n) => Ok(n),
            _ => Err(OptionError::Invalid),
        };
        match name {
            "abort_on_full" => self.abort_on_full = flag(true)?,
            "cephx_require_signatures" | "nocephx_require_signatures" => {
                flag(true)?;
                warning!("Ignoring {name}\n");
            }
            "cephx_sign_messages" => self.nosign = flag(false)?,
            "nocephx_sign_messages" => self.nosign = flag(true)?,
            "crc" => self.nocrc = flag(false)?,
            "nocrc" => self.nocrc = flag(true)?,
            "rxbounce" => self.rxbounce = flag(true)?,
            "share" => self.noshare = flag(false)?,
            "noshare" => self.noshare = flag(true)?,
            "tcp_nodelay" => self.tcp_nodelay = flag(true)?,
            "notcp_nodelay" => self.tcp_nodelay = flag(false)?,
            "mount_timeout" => self.mount_timeout = seconds(0)?,
            "osd_idle_ttl" => self.osd_idle_ttl = seconds(1)?,
            "osd_request_timeout" => self.osd_request_timeout = seconds(0)?,
            // The C client shows the second, which it does not read itself.
            "osdkeepalive" | "osdkeepalivetimeout" => self.osd_keepalive = seconds(1)?,
            "name" => self.name = Some(copy(text()?)?),
            "fsid" => {
                let fsid = Fsid::parse(text()?.as_bytes());
                self.fsid = Some(fsid.map_err(because(OptionError::Invalid))?);
            }
            "ip" => {
                let addrs =
                    parse_addrs(text()?, ',', 1).map_err(because(OptionError::BadAddress))?;
                self.ip = addrs.first().map(SocketAddr::ip);
            }
            "secret" => {
                let key = CryptoKey::from_armor(text()?.as_bytes());
                self.set_key(key.map_err(because(OptionError::BadSecret))?)?;
            }
            "key" => {
                let key = keyring::find(text()?);
                let key = key.map_err(|error| because(OptionError::NoKey(error))(error))?;
                self.set_key(key)?;
            }
            "crush_location" => self.crush_location = parse_crush_location(text()?)?,
            "read_from_replica" => {
                self.read_from_replica = match text()? {
                    "no" => ReadFromReplica::No,
                    "balance" => ReadFromReplica::Balance,
                    "localize" => ReadFromReplica::Localize,
                    _ => return Err(OptionError::Invalid),
                }
            }
            "ms_mode" => {
                self.ms_mode = match text()? {
                    "crc" => MsMode::Crc,
                    "prefer-crc" => MsMode::PreferCrc,
                    "legacy" => MsMode::Legacy,
                    "secure" | "prefer-secure" => {
                        return Err(OptionError::NotBuilt(": use ms_mode=crc or prefer-crc"))
                    }
                    _ => return Err(OptionError::Invalid),
                }
            }
            _ => return Err(OptionError::Unknown),
        }
        Ok(())
    }

    fn set_key(&mut self, key: CryptoKey) -> Parsed {
        if key.cipher().is_err() {
            return Err(OptionError::BadSecret);
        }
        self.key = Some(key);
        Ok(())
    }

    /// Takes the addresses of the monitors, from the source of the mount
    /// (delimiter `,`) or from `mon_addr` (`/`).
    pub fn parse_mon_addrs(&mut self, text: &str, delimiter: char) -> Parsed {
        self.mon_addrs =
            parse_addrs(text, delimiter, MAX_MON).map_err(because(OptionError::BadAddress))?;
        Ok(())
    }

    /// Looks at all options together, before a client is made of them: monitors without a
    /// port have that of the protocol.
    ///
    /// # Errors
    ///
    /// [`OptionError::BadAddress`] without a monitor.
    pub fn check(&mut self) -> Parsed {
        if self.mon_addrs.is_empty() {
            return Err(OptionError::BadAddress);
        }
        let port = match self.ms_mode {
            MsMode::Legacy => MON_PORT_LEGACY,
            MsMode::Crc | MsMode::PreferCrc => MON_PORT,
        };
        for addr in self.mon_addrs.iter_mut().filter(|addr| addr.port() == 0) {
            addr.set_port(port);
        }
        Ok(())
    }

    /// The entity name.
    pub fn entity_name(&self) -> &[u8] {
        self.name.as_deref().unwrap_or(b"guest")
    }

    /// Whether a client with these options does what one with the others does; the
    /// addresses of the monitors are not compared.
    pub fn same_behaviour(&self, other: &Self) -> bool {
        self.name.as_deref() == other.name.as_deref()
            && self.key == other.key
            && self.fsid == other.fsid
            && self.ip == other.ip
            && self.ms_mode == other.ms_mode
            && self.mount_timeout == other.mount_timeout
            && self.osd_idle_ttl == other.osd_idle_ttl
            && self.osd_keepalive == other.osd_keepalive
            && self.osd_request_timeout == other.osd_request_timeout
            && self.read_from_replica == other.read_from_replica
            && self.abort_on_full == other.abort_on_full
            && self.noshare == other.noshare
            && self.nocrc == other.nocrc
            && self.nosign == other.nosign
            && self.tcp_nodelay == other.tcp_nodelay
            && self.rxbounce == other.rxbounce
            && self.crush_location.len() == other.crush_location.len()
            && self
                .crush_location
                .iter()
                .zip(&other.crush_location)
                .all(|(a, b)| a.0[..] == b.0[..] && a.1[..] == b.1[..])
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// Separates options by commas.
struct List<'a> {
    out: &'a mut dyn Write,
    first: bool,
}

impl List<'_> {
    fn add(&mut self, option: fmt::Arguments<'_>) -> fmt::Result {
        if !core::mem::take(&mut self.first) {
            self.out.write_char(',')?;
        }
        self.out.write_fmt(option)
    }
}

/// Text with white space, commas, backslashes, and what is no text, as octal numbers.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    ',' | ' ' | '\t' | '\n' | '\\' => write!(f, "\\{:03o}", u32::from(c))?,
                    _ => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\{byte:03o}")?;
            }
        }
        Ok(())
    }
}

impl Options {
    /// What [`print`](Self::print) prints.
    pub fn shown(&self, all: bool) -> impl fmt::Display + '_ {
        struct Shown<'a>(&'a Options, bool);
        impl fmt::Display for Shown<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.print(f, self.1)
            }
        }
        Shown(self, all)
    }

    /// Prints what differs from the defaults, separated by commas, in the C
    /// client's order; with `all` also what file systems show as their own.
    pub fn print(&self, out: &mut dyn Write, all: bool) -> fmt::Result {
        let mut list = List { out, first: true };
        if let Some(name) = &self.name {
            list.add(format_args!("name={}", Escaped(name)))?;
        }
        if self.key.is_some() {
            list.add(format_args!("secret=<hidden>"))?;
        }
        if let Some(((kind, name), rest)) = self.crush_location.split_first() {
            list.add(format_args!(
                "crush_location={}:{}",
                Escaped(kind),
                Escaped(name)
            ))?;
            for (kind, name) in rest {
                write!(list.out, "|{}:{}", Escaped(kind), Escaped(name))?;
            }
        }
        match self.read_from_replica {
            ReadFromReplica::No => {}
            ReadFromReplica::Balance => list.add(format_args!("read_from_replica=balance"))?,
            ReadFromReplica::Localize => list.add(format_args!("read_from_replica=localize"))?,
        }
        match self.ms_mode {
            MsMode::Legacy => {}
            MsMode::Crc => list.add(format_args!("ms_mode=crc"))?,
            MsMode::PreferCrc => list.add(format_args!("ms_mode=prefer-crc"))?,
        }
        if let Some(fsid) = &self.fsid {
            list.add(format_args!("fsid={fsid}"))?;
        }
        for (name, set) in [
            ("noshare", self.noshare),
            ("nocrc", self.nocrc),
            ("nocephx_sign_messages", self.nosign),
            ("notcp_nodelay", !self.tcp_nodelay),
            ("abort_on_full", all && self.abort_on_full),
            ("rxbounce", self.rxbounce),
        ] {
            if set {
                list.add(format_args!("{name}"))?;
            }
        }
        for (name, value, default) in [
            ("mount_timeout", self.mount_timeout, MOUNT_TIMEOUT),
            ("osd_idle_ttl", self.osd_idle_ttl, OSD_IDLE_TTL),
            ("osdkeepalive", self.osd_keepalive, OSD_KEEPALIVE),
            ("osd_request_timeout", self.osd_request_timeout, 0),
        ] {
            if value != default {
                list.add(format_args!("{name}={value}"))?;
            }
        }
        Ok(())
    }
}

fn copy(text: &str) -> Parsed<KVec<u8>> {
    let mut bytes = KVec::new();
    bytes.extend_from_slice(text.as_bytes(), GFP_KERNEL)?;
    Ok(bytes)
}

/// A number as kstrtouint() reads it: decimal, octal after 0, hexadecimal after 0x.
fn parse_u32(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.starts_with(['+', '-']) {
        return None;
    }
    if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        return u32::from_str_radix(hex, 16).ok();
    }
    match digits.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u32::from_str_radix(octal, 8).ok(),
        _ => digits.parse().ok(),
    }
}

/// Reads `type:name[|type:name...]`; the result is sorted and has no pair twice.
fn parse_crush_location(text: &str) -> Parsed<KVec<(KVec<u8>, KVec<u8>)>> {
    let mut pairs: KVec<(KVec<u8>, KVec<u8>)> = KVec::new();
    for item in text.split('|') {
        let (kind, name) = item.split_once(':').ok_or(OptionError::Invalid)?;
        if kind.is_empty() || name.is_empty() || name.contains(':') {
            return Err(OptionError::Invalid);
        }
        let key = (kind.as_bytes(), name.as_bytes());
        let before = |(k, n): &(KVec<u8>, KVec<u8>)| (&k[..], &n[..]) < key;
        let at = pairs.iter().take_while(|pair| before(pair)).count();
        if pairs.get(at).is_some_and(|(k, n)| (&k[..], &n[..]) == key) {
            return Err(OptionError::Invalid);
        }
        pairs.reserve(1, GFP_KERNEL)?;
        pairs
            .insert_within_capacity(at, (copy(kind)?, copy(name)?))
            .map_err(|_| OptionError::NoMemory)?;
    }
    Ok(pairs)
}

#[kunit_tests(ceph_options)]
mod tests {
    use super::*;

    struct Text([u8; 256], usize);

    impl Write for Text {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            let end = self.1 + s.len();
            self.0
                .get_mut(self.1..end)
                .ok_or(fmt::Error)?
                .copy_from_slice(s.as_bytes());
            self.1 = end;
            Ok(())
        }
    }

    fn shown(options: &Options, all: bool) -> Text {
        let mut text = Text([0; 256], 0);
        assert!(options.print(&mut text, all).is_ok());
        text
    }

    #[test]
    fn shown_as_they_were_given() {
        let mut options = Options::new();
        for (name, value) in [
            ("name", Some("a usér")),
            ("secret", Some("AQBQ6IVh8L2cIBAAQ1mq2fOJPo2iQEdH0Lz5tA==")),
            ("crush_location", Some("rack:r1|host:h1")),
            ("ms_mode", Some("prefer-crc")),
            ("nocrc", None),
            ("abort_on_full", None),
            ("mount_timeout", Some("0x10")),
            ("osdkeepalivetimeout", Some("7")),
        ] {
            assert_eq!(options.parse(name, value), Ok(()));
        }
        let text = shown(&options, true);
        let want: &[u8] = b"name=a\\040us\xc3\xa9r,secret=<hidden>,crush_location=host:h1|rack:r1,\
            ms_mode=prefer-crc,nocrc,abort_on_full,mount_timeout=16,osdkeepalive=7";
        assert_eq!(&text.0[..text.1], want);
        assert_eq!(shown(&Options::new(), true).1, 0);
    }

    #[test]
    fn refused() {
        let mut options = Options::new();
        for (name, value) in [
            ("crc", Some("1")),
            ("name", None),
            ("mount_timeout", Some("-1")),
            ("mount_timeout", Some("2147484")),
            ("osd_idle_ttl", Some("0")),
            ("fsid", Some("1")),
            ("secret", Some("AAAA")),
            ("ip", Some("1.2.3.4,1.2.3.5")),
            ("ms_mode", Some("secure")),
            ("crush_location", Some("rack")),
            ("crush_location", Some("a:b|a:b")),
        ] {
            let error = options.parse(name, value);
            assert!(error.is_err() && error != Err(OptionError::Unknown));
        }
        assert_eq!(options.parse("rasize", None), Err(OptionError::Unknown));
        assert!(options
            .parse_mon_addrs("10.0.0.1/10.0.0.2:6789", '/')
            .is_ok());
        assert!(options.check().is_ok());
        let ports = |options: &Options| options.mon_addrs.iter().map(SocketAddr::port).sum::<u16>();
        assert_eq!(ports(&options), 6789 + 6789);
        assert!(options
            .parse_mon_addrs("10.0.0.1/10.0.0.2:6789", '/')
            .is_ok());
        assert!(options.parse("ms_mode", Some("crc")).is_ok());
        assert!(options.check().is_ok());
        assert_eq!(ports(&options), 3300 + 6789);
    }
}
