//! Targets and observations as plain values, with built-in settings where a test does not care.

use std::{
    collections::BTreeMap,
    io::Write,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rdp_exporter::{
    certificate,
    config::Config,
    observation::{Conversation, Fault, Negotiation, Observation, Stage, Stop, Timed, TlsSession, Way},
    target::{Settings, Target},
    wire::negotiation::{FailureCode, Protocols, ResponseFlags},
};

pub(crate) use crate::fuzz::faces::is_harmless;

/// When every sample was observed: 2026-11-20 12:00:00 UTC.
pub(crate) fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_176_000)
}

/// The built-in settings, but impatient, and without the questions that only some tests are about.
pub(crate) fn settings() -> Settings {
    Settings {
        timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(2),
        survey_interval: Duration::ZERO,
        challenge_interval: Duration::ZERO,
        ..Settings::clone(Config::without_file().module("default").unwrap())
    }
}

/// A target of that name at that address.
pub(crate) fn target(name: &str, address: &str, settings: Settings) -> Target {
    let address: rdp_exporter::target::Address = address.parse().unwrap();
    let server_name = address.default_server_name();
    Target { name: name.to_owned(), address, labels: BTreeMap::new(), server_name, settings: Arc::new(settings) }
}

/// A target at a socket address, without a server name.
pub(crate) fn at(address: SocketAddr, settings: Settings) -> Target {
    target(&address.to_string(), &address.to_string(), settings)
}

/// An observation of these conversations, 30 ms long.
pub(crate) fn observation(conversations: Vec<Conversation>) -> Observation {
    Observation {
        ended: noon(),
        duration: Duration::from_millis(30),
        addresses: vec![address().ip()],
        conversations,
        ..Observation::begun(noon() - Duration::from_millis(40))
    }
}

/// An observation that stopped before any conversation.
pub(crate) fn stopped_early(fault: Fault) -> Observation {
    let stop = Some(Stop { stage: Stage::Resolve, fault, after: Duration::from_millis(2) });
    Observation { stop, addresses: Vec::new(), ..observation(Vec::new()) }
}

/// A connection that was not made.
pub(crate) fn unconnected(fault: Fault) -> Conversation {
    let stop = Some(Stop { stage: Stage::Connect, fault, after: Duration::from_millis(3) });
    Conversation { stop, ..Conversation::offering(Protocols::ORDINARY, Way::Rustls) }
}

/// A connection that the server did not answer, or not well.
pub(crate) fn unanswered(offered: Protocols, fault: Fault) -> Conversation {
    let connect = Some(Timed { fact: address(), took: Duration::from_millis(1) });
    let stop = Some(Stop { stage: Stage::Negotiate, fault, after: Duration::from_millis(4) });
    Conversation { connect, stop, ..Conversation::offering(offered, way_of(offered)) }
}

/// A connection that was answered, and nothing after that.
pub(crate) fn answered(offered: Protocols, negotiation: Negotiation) -> Conversation {
    let negotiation = Some(Timed { fact: negotiation, took: Duration::from_millis(2) });
    let connect = Some(Timed { fact: address(), took: Duration::from_millis(1) });
    Conversation { connect, negotiation, ..Conversation::offering(offered, way_of(offered)) }
}

/// The ordinary offer, answered with `protocol`, and a TLS handshake.
pub(crate) fn shaken(protocol: Protocols) -> Conversation {
    let session = TlsSession { version: "TLS 1.3", cipher: "TLS_AES_256_GCM_SHA384" };
    let tls = Some(Timed { fact: session, took: Duration::from_millis(27) });
    Conversation { tls, ..answered(Protocols::ORDINARY, selected(protocol)) }
}

/// The ordinary offer, answered with HYBRID_EX, and a TLS handshake that stopped.
pub(crate) fn stopped_in_tls(fault: Fault) -> Conversation {
    let stop = Some(Stop { stage: Stage::Tls, fault, after: Duration::from_millis(5) });
    Conversation { stop, ..answered(Protocols::ORDINARY, selected(Protocols::HYBRID_EX)) }
}

/// How a probe that offers so much goes about TLS.
fn way_of(offered: Protocols) -> Way {
    if offered == Protocols::RDP { Way::Stop } else { Way::Rustls }
}

/// RDP_NEG_RSP as a modern Windows gives it.
pub(crate) fn selected(protocol: Protocols) -> Negotiation {
    Negotiation::Selected { protocol, flags: ResponseFlags(0x1f) }
}

/// RDP_NEG_FAILURE.
pub(crate) fn refused(code: u32) -> Negotiation {
    Negotiation::Refused(FailureCode(code))
}

/// Where the samples were seen.
pub(crate) fn address() -> SocketAddr {
    "10.1.0.10:3389".parse().unwrap()
}

/// What no terminal, no log line and no scrape may stumble over.
pub(crate) const HOSTILE: [&str; 9] = [
    "quote\" and \\ backslash\\",
    "line\nfeed\r\nand carriage return",
    "\u{1b}[31mred\u{9b}0m\u{7f}\u{8}",
    "right\u{202e}to\u{2066}left\u{200f}\u{feff}",
    "# HELP rdp_up forged\nrdp_up{target=\"x\"} 1\n",
    "\u{2028}\u{2029}",
    "Zürich 東京 🖥",
    "trailing backslash\\",
    "",
];

/// Whether `src/certificate` is still a stub, so that no certificate can be read.
pub(crate) fn certificate_is_stub() -> bool {
    let is_stub = certificate::chain_fingerprint(&[vec![1]]) == [0; 32];
    if is_stub {
        skipped("src/certificate is a stub");
    }
    is_stub
}

/// Says so where the test harness cannot swallow it.
pub(crate) fn skipped(reason: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {reason}");
}
