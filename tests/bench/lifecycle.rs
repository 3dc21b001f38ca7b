//! How long a start takes with twenty thousand targets, and a stop under full load.

use std::{collections::HashMap, fs, thread, time::Duration};

use crate::{
    estate::Estate,
    exporter::{Exporter, targets},
};

pub(crate) fn measure() {
    let estate = Estate::start(&["tls", "silent"], 16, 1);
    let config = |count: usize, silent: usize| {
        format!(
            "probe: {{ interval: 10s, timeout: 8s, survey_interval: 0s }}\ntargets:\n{}{}",
            targets("t", count, estate.of("tls")),
            targets("silent", silent, estate.of("silent"))
        )
    };
    let starts: Vec<f64> = (0..5).map(|_| Exporter::start(&config(20_000, 0), None).1.as_secs_f64()).collect();
    println!("ready with 20,000 targets   {starts:.2?} s   goal: at most 1");
    for _ in 0..3 {
        // 1,400 probes a second, and eight hundred that are held by a silent server.
        let (exporter, _) = Exporter::start(&config(14_000, 1_000), None);
        thread::sleep(Duration::from_secs(20));
        let before = resets();
        let took = exporter.stop().as_secs_f64();
        println!(
            "stopped under full load in  {took:.2} s, {} connections reset   goal: at most 3, none",
            resets() - before
        );
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
