//! How it scales: twenty thousand targets, thousands of them silent, and what a target costs among few and among many.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use crate::{
    estate::Estate,
    exporter::{Exporter, targets},
    usage::{Stretch, peak_mib, resident_mib},
};

pub(crate) fn measure() {
    let estate = Estate::start(&["tls", "nla", "silent"], 16, 1);
    many(&estate);
    flat(&estate);
    held(&estate);
    idle(&estate);
}

/// Twenty thousand a minute, alone, then beside five thousand that are silent for ten seconds each.
fn many(estate: &Estate) {
    let healthy = targets("t", MANY, estate.of("tls"));
    let config = minutely(14, &healthy);
    let (exporter, ready) = Exporter::start(&config, None);
    let alone = Watched::of(&exporter);
    let reloaded = reloaded(&exporter, &healthy);
    drop(exporter);
    let beside = {
        let config = format!("{config}{}", targets("silent", 5000, estate.of("silent")));
        let (exporter, _) = Exporter::start(&config, None);
        Watched::of(&exporter)
    };
    println!("{MANY} targets at 60 s; ready after {:.2} s   goal: at most 1 s", ready.as_secs_f64());
    println!("                                 alone   beside 5,000 silent ones");
    let row = |name: &str, read: fn(&Watched) -> f64, goal: &str| {
        println!("  {name:<28} {:>9.3} {:>9.3}   {goal}", read(&alone), read(&beside));
    };
    row("begun late, p99 (s, at most)", |watched| watched.late_p99, "goal: at most 1");
    row("probes a second", |watched| watched.rate, "");
    row("processor (cores)", |watched| watched.cores, "goal: at most 0.5");
    row("resident memory (MiB)", |watched| watched.resident, "goal: at most 150");
    row("at its peak (MiB)", |watched| watched.peak, "");
    row("healthy probe, mean (ms)", |watched| watched.mean_ms, "goal: the same");
    row("healthy probe, p99 (ms)", |watched| watched.p99_ms, "goal: the same");
    println!("  resident memory after three reloads of all settings (MiB)   {reloaded:.1}   goal: at most 150");
    let challenged = challenged(estate);
    println!("  resident memory where challenges are read (MiB)             {challenged:.1}   goal: at most 150");
}

/// These targets once a minute; how many days of a certificate are expected is a setting of all of them.
fn minutely(days: u32, targets: &str) -> String {
    format!(
        "probe: {{ interval: 60s, timeout: 10s, survey_interval: 0s }}\n\
         modules: {{ default: {{ expect: {{ certificate_days: {days} }} }} }}\ntargets:\n{targets}"
    )
}

/// Resident memory once all targets had other settings three times, in MiB.
fn reloaded(exporter: &Exporter, targets: &str) -> f64 {
    (15..18).for_each(|days| exporter.reload(&minutely(days, targets)));
    thread::sleep(Duration::from_secs(20));
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
        let before = Delays::of(&exporter.scrape());
        let done = exporter.probes();
        let stretch = Stretch::begin(exporter.id);
        thread::sleep(Duration::from_secs(60));
        let (processor, seconds) = stretch.end();
        let text = exporter.scrape();
        let mut durations: Vec<f64> = text
            .lines()
            .filter(|line| line.starts_with("rdp_probe_duration_seconds{target=\"t"))
            .map(|line| value(line) * 1000.0)
            .collect();
        durations.sort_by(f64::total_cmp);
        Self {
            late_p99: Delays::of(&text).since(&before).quantile(0.99),
            rate: (exporter.probes() - done) / seconds,
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
fn flat(estate: &Estate) {
    println!("\nthe same 333 probes a second, by how many targets there are (processor seconds per 1,000 probes)");
    for count in [100, 1000, 5000, MANY] {
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
        let done = exporter.probes();
        let stretch = Stretch::begin(exporter.id);
        thread::sleep(Duration::from_secs(30));
        let (processor, _) = stretch.end();
        let done = exporter.probes() - done;
        let resident = resident_mib(exporter.id);
        println!("  {count:>6} targets  {:.3}   {resident:.1} MiB", processor / done * 1000.0);
    }
}

/// Five hundred probes at once, each held by a silent server.
fn held(estate: &Estate) {
    let config = format!(
        "probe: {{ interval: 60s, timeout: 20s, survey_interval: 0s, companion_ports: [] }}\ntargets:\n{}",
        targets("silent", 500, estate.of("silent"))
    );
    let (exporter, _) = Exporter::start(&config, None);
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut most = 0.0;
    while Instant::now() < deadline && most < 500.0 {
        thread::sleep(Duration::from_millis(500));
        let text = exporter.scrape();
        let in_flight = text.lines().find(|line| line.starts_with("rdp_exporter_probes_in_flight "));
        most = f64::max(most, in_flight.map_or(0.0, value));
    }
    println!(
        "\n{most} probes at once, held by a silent server: {:.1} MiB   goal: 500, at most 25 MiB",
        peak_mib(exporter.id)
    );
}

fn idle(estate: &Estate) {
    let config = format!("targets:\n{}", targets("t", 10, estate.of("tls")));
    let (exporter, _) = Exporter::start(&config, None);
    thread::sleep(Duration::from_secs(30));
    exporter.scrape();
    println!("10 targets, idle: {:.1} MiB   goal: at most 12 MiB", resident_mib(exporter.id));
}

fn value(line: &str) -> f64 {
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

const MANY: usize = 20_000;
