//! Every finding of layers, host and network from plain values; with the certificate's own, all that there are.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rdp_exporter::{
    certificate::trust::Roots,
    diagnosis::{Finding, diagnose},
    memory::Memory,
    observation::{
        ChallengeFacts, ClearFlight, Conversation, Fault, Negotiation, NetworkFacts, Observation, Presented, Timed, Way,
    },
    probe::Question,
    target::{Expectations, ExpectedCertificate, ExpectedNla, Settings},
    wire::{
        clear_tls::{HelloForm, ServerHello},
        negotiation::Protocols,
        ntlm::Challenge,
        tls_version::TlsVersion,
    },
};

use crate::{
    judgement::{self, change, expectations, expecting},
    sample::{self, answered, noon, observation, refused, selected, shaken, stopped_in_tls, unconnected},
};

/// What is remembered before the last observation, that observation, what is expected, and the findings at noon.
struct Row {
    name: &'static str,
    memory: Memory,
    seen: Observation,
    expect: Expectations,
    found: &'static [Finding],
}

fn row(name: &'static str, memory: Memory, seen: Observation, found: &'static [Finding]) -> Row {
    Row { name, memory, seen, expect: expectations(), found }
}

fn expected(row: Row, with: impl FnOnce(&mut Expectations)) -> Row {
    let mut expect = row.expect;
    with(&mut expect);
    Row { expect, ..row }
}

#[test]
fn every_finding_is_reached_and_none_too_many() {
    let mut reached = BTreeSet::new();
    for row in every_row() {
        let target = asked(expecting(row.expect));
        let memory = row.memory.learn(&target, &row.seen, &no_roots());
        let found: Vec<_> = diagnose(&row.seen, &memory, &target, noon()).findings;
        let names: Vec<_> = found.iter().map(|(finding, _)| *finding).collect();
        assert_eq!(names, row.found, "{}", row.name);
        for (finding, severity) in found {
            assert_eq!(severity, finding.severity(), "{}", row.name);
        }
        reached.extend(names);
    }
    // Those of the certificate's own dates, names and keys have their table in `judgement`.
    let elsewhere = [
        Finding::CertificateExpired,
        Finding::CertificateExpiring,
        Finding::CertificateNotYetValid,
        Finding::CertificateNameMismatch,
        Finding::CertificateWeakKey,
        Finding::CertificateWeakSignature,
        Finding::CertificateUnverifiedKey,
    ];
    reached.extend(elsewhere);
    assert_eq!(reached, BTreeSet::from(Finding::ALL));
}

fn every_row() -> impl Iterator<Item = Row> {
    [tls(), layers(), nla(), downgrades(), hosts(), networks(), certificates()].into_iter().flatten()
}

/// What is remembered after each row.
pub(crate) fn every_memory() -> Vec<Memory> {
    let after = |row: Row| row.memory.learn(&asked(expecting(row.expect)), &row.seen, &no_roots());
    every_row().map(after).collect()
}

fn tls() -> Vec<Row> {
    use Finding::{TlsLegacy, TlsLegacyAccepted};
    let of = |name, version, cipher, found| row(name, none(), clear(version, cipher), found);
    let least = |row: Row, least| expected(row, |expect| expect.tls_min = Some(least));
    let modern = || observation(vec![shaken(Protocols::HYBRID_EX)]);
    let old_too = || surveyed(modern(), true, |_| refused(5), None);
    vec![
        of("TLS 1.0", 0x0301, 0xc014, &[TlsLegacy]),
        of("TLS 1.1", 0x0302, 0xc014, &[TlsLegacy]),
        of("SSL 3.0", 0x0300, 0x0005, &[TlsLegacy]),
        of("no forward secrecy", 0x0303, 0x009d, &[TlsLegacy]),
        of("no AEAD", 0x0303, 0xc028, &[TlsLegacy]),
        of("a suite that nobody knows", 0x0303, 0xfefe, &[TlsLegacy]),
        of("DHE with GCM", 0x0303, 0x009f, &[]),
        of("ECDHE with GCM, and a key that rustls lacks", 0x0303, 0xc02f, &[]),
        row("TLS 1.3", none(), modern(), &[]),
        row("stopped in TLS", none(), observation(vec![stopped_in_tls(Fault::Reset)]), &[]),
        least(row("1.3 negotiated, 1.2 wanted", none(), modern(), &[]), TlsVersion::Tls12),
        least(of("1.0 negotiated, 1.2 wanted", 0x0301, 0x0035, &[TlsLegacy, TlsLegacyAccepted]), TlsVersion::Tls12),
        least(of("SSL 3.0 negotiated, 1.2 wanted", 0x0300, 0x0005, &[TlsLegacy, TlsLegacyAccepted]), TlsVersion::Tls12),
        least(of("1.2 negotiated, 1.3 wanted", 0x0303, 0xc02f, &[TlsLegacyAccepted]), TlsVersion::Tls13),
        row("1.0 taken too, and nobody minds", old_too(), modern(), &[]),
        least(row("1.0 taken too", old_too(), modern(), &[TlsLegacyAccepted]), TlsVersion::Tls12),
    ]
}

