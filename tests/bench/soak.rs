//! An hour at two thousand probes a second, a tenth of them of targets with a fault, a reload a minute: nothing grows, and
//! no probe is lost. It fails where that is not so; what grows is looked at from half an hour on.

use std::{
    collections::BTreeMap,
    env, thread,
    time::{Duration, Instant},
};

use crate::{
    estate::Estate,
    exporter::{Exporter, sum, targets, value},
    goals::Goals,
    harness::process::status,
    usage::{Stretch, descriptors, least, median, most, resident_mib},
};

/// How many targets there are of each kind, and the only verdict that each of them may have.
const KINDS: [(&str, usize, &str); 13] = [
    ("tls", 14_000, "healthy"),
    ("nla", 4_000, "healthy"),
    ("closed", 200, "connect_refused"),
    ("hangs_up", 250, "closed_after_request"),
    ("silent", 100, "negotiation_timeout"),
    ("stalls", 100, "tls_timeout"),
    ("http", 300, "not_rdp"),
    ("wrong_length", 250, "protocol_error"),
    ("no_certificate", 250, "no_certificate"),
    ("cut", 250, "tls_reset"),
    ("alert", 250, "tls_alert"),
    ("legacy", 25, "healthy"),
    ("slow", 25, "healthy"),
];
const INTERVAL: f64 = 10.0;
/// From so many minutes on, nothing may grow any more in the second half.
const LONG: usize = 30;
/// By how much the least of descriptors and tasks may differ between two quarters.
const SLACK: f64 = 50.0;

pub(crate) fn measure(_: &mut Goals) {
    let minutes: f64 = env::var("SOAK_MINUTES").map_or(60.0, |minutes| minutes.parse().unwrap());
    let kinds: Vec<&str> = KINDS.iter().map(|(kind, ..)| *kind).collect();
    let estate = Estate::start(&kinds, 16, 1);
    let (exporter, _) = Exporter::start(&config(&estate, 0), None);
    let count: usize = KINDS.iter().map(|(_, count, _)| count).sum();
    println!("{count} targets at {INTERVAL} s for {minutes} minutes, reloaded each minute");
    println!("minute  probes/s  cores  resident MiB  descriptors  threads  tasks  in flight");
    thread::sleep(Duration::from_secs(60));

    let (mut rounds, mut looks) = (0, Vec::new());
    let first = Counts::of(&exporter.scrape());
    let begun = Instant::now();
    let mut last = first.clone();
    while begun.elapsed().as_secs_f64() < minutes * 60.0 {
        let stretch = Stretch::begin(exporter.id);
        rounds += 1;
        exporter.reload(&config(&estate, rounds));
        let due = begun + Duration::from_secs(60 * rounds);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let now = Counts::of(&exporter.scrape());
        let look = Look::of(&exporter, &now, &last, stretch.end());
        println!("{rounds:>6}  {look}");
        looks.push(look);
        last = now;
    }
    conclude(&looks, &first, &last);
}

/// What is to be true at the end.
fn conclude(looks: &[Look], first: &Counts, last: &Counts) {
    let expected = (last.at - first.at).as_secs_f64() / INTERVAL * last.targets;
    let done = last.probes - first.probes;
    println!(
        "\nprobes run {done}, intervals elapsed x targets {expected:.0}: {:+.4} %   goal: within 0.1 %",
        (done / expected - 1.0) * 100.0
    );
    let (_, second) = looks.split_at(looks.len() / 2);
    let (third, fourth) = second.split_at(second.len() / 2);
    let row = |name: &str, read: fn(&Look) -> f64| -> Row {
        let middle = |looks: &[Look]| median(&looks.iter().map(read).collect::<Vec<_>>());
        let all: Vec<f64> = second.iter().map(read).collect();
        let row = Row { third: middle(third), fourth: middle(fourth), least: least(&all), most: most(&all) };
        println!(
            "  {name:<20} third quarter {:>8.1}, fourth {:>8.1} (second half: {:.1} to {:.1})",
            row.third, row.fourth, row.least, row.most
        );
        row
    };
    let resident = row("resident MiB", |look| look.resident);
    row("descriptors", |look| look.descriptors);
    let threads = row("threads", |look| look.threads);
    row("tasks", |look| look.tasks);
    assert!((done / expected - 1.0).abs() <= 0.001, "{done} probes, {expected:.0} were owed");
    // A short one fills histories.
    if looks.len() >= LONG {
        assert!(threads.least == threads.most, "threads changed in the second half: {threads:?}");
        assert!(resident.fourth <= resident.third * 1.02, "resident memory grew by more than 2 %: {resident:?}");
        // They come and go with the probes; what stays open lifts the least of them.
        let stays = |name: &str, read: fn(&Look) -> f64| {
            let [before, after] = [third, fourth].map(|looks| least(&looks.iter().map(read).collect::<Vec<_>>()));
            assert!(after <= before + SLACK, "{name} grew: at least {before}, then at least {after}");
        };
        stays("descriptors", |look| look.descriptors);
        stays("tasks", |look| look.tasks);
    }
    check_kinds(expected / last.targets, first, last);
}

