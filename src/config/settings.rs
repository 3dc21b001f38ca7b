//! The one merge of built-in defaults, `probe`, module and target, key by key.
//! Nothing here knows which targets there are.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use super::{
    duration::format_duration,
    error::{KeyPath, Mistake, nearest, quoted},
    section::{Keys, Section, Value},
};
use crate::{
    diagnosis::Finding,
    target::{Expectations, ExpectedCertificate, ExpectedNla, IpProtocol, Settings},
    wire::tls_version::TlsVersion,
};

/// The settings where a file says nothing.
pub(super) fn built_in() -> Settings {
    Settings {
        interval: Duration::from_secs(5 * 60),
        confirm_after: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
        survey_interval: Duration::from_secs(86_400),
        challenge_interval: Duration::from_secs(60 * 60),
        connect_timeout: Duration::from_millis(2500),
        cookie: "rdpexport".to_owned(),
        companion_ports: vec![445, 135],
        ip_protocol: IpProtocol::Any,
        source_address: None,
        facts_max_age: Duration::from_secs(30 * 86_400),
        expect: Expectations {
            certificate: ExpectedCertificate::Any,
            certificate_days: 14,
            self_signed_renews: true,
            nla: ExpectedNla::Any,
            clock_skew: Duration::from_secs(300),
            tls_min: None,
            computer: String::new(),
            accept: Vec::new(),
        },
    }
}

/// Settings on their way down from the defaults to a target.
#[derive(Debug, Clone, Eq)]
pub(super) struct Layer {
    /// Before `connect_timeout` is cut to `timeout`: a longer timeout further down gives the whole of it back.
    uncut: Settings,
    /// What is probed with.
    pub(super) settings: Arc<Settings>,
}

/// What is probed with is what counts.
impl PartialEq for Layer {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

impl Layer {
    pub(super) fn built_in() -> Self {
        Self::new(built_in())
    }

    fn new(uncut: Settings) -> Self {
        let connect_timeout = uncut.connect_timeout.min(uncut.timeout);
        Self { settings: Arc::new(Settings { connect_timeout, ..uncut.clone() }), uncut }
    }
}

/// The layers that a target may stand on, by name; there is always a `default`.
pub(super) type Modules = BTreeMap<String, Layer>;

/// Reads `modules`, each on top of `probe`.
pub(super) fn read_modules(value: Option<Value>, probe: &Layer) -> Result<Modules, Mistake> {
    let mut modules = Modules::from([(DEFAULT_MODULE.to_owned(), probe.clone())]);
    for (name, value) in value.map(Value::named).transpose()?.unwrap_or_default() {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(value.mistake(format!("a module's name must have 1 to {MAX_NAME_BYTES} bytes")));
        }
        let mut section = value.section(LAYER_KEYS)?;
        modules.insert(name, Overrides::take(&mut section)?.on(probe, &section.path)?);
    }
    Ok(modules)
}

/// What one `probe`, module or target says; `None` where it says nothing.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Overrides {
    interval: Option<Duration>,
    confirm_after: Option<Duration>,
    timeout: Option<Duration>,
    connect_timeout: Option<Duration>,
    survey_interval: Option<Duration>,
    challenge_interval: Option<Duration>,
    cookie: Option<String>,
    companion_ports: Option<Vec<u16>>,
    ip_protocol: Option<IpProtocol>,
    source_address: Option<Option<IpAddr>>,
    facts_max_age: Option<Duration>,
    certificate: Option<ExpectedCertificate>,
    certificate_days: Option<u32>,
    self_signed_renews: Option<bool>,
    nla: Option<ExpectedNla>,
    clock_skew: Option<Duration>,
    tls_min: Option<Option<TlsVersion>>,
    computer: Option<String>,
    accept: Option<Vec<Finding>>,
}

impl Overrides {
    /// Takes the keys of [`LAYER_KEYS`] out of a section.
    pub(super) fn take(section: &mut Section) -> Result<Self, Mistake> {
        let mut expect = section.take_section("expect", EXPECT_KEYS)?;
        Ok(Self {
            interval: section.take_as("interval", Value::positive_duration)?,
            confirm_after: section.take_as("confirm_after", Value::duration)?,
            timeout: section.take_as("timeout", Value::positive_duration)?,
            connect_timeout: section.take_as("connect_timeout", Value::positive_duration)?,
            survey_interval: section.take_as("survey_interval", Value::duration)?,
            challenge_interval: section.take_as("challenge_interval", Value::duration)?,
            cookie: section.take_as("cookie", read_cookie)?,
            companion_ports: section.take_as("companion_ports", read_companion_ports)?,
            ip_protocol: section.take_as("ip_protocol", |value| value.choice(&IP_PROTOCOLS))?,
            source_address: section.take_as("source_address", read_source_address)?,
            facts_max_age: section.take_as("facts_max_age", Value::duration)?,
            certificate: expect.take_as("certificate", |value| value.choice(&CERTIFICATES))?,
            certificate_days: expect.take_as("certificate_days", |value| value.number(0..=3650, ""))?,
            self_signed_renews: expect.take_as("self_signed_renews", Value::boolean)?,
            nla: expect.take_as("nla", |value| value.choice(&NLA))?,
            clock_skew: expect.take_as("clock_skew", Value::positive_duration)?,
            tls_min: expect.take_as("tls_min", read_tls_min)?,
            computer: expect.take_as("computer", read_computer)?,
            accept: expect.take_as("accept", |value| value.list(read_finding))?,
        })
    }

