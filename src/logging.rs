//! The log: logfmt or JSON on stderr, without colour.
//!
//! A thread of its own writes it. A log that cannot be taken (a full disk, a pipe whose reader is gone or asleep) must
//! neither stop what logs nor break it: lines that find no place are counted, and that is all.

use std::{
    io::{self, Write},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

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
///
/// # Errors
/// No thread to be had.
pub fn start(level: LogLevel, format: LogFormat) -> io::Result<()> {
    let filter = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let (queue, entries) = sync_channel(MAX_WAITING);
    thread::Builder::new().name("log".into()).spawn(move || write(&entries, stderr()))?;
    // A second start, in a test, keeps the first.
    let _ = QUEUE.set(queue.clone());
    let writer = move || Lines(queue.clone());
    // The events' own `target` is the RDP target's name, not a module's.
    let layer = match format {
        LogFormat::Logfmt => {
            tracing_logfmt::builder().with_target(false).layer().with_writer(writer).with_ansi(false).boxed()
        }
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_target(false).with_writer(writer).boxed(),
    };
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    Ok(())
}

/// Waits until what was logged is written, but not long.
pub fn finish() {
    let Some(queue) = QUEUE.get() else { return };
    let (done, is_done) = sync_channel(1);
    // A full queue is one that nobody empties.
    if queue.try_send(Entry::Mark(done)).is_ok() {
        let _ = is_done.recv_timeout(LAST_LINES);
    }
}

/// How many lines could not be written.
#[must_use]
pub fn lines_lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

enum Entry {
    Line(Vec<u8>),
    /// To be answered when all before it is written.
    Mark(SyncSender<()>),
}

/// Takes one line at a time.
struct Lines(SyncSender<Entry>);

impl Write for Lines {
    /// INVARIANT: it never fails, as the subscriber would complain on stderr, and panic where that fails too.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Entry::Line(line.to_vec())).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes until nobody logs any more, and says so where lines were lost before.
fn write(entries: &Receiver<Entry>, mut out: impl Write) {
    let mut told = 0;
    for entry in entries {
        match entry {
            Entry::Line(line) if out.write_all(&line).is_err() => {
                LOST.fetch_add(1, Ordering::Relaxed);
            }
            Entry::Line(_) => {
                let lost = lines_lost();
                if lost > told {
                    tracing::warn!(lines = lost - told, "Lines of the log were lost, as they could not be written");
                    told = lost;
                }
            }
            Entry::Mark(done) => drop(done),
        }
    }
}

/// Without the lock that whoever else writes there waits for.
#[cfg(unix)]
fn stderr() -> Box<dyn Write> {
    use std::os::fd::AsFd;
    match io::stderr().as_fd().try_clone_to_owned() {
        Ok(own) => Box::new(std::fs::File::from(own)),
        Err(_) => Box::new(io::stderr()),
    }
}

#[cfg(not(unix))]
fn stderr() -> Box<dyn Write> {
    Box::new(io::stderr())
}

static QUEUE: OnceLock<SyncSender<Entry>> = OnceLock::new();
static LOST: AtomicU64 = AtomicU64::new(0);
/// Lines that wait to be written.
const MAX_WAITING: usize = 1024;
/// How long the last lines may take.
const LAST_LINES: Duration = Duration::from_secs(1);