fn layers() -> Vec<Row> {
    use Finding::{StandardSecurityAccepted, StandardSecurityOnly};
    let nla = || observation(vec![shaken(Protocols::HYBRID_EX)]);
    let rdp = || observation(vec![answered(Protocols::ORDINARY, selected(Protocols::RDP))]);
    let taking = |seen: Observation| {
        let layer = seen.deciding().and_then(Conversation::layer);
        let takes = |offer| offer == Protocols::RDP || Some(offer) == layer;
        surveyed(seen, false, |offer| if takes(offer) { selected(offer) } else { refused(1) }, None)
    };
    let down = || observation(vec![unconnected(Fault::Timeout)]);
    vec![
        row("Standard RDP Security alone", none(), rdp(), &[StandardSecurityOnly]),
        row("the same, surveyed", taking(rdp()), rdp(), &[StandardSecurityOnly]),
        row("beside NLA", taking(nla()), nla(), &[StandardSecurityAccepted]),
        row("beside NLA, and down", taking(nla()), down(), &[StandardSecurityAccepted]),
        row("not taken", surveyed(nla(), false, |_| refused(5), None), nla(), &[]),
    ]
}

fn nla() -> Vec<Row> {
    use Finding::{NlaNotOffered, NlaNotRequired, StandardSecurityOnly};
    let required = |row: Row| expected(row, |expect| expect.nla = ExpectedNla::Required);
    let with = |layer| observation(vec![shaken(layer)]);
    let rdp = || observation(vec![answered(Protocols::ORDINARY, Negotiation::Absent)]);
    let answering = |code| surveyed(with(Protocols::HYBRID), false, move |_| refused(code), None);
    vec![
        row("SSL, and nobody minds", none(), with(Protocols::SSL), &[]),
        required(row("SSL", none(), with(Protocols::SSL), &[NlaNotOffered])),
        required(row("RDP", none(), rdp(), &[StandardSecurityOnly, NlaNotOffered])),
        required(row("NLA, not surveyed", none(), with(Protocols::HYBRID), &[])),
        required(row("NLA required", answering(5), with(Protocols::HYBRID), &[])),
        required(row("NLA optional", answering(1), with(Protocols::HYBRID), &[NlaNotRequired])),
        row("NLA optional, and nobody minds", answering(1), with(Protocols::HYBRID), &[]),
        required(row("refused", none(), observation(vec![answered(Protocols::ORDINARY, refused(3))]), &[])),
        required(row("down", none(), observation(vec![unconnected(Fault::Refused)]), &[])),
    ]
}

/// rdp < ssl < hybrid = hybrid_ex, over seven days.
fn downgrades() -> Vec<Row> {
    use Finding::{SecurityDowngraded, StandardSecurityOnly};
    use Protocols as P;
    let before = |layer, ago| learnt(none(), at(noon() - ago, observation(vec![conversation(layer)])));
    let of = |name, from, to, ago, found| row(name, before(from, ago), observation(vec![conversation(to)]), found);
    let second = Duration::from_secs(1);
    vec![
        of("hybrid to ssl", P::HYBRID, P::SSL, DAY, &[SecurityDowngraded]),
        of("hybrid_ex to ssl", P::HYBRID_EX, P::SSL, DAY, &[SecurityDowngraded]),
        of("hybrid to rdp", P::HYBRID, P::RDP, DAY, &[StandardSecurityOnly, SecurityDowngraded]),
        of("ssl to rdp", P::SSL, P::RDP, DAY, &[StandardSecurityOnly, SecurityDowngraded]),
        of("hybrid_ex to hybrid", P::HYBRID_EX, P::HYBRID, DAY, &[]),
        of("hybrid to hybrid_ex", P::HYBRID, P::HYBRID_EX, DAY, &[]),
        of("rdp to ssl", P::RDP, P::SSL, DAY, &[]),
        of("ssl to hybrid", P::SSL, P::HYBRID, DAY, &[]),
        of("just within a week", P::HYBRID, P::SSL, DAY * 7 - second, &[SecurityDowngraded]),
        of("more than a week ago", P::HYBRID, P::SSL, DAY * 7 + second, &[]),
        row("down is no downgrade", before(P::HYBRID, DAY), observation(vec![unconnected(Fault::Timeout)]), &[]),
        row(
            "refused is no downgrade",
            before(P::HYBRID, DAY),
            observation(vec![answered(P::ORDINARY, refused(5))]),
            &[],
        ),
    ]
}

