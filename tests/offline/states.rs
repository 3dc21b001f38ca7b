//! What is kept of a target when the configuration changes, and whom `/probe` makes known.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rdp_exporter::{
    certificate::trust::Roots,
    diagnosis::{Finding, Verdict, diagnose},
    examine::Report,
    laboratory::{Examined, Laboratory, Terms},
    memory::{Memory, Path},
    observation::Negotiation,
    probe::Companions,
    state::{States, Vitals},
    target::{Expectations, Reach, Settings, Target},
    wire::negotiation::{FailureCode, Protocols},
};

use crate::{
    bench::Bench,
    endpoint::{Endpoint, Step, speaking, tls13},
    sample::{self, answered, observation},
    verdicts::full_backlog,
    watch::Watch,
};

fn target(address: &str, accept: Vec<Finding>) -> Arc<Target> {
    let expect = Expectations { accept, ..sample::settings().expect };
    Arc::new(sample::target("t", address, Settings { expect, ..sample::settings() }))
}

fn report(target: &Target) -> Report {
    let observation = observation(vec![answered(Protocols::ORDINARY, Negotiation::Absent)]);
    let diagnosis = diagnose(&observation, &Memory::default(), target, observation.ended);
    Report { observation, diagnosis }
}

#[test]
fn what_is_known_of_an_endpoint_outlives_a_reload_and_is_judged_anew() {
    let before = target("ts01", vec![]);
    let states = States::default();
    states.replace(&[Arc::clone(&before)]);
    states.absorb(&before, report(&before), Memory::default()).unwrap();
    states.replace(&[target("ts01", vec![Finding::StandardSecurityOnly])]);
    let (state, _) = states.find("t").unwrap();
    assert_eq!(state.up, Some(true));
    assert_eq!(state.tally[Verdict::Healthy as usize], 1);
    let diagnosis = &state.last.as_ref().unwrap().diagnosis;
    assert!(diagnosis.findings.is_empty() && diagnosis.accepted.len() == 1, "{diagnosis:?}");
}

/// A reload while a probe is under way: what it learnt by the former roots, or of the former name, holds no longer.
#[test]
fn what_a_probe_learnt_of_what_was_replaced_meanwhile_is_taken_back() {
    let mut bench = Bench::new(vec![speaking(Protocols::SSL, tls13())], sample::settings());
    let nameless = Arc::clone(&bench.target);
    let named = Target { server_name: Some("other.example".to_owned()), ..Target::clone(&nameless) };
    let named = Arc::new(named);
    bench.target = Arc::clone(&named);
    let (laboratory, states) = (&bench.laboratory, &bench.laboratory.states);
    let root = rcgen::generate_simple_self_signed(vec!["root".to_owned()]).unwrap().cert.der().to_vec();
    laboratory.replace_roots(Arc::new(Roots::new(vec![root], Vec::new())));
    states.replace(&[Arc::clone(&named)]);
    let report = bench.probe();
    let memory = bench.memory();
    let known =
        |memory: &Memory| memory.certificates.last.as_ref().map(|seen| (seen.trusted, seen.name_match)).unwrap();
    assert_eq!(known(&memory), (Some(false), Some(false)));
    laboratory.replace_roots(Arc::new(Roots::new(Vec::new(), Vec::new())));
    states.replace(&[nameless]);
    assert_eq!(known(&bench.memory()), (None, None), "the reload itself");
    laboratory.remember(states, &named, memory.clone());
    assert_eq!(known(&bench.memory()), (None, None), "what came of `/probe` or of a survey after it");
    states.absorb(&named, report, memory).unwrap();
    assert_eq!(known(&bench.memory()).1, None, "the end of a probe after it");
}

