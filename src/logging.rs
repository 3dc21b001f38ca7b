//! The log: logfmt or JSON on stderr, without colour.

use std::io;

use tracing_subscriber::{Layer, filter::LevelFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// The least level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    /// Each probe.
    Debug,
    /// Start, stop, reload, and changes of verdict.
    Info,
    /// Trouble of the exporter's own.
    Warn,
    /// Faults of the exporter's own.
    Error,
}

/// Sends the log to stderr from now on.
pub fn start(level: LogLevel, format: LogFormat) {
    let filter = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    // The events' own `target` is the RDP target's name, not a module's.
    let layer = match format {
        LogFormat::Logfmt => {
            tracing_logfmt::builder().with_target(false).layer().with_writer(io::stderr).with_ansi(false).boxed()
        }
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_target(false).with_writer(io::stderr).boxed(),
    };
    // A second start, in a test, keeps the first.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}
