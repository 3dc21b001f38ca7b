//! Companion ports: when they are tried, and what a silent host is called then.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rdp_exporter::{
    certificate::trust::Roots,
    diagnosis::{Verdict, diagnose},
    examine::{Report, judge_again},
    laboratory::{Laboratory, Terms},
    memory::Memory,
    observation::{Companion, Fault, Observation},
    probe::Companions,
    state::Vitals,
    target::{Reach, Settings, Target},
    wire::negotiation::Protocols,
};

use crate::{
    judgement::silent,
    sample::{self, noon, observation, stopped_early, unanswered, unconnected},
    verdicts::full_backlog,
};

const MINUTE: Duration = Duration::from_secs(60);

fn target(companion_ports: Vec<u16>) -> Target {
    sample::target("t", "ts01", Settings { companion_ports, ..sample::settings() })
}

fn learn(memory: Memory, seen: Observation) -> Memory {
    memory.learn(&target(vec![445]), &seen, &Roots::new(Vec::new(), Vec::new()))
}

fn terms(memory: &Memory, target: &Target, asked: Companions, now: SystemTime) -> Companions {
    memory.approach(&target.settings, (Reach::Anywhere, asked), now).companions
}

fn silence() -> Observation {
    observation(vec![silent()])
}

fn silence_beside(fault: Option<Fault>, ended: SystemTime) -> Observation {
    let companions = vec![Companion { address: ([192, 0, 2, 1], 445).into(), fault }];
    Observation { companions, ended, ..silence() }
}

#[test]
fn they_are_tried_on_the_second_silence_running_and_seldom_then() {
    let (target, none) = (target(vec![445]), target(vec![]));
    let due = |memory: &Memory, after: Duration| terms(memory, &target, Companions::WhenDue, noon() + after);
    let memory = Memory::default();
    assert_eq!(due(&memory, Duration::ZERO), Companions::Never, "before the first silence");
    let memory = learn(memory, silence());
    assert_eq!(due(&memory, Duration::ZERO), Companions::WhenDue, "after the first");
    assert_eq!(terms(&memory, &none, Companions::WhenDue, noon()), Companions::Never, "without ports");
    assert_eq!(terms(&memory, &target, Companions::Never, noon()), Companions::Never);
    let memory = learn(memory, silence_beside(Some(Fault::Timeout), noon()));
    assert_eq!(due(&memory, MINUTE * 14), Companions::Never, "they were tried");
    assert_eq!(due(&memory, MINUTE * 15), Companions::WhenDue);
    let memory = learn(memory, observation(vec![unanswered(Protocols::ORDINARY, Fault::Closed)]));
    let memory = learn(memory, silence());
    assert_eq!(due(&memory, MINUTE * 14), Companions::Never, "a host that comes and goes is not asked more often");
    assert_eq!(terms(&Memory::default(), &target, Companions::AtOnce, noon()), Companions::AtOnce, "the command");
}

#[test]
fn what_they_said_holds_until_the_host_answers() {
    let (target, none) = (target(vec![445]), target(vec![]));
    let verdict = |seen: &Observation, memory: &Memory, target: &Target| diagnose(seen, memory, target, noon()).verdict;
    let known = learn(Memory::default(), silence_beside(Some(Fault::Refused), noon()));
    assert_eq!(verdict(&silence(), &known, &target), Verdict::PortFiltered);
    assert_eq!(verdict(&silence(), &known, &none), Verdict::ConnectTimeout, "no ports are configured any more");
    for (name, between, holds) in [
        ("silence", silence(), true),
        ("no name", stopped_early(Fault::NameNotFound), true),
        ("a router's word", observation(vec![unconnected(Fault::Unreachable(113))]), true),
        ("a refusal", observation(vec![unconnected(Fault::Refused)]), false),
        ("an end", observation(vec![unanswered(Protocols::ORDINARY, Fault::Closed)]), false),
    ] {
        let after = learn(learn(known.clone(), between), silence());
        let expected = if holds { Verdict::PortFiltered } else { Verdict::ConnectTimeout };
        assert_eq!(verdict(&silence(), &after, &target), expected, "{name}");
    }
    let newer = learn(known, silence_beside(Some(Fault::Timeout), noon() + MINUTE * 15));
    assert_eq!(verdict(&silence(), &newer, &target), Verdict::HostDown, "the newer answer counts");
}

/// The name of a host whose address changes may be another host's by now.
#[test]
fn what_another_host_said_explains_nothing() {
    let target = target(vec![445]);
    let known = learn(Memory::default(), silence_beside(Some(Fault::Refused), noon()));
    let mut moved = silence();
    moved.conversations[0].attempts[0].address = ([192, 0, 2, 2], 3389).into();
    let diagnosis = diagnose(&moved, &known, &target, noon());
    assert_eq!((diagnosis.verdict, diagnosis.companions), (Verdict::ConnectTimeout, vec![]));
    let due = |memory| terms(&memory, &target, Companions::WhenDue, noon());
    assert_eq!(due(learn(known.clone(), silence())), Companions::Never, "they were tried just now");
    assert_eq!(due(learn(known.clone(), moved.clone())), Companions::WhenDue, "those of this host were not");
    let back = diagnose(&silence(), &learn(known, moved), &target, noon());
    assert_eq!((back.verdict, back.companions.len()), (Verdict::PortFiltered, 1));
}

