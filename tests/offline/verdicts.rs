//! Every verdict that loopback can produce, over real sockets, against a scripted endpoint.
//!
//! Not here, as loopback has no routers: `host_unreachable`, a late EHOSTUNREACH, packets that vanish; see the network
//! suite. `dns_failure` needs a resolver of one's own.

use std::{net::SocketAddr, time::Duration};

use rdp_exporter::{
    certificate::trust::Roots,
    diagnosis::Verdict,
    examine::{Report, examine},
    memory::{Memory, Path},
    observation::{Fault, Negotiation, Observation, Stage, TlsSession},
    probe::{Companions, Prober},
    state::TargetState,
    target::{Reach, Settings, Target},
    wire::{
        negotiation::Protocols,
        x224::{Answer, ConnectionRequest},
    },
};

use crate::{
    bench::at_once,
    endpoint::{Ending, Endpoint, Script, Seen, Step, Tls, answering, refusing, selecting, speaking, tls12, tls13},
    sample,
    watch::Watch,
};

/// One probe and what both sides saw of it.
struct Case {
    report: Report,
    memory: Memory,
    seen: Vec<Seen>,
    took: Duration,
}

/// Probes an endpoint that follows `scripts`, and holds the verdict and the rules that hold for every probe against it.
fn check(name: &str, scripts: Vec<Script>, verdict: Verdict) -> Case {
    let case = check_within(name, scripts, verdict, Duration::from_secs(4));
    for seen in &case.seen {
        assert!(!matches!(seen.ending, Ending::Reset | Ending::None), "{name}: ended with {:?}", seen.ending);
    }
    case
}

fn check_within(name: &str, scripts: Vec<Script>, verdict: Verdict, timeout: Duration) -> Case {
    let connections = scripts.len();
    let endpoint = Endpoint::start(scripts);
    let target = sample::at(endpoint.address, Settings { timeout, ..sample::settings() });
    let watch = Watch::begin();
    let (report, memory) = probe(&target, Memory::default());
    let took = watch.elapsed();
    let seen = endpoint.finish();
    assert_eq!(report.diagnosis.verdict, verdict, "{name}: {}", report.evidence());
    assert_eq!(seen.len(), connections, "{name}: connections");
    assert!(took <= timeout + SLACK + watch.stood_still(), "{name}: took {took:?} of {timeout:?}");
    let state = TargetState::new(target.into()).absorb(report.clone(), memory.clone());
    assert_eq!(state.up, Some(verdict == Verdict::Healthy), "{name}: rdp_up");
    assert_eq!(state.reachable, Some(true), "{name}: rdp_reachable");
    Case { report, memory, seen, took }
}

