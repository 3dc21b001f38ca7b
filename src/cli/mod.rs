//! The command line: what was asked for, and its exit code.
//! stdout carries the answer, stderr the log.

mod check_config;
mod diff;
mod explain;
mod generate;
mod listen;
mod notify;
mod probe;
mod serve;

use std::{
    env,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use listen::ListenAddress;

use crate::{
    config::{Config, ConfigError, parse_duration},
    http::Web,
    logging::{self, LogFormat, LogLevel},
    report::Ink,
};

/// Prometheus exporter for RDP endpoints.
///
/// Without a command it serves: it probes the targets of the configuration on a schedule and shows what it saw at
/// /metrics.
#[derive(Debug, Parser)]
#[command(name = "rdp_exporter", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Probes each target once, for a person to read
    ///
    /// Exit code 0: all healthy; 1: any other verdict; 2: wrong use; 3, with --strict: healthy with findings.
    Probe(ProbeArguments),
    /// Checks a configuration file
    CheckConfig {
        /// The file is one for --web.config.file
        #[arg(long)]
        web: bool,
        /// The file
        file: PathBuf,
    },
    /// What two vantage points see differently
    ///
    /// Each file is what `rdp_exporter probe TARGET... --output=json` printed at one of them. Targets are matched by name.
    ///
    /// Exit code 0: nothing differs; 1: something differs, or a target stands in one file only; 2: a file that cannot be
    /// read.
    Diff {
        /// What the first vantage point saw
        #[arg(value_name = "A.json")]
        a: PathBuf,
        /// What the second one saw
        #[arg(value_name = "B.json")]
        b: PathBuf,
    },
    /// What a verdict or a finding means, and what to do; without one: the list of all
    Explain(ExplainArguments),
    /// Prints the completions of a shell
    #[command(hide = true)]
    Completions {
        /// Of which shell
        shell: Shell,
    },
    /// Writes the manual pages into a folder
    #[command(hide = true)]
    Man {
        /// Which has to be there
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
struct ServeArguments {
    /// The configuration; without one there are no targets
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Load the configuration again when its file or a file of trust.ca_files changes
    #[arg(long = "config.auto-reload", requires = "config_file")]
    auto_reload: bool,
    /// Where to listen, more than once where there are more; :PORT means every address of this machine
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":19389", value_parser = listen::address)]
    listen_addresses: Vec<ListenAddress>,
    /// Listen on the sockets of a systemd socket unit, and on no address
    #[arg(long = "web.systemd-socket")]
    systemd_socket: bool,
    /// TLS, client certificates and passwords, in the format that exporters share
    #[arg(long = "web.config.file", value_name = "FILE")]
    web_config_file: Option<PathBuf>,
    /// The URL that browsers use, where a proxy is between; its path becomes the route prefix
    #[arg(long = "web.external-url", value_name = "URL", value_parser = external_path)]
    external_path: Option<String>,
    /// The path that everything is served below; the path of --web.external-url by default
    #[arg(long = "web.route-prefix", value_name = "PATH", value_parser = route_prefix)]
    route_prefix: Option<String>,
    /// Scrapes answered at once, 0 for no limit; more get 503
    #[arg(long = "web.max-requests", value_name = "COUNT", default_value_t = Web::default().max_requests)]
    max_requests: usize,
    /// The path of the metrics, below the route prefix
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    telemetry_path: String,
    #[command(flatten)]
    log: LogArguments,
}

#[derive(Debug, Args)]
struct LogArguments {
    /// The least level that is logged
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    level: LogLevel,
    /// How log lines look
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    format: LogFormat,
}

#[derive(Debug, Args)]
struct ProbeArguments {
    /// host, host:port, [v6]:port, or the name of a target of the configuration; one that is configured, by name or
    /// address, keeps its own settings
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// The module whose settings apply to targets that are not configured
    #[arg(long, value_name = "MODULE", default_value = "default")]
    module: String,
    /// A configuration with modules, targets and trust
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// The time of each connection's probe; the module's or target's own by default
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// What is printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
    /// Ask no more than the one question of an ordinary probe
    #[arg(long)]
    no_survey: bool,
    /// Exit with 3 where a target is healthy but has findings
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For a person
    Text,
    /// For a program: an array with an object per target
    Json,
    /// For Prometheus: as /probe answers for a host that is no configured target; of several without the probe_ names
    Metrics,
}

