//! The report for a person: what it shows of each shape of a target, from states made by hand.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rdp_exporter::{
    examine::judge_again,
    memory::{Memory, SeenCertificate},
    observation::{
        Attempt, ChallengeFacts, ClearFlight, Companion, Conversation, Fault, NetworkFacts, Observation, Stage, Stop,
        Timed, TlsSession, Way,
    },
    probe::Question,
    report::{self, Ink},
    state::TargetState,
    target::{Expectations, Settings},
    wire::{
        clear_tls::{HelloForm, ServerHello},
        gcc::{Certificate, EncryptionLevel, EncryptionMethods, ServerData, ServerSecurity},
        mcs::{ConnectResponse, ConnectResult},
        negotiation::Protocols,
        ntlm::{Challenge, Version},
    },
};
use time::OffsetDateTime;

use crate::{
    exposition::{absorb, absorb_with, fresh, our_fault},
    golden, judgement,
    sample::{
        self, HOSTILE, address, answered, noon, observation, refused, selected, shaken, stopped_early, stopped_in_tls,
        unanswered, unconnected,
    },
};

const ORDINARY: Protocols = Protocols::ORDINARY;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One target of each shape that a report has, by the name of its golden file.
pub(crate) fn shapes() -> Vec<(&'static str, TargetState)> {
    vec![
        ("healthy-nla", healthy_nla()),
        ("expired-self-signed", expired_self_signed()),
        ("tls-reset", absorb(fresh("ts03"), slow(stopped_in_tls(Fault::Reset)))),
        ("no-certificate", absorb(fresh("ts04"), observation(vec![answered(ORDINARY, refused(3))]))),
        ("standard-only", standard_only()),
        ("dns-not-found", absorb(fresh("ts06"), stopped_early(Fault::NameNotFound))),
        ("connect-timeout", connect_timeout()),
        ("port-filtered", port_filtered()),
        ("connect-refused", connect_refused()),
        ("exporter-fault", absorb(fresh("ts08"), our_fault("open a socket: Too many open files (os error 24)"))),
        ("hostile", hostile()),
        ("legacy", legacy()),
        ("not-rdp", not_rdp()),
        ("down-and-remembered", down_and_remembered()),
        ("not-probed", fresh("ts13")),
    ]
}

#[test]
fn every_shape_is_shown_as_its_golden_file_says() {
    for (name, state) in shapes() {
        let text = report::text(&state, noon() + Duration::from_secs(1));
        golden::check_page(&text);
        golden::check(&format!("probe/{name}.txt"), &text);
    }
}

#[test]
fn of_several_targets_there_is_a_summary_worst_first() {
    let shapes = shapes();
    let states: Vec<_> = shapes.iter().map(|(_, state)| state).collect();
    let summary = report::summary(&states, Ink::Plain);
    golden::check_page(&summary);
    golden::check("probe/summary.txt", &summary);
}

#[test]
fn colours_change_nothing_but_the_colour() {
    let shapes = shapes();
    let states: Vec<_> = shapes.iter().map(|(_, state)| state).collect();
    let faces = states.iter().map(|state| {
        let [plain, coloured] = [Ink::Plain, Ink::Coloured].map(|ink| report::text_in(state, noon(), ink));
        assert_eq!(plain, report::text(state, noon()));
        (plain, coloured)
    });
    let summary = [Ink::Plain, Ink::Coloured].map(|ink| report::summary(&states, ink)).into();
    for (plain, coloured) in faces.chain([summary]) {
        assert!(coloured.contains("\x1b["), "{coloured}");
        assert_eq!(golden::without_colours(&coloured), plain);
    }
}

/// A name, a fault or a certificate of any length and any script stays within the page.
#[test]
fn nothing_widens_the_page() {
    let long = ["x".repeat(256), "東".repeat(85), "a,".repeat(128), "` ".repeat(128), "\u{1b}".repeat(256)];
    for text in HOSTILE.iter().copied().chain(long.iter().map(String::as_str)) {
        let mut memory = judgement::remembered();
        certify(&mut memory, text);
        memory.challenge.last = Some((Arc::new(challenge(text, 0.0)), noon()));
        let attempt = |fault| Attempt { address: v6(), fault, after: Duration::from_secs(2) };
        let fault = || Fault::TlsBroken(text.to_owned());
        let attempts = vec![attempt(fault()), attempt(Fault::Timeout)];
        let seen = observation(vec![Conversation { attempts, ..stopped_in_tls(fault()) }]);
        let target = sample::target(&format!("t{text}"), "ts01.corp.example", sample::settings());
        let state = absorb_with(TargetState::new(target.into()), seen, memory);
        golden::check_page(&report::text(&state, noon()));
        golden::check_page(&report::summary(&[&state, &state], Ink::Plain));
    }
}

