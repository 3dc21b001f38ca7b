//! A serving exporter among hostile endpoints and healthy ones, and what must hold of it.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::endpoint::{Serve, authority, honest, serve_clinging, serve_counted};
use crate::gate::Gate;
use crate::harness::exporter::{scrape, serve_with};
use crate::harness::peer::Peer;
use crate::harness::process::{Server, require};
use crate::harness::samples::Samples;
use crate::machine::{Waits, hurry, peak_memory, promtool_objections};

/// What more must hold of the series of a target.
type Check = Arc<dyn Fn(&Facts<'_>) + Send + Sync>;

/// One kind of endpoint, and what is to be said of it.
#[derive(Clone)]
pub(crate) struct Row {
    name: String,
    verdicts: &'static [&'static str],
    serve: Serve,
    lasts: bool,
    /// How often its attack began, where that is known.
    attacks: Option<Arc<AtomicUsize>>,
    /// How long its client kept a connection at most, in microseconds, where that is known.
    kept: Option<Arc<AtomicU64>>,
    /// How much its client has to hold for each connection at least and at most, in bytes.
    holds: (usize, usize),
    check: Option<Check>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, verdict: &'static str, serve: Serve) -> Self {
        Self::either(name, std::slice::from_ref(Box::leak(Box::new(verdict))), serve)
    }

    /// Where either verdict is right, as two things happen at once.
    pub(crate) fn either(name: impl Into<String>, verdicts: &'static [&'static str], serve: Serve) -> Self {
        Self { name: name.into(), verdicts, serve, lasts: false, attacks: None, kept: None, holds: (0, 0), check: None }
    }

    /// Nothing is known of it before the time is up; anything else is known long before.
    pub(crate) fn lasting(self) -> Self {
        Self { lasts: true, ..self }
    }

    /// What it does counts its attacks, and one must have begun: a client that never came so far passes nothing.
    pub(crate) fn attacking(self) -> Self {
        let attacks = Arc::new(AtomicUsize::new(0));
        let (serve, counting) = (self.serve, Arc::clone(&attacks));
        let counted = move |client| serve_counted(&serve, &counting, client);
        Self { serve: Arc::new(counted), attacks: Some(attacks), ..self }
    }

    /// It never ends a connection: the client must, in time, and the time that a probe says it took leaves that out.
    pub(crate) fn clinging(self) -> Self {
        let kept = Arc::new(AtomicU64::new(0));
        let (serve, noting) = (self.serve, Arc::clone(&kept));
        let clinging = move |client| serve_clinging(&serve, &noting, client);
        Self { serve: Arc::new(clinging), kept: Some(kept), ..self }
    }

    /// Its client holds so many bytes for each connection, all of them at once.
    pub(crate) fn holding(self, least: usize, most: usize) -> Self {
        Self { holds: (least, most), ..self }
    }

    /// With more that must hold of its series, in the end.
    pub(crate) fn with(self, check: impl Fn(&Facts<'_>) + Send + Sync + 'static) -> Self {
        Self { check: Some(Arc::new(check)), ..self }
    }
}

/// The series of one target.
pub(crate) struct Facts<'a> {
    samples: &'a Samples,
    target: &'a str,
}

impl Facts<'_> {
    pub(crate) fn label(&self, name: &str, label: &str) -> Option<String> {
        let own = [("target", self.target)];
        let mut found = self.samples.all(name, &own).map(|sample| sample.labels[label].clone());
        found.next()
    }
}

/// Each of `rows` once.
pub(crate) fn alone(rows: &[Row]) {
    if require(&["promtool"]) {
        let _turn = TURN.read().unwrap_or_else(PoisonError::into_inner);
        hurry();
        let estate = Estate::start(rows, rows.len(), &PACE);
        estate.watch().check(&estate);
    }
}

/// Two hundred of `rows` at once.
pub(crate) fn crowd(rows: &[Row]) {
    if require(&["promtool"]) {
        let _turn = turn();
        let estate = Estate::start(rows, CROWD, &CROWD_PACE);
        estate.watch().check(&estate);
    }
}

