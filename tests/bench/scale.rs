//! How it scales: twenty thousand targets, thousands of them silent, and what a target costs among few and among many.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use crate::{
    estate::Estate,
    exporter::{Exporter, expect_healthy, sum, targets, value},
    goals::Goals,
    usage::{Stretch, peak_mib, resident_mib},
    watch::Watch,
};

pub(crate) fn measure(goals: &mut Goals) {
    let estate = Estate::start(&["tls", "nla", "silent"], 16, 1);
    many(&estate, goals);
    flat(&estate, goals);
    held(&estate, goals);
    idle(&estate, goals);
}

/// Twenty thousand a minute, alone, then beside five thousand that are silent for ten seconds each.
fn many(estate: &Estate, goals: &mut Goals) {
    let healthy = targets("t", MANY, estate.of("tls"));
    let config = minutely(14, &healthy);
    let (exporter, ready) = Exporter::start(&config, None);
    let alone = Watched::of(&exporter);
    let reloaded = reloaded(&exporter, &healthy);
    drop(exporter);
    let beside = {
        let silent = targets("silent", MANY / 4, estate.of("silent"));
        let (exporter, _) = Exporter::start(&minutely(14, &among(&healthy, &silent)), None);
        Watched::of(&exporter)
    };
    let ready = ready.as_secs_f64();
    println!("{MANY} targets at 60 s; ready after {ready:.2} s   {}", goals.at_most("ready", ready, 1.0));
    print_both(&alone, &beside, goals);
    let goal = goals.at_most("memory after reloads", reloaded, MOST_MIB);
    println!("  resident memory after three reloads of all settings (MiB)   {reloaded:.1}   {goal}");
    let filled = filled(&healthy);
    let goal = goals.at_most("memory with full histories", filled, MOST_MIB);
    println!("  resident memory where histories are full (MiB)              {filled:.1}   {goal}");
    let challenged = challenged(estate);
    let goal = goals.at_most("memory with challenges", challenged, MOST_MIB);
    println!("  resident memory where challenges are read (MiB)             {challenged:.1}   {goal}");
}

/// What was seen of them alone, and beside silent ones.
fn print_both(alone: &Watched, beside: &Watched, goals: &mut Goals) {
    println!("                                 alone   beside 5,000 silent ones");
    let row = |name: &str, read: fn(&Watched) -> f64, goal: &str| {
        println!("  {name:<28} {:>9.3} {:>9.3}   {goal}", read(alone), read(beside));
    };
    let late = f64::max(alone.late_p99, beside.late_p99);
    goals.at_most("begun later beside silent ones (s)", beside.late_p99 - alone.late_p99, 0.05);
    row("begun late, p99 (s, at most)", |watched| watched.late_p99, &goals.at_most("begun late", late, 1.0));
    let least = f64::min(alone.rate, beside.rate);
    let owed = MANY as f64 / 60.0 * 0.98;
    row("probes of them a second", |watched| watched.rate, &goals.at_least("probes a second", least, owed.floor()));
    row("under way at the end", |watched| watched.in_flight, "");
    goals.at_least("under way beside silent ones", beside.in_flight, 700.0);
    row("processor (cores)", |watched| watched.cores, &goals.at_most("processor", alone.cores, 0.5));
    row("resident memory (MiB)", |watched| watched.resident, &goals.at_most("memory", alone.resident, MOST_MIB));
    row("at its peak (MiB)", |watched| watched.peak, "");
    let goal = goals.at_most("mean beside silent ones / alone", beside.mean_ms / alone.mean_ms, NOISE);
    row("healthy probe, mean (ms)", |watched| watched.mean_ms, &format!("beside / alone, {goal}"));
    // A wait for a silent one would be seconds long; that there is a quarter more to do is to be seen.
    let goal = goals.at_most("p99 beside silent ones, more than alone (ms)", beside.p99_ms - alone.p99_ms, 5.0);
    row("healthy probe, p99 (ms)", |watched| watched.p99_ms, &format!("more beside than alone, {goal}"));
}

/// These targets once a minute; how many days of a certificate are expected is a setting of all of them.
fn minutely(days: u32, targets: &str) -> String {
    format!(
        "probe: {{ interval: 60s, timeout: 10s, survey_interval: 0s }}\n\
         modules: {{ default: {{ expect: {{ certificate_days: {days} }} }} }}\ntargets:\n{targets}"
    )
}