/// The remedy of a target that is well is none; of one with a finding that wants mending it is the worst finding's.
#[test]
fn the_remedy_is_for_what_is_worst() {
    let remedies = shapes().into_iter().map(|(name, state)| {
        let text = report::text(&state, noon());
        let remedy = text.lines().find_map(|line| line.strip_prefix("  remedy       for ").map(str::to_owned));
        (name, remedy.unwrap_or_default())
    });
    let expected = [
        ("healthy-nla", ""),
        ("expired-self-signed", "certificate_expired"),
        ("tls-reset", "tls_reset"),
        ("no-certificate", "no_certificate"),
        ("standard-only", "standard_security_only"),
        ("dns-not-found", "dns_not_found"),
        ("connect-timeout", "connect_timeout"),
        ("port-filtered", "port_filtered"),
        ("connect-refused", "connect_refused"),
        ("exporter-fault", "exporter_fault"),
        ("hostile", "certificate_unverified_key"),
        ("legacy", "tls_legacy"),
        ("not-rdp", "not_rdp"),
        ("down-and-remembered", "negotiation_timeout"),
        ("not-probed", ""),
    ];
    assert_eq!(remedies.collect::<Vec<_>>(), expected.map(|(name, remedy)| (name, remedy.to_owned())));
}

/// A modern Windows host as it should be, fully surveyed: the fullest report.
pub(crate) fn healthy_nla() -> TargetState {
    let told = Timed { fact: Ok(challenge("ts01", 0.1)), took: Duration::from_millis(5) };
    let network = NetworkFacts { round_trip: Duration::from_micros(400), retransmits: 0 };
    let conversation =
        Conversation { challenge: Some(Box::new(told)), network: Some(network), ..shaken(Protocols::HYBRID_EX) };
    let seen = Observation {
        resolve: Some(Duration::from_millis(5)),
        duration: Duration::from_millis(40),
        addresses: vec![address().ip(), v6().ip()],
        ..observation(vec![conversation])
    };
    let mut memory = learnt(judgement::remembered(), &seen);
    certify(&mut memory, "ts01.corp.example");
    survey(absorb_with(fresh("ts01"), seen, memory), &|question| nla_host(question, false))
}

fn expired_self_signed() -> TargetState {
    let seen = observation(vec![shaken(Protocols::HYBRID)]);
    let mut memory = learnt(judgement::remembered(), &seen);
    certify(&mut memory, "ts02.corp.example");
    let certificate = memory.certificates.last.as_mut().unwrap();
    certificate.trusted = Some(false);
    judgement::change(certificate, |facts| {
        facts.issuer = facts.subject.clone();
        facts.san = Some(String::new());
        facts.self_signed = Some(true);
        facts.not_after = Some(OffsetDateTime::from(noon() - DAY * 9));
        facts.chain_not_after = facts.not_after;
    });
    survey(absorb_with(fresh("ts02"), seen, memory), &|question| nla_host(question, true))
}

fn standard_only() -> TargetState {
    let seen = Observation {
        duration: Duration::from_millis(210),
        ..observation(vec![answered(ORDINARY, refused(2)), answered(Protocols::RDP, selected(Protocols::RDP))])
    };
    survey(absorb(fresh("ts05"), seen), &standard_host)
}

fn connect_timeout() -> TargetState {
    let attempt = |address| Attempt { address, fault: Fault::Timeout, after: Duration::from_millis(2500) };
    let attempts = vec![attempt(v6()), attempt(address())];
    let stop = Some(Stop { stage: Stage::Connect, fault: Fault::Timeout, after: Duration::from_secs(5) });
    let seen = Observation {
        resolve: Some(Duration::from_millis(8)),
        duration: Duration::from_millis(5008),
        addresses: vec![v6().ip(), address().ip()],
        ..observation(vec![Conversation { attempts, stop, ..unconnected(Fault::Timeout) }])
    };
    absorb(fresh("ts07"), seen)
}

/// Two of its other ports were tried: one is silent as well, the other answered.
fn port_filtered() -> TargetState {
    let seen = connect_timeout().last.unwrap().observation;
    let companion = |port, fault| Companion { address: SocketAddr::new(address().ip(), port), fault };
    let companions = vec![companion(445, Some(Fault::Timeout)), companion(135, None)];
    absorb(fresh("ts12"), Observation { companions, ..seen })
}