fn hosts() -> Vec<Row> {
    use Finding::{ClockSkew, NlaNoAnswer, WrongHost};
    let named = |netbios: Option<&str>, dns: Option<&str>, skew| {
        let owned = |name: Option<&str>| name.map(str::to_owned);
        let challenge =
            Challenge { netbios_computer: owned(netbios), dns_computer: owned(dns), ..Challenge::default() };
        challenged(Ok(ChallengeFacts { challenge, clock_skew_seconds: skew }))
    };
    let ts01 = |skew| named(Some("TS01"), Some("ts01.corp.example"), Some(skew));
    let silent = || challenged(Err(Fault::Timeout));
    let cut_short = || {
        let mut seen = silent();
        seen.conversations[0].challenge.as_mut().unwrap().took = Duration::from_millis(900);
        seen
    };
    let closed = || challenged(Err(Fault::Closed));
    let once = || learnt(none(), silent());
    let well = || observation(vec![shaken(Protocols::HYBRID_EX)]);
    let called = |row: Row, name: &str| expected(row, |expect| expect.computer = name.to_owned());
    vec![
        row("any name, where none is expected", none(), named(Some("TS02"), Some("ts02.corp.example"), None), &[]),
        called(row("its own name", none(), ts01(0.0), &[]), "auto"),
        called(row("another name", none(), named(Some("TS02"), Some("ts02.corp.example"), None), &[WrongHost]), "auto"),
        row("no name", none(), named(None, None, None), &[]),
        called(row("the short name", none(), ts01(0.0), &[]), "TS01"),
        called(row("the whole name", none(), ts01(0.0), &[]), "TS01.corp.example"),
        called(row("another domain", none(), ts01(0.0), &[WrongHost]), "ts01.other.example"),
        called(
            row("cut to fifteen", none(), named(Some("A-COMPUTER-WITH"), None, None), &[]),
            "a-computer-with-a-long-name",
        ),
        called(
            row("another name, remembered", learnt(none(), named(Some("TS02"), None, None)), well(), &[WrongHost]),
            "auto",
        ),
        row("300 s ahead", none(), ts01(300.0), &[]),
        row("301 s ahead", none(), ts01(301.0), &[ClockSkew]),
        row("301 s behind", none(), ts01(-301.0), &[ClockSkew]),
        row("no clock", none(), named(Some("TS01"), None, None), &[]),
        expected(row("a minute is too much", none(), ts01(61.0), &[ClockSkew]), |expect| {
            expect.clock_skew = Duration::from_secs(60);
        }),
        row("silent once", none(), silent(), &[]),
        row("silent twice", once(), silent(), &[NlaNoAnswer]),
        row("silent twice, not asked since", learnt(once(), silent()), well(), &[NlaNoAnswer]),
        row("twice little time to answer", learnt(none(), cut_short()), cut_short(), &[]),
        row("silent, then an answer", once(), ts01(0.0), &[]),
        row("silent, then closed", once(), closed(), &[]),
        row("silent, closed, silent", learnt(once(), closed()), silent(), &[]),
        row("closed twice", learnt(none(), closed()), closed(), &[]),
    ]
}