/// The right to load this machine.
pub(crate) fn turn() -> RwLockWriteGuard<'static, ()> {
    let turn = TURN.write().unwrap_or_else(PoisonError::into_inner);
    hurry();
    turn
}

/// Small estates stand beside one another, a large one stands alone.
static TURN: RwLock<()> = RwLock::new(());

/// How often is probed, and for how long.
pub(crate) struct Pace {
    /// Of the hostile targets.
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// What a probe takes at most that does not have to wait for its time to be up.
    pub(crate) quick: Duration,
    /// How many probes of each are waited for.
    pub(crate) rounds: u32,
    /// The interval of the healthy ones; their timeout is three quarters of it, and they are probed as often as fits in.
    pub(crate) healthy: Duration,
    /// How long a hostile one waits for the others at most, before it does anything.
    pub(crate) gathering: Duration,
}

impl Pace {
    /// Interval and timeout.
    fn of(&self, is_hostile: bool) -> (Duration, Duration) {
        match is_hostile {
            true => (self.interval, self.timeout),
            false => (self.healthy, self.healthy * 3 / 4),
        }
    }
}

/// A probe that holds its turn for more than half a second beside its time loses the next one.
pub(crate) const PACE: Pace = Pace {
    interval: Duration::from_millis(2000),
    timeout: Duration::from_millis(1500),
    quick: Duration::from_secs(1),
    rounds: 4,
    healthy: Duration::from_millis(2000),
    gathering: Duration::ZERO,
};

/// First probes come fifty a second, so two hundred are together after some four seconds, which leaves them as many.
const CROWD_PACE: Pace = Pace {
    interval: Duration::from_secs(10),
    timeout: Duration::from_secs(9),
    // One thread has all of them to answer.
    quick: Duration::from_secs(3),
    rounds: 1,
    healthy: Duration::from_secs(4),
    gathering: Duration::from_secs(6),
};

/// The exporter and the endpoints.
pub(crate) struct Estate<'a> {
    pub(crate) exporter: Server,
    rows: &'a [Row],
    hostile: usize,
    pace: &'a Pace,
    gate: Arc<Gate>,
    standing: u64,
    _endpoints: Peer,
}

impl<'a> Estate<'a> {
    /// `hostile` targets, whose rows go round, each at a loopback address of its own: by that the endpoint knows what it is.
    pub(crate) fn start(rows: &'a [Row], hostile: usize, pace: &'a Pace) -> Self {
        let table: Vec<Serve> = rows.iter().map(|row| Arc::clone(&row.serve)).collect();
        let honest = honest();
        let gate = Arc::new(Gate::new(pace.gathering));
        let passing = Arc::clone(&gate);
        let endpoints = Peer::on(Ipv4Addr::UNSPECIFIED, move |client: TcpStream| {
            let number = number_of(client.local_addr()?)?;
            if number >= hostile {
                return honest(client);
            }
            passing.pass(number);
            table[number % table.len()](client)
        });
        let names = (0..hostile + HEALTHY).map(|number| target(rows, hostile, number));
        let milliseconds = |time: Duration| format!("{}ms", time.as_millis());
        let targets = names.enumerate().map(|(number, name)| {
            let (interval, timeout) = pace.of(number < hostile);
            let address = format!("{}:{}", address_of(number), endpoints.port);
            json!({ "name": name, "address": address, "interval": milliseconds(interval), "timeout": milliseconds(timeout) })
        });
        let targets: Vec<Value> = targets.collect();
        // Whose chains are judged are judged by somebody.
        let mut root = NamedTempFile::new().unwrap();
        root.write_all(authority().as_bytes()).unwrap();
        let config = json!({
            "trust": { "system_roots": false, "ca_files": [root.path()] },
            "probe": {
                "connect_timeout": "1s",
                // Each probe asks for the challenge, and none is confirmed: every probe counts as a round.
                "challenge_interval": "1s",
                "confirm_after": "1h",
                "survey_interval": "0s",
                "companion_ports": [],
            },
            "targets": targets,
        });
        let exporter = serve_with(&config, &["--web.max-requests=400"]);
        let standing = peak_memory(&exporter);
        Self { exporter, rows, hostile, pace, gate, standing, _endpoints: endpoints }
    }