/// One of `others` after each four of `targets`: first probes come in their order, so they are under way all the time.
fn among(targets: &str, others: &str) -> String {
    let targets: Vec<&str> = targets.lines().collect();
    targets.chunks(4).zip(others.lines()).map(|(four, other)| format!("{}\n{other}\n", four.join("\n"))).collect()
}

/// Resident memory once all targets had other settings three times, in MiB.
fn reloaded(exporter: &Exporter, targets: &str) -> f64 {
    (15..18).for_each(|days| exporter.reload(&minutely(days, targets)));
    thread::sleep(Duration::from_secs(20));
    resident_mib(exporter.id)
}

/// Resident memory once sixty probes of each target are remembered, in MiB: an hour's, made at a quicker pace.
fn filled(targets: &str) -> f64 {
    let config = format!("probe: {{ interval: 10s, timeout: 5s, survey_interval: 0s }}\ntargets:\n{targets}");
    let (exporter, _) = Exporter::start(&config, None);
    thread::sleep(Duration::from_secs(625));
    exporter.reload(&minutely(14, targets));
    thread::sleep(Duration::from_secs(75));
    expect_healthy(&exporter.scrape());
    resident_mib(exporter.id)
}

/// Resident memory after a round of as many targets that have a challenge, each asked for it once, in MiB.
fn challenged(estate: &Estate) -> f64 {
    let (exporter, _) = Exporter::start(&minutely(14, &targets("n", MANY, estate.of("nla"))), None);
    thread::sleep(Duration::from_secs(75));
    let text = exporter.scrape();
    let known = text.lines().filter(|line| line.starts_with("rdp_server_info{")).count();
    assert!(known >= MANY * 99 / 100, "the challenge was read of {known} targets");
    resident_mib(exporter.id)
}

/// What was seen of an exporter over one of its rounds.
struct Watched {
    late_p99: f64,
    rate: f64,
    in_flight: f64,
    cores: f64,
    resident: f64,
    peak: f64,
    mean_ms: f64,
    p99_ms: f64,
}

impl Watched {
    fn of(exporter: &Exporter) -> Self {
        // The first round, in which everything is new.
        thread::sleep(Duration::from_secs(75));
        for _ in 1..TRIES {
            let watch = Watch::begin();
            let watched = Self::in_a_round(exporter);
            // Where this machine stood still, it is not the exporter that was late.
            if watch.stood_still() < NO_STANDSTILL {
                return watched;
            }
        }
        Self::in_a_round(exporter)
    }

    fn in_a_round(exporter: &Exporter) -> Self {
        let (begun, text) = (Instant::now(), exporter.scrape());
        let (before, done) = (Delays::of(&text), sum(&text, OF_HEALTHY));
        let stretch = Stretch::begin(exporter.id);
        thread::sleep(Duration::from_secs(60));
        let (processor, seconds) = stretch.end();
        let (took, text) = (begun.elapsed().as_secs_f64(), exporter.scrape());
        expect_healthy(&text);
        let mut durations: Vec<f64> = text
            .lines()
            .filter(|line| line.starts_with("rdp_probe_duration_seconds{target=\"t"))
            .map(|line| value(line) * 1000.0)
            .collect();
        durations.sort_by(f64::total_cmp);
        Self {
            late_p99: Delays::of(&text).since(&before).quantile(0.99),
            rate: (sum(&text, OF_HEALTHY) - done) / took,
            in_flight: sum(&text, "rdp_exporter_probes_in_flight "),
            cores: processor / seconds,
            resident: resident_mib(exporter.id),
            peak: peak_mib(exporter.id),
            mean_ms: durations.iter().sum::<f64>() / durations.len() as f64,
            p99_ms: durations[durations.len() * 99 / 100],
        }
    }
}

/// The histogram of how late probes began: cumulative counts by upper bound.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delays(BTreeMap<u64, f64>);

impl Delays {
    pub(crate) fn of(text: &str) -> Self {
        let bucket = |line: &str| {
            let bound = line.strip_prefix("rdp_exporter_probe_start_delay_seconds_bucket{le=\"")?.split('"').next()?;
            let millis = if bound == "+Inf" { f64::from(u32::MAX) } else { bound.parse::<f64>().ok()? * 1000.0 };
            Some((millis as u64, value(line)))
        };
        Self(text.lines().filter_map(bucket).collect())
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        let count = |bound: &u64| before.0.get(bound).copied().unwrap_or(0.0);
        Self(self.0.iter().map(|(bound, after)| (*bound, after - count(bound))).collect())
    }

