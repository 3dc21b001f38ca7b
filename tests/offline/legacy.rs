//! Servers that rustls cannot talk to, as replayed flights: SChannel packs all messages into one record.

use std::{sync::OnceLock, time::Duration};

use rdp_exporter::{
    certificate::CertificateFacts,
    diagnosis::{Finding, Verdict},
    memory::{Memory, Path},
    observation::{ClearFlight, Fault, Negotiation, Presented, Way},
    probe::{Companions, Prober, Question},
    target::Reach,
    wire::{
        clear_tls::HelloForm,
        negotiation::{FailureCode, Protocols},
    },
};

use crate::{
    bench::{Bench, at_once},
    endpoint::{Script, Step, answering, selecting, speaking, tls12, tls13},
    sample,
};

/// A server's first flight.
#[derive(Debug, Clone, Copy)]
struct Choice {
    version: u16,
    cipher: u16,
    /// The group and, from TLS 1.2 on, the signature algorithm of an ephemeral key.
    key: Option<(u16, u16)>,
    has_extensions: bool,
}

const OLD: Choice = Choice { version: 0x0301, cipher: 0x0035, key: None, has_extensions: false };
/// What rustls speaks.
const MODERN: Choice = Choice { version: 0x0303, cipher: 0xc030, key: Some((0x17, 0x0401)), has_extensions: true };

