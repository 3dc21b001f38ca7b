//! What a process has taken of the machine so far, in the kernel's words.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::harness::process::{processor_ticks, status};

/// Processor time of a process, those of its threads that ended included.
pub(crate) fn processor_time(process: u32) -> Duration {
    // Ticks are hundredths of a second.
    Duration::from_millis(processor_ticks(process) * 10)
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

/// The largest one.
pub(crate) fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::MIN, f64::max)
}

/// The smallest one.
pub(crate) fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::MAX, f64::min)
}

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
