//! What was observed to what is said of it: plain values, no sockets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rdp_exporter::{
    certificate::{CertificateFacts, trust::Roots},
    diagnosis::{Finding, Severity, Verdict, diagnose},
    memory::{Memory, SeenCertificate},
    observation::{
        Attempt, Companion, Conversation, Fault, LocalFault, LocalReason, Negotiation, Observation, Presented,
    },
    target::{Expectations, ExpectedCertificate, Settings, Target},
    wire::{DecodeError, negotiation::Protocols},
};
use time::OffsetDateTime;

use crate::sample::{
    self, answered, noon, observation, refused, selected, shaken, stopped_early, stopped_in_tls, unanswered,
    unconnected,
};

type Row = (&'static str, Observation, Verdict);

const ORDINARY: Protocols = Protocols::ORDINARY;

#[test]
fn every_observation_has_its_verdict_and_every_verdict_its_observation() {
    let mut reached = BTreeSet::new();
    let target = sample::target("t", "ts01.corp.example", sample::settings());
    let rows = [ways_in(), before_an_answer(), beside_companions(), answers(), inside_tls(), our_own()];
    for (name, seen, verdict) in rows.concat() {
        let memory = Memory::default().learn(&target, &seen, &Roots::new(Vec::new(), Vec::new()));
        assert_eq!(diagnose(&seen, &memory, &target, noon()).verdict, verdict, "{name}");
        reached.insert(verdict);
    }
    assert_eq!(reached, BTreeSet::from(Verdict::ALL));
}

fn ways_in() -> Vec<Row> {
    use Verdict::Healthy;
    vec![
        ("hybrid_ex", observation(vec![shaken(Protocols::HYBRID_EX)]), Healthy),
        ("ssl", observation(vec![shaken(Protocols::SSL)]), Healthy),
        ("rdp selected", observation(vec![answered(ORDINARY, selected(Protocols::RDP))]), Healthy),
        ("no negotiation data", observation(vec![answered(ORDINARY, Negotiation::Absent)]), Healthy),
        (
            "failure 2, then rdp",
            observation(vec![answered(ORDINARY, refused(2)), answered(Protocols::RDP, selected(Protocols::RDP))]),
            Healthy,
        ),
        ("rdp remembered", observation(vec![answered(Protocols::RDP, selected(Protocols::RDP))]), Healthy),
        (
            "rdp remembered, no longer true",
            observation(vec![answered(Protocols::RDP, refused(5)), shaken(Protocols::HYBRID_EX)]),
            Healthy,
        ),
        (
            "rdp remembered, cut now",
            observation(vec![unanswered(Protocols::RDP, Fault::Reset), shaken(Protocols::HYBRID_EX)]),
            Healthy,
        ),
    ]
}

fn beside_companions() -> Vec<Row> {
    let beside = |faults: [Option<Fault>; 2]| {
        let ports = [445, 135].into_iter().zip(faults);
        let companions = ports.map(|(port, fault)| Companion { address: ([192, 0, 2, 1], port).into(), fault });
        Observation { companions: companions.collect(), ..observation(vec![silent()]) }
    };
    let local = || Fault::Local(LocalFault { reason: LocalReason::Permission, text: String::new() });
    vec![
        ("both silent", beside([Some(Fault::Timeout), Some(Fault::Timeout)]), Verdict::HostDown),
        ("a router's word", beside([Some(Fault::Unreachable(113)), Some(Fault::Timeout)]), Verdict::HostDown),
        ("one refuses", beside([Some(Fault::Timeout), Some(Fault::Refused)]), Verdict::PortFiltered),
        ("one answers", beside([None, Some(Fault::Timeout)]), Verdict::PortFiltered),
        ("ours and silence", beside([Some(local()), Some(Fault::Timeout)]), Verdict::HostDown),
        ("only ours", beside([Some(local()), Some(local())]), Verdict::ConnectTimeout),
    ]
}

/// A connection that met silence.
pub(crate) fn silent() -> Conversation {
    let address = ([192, 0, 2, 1], 3389).into();
    let attempt = Attempt { address, fault: Fault::Timeout, after: Duration::from_millis(2500) };
    Conversation { attempts: vec![attempt], ..unconnected(Fault::Timeout) }
}

fn before_an_answer() -> Vec<Row> {
    let refused_rdp = || answered(ORDINARY, refused(2));
    vec![
        ("no such name", stopped_early(Fault::NameNotFound), Verdict::DnsNotFound),
        ("resolver failed", stopped_early(Fault::ResolverFailed(-3)), Verdict::DnsFailure),
        ("resolver silent", stopped_early(Fault::Timeout), Verdict::DnsFailure),
        ("refused", observation(vec![unconnected(Fault::Refused)]), Verdict::ConnectRefused),
        ("unreachable", observation(vec![unconnected(Fault::Unreachable(113))]), Verdict::HostUnreachable),
        ("silent", observation(vec![unconnected(Fault::Timeout)]), Verdict::ConnectTimeout),
        ("reset by connect", observation(vec![unconnected(Fault::Reset)]), Verdict::ClosedAfterRequest),
        ("FIN", observation(vec![unanswered(ORDINARY, Fault::Closed)]), Verdict::ClosedAfterRequest),
        ("RST", observation(vec![unanswered(ORDINARY, Fault::Reset)]), Verdict::ClosedAfterRequest),
        ("no answer", observation(vec![unanswered(ORDINARY, Fault::Timeout)]), Verdict::NegotiationTimeout),
        // When several connections could be blamed, the first is.
        (
            "failure 2, then silence",
            observation(vec![refused_rdp(), unanswered(Protocols::RDP, Fault::Timeout)]),
            Verdict::NegotiationRefused,
        ),
        (
            "failure 2, then no connection",
            observation(vec![refused_rdp(), unconnected(Fault::Timeout)]),
            Verdict::NegotiationRefused,
        ),
        (
            "rdp remembered and cut, then refused by connect",
            observation(vec![unanswered(Protocols::RDP, Fault::Reset), unconnected(Fault::Refused)]),
            Verdict::ClosedAfterRequest,
        ),
        (
            "rdp remembered and silent, then refused",
            observation(vec![unanswered(Protocols::RDP, Fault::Timeout), answered(ORDINARY, refused(5))]),
            Verdict::NegotiationTimeout,
        ),
        (
            "rdp remembered and refused, then cut",
            observation(vec![answered(Protocols::RDP, refused(5)), unanswered(ORDINARY, Fault::Reset)]),
            Verdict::ClosedAfterRequest,
        ),
        (
            "rdp remembered and refused, then refused",
            observation(vec![answered(Protocols::RDP, refused(5)), answered(ORDINARY, refused(3))]),
            Verdict::NoCertificate,
        ),
    ]
}

fn answers() -> Vec<Row> {
    let malformed = Fault::Malformed(DecodeError::Ended { what: "TPKT payload" });
    let of = |negotiation| observation(vec![answered(ORDINARY, negotiation)]);
    vec![
        ("not TPKT", observation(vec![unanswered(ORDINARY, Fault::NotTpkt(b"HTTP".to_vec()))]), Verdict::NotRdp),
        ("malformed", observation(vec![unanswered(ORDINARY, malformed)]), Verdict::ProtocolError),
        (
            "not offered",
            observation(vec![unanswered(ORDINARY, Fault::Unoffered(Protocols::RDSTLS))]),
            Verdict::ProtocolError,
        ),
        ("failure 1", of(refused(1)), Verdict::NegotiationRefused),
        ("failure 2 alone", of(refused(2)), Verdict::NegotiationRefused),
        ("failure 3", of(refused(3)), Verdict::NoCertificate),
        ("failure 4", of(refused(4)), Verdict::NegotiationRefused),
        ("failure 5", of(refused(5)), Verdict::NegotiationRefused),
        ("failure 6", of(refused(6)), Verdict::NegotiationRefused),
        ("failure 99", of(refused(99)), Verdict::NegotiationRefused),
        ("MCS disconnect", of(Negotiation::Disconnected), Verdict::NegotiationRefused),
    ]
}

fn inside_tls() -> Vec<Row> {
    let of = |fault| observation(vec![stopped_in_tls(fault)]);
    vec![
        ("FIN in TLS", of(Fault::Closed), Verdict::TlsReset),
        ("RST in TLS", of(Fault::Reset), Verdict::TlsReset),
        ("alert", of(Fault::Alert(40)), Verdict::TlsAlert),
        ("silence in TLS", of(Fault::Timeout), Verdict::TlsTimeout),
        ("broken TLS", of(Fault::TlsBroken("corrupt message".into())), Verdict::TlsError),
    ]
}

fn our_own() -> Vec<Row> {
    let fault = || Fault::Local(LocalFault { reason: LocalReason::Descriptors, text: "open a socket".into() });
    vec![
        ("no descriptors", observation(vec![unconnected(fault())]), Verdict::ExporterFault),
        ("no thread for a look-up", stopped_early(fault()), Verdict::ExporterFault),
    ]
}

/// Dashboards and alerts rely on them.
#[test]
fn labels_are_those_of_the_contract() {
    let verdicts = "healthy dns_not_found dns_failure host_unreachable connect_refused connect_timeout host_down \
        port_filtered closed_after_request negotiation_timeout not_rdp protocol_error no_certificate \
        negotiation_refused tls_reset tls_alert tls_timeout tls_error exporter_fault";
    check_labels(Verdict::ALL.map(Verdict::label), verdicts);
    let findings = "certificate_expired certificate_expiring certificate_not_yet_valid certificate_name_mismatch \
        certificate_untrusted certificate_self_signed certificate_weak_key certificate_weak_signature \
        certificate_unverified_key certificate_changed_early certificate_differs tls_legacy tls_legacy_accepted \
        standard_security_only standard_security_accepted security_downgraded nla_not_offered nla_not_required \
        nla_no_answer wrong_host clock_skew network_unstable";
    check_labels(Finding::ALL.map(Finding::label), findings);
    check_labels([Severity::Info, Severity::Warning, Severity::Critical].map(Severity::label), "info warning critical");
}

fn check_labels<const N: usize>(labels: [&str; N], contract: &str) {
    let known: BTreeSet<_> = contract.split_whitespace().collect();
    let unique = BTreeSet::from(labels);
    assert_eq!(unique.len(), N, "labels are unique");
    assert!(unique.is_subset(&known), "{:?}", unique.difference(&known));
    let is_snake = |label: &&str| label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    assert!(labels.iter().all(is_snake), "{labels:?}");
}

#[test]
fn severities_are_those_of_the_contract() {
    use Finding::{
        CertificateDiffers, CertificateExpired, CertificateNameMismatch, CertificateUnverifiedKey, SecurityDowngraded,
        StandardSecurityOnly, TlsLegacyAccepted,
    };
    for finding in Finding::ALL {
        let expected = match finding {
            CertificateExpired | CertificateUnverifiedKey | StandardSecurityOnly | SecurityDowngraded => {
                Severity::Critical
            }
            CertificateNameMismatch | CertificateDiffers | TlsLegacyAccepted => Severity::Info,
            _ => Severity::Warning,
        };
        assert_eq!(finding.severity(), expected, "{finding}");
        assert_eq!(Finding::from_label(finding.label()), Some(finding));
    }
}

#[test]
fn standard_security_is_a_finding_whatever_led_to_it() {
    let rdp = || answered(Protocols::RDP, selected(Protocols::RDP));
    let rows = [
        (observation(vec![answered(ORDINARY, selected(Protocols::RDP))]), true),
        (observation(vec![answered(ORDINARY, Negotiation::Absent)]), true),
        (observation(vec![answered(ORDINARY, refused(2)), rdp()]), true),
        (observation(vec![rdp()]), true),
        (observation(vec![shaken(Protocols::SSL)]), false),
        (observation(vec![shaken(Protocols::HYBRID_EX)]), false),
        (observation(vec![answered(ORDINARY, refused(5))]), false),
        (observation(vec![stopped_in_tls(Fault::Reset)]), false),
        (observation(vec![unconnected(Fault::Refused)]), false),
    ];
    for (seen, expected) in rows {
        let found = diagnose(&seen, &Memory::default(), &expecting(expectations()), noon()).findings;
        let expected = expected.then_some((Finding::StandardSecurityOnly, Severity::Critical));
        assert_eq!(found, Vec::from_iter(expected), "{seen:?}");
    }
}

#[test]
fn an_accepted_finding_is_known_but_not_found() {
    let seen = observation(vec![answered(ORDINARY, Negotiation::Absent)]);
    let expect = Expectations { accept: vec![Finding::StandardSecurityOnly], ..expectations() };
    let diagnosis = diagnose(&seen, &Memory::default(), &expecting(expect), noon());
    assert_eq!(diagnosis.findings, []);
    assert_eq!(diagnosis.accepted, [(Finding::StandardSecurityOnly, Severity::Critical)]);
    assert_eq!(diagnosis.verdict, Verdict::Healthy);
}

/// What a row changes on a certificate that is well, and then expects.
type CertificateRow = (&'static str, fn(&mut SeenCertificate, &mut Expectations), &'static [(Finding, Severity)]);

#[test]
fn certificates_have_their_findings() {
    if sample::certificate_is_stub() {
        return;
    }
    let well = remembered();
    for (name, change, findings) in [EXPIRY, TRUST, STRENGTH].concat() {
        let mut memory = well.clone();
        let mut expect = expectations();
        change(memory.certificates.last.as_mut().unwrap(), &mut expect);
        let target = expecting(expect);
        // A host that is down has its findings too.
        for seen in [observation(vec![shaken(Protocols::HYBRID_EX)]), observation(vec![unconnected(Fault::Timeout)])] {
            assert_eq!(diagnose(&seen, &memory, &target, noon()).findings, findings, "{name}");
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const EXPIRED: Finding = Finding::CertificateExpired;
const EXPIRING: (Finding, Severity) = (Finding::CertificateExpiring, Severity::Warning);

const EXPIRY: &[CertificateRow] = &[
    ("well", |_, _| {}, &[]),
    ("expired", |seen, _| ends(seen, noon() - Duration::from_secs(1)), &[(EXPIRED, Severity::Critical)]),
    ("one second left", |seen, _| ends(seen, noon() + Duration::from_secs(1)), &[EXPIRING]),
    ("a second less than 14 days", |seen, _| ends(seen, noon() + DAY * 14 - Duration::from_secs(1)), &[EXPIRING]),
    ("14 days", |seen, _| ends(seen, noon() + DAY * 14), &[]),
    (
        "15 days of 30 wanted",
        |seen, expect| {
            ends(seen, noon() + DAY * 15);
            expect.certificate_days = 30
        },
        &[EXPIRING],
    ),
    (
        "self-signed, one day left",
        |seen, _| {
            self_signed(seen);
            ends(seen, noon() + DAY)
        },
        &[],
    ),
    (
        "self-signed that does not renew, one day left",
        |seen, expect| {
            self_signed(seen);
            ends(seen, noon() + DAY);
            expect.self_signed_renews = false
        },
        &[EXPIRING],
    ),
    (
        "self-signed, a day over",
        |seen, _| {
            self_signed(seen);
            ends(seen, noon() - DAY)
        },
        &[(EXPIRED, Severity::Info)],
    ),
    (
        "self-signed, 48 h over",
        |seen, _| {
            self_signed(seen);
            ends(seen, noon() - DAY * 2)
        },
        &[(EXPIRED, Severity::Info)],
    ),
    (
        "self-signed, more than 48 h over",
        |seen, _| {
            self_signed(seen);
            ends(seen, noon() - DAY * 2 - Duration::from_secs(1))
        },
        &[(EXPIRED, Severity::Critical)],
    ),
    (
        "self-signed that does not renew, a day over",
        |seen, expect| {
            self_signed(seen);
            ends(seen, noon() - DAY);
            expect.self_signed_renews = false
        },
        &[(EXPIRED, Severity::Critical)],
    ),
    ("no readable end", |seen, _| change(seen, |facts| facts.not_after = None), &[]),
    (
        "not yet valid",
        |seen, _| change(seen, |facts| facts.not_before = Some(OffsetDateTime::from(noon() + DAY))),
        &[(Finding::CertificateNotYetValid, Severity::Warning)],
    ),
];

const TRUST: &[CertificateRow] = &[
    ("not trusted, any will do", |seen, _| seen.trusted = Some(false), &[]),
    (
        "not trusted, but should be",
        |seen, expect| {
            seen.trusted = Some(false);
            expect.certificate = ExpectedCertificate::Trusted
        },
        &[(Finding::CertificateUntrusted, Severity::Warning)],
    ),
    (
        "self-signed, but should be trusted",
        |seen, expect| {
            self_signed(seen);
            seen.trusted = Some(false);
            expect.certificate = ExpectedCertificate::Trusted
        },
        &[(Finding::CertificateSelfSigned, Severity::Warning)],
    ),
    (
        "self-signed and pinned",
        |seen, expect| {
            self_signed(seen);
            seen.trusted = Some(true);
            expect.certificate = ExpectedCertificate::Trusted
        },
        &[],
    ),
    (
        "no roots",
        |seen, expect| {
            seen.trusted = None;
            expect.certificate = ExpectedCertificate::Trusted
        },
        &[],
    ),
];

const STRENGTH: &[CertificateRow] = &[
    ("another name", |seen, _| seen.name_match = Some(false), &[(Finding::CertificateNameMismatch, Severity::Info)]),
    ("no name to check", |seen, _| seen.name_match = None, &[]),
    (
        "weak key",
        |seen, _| change(seen, |facts| facts.weak_key = true),
        &[(Finding::CertificateWeakKey, Severity::Warning)],
    ),
    (
        "weak signature",
        |seen, _| change(seen, |facts| facts.weak_signature = true),
        &[(Finding::CertificateWeakSignature, Severity::Warning)],
    ),
    (
        "another's key",
        |seen, _| seen.key_proven = Some(false),
        &[(Finding::CertificateUnverifiedKey, Severity::Critical)],
    ),
    ("key not checked", |seen, _| seen.key_proven = None, &[]),
    (
        "worst first",
        |seen, _| {
            seen.name_match = Some(false);
            seen.key_proven = Some(false);
            change(seen, |facts| facts.weak_key = true);
        },
        &[
            (Finding::CertificateUnverifiedKey, Severity::Critical),
            (Finding::CertificateWeakKey, Severity::Warning),
            (Finding::CertificateNameMismatch, Severity::Info),
        ],
    ),
];

/// Facts about a certificate are kept with their time, and not for ever.
#[test]
fn a_certificate_is_remembered_while_it_is_fresh() {
    if sample::certificate_is_stub() {
        return;
    }
    let memory = remembered();
    assert_eq!(memory.certificates.last.as_ref().unwrap().observed, noon());
    assert_eq!(memory.certificates.changes, 0);
    let target = sample::target("t", "ts01.corp.example", sample::settings());
    let roots = Roots::new(Vec::new(), Vec::new());
    let silent_at = |ended: SystemTime| Observation { ended, ..observation(vec![unconnected(Fault::Timeout)]) };
    let after = memory.clone().learn(&target, &silent_at(noon() + DAY * 30), &roots);
    assert_eq!(after.certificates.last, memory.certificates.last);
    let later = memory.clone().learn(&target, &silent_at(noon() + DAY * 31), &roots);
    assert_eq!(later.certificates.last, None);
    let other = memory.learn(&target, &showing(&chain()), &roots);
    assert_eq!(other.certificates.changes, 1, "another certificate at the same address");
    let broken = stopped_in_tls(Fault::Reset);
    let presented = Some(Presented { chain: chain(), key_proven: None });
    let seen = observation(vec![Conversation { presented, ..broken }]);
    let failed = Memory::default().learn(&target, &seen, &roots);
    assert!(failed.certificates.last.is_some(), "also where the handshake failed");
}

/// A target of which that is expected.
pub(crate) fn expecting(expect: Expectations) -> Target {
    sample::target("t", "ts01.corp.example", Settings { expect, ..sample::settings() })
}

pub(crate) fn expectations() -> Expectations {
    Expectations { certificate_days: 14, self_signed_renews: true, ..sample::settings().expect }
}

/// What is remembered after a probe that saw a certificate with which all is well.
pub(crate) fn remembered() -> Memory {
    let target = sample::target("t", "ts01.corp.example", sample::settings());
    let roots = Roots::new(Vec::new(), Vec::new());
    let mut memory = Memory::default().learn(&target, &showing(&chain()), &roots);
    let seen = memory.certificates.last.as_mut().unwrap();
    seen.key_proven = Some(true);
    seen.name_match = Some(true);
    change(seen, |facts| {
        facts.not_before = Some(OffsetDateTime::from(noon() - DAY));
        facts.not_after = Some(OffsetDateTime::from(noon() + DAY * 90));
        facts.chain_not_after = Some(OffsetDateTime::from(noon() + DAY * 80));
        facts.self_signed = Some(false);
        facts.weak_key = false;
        facts.weak_signature = false;
    });
    memory
}

fn showing(chain: &[Vec<u8>]) -> Observation {
    let presented = Some(Presented { chain: chain.to_vec(), key_proven: None });
    observation(vec![Conversation { presented, ..shaken(Protocols::HYBRID_EX) }])
}

fn chain() -> Vec<Vec<u8>> {
    let own = rcgen::generate_simple_self_signed(vec!["ts01.corp.example".to_owned()]).unwrap();
    vec![own.cert.der().to_vec()]
}

pub(crate) fn change(seen: &mut SeenCertificate, with: impl FnOnce(&mut CertificateFacts)) {
    let mut facts = CertificateFacts::clone(&seen.facts);
    with(&mut facts);
    seen.facts = Arc::new(facts);
}

fn ends(seen: &mut SeenCertificate, end: SystemTime) {
    change(seen, |facts| facts.not_after = Some(end.into()));
}

fn self_signed(seen: &mut SeenCertificate) {
    change(seen, |facts| facts.self_signed = Some(true));
}

#[test]
fn reachable_is_what_answered_the_syn_with_a_connection() {
    let rows = [
        (stopped_early(Fault::NameNotFound), false),
        (observation(vec![unconnected(Fault::Refused)]), false),
        (observation(vec![unconnected(Fault::Timeout)]), false),
        (observation(vec![unconnected(Fault::Unreachable(113))]), false),
        // Made, and reset before our own system told us that it was made.
        (observation(vec![unconnected(Fault::Reset)]), true),
        (observation(vec![unanswered(ORDINARY, Fault::Closed)]), true),
        (observation(vec![stopped_in_tls(Fault::Reset)]), true),
        (observation(vec![answered(ORDINARY, refused(2)), unconnected(Fault::Timeout)]), true),
        (observation(vec![shaken(Protocols::SSL)]), true),
    ];
    for (seen, expected) in rows {
        assert_eq!(seen.is_reachable(), expected, "{seen:?}");
    }
}

/// The stages that were reached, with the time that the one that stopped lasted.
#[test]
fn stages_are_those_that_were_reached() {
    let rows = [
        (stopped_early(Fault::NameNotFound), "resolve=2"),
        (observation(vec![unconnected(Fault::Refused)]), "connect=3"),
        (observation(vec![unanswered(ORDINARY, Fault::Timeout)]), "connect=1 negotiate=4"),
        (observation(vec![stopped_in_tls(Fault::Timeout)]), "connect=1 negotiate=2 tls=5"),
        (observation(vec![shaken(Protocols::SSL)]), "connect=1 negotiate=2 tls=27"),
        (observation(vec![answered(ORDINARY, Negotiation::Absent)]), "connect=1 negotiate=2"),
    ];
    for (seen, expected) in rows {
        let stages: BTreeMap<_, _> = seen.stages().into_iter().collect();
        let told = stages.iter().map(|(stage, took)| format!("{}={}", stage.label(), took.as_millis()));
        assert_eq!(told.collect::<Vec<_>>().join(" "), expected);
    }
}
