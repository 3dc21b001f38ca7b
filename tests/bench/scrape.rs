//! What a scrape of twenty thousand targets costs, all their series known, while they go on being probed.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    estate::Estate,
    exporter::{Exporter, targets},
    goals::Goals,
    harness::process::directory,
    scale::Delays,
    usage::{Stretch, forget_peak, median, peak_mib, resident_mib},
    watch::Watch,
};

pub(crate) fn measure(goals: &mut Goals) {
    let estate = Estate::start(&["nla"], 16, 1);
    let directory = directory();
    let file = directory.path().join("state");
    let state_file = file.display().to_string();
    let addresses = targets("t", MANY, estate.of("nla"));
    // What takes days to learn of so many, learnt of a few.
    let few = targets("few", 16, estate.of("nla"));
    learn(&format!("exporter: {{ state_file: {state_file} }}\nprobe: {QUICK}\ntargets:\n{few}"));
    let saved = fs::read_to_string(&file).unwrap();
    fs::write(&file, multiplied(&saved)).unwrap();
    let config = format!("exporter: {{ state_file: {state_file} }}\nprobe: {MINUTE}\ntargets:\n{addresses}");
    let (exporter, _) = Exporter::start(&config, None);
    thread::sleep(Duration::from_secs(70));

    let text = exporter.scrape();
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    let of_one = text.lines().filter(|line| line.contains("target=\"t00007\"")).count();
    let length = text.len();
    println!("{MANY} targets, {series} series ({of_one} of one target), {:.1} MB", length as f64 / 1e6);
    assert!(of_one >= 59, "not all that may be known of a target is known");
    drop(text);
    let plain = one(&exporter, false);
    let zipped = one(&exporter, true);
    let goal = goals.at_most("processor of a plain scrape", plain.0, 1.0);
    println!("  processor, plain (s)    {:.2}   {goal}", plain.0);
    let goal = goals.at_most("processor of a scrape with gzip", zipped.0, 1.0);
    println!("  processor, gzip (s)     {:.2}   {goal}", zipped.0);
    assert!(plain.1 > length as f64 * 0.98, "a scrape was cut short");
    let saved = (plain.1 - zipped.1) * 8.0 / 1e9;
    let more = zipped.0 - plain.0;
    let goal = goals.at_most("what gzip costs more than it saves", more - saved, 0.0);
    println!(
        "  gzip                    {:.1} MB; costs {more:.2} s more and saves {saved:.2} s at 1 Gbit/s; less the saving, {goal}",
        zipped.1 / 1e6
    );
    delays(&exporter, goals);
    memory(&exporter, length, goals);
}

/// How far the resident memory rises while scrapes are read.
fn memory(exporter: &Exporter, length: usize, goals: &mut Goals) {
    // Of text alone: what is made of it is less.
    let whole = |count: usize| assert!(count as f64 > length as f64 * 0.98, "a scrape was cut short");
    let one = peak_over(exporter, || whole(get(exporter.port, false, None)));
    let goal = goals.at_most("memory of a scrape", one, 16.0);
    println!("  one scraper             {one:+.1} MiB at the peak   {goal}");
    let four = peak_over(exporter, || {
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| whole(get(exporter.port, false, None))))));
    });
    let begun = Instant::now();
    let slow = peak_over(exporter, || whole(get(exporter.port, false, Some(Duration::from_secs(60)))));
    let took = begun.elapsed().as_secs();
    let goal = goals.at_most("memory of four scrapers", four, 50.0);
    println!("  four scrapers at once   {four:+.1} MiB at the peak   {goal}");
    let goal = goals.at_most("memory of a slow scraper", slow, 50.0);
    println!("  one that takes {took} s     {slow:+.1} MiB at the peak   {goal}");
}