#[test]
fn what_rustls_lacks_is_read_in_the_clear_once_and_then_at_once() {
    let rustls_fails: Vec<Script> = [40, 70, 71, 80].into_iter().map(|number| vec![alert(number)]).collect();
    let rustls_fails = [rustls_fails, vec![vec![Step::Rst], vec![Step::Fin]]].concat();
    let choices = [
        (OLD, "TLS 1.0", "TLS_RSA_WITH_AES_256_CBC_SHA"),
        (Choice { version: 0x0302, cipher: 0x000a, ..OLD }, "TLS 1.1", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
        (Choice { version: 0x0300, cipher: 0x0005, ..OLD }, "SSL 3.0", "TLS_RSA_WITH_RC4_128_SHA"),
        (
            Choice { version: 0x0303, cipher: 0x009d, has_extensions: true, ..OLD },
            "TLS 1.2",
            "TLS_RSA_WITH_AES_256_GCM_SHA384",
        ),
        (Choice { cipher: 0xc028, ..MODERN }, "TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
        // Not in the hello made by hand either.
        (Choice { version: 0x0303, cipher: 0x0016, ..OLD }, "TLS 1.2", "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    ];
    // Each failure with the first choice; each choice with the flight itself as what rustls refuses.
    let failures = rustls_fails.into_iter().map(|fails| (fails, choices[0]));
    let refusals = choices.into_iter().map(|choice| (vec![Step::Send(flight(choice.0))], choice));
    at_once(failures.chain(refusals), |(fails, (choice, version, cipher))| {
        check_legacy(fails, choice, version, cipher);
    });
}

/// `rustls_fails` is what the endpoint does after the hello of rustls.
fn check_legacy(rustls_fails: Script, choice: Choice, version: &str, cipher: &str) {
    let name = format!("{choice:04x?} after {:?}", rustls_fails[0]);
    let script = vec![
        Step::ReadRequest,
        Step::Send(selecting(Protocols::HYBRID)),
        Step::ByHello(rustls_fails, vec![Step::Send(flight(choice))]),
    ];
    let bench = Bench::new(vec![script], sample::settings());
    for round in 0..3 {
        let report = bench.probe();
        assert_eq!(report.diagnosis.verdict, Verdict::Healthy, "{name}: {}", report.evidence());
        assert_eq!(bench.endpoint.seen().len(), 2 + round, "{name}: one extra connection, once");
        assert_eq!(bench.metric("rdp_up"), Some(1.0), "{name}");
        assert!(bench.findings().contains(&Finding::TlsLegacy), "{name}: {:?}", bench.findings());
        let info =
            format!("rdp_tls_info{{cipher=\"{cipher}\",target=\"{}\",version=\"{version}\"}} 1", bench.target.name);
        let sorted = |line: &String| is_same_series(line, &info);
        assert!(bench.metrics().iter().any(sorted), "{name}: {:#?}", bench.metrics());
        check_certificate(&bench, &name);
        assert_eq!(bench.metric("rdp_certificate_key_proven"), None, "{name}");
        assert_eq!(bench.state().handshakes.count(), 0, "{name}: not in the histogram");
        assert_eq!(report.observation.handshake(), None, "{name}");
    }
    let memory = bench.memory();
    let seen = bench.finish();
    let hellos: Vec<_> = seen.iter().map(super::endpoint::Seen::clear_hello).collect();
    assert_eq!(hellos, [None, Some(0x0303), Some(0x0303), Some(0x0303)], "{name}");
    check_recheck(&memory, &name);
}

fn check_certificate(bench: &Bench, name: &str) {
    let memory = bench.memory();
    let seen = memory.certificates.last.as_ref().unwrap_or_else(|| panic!("{name}: no certificate"));
    assert_eq!(*seen.facts, CertificateFacts::read(&[der()]).unwrap(), "{name}");
}

/// What is known not to work is tried again after a day.
fn check_recheck(memory: &Memory, name: &str) {
    let Path::Clear { form: HelloForm::Tls12, since } = memory.path else { panic!("{name}: {:?}", memory.path) };
    let settings = sample::settings();
    let way =
        |after: Duration| memory.approach(&settings, (Reach::Anywhere, Companions::Never), since + after).question.way;
    assert_eq!(way(DAY - Duration::from_secs(1)), Way::Clear(HelloForm::Tls12), "{name}");
    assert_eq!(way(DAY), Way::Rustls, "{name}");
}

/// Whoever allows NLA on a host that had Standard RDP Security alone sees it within the hour.
#[test]
fn an_offer_that_was_refused_is_made_again_after_an_hour() {
    let (settings, since) = (sample::settings(), sample::noon());
    let path = Path::StandardOnly { failure: FailureCode::SSL_NOT_ALLOWED_BY_SERVER, since };
    let memory = Memory { path, ..Memory::default() };
    let offer = |seconds| {
        let now = since + Duration::from_secs(seconds);
        memory.approach(&settings, (Reach::Anywhere, Companions::Never), now).question.offer
    };
    assert_eq!(offer(3599), Protocols::RDP);
    assert_eq!(offer(3600), Protocols::ORDINARY);
}

/// Label order is nobody's business.
fn is_same_series(line: &str, other: &str) -> bool {
    let parts = |line: &str| {
        let (name, rest) = line.split_once('{').unwrap_or((line, ""));
        let (labels, value) = rest.rsplit_once('}').unwrap_or((rest, ""));
        let mut labels: Vec<_> = labels.split(',').map(str::to_owned).collect();
        labels.sort();
        (name.to_owned(), labels, value.trim().to_owned())
    };
    parts(line) == parts(other)
}

#[test]
fn after_a_day_rustls_is_tried_again_and_the_day_begins_anew() {
    let by_hello = |rustls: Script| {
        let confirm = Step::Send(selecting(Protocols::SSL));
        vec![Step::ReadRequest, confirm, Step::ByHello(rustls, vec![Step::Send(flight(OLD))])]
    };
    let bench = Bench::new(vec![by_hello(vec![Step::Rst])], sample::settings());
    bench.probe();
    let memory = bench.memory();
    let Path::Clear { since, .. } = memory.path else { panic!("{:?}", memory.path) };
    let later = since + DAY;
    let approach = memory.approach(&bench.target.settings, (Reach::Anywhere, Companions::Never), later);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut seen = runtime.block_on(Prober::new().run(&bench.target, &approach));
    seen.ended = later;
    let ways: Vec<_> = seen.conversations.iter().map(|conversation| conversation.way).collect();
    assert_eq!(ways, [Way::Rustls, Way::Clear(HelloForm::Tls12)]);
    let after = memory.learn(&bench.target, &seen, &bench.laboratory.roots());
    assert_eq!(after.path, Path::Clear { form: HelloForm::Tls12, since: later });
}

#[test]
fn a_server_that_was_mended_is_ordinary_again() {
    let legacy = |rustls: Script| {
        let confirm = Step::Send(selecting(Protocols::SSL));
        vec![Step::ReadRequest, confirm, Step::ByHello(rustls, vec![Step::Send(flight(OLD))])]
    };
    let dead = vec![Step::ReadRequest, Step::Send(selecting(Protocols::SSL)), Step::ReadHello, Step::Rst];
    let mended = speaking(Protocols::SSL, tls13());
    let scripts = vec![legacy(vec![Step::Rst]), legacy(vec![Step::Rst]), dead, mended];
    let bench = Bench::new(scripts, sample::settings());
    bench.probe();
    // The hello made by hand is refused now, and the ordinary one is not.
    let report = bench.probe();
    assert_eq!(report.diagnosis.verdict, Verdict::Healthy, "{}", report.evidence());
    assert_eq!(bench.memory().path, Path::Ordinary);
    assert!(!bench.findings().contains(&Finding::TlsLegacy));
    bench.probe();
    assert_eq!(bench.finish().len(), 5, "two, two, one");
}

#[test]
fn what_rustls_speaks_is_no_excuse() {
    let hello_and_certificate = record(MODERN.version, &messages(MODERN)[..2].concat());
    let endings = [
        vec![Step::Send(flight(MODERN))],
        vec![Step::Send(hello_and_certificate), Step::Wait(Duration::from_millis(30)), Step::Rst],
    ];
    at_once(endings, |ending| {
        let confirm = Step::Send(selecting(Protocols::HYBRID));
        let script = vec![Step::ReadRequest, confirm, Step::ByHello(vec![Step::Rst], ending)];
        let bench = Bench::new(vec![script], sample::settings());
        let report = bench.probe();
        assert_eq!(report.diagnosis.verdict, Verdict::TlsReset, "{}", report.evidence());
        check_certificate(&bench, "modern");
        assert!(!bench.findings().contains(&Finding::TlsLegacy));
        assert!(matches!(bench.memory().path, Path::Cut { .. }));
        assert_eq!(bench.probe().diagnosis.verdict, Verdict::TlsReset);
        assert_eq!(bench.finish().len(), 3, "two, one: what explains nothing is not repeated");
    });
}

/// A host that was read in the clear, was changed, and cuts every handshake now: what was remembered is no excuse.
#[test]
fn a_remembered_clear_path_is_no_excuse_either() {
    let refusing = vec![Step::ReadRequest, Step::Send(selecting(Protocols::HYBRID)), Step::ReadHello, Step::Rst];
    let legacy = with_hello(vec![Step::Send(flight(OLD))]);
    let cutting = Step::ByHello(vec![Step::Rst], vec![Step::Send(flight(MODERN))]);
    let changed = vec![Step::ReadRequest, Step::Send(selecting(Protocols::HYBRID)), cutting];
    let bench = Bench::new(vec![refusing, legacy, changed], sample::settings());
    assert_eq!(bench.probe().diagnosis.verdict, Verdict::Healthy);
    assert!(matches!(bench.memory().path, Path::Clear { .. }));
    for _ in 0..2 {
        assert_eq!(bench.probe().diagnosis.verdict, Verdict::TlsReset);
        assert!(!bench.findings().contains(&Finding::TlsLegacy));
    }
    assert_eq!(bench.finish().len(), 5, "two, then the clear one and the ordinary one, then the ordinary one alone");
}

/// An old host that cuts everything while it restarts is well again with the first probe after that.
#[test]
fn an_old_host_that_was_met_at_a_bad_moment_is_read_again_at_once() {
    let confirm = || vec![Step::ReadRequest, Step::Send(selecting(Protocols::HYBRID))];
    let cut = || [confirm(), vec![Step::ReadHello, Step::Rst]].concat();
    let legacy = || with_hello(vec![Step::Send(flight(OLD))]);
    let in_the_middle = || with_hello(vec![Step::Send(flight(OLD)[..60].to_vec()), Step::Rst]);
    // Well: by rustls and by hand. Down: by hand and by rustls. Well: by hand.
    let bench = Bench::new(vec![cut(), legacy(), cut(), cut(), in_the_middle(), cut(), legacy()], sample::settings());
    assert_eq!(bench.probe().diagnosis.verdict, Verdict::Healthy);
    for _ in 0..2 {
        assert_eq!(bench.probe().diagnosis.verdict, Verdict::TlsReset);
    }
    assert_eq!(bench.endpoint.seen().len(), 6);
    for _ in 0..2 {
        let report = bench.probe();
        assert_eq!(report.diagnosis.verdict, Verdict::Healthy, "{}", report.evidence());
    }
    assert!(matches!(bench.memory().path, Path::Clear { form: HelloForm::Tls12, .. }));
    assert_eq!(bench.finish().len(), 8);
}

/// A modern host of which two connections were cut, and the third not, is no host of TLS 1.0 for a day.
#[test]
fn the_last_resort_is_remembered_only_when_it_was_needed_twice() {
    let confirm = || vec![Step::ReadRequest, Step::Send(selecting(Protocols::SSL))];
    let cut = || [confirm(), vec![Step::ReadHello, Step::Rst]].concat();
    let last_resort = || with_hello(vec![Step::Send(flight(OLD))]);
    let modern = || speaking(Protocols::SSL, tls13());
    at_once([vec![], vec![cut(), cut(), cut()]], |then| {
        let (cuts, begin) = (then.len() / 3, vec![cut(), cut(), last_resort()]);
        let bench = Bench::new([begin, then, vec![modern()]].concat(), sample::settings());
        assert_eq!(bench.probe().diagnosis.verdict, Verdict::Healthy);
        assert!(bench.findings().contains(&Finding::TlsLegacy));
        for _ in 0..cuts {
            assert_eq!(bench.probe().diagnosis.verdict, Verdict::TlsReset);
        }
        assert_eq!(bench.probe().diagnosis.verdict, Verdict::Healthy);
        assert!(!bench.findings().contains(&Finding::TlsLegacy), "rustls was tried at once");
        assert_eq!(bench.memory().path, Path::Ordinary);
        assert_eq!(bench.finish().len(), 4 + 3 * cuts);
    });
    let old = vec![cut(), cut(), last_resort(), cut(), cut(), last_resort()];
    let bench = Bench::new(old, sample::settings());
    for _ in 0..4 {
        assert_eq!(bench.probe().diagnosis.verdict, Verdict::Healthy);
    }
    let hellos: Vec<_> = bench.finish().iter().map(super::endpoint::Seen::clear_hello).collect();
    let all = [None, Some(0x0303), Some(0x0301)];
    assert_eq!(hellos, [&all[..], &all, &[Some(0x0301); 2]].concat());
}

#[test]
fn a_reset_to_every_hello_is_a_reset_and_not_legacy() {
    let refusing = || vec![Step::ReadRequest, Step::Send(selecting(Protocols::SSL)), Step::ReadHello, Step::Rst];
    let bench = Bench::new(vec![refusing()], sample::settings());
    for _ in 0..2 {
        assert_eq!(bench.probe().diagnosis.verdict, Verdict::TlsReset);
    }
    assert_eq!(bench.findings(), []);
    assert_eq!(bench.finish().len(), 4, "three, one: what is refused every time is not repeated");
}

fn with_hello(after: Script) -> Script {
    [answering(selecting(Protocols::SSL)), vec![Step::ReadHello], after].concat()
}

/// Alerts that say nothing of version and suite get no second question.
#[test]
fn alerts_about_something_else_are_believed() {
    at_once([10, 42, 43, 46, 47, 48, 112], |number| {
        let bench = Bench::new(vec![with_hello(vec![alert(number)])], sample::settings());
        let report = bench.probe();
        assert_eq!(report.diagnosis.verdict, Verdict::TlsAlert, "{number}");
        assert_eq!(report.observation.stop().unwrap().fault, Fault::Alert(number));
        assert_eq!(bench.finish().len(), 1, "{number}");
    });
}

/// How a flight is cut into messages, records and segments is nobody's business.
#[test]
fn records_may_be_cut_anywhere() {
    let payload = messages(OLD).concat();
    let cut =
        |length: usize| -> Vec<u8> { payload.chunks(length).flat_map(|chunk| record(OLD.version, chunk)).collect() };
    let whole = read_by_hand(Step::Send(flight(OLD)));
    assert!(whole.1.is_some_and(|flight| flight.has_certificate) && whole.3.is_none(), "{whole:?}");
    let by_message = messages(OLD).iter().flat_map(|message| record(OLD.version, message)).collect();
    let glued = [flight(OLD), vec![0x17, 3, 1, 0, 1, 0]].concat();
    let rows = [
        Step::Send(by_message),
        Step::Send(cut(1)),
        Step::Send(cut(3)),
        Step::Send(cut(64)),
        Step::Send(cut(199)),
        Step::SendSlowly(flight(OLD), Duration::ZERO),
        Step::SendSlowly(cut(5), Duration::ZERO),
        Step::Send(glued),
    ];
    at_once(rows, |send| assert_eq!(read_by_hand(send.clone()), whole, "{send:?}"));
}

/// Only a fatal alert is one: close_notify is an end like any other, and a warning is none.
#[test]
fn warnings_are_no_alerts() {
    let record = |level: u8, number: u8| vec![21, 3, 1, 0, 2, level, number];
    let rows = [
        (record(1, 0), Some(Fault::Closed)),
        (record(2, 40), Some(Fault::Alert(40))),
        (record(2, 0), Some(Fault::Alert(0))),
        ([record(1, 112), flight(OLD)].concat(), None),
        ([record(1, 112), record(1, 0)].concat(), Some(Fault::Closed)),
    ];
    at_once(rows, |(bytes, fault)| assert_eq!(read_by_hand(Step::Send(bytes.clone())).3, fault, "{bytes:02x?}"));
}

/// What one connection told, times aside.
type Told = (Option<Negotiation>, Option<ClearFlight>, Option<Presented>, Option<Fault>);

fn read_by_hand(send: Step) -> Told {
    let bench = Bench::new(vec![with_hello(vec![send])], sample::settings());
    let question = Question { way: Way::Clear(HelloForm::Tls12), ..Question::ORDINARY };
    let told = bench.ask(question);
    let negotiation = told.negotiation.map(|timed| timed.fact);
    (negotiation, told.clear.map(|timed| timed.fact), told.presented, told.stop.map(|stop| stop.fault))
}

#[test]
fn one_connection_is_enough_where_rustls_can_talk() {
    let hour = Duration::from_secs(3600);
    let rows = [tls12(), tls13()].into_iter().flat_map(|tls| {
        let protocols = [Protocols::SSL, Protocols::HYBRID, Protocols::HYBRID_EX];
        protocols.map(|protocol| (protocol, tls.clone())).into_iter()
    });
    let rows = rows.flat_map(|row| [Duration::ZERO, hour].map(|interval| (row.clone(), interval)));
    at_once(rows, |((protocol, tls), challenge_interval)| {
        let reply = Some(crate::endpoint::Reply::Bytes(vec![0x30, 0]));
        let is_asked = protocol != Protocols::SSL && !challenge_interval.is_zero();
        let tls = crate::endpoint::Tls { reply: reply.filter(|_| is_asked), ..tls };
        let settings = rdp_exporter::target::Settings { challenge_interval, ..sample::settings() };
        let bench = Bench::new(vec![speaking(protocol, tls)], settings);
        assert_eq!(bench.probe().diagnosis.verdict, Verdict::Healthy);
        let seen = bench.finish();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].received.is_empty(), !is_asked, "{protocol}");
    });
}

/// All messages in one record, as SChannel sends them.
fn flight(choice: Choice) -> Vec<u8> {
    record(choice.version, &messages(choice).concat())
}

fn record(version: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    [&[22][..], &version.to_be_bytes(), &length.to_be_bytes(), payload].concat()
}

/// ServerHello, Certificate, ServerKeyExchange where there is one, ServerHelloDone.
fn messages(choice: Choice) -> Vec<Vec<u8>> {
    let mut hello = choice.version.to_be_bytes().to_vec();
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend(choice.cipher.to_be_bytes());
    hello.push(0);
    if choice.has_extensions {
        hello.extend([0, 5, 0xff, 1, 0, 1, 0]); // renegotiation_info
    }
    let der = der();
    let certificates = [u24(der.len() + 3), u24(der.len()), der].concat();
    let key = choice.key.map(|(group, scheme)| {
        let mut key = vec![3];
        key.extend(group.to_be_bytes());
        key.push(65);
        key.extend([4; 65]);
        key.extend(scheme.to_be_bytes());
        key.extend([0, 4, 1, 2, 3, 4]);
        message(12, &key)
    });
    [message(2, &hello), message(11, &certificates)].into_iter().chain(key).chain([message(14, &[])]).collect()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], u24(body.len()), body.to_vec()].concat()
}

fn u24(length: usize) -> Vec<u8> {
    u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec()
}

fn der() -> Vec<u8> {
    static DER: OnceLock<Vec<u8>> = OnceLock::new();
    let generate =
        || rcgen::generate_simple_self_signed(vec!["old.corp.example".to_owned()]).unwrap().cert.der().to_vec();
    DER.get_or_init(generate).clone()
}

fn alert(number: u8) -> Step {
    Step::Send(vec![21, 3, 1, 0, 2, 2, number])
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
