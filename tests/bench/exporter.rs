//! The exporter that is measured: the built binary, on a processor of its own where that is wanted.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    estate::pinned,
    harness::{
        http,
        process::{Process, Server, command, directory, free_port, run},
    },
};

/// A running exporter.
pub(crate) struct Exporter {
    pub(crate) port: u16,
    /// The number of the process.
    pub(crate) id: u32,
    file: PathBuf,
    _server: Server,
}

/// The sum of the series that begin so.
pub(crate) fn sum(text: &str, begin: &str) -> f64 {
    text.lines().filter(|line| line.starts_with(begin)).map(value).sum()
}

/// The value of a series.
pub(crate) fn value(line: &str) -> f64 {
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Every probe of the targets whose names begin with `t` found a healthy one: another end costs something else.
pub(crate) fn expect_healthy(text: &str) {
    let mut of_probes = text.lines().filter(|line| line.starts_with("rdp_probes_total{target=\"t")).peekable();
    assert!(of_probes.peek().is_some(), "nothing was probed");
    let other = of_probes.find(|line| !line.contains("verdict=\"healthy\""));
    assert_eq!(other, None, "a probe failed");
}

/// Targets in the words of the configuration: so many, at these addresses in turn.
pub(crate) fn targets(prefix: &str, count: usize, addresses: &[SocketAddr]) -> String {
    let mut yaml = String::new();
    for number in 0..count {
        let address = addresses[number % addresses.len()];
        writeln!(yaml, "  - {{ name: {prefix}{number:05}, address: \"{address}\" }}").unwrap();
    }
    yaml
}

impl Exporter {
    /// Starts the exporter with this configuration, and waits until it is ready; how long that took.
    pub(crate) fn start(config: &str, processor: Option<usize>) -> (Self, Duration) {
        let binary = env!("CARGO_BIN_EXE_rdp_exporter");
        Self::start_as(config, processor.map_or_else(|| Command::new(binary), |processor| pinned(processor, binary)))
    }

    /// The same by a command that the exporter's own arguments are added to.
    pub(crate) fn start_as(config: &str, mut command: Command) -> (Self, Duration) {
        let (directory, port) = (directory(), free_port());
        let file = directory.path().join("config.yaml");
        fs::write(&file, config).unwrap();
        command.arg(format!("--config.file={}", file.display())).arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let begun = Instant::now();
        let mut process = Process::start("rdp_exporter", &command, directory);
        process.wait_until("/-/ready", || http::get(port, "/-/ready").ok().filter(|(status, _)| *status == 200));
        let ready = begun.elapsed();
        let server = Server::of(process, port);
        (Self { port, id: server.id(), file, _server: server }, ready)
    }

    /// What `/metrics` says now.
    pub(crate) fn scrape(&self) -> String {
        let (status, text) = http::get(self.port, "/metrics").unwrap();
        assert_eq!(status, 200, "{text}");
        text
    }

    /// How many probes were made of all targets together; one scrape.
    pub(crate) fn probes(&self) -> f64 {
        sum(&self.scrape(), "rdp_probes_total{")
    }

    /// How many are under way.
    pub(crate) fn in_flight(&self) -> f64 {
        sum(&self.scrape(), "rdp_exporter_probes_in_flight ")
    }

    /// Lets it have this configuration from now on.
    pub(crate) fn reload(&self, config: &str) {
        fs::write(&self.file, config).unwrap();
        let url = format!("http://127.0.0.1:{}/-/reload", self.port);
        assert_eq!(run(command("curl").args(["-sS", "-X", "POST", "--max-time", "30", &url])), "reloaded\n");
    }

    /// Ends it as systemd would, in order; how long that took.
    pub(crate) fn stop(self) -> Duration {
        let begun = Instant::now();
        kill_process(Pid::from_raw(self.id.cast_signed()).unwrap(), Signal::TERM).unwrap();
        self.wait_for_end();
        begun.elapsed()
    }

    /// Waits for a process that was told to end, in order.
    pub(crate) fn wait_for_end(self) {
        let begun = Instant::now();
        // A process that has ended stays until it is waited for.
        let end = loop {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.id)).unwrap();
            if stat.contains(") Z ") {
                break stat;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not end");
            thread::sleep(Duration::from_millis(5));
        };
        // The last field is its wait status (proc_pid_stat(5)).
        assert_eq!(end.trim_end().rsplit(' ').next(), Some("0"), "it did not end in order: {end}");
    }
}
