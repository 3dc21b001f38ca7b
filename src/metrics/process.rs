//! The families of this process, by the names that every exporter has.
//!
//! Own code, as the collector of the `prometheus` package counts whole seconds of processor time, and brings a second
//! major version of `rustix`. What the system does not show is left out.

use std::fs;

use prometheus::proto::MetricFamily;
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

use super::exporter::{counters, gauge};

/// The families, in the order in which the pages of proc(5) are read.
pub(super) fn process_families() -> Vec<MetricFamily> {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    let stat = stat.as_deref().and_then(Stat::read).map(|stat| stat.families()).unwrap_or_default();
    let open =
        open_descriptors().map(|open| gauge("process_open_fds", "Number of open file descriptors.", &[], open as f64));
    let most = getrlimit(Resource::Nofile)
        .current
        .map(|most| gauge("process_max_fds", "Maximum number of open file descriptors.", &[], most as f64));
    stat.into_iter().chain(open).chain(most).collect()
}

/// Numbers of proc_pid_stat(5), in the units that it has.
struct Stat {
    processor_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// The second field is the program's name, in parentheses, and may hold anything; the third follows the last of them.
    fn read(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            processor_ticks: field(14)?.checked_add(field(15)?)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }

    fn families(&self) -> Vec<MetricFamily> {
        let seconds = |ticks: u64| ticks as f64 / clock_ticks_per_second() as f64;
        let resident = self.resident_pages as f64 * page_size() as f64;
        let started = boot_time().map(|booted| booted as f64 + seconds(self.start_ticks));
        let mut families = vec![
            counters(
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.",
                [(Vec::new(), seconds(self.processor_ticks))],
            ),
            gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", &[], self.virtual_bytes as f64),
            gauge("process_resident_memory_bytes", "Resident memory size in bytes.", &[], resident),
            gauge("process_threads", "Number of OS threads in the process.", &[], self.threads as f64),
        ];
        families.extend(started.map(|started| {
            gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", &[], started)
        }));
        families
    }
}

/// Seconds since the epoch, of proc_stat(5).
fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Linux 6.2 and later give the number as the folder's size, which takes no descriptor; before, the folder is read, with
/// a descriptor that counts itself.
fn open_descriptors() -> Option<u64> {
    match fs::metadata(DESCRIPTORS).ok()?.len() {
        0 => Some((fs::read_dir(DESCRIPTORS).ok()?.count() as u64).saturating_sub(1)),
        open => Some(open),
    }
}

const DESCRIPTORS: &str = "/proc/self/fd";

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.1 wrote it for a program of this name.
    #[test]
    fn a_name_with_parentheses_and_spaces_moves_no_field() {
        let text = "4711 (a) b (c) S 1 4711 4711 0 -1 4194304 512 0 3 0 250 50 0 0 20 0 7 0 9000 123456789 2048 \
                    18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n";
        let stat = Stat::read(text).unwrap();
        let found = [stat.processor_ticks, stat.threads, stat.start_ticks, stat.virtual_bytes, stat.resident_pages];
        assert_eq!(found, [300, 7, 9000, 123_456_789, 2048]);
        for end in 0..text.find("2048").unwrap() {
            assert!(Stat::read(&text[..end]).is_none(), "{}", &text[..end]);
        }
    }
}
