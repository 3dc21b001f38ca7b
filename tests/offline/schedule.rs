//! The schedule against scripted endpoints, in real time: rhythm, confirmation, room, and who waits for whom.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rdp_exporter::{
    certificate::trust::Roots,
    diagnosis::Verdict,
    laboratory::{Laboratory, Terms},
    schedule::{self, Order},
    state::{TargetState, Vitals},
    target::{Settings, Target},
    wire::negotiation::Protocols,
};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

use crate::{
    endpoint::{Endpoint, Script, Seen, Step, answering, refusing, selecting},
    sample,
    watch::Watch,
};

/// A schedule under way.
struct Running {
    laboratory: Arc<Laboratory>,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(limit: usize, targets: Vec<Arc<Target>>) -> Self {
        let roots = Arc::new(Roots::new(Vec::new(), Vec::new()));
        let laboratory = Arc::new(Laboratory::new(roots, Vitals::new(sample::noon())));
        let (orders, received) = mpsc::unbounded_channel();
        let task = tokio::spawn(schedule::run(Arc::clone(&laboratory), orders.downgrade(), received));
        let running = Self { laboratory, orders, task };
        running.orders.send(Order::Limit(limit)).unwrap();
        running.replace(targets);
        running
    }

    /// As the service does it: states first, then the order.
    fn replace(&self, targets: Vec<Arc<Target>>) {
        self.laboratory.states.replace(&targets);
        self.orders.send(Order::Replace(targets)).unwrap();
    }