    /// Scrapes until every target was probed so often, and keeps what was seen.
    pub(crate) fn watch(&self) -> Watched {
        self.watch_beside(Waits::of(&self.exporter))
    }

    /// The same where the machine's waits were looked at before.
    pub(crate) fn watch_beside(&self, waits: Waits) -> Watched {
        let mut watched = Watched { slowest: BTreeMap::new(), most_in_flight: 0.0, waits, text: String::new() };
        let deadline = Instant::now() + self.pace.interval * (self.pace.rounds + 2) * 3;
        loop {
            watched.waits.look();
            let are_together = self.gate.count() == self.hostile;
            watched.text = scrape(&self.exporter);
            let samples = Samples::parse(&watched.text);
            watched.most_in_flight = watched.most_in_flight.max(samples.value("rdp_exporter_probes_in_flight"));
            if are_together {
                self.gate.open();
            }
            for sample in samples.all("rdp_probe_duration_seconds", &[]) {
                let slowest = watched.slowest.entry(sample.labels["target"].clone()).or_default();
                *slowest = sample.value.max(*slowest);
            }
            let probes = probes(&samples);
            let count = |name: &String| probes.get(name.as_str()).map_or(0.0, |by| by.values().sum::<f64>());
            let counts = || self.names().map(|(number, name)| (number < self.hostile, count(&name)));
            let rounds = f64::from(self.pace.rounds);
            // Who loses turns is not waited for: the others go on, and that is told apart afterwards.
            let left_behind = counts().any(|(is_hostile, count)| is_hostile && count >= rounds + 3.0);
            if counts().all(|(_, count)| count >= rounds) || left_behind {
                return watched;
            }
            assert!(Instant::now() < deadline, "{rounds} probes of each target: {probes:#?}");
            thread::sleep(LOOK.max(self.pace.interval / 20));
        }
    }

    /// The row of a target, none for a healthy one.
    fn row(&self, number: usize) -> Option<&Row> {
        (number < self.hostile).then(|| &self.rows[number % self.rows.len()])
    }

    fn names(&self) -> impl Iterator<Item = (usize, String)> {
        (0..self.hostile + HEALTHY).map(|number| (number, target(self.rows, self.hostile, number)))
    }
}

/// What was seen of an estate.
pub(crate) struct Watched {
    slowest: BTreeMap<String, f64>,
    most_in_flight: f64,
    waits: Waits,
    pub(crate) text: String,
}

impl Watched {
    /// Everything that must hold.
    #[track_caller]
    pub(crate) fn check(&self, estate: &Estate<'_>) {
        self.check_beside(0, estate);
    }

    /// The same beside so many probes on demand, each of which a probe of the schedule may have waited for.
    #[track_caller]
    pub(crate) fn check_beside(&self, on_demand: u32, estate: &Estate<'_>) {
        let samples = Samples::parse(&self.text);
        let noise = self.waits.most_within(estate.pace.interval).as_secs_f64();
        if estate.pace.gathering > Duration::ZERO {
            let most = self.most_in_flight;
            // They come within four seconds, and wait for six.
            let are_together = most >= estate.hostile as f64 * 0.95 || noise > 1.5;
            assert!(are_together, "no more than {most} probes were under way at once; noise {noise:.3}");
        }
        self.check_verdicts(estate, &samples, noise);
        self.check_times(estate, noise);
        self.check_ends(estate, noise);
        self.check_pace(estate, &samples, (noise, on_demand));
        check_memory(estate, noise);
        assert_eq!(promtool_objections(&self.text), Vec::<String>::new());
        let log = estate.exporter.log();
        assert!(!log.contains("panicked"), "{log}");
    }