fn probe(target: &Target, memory: Memory) -> (Report, Memory) {
    let roots = Roots::new(Vec::new(), Vec::new());
    block_on(examine(&Prober::new(), (target, false), &memory, (Reach::Anywhere, Companions::Never), &roots))
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn a_handshake_makes_healthy_and_ends_in_order() {
    let sessions = [
        (tls12(), TlsSession { version: "TLS 1.2", cipher: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" }),
        (tls13(), TlsSession { version: "TLS 1.3", cipher: "TLS_AES_256_GCM_SHA384" }),
    ];
    for (tls, session) in sessions {
        for protocol in [Protocols::SSL, Protocols::HYBRID, Protocols::HYBRID_EX] {
            let case = check(session.version, vec![speaking(protocol, tls.clone())], Verdict::Healthy);
            let deciding = case.report.observation.deciding().unwrap();
            assert_eq!(deciding.layer(), Some(protocol));
            assert_eq!(deciding.tls.unwrap().fact, session);
            assert_eq!(case.seen[0].ending, Ending::CloseNotify, "{}", session.version);
            assert_eq!(case.seen[0].sni, None, "no name is sent to an address");
            assert!(case.took < Duration::from_secs(1), "the orderly end took {:?}", case.took);
        }
    }
}

#[test]
fn the_request_carries_the_cookie_and_the_ordinary_offer() {
    let case = check("request", vec![answering(selecting(Protocols::RDP))], Verdict::Healthy);
    let expected = ConnectionRequest::offering(Protocols::ORDINARY, "rdpexport").encode();
    assert_eq!(case.seen[0].request, expected);
}

#[test]
fn a_name_is_looked_up_and_sent_as_server_name() {
    let endpoint = Endpoint::start(vec![speaking(Protocols::HYBRID_EX, tls13())]);
    let address = format!("localhost:{}", endpoint.address.port());
    let (report, _) = probe(&sample::target("by-name", &address, sample::settings()), Memory::default());
    assert_eq!(report.diagnosis.verdict, Verdict::Healthy, "{}", report.evidence());
    let stages: Vec<_> = report.observation.stages().into_iter().map(|(stage, _)| stage).collect();
    assert_eq!(stages, Stage::ALL[..4], "all but the challenge, which is not asked for");
    let seen = endpoint.finish();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].sni.as_deref(), Some("localhost"));
}

#[test]
fn standard_security_is_healthy_and_ends_in_order() {
    for (name, answer) in [("selected", selecting(Protocols::RDP)), ("11 bytes", Answer::Confirm(None).encode())] {
        let case = check(name, vec![answering(answer)], Verdict::Healthy);
        let deciding = case.report.observation.deciding().unwrap();
        assert_eq!(deciding.layer(), Some(Protocols::RDP), "{name}");
        assert_eq!(case.seen[0].ending, Ending::Eof, "{name}");
    }
}

#[test]
fn failure_2_is_followed_by_asking_for_standard_security() {
    let scripts = || vec![answering(refusing(2)), answering(selecting(Protocols::RDP))];
    let case = check("then accepted", scripts(), Verdict::Healthy);
    assert_eq!(case.report.observation.failure_code().map(|code| code.0), Some(2));
    let [first, second] = &case.seen[..] else { panic!("{:?}", case.seen) };
    assert_eq!(second.request, ConnectionRequest::offering(Protocols::RDP, "rdpexport").encode());
    let apart = second.accepted - first.accepted;
    assert!(apart >= Duration::from_millis(200), "{apart:?} apart");
    let refused = vec![answering(refusing(2)), answering(refusing(5))];
    let closed = vec![answering(refusing(2)), vec![Step::ReadRequest, Step::Fin]];
    at_once([("then refused", refused), ("then closed", closed)], |(name, scripts)| {
        check(name, scripts, Verdict::NegotiationRefused);
    });
    let silent = vec![answering(refusing(2)), vec![Step::ReadRequest]];
    check_within("then silent", silent, Verdict::NegotiationRefused, SHORT);
}

#[test]
fn what_failure_2_taught_is_remembered() {
    let case = check("failure 2", vec![answering(refusing(2)), answering(selecting(Protocols::RDP))], Verdict::Healthy);
    let again = Endpoint::start(vec![answering(selecting(Protocols::RDP))]);
    let target = sample::at(again.address, sample::settings());
    let (report, memory) = probe(&target, case.memory);
    assert_eq!(report.diagnosis.verdict, Verdict::Healthy);
    let seen = again.finish();
    assert_eq!(seen.len(), 1, "the refusal is not asked for again");
    assert_eq!(seen[0].request, ConnectionRequest::offering(Protocols::RDP, "rdpexport").encode());
    let mended = Endpoint::start(vec![answering(refusing(5)), speaking(Protocols::HYBRID_EX, tls13())]);
    let (report, memory) = probe(&sample::at(mended.address, sample::settings()), memory);
    assert_eq!(report.diagnosis.verdict, Verdict::Healthy, "{}", report.evidence());
    assert_eq!(report.observation.deciding().unwrap().layer(), Some(Protocols::HYBRID_EX));
    assert_eq!(mended.finish().len(), 2);
    assert_eq!(memory.path, Path::Ordinary);
}

#[test]
fn refusals() {
    check("failure 3", vec![answering(refusing(3))], Verdict::NoCertificate);
    for code in [1, 4, 5, 6, 99] {
        let case = check("failure", vec![answering(refusing(code))], Verdict::NegotiationRefused);
        assert_eq!(case.report.observation.failure_code().map(|code| code.0), Some(code));
        assert_eq!(case.seen[0].ending, Ending::Eof);
    }
    let disconnect = Answer::DisconnectUltimatum.encode();
    assert_eq!(disconnect.len(), 9);
    check("MCS disconnect", vec![answering(disconnect)], Verdict::NegotiationRefused);
}

#[test]
fn nobody_listens() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (report, memory) = probe(&sample::at(address, sample::settings()), Memory::default());
    assert_eq!(report.diagnosis.verdict, Verdict::ConnectRefused, "{}", report.evidence());
    assert_eq!(report.observation.deciding().unwrap().attempts.len(), 1);
    assert_eq!(memory.address, None);
    let state = TargetState::new(sample::at(address, sample::settings()).into()).absorb(report, memory);
    assert_eq!((state.up, state.reachable), (Some(false), Some(false)));
}

