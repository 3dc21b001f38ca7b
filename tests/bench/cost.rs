//! What a probe costs: the exporter beside the floor and beside blackbox_exporter, at the same pace, each alone on the same
//! processor, in turn; then the exporter and the floor side by side, which tells smaller differences apart. The endpoints have
//! the other one.

use std::{
    fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    estate::{Estate, pinned, stay_on},
    exporter::{Exporter, expect_healthy, targets},
    floor,
    goals::Goals,
    harness::{
        http,
        process::{Process, Server, directory, free_port, require},
    },
    usage::{Stretch, median},
};

pub(crate) const MEASURED: usize = 0;
pub(crate) const OTHERS: usize = 1;
/// Probes a second side by side.
pub(crate) const RATE: f64 = 200.0;
/// The same of the floor.
const RATE_OF_FLOOR: f64 = 193.0;
/// For how long the exporter is measured each time, in seconds, with one scrape in it.
const SECONDS: f64 = 60.0;
/// For how long the others are, which are not scraped.
const SECONDS_OF_OTHERS: f64 = 20.0;
const ROUNDS: usize = 5;
const ROUNDS_SIDE_BY_SIDE: usize = 3;
/// How often a target is probed, in seconds.
const INTERVAL: f64 = 10.0;

pub(crate) fn measure(goals: &mut Goals) {
    assert!(require(&["prometheus-blackbox-exporter"]));
    let estate = Estate::start(&["tls", "plain_tls"], 16, OTHERS);
    println!("processor seconds per 1,000 probes; median of {ROUNDS} rounds (all of them)");
    in_turn(&estate, goals);
    side_by_side(&estate);
}

fn in_turn(estate: &Estate, goals: &mut Goals) {
    for rate in [RATE, 1500.0] {
        let mut rows: [(&str, Vec<f64>); 3] =
            [("floor", Vec::new()), ("rdp_exporter", Vec::new()), ("blackbox_exporter", Vec::new())];
        let mut paces = Vec::new();
        for _ in 0..ROUNDS {
            // Before and after, as within minutes machines drift by more than is to be told apart.
            let before = floor_alone(estate, rate);
            rows[1].1.push(scheduled(estate, rate));
            let after = floor_alone(estate, rate);
            rows[0].1.push(f64::midpoint(before.cost, after.cost));
            paces.extend([before.pace, after.pace]);
            rows[2].1.push(blackbox(estate, rate));
        }
        println!("\n{rate} probes a second");
        for (name, values) in &rows {
            println!("  {name:<18} {:.3}  {values:.3?}", median(values));
        }
        println!("  the floor's pace   {:.0}", median(&paces));
        for (name, other, most) in [("floor", 0, 1.15), ("blackbox", 2, 0.5)] {
            let ratios: Vec<f64> = rows[1].1.iter().zip(&rows[other].1).map(|(ours, theirs)| ours / theirs).collect();
            let ratio = median(&ratios);
            let goal = goals.at_most(&format!("exporter / {name} at {rate} a second"), ratio, most);
            println!("  exporter / {name:<9} {ratio:.3}  {ratios:.3?}   {goal}");
        }
    }
}

fn side_by_side(estate: &Estate) {
    let exporter = Exporter::start(&config_of(estate, RATE), Some(MEASURED)).0;
    thread::sleep(Duration::from_secs_f64(INTERVAL * 1.5));
    let ratios = (0..ROUNDS_SIDE_BY_SIDE).map(|_| beside_floor(estate, exporter.id, SECONDS, || exporter.probes()));
    let ratios: Vec<f64> = ratios.collect();
    println!("\nside by side on one processor, {RATE} and {RATE_OF_FLOOR} probes a second");
    println!("  exporter / floor     {:.3}  {ratios:.3?}", median(&ratios));
}

/// What a probe of `process` costs against one of the floor, both at once on one processor: whatever the machine does to one
/// it does to the other. Their paces differ a little, so that each probe of one meets those of the other at every point in
/// turn. How many `probes` it has made is asked for at the begin and at the end, which may be work of its own.
pub(crate) fn beside_floor(estate: &Estate, process: u32, seconds: f64, probes: impl Fn() -> f64) -> f64 {
    let mut floor = floor_for(estate, RATE_OF_FLOOR, seconds + 5.0).stdout(Stdio::null()).spawn().unwrap();
    thread::sleep(Duration::from_secs(2));
    let before = probes();
    let (ours, theirs) = (Stretch::begin(process), Stretch::begin(floor.id()));
    thread::sleep(Duration::from_secs_f64(seconds));
    let after = probes();
    let ((ours, _), (theirs, took)) = (ours.end(), theirs.end());
    let ratio = (ours / (after - before)) / (theirs / (RATE_OF_FLOOR * took));
    assert!(floor.wait().unwrap().success());
    ratio
}

