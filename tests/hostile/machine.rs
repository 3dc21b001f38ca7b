//! What the system says of the exporter: its memory, and how long it waited for a processor.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, setpriority_process};

use crate::harness::process::{Server, promtool_check_metrics, status, wait_until};

/// Goes before everything else on this machine, where it may: the endpoints are not what is measured.
pub(crate) fn hurry() {
    let _ = setpriority_process(None, PRIORITY + 5);
}

/// The same for a thread of another process, before us.
fn hurry_thread(id: i32) {
    let _ = setpriority_process(Pid::from_raw(id), PRIORITY);
}

/// The most memory that the process ever had, in bytes (proc_pid_status(5), `VmHWM`).
pub(crate) fn peak_memory(exporter: &Server) -> u64 {
    status(exporter.id(), "VmHWM") * 1024
}

/// How long the exporter's probing thread was ready to run and had no processor, and how late a sleep of our own ended: this
/// machine's doing, not the exporter's.
pub(crate) struct Waits {
    file: String,
    /// The latest end of a sleep, in microseconds.
    latest: Arc<AtomicU64>,
    seen: Vec<(Instant, Duration)>,
}

impl Waits {
    pub(crate) fn of(exporter: &Server) -> Self {
        let folder = format!("/proc/{}/task", exporter.id());
        let is_probes =
            |path: &PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "probes");
        // A thread gives itself its name, a moment after it was started.
        let thread = wait_until("thread that probes", Duration::from_secs(10), || {
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).find(is_probes)
        });
        hurry_thread(thread.file_name().unwrap().to_str().unwrap().parse().unwrap());
        let file = thread.join("schedstat");
        Self { file: file.display().to_string(), latest: watch_for_standstills(), seen: Vec::new() }
    }

    /// Looks once more (Documentation/scheduler/sched-stats.rst: time running, time waiting, both in nanoseconds).
    pub(crate) fn look(&mut self) {
        let text = fs::read_to_string(&self.file).unwrap();
        let waited = text.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
        self.seen.push((Instant::now(), Duration::from_nanos(waited)));
    }

    /// The most that it waited in any stretch of that length, the looks before and after it included.
    pub(crate) fn most_within(&self, stretch: Duration) -> Duration {
        let mut most = Duration::from_micros(self.latest.load(Ordering::SeqCst));
        for (number, (begun, waited)) in self.seen.iter().enumerate() {
            let rest = &self.seen[number..];
            let end = rest
                .iter()
                .position(|(at, _)| *at > *begun + stretch)
                .map_or(rest.len() - 1, |end| (end + 1).min(rest.len() - 1));
            most = most.max(rest[end].1 - *waited);
        }
        most
    }
}

/// Notes by how much the latest of many short sleeps ended late, as long as somebody wants to know: where a whole machine
/// stands still, nobody waits for a processor.
fn watch_for_standstills() -> Arc<AtomicU64> {
    let latest = Arc::new(AtomicU64::new(0));
    let watched = Arc::downgrade(&latest);
    thread::spawn(move || {
        while let Some(latest) = watched.upgrade() {
            let begun = Instant::now();
            thread::sleep(TICK);
            latest.fetch_max((begun.elapsed() - TICK).as_micros() as u64, Ordering::SeqCst);
        }
    });
    latest
}

/// What promtool objects to in that exposition; the one name that it objects to is the contract's.
pub(crate) fn promtool_objections(text: &str) -> Vec<String> {
    let said = promtool_check_metrics(text);
    let objections = said.lines().filter(|line| !line.trim().is_empty() && !line.contains("days_to_expiry"));
    objections.map(str::to_owned).collect()
}

const TICK: Duration = Duration::from_millis(5);
/// As `nice` counts it.
const PRIORITY: i32 = -15;