/// Linux drops a SYN where the queue of connections that nobody accepts is full.
#[test]
fn a_full_backlog_is_silence() {
    let (listener, _waiting) = full_backlog();
    let Some(address) = listener.local_addr().unwrap().as_socket() else { panic!("no address") };
    let quick = Settings { connect_timeout: Duration::from_millis(300), ..sample::settings() };
    let watch = Watch::begin();
    let (report, _) = probe(&sample::at(address, quick), Memory::default());
    let took = watch.elapsed();
    assert_eq!(report.diagnosis.verdict, Verdict::ConnectTimeout, "{}", report.evidence());
    assert!(!report.observation.is_reachable());
    let limit = Duration::from_millis(300);
    assert!(took >= limit && took <= limit + SLACK + watch.stood_still(), "connect_timeout is 300 ms; took {took:?}");
    // connect_timeout is cut to timeout where it is longer.
    let short = Settings { timeout: Duration::from_millis(300), ..sample::settings() };
    let watch = Watch::begin();
    let (report, _) = probe(&sample::at(address, short), Memory::default());
    let took = watch.elapsed();
    assert_eq!(report.diagnosis.verdict, Verdict::ConnectTimeout, "{}", report.evidence());
    assert!(took <= limit + SLACK + watch.stood_still(), "took {took:?}");
}

/// A port that is open and never answers, as long as both live.
pub(crate) fn full_backlog() -> (socket2::Socket, Vec<socket2::Socket>) {
    use socket2::{Domain, Socket, Type};
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let waiting = (0..4).map(|_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address);
        socket
    });
    let waiting = waiting.collect();
    (listener, waiting)
}

#[test]
fn our_own_system_refuses() {
    let endpoint = Endpoint::start(vec![answering(selecting(Protocols::RDP))]);
    // TEST-NET-1 is not an address of this machine.
    let foreign = Settings { source_address: Some("192.0.2.1".parse().unwrap()), ..sample::settings() };
    let target = sample::at(endpoint.address, foreign);
    let (report, memory) = probe(&target, Memory::default());
    assert_eq!(report.diagnosis.verdict, Verdict::ExporterFault, "{}", report.evidence());
    let state = TargetState::new(target.into()).absorb(report, memory);
    assert_eq!((state.up, state.reachable), (None, None));
    assert!(endpoint.finish().is_empty());
}

#[test]
fn a_name_that_does_not_exist() {
    let quick = Settings { timeout: Duration::from_secs(2), ..sample::settings() };
    let (report, _) = probe(&sample::target("gone", "name.invalid", quick), Memory::default());
    match report.diagnosis.verdict {
        Verdict::DnsFailure => sample::skipped("no resolver answers here"),
        verdict => assert_eq!(verdict, Verdict::DnsNotFound, "{}", report.evidence()),
    }
    assert!(!report.observation.is_reachable());
}

#[test]
fn the_connection_ends_before_one_byte_of_answer() {
    let scripts = [
        ("FIN after the request", vec![Step::ReadRequest, Step::Fin]),
        ("RST after the request", vec![Step::ReadRequest, Step::Rst]),
        ("FIN at once", vec![Step::Fin]),
        ("RST at once", vec![Step::Rst]),
    ];
    at_once(scripts, |(name, script)| drop(check(name, vec![script], Verdict::ClosedAfterRequest)));
}

#[test]
fn no_whole_answer_within_the_time() {
    let half = selecting(Protocols::HYBRID_EX)[..10].to_vec();
    let scripts = [
        ("silence", vec![Step::ReadRequest]),
        ("one byte", answering(vec![3])),
        ("half a frame", answering(half)),
        ("a frame that says it is longer", answering(vec![3, 0, 1, 3, 14, 0xd0])),
    ];
    at_once(scripts, |(name, script)| {
        check_within(name, vec![script], Verdict::NegotiationTimeout, SHORT);
    });
}

