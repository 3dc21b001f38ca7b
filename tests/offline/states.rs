//! What is kept of a target when the configuration changes, and whom `/probe` makes known.

use std::{sync::Arc, time::Duration};

use rdp_exporter::{
    certificate::trust::Roots,
    diagnosis::{Finding, Verdict, diagnose},
    examine::Report,
    laboratory::{Laboratory, Terms},
    memory::Memory,
    observation::Negotiation,
    probe::Companions,
    state::{States, Vitals},
    target::{Expectations, Reach, Settings, Target},
    wire::negotiation::Protocols,
};

use crate::{
    endpoint::{Endpoint, Step},
    sample::{self, answered, observation},
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
            target: None,
        };
        let examined = runtime.block_on(laboratory.examine(&laboratory.states, &target.name, terms)).unwrap();
        assert_eq!(examined.report.diagnosis.verdict, Verdict::NegotiationTimeout);
        let took = examined.report.observation.duration.as_millis();
        assert!((expected..expected + 100).contains(&took), "{took} ms of {expected}");
        assert_eq!(examined.target, target, "the target is the configured one");
    }
    let unknown = laboratory.examine(&laboratory.states, "unknown", Terms::ORDINARY);
    assert!(runtime.block_on(unknown).is_none());
}
