//! The exporter as these tests run it: in a folder whose files change, perhaps as another user, perhaps under a wrapper.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::harness::exporter::binary;
use crate::harness::http;
use crate::harness::process::{Process, Server, command, directory, free_port, leave_out, require, run, wait_until};
use crate::harness::samples::Samples;

/// Longer than anything takes here, on a machine that others load.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// Nobody else's, so that a limit on its processes is one on ours.
pub(crate) const USER: u32 = 61_843;

/// Whether this machine can have the fault.
pub(crate) fn is_possible(programs: &[&str]) -> bool {
    if !rustix::process::geteuid().is_root() {
        leave_out("needs root", "run as root");
        return false;
    }
    require(&[&["openssl", "prlimit", "setpriv", "unshare"], programs].concat())
}

/// What is to be run, and where.
pub(crate) struct Plan {
    folder: TempDir,
    wrapper: Vec<String>,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    program: PathBuf,
    user: Option<u32>,
    is_secure: bool,
}

/// A serving exporter.
pub(crate) struct Exporter {
    pub(crate) server: Server,
    folder: TempDir,
    user: Option<u32>,
}

impl Plan {
    /// With this configuration, in a folder of its own.
    pub(crate) fn new(config: &Value) -> Self {
        let folder = directory();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let file = folder.path().join("config.yaml");
        fs::write(&file, config.to_string()).unwrap();
        let flags = vec![format!("--config.file={}", file.display())];
        let program = PathBuf::from(binary().get_program());
        Self { folder, wrapper: Vec::new(), flags, environment: Vec::new(), program, user: None, is_secure: false }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// With this web configuration; `is_secure` where it has TLS.
    pub(crate) fn web(self, config: &Value, is_secure: bool) -> Self {
        fs::write(self.path("web.yml"), config.to_string()).unwrap();
        let flag = format!("--web.config.file={}", self.path("web.yml").display());
        Self { is_secure, ..self.flag(&flag) }
    }

    /// Run by `sh -c` with this script, whose `"$@"` is the exporter and `$0` the folder.
    pub(crate) fn script(mut self, script: &str) -> Self {
        let folder = self.folder.path().display().to_string();
        self.wrapper.extend(["sh", "-c", script, &folder].map(str::to_owned));
        self
    }

    /// Run by this program with these arguments.
    pub(crate) fn by(mut self, program: &str, arguments: &[&str]) -> Self {
        self.wrapper.push(command(program).get_program().to_str().unwrap().to_owned());
        self.wrapper.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As a user who may not read everything, and whom a limit on processes binds.
    pub(crate) fn under_user(mut self, user: u32) -> Self {
        // Where the build stands that user may not look.
        let program = self.path("exporter");
        fs::hard_link(&self.program, &program).or_else(|_| fs::copy(&self.program, &program).map(drop)).unwrap();
        self.program = program;
        self.user = Some(user);
        let arguments = become_user(user);
        self.by("setpriv", &arguments.each_ref().map(String::as_str))
    }

    fn command(&self, port: u16) -> Command {
        let words: Vec<&str> = self.wrapper.iter().map(String::as_str).collect();
        let mut command = match words.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(&self.flags).arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Started, and ready.
    pub(crate) fn start(self) -> Exporter {
        let port = free_port();
        let command = self.command(port);
        let mut process = Process::start("rdp_exporter", &command, directory());
        let is_ready = || match self.is_secure {
            true => std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop),
            // With passwords the answer is 401.
            false => http::get(port, "/-/ready").ok().map(drop),
        };
        process.wait_until("answer", is_ready);
        Exporter { server: Server::of(process, port), folder: self.folder, user: self.user }
    }

    /// Run where it ends by itself: exit code and what it said.
    pub(crate) fn run(&self) -> (Option<i32>, String) {
        let output = self.command(0).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Exporter {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder as the exporter sees it, where that is in a mount namespace of its own.
    pub(crate) fn inside(&self, name: &str) -> PathBuf {
        let below = Path::new("/proc").join(self.server.id().to_string()).join("root");
        below.join(self.path(name).strip_prefix("/").unwrap())
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.server.port)
    }

    /// On a new connection.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str) -> (u16, String) {
        self.client().ask(method, path)
    }

    #[track_caller]
    pub(crate) fn scrape(&self) -> Samples {
        self.client().scrape()
    }

    #[track_caller]
    pub(crate) fn scrape_until(&self, what: &str, wanted: impl Fn(&Samples) -> bool) -> Samples {
        wait_until(what, LIMIT, || Some(self.scrape()).filter(&wanted))
    }

    /// Until the log has these words.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, words: &str) {
        wait_until(words, LIMIT, || self.server.log().contains(words).then_some(()));
    }

    pub(crate) fn signal(&self, name: &str) {
        run(command("kill").args([name, &self.server.id().to_string()]));
    }

    /// Sets the soft limit of the running process.
    pub(crate) fn limit(&self, resource: &str, soft: &str) {
        let arguments = [format!("--pid={}", self.server.id()), format!("--{resource}={soft}:")];
        match self.user {
            // Root of a container may not do so to others.
            Some(user) => run(command("setpriv").args(become_user(user)).arg("prlimit").args(arguments)),
            None => run(command("prlimit").args(arguments)),
        };
    }

    /// Tells it to end, and waits until it has.
    pub(crate) fn end(self) -> TempDir {
        self.signal("-TERM");
        wait_until("end", LIMIT, || self.has_ended().then_some(()));
        self.folder
    }

    pub(crate) fn has_ended(&self) -> bool {
        // A zombie until its guard is dropped.
        fs::read_to_string(format!("/proc/{}/stat", self.server.id()))
            .map_or(true, |text| text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
    }

    /// Never, whatever happens.
    #[track_caller]
    pub(crate) fn assert_no_panic(&self) {
        let log = self.server.log();
        assert!(!log.contains("panicked") && !log.contains("please report"), "{log}");
    }
}

fn become_user(user: u32) -> [String; 4] {
    [format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned(), "--".to_owned()]
}

/// The probes of a target that came to this verdict.
pub(crate) fn probes(samples: &Samples, target: &str, verdict: &str) -> f64 {
    samples.get("rdp_probes_total", &[("target", target), ("verdict", verdict)]).unwrap_or_default()
}

pub(crate) fn has_verdict(samples: &Samples, target: &str, verdict: &str) -> bool {
    samples.get("rdp_verdict", &[("target", target), ("verdict", verdict)]) == Some(1.0)
}

pub(crate) fn is_up(samples: &Samples, target: &str) -> bool {
    samples.get("rdp_up", &[("target", target)]) == Some(1.0)
}