/// Whoever waited for its turn while the name became another host's does not connect to that one.
#[test]
fn a_turn_is_of_the_endpoint_that_it_was_taken_for() {
    let (before, after) = (target("192.0.2.1", vec![]), target("127.0.0.1:1", vec![]));
    let laboratory = Laboratory::new(Arc::new(Roots::new(Vec::new(), Vec::new())), Vitals::new(sample::noon()));
    laboratory.states.replace(&[before]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let examined = runtime.block_on(async {
        let (_, turn) = laboratory.states.find("t").unwrap();
        let held = turn.lock_owned().await;
        let waiting = laboratory.examine(&laboratory.states, "t", Terms::ORDINARY);
        let replaced = async {
            tokio::task::yield_now().await;
            laboratory.states.replace(&[after]);
            drop(held);
        };
        tokio::join!(waiting, replaced).0
    });
    assert!(examined.is_none(), "{examined:?}");
}

/// What was seen of a host begins no survey of another one that has its name by then.
#[test]
fn a_survey_is_of_the_endpoint_that_was_probed() {
    let bench = Bench::new(vec![speaking(Protocols::SSL, tls13())], sample::settings());
    let (before, states) = (Arc::clone(&bench.target), &bench.laboratory.states);
    let after = Arc::new(sample::target(&before.name, "127.0.0.1:1", sample::settings()));
    let report = bench.probe();
    let is_under_way = || states.find(&before.name).unwrap().0.memory.survey.is_under_way();
    let seen = &report.observation;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let held = states.find(&before.name).unwrap().1.lock_owned().await;
        let until = tokio::time::Instant::now() + Duration::from_secs(5);
        let surveyed = bench.laboratory.survey_until(states, &before, seen, until);
        let replaced = async {
            tokio::task::yield_now().await;
            states.replace(&[Arc::clone(&after)]);
            drop(held);
        };
        assert!(!tokio::join!(surveyed, replaced).0);
    });
    assert!(!is_under_way(), "the name went to another one while the turn was waited for");
    assert!(!states.begin_survey(&before, seen) && !is_under_way(), "or before that");
    assert_eq!(bench.endpoint.seen().len(), 1);
}

#[test]
fn another_address_under_the_same_name_is_another_target() {
    let before = target("ts01", vec![]);
    let states = States::default();
    states.replace(&[Arc::clone(&before)]);
    states.absorb(&before, report(&before), Memory::default()).unwrap();
    states.replace(&[target("ts02", vec![])]);
    assert_eq!(states.find("t").unwrap().0.last, None);
    let late = states.absorb(&before, report(&before), Memory::default());
    assert!(late.is_none(), "a report of the former endpoint is not the new one's");
    states.replace(&[]);
    assert!(states.find("t").is_none() && states.snapshot().is_empty());
}

#[test]
fn no_more_passers_by_are_kept_than_there_is_room_for() {
    let states = States::default();
    let admit = |name: &str| states.admit(&Arc::new(sample::target(name, name, sample::settings())), 3);
    let kept = || states.snapshot().iter().map(|state| state.target.name.clone()).collect::<String>();
    "abca".chars().for_each(|name| admit(&name.to_string()));
    admit("d");
    assert_eq!(kept(), "acd", "who was asked for longest ago leaves");
    let (_, turn) = states.find("c").unwrap();
    admit("e");
    assert_eq!(kept(), "cde", "one that is under way stays");
    drop(turn);
    admit("f");
    assert_eq!(kept(), "def");
}