#[test]
fn answers_that_are_not_tpkt() {
    let banner = b"SSH-2.0-OpenSSH_9.6\r\n".to_vec();
    let scripts = [
        ("HTTP", answering(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec())),
        ("SSH", answering(banner.clone())),
        ("SSH before the request", vec![Step::Send(banner.clone()), Step::ReadRequest]),
        ("SSH and FIN", vec![Step::Send(banner), Step::Fin]),
        ("TLS alert", answering(alert(2, 40))),
        ("TLS alert and RST", vec![Step::ReadRequest, Step::Send(alert(2, 40)), Step::Wait(TICK), Step::Rst]),
        ("one byte of noise", answering(vec![0xff])),
        ("zeros", answering(vec![0; 64])),
        ("a version 2 that is as long", answering(vec![2, 0, 0, 11, 6, 0xd0, 0, 0, 0x12, 0x34, 0])),
    ];
    at_once(scripts, |(name, script)| drop(check(name, vec![script], Verdict::NotRdp)));
}

/// The time for more of the banner, to show it, does not change what it is.
#[test]
fn a_banner_is_not_rdp_also_when_time_is_short() {
    let script = vec![Step::Send(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()), Step::ReadRequest];
    check_within("whole", vec![script], Verdict::NotRdp, Duration::from_millis(90));
    check_within(
        "begun",
        vec![vec![Step::Send(b"S".to_vec()), Step::ReadRequest]],
        Verdict::NotRdp,
        Duration::from_millis(90),
    );
}

#[test]
fn frames_that_are_no_valid_confirm() {
    let bytes = selecting(Protocols::HYBRID_EX);
    let changed = |place: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[place] = byte;
        bytes
    };
    let answers = [
        ("TPKT length 0", vec![3, 0, 0, 0]),
        ("TPKT length 6", vec![3, 0, 0, 6, 1, 0xd0]),
        ("TPKT length 65535", vec![3, 0, 0xff, 0xff, 14, 0xd0]),
        ("12 bytes", vec![3, 0, 0, 12, 7, 0xd0, 0, 0, 0x12, 0x34, 0, 2]),
        ("length indicator", changed(4, 13)),
        ("disconnect request", changed(5, 0x80)),
        ("connection request", changed(5, 0xe0)),
        ("X.224 data", vec![3, 0, 0, 8, 2, 0xf0, 0x80, 0]),
        ("echo", ConnectionRequest::offering(Protocols::ORDINARY, "").encode()),
        ("negotiation type 4", changed(11, 4)),
        ("negotiation length 9", changed(13, 9)),
        ("RDSTLS, not offered", selecting(Protocols::RDSTLS)),
        ("RDSAAD, not offered", selecting(Protocols::RDSAAD)),
        ("two at once", selecting(Protocols(3))),
        ("all that was offered", selecting(Protocols::ORDINARY)),
        ("an unknown bit", selecting(Protocols(0x8000_0000))),
    ];
    at_once(answers, |(name, answer)| drop(check(name, vec![answering(answer)], Verdict::ProtocolError)));
}

#[test]
fn an_end_in_the_middle_of_the_answer() {
    let bytes = selecting(Protocols::HYBRID_EX);
    at_once([1, 3, 4, 5, 18], |length| {
        for end in [Step::Fin, Step::Rst] {
            let name = format!("{end:?} after {length} bytes");
            let sent = Step::Send(bytes[..length].to_vec());
            check(&name, vec![vec![Step::ReadRequest, sent, Step::Wait(TICK), end]], Verdict::ProtocolError);
        }
    });
}

#[test]
fn the_connection_ends_inside_tls() {
    let confirm = || Step::Send(selecting(Protocols::HYBRID_EX));
    let half_a_hello = Step::Send(vec![0x16, 3, 3, 0, 80, 2, 0, 0, 76]);
    for end in [Step::Fin, Step::Rst] {
        let scripts = [
            vec![Step::ReadRequest, confirm(), end.clone()],
            vec![Step::ReadRequest, confirm(), Step::ReadHello, end.clone()],
            vec![Step::ReadRequest, confirm(), Step::ReadHello, half_a_hello.clone(), Step::Wait(TICK), end.clone()],
            // close_notify is an end, not a failure.
            vec![Step::ReadRequest, confirm(), Step::ReadHello, Step::Send(alert(1, 0)), Step::Wait(TICK), end.clone()],
        ];
        at_once(scripts, |script| {
            let name = format!("{:?}", &script[1..]);
            // The hand-made hellos tell nothing more.
            check(&name, vec![script; 3], Verdict::TlsReset);
        });
    }
}