/// The floor as a process of its own.
fn floor_for(estate: &Estate, rate: f64, seconds: f64) -> Command {
    let mut command = pinned(MEASURED, &std::env::current_exe().unwrap().display().to_string());
    command.args(floor::arguments(rate, seconds, estate.of("tls")));
    command
}

/// What the floor took by itself.
struct Floor {
    /// Processor seconds per 1,000 probes.
    cost: f64,
    /// Probes a second: one blocking thread may not keep a quick pace.
    pace: f64,
}

fn floor_alone(estate: &Estate, rate: f64) -> Floor {
    let command = floor_for(estate, rate, SECONDS_OF_OTHERS);
    // The whole process is measured, as the shell's `time` would.
    let mut time = Command::new("/usr/bin/env");
    time.args(["bash", "-c", "TIMEFORMAT='%U %S'; time \"$@\"", "bash"]);
    time.arg(command.get_program()).args(command.get_args());
    let output = time.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let times: f64 = text.split_whitespace().map(|field| field.parse::<f64>().unwrap()).sum();
    let (probes, seconds) = floor::told(&String::from_utf8_lossy(&output.stdout));
    Floor { cost: times / probes * 1000.0, pace: probes / seconds }
}

/// So many probes a second, each target once in an interval.
fn config_of(estate: &Estate, rate: f64) -> String {
    let targets = targets("t", (rate * INTERVAL) as usize, estate.of("tls"));
    format!("probe: {{ interval: {INTERVAL}s, timeout: 5s, survey_interval: 0s }}\ntargets:\n{targets}")
}

fn scheduled(estate: &Estate, rate: f64) -> f64 {
    let (exporter, _) = Exporter::start(&config_of(estate, rate), Some(MEASURED));
    // The first round fills what is remembered of each target.
    thread::sleep(Duration::from_secs_f64(INTERVAL * 1.5));
    let before = exporter.probes();
    let stretch = Stretch::begin(exporter.id);
    let begun = Instant::now();
    thread::sleep(Duration::from_secs_f64(SECONDS));
    let after = exporter.probes();
    let (processor, _) = stretch.end();
    let done = after - before;
    let expected = rate * begun.elapsed().as_secs_f64();
    assert!((done - expected).abs() < expected * 0.02, "{done} probes instead of {expected}");
    expect_healthy(&exporter.scrape());
    processor / done * 1000.0
}

/// The same certificate by TCP and plain TLS, as far as it can go; asked for by clients on the other processor.
fn blackbox(estate: &Estate, rate: f64) -> f64 {
    let (directory, port) = (directory(), free_port());
    let file = directory.path().join("blackbox.yml");
    fs::write(&file, BLACKBOX).unwrap();
    let mut command = pinned(MEASURED, "prometheus-blackbox-exporter");
    command.args(["--log.level=error".to_owned(), format!("--config.file={}", file.display())]);
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let mut process = Process::start("blackbox_exporter", &command, directory);
    process.wait_until("port", || http::get(port, "/-/healthy").ok());
    let blackbox = Server::of(process, port);
    let urls: Vec<String> = estate
        .of("plain_tls")
        .iter()
        .map(|address| format!("http://127.0.0.1:{port}/probe?module=tls&target={address}"))
        .collect();
    ask(&urls, rate, 5.0);
    let stretch = Stretch::begin(blackbox.id());
    ask(&urls, rate, SECONDS_OF_OTHERS);
    stretch.end().0 / (rate * SECONDS_OF_OTHERS) * 1000.0
}

/// Asks for these in turn, so many a second, over connections that are kept as Prometheus keeps them.
fn ask(urls: &[String], rate: f64, seconds: f64) {
    let (begun, next) = (Instant::now(), AtomicUsize::new(0));
    let count = (rate * seconds) as usize;
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                stay_on(OTHERS);
                let agent = ureq::agent();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let due = begun + Duration::from_secs_f64(number as f64 / rate);
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    let mut answer = agent.get(&urls[number % urls.len()]).call().unwrap();
                    let text = answer.body_mut().read_to_string().unwrap();
                    assert!(text.contains("\nprobe_success 1\n"), "{text}");
                }
            });
        }
    });
}

const CLIENTS: usize = 8;
const BLACKBOX: &str =
    "modules: { tls: { prober: tcp, timeout: 5s, tcp: { tls: true, tls_config: { insecure_skip_verify: true } } } }";
