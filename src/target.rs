//! What to probe, and what "good" means for it.
//! Plain values: how they were configured and how they are obtained is not known here.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use crate::{diagnosis::Finding, wire::tls_version::TlsVersion};

/// One endpoint to probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The `target` label; unique in a configuration.
    pub name: String,
    /// Where it is.
    pub address: Address,
    /// Labels that every series of this target carries.
    pub labels: BTreeMap<String, String>,
    /// The name for SNI and the certificate's name check; `None` for an address without one.
    pub server_name: Option<String>,
    /// How it is probed and judged.
    pub settings: Arc<Settings>,
}

/// How a target is probed, after defaults, module and target were merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Time between the starts of two regular probes.
    pub interval: Duration,
    /// After a change of verdict the next probe comes this early, once.
    pub confirm_after: Duration,
    /// One probe, all stages together.
    pub timeout: Duration,
    /// Each address of the name.
    pub connect_timeout: Duration,
    /// Time between two surveys; zero for none.
    pub survey_interval: Duration,
    /// Time between two NTLM challenges; zero for none.
    pub challenge_interval: Duration,
    /// The name in the `mstshash` cookie; empty for no cookie.
    pub cookie: String,
    /// Ports whose answer shows that a silent host lives.
    pub companion_ports: Vec<u16>,
    /// Address families that may be tried.
    pub ip_protocol: IpProtocol,
    /// Local address to probe from.
    pub source_address: Option<IpAddr>,
    /// How long certificate, survey and challenge facts of a silent target are kept.
    pub facts_max_age: Duration,
    /// What counts as a finding.
    pub expect: Expectations,
}

/// Which of a name's addresses are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpProtocol {
    /// Both families, alternating.
    Any,
    /// IPv4 only.
    Ip4,
    /// IPv6 only.
    Ip6,
}

/// What counts as a finding on this target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectations {
    /// Whether clients without NLA must be refused.
    pub nla: ExpectedNla,
    /// Whether the certificate must be issued by a known authority.
    pub certificate: ExpectedCertificate,
    /// Fewer days left than this is a finding.
    pub certificate_days: u32,
    /// Windows renews its own certificate by itself.
    pub self_signed_renews: bool,
    /// More than this between the server's clock and ours is a finding.
    pub clock_skew: Duration,
    /// The oldest TLS version that may be accepted.
    pub tls_min: Option<TlsVersion>,
    /// The name that the NTLM challenge must give; empty for any, `auto` for the first label of the address.
    pub computer: String,
    /// Findings that are known and accepted here.
    pub accept: Vec<Finding>,
}

/// Whether NLA is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedNla {
    /// It may be required or not.
    Any,
    /// Clients without it must be refused.
    Required,
}

/// Whether a certificate must be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedCertificate {
    /// Any certificate will do.
    Any,
    /// It must reach a root in `trust`.
    Trusted,
}

/// Host and port. Two that are written differently may be the same.
#[derive(Debug, Clone)]
pub struct Address {
    /// A name or an address.
    pub host: Host,
    /// TCP port.
    pub port: u16,
    /// How it was written, with a port, where that is not how we write it.
    written: Option<Box<str>>,
}

/// A host as it was written. Names that differ in case only are the same (RFC 4343).
#[derive(Debug, Clone)]
pub enum Host {
    /// An address; needs no resolver.
    Ip(IpAddr),
    /// A name of at most 253 ASCII characters.
    Name(String),
}

/// Which addresses a probe may connect to.
///
/// Configured targets may be anywhere; `/probe` is fenced, and the fence is checked against the address that is
/// connected to, not against the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Any address.
    Anywhere,
    /// Any address but loopback, link-local, metadata, multicast and unspecified ones.
    NoSpecial,
    /// An address in one of these networks.
    Networks(Vec<IpNet>),
}

impl IpProtocol {
    /// Whether an address of that family may be tried.
    #[must_use]
    pub const fn allows(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Ip4 => ip.is_ipv4(),
            Self::Ip6 => ip.is_ipv6(),
        }
    }
}

impl Target {
    /// The word for "the first label of the address" in `expect.computer`.
    pub const COMPUTER_BY_ADDRESS: &'static str = "auto";

    /// The computer's name that the NTLM challenge must give, where one is expected.
    #[must_use]
    pub fn expected_computer(&self) -> Option<&str> {
        match (self.settings.expect.computer.as_str(), &self.address.host) {
            ("", _) | (Self::COMPUTER_BY_ADDRESS, Host::Ip(_)) => None,
            (Self::COMPUTER_BY_ADDRESS, Host::Name(name)) => name.split('.').next(),
            (name, _) => Some(name),
        }
    }

    /// Whether `other` is the same endpoint under the same name, so that what is known of one holds for the other.
    #[must_use]
    pub fn is_same_endpoint(&self, other: &Self) -> bool {
        self.name == other.name && self.address == other.address
    }
}

impl Reach {
    /// Whether a connection to `ip` is allowed.
    #[must_use]
    pub fn allows(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        match self {
            Self::Anywhere => true,
            Self::NoSpecial => !is_special(ip),
            Self::Networks(networks) => networks.iter().any(|network| network.contains(&ip)),
        }
    }
}

/// Loopback, link-local, cloud metadata, multicast, broadcast and unspecified addresses.
fn is_special(ip: IpAddr) -> bool {
    METADATA.contains(&ip)
        || match ip {
            IpAddr::V4(v4) => {
                v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0
            }
            IpAddr::V6(v6) => {
                v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_multicast()
                    || v6.is_unicast_link_local()
                    // Where the IPv4 address lies in these is known to the translator alone (RFC 8215).
                    || matches!(v6.segments(), [0x64, 0xff9b, 1, ..])
                    || embedded_v4(v6).is_some_and(|v4| is_special(IpAddr::V4(v4)))
            }
        }
}

