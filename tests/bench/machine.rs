//! On what this was measured.

use std::fs;

use crate::harness::process::{command, run};

pub(crate) fn print() {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("machine    {cores} processors, {}", model.trim_start_matches([':', ' ', '\t']));
    println!("kernel     {}", run(command("uname").arg("-sr")).trim());
    println!("exporter   {} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    println!("load       {}", load.trim());
}
