//! How many descriptors this process may have, which bounds how many probes may be under way.

#[cfg(unix)]
use rustix::process::{Resource, getrlimit, setrlimit};

/// How many probes may be under way at once. Raises the process's own limit as far as it may go.
pub(crate) fn room_for_probes() -> usize {
    limit().map_or(MOST, |limit| limit.saturating_sub(RESERVED).clamp(1, MOST))
}

/// Whether there are enough to serve at all. Raises the process's own limit as far as it may go.
///
/// # Errors
/// What to do, where there are not: later, whatever comes first would fail.
pub(crate) fn check() -> Result<(), String> {
    match limit() {
        Some(limit) if limit < LEAST => Err(format!(
            "the limit of descriptors is {limit} and {LEAST} are the least to serve with; raise it (ulimit -n, LimitNOFILE= of systemd)"
        )),
        Some(_) | None => Ok(()),
    }
}

#[cfg(unix)]
fn limit() -> Option<usize> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Where it may not be raised the old one holds.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok())
}

#[cfg(not(unix))]
fn limit() -> Option<usize> {
    None
}

/// For 256 scrapers, 128 probes on demand, 64 look-ups, files and the log.
const RESERVED: usize = 512;
/// Listeners, runtimes, signals, the log, files, a few scrapers and a few probes.
const LEAST: usize = 64;
/// More than this many sockets at once is no politeness any more.
const MOST: usize = 8192;
