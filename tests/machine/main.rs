//! The exporter on a machine that fails it: no descriptors, no threads, no memory, no resolver, another time, a full disk,
//! files that are gone or are something else, a standstill.
//!
//! Each fault comes and goes while the built binary serves and probes: it keeps serving what it knows, says what is wrong
//! by metric and log, and recovers by itself; but for memory, without which it ends, and begins again with what it saved. The
//! means are the system's own: rlimits, signals, mounts, libfaketime.
//!
//! Needed: Linux, root, and Debian's packages curl, faketime, freerdp2-shadow-x11, openssl, perl-base, unbound, util-linux
//! and xvfb (`.ci/install-test-servers`). Where something is missing a test says so and passes; where `CI=true` it fails.
//! Mounts are made in namespaces of their own; nothing outside of a temporary folder is touched.

#![allow(clippy::unwrap_used, reason = "a test has nothing better to do with an error than to stop")]
#![allow(clippy::disallowed_methods, reason = "deadlines and certificate dates need the real clock")]

mod client;
mod clock;
mod descriptors;
mod disk;
mod exporting;
mod files;
mod log;
mod resolver;
mod standstill;
mod threads;
mod web_files;

#[allow(dead_code, reason = "shared with the suite of real servers")]
#[path = "../servers/harness/mod.rs"]
mod harness;
