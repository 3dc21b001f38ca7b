//! An exporter with targets, and what it is held to while clients press it.
//! INVARIANT: how many probes there must be comes from the configuration and the clock, and sizes come from /proc.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::harness::exporter::address;
use crate::harness::peer::{CONFIRM_RDP, Peer, answer, drain};
use crate::harness::process::{Server, status, wait_until};
use crate::harness::samples::Samples;
use crate::harness::web::{Site, curl, text};
use crate::watch::Watch;

/// The exporter, its targets, and how the client that means well asks it.
pub(crate) struct Estate {
    pub(crate) exporter: Server,
    pub(crate) site: Site,
    well_meaning: Vec<String>,
    url: String,
    _endpoint: Peer,
    /// One siege at a time: each wants the whole machine.
    _alone: MutexGuard<'static, ()>,
}

/// What the process has, by proc(5).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    pub(crate) resident_kib: u64,
    peak_kib: u64,
    threads: u64,
    pub(crate) descriptors: u64,
}

impl Estate {
    /// With these targets more, this web configuration and these flags; `login` is of a user of that.
    pub(crate) fn new(targets: &[Value], web: Value, login: Option<&str>, flags: &[&str]) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoint = Peer::on(Ipv4Addr::UNSPECIFIED, |mut client| {
            answer(&mut client, &CONFIRM_RDP)?;
            drain(client)
        });
        let host = |number: usize| json!({ "name": format!("t{number}"), "address": format!("127.0.8.{number}:{}", endpoint.port) });
        let healthy = (1..=TARGETS).map(host);
        let config = json!({
            "probe": { "interval": "2s", "timeout": "1900ms", "survey_interval": "0s", "challenge_interval": "0s" },
            "targets": healthy.chain(targets.iter().cloned()).collect::<Vec<_>>(),
        });
        let site = Site::new();
        let has_tls = web.get("tls_server_config").is_some();
        site.write(web);
        fs::write(site.path("config.yml"), config.to_string()).unwrap();
        let file = format!("--config.file={}", site.path("config.yml").display());
        let exporter = crate::harness::exporter::serve_web(&[&[site.flag().as_str(), &file], flags].concat());
        let scheme = if has_tls { "https" } else { "http" };
        let well_meaning =
            ["--interface", WELL_MEANING, "--max-time", PATIENCE, "--cacert", &text(&site.authority.certificate)];
        let mut well_meaning: Vec<String> = well_meaning.map(str::to_owned).into();
        well_meaning.extend(login.into_iter().flat_map(|login| ["--user".to_owned(), login.to_owned()]));
        let url = format!("{scheme}://{}", address(exporter.port));
        let estate = Self { exporter, site, well_meaning, url, _endpoint: endpoint, _alone: alone };
        wait_until("first probe of every target", Duration::from_secs(60), || {
            (estate.scrape().1.all("rdp_probes_total", &[]).filter(is_healthy_target).count() == TARGETS).then_some(())
        });
        estate
    }

    /// Runs `clients` and, meanwhile, holds the exporter to all that it owes others; it may have `extra` threads for them.
    pub(crate) fn besieged<T>(&self, name: &str, extra: u64, clients: impl FnOnce() -> T) -> T {
        let before = self.size();
        let watch = Watch::begin();
        let (begin, at_first) = self.scrape();
        let is_over = AtomicBool::new(false);
        let (result, most, answers) = thread::scope(|scope| {
            let watching = scope.spawn(|| self.watch(&is_over));
            let asking = scope.spawn(|| self.ask_on(&is_over));
            let ending = End(&is_over);
            let result = clients();
            drop(ending);
            (result, watching.join().unwrap(), asking.join().unwrap())
        });
        let (end, at_last) = self.scrape();
        let elapsed = end - begin;
        let after = self.size();
        let slowest = answers.iter().max().copied().unwrap_or_default();
        let late = growth(&at_first, &at_last, "rdp_exporter_probe_start_delay_seconds_count")
            - bucket_growth(&at_first, &at_last, LATE);
        let stood_still = watch.stood_still();
        let probes = probes(&at_last) - probes(&at_first);
        let a_second = TARGETS as f64 / INTERVAL_SECONDS;
        let owed = a_second * elapsed.as_secs_f64();
        eprintln!(
            "{name}: {elapsed:.1?}; {probes} of {owed:.0} probes, {late} over {LATE} s late; {} scrapes, slowest {slowest:.2?}; \
             stood still for {stood_still:.2?}; before {before:?}, most {most:?}, after {after:?}",
            answers.len()
        );
        assert!(!answers.is_empty(), "{name}: no scrape at all");
        assert!(probes >= 0.9 * owed - TARGETS as f64, "{name}: {probes} probes in {elapsed:?}, {owed} were owed");
        let excused = a_second * (stood_still.as_secs_f64() + UNSEEN_SECONDS);
        assert!(late <= 0.01 * probes + excused, "{name}: {late} of {probes} probes began over {LATE} s late");
        assert!(slowest < SCRAPE_TIMEOUT + stood_still, "{name}: a scrape took {slowest:?}");
        assert!(after.peak_kib < before.resident_kib + 64 * 1024, "{name}: {before:?}, {after:?}");
        assert!(most.threads <= before.threads + 10 + extra, "{name}: {before:?}, {most:?}");
        assert!(most.descriptors <= before.descriptors + MOST_DESCRIPTORS, "{name}: {before:?}, {most:?}");
        assert!(!self.exporter.log().contains("panicked"), "{name}");
        result
    }

    pub(crate) fn port(&self) -> u16 {
        self.exporter.port
    }

    /// A URL of the exporter, for a program.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(crate) fn size(&self) -> Size {
        let id = self.exporter.id();
        Size {
            resident_kib: status(id, "VmRSS"),
            peak_kib: status(id, "VmHWM"),
            threads: status(id, "Threads"),
            descriptors: fs::read_dir(format!("/proc/{id}/fd")).unwrap().count() as u64,
        }
    }

    /// When the client that means well asked, and what it was told.
    pub(crate) fn scrape(&self) -> (Instant, Samples) {
        let arguments: Vec<&str> = self.well_meaning.iter().map(String::as_str).collect();
        let asked = Instant::now();
        let answer = curl(&[&[self.url("/metrics").as_str()], arguments.as_slice()].concat());
        assert_eq!(answer.status, 200, "{} s: {answer:?}", asked.elapsed().as_secs());
        (asked, Samples::parse(&answer.body))
    }

    /// How long each of its scrapes took.
    fn ask_on(&self, is_over: &AtomicBool) -> Vec<Duration> {
        let mut took = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            took.push(self.scrape().0.elapsed());
            thread::sleep(Duration::from_millis(200));
        }
        took
    }

    fn watch(&self, is_over: &AtomicBool) -> Size {
        let mut most = Size::default();
        while !is_over.load(Ordering::Relaxed) {
            let now = self.size();
            most.threads = most.threads.max(now.threads);
            most.descriptors = most.descriptors.max(now.descriptors);
            most.resident_kib = most.resident_kib.max(now.resident_kib);
            most.peak_kib = now.peak_kib;
            thread::sleep(Duration::from_millis(20));
        }
        most
    }
}

