//! How long a start takes with twenty thousand targets, and a stop under full load.

use std::{
    collections::HashMap,
    fs, thread,
    time::{Duration, Instant},
};

use crate::{
    estate::Estate,
    exporter::{Exporter, targets},
    goals::Goals,
    usage::most,
};

pub(crate) fn measure(goals: &mut Goals) {
    let estate = Estate::start(&["tls", "silent"], 16, 1);
    let config = |count: usize, silent: usize| {
        format!(
            "probe: {{ interval: 10s, timeout: 8s, survey_interval: 0s }}\ntargets:\n{}{}",
            targets("t", count, estate.of("tls")),
            targets("silent", silent, estate.of("silent"))
        )
    };
    let starts: Vec<f64> = (0..5).map(|_| Exporter::start(&config(20_000, 0), None).1.as_secs_f64()).collect();
    let goal = goals.at_most("ready with 20,000 targets", most(&starts), 1.0);
    println!("ready with 20,000 targets   {starts:.2?} s   {goal}");
    for _ in 0..3 {
        // 1,400 probes a second, and eight hundred that are held by a silent server.
        let (exporter, _) = Exporter::start(&config(14_000, 1_000), None);
        thread::sleep(Duration::from_secs(15));
        let (begun, done) = (Instant::now(), exporter.probes());
        thread::sleep(Duration::from_secs(5));
        let (took, done) = (begun.elapsed(), exporter.probes() - done);
        let (pace, held) = (done / took.as_secs_f64(), exporter.in_flight());
        println!("full load: {pace:.0} probes a second, {held} under way");
        goals.at_least("probes a second before the stop", pace, 1300.0);
        goals.at_least("probes under way before the stop", held, 700.0);
        let before = resets();
        let took = exporter.stop().as_secs_f64();
        let reset = resets() - before;
        let goal = goals.at_most("stopped under full load", took, 3.0);
        println!("stopped under full load in  {took:.2} s   {goal}");
        let goal = goals.at_most("connections reset then", reset as f64, 0.0);
        println!("  connections reset then    {reset}   {goal}");
    }
}

/// Connections that this machine has reset since it was started (RFC 1213, tcpOutRsts), but for those of SYNs.
fn resets() -> u64 {
    let netstat = fs::read_to_string("/proc/net/netstat").unwrap();
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let counts: HashMap<&str, &str> = names.split(' ').zip(values.split(' ')).collect();
    ["TCPAbortOnData", "TCPAbortOnClose"].iter().map(|name| counts[name].parse::<u64>().unwrap()).sum()
}