#[test]
fn a_fatal_alert_inside_tls() {
    let ends = [None, Some(Step::Fin), Some(Step::Rst)];
    let rows = [40, 70, 71, 80].into_iter().flat_map(|number| ends.clone().map(|end| (number, end)));
    at_once(rows, |(number, end)| {
        let mut script = answering(selecting(Protocols::SSL));
        script.extend([Step::ReadHello, Step::Send(alert(2, number))]);
        script.extend(end.into_iter().flat_map(|end| [Step::Wait(TICK), end]));
        let case = check("alert", vec![script; 3], Verdict::TlsAlert);
        assert_eq!(case.report.observation.stop().unwrap().fault, Fault::Alert(number));
    });
}

#[test]
fn silence_inside_tls() {
    let scripts = [
        ("silence", vec![]),
        ("half a record", vec![Step::Send(vec![0x16, 3, 3, 0, 80, 2, 0, 0, 76])]),
        ("half a header", vec![Step::Send(vec![0x16, 3])]),
    ];
    at_once(scripts, |(name, after)| {
        let script = [answering(selecting(Protocols::SSL)), vec![Step::ReadHello], after].concat();
        check_within(name, vec![script], Verdict::TlsTimeout, SHORT);
    });
}

#[test]
fn bytes_inside_tls_that_are_not_tls() {
    let garbage = [
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("TPKT", selecting(Protocols::SSL)),
        ("a record too long", vec![0x16, 3, 3, 0xff, 0xff, 2, 0, 0, 76]),
        ("ServerHelloDone first", vec![0x16, 3, 3, 0, 4, 14, 0, 0, 0]),
        ("application data first", vec![0x17, 3, 3, 0, 1, 0]),
        ("an unknown record type", vec![0x63, 3, 3, 0, 1, 0]),
        ("a hello cut short", vec![0x16, 3, 3, 0, 5, 2, 0, 0, 1, 3]),
    ];
    at_once(garbage, |(name, bytes)| {
        let script = [answering(selecting(Protocols::SSL)), vec![Step::ReadHello, Step::Send(bytes)]].concat();
        check(name, vec![script], Verdict::TlsError);
    });
}

/// One deadline for the whole probe: whoever trickles does not get more time.
#[test]
fn a_trickle_at_any_stage_ends_with_the_timeout() {
    let slow = Duration::from_millis(100);
    let trickled = |bytes: Vec<u8>| vec![Step::ReadRequest, Step::SendSlowly(bytes, slow)];
    let paced = |tls| speaking(Protocols::SSL, Tls { pace: Some(slow), ..tls });
    // The answer was whole; the rest only delays the end.
    let babbling = [answering(selecting(Protocols::RDP)), vec![Step::SendSlowly(vec![0; 30], slow)]].concat();
    let rows = [
        ("confirm", trickled(selecting(Protocols::SSL)), Verdict::NegotiationTimeout),
        ("TLS 1.2", paced(tls12()), Verdict::TlsTimeout),
        ("TLS 1.3", paced(tls13()), Verdict::TlsTimeout),
        ("after the answer", babbling, Verdict::Healthy),
        ("banner", trickled(b"SSH-2.0-OpenSSH".to_vec()), Verdict::NotRdp),
    ];
    at_once(rows, |(name, script, verdict)| drop(check_within(name, vec![script], verdict, SHORT)));
}

#[test]
fn a_second_question_does_not_outlast_the_timeout() {
    // Failure 2 when hardly any time is left for the second question.
    let late = vec![Step::ReadRequest, Step::Wait(SHORT - Duration::from_millis(80)), Step::Send(refusing(2))];
    let endpoint = Endpoint::start(vec![late, answering(selecting(Protocols::RDP))]);
    let target = sample::at(endpoint.address, Settings { timeout: SHORT, ..sample::settings() });
    let watch = Watch::begin();
    let (report, _) = probe(&target, Memory::default());
    let took = watch.elapsed();
    assert!(took <= SHORT + SLACK + watch.stood_still(), "failure 2 late: took {took:?}");
    assert_eq!(report.diagnosis.verdict, Verdict::NegotiationRefused, "{}", report.evidence());
}

