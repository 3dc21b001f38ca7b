//! `probe_endpoint`: what `/probe` may be pointed at.
//! Only the rule is here; whoever connects asks [`crate::target::Reach`] about the address.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use super::{
    error::{Mistake, quoted},
    section::{Keys, Section, Value},
};
use crate::target::{Address, Host};

/// What `/probe` may be pointed at, beside the configured targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeEndpoint {
    /// What the configuration lists.
    Allowed {
        /// Networks that the address which is connected to may lie in.
        networks: Vec<IpNet>,
        /// Names that may be asked for.
        names: Vec<NamePattern>,
        /// Ports that may be asked for.
        ports: Vec<u16>,
    },
    /// Any host on port 3389, but for loopback, link-local and metadata addresses: where there is no configuration.
    AnyOnDefaultPort,
    /// Nothing beside them.
    ConfiguredTargets,
}

/// A name, or every name below one: `ts01.corp.example`, `*.corp.example`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    /// In lower case, without a dot at the end.
    name: String,
    below: bool,
}

impl NamePattern {
    /// Whether a host name fits, in any case, with or without a dot at the end. `*` stands for one label or more.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if !self.below {
            return host == self.name;
        }
        let label = host.strip_suffix(&self.name).and_then(|rest| rest.strip_suffix('.'));
        label.is_some_and(|label| !label.is_empty())
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        match name.parse::<Host>() {
            Ok(Host::Name(name)) => Some(Self { name: name.trim_end_matches('.').to_ascii_lowercase(), below }),
            Ok(Host::Ip(_)) | Err(_) => None,
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.name)
    }
}

/// Reads `probe_endpoint`. Without anything in `allow` there is nothing that a port could be allowed for.
pub(super) fn read_probe_endpoint(mut section: Section) -> Result<ProbeEndpoint, Mistake> {
    let allow = section.take_as("allow", |value| value.list(read_allowed))?.unwrap_or_default();
    let ports = section.take_as("ports", read_ports)?.unwrap_or_else(|| vec![Address::DEFAULT_PORT]);
    if allow.is_empty() {
        return Ok(ProbeEndpoint::ConfiguredTargets);
    }
    let (mut networks, mut names) = (Vec::new(), Vec::new());
    for allowed in allow {
        match allowed {
            Allowed::Name(name) => names.push(name),
            Allowed::Network(network) => networks.push(network),
        }
    }
    Ok(ProbeEndpoint::Allowed { networks, names, ports })
}

enum Allowed {
    Name(NamePattern),
    Network(IpNet),
}

fn read_allowed(value: Value) -> Result<Allowed, Mistake> {
    let path = value.path.clone();
    let text = value.text()?;
    if let Ok(network) = text.parse::<IpNet>() {
        return Ok(Allowed::Network(network.trunc()));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(Allowed::Network(ip.into()));
    }
    NamePattern::parse(&text).map(Allowed::Name).ok_or_else(|| {
        path.mistake(format!(
            "must be a network such as 10.0.0.0/8, an IP address, or a name such as *.corp.example, not {}",
            quoted(&text)
        ))
    })
}

fn read_ports(value: Value) -> Result<Vec<u16>, Mistake> {
    let path = value.path.clone();
    let ports = value.list(Value::port)?;
    if ports.is_empty() {
        return Err(path.mistake("must not be empty; without the key the port is 3389"));
    }
    Ok(ports)
}

/// The keys of `probe_endpoint`.
pub(super) const PROBE_ENDPOINT_KEYS: Keys = Keys { own: &["allow", "ports"], shared: &[], planned: &[] };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_names_below_it_and_nothing_beside() {
        for (pattern, host, expected) in [
            ("*.corp.example", "ts01.corp.example", true),
            ("*.corp.example", "a.b.corp.example", true),
            ("*.corp.example", "TS01.Corp.Example.", true),
            ("*.CORP.example.", "ts01.corp.example", true),
            ("*.corp.example", "corp.example", false),
            ("*.corp.example", ".corp.example", false),
            ("*.corp.example", "evilcorp.example", false),
            ("*.corp.example", "ts01.corp.example.evil.test", false),
            ("ts01.corp.example", "TS01.corp.example", true),
            ("ts01.corp.example", "a.ts01.corp.example", false),
            ("ts01.corp.example", "", false),
        ] {
            assert_eq!(NamePattern::parse(pattern).unwrap().matches(host), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn other_texts_are_no_patterns() {
        for text in ["", "*", "*.", "**.corp.example", "ts*.corp.example", "*.10.0.0.1", "10.0.0.1", "a b", "host:3389"]
        {
            assert_eq!(NamePattern::parse(text), None, "{text}");
        }
    }
}
