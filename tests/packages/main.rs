//! What `packaging/` ships for one machine: the systemd unit, the Debian package, the crate, the container's recipe, and
//! the list of what the binary is made of.
//!
//! The package is built of the binary under test, or of a release build that is there already, and installed, upgraded
//! and purged by the real dpkg on this machine's own root with a layer above it that takes every change (overlayfs in a
//! mount namespace). The machine itself stays as it is, and no service is started. No container is built here: there is no
//! engine that CI could rely on.
//!
//! Needed: Debian with dpkg-dev and systemd (`.ci/install-test-servers`), cargo-cyclonedx, and root.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod deb;
mod notify;
mod sbom;
mod sources;

#[allow(dead_code, clippy::disallowed_methods, reason = "shared with the suite of real servers, and a test must wait")]
#[path = "../servers/harness/process.rs"]
mod process;

fn root() -> &'static std::path::Path {
    env!("CARGO_MANIFEST_DIR").as_ref()
}