/// The IPv4 address that an IPv6 address leads to by its form.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match v6.segments() {
        // `::a.b.c.d` (RFC 4291, 2.5.5.1), `::ffff:0:a.b.c.d` (RFC 2765, 2.1) and `64:ff9b::a.b.c.d` (RFC 6052, 2.1).
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => (high, low),
        // 6to4 (RFC 3056, 2).
        [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
}

impl Address {
    /// The port that RDP listens on.
    pub const DEFAULT_PORT: u16 = 3389;

    /// The socket address, where the host is an address already.
    #[must_use]
    pub fn as_socket_address(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) => None,
        }
    }

    /// How it was written, with the default port where none was.
    #[must_use]
    pub fn as_written(&self) -> Cow<'_, str> {
        self.written.as_deref().map_or_else(|| self.to_string().into(), Cow::Borrowed)
    }

    /// The default `server_name`: a name stands for itself, an address for none.
    #[must_use]
    pub fn default_server_name(&self) -> Option<String> {
        match &self.host {
            Host::Ip(_) => None,
            Host::Name(name) => Some(name.trim_end_matches('.').to_owned()),
        }
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.host, self.port).hash(state);
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains("://") {
            return Err(AddressError::Host);
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (inside, after) = rest.split_once(']').ok_or(AddressError::Bracket)?;
            let ip = inside.parse::<Ipv6Addr>().map_err(|_| AddressError::Bracket)?;
            let port = match after {
                "" => None,
                after => Some(after.strip_prefix(':').ok_or(AddressError::Bracket)?),
            };
            (Host::Ip(IpAddr::V6(ip)), port)
        } else if text.parse::<Ipv6Addr>().is_ok() {
            return Err(AddressError::BareV6);
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host.parse()?, Some(port)),
                None => (text.parse()?, None),
            }
        };
        let written = match port {
            Some(_) => text.to_owned(),
            None => format!("{text}:{}", Self::DEFAULT_PORT),
        };
        let port = port.map_or(Ok(Self::DEFAULT_PORT), parse_port)?;
        let address = Self { host, port, written: None };
        let is_ours = address.to_string() == written;
        Ok(Self { written: (!is_ours).then(|| written.into()), ..address })
    }
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    // `u16::from_str` takes a leading plus sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(AddressError::Port),
    }
}

impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ip(ip), Self::Ip(other)) => ip == other,
            (Self::Name(name), Self::Name(other)) => name.eq_ignore_ascii_case(other),
            (Self::Ip(_), Self::Name(_)) | (Self::Name(_), Self::Ip(_)) => false,
        }
    }
}

impl Eq for Host {}

impl Hash for Host {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Ip(ip) => ip.hash(state),
            Self::Name(name) => name.bytes().for_each(|byte| state.write_u8(byte.to_ascii_lowercase())),
        }
    }
}

impl FromStr for Host {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(IpAddr::V4(ip)));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let labels_fit = name.split('.').all(|label| (1..=63).contains(&label.len()));
        let known_bytes = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if name.is_empty() || name.len() > 253 || !labels_fit || !known_bytes || name.starts_with('-') {
            return Err(AddressError::Host);
        }
        // Resolvers read `2130706433`, `0177.0.0.1` and `0x7f.1` as IPv4 addresses; nobody means that.
        let last = name.rsplit('.').next().unwrap_or(name);
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number(last) || last.starts_with("0x") || last.starts_with("0X") {
            return Err(AddressError::NumericHost);
        }
        Ok(Self::Name(text.to_owned()))
    }
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// An IPv6 address without brackets, whose port cannot be told from its last group.
    #[error("an IPv6 address needs brackets: [2001:db8::1]:3389")]
    BareV6,
    /// Something between or after the brackets.
    #[error("not an IPv6 address in brackets, such as [2001:db8::1]:3389")]
    Bracket,
    /// Not a host name.
    #[error("not a host name, IPv4 address or [IPv6 address], with an optional :port")]
    Host,
    /// A number where a name should be.
    #[error("looks like a number, not a host name; write an IPv4 address as four decimal numbers")]
    NumericHost,
    /// Not a port.
    #[error("the port must be a number from 1 to 65535")]
    Port,
}

/// Metadata services outside the link-local networks: of Alibaba, Azure, Oracle, Amazon (and its pods), Google and Scaleway.
const METADATA: [IpAddr; 8] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
];

/// A target with the built-in defaults, for tests of rooms that do not know the configuration.
#[cfg(test)]
pub(crate) fn sample(name: &str, interval: Duration) -> Target {
    let expect = Expectations {
        certificate: ExpectedCertificate::Any,
        certificate_days: 14,
        self_signed_renews: true,
        nla: ExpectedNla::Any,
        clock_skew: Duration::from_secs(300),
        tls_min: None,
        computer: String::new(),
        accept: Vec::new(),
    };
    let settings = Settings {
        interval,
        confirm_after: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
        survey_interval: Duration::from_secs(24 * 60 * 60),
        challenge_interval: Duration::from_secs(60 * 60),
        connect_timeout: Duration::from_millis(2500),
        cookie: "rdpexport".into(),
        companion_ports: vec![445, 135],
        ip_protocol: IpProtocol::Any,
        source_address: None,
        facts_max_age: Duration::from_secs(30 * 24 * 60 * 60),
        expect,
    };
    let address = Address { host: Host::Name(name.to_owned()), port: 3389, written: None };
    let server_name = address.default_server_name();
    Target { name: name.to_owned(), address, labels: BTreeMap::new(), server_name, settings: Arc::new(settings) }
}