#[test]
fn an_examination_may_be_given_less_time_but_never_more() {
    let endpoint = Endpoint::start(vec![vec![Step::ReadRequest]]);
    let settings = Settings { timeout: Duration::from_millis(400), ..sample::settings() };
    let target = Arc::new(sample::at(endpoint.address, settings));
    let roots = Arc::new(Roots::new(Vec::new(), Vec::new()));
    let laboratory = Laboratory::new(roots, Vitals::new(sample::noon()));
    laboratory.states.replace(&[Arc::clone(&target)]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (limit, expected) in [(150, 150), (3000, 400)] {
        let terms = Terms {
            reach: Reach::Anywhere,
            deadline: Some(tokio::time::Instant::now() + Duration::from_millis(limit)),
            companions: Companions::WhenDueInTime,
            ..Terms::ORDINARY
        };
        let watch = Watch::begin();
        let examined = runtime.block_on(laboratory.examine(&laboratory.states, &target.name, terms)).unwrap();
        assert_eq!(examined.report.diagnosis.verdict, Verdict::NegotiationTimeout);
        let took = examined.report.observation.duration.as_millis();
        let longest = expected + 100 + watch.stood_still().as_millis();
        assert!((expected..longest).contains(&took), "{took} ms of {expected}");
        assert_eq!(examined.target, target, "the target is the configured one");
    }
    let unknown = laboratory.examine(&laboratory.states, "unknown", Terms::ORDINARY);
    assert!(runtime.block_on(unknown).is_none());
}

fn within(milliseconds: u64) -> Terms {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(milliseconds);
    Terms { deadline: Some(deadline), companions: Companions::WhenDueInTime, ..Terms::ORDINARY }
}

/// Whoever was in a hurry did not hear whether the host is silent.
#[test]
fn what_a_hurry_cut_is_no_silence_of_the_host() {
    let (silent, _waiting) = full_backlog();
    let settings = Settings { connect_timeout: Duration::from_millis(900), ..sample::settings() };
    let target = Arc::new(sample::at(silent.local_addr().unwrap().as_socket().unwrap(), settings));
    let laboratory = Laboratory::new(Arc::new(Roots::new(Vec::new(), Vec::new())), Vitals::new(sample::noon()));
    laboratory.states.replace(&[Arc::clone(&target)]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (limit, is_silence) in [(600, false), (3000, true)] {
        let examined = laboratory.examine(&laboratory.states, &target.name, within(limit));
        let Examined { report, memory, .. } = runtime.block_on(examined).unwrap();
        assert_eq!(report.diagnosis.verdict, Verdict::ConnectTimeout);
        let none = Memory::default();
        assert_eq!(memory.network != none.network, is_silence, "{limit} ms: {:?}", memory.network);
        assert_eq!(memory.companions != none.companions, is_silence, "{limit} ms: {:?}", memory.companions);
    }
}

/// A host of Standard RDP Security alone that is slow to answer is still one.
#[test]
fn what_a_hurry_did_not_wait_for_changes_no_way_in() {
    let endpoint = Endpoint::start(vec![vec![Step::ReadRequest]]);
    let target = Arc::new(sample::at(endpoint.address, sample::settings()));
    let laboratory = Laboratory::new(Arc::new(Roots::new(Vec::new(), Vec::new())), Vitals::new(sample::noon()));
    laboratory.states.replace(&[Arc::clone(&target)]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let path = Path::StandardOnly { failure: FailureCode::SSL_NOT_ALLOWED_BY_SERVER, since: SystemTime::now() };
    for (limit, is_kept) in [(600, true), (4000, false)] {
        laboratory.states.remember(&target, Memory { path, ..Memory::default() }).unwrap();
        let examined = laboratory.examine(&laboratory.states, &target.name, within(limit));
        let Examined { memory, .. } = runtime.block_on(examined).unwrap();
        assert_eq!(memory.path == path, is_kept, "{limit} ms: {:?}", memory.path);
    }
}

/// A turn that comes right before the deadline leaves no time to hear an answer.
#[test]
fn an_examination_whose_turn_comes_too_late_is_not_begun() {
    let endpoint = Endpoint::start(vec![vec![Step::ReadRequest]]);
    let target = Arc::new(sample::at(endpoint.address, sample::settings()));
    let laboratory = Laboratory::new(Arc::new(Roots::new(Vec::new(), Vec::new())), Vitals::new(sample::noon()));
    laboratory.states.replace(&[Arc::clone(&target)]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let examined = runtime.block_on(async {
        let held = laboratory.states.find(&target.name).unwrap().1.lock_owned().await;
        let waiting = laboratory.examine(&laboratory.states, &target.name, within(1500));
        let freed = async {
            tokio::time::sleep(Duration::from_millis(1200)).await;
            drop(held);
        };
        tokio::join!(waiting, freed).0
    });
    assert!(examined.is_none(), "{examined:?}");
    assert!(endpoint.finish().is_empty());
}