/// What `/probe` or a survey learnt since changes no verdict of the schedule's probe; another configuration does.
#[test]
fn judged_again_a_silent_host_is_what_the_probe_found() {
    let (target, none) = (target(vec![445]), target(vec![]));
    let told = learn(Memory::default(), silence_beside(Some(Fault::Refused), noon()));
    let untold = learn(told.clone(), observation(vec![unconnected(Fault::Refused)]));
    let report = |memory: &Memory| {
        let diagnosis = diagnose(&silence(), memory, &target, noon());
        Report { observation: silence(), diagnosis }
    };
    let again =
        |known: &Memory, target: &Target, now: &Memory| judge_again(report(known), target, now).diagnosis.verdict;
    assert_eq!(again(&told, &target, &untold), Verdict::PortFiltered);
    assert_eq!(again(&untold, &target, &told), Verdict::ConnectTimeout);
    assert_eq!(again(&told, &none, &told), Verdict::ConnectTimeout, "no ports are configured any more");
}

/// A host on loopback whose RDP port is silent, with one companion port.
struct Host {
    laboratory: Laboratory,
    runtime: tokio::runtime::Runtime,
}

impl Host {
    fn new(silent: SocketAddr, companion: u16) -> Self {
        let settings = Settings {
            companion_ports: vec![companion],
            connect_timeout: Duration::from_millis(200),
            ..sample::settings()
        };
        let roots = Arc::new(Roots::new(Vec::new(), Vec::new()));
        let laboratory = Laboratory::new(roots, Vitals::new(noon()));
        laboratory.states.replace(&[Arc::new(sample::target("t", &silent.to_string(), settings))]);
        Self { laboratory, runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap() }
    }

    fn probe(&self, companions: Companions) -> (Verdict, String) {
        let terms = Terms { companions, ..Terms::ORDINARY };
        let probed = self.runtime.block_on(self.laboratory.probe("t", terms)).unwrap();
        let report = probed.state.last.clone().unwrap();
        (report.diagnosis.verdict, report.evidence())
    }
}

fn silent_port() -> (SocketAddr, impl Sized) {
    let (listener, waiting) = full_backlog();
    (listener.local_addr().unwrap().as_socket().unwrap(), (listener, waiting))
}

#[test]
fn a_living_host_is_told_from_a_dead_one_over_sockets() {
    let (rdp, _held) = silent_port();
    let (also_silent, _held_too) = silent_port();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let answering = listener.local_addr().unwrap().port();
    let refusing = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    for (port, expected, evidence) in [
        (also_silent.port(), Verdict::HostDown, "silent"),
        (answering, Verdict::PortFiltered, "answered"),
        (refusing, Verdict::PortFiltered, "refused"),
    ] {
        let host = Host::new(rdp, port);
        assert_eq!(host.probe(Companions::WhenDue).0, Verdict::ConnectTimeout, "the first silence");
        let (verdict, told) = host.probe(Companions::WhenDue);
        assert_eq!(verdict, expected, "the second: {told}");
        assert!(told.ends_with(&format!("; companion ports: 127.0.0.1:{port} {evidence}")), "{told}");
        let asked = || host.laboratory.states.find("t").unwrap().0.last.clone().unwrap().observation.companions.len();
        assert_eq!(asked(), 1);
        let (verdict, still_told) = host.probe(Companions::WhenDue);
        assert_eq!(verdict, expected, "it holds");
        assert!(still_told.contains("; companion ports: "), "{still_told}");
        assert_eq!(asked(), 0, "and is not asked again");
        let host = Host::new(rdp, port);
        assert_eq!(host.probe(Companions::AtOnce).0, expected, "the command tries at once");
    }
}

#[test]
fn the_command_tries_at_once() {
    let (rdp, _held) = silent_port();
    let refusing = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, format!("probe: {{ connect_timeout: 300ms, companion_ports: [{refusing}] }}\n")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rdp_exporter"))
        .args(["probe", &rdp.to_string(), "--timeout=1s", "--output=json"])
        .arg(format!("--config.file={}", file.display()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told[0]["verdict"], "port_filtered");
    assert_eq!(told[0]["companions"][0]["answer"], "refused", "{told}");
}

/// Thirty silent hosts at once may not have their companion ports tried all in one second.
#[test]
fn not_too_many_are_tried_at_once() {
    let (rdp, _held) = silent_port();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let host = Host::new(rdp, port);
    let (known, _) = host.laboratory.states.find("t").unwrap();
    let settings = Settings::clone(&known.target.settings);
    let names: Vec<_> = (0..30).map(|number| format!("t{number}")).collect();
    let targets: Vec<_> =
        names.iter().map(|name| Arc::new(sample::target(name, &rdp.to_string(), settings.clone()))).collect();
    host.laboratory.states.replace(&targets);
    let laboratory = Arc::new(host.laboratory);
    let round = || {
        host.runtime.block_on(async {
            let mut running = tokio::task::JoinSet::new();
            for name in names.clone() {
                let laboratory = Arc::clone(&laboratory);
                running.spawn(async move { laboratory.probe(&name, Terms::ORDINARY).await.unwrap() });
            }
            let probed = running.join_all().await;
            probed.iter().map(|probed| probed.state.last_verdict().unwrap()).collect::<Vec<_>>()
        })
    };
    assert_eq!(round(), [Verdict::ConnectTimeout; 30]);
    let second = round();
    let filtered = second.iter().filter(|verdict| **verdict == Verdict::PortFiltered).count();
    let connections = std::iter::from_fn(|| listener.accept().ok()).count();
    assert_eq!(connections, filtered, "one connection for each that was tried");
    assert!((1..=20).contains(&filtered), "{filtered} of 30 in one moment");
}
