//! What is kept of a target's last probes and changes.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rdp_exporter::{
    diagnosis::{Verdict, diagnose},
    examine::Report,
    history::Changed,
    memory::Memory,
    observation::{Fault, Negotiation, Observation},
    state::TargetState,
    wire::negotiation::Protocols,
};

use crate::sample::{self, answered, noon, observation, unconnected};

fn probed(state: TargetState, minute: u64, seen: Observation, memory: Memory) -> TargetState {
    let observation = Observation { ended: at(minute), ..seen };
    let diagnosis = diagnose(&observation, &memory, &state.target, observation.ended);
    state.absorb(Report { observation, diagnosis }, memory)
}

fn at(minute: u64) -> SystemTime {
    noon() + Duration::from_secs(60 * minute)
}

fn new() -> TargetState {
    TargetState::new(Arc::new(sample::target("t", "ts01", sample::settings())))
}

fn healthy() -> Observation {
    observation(vec![answered(Protocols::ORDINARY, Negotiation::Absent)])
}

fn refused() -> Observation {
    observation(vec![unconnected(Fault::Refused)])
}

#[test]
fn the_last_sixty_probes_and_twenty_changes_are_kept() {
    let mut state = new();
    for minute in 0..100 {
        state = probed(state, minute, if minute % 2 == 0 { healthy() } else { refused() }, Memory::default());
    }
    let outcomes: Vec<_> = state.history.outcomes().copied().collect();
    assert_eq!(outcomes.len(), 60);
    assert_eq!((outcomes[0].ended(), outcomes[59].ended()), (at(40), at(99)));
    assert_eq!((outcomes[58].verdict, outcomes[59].verdict), (Verdict::Healthy, Verdict::ConnectRefused));
    assert_eq!(outcomes[0].took(), Duration::from_millis(30));
    let changes: Vec<_> = state.history.verdicts().collect();
    assert_eq!(changes.len(), 20);
    assert_eq!((changes[0].at, changes[19].at), (at(80), at(99)));
    let Changed::Verdict { before, after, evidence } = &changes[19].what else { panic!("{:?}", changes[19]) };
    assert_eq!((*before, *after), (Verdict::Healthy, Verdict::ConnectRefused));
    assert!(evidence.starts_with("connect after") && evidence.contains("refused"), "{evidence}");
}

#[test]
fn a_layer_that_was_last_seen_before_a_failure_is_compared_after_it() {
    let ssl = || observation(vec![sample::shaken(Protocols::SSL)]);
    let state = probed(new(), 0, ssl(), Memory::default());
    let state = probed(state, 1, refused(), Memory::default());
    assert_eq!(state.history.others().len(), 0, "a silent host tells nothing of its layer");
    let state = probed(state, 2, healthy(), Memory::default());
    let changes: Vec<_> = state.history.others().collect();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].what, Changed::Layer { before: Protocols::SSL, after: Protocols::RDP });
    assert_eq!(changes[0].at, at(2));
    let state = probed(state, 3, healthy(), Memory::default());
    assert_eq!(state.history.others().len(), 1, "nothing changed again");
}