    /// Each probe of each target came to the right verdict, and what its row says holds. Where the machine stood still for
    /// most of a probe's time, silence is what was seen: then the right verdict must be among others that say so.
    #[track_caller]
    fn check_verdicts(&self, estate: &Estate<'_>, samples: &Samples, noise: f64) {
        let probes = probes(samples);
        let mut wrong = Vec::new();
        for (number, name) in estate.names() {
            let right = estate.row(number).map_or(&["healthy"][..], |row| row.verdicts);
            let found = &probes[name.as_str()];
            let (_, timeout) = estate.pace.of(number < estate.hostile);
            let stood_still = noise > timeout.as_secs_f64() / 2.0;
            let is_right = |verdict: &&str| right.contains(verdict);
            let is_excused = |verdict: &&str| stood_still && verdict.ends_with("_timeout");
            if !found.keys().any(is_right) || !found.keys().all(|verdict| is_right(verdict) || is_excused(verdict)) {
                wrong.push(format!("{name}: {found:?}, not {right:?}"));
            }
        }
        assert!(wrong.is_empty(), "wrong verdicts, noise {noise:.3} s:\n{}", wrong.join("\n"));
        let never_began = |row: &&Row| row.attacks.as_ref().is_some_and(|count| count.load(Ordering::SeqCst) == 0);
        let spared: Vec<&str> = estate.rows.iter().filter(never_began).map(|row| row.name.as_str()).collect();
        assert!(spared.is_empty(), "attacks that never began: {spared:?}");
        for (number, name) in estate.names() {
            if let Some(check) = estate.row(number).and_then(|row| row.check.as_ref()) {
                // What fails there does not know whose it is.
                eprintln!("what the row of {name} says:");
                check(&Facts { samples, target: &name });
            }
        }
    }

    /// No probe took more than its time and a tenth of a second; and none that had its answer before took long.
    #[track_caller]
    fn check_times(&self, estate: &Estate<'_>, noise: f64) {
        let mut wrong = Vec::new();
        for (number, name) in estate.names() {
            let timeout = estate.pace.of(number < estate.hostile).1.as_secs_f64();
            let took = self.slowest[&name];
            let lasts = estate.row(number).is_some_and(|row| row.lasts);
            let waited = estate.gate.waited(number).as_secs_f64();
            let quick = estate.pace.quick.as_secs_f64().min(timeout * 0.95);
            let most = if lasts { timeout + 0.1 } else { waited + quick } + noise;
            if took > most || (lasts && took < timeout * 0.9) {
                wrong.push(format!("{name}: {took:.3} s of {timeout:.3} s"));
            }
        }
        assert!(wrong.is_empty(), "probes out of time, {noise:.3} s without a processor:\n{}", wrong.join("\n"));
    }

    /// Nobody is kept connected for longer than a probe's time and a moment; and who has said what there is to say
    /// not even so long, however much of the time is left.
    #[track_caller]
    fn check_ends(&self, estate: &Estate<'_>, noise: f64) {
        let mut wrong = Vec::new();
        for row in estate.rows {
            let Some(kept) = &row.kept else { continue };
            let kept = Duration::from_micros(kept.load(Ordering::SeqCst)).as_secs_f64();
            let Pace { timeout, quick, .. } = estate.pace;
            let most = if row.lasts { *timeout + CLOSING } else { *quick }.as_secs_f64() + noise;
            if kept == 0.0 || kept > most {
                wrong.push(format!("{}: {kept:.3} s, not {most:.3} s", row.name));
            }
        }
        assert!(wrong.is_empty(), "connections kept too long, {noise:.3} s without a processor:\n{}", wrong.join("\n"));
    }

