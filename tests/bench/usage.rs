//! What a process has taken of the machine so far, in the kernel's words.

use std::{
    fs,
    time::{Duration, Instant},
};

/// Processor time of a process, all threads together, those that ended included.
pub(crate) fn processor_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    // utime and stime, fields 14 and 15 of proc_pid_stat(5), in hundredths of a second.
    let ticks: u64 = [fields[11], fields[12]].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// One line of /proc/PID/status, in KiB where it is of memory.
pub(crate) fn status(process: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_ascii_whitespace().next()).and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("no {key} in {status}"))
}

/// Resident memory, in MiB.
pub(crate) fn resident_mib(process: u32) -> f64 {
    status(process, "VmRSS") as f64 / 1024.0
}

/// The most memory that was ever resident, in MiB; see [`forget_peak`].
pub(crate) fn peak_mib(process: u32) -> f64 {
    status(process, "VmHWM") as f64 / 1024.0
}

/// Lets the peak begin anew from what is resident now.
pub(crate) fn forget_peak(process: u32) {
    fs::write(format!("/proc/{process}/clear_refs"), "5").unwrap();
}

/// Open descriptors.
pub(crate) fn descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

/// A stretch of time in which a process is watched.
pub(crate) struct Stretch {
    process: u32,
    begun: Instant,
    before: Duration,
}

impl Stretch {
    pub(crate) fn begin(process: u32) -> Self {
        Self { process, begun: Instant::now(), before: processor_time(process) }
    }

    /// Seconds of processor time, and seconds on the clock.
    pub(crate) fn end(&self) -> (f64, f64) {
        let took = self.begun.elapsed();
        ((processor_time(self.process) - self.before).as_secs_f64(), took.as_secs_f64())
    }
}

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
