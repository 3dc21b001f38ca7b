//! Strangers' texts, in every place where a state has room for one.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rdp_exporter::{
    certificate::{CertificateFacts, cut_text, trust::Roots},
    config::Config,
    diagnosis::diagnose,
    examine::Report,
    memory::Memory,
    observation::{
        ChallengeFacts, Conversation, Fault, LocalFault, LocalReason, Negotiation, Observation, Presented, Stage, Stop,
        Timed, TlsSession, Way,
    },
    state::TargetState,
    target::Target,
    text::printable,
    wire::{
        negotiation::{Protocols, ResponseFlags},
        ntlm::{Challenge, Version},
    },
};

use super::faces;

/// The input's first byte picks the fault. The rest is cut at 0xFF, which stands in no text, into the strings; a lone
/// byte 0xFE is one that is missing.
pub(super) fn exposition(bytes: &[u8]) {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let mut texts = rest.split(|byte| *byte == 0xFF).map(|text| (text != [0xFE]).then_some(text));
    let mut bytes = || texts.next().unwrap_or_default();
    let fault = fault(choice, bytes().unwrap_or_default());
    let mut text = || bytes().map(|text| String::from_utf8_lossy(text).into_owned());
    let target = Arc::new(target(text().unwrap_or_default(), text()));
    let stop = Stop { stage: Stage::ALL[usize::from(choice >> 4) % Stage::ALL.len()], fault, after: Duration::ZERO };
    let challenge = Challenge {
        dns_computer: text(),
        dns_domain: text(),
        dns_tree: text(),
        flags: 0,
        netbios_computer: text(),
        netbios_domain: text(),
        target: text(),
        time: None,
        version: Some(Version { major: choice, minor: 0, build: u16::MAX }),
    };
    let facts = ChallengeFacts { challenge, clock_skew_seconds: Some(-f64::from(choice) * 1e9) };
    let seen = observation("10.1.0.10:3389".parse().unwrap(), Some(stop), Some(facts));
    let mut memory = Memory::default().learn(&target, &seen, &Roots::new(vec![], vec![]));
    if let Some(last) = &mut memory.certificates.last {
        // As they are read from a certificate: cut, and nothing else.
        let mut cut = || text().map(|text| check_cut(&text));
        last.facts = Arc::new(CertificateFacts {
            subject: cut(),
            issuer: cut(),
            serial: cut(),
            key: cut(),
            signature: cut(),
            san: cut(),
            ..CertificateFacts::clone(&last.facts)
        });
    }
    let diagnosis = diagnose(&seen, &memory, &target, seen.ended);
    let state = TargetState::new(target).absorb(Report { observation: seen, diagnosis }, memory);
    faces::check(&state, noon());
}

/// A text for a label, and what must be true of it, however long and of whatever characters it was.
fn check_cut(text: &str) -> String {
    let cut = cut_text(text);
    assert!(cut.len() <= 256 && text.starts_with(&cut));
    assert!(cut.len() == text.len() || cut.len() > 252, "cut too short");
    let shown = printable(text);
    faces::check_harmless("printable", &shown);
    assert!(!shown.contains('\n'));
    cut
}

fn fault(choice: u8, bytes: &[u8]) -> Fault {
    let text = String::from_utf8_lossy(bytes).into_owned();
    match choice & 7 {
        0 => Fault::NotTpkt(bytes.iter().copied().take(64).collect()),
        1 => Fault::TlsBroken(text),
        2 => Fault::Incompatible(text),
        3 => Fault::Local(LocalFault { reason: LocalReason::System, text }),
        4 => Fault::Alert(bytes.first().copied().unwrap_or_default()),
        5 => Fault::Timeout,
        6 => Fault::Reset,
        _ => Fault::Closed,
    }
}

/// What a probe of `at` saw, whose handshake was finished unless there is a `stop`.
pub(super) fn observation(at: SocketAddr, stop: Option<Stop>, challenge: Option<ChallengeFacts>) -> Observation {
    let session = TlsSession { version: "TLS 1.3", cipher: "TLS_AES_256_GCM_SHA384" };
    let negotiation = Negotiation::Selected { protocol: Protocols::HYBRID_EX, flags: ResponseFlags(0x1f) };
    let conversation = Conversation {
        connect: Some(Timed { fact: at, took: Duration::from_millis(1) }),
        negotiation: Some(Timed { fact: negotiation, took: Duration::from_millis(2) }),
        tls: stop.is_none().then(|| Timed { fact: session, took: Duration::from_millis(3) }),
        challenge: challenge.map(|facts| Box::new(Timed { fact: Ok(facts), took: Duration::from_millis(3) })),
        presented: Some(Presented { chain: vec![vec![0x30, 0]], key_proven: None }),
        stop,
        ..Conversation::offering(Protocols::ORDINARY, Way::Rustls)
    };
    Observation {
        ended: noon(),
        duration: Duration::from_millis(30),
        addresses: vec![at.ip()],
        conversations: vec![conversation],
        ..Observation::begun(noon())
    }
}

/// A target with a name and a label's value as the configuration takes them: any text of some length.
fn target(name: String, label: Option<String>) -> Target {
    Target {
        name,
        address: "ts01.corp.example".parse().unwrap(),
        labels: label.map(|value| BTreeMap::from([("site".to_owned(), value)])).unwrap_or_default(),
        server_name: None,
        settings: Arc::clone(Config::without_file().module("default").unwrap()),
    }
}

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_176_000)
}
