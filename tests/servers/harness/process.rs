//! Child processes that end with the test that started them, and the programs this suite needs.
//! INVARIANT: nothing started here outlives its guard, not even when the test binary itself is killed.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// A running child with a directory of its own; killed with its whole group on drop.
pub(crate) struct Process {
    child: Child,
    name: String,
    directory: TempDir,
}

impl Process {
    /// Starts `command` in a process group of its own, with both outputs in a file of `directory`.
    pub(crate) fn start(name: &str, command: &Command, directory: TempDir) -> Self {
        let log = File::create(directory.path().join(LOG)).unwrap();
        let mut child = Command::new("setpriv");
        child.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => child.env(key, value),
                None => child.env_remove(key),
            };
        }
        let child = child
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { child, name: name.to_owned(), directory }
    }

    /// Polls `look` until it answers; panics with the log once the child is gone or the time is up.
    pub(crate) fn wait_until<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(fact) = look() {
                return fact;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended ({status}) before {what}:\n{}", self.name, self.log());
            }
            assert!(Instant::now() < deadline, "{}: no {what} in {PATIENCE:?}:\n{}", self.name, self.log());
            thread::sleep(POLL);
        }
    }

    /// The processor time it has taken, in clock ticks.
    pub(crate) fn processor_ticks(&self) -> u64 {
        processor_ticks(self.child.id())
    }

    /// The number of the process.
    #[allow(dead_code, reason = "not every suite that stands on this sends signals")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where both of its outputs go.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.directory.path().join(LOG)
    }

    /// All it has written so far.
    pub(crate) fn log(&self) -> String {
        fs::read(self.log_file()).map_or_else(|_| String::new(), |log| lossy(&log))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group may be gone already: then there is nothing to kill.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("last lines of {}:", self.name);
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}

/// A child that accepts TCP on a port of 127.0.0.1.
pub(crate) struct Server {
    pub(crate) port: u16,
    process: Process,
}

impl Server {
    pub(crate) fn start(name: &str, port: u16, command: &Command, directory: TempDir) -> Self {
        let mut process = Process::start(name, command, directory);
        process.wait_until("open port", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        Self::of(process, port)
    }

    /// A process that is known to accept.
    pub(crate) fn of(process: Process, port: u16) -> Self {
        Self { port, process }
    }

    /// The number of the process.
    #[allow(dead_code, reason = "the suite of real servers has no use for it, the one of networks has")]
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// All it has written so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// The processor time it has taken, in clock ticks.
    pub(crate) fn processor_ticks(&self) -> u64 {
        self.process.processor_ticks()
    }
}

/// The processor time of a process, all threads together, in clock ticks (proc_pid_stat(5), fields 14 and 15).
pub(crate) fn processor_ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// A number of /proc/PID/status, in KiB where it is of memory.
#[allow(dead_code, reason = "the suite of real servers has no use for it, others have")]
pub(crate) fn status(process: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_ascii_whitespace().next()).and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("no {key} in {status}"))
}

/// What promtool has to say of an exposition.
pub(crate) fn promtool_check_metrics(text: &str) -> String {
    let mut promtool = command("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    lossy(&output.stdout) + &lossy(&output.stderr)
}

/// A port that is free now and that no other test of this binary is given.
///
/// The ports lie below the ephemeral range, so that no outgoing connection takes one in between.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 300).unwrap() * 40;
    (0..1000)
        .map(|_| 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000)
        .find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
        .expect("a free port among a thousand")
}

/// Polls `look` until it answers, for at most `limit`.
pub(crate) fn wait_until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(fact) = look() {
            return fact;
        }
        assert!(Instant::now() < deadline, "no {what} in {limit:?}");
        thread::sleep((limit / 200).max(POLL));
    }
}

/// Whether all of `programs` are installed. See [`leave_out`] for where they are not.
pub(crate) fn require(programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs.iter().copied().filter(|name| find(name).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    let packages: Vec<&str> = missing.iter().map(|name| package(name)).collect();
    let install = format!("install with: apt-get install --no-install-recommends {}", packages.join(" "));
    leave_out(&format!("missing {}", missing.join(", ")), &install);
    false
}

/// Says loudly, past the capture of the test runner, why this test does not run and what would help; panics where
/// `CI=true`: there a skipped test would look like a passed one.
pub(crate) fn leave_out(why: &str, remedy: &str) {
    let test = thread::current().name().unwrap_or("test").to_owned();
    let text = format!("\n*** {test} NOT RUN: {why}\n*** {remedy}\n");
    assert!(env::var_os("CI").is_none_or(|value| value != "true"), "{text}");
    io::stderr().write_all(text.as_bytes()).unwrap();
}

/// A command for an installed program, also where only root's PATH knows it.
pub(crate) fn command(name: &str) -> Command {
    Command::new(find(name).unwrap_or_else(|| panic!("{name} is not installed")))
}

/// Runs a command to its end; panics unless it succeeds.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?} failed:\n{}", lossy(&output.stderr));
    lossy(&output.stdout)
}

/// An empty directory that only this user may read, as some servers insist.
pub(crate) fn directory() -> TempDir {
    tempfile::Builder::new().prefix("rdp-servers-").tempdir().unwrap()
}

pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The Debian package of a program.
fn package(program: &str) -> &str {
    match program {
        "ab" => "apache2-utils",
        "chromedriver" => "chromium-driver",
        "dpkg-shlibdeps" => "dpkg-dev",
        "ip" => "iproute2",
        "h2load" | "nghttp" => "nghttp2-client",
        "nft" => "nftables",
        "freerdp-shadow-cli" => "freerdp2-shadow-x11",
        "perl" => "perl-base",
        "promtool" => "prometheus",
        "prlimit" | "setpriv" | "unshare" => "util-linux",
        "strip" => "binutils",
        "systemd-analyze" | "systemd-socket-activate" => "systemd",
        "xrdp-keygen" => "xrdp",
        "Xvfb" => "xvfb",
        other => other,
    }
}

const LOG: &str = "output.log";
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