/// Each kind had its verdict, and nothing else, and all its probes in so many rounds.
fn check_kinds(rounds: f64, first: &Counts, last: &Counts) {
    for (kind, count, verdict) in KINDS {
        let seen: Vec<&String> = last.by_kind[kind].keys().collect();
        assert_eq!(seen, [verdict], "verdicts of the targets that are {kind}");
        let done = last.by_kind[kind][verdict] - first.by_kind[kind][verdict];
        let owed = rounds * count as f64;
        // One more or one less of each is where the minute was cut.
        let is_owed = (done - owed).abs() <= owed * 0.001 + count as f64;
        assert!(is_owed, "{done} probes of those that are {kind}, {owed:.0} were owed");
    }
}

/// The configuration of that minute: the labels change, the targets stay.
fn config(estate: &Estate, round: u64) -> String {
    let mut yaml = format!(
        "probe: {{ interval: {INTERVAL}s, confirm_after: {INTERVAL}s, timeout: 4s, survey_interval: 0s, challenge_interval: 5m }}\n\
         modules: {{ default: {{ expect: {{ certificate_days: {} }} }} }}\ntargets:\n",
        14 + round % 7
    );
    for (kind, count, _) in KINDS {
        yaml += &targets(kind, count, estate.of(kind));
    }
    yaml
}

/// What the counters said at one time.
#[derive(Clone)]
struct Counts {
    at: Instant,
    targets: f64,
    probes: f64,
    tasks: f64,
    in_flight: f64,
    by_kind: BTreeMap<&'static str, BTreeMap<String, f64>>,
}

impl Counts {
    fn of(text: &str) -> Self {
        let mut by_kind: BTreeMap<&'static str, BTreeMap<String, f64>> = BTreeMap::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("rdp_probes_total{target=\"")) {
            let (kind, ..) = *KINDS.iter().find(|(kind, ..)| line.starts_with(kind)).unwrap();
            let verdict = line.split("verdict=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            *by_kind.entry(kind).or_default().entry(verdict.to_owned()).or_default() += value(line);
        }
        Self {
            at: Instant::now(),
            targets: sum(text, "rdp_exporter_targets "),
            probes: sum(text, "rdp_probes_total{"),
            tasks: sum(text, "rdp_exporter_tasks "),
            in_flight: sum(text, "rdp_exporter_probes_in_flight "),
            by_kind,
        }
    }
}

/// What was seen in the second half: the medians of its quarters, and its extremes.
#[derive(Debug)]
struct Row {
    third: f64,
    fourth: f64,
    least: f64,
    most: f64,
}

/// What one minute looked like.
struct Look {
    rate: f64,
    cores: f64,
    resident: f64,
    descriptors: f64,
    threads: f64,
    tasks: f64,
    in_flight: f64,
}

impl Look {
    fn of(exporter: &Exporter, now: &Counts, before: &Counts, (processor, seconds): (f64, f64)) -> Self {
        Self {
            rate: (now.probes - before.probes) / (now.at - before.at).as_secs_f64(),
            cores: processor / seconds,
            resident: resident_mib(exporter.id),
            descriptors: descriptors(exporter.id) as f64,
            threads: status(exporter.id, "Threads") as f64,
            tasks: now.tasks,
            in_flight: now.in_flight,
        }
    }
}

impl std::fmt::Display for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:>8.1}  {:>5.2}  {:>12.1}  {:>11}  {:>7}  {:>5}  {:>9}",
            self.rate, self.cores, self.resident, self.descriptors, self.threads, self.tasks, self.in_flight
        )
    }
}