fn connect_refused() -> TargetState {
    let attempts = vec![Attempt { address: address(), fault: Fault::Refused, after: Duration::from_millis(3) }];
    absorb(fresh("ts14"), observation(vec![Conversation { attempts, ..unconnected(Fault::Refused) }]))
}

fn hostile() -> TargetState {
    let seen = observation(vec![shaken(Protocols::SSL)]);
    let mut memory = learnt(judgement::remembered(), &seen);
    let text = HOSTILE.concat();
    certify(&mut memory, &text);
    let certificate = memory.certificates.last.as_mut().unwrap();
    (certificate.key_proven, certificate.name_match) = (Some(false), Some(false));
    judgement::change(certificate, |facts| facts.not_before = Some(OffsetDateTime::from(noon() + DAY)));
    memory.challenge.last = Some((Arc::new(challenge(&text, -7200.0)), noon()));
    absorb_with(fresh(&text), seen, memory)
}

fn legacy() -> TargetState {
    let failed = stopped_in_tls(Fault::Alert(40));
    let seen = Observation {
        duration: Duration::from_millis(240),
        ..observation(vec![failed, clear(Protocols::HYBRID, HelloForm::Tls12, 0x0302)])
    };
    let mut memory = learnt(judgement::remembered(), &seen);
    certify(&mut memory, "ts10.corp.example");
    memory.certificates.last.as_mut().unwrap().key_proven = None;
    absorb_with(fresh("ts10"), seen, memory)
}

fn not_rdp() -> TargetState {
    let banner = b"HTTP/1.1 400 Bad Request\r\nServer: \x1b]0;owned\x07\r\n".to_vec();
    absorb(fresh("ts11"), observation(vec![unanswered(ORDINARY, Fault::NotTpkt(banner))]))
}

/// What was learnt yesterday is still known, and says that it is old. A finding is accepted here.
fn down_and_remembered() -> TargetState {
    let before = healthy_nla();
    let mut memory = before.memory;
    let yesterday = noon() - DAY;
    memory.certificates.last.as_mut().unwrap().observed = yesterday;
    memory.challenge.last = memory.challenge.last.map(|(facts, _)| (facts, noon() - DAY * 5));
    memory.survey.last = memory.survey.last.map(|(survey, _)| (survey, yesterday));
    memory.survey.was_cut_short = true;
    let accept = rdp_exporter::diagnosis::Finding::ALL.to_vec();
    let expect = Expectations { accept, certificate_days: 365, ..sample::settings().expect };
    let target = sample::target("10.1.0.10:3389", "10.1.0.10", Settings { expect, ..sample::settings() });
    absorb_with(TargetState::new(target.into()), slow(unanswered(ORDINARY, Fault::Timeout)), memory)
}

/// The same stages, each a hundred times slower.
fn slow(conversation: Conversation) -> Observation {
    let mut conversation = conversation;
    let times = [conversation.connect.as_mut().map(|timed| &mut timed.took), None];
    let stop = conversation.stop.as_mut().map(|stop| &mut stop.after);
    let negotiation = conversation.negotiation.as_mut().map(|timed| &mut timed.took);
    let mut whole = Duration::ZERO;
    for took in times.into_iter().chain([negotiation, stop]).flatten() {
        *took *= 100;
        whole += *took;
    }
    Observation { duration: whole, ..observation(vec![conversation]) }
}

fn learnt(memory: Memory, seen: &Observation) -> Memory {
    memory.learn(&fresh("t").target, seen, &rdp_exporter::certificate::trust::Roots::new(Vec::new(), Vec::new()))
}

fn v6() -> SocketAddr {
    "[2001:db8:1234:5678:9abc:def0:1234:5678]:3389".parse().unwrap()
}

/// A certificate for `name`, with facts that no random key changes.
fn certify(memory: &mut Memory, name: &str) {
    let certificate: &mut SeenCertificate = memory.certificates.last.as_mut().unwrap();
    certificate.trusted = Some(true);
    judgement::change(certificate, |facts| {
        facts.sha256 = "5e".repeat(32);
        facts.serial = Some("0a1b2c".to_owned());
        facts.subject = Some(format!("CN={name}"));
        facts.issuer = Some("CN=Example Issuing CA,DC=corp,DC=example".to_owned());
        facts.san = Some(format!("DNS:{name}, DNS:{name}.a-much-longer-name.corp.example"));
        facts.key = Some("RSA 2048".to_owned());
        facts.signature = Some("sha256WithRSAEncryption".to_owned());
    });
}