    /// The upper bound of the bucket in which that share lies, in seconds.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let all = self.0.values().copied().fold(0.0, f64::max);
        let bound = self.0.iter().find(|(_, count)| **count >= share * all).map_or(u64::MAX, |(bound, _)| *bound);
        bound as f64 / 1000.0
    }

    /// How many began later than that.
    pub(crate) fn later_than(&self, millis: u64) -> f64 {
        self.0.values().copied().fold(0.0, f64::max) - self.0[&millis]
    }
}

/// The same number of probes a second of a hundred targets and of twenty thousand.
fn flat(estate: &Estate, goals: &mut Goals) {
    println!("\nthe same 333 probes a second, by how many targets there are (processor seconds per 1,000 probes)");
    let costs = [100, 1000, 5000, MANY].map(|count| {
        let interval = count as f64 / 333.3;
        let timeout = (interval * 0.8).min(5.0);
        let config = format!(
            "probe: {{ interval: {:.0}ms, timeout: {:.0}ms, survey_interval: 0s }}\ntargets:\n{}",
            interval * 1000.0,
            timeout * 1000.0,
            targets("t", count, estate.of("tls"))
        );
        let (exporter, _) = Exporter::start(&config, None);
        thread::sleep(Duration::from_secs_f64(interval.max(4.0) * 1.2));
        let (begun, done) = (Instant::now(), exporter.probes());
        let stretch = Stretch::begin(exporter.id);
        thread::sleep(Duration::from_secs(30));
        let (processor, seconds) = stretch.end();
        let (took, text) = (begun.elapsed().as_secs_f64(), exporter.scrape());
        // With so short a timeout as a hundred of them have, not all are where this machine stands still for a moment.
        let is_healthy = |line: &&str| line.starts_with(OF_HEALTHY) && line.contains("verdict=\"healthy\"");
        let healthy = text.lines().filter(is_healthy).map(value).sum::<f64>() / sum(&text, OF_HEALTHY);
        goals.at_least("healthy share of the probes", healthy, 0.98);
        let done = sum(&text, OF_HEALTHY) - done;
        let resident = resident_mib(exporter.id);
        let cost = (processor / seconds) / (done / took) * 1000.0;
        println!("  {count:>6} targets  {cost:.3}   {resident:.1} MiB");
        cost
    });
    let growth = costs[3] / costs[0];
    println!(
        "  the last / the first  {growth:.2}   {}",
        goals.at_most("cost with many targets / with few", growth, NOISE)
    );
}

/// Five hundred probes at once, each held by a silent server.
fn held(estate: &Estate, goals: &mut Goals) {
    let config = format!(
        "probe: {{ interval: 60s, timeout: 20s, survey_interval: 0s, companion_ports: [] }}\ntargets:\n{}",
        targets("silent", 500, estate.of("silent"))
    );
    let (exporter, _) = Exporter::start(&config, None);
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut most = 0.0;
    while Instant::now() < deadline && most < 500.0 {
        thread::sleep(Duration::from_millis(500));
        most = f64::max(most, exporter.in_flight());
    }
    goals.at_least("probes held at once", most, 500.0);
    let peak = peak_mib(exporter.id);
    let goal = goals.at_most("memory of 500 probes at once (MiB)", peak, 25.0);
    println!("\n{most} probes at once, held by a silent server: {peak:.1} MiB   {goal}");
}

fn idle(estate: &Estate, goals: &mut Goals) {
    let config = format!("targets:\n{}", targets("t", 10, estate.of("tls")));
    let (exporter, _) = Exporter::start(&config, None);
    thread::sleep(Duration::from_secs(30));
    expect_healthy(&exporter.scrape());
    let resident = resident_mib(exporter.id);
    println!("10 targets, idle: {resident:.1} MiB   {}", goals.at_most("memory of 10 targets (MiB)", resident, 12.0));
}

const MANY: usize = 20_000;
/// What so many may keep resident, in MiB.
const MOST_MIB: f64 = 150.0;
/// Rounds that are watched at most.
const TRIES: usize = 3;
/// A machine that stood still no longer than that did not.
const NO_STANDSTILL: Duration = Duration::from_millis(100);
/// The counters of those that are to be healthy.
const OF_HEALTHY: &str = "rdp_probes_total{target=\"t";
/// By how much two stretches of the same may differ.
const NOISE: f64 = 1.25;