/// `.` went well, `r` had to send again, `t` stopped in TLS, `x` was not connected, `c` was connected and reset, `o` was our own fault.
fn networks() -> Vec<Row> {
    const UNSTABLE: &[Finding] = &[Finding::NetworkUnstable];
    let rows: [(&str, &[Finding]); 13] = [
        ("....................", &[]),
        ("rr..................", &[]),
        ("r.r.r", UNSTABLE),
        ("r..................rr", &[]),
        (".x.x.", UNSTABLE),
        (".xx.", &[]),
        (".c.c.", &[]),
        ("txtxt", &[]),
        (".x.xxxx", &[]),
        ("xxxxxxxxxx..", &[]),
        (".o.o.o.", &[]),
        ("rrr...................", UNSTABLE),
        ("rrr....................", &[]),
    ];
    rows.into_iter()
        .map(|(probes, found)| {
            let last = probes.chars().next_back().unwrap();
            let before = &probes[..probes.len() - 1];
            let memory = before.chars().fold(none(), |memory, probe| learnt(memory, connected(probe)));
            row(probes, memory, connected(last), found)
        })
        .collect()
}

fn certificates() -> Vec<Row> {
    use Finding::{CertificateChangedEarly, CertificateDiffers, CertificateSelfSigned, CertificateUntrusted};
    let well = || observation(vec![shaken(Protocols::HYBRID_EX)]);
    let trusted = |row: Row| expected(row, |expect| expect.certificate = ExpectedCertificate::Trusted);
    let remembered = |self_signed: bool, trusted: bool| {
        let mut memory = judgement::remembered();
        let seen = memory.certificates.last.as_mut().unwrap();
        seen.trusted = Some(trusted);
        change(seen, |facts| facts.self_signed = Some(self_signed));
        memory
    };
    let changed = |ago: Duration| {
        let mut memory = judgement::remembered();
        memory.certificates.changed_early = Some(noon() - ago);
        memory
    };
    let differing = |fingerprint: fn(&str) -> String| {
        let mut memory = judgement::remembered();
        let own = memory.certificates.last.as_ref().unwrap().facts.sha256.clone();
        surveyed_with(&mut memory, well());
        let (survey, _) = memory.survey.last.as_mut().unwrap();
        let theirs = fingerprint(&own);
        Arc::make_mut(survey).fingerprints =
            vec![("10.1.0.10:3389".parse().unwrap(), own), ("10.1.0.11:3389".parse().unwrap(), theirs)];
        memory
    };
    let second = Duration::from_secs(1);
    vec![
        row("untrusted, any will do", remembered(false, false), well(), &[]),
        trusted(row("untrusted", remembered(false, false), well(), &[CertificateUntrusted])),
        trusted(row("self-signed", remembered(true, false), well(), &[CertificateSelfSigned])),
        trusted(row("trusted", remembered(false, true), well(), &[])),
        row("changed early just now", changed(Duration::ZERO), well(), &[CertificateChangedEarly]),
        row("a day ago", changed(DAY), well(), &[CertificateChangedEarly]),
        row("more than a day ago", changed(DAY + second), well(), &[]),
        row("the same at the other address", differing(str::to_owned), well(), &[]),
        row("another at the other address", differing(|own| own.replace(own, "00")), well(), &[CertificateDiffers]),
    ]
}

/// What counts as early, by what the certificate said that went.
#[test]
fn a_certificate_that_was_not_due_changed_early() {
    // Noon is on 2026-11-20.
    let rows = [((2027, 11, 20), true), ((2026, 12, 22), true), ((2026, 12, 19), false), ((2026, 11, 1), false)];
    for ((year, month, day), is_early) in rows {
        let first = learnt(none(), showing(dated(year, month, day)));
        assert_eq!((first.certificates.changes, first.certificates.changed_early), (0, None));
        let second = learnt(first, showing(dated(2027, 5, 1)));
        assert_eq!(second.certificates.changes, 1);
        assert_eq!(second.certificates.changed_early, is_early.then(noon), "{year}-{month}-{day}");
    }
    let own = dated(2026, 11, 30);
    let issued = issued(2026);
    for (first, second) in [(&own, &issued), (&issued, &own)] {
        let swapped = learnt(learnt(none(), showing(first.clone())), showing(second.clone()));
        assert_eq!(swapped.certificates.changed_early, Some(noon()), "self-signed and issued swapped");
    }
}

fn none() -> Memory {
    Memory::default()
}

fn no_roots() -> Roots {
    Roots::new(Vec::new(), Vec::new())
}

fn learnt(memory: Memory, seen: Observation) -> Memory {
    memory.learn(&asked(expecting(expectations())), &seen, &no_roots())
}

/// The same target, of which challenges are wanted.
fn asked(target: rdp_exporter::target::Target) -> rdp_exporter::target::Target {
    let settings = Settings { challenge_interval: Duration::from_secs(3600), ..Settings::clone(&target.settings) };
    rdp_exporter::target::Target { settings: settings.into(), ..target }
}