    /// What a discovered target may set.
    pub(super) fn of_times(interval: Option<Duration>, timeout: Option<Duration>) -> Self {
        Self { interval, timeout, ..Self::default() }
    }

    /// Lays this over `base`. `path` is where it stands.
    pub(super) fn on(self, base: &Layer, path: &KeyPath) -> Result<Layer, Mistake> {
        if self == Self::default() {
            // Targets that set nothing share their module's settings.
            return Ok(base.clone());
        }
        let below = &base.uncut;
        let settings = Settings {
            interval: self.interval.unwrap_or(below.interval),
            confirm_after: self.confirm_after.unwrap_or(below.confirm_after),
            timeout: self.timeout.unwrap_or(below.timeout),
            connect_timeout: self.connect_timeout.unwrap_or(below.connect_timeout),
            survey_interval: self.survey_interval.unwrap_or(below.survey_interval),
            challenge_interval: self.challenge_interval.unwrap_or(below.challenge_interval),
            cookie: self.cookie.clone().unwrap_or_else(|| below.cookie.clone()),
            companion_ports: self.companion_ports.clone().unwrap_or_else(|| below.companion_ports.clone()),
            ip_protocol: self.ip_protocol.unwrap_or(below.ip_protocol),
            source_address: self.source_address.unwrap_or(below.source_address),
            facts_max_age: self.facts_max_age.unwrap_or(below.facts_max_age),
            expect: self.expectations(&below.expect),
        };
        self.refuse_contradictions(&settings, path)?;
        Ok(Layer::new(settings))
    }

    fn expectations(&self, below: &Expectations) -> Expectations {
        Expectations {
            certificate: self.certificate.unwrap_or(below.certificate),
            certificate_days: self.certificate_days.unwrap_or(below.certificate_days),
            self_signed_renews: self.self_signed_renews.unwrap_or(below.self_signed_renews),
            nla: self.nla.unwrap_or(below.nla),
            clock_skew: self.clock_skew.unwrap_or(below.clock_skew),
            tls_min: self.tls_min.unwrap_or(below.tls_min),
            computer: self.computer.clone().unwrap_or_else(|| below.computer.clone()),
            accept: self.accept.clone().unwrap_or_else(|| below.accept.clone()),
        }
    }

    /// Settings that are right alone but not together; blamed on the one that is set here, as the base agreed with itself.
    fn refuse_contradictions(&self, settings: &Settings, path: &KeyPath) -> Result<(), Mistake> {
        let Settings { interval, timeout, ip_protocol, source_address, .. } = settings;
        if timeout >= interval {
            return Err(if self.timeout.is_some() {
                path.key("timeout").mistake(format!("must be shorter than interval ({})", format_duration(*interval)))
            } else {
                path.key("interval").mistake(format!("must be longer than timeout ({})", format_duration(*timeout)))
            });
        }
        let Some(source) = source_address else { return Ok(()) };
        let fits = match ip_protocol {
            IpProtocol::Any => true,
            IpProtocol::Ip4 => source.is_ipv4(),
            IpProtocol::Ip6 => source.is_ipv6(),
        };
        match (fits, self.source_address.is_some()) {
            (true, _) => Ok(()),
            (false, true) => Err(path
                .key("source_address")
                .mistake(format!("must be of the family that ip_protocol allows ({})", word_of(*ip_protocol)))),
            (false, false) => {
                Err(path.key("ip_protocol").mistake(format!("must allow the family of source_address ({source})")))
            }
        }
    }
}

fn read_cookie(value: Value) -> Result<String, Mistake> {
    let path = value.path.clone();
    let cookie = value.text()?;
    // The request ends the cookie with CR LF, and servers cut it at white space.
    if cookie.len() > MAX_COOKIE_BYTES || !cookie.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(path.mistake(format!(
            "must have at most {MAX_COOKIE_BYTES} characters, all printable ASCII without spaces; \"\" sends none"
        )));
    }
    Ok(cookie)
}

fn read_companion_ports(value: Value) -> Result<Vec<u16>, Mistake> {
    let path = value.path.clone();
    let ports = value.list(Value::port)?;
    // More would look like a port scan.
    match ports.len() {
        0..=MAX_COMPANIONS => Ok(ports),
        _ => Err(path.mistake(format!("must name at most {MAX_COMPANIONS} ports; [] tries none"))),
    }
}