    async fn end(self) -> Arc<Laboratory> {
        self.orders.send(Order::Stop).unwrap();
        let begun = Instant::now();
        self.task.await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(3), "a stop takes {:?}", begun.elapsed());
        assert_eq!(self.laboratory.vitals.in_flight.load(Ordering::SeqCst), 0);
        self.laboratory
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn probed_every(interval: u64, endpoint: &Endpoint, name: &str) -> Arc<Target> {
    let interval = Duration::from_millis(interval);
    let settings = Settings { interval, timeout: interval - Duration::from_millis(50), ..sample::settings() };
    Arc::new(sample::target(name, &endpoint.address.to_string(), settings))
}

fn healthy() -> Script {
    answering(selecting(Protocols::RDP))
}

fn silent() -> Script {
    vec![Step::ReadRequest]
}

/// Milliseconds between the beginnings of connections.
fn gaps(seen: &[Seen]) -> Vec<u128> {
    seen.windows(2).map(|pair| (pair[1].accepted - pair[0].accepted).as_millis()).collect()
}

#[test]
fn intervals_are_kept_and_a_silent_target_delays_no_other() {
    let (quick, slow) = (Endpoint::start(vec![healthy()]), Endpoint::start(vec![silent()]));
    let watch = Watch::begin();
    let laboratory = block_on(async {
        let running = Running::start(100, vec![probed_every(300, &quick, "quick"), probed_every(400, &slow, "silent")]);
        sleep(Duration::from_millis(2000)).await;
        running.end().await
    });
    let seen = quick.finish();
    assert!((6..=8).contains(&seen.len()), "{} probes in 2 s", seen.len());
    let off = 150 + watch.stood_still().as_millis();
    assert!(gaps(&seen).iter().all(|gap| gap.abs_diff(300) <= off), "{:?} ms apart, 300 wanted", gaps(&seen));
    let whole = (seen[seen.len() - 1].accepted - seen[0].accepted).as_millis();
    let wanted = 300 * (seen.len() as u128 - 1);
    assert!(whole.abs_diff(wanted) <= off, "the rhythm drifts: {whole} ms, {wanted} wanted");
    let verdict = |name| laboratory.states.find(name).unwrap().0.last_verdict();
    assert_eq!(verdict("quick"), Some(Verdict::Healthy));
    assert_eq!(verdict("silent"), Some(Verdict::NegotiationTimeout));
    assert!(slow.finish().len() >= 3);
}

#[test]
fn a_change_of_verdict_is_confirmed_early() {
    let laboratory = check_confirmation(vec![healthy(), answering(refusing(5))]);
    let state = laboratory.states.find("t").unwrap().0;
    assert_eq!(state.consecutive_failures, 3);
    assert_eq!(state.tally[Verdict::Healthy as usize], 1);
}

#[test]
fn a_change_that_is_not_confirmed_is_not_confirmed_in_turn() {
    let laboratory = check_confirmation(vec![healthy(), answering(refusing(5)), healthy()]);
    assert_eq!(laboratory.states.find("t").unwrap().0.consecutive_failures, 0);
}

/// Healthy at 0; something else at 1000; confirmed at 1400; the rhythm goes on at 2000.
fn check_confirmation(scripts: Vec<Script>) -> Arc<Laboratory> {
    let endpoint = Endpoint::start(scripts);
    let target = probed_every(1000, &endpoint, "t");
    let settings = Settings { confirm_after: Duration::from_millis(400), ..Settings::clone(&target.settings) };
    let target = Arc::new(Target { settings: Arc::new(settings), ..Target::clone(&target) });
    let watch = Watch::begin();
    let laboratory = block_on(async {
        let running = Running::start(100, vec![target]);
        sleep(Duration::from_millis(2500)).await;
        running.end().await
    });
    let (gaps, off) = (gaps(&endpoint.finish()), 190 + watch.stood_still().as_millis());
    let wanted = [1000, 400, 600];
    assert_eq!(gaps.len(), wanted.len(), "{gaps:?}");
    assert!(gaps.iter().zip(wanted).all(|(gap, wanted)| gap.abs_diff(wanted) <= off), "{gaps:?}, {wanted:?} wanted");
    laboratory
}

/// More than are kept waiting for the next round.
#[test]
fn many_at_once_are_probed_round_by_round() {
    const TARGETS: usize = 24;
    let late = vec![Step::ReadRequest, Step::Wait(Duration::from_millis(550)), Step::Send(selecting(Protocols::RDP))];
    let endpoint = Endpoint::start(vec![late]);
    let targets = (0..TARGETS).map(|number| probed_every(1300, &endpoint, &format!("t{number}"))).collect();
    let laboratory = block_on(async {
        let running = Running::start(100, targets);
        let watch = Watch::begin();
        let is_through = |state: &Arc<TargetState>| state.probes() >= 3;
        while !running.laboratory.states.snapshot().iter().all(is_through) {
            assert!(watch.elapsed() < Duration::from_secs(20), "the third round has not ended");
            sleep(Duration::from_millis(50)).await;
        }
        running.end().await
    });
    for state in laboratory.states.snapshot() {
        assert_eq!(state.probes(), state.tally[Verdict::Healthy as usize], "{}: {:?}", state.target.name, state.tally);
    }
    assert!(endpoint.most_open() > 16, "{} at once", endpoint.most_open());
}

#[test]
fn no_more_probes_run_than_there_is_room_for() {
    let endpoint = Endpoint::start(vec![silent()]);
    let targets = (0..6).map(|number| probed_every(500, &endpoint, &format!("t{number}"))).collect();
    let laboratory = block_on(async {
        let running = Running::start(2, targets);
        sleep(Duration::from_millis(1500)).await;
        running.end().await
    });
    assert_eq!(endpoint.most_open(), 2);
    assert!(laboratory.vitals.deferred.load(Ordering::SeqCst) >= 4);
    assert!(laboratory.vitals.start_delays().count() >= 4);
    assert!(endpoint.finish().len() >= 4);
}

#[test]
fn connections_to_one_target_never_overlap() {
    let slow = vec![Step::ReadRequest, Step::Wait(Duration::from_millis(60)), Step::Send(selecting(Protocols::RDP))];
    let endpoint = Endpoint::start(vec![slow]);
    block_on(async {
        let running = Running::start(100, vec![probed_every(350, &endpoint, "t")]);
        // As `/probe` does.
        let on_demand = (0..5).map(|_| {
            let laboratory = Arc::clone(&running.laboratory);
            tokio::spawn(async move { laboratory.examine(&laboratory.states, "t", Terms::ORDINARY).await.is_some() })
        });
        for examined in on_demand.collect::<Vec<_>>() {
            assert!(examined.await.unwrap());
        }
        running.end().await
    });
    assert_eq!(endpoint.most_open(), 1);
    let seen = endpoint.finish();
    assert!(seen.len() >= 6, "{} connections", seen.len());
    for pair in seen.windows(2) {
        let apart = pair[1].accepted - pair[0].ended;
        assert!(apart >= Duration::from_millis(190), "{apart:?} between two connections");
    }
}

#[test]
fn a_probe_that_waits_for_its_turn_begins_late() {
    let endpoint = Endpoint::start(vec![healthy()]);
    let target = probed_every(5000, &endpoint, "t");
    let laboratory = block_on(async {
        let running = Running::start(100, Vec::new());
        running.laboratory.states.replace(&[Arc::clone(&target)]);
        // As `/probe` does.
        let turn = running.laboratory.states.find("t").unwrap().1.lock_owned().await;
        running.replace(vec![target]);
        sleep(Duration::from_millis(600)).await;
        drop(turn);
        sleep(Duration::from_millis(300)).await;
        running.end().await
    });
    let delays = laboratory.vitals.start_delays();
    assert_eq!(delays.count(), 1);
    assert!(delays.sum() >= 0.5, "{} s", delays.sum());
    assert_eq!(endpoint.finish().len(), 1);
}

#[test]
fn targets_come_and_go() {
    let (stays, leaves, comes) =
        (Endpoint::start(vec![healthy()]), Endpoint::start(vec![healthy()]), Endpoint::start(vec![healthy()]));
    let watch = Watch::begin();
    let laboratory = block_on(async {
        let kept = probed_every(300, &stays, "stays");
        let running = Running::start(100, vec![Arc::clone(&kept), probed_every(300, &leaves, "leaves")]);
        sleep(Duration::from_millis(500)).await;
        running.replace(vec![kept, probed_every(300, &comes, "comes")]);
        // One that was under way may end.
        sleep(Duration::from_millis(50)).await;
        let before = leaves.seen().len();
        sleep(Duration::from_millis(900)).await;
        assert_eq!(leaves.seen().len(), before, "a target that left is still probed");
        running.end().await
    });
    let names: Vec<_> = laboratory.states.snapshot().iter().map(|state| state.target.name.clone()).collect();
    assert_eq!(names, ["comes", "stays"]);
    let (gaps, off) = (gaps(&stays.finish()), 150 + watch.stood_still().as_millis());
    assert!(gaps.len() >= 3 && gaps.iter().all(|gap| gap.abs_diff(300) <= off), "{gaps:?} ms apart, 300 wanted");
    assert!(comes.finish().len() >= 3);
    assert!(!leaves.finish().is_empty());
}

#[test]
fn a_target_that_left_while_it_was_probed_does_not_come_back() {
    let endpoint = Endpoint::start(vec![silent()]);
    let laboratory = block_on(async {
        let running = Running::start(100, vec![probed_every(500, &endpoint, "t")]);
        sleep(Duration::from_millis(100)).await;
        running.replace(Vec::new());
        sleep(Duration::from_millis(600)).await;
        running.end().await
    });
    assert!(laboratory.states.snapshot().is_empty());
    assert_eq!(endpoint.finish().len(), 1);
}

/// Its former probe goes on meanwhile: nobody connects beside it, nor right after it.
#[test]
fn a_target_that_comes_back_while_it_is_probed_is_not_probed_beside_that() {
    let endpoint = Endpoint::start(vec![silent()]);
    let elsewhere = Endpoint::start(vec![healthy()]);
    block_on(async {
        let target = |interval| probed_every(interval, &endpoint, "t");
        let running = Running::start(100, vec![target(800)]);
        // Once it is gone, once another host has its name.
        for meanwhile in [Vec::new(), vec![probed_every(60_000, &elsewhere, "t")]] {
            sleep(Duration::from_millis(100)).await;
            running.replace(meanwhile);
            sleep(Duration::from_millis(50)).await;
            running.replace(vec![target(800)]);
        }
        sleep(Duration::from_millis(2000)).await;
        running.end().await
    });
    assert_eq!(endpoint.most_open(), 1, "connections to one target never overlap");
    let seen = endpoint.finish();
    assert!(seen.len() >= 2, "{} connections", seen.len());
    for pair in seen.windows(2) {
        let apart = pair[1].accepted - pair[0].ended;
        assert!(apart >= Duration::from_millis(190), "{apart:?} between two connections");
    }
}

/// A survey may take as long as a probe may, question by question, and goes on after the next start.
#[test]
fn a_stop_does_not_wait_for_a_survey() {
    let endpoint = Endpoint::start(vec![healthy(), healthy(), silent()]);
    // The name says how soon the first survey comes: here before the second probe.
    let soon = |name: &String| {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        hasher.finish() < u64::MAX / 50
    };
    let target = probed_every(1000, &endpoint, &(0..).map(|number| format!("t{number}")).find(soon).unwrap());
    let settings = Settings { survey_interval: Duration::from_secs(60), ..Settings::clone(&target.settings) };
    let target = Arc::new(Target { settings: Arc::new(settings), ..Target::clone(&target) });
    let watch = Watch::begin();
    let took = block_on(async {
        let running = Running::start(100, vec![target]);
        sleep(Duration::from_millis(1450)).await;
        assert_eq!(endpoint.seen().len(), 2, "two probes have ended");
        let begun = Instant::now();
        running.end().await;
        begun.elapsed()
    });
    assert!(took < Duration::from_millis(400) + watch.stood_still(), "a stop takes {took:?}");
    assert_eq!(endpoint.finish().len(), 3, "and a question of the survey was under way");
}