fn at(ended: SystemTime, seen: Observation) -> Observation {
    Observation { started: ended, ended, ..seen }
}

fn conversation(layer: Protocols) -> Conversation {
    match layer {
        Protocols::RDP => answered(Protocols::ORDINARY, selected(layer)),
        _ => shaken(layer),
    }
}

fn clear_conversation(version: u16, cipher: u16) -> Conversation {
    let hello = ServerHello { cipher, speaks_tls_1_3: false, version };
    let fact = ClearFlight { hello, rustls_speaks: false, has_certificate: true };
    let way = Way::Clear(HelloForm::Tls12);
    let clear = Some(Timed { fact, took: Duration::from_millis(9) });
    Conversation { clear, way, ..answered(Protocols::ORDINARY, selected(Protocols::HYBRID)) }
}

fn clear(version: u16, cipher: u16) -> Observation {
    observation(vec![clear_conversation(version, cipher)])
}

fn challenged(fact: Result<ChallengeFacts, Fault>) -> Observation {
    let took = Duration::from_secs(if fact == Err(Fault::Timeout) { 5 } else { 0 });
    let challenge = Some(Box::new(Timed { fact, took }));
    observation(vec![Conversation { challenge, ..shaken(Protocols::HYBRID_EX) }])
}

fn connected(probe: char) -> Observation {
    let network = |retransmits| Some(NetworkFacts { round_trip: Duration::from_millis(1), retransmits });
    let well = |retransmits| Conversation { network: network(retransmits), ..shaken(Protocols::HYBRID_EX) };
    observation(vec![match probe {
        '.' => well(0),
        'r' => well(1),
        't' => stopped_in_tls(Fault::Reset),
        'x' => unconnected(Fault::Timeout),
        'c' => unconnected(Fault::Reset),
        _ => unconnected(Fault::Local(rdp_exporter::observation::LocalFault {
            reason: rdp_exporter::observation::LocalReason::Descriptors,
            text: String::new(),
        })),
    }])
}

/// The memory after a survey that began with `seen`. Where `is_old`, every hello made by hand gets TLS 1.0.
fn surveyed(
    seen: Observation,
    is_old: bool,
    answer: impl Fn(Protocols) -> Negotiation,
    refused_with: Option<rdp_exporter::wire::negotiation::FailureCode>,
) -> Memory {
    let mut memory = learnt(none(), seen.clone());
    let own = memory.certificates.last.as_ref().map(|seen| (seen.address, seen.facts.sha256.clone()));
    memory.survey.begin(&seen, refused_with, own);
    let settings = Settings { timeout: Duration::from_secs(60), ..sample::settings() };
    while let Some(step) = memory.survey.next_step() {
        let fact = told(step.question, is_old, &answer);
        let answer = Timed { fact, took: Duration::from_millis(10) };
        memory = memory.learn_of_survey(step, &answer, &settings, noon());
    }
    memory
}

fn told(question: Question, is_old: bool, answer: impl Fn(Protocols) -> Negotiation) -> Conversation {
    match question.way {
        Way::Clear(_) if is_old && question.offer != Protocols::RDP => {
            Conversation { way: question.way, ..clear_conversation(0x0301, 0x0035) }
        }
        way => Conversation { way, ..answered(question.offer, answer(question.offer)) },
    }
}

fn surveyed_with(memory: &mut Memory, seen: Observation) {
    memory.survey = surveyed(seen, false, |_| refused(5), None).survey;
}

fn showing(der: Vec<u8>) -> Observation {
    let presented = Some(Presented { chain: vec![der], key_proven: Some(true) });
    observation(vec![Conversation { presented, ..shaken(Protocols::HYBRID_EX) }])
}

/// A new self-signed certificate that ends on that day.
fn dated(year: i32, month: u8, day: u8) -> Vec<u8> {
    let mut parameters = rcgen::CertificateParams::new(vec!["ts01.corp.example".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(year, month, day);
    parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

/// A certificate that an authority issued, at the end of November.
fn issued(year: i32) -> Vec<u8> {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "authority");
    let issuer = rcgen::Issuer::new(authority, rcgen::KeyPair::generate().unwrap());
    let mut parameters = rcgen::CertificateParams::new(vec!["ts01.corp.example".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(year, 11, 30);
    parameters.signed_by(&rcgen::KeyPair::generate().unwrap(), &issuer).unwrap().der().to_vec()
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