fn read_tls_min(value: Value) -> Result<Option<TlsVersion>, Mistake> {
    let path = value.path.clone();
    // Without quotes YAML takes a version for a number.
    value.choice(&TLS_MIN).map_err(|_| path.mistake("must be one of none, '1.2', '1.3', the versions in quotes"))
}

fn read_computer(value: Value) -> Result<String, Mistake> {
    let path = value.path.clone();
    let computer = value.text()?;
    let known_bytes = computer.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    match known_bytes && computer.len() <= MAX_NAME_BYTES {
        true => Ok(computer),
        false => {
            Err(path
                .mistake("must be a computer's name, such as TS01 or ts01.corp.example, \"auto\" for the first label of the address, or \"\" for any"))
        }
    }
}

fn read_source_address(value: Value) -> Result<Option<IpAddr>, Mistake> {
    let path = value.path.clone();
    let text = value.text()?;
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<IpAddr>() {
        Ok(ip) if !ip.is_unspecified() && !ip.is_multicast() => Ok(Some(ip)),
        Ok(_) | Err(_) => Err(path.mistake(format!(
            "must be an IP address of this machine without a port, or \"\" for any, not {}",
            quoted(&text)
        ))),
    }
}

fn read_finding(value: Value) -> Result<Finding, Mistake> {
    let path = value.path.clone();
    let label = value.text()?;
    if let Some(finding) = Finding::from_label(&label) {
        return Ok(finding);
    }
    let labels = || Finding::ALL.into_iter().map(Finding::label);
    let unknown = format!("no finding is called {}", quoted(&label));
    Err(path.mistake(match nearest(&label, labels()) {
        Some(near) => format!("{unknown}, did you mean {near}?"),
        None => format!("{unknown}; the findings are {}", labels().collect::<Vec<_>>().join(", ")),
    }))
}

/// The word for a setting.
pub(super) fn word_of(ip_protocol: IpProtocol) -> &'static str {
    match ip_protocol {
        IpProtocol::Any => "any",
        IpProtocol::Ip4 => "ip4",
        IpProtocol::Ip6 => "ip6",
    }
}

/// The word for a setting.
pub(super) fn word_of_certificate(certificate: ExpectedCertificate) -> &'static str {
    match certificate {
        ExpectedCertificate::Any => "any",
        ExpectedCertificate::Trusted => "trusted",
    }
}

/// The word for a setting.
pub(super) fn word_of_nla(nla: ExpectedNla) -> &'static str {
    match nla {
        ExpectedNla::Any => "any",
        ExpectedNla::Required => "required",
    }
}

/// The word for a setting.
pub(super) fn word_of_tls_min(tls_min: Option<TlsVersion>) -> &'static str {
    TLS_MIN.iter().find(|(_, value)| *value == tls_min).map_or("none", |(word, _)| word)
}

/// The module of a target that names none.
pub(super) const DEFAULT_MODULE: &str = "default";

/// The keys of `probe` and of a module.
pub(super) const LAYER_KEYS: Keys = Keys { own: &[], shared: SETTINGS, planned: &[] };

/// The keys that `probe`, modules and targets share.
pub(super) const SETTINGS: &[&str] = &[
    "interval",
    "confirm_after",
    "timeout",
    "connect_timeout",
    "survey_interval",
    "challenge_interval",
    "cookie",
    "companion_ports",
    "ip_protocol",
    "source_address",
    "facts_max_age",
    "expect",
];

/// The keys of `expect`.
pub(super) const EXPECT_KEYS: Keys = Keys {
    own: &[
        "certificate",
        "certificate_days",
        "self_signed_renews",
        "nla",
        "clock_skew",
        "tls_min",
        "computer",
        "accept",
    ],
    shared: &[],
    planned: &[],
};

const IP_PROTOCOLS: [(&str, IpProtocol); 3] =
    [("any", IpProtocol::Any), ("ip4", IpProtocol::Ip4), ("ip6", IpProtocol::Ip6)];
const CERTIFICATES: [(&str, ExpectedCertificate); 2] =
    [("any", ExpectedCertificate::Any), ("trusted", ExpectedCertificate::Trusted)];

const NLA: [(&str, ExpectedNla); 2] = [("any", ExpectedNla::Any), ("required", ExpectedNla::Required)];
const TLS_MIN: [(&str, Option<TlsVersion>); 3] =
    [("none", None), ("1.2", Some(TlsVersion::Tls12)), ("1.3", Some(TlsVersion::Tls13))];

const MAX_COMPANIONS: usize = 4;
/// Servers are known to take this much; the ordinary client sends nine characters.
const MAX_COOKIE_BYTES: usize = 64;
const MAX_NAME_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        assert!(IP_PROTOCOLS.iter().all(|&(word, value)| word_of(value) == word));
        assert!(NLA.iter().all(|&(word, value)| word_of_nla(value) == word));
        assert!(TLS_MIN.iter().all(|&(word, value)| word_of_tls_min(value) == word));
        assert!(CERTIFICATES.iter().all(|&(word, value)| word_of_certificate(value) == word));
    }
}