#[derive(Debug, Args)]
struct ExplainArguments {
    /// A verdict or a finding, such as tls_reset or certificate_expired
    #[arg(value_name = "VERDICT|FINDING", value_parser = explain::Subject::parse)]
    subject: Option<explain::Subject>,
    /// How it is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: ExplainFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExplainFormat {
    /// For a terminal
    Text,
    /// As in docs/runbook.md
    Markdown,
}

/// Does what the command line asks for.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = CommandLine::parse();
    let result = match arguments.command {
        None => {
            let log = &arguments.serve.log;
            let started = logging::start(log.level, log.format).context("start the thread of the log");
            started.and_then(|()| serve::run(arguments.serve)).map(|()| ExitCode::SUCCESS)
        }
        Some(Command::CheckConfig { web, file }) => check_config::run(&file, web),
        Some(Command::Completions { shell }) => generate::completions(shell, CommandLine::command()),
        Some(Command::Man { folder }) => generate::man(&folder, CommandLine::command()),
        Some(Command::Diff { a, b }) => diff::run(&a, &b),
        Some(Command::Explain(arguments)) => explain::run(&arguments),
        Some(Command::Probe(arguments)) => probe::run(&arguments),
    };
    logging::finish();
    result.unwrap_or_else(|error| {
        complain(&format!("rdp_exporter: {error:#}"));
        ExitCode::FAILURE
    })
}

/// Writes a line to stderr, where that can be written to.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes the answer to stdout.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // `rdp_exporter probe … | head` is no fault.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Colours are for a terminal that shows them, and for who did not ask to be spared (<https://no-color.org>).
/// Windows sets no `TERM`; its own Terminal says who it is, and older consoles show escape sequences as they are.
fn ink() -> Ink {
    let says = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let shows_colours = env::var_os("TERM").map_or_else(|| says("WT_SESSION"), |term| term != "dumb");
    match io::stdout().is_terminal() && shows_colours && !says("NO_COLOR") {
        true => Ink::Coloured,
        false => Ink::Plain,
    }
}

/// The configuration, or the one that holds without a file.
fn load(file: Option<&PathBuf>) -> Result<Config, ConfigError> {
    file.map_or_else(|| Ok(Config::without_file()), |file| Config::load(file))
}

fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

fn telemetry_path(text: &str) -> Result<String, String> {
    match text.len() > 1 && is_path(text) {
        true => Ok(text.to_owned()),
        false => Err("expected a path such as /metrics, of letters, digits and /-._~".to_owned()),
    }
}

fn route_prefix(text: &str) -> Result<String, String> {
    match text.is_empty() || is_path(text) {
        true => Ok(text.to_owned()),
        false => Err("expected a path such as /rdp, of letters, digits and /-._~".to_owned()),
    }
}

/// The path of a URL.
fn external_path(text: &str) -> Result<String, String> {
    let after_scheme = ["http://", "https://"].into_iter().find_map(|scheme| text.strip_prefix(scheme));
    let rest = after_scheme.filter(|rest| !rest.is_empty() && !rest.starts_with('/'));
    let path = rest.map(|rest| rest.find('/').map_or("", |start| &rest[start..]));
    match path.filter(|path| path.is_empty() || is_path(path)) {
        Some(path) => Ok(path.to_owned()),
        None => {
            Err("expected a URL such as https://monitor.example/rdp, its path of letters, digits and /-._~".to_owned())
        }
    }
}

/// Whether it can stand in HTML and in a header as it is. `//` would begin another server's address.
fn is_path(text: &str) -> bool {
    let known_bytes = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    text.starts_with('/') && !text.contains("//") && text.bytes().all(known_bytes)
}

/// The exit code for bad arguments and bad files, as clap's own.
const WRONG_USE: u8 = 2;