    /// Nobody loses a turn, neither the healthy nor the hostile; and every probe begins in time.
    #[track_caller]
    fn check_pace(&self, estate: &Estate<'_>, samples: &Samples, (noise, on_demand): (f64, u32)) {
        let probes = probes(samples);
        let count = |name: &str| probes[name].values().sum::<f64>();
        for is_hostile in [true, false] {
            let names = || estate.names().filter(|(number, _)| (*number < estate.hostile) == is_hostile);
            let most = names().map(|(_, name)| count(&name)).fold(0.0, f64::max);
            // One less where its turn comes later in the interval, one more where this machine stood still.
            let least = most - if noise > 0.3 { 2.0 } else { 1.0 };
            let late: Vec<_> = names().filter(|(_, name)| count(name) < least).collect();
            assert!(late.is_empty(), "fewer than {least} of {most} probes: {late:?}");
        }
        let bound = DELAYS.into_iter().find(|bound| *bound >= 0.1 + noise).unwrap_or(10.0);
        let within =
            samples.get("rdp_exporter_probe_start_delay_seconds_bucket", &[("le", &bound.to_string())]).unwrap();
        let all = samples.value("rdp_exporter_probe_start_delay_seconds_count");
        assert!(within + f64::from(on_demand) >= all * 0.99, "{within} of {all} probes began within {bound} s");
    }
}

/// The exporter never had more than there is reason for, and as much as it has to hold.
#[track_caller]
fn check_memory(estate: &Estate<'_>, noise: f64) {
    let grown = peak_memory(&estate.exporter).saturating_sub(estate.standing);
    let ticks = estate.exporter.processor_ticks();
    eprintln!("{} hostile: grown {} KiB, noise {noise:.3}, ticks {ticks}", estate.hostile, grown / 1024);
    let hostile = || (0..estate.hostile).filter_map(|number| estate.row(number));
    let least = hostile().map(|row| row.holds.0).sum::<usize>() as u64;
    // No more of them are ever under way at once.
    let held = hostile().take(CROWD).map(|row| row.holds.1.max(MESSAGE)).sum::<usize>() as u64;
    let most = GROWTH + GROWTH_A_TARGET * (estate.hostile + HEALTHY) as u64 + held;
    assert!(
        (least..=most).contains(&grown),
        "{} KiB more than the standing {} KiB, not {} to {} KiB",
        grown / 1024,
        estate.standing / 1024,
        least / 1024,
        most / 1024
    );
}

/// How often each target was probed, by verdict.
fn probes(samples: &Samples) -> BTreeMap<&str, BTreeMap<&str, f64>> {
    let mut probes: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
    for sample in samples.all("rdp_probes_total", &[]) {
        let by_verdict = probes.entry(sample.labels["target"].as_str()).or_default();
        by_verdict.insert(sample.labels["verdict"].as_str(), sample.value);
    }
    probes
}

/// The name of a target. The healthy ones are strewn among the hostile ones, as first probes go by the order of names.
fn target(rows: &[Row], hostile: usize, number: usize) -> String {
    match number < hostile {
        true => format!("{} #{}", rows[number % rows.len()].name, number / rows.len()),
        false => format!("healthy #{}", number - hostile),
    }
}

fn address_of(number: usize) -> Ipv4Addr {
    let [_, high, middle, low] = u32::try_from(number + 1).unwrap().to_be_bytes();
    Ipv4Addr::new(127, 1 + high, middle, low)
}

fn number_of(address: SocketAddr) -> io::Result<usize> {
    let SocketAddr::V4(address) = address else { return Err(io::Error::other("IPv6")) };
    let [_, high, middle, low] = address.ip().octets();
    let number = u32::from_be_bytes([0, high - 1, middle, low]);
    usize::try_from(number - 1).map_err(io::Error::other)
}

const HEALTHY: usize = 20;
const CROWD: usize = 200;
/// Between two scrapes: each probe's time is seen.
const LOOK: Duration = Duration::from_millis(400);
/// Bounds of the histogram of start delays.
const DELAYS: [f64; 7] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// What a close may take beyond a probe's time, and what it takes an endpoint to notice.
const CLOSING: Duration = Duration::from_millis(150);
/// What the process may grow by, whoever it talks to; and for what it knows of each target afterwards.
const GROWTH: u64 = 8 << 20;
const GROWTH_A_TARGET: u64 = 8 << 10;
/// And for each hostile one while it is probed: a message of TLS, unless its row says more.
const MESSAGE: usize = 64 << 10;