/// How bytes are cut into segments is nobody's business.
#[test]
fn segments_do_not_matter() {
    let no_pause = Duration::ZERO;
    let paced = |tls: Tls| Tls { pace: Some(no_pause), ..tls };
    let answers = [
        selecting(Protocols::RDP),
        Answer::Confirm(None).encode(),
        refusing(5),
        selecting(Protocols(3)),
        vec![3, 0, 0, 0],
    ];
    at_once(answers, |bytes| {
        let whole = facts(vec![answering(bytes.clone())]);
        let slowly = vec![Step::ReadRequest, Step::SendSlowly(bytes.clone(), no_pause)];
        assert_eq!(facts(vec![slowly]), whole, "{bytes:02x?} byte by byte");
        let glued = [&bytes[..], b"and what follows"].concat();
        assert_eq!(facts(vec![answering(glued)]), whole, "{bytes:02x?} with more behind it");
    });
    for tls in [tls12(), tls13()] {
        let whole = facts(vec![speaking(Protocols::HYBRID, tls.clone())]);
        let slowly =
            vec![Step::ReadRequest, Step::SendSlowly(selecting(Protocols::HYBRID), no_pause), Step::Tls(paced(tls))];
        assert_eq!(facts(vec![slowly]), whole);
    }
    let alerted = |send: fn(Vec<u8>) -> Step| {
        let script = vec![Step::ReadHello, send(alert(2, 40))];
        facts(vec![[answering(selecting(Protocols::SSL)), script].concat()])
    };
    assert_eq!(alerted(|bytes| Step::SendSlowly(bytes, Duration::ZERO)), alerted(Step::Send));
}

/// What one connection told, without times and ports: offer, answer, session, stop, chain.
type Facts = (Protocols, Option<Negotiation>, Option<TlsSession>, Option<String>, Vec<Vec<u8>>);

fn facts(scripts: Vec<Script>) -> Vec<Facts> {
    let endpoint = Endpoint::start(scripts);
    let target = sample::at(endpoint.address, sample::settings());
    let approach = Memory::default().approach(&target.settings, (Reach::Anywhere, Companions::Never), sample::noon());
    let seen: Observation = block_on(Prober::new().run(&target, &approach));
    let of_conversation = |seen: &rdp_exporter::observation::Conversation| {
        let stop = seen.stop.as_ref().map(|stop| format!("{:?} {:?}", stop.stage, stop.fault));
        let chain = seen.presented.clone().map(|presented| presented.chain).unwrap_or_default();
        (seen.offered, seen.negotiation.map(|timed| timed.fact), seen.tls.map(|timed| timed.fact), stop, chain)
    };
    seen.conversations.iter().map(of_conversation).collect()
}

/// Where a probe may not connect it does not.
#[test]
fn a_fence_is_checked_before_the_connection() {
    let endpoint = Endpoint::start(vec![answering(selecting(Protocols::RDP))]);
    let by_name = format!("localhost:{}", endpoint.address.port());
    for address in [endpoint.address.to_string(), by_name] {
        let target = sample::target("fenced", &address, sample::settings());
        let roots = Roots::new(Vec::new(), Vec::new());
        let (report, _) = block_on(examine(
            &Prober::new(),
            (&target, false),
            &Memory::default(),
            (Reach::NoSpecial, Companions::Never),
            &roots,
        ));
        assert!(matches!(report.observation.stop().unwrap().fault, Fault::Forbidden(_)), "{}", report.evidence());
    }
    assert!(endpoint.finish().is_empty());
}

/// A TLS alert record in the clear.
fn alert(level: u8, number: u8) -> Vec<u8> {
    vec![0x15, 3, 3, 0, 2, level, number]
}

/// The contract's 10 s, for scripts that are silent.
const SHORT: Duration = Duration::from_millis(600);
/// What a probe may take beyond its timeout.
const SLACK: Duration = Duration::from_millis(100);
/// Long enough for bytes to arrive before what follows them.
const TICK: Duration = Duration::from_millis(30);