/// Ends the siege, also where the clients panic.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection from this address of loopback, that waits for nothing.
pub(crate) fn connect_from(from: Ipv4Addr, port: u16) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    // It goes on by itself.
    if let Err(error) = socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()) {
        assert_eq!(Errno::from_io_error(&error), Some(Errno::INPROGRESS), "{error}");
    }
    socket
}

fn is_healthy_target(sample: &&crate::harness::samples::Sample) -> bool {
    sample.labels["target"].starts_with('t')
}

fn probes(samples: &Samples) -> f64 {
    samples.all("rdp_probes_total", &[]).filter(is_healthy_target).map(|sample| sample.value).sum()
}

fn growth(first: &Samples, last: &Samples, name: &str) -> f64 {
    last.value(name) - first.value(name)
}

fn bucket_growth(first: &Samples, last: &Samples, le: &str) -> f64 {
    let of = |samples: &Samples| samples.get("rdp_exporter_probe_start_delay_seconds_bucket", &[("le", le)]).unwrap();
    of(last) - of(first)
}

/// In seconds, a bucket of the histogram. Here none began over 0.1 s late, in a debug build beside all these clients.
const LATE: &str = "0.25";
/// A shared machine may stop one processor, which is not seen on another. Who is delayed by the exporter is so all the time.
const UNSEEN_SECONDS: f64 = 2.0;
/// Prometheus's own, where nothing else is configured.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);
/// In seconds: longer than any machine needs, and shorter than the thirty after which an idle connection ends by itself.
const PATIENCE: &str = "20";
/// 256 connections, 128 probes on demand, those of the schedule, and a few files.
const MOST_DESCRIPTORS: u64 = 256 + 128 + TARGETS as u64 + 10;
const TARGETS: usize = 60;
const INTERVAL_SECONDS: f64 = 2.0;
const WELL_MEANING: &str = "127.0.0.77";