fn challenge(name: &str, skew: f64) -> ChallengeFacts {
    let challenge = Challenge {
        netbios_computer: Some(name.to_uppercase()),
        netbios_domain: Some("CORP".to_owned()),
        dns_computer: Some(format!("{name}.corp.example")),
        dns_domain: Some("corp.example".to_owned()),
        version: Some(Version { major: 10, minor: 0, build: 20348 }),
        ..Challenge::default()
    };
    ChallengeFacts { challenge, clock_skew_seconds: Some(skew) }
}

/// The state after a survey in which each question was answered so.
fn survey(mut state: TargetState, answer: &dyn Fn(Question) -> Conversation) -> TargetState {
    let report = state.last.take().unwrap();
    let mut memory = state.memory.clone();
    memory.survey.begin(&report.observation, None, Some((address(), "5e".repeat(32))));
    while let Some(step) = memory.survey.next_step() {
        let fact = match step.address == address() {
            true => answer(step.question),
            false => unconnected(Fault::Timeout),
        };
        let took = Duration::from_millis(10);
        memory = memory.learn_of_survey(step, &Timed { fact, took }, &sample::settings(), noon());
    }
    let report = judge_again(report, &state.target, &memory);
    TargetState { last: Some(report), memory, ..state }
}

/// Windows that asks for NLA; whether `old` TLS is accepted too.
fn nla_host(question: Question, old: bool) -> Conversation {
    let offer = question.offer;
    if matches!(offer, Protocols::RDP | Protocols::SSL) {
        return answered(offer, refused(if old && offer == Protocols::RDP { 1 } else { 5 }));
    }
    if offer == Protocols::RDSAAD {
        let stop = Some(Stop { stage: Stage::Negotiate, fault: Fault::Closed, after: Duration::from_millis(1) });
        return Conversation { stop, negotiation: None, ..answered(offer, refused(1)) };
    }
    match question.way {
        Way::Clear(form @ HelloForm::Tls12) => clear(offer, form, 0x0303),
        Way::Clear(form @ HelloForm::Tls11) if old => clear(offer, form, 0x0302),
        Way::Clear(form @ HelloForm::Tls10) if old => clear(offer, form, 0x0301),
        Way::Clear(form) => {
            let stop = Some(Stop { stage: Stage::Tls, fault: Fault::Alert(70), after: Duration::from_millis(1) });
            Conversation { clear: None, stop, ..clear(offer, form, 0) }
        }
        Way::Rustls => {
            let session = TlsSession { version: "TLS 1.3", cipher: "TLS_AES_256_GCM_SHA384" };
            let tls = Some(Timed { fact: session, took: Duration::from_millis(1) });
            Conversation { tls, ..answered(offer, selected(offer)) }
        }
        Way::Stop => answered(offer, selected(offer)),
    }
}

/// Takes 128 bits where it may choose, and nothing weaker.
fn standard_host(question: Question) -> Conversation {
    let security = question.methods.filter(|methods| methods.0 & 2 != 0).map(|_| ServerSecurity {
        certificate: Certificate::X509 { chain: vec![dated(noon() + DAY * 40)] },
        level: EncryptionLevel(3),
        method: EncryptionMethods::BIT_128,
        random_length_bytes: 32,
    });
    let data = ServerData { security, version: Some(0x0008_0004) };
    let standard = ConnectResponse { data: Some(data), result: ConnectResult::SUCCESSFUL };
    let answer = if question.offer == Protocols::RDP { selected(Protocols::RDP) } else { refused(2) };
    Conversation { standard: question.methods.map(|_| Box::new(Ok(standard))), ..answered(question.offer, answer) }
}

/// A certificate that ends then.
fn dated(not_after: SystemTime) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::new(vec!["ts05".to_owned()]).unwrap();
    params.not_after = not_after.into();
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

/// A first flight in the clear: RSA key exchange and CBC.
fn clear(offered: Protocols, form: HelloForm, version: u16) -> Conversation {
    let hello = ServerHello { cipher: 0x002f, speaks_tls_1_3: false, version };
    let flight = ClearFlight { hello, rustls_speaks: false, has_certificate: true };
    let clear = Some(Timed { fact: flight, took: Duration::from_millis(20) });
    let protocol = if offered == ORDINARY { Protocols::HYBRID } else { offered };
    Conversation { clear, way: Way::Clear(form), ..answered(offered, selected(protocol)) }
}

/// So that a reader of this file sees what `now` is.
#[test]
fn days_left_are_counted_from_now() {
    let state = healthy_nla();
    let at = |now: SystemTime| report::text(&state, now);
    assert!(at(noon()).contains(", 90.0 days left"), "{}", at(noon()));
    assert!(at(noon() + DAY * 91).contains(", expired 1.0 days ago"), "{}", at(noon() + DAY * 91));
    assert_eq!(Arc::strong_count(&state.target), 1);
}