/// Lets an exporter survey a few targets, and end.
fn learn(config: &str) {
    let (exporter, _) = Exporter::start(config, None);
    let deadline = Instant::now() + Duration::from_secs(90);
    let surveyed = || exporter.scrape().matches("\nrdp_survey_timestamp_seconds{").count();
    while surveyed() < 16 {
        assert!(Instant::now() < deadline, "{} of 16 were surveyed", surveyed());
        thread::sleep(Duration::from_secs(1));
    }
    exporter.stop();
}

/// What was learnt of sixteen, as if it had been learnt of all that are at the same addresses.
fn multiplied(saved: &str) -> String {
    let mut lines = saved.lines();
    let mut header: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    header["targets"] = MANY.into();
    let known: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut text = format!("{header}\n");
    for number in 0..MANY {
        let mut one = known[number % known.len()].clone();
        one["name"] = format!("t{number:05}").into();
        text += &format!("{one}\n");
    }
    text
}

/// Processor time of one scrape, beside what probing takes, and the bytes on the wire.
fn one(exporter: &Exporter, gzip: bool) -> (f64, f64) {
    let (mut costs, mut bytes) = (Vec::new(), 0);
    for _ in 0..3 {
        let quiet = Stretch::begin(exporter.id);
        thread::sleep(Duration::from_secs(5));
        let (rest, seconds) = quiet.end();
        let busy = Stretch::begin(exporter.id);
        let begun = Instant::now();
        bytes = get(exporter.port, gzip, None);
        thread::sleep(Duration::from_secs(5).saturating_sub(begun.elapsed()));
        let (with, took) = busy.end();
        costs.push(with - rest * took / seconds);
    }
    (median(&costs), bytes as f64)
}

/// How late probes begin while scrapes go on, one after another.
fn delays(exporter: &Exporter, goals: &mut Goals) {
    let before = Delays::of(&exporter.scrape());
    let done = exporter.probes();
    let watch = Watch::begin();
    while watch.elapsed() < Duration::from_secs(20) {
        get(exporter.port, true, None);
    }
    let during = Delays::of(&exporter.scrape()).since(&before);
    let (late, done) = (during.later_than(50), exporter.probes() - done);
    // What was due while this machine stood still is not late by a scrape.
    let (lost, all) = (watch.stood_still().as_secs_f64(), watch.elapsed().as_secs_f64());
    let goal = goals.at_most("probes over 50 ms late during scrapes", (late - done * lost / all).max(0.0), 0.0);
    println!("  scrapes without a pause: {late} of {done} probes began over 50 ms late, {lost:.3} s lost   {goal}");
}

/// How far the resident memory rises over what it was while that is done.
fn peak_over(exporter: &Exporter, work: impl FnOnce()) -> f64 {
    thread::sleep(Duration::from_secs(5));
    forget_peak(exporter.id);
    let standing = resident_mib(exporter.id);
    work();
    peak_mib(exporter.id) - standing
}

/// Reads one scrape to its end, as fast as it comes or within so long a time; the bytes of it.
fn get(port: u16, gzip: bool, within: Option<Duration>) -> usize {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let encoding = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: localhost\r\n{encoding}\r\n").unwrap();
    let (begun, mut bytes, mut buffer) = (Instant::now(), 0, vec![0; 1 << 18]);
    loop {
        let count = stream.read(&mut buffer).unwrap();
        if bytes == 0 {
            let head = String::from_utf8_lossy(&buffer[..count.min(80)]);
            assert_eq!(head.split(' ').nth(1), Some("200"), "{head}");
        }
        if count == 0 {
            return bytes;
        }
        bytes += count;
        if let Some(within) = within {
            let due = begun + within.mul_f64(bytes as f64 / EXPECTED_BYTES);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}

const MANY: usize = 20_000;
/// About what there is to be read of so many.
const EXPECTED_BYTES: f64 = 70e6;
const QUICK: &str = "{ interval: 2s, timeout: 1s, survey_interval: 1h }";
const MINUTE: &str = "{ interval: 60s, timeout: 10s, survey_interval: 0s }";
