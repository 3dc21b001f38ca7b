//! The exporter against real servers, from the outside.
//!
//! These tests start xrdp, FreeRDP's shadow server, weston, `openssl s_server` and Prometheus on loopback, run the built
//! binary against them and read only what it prints and serves. What is expected comes from openssl's reading of the
//! certificates and from the servers' configuration, never from the exporter.
//!
//! Needed: Linux, Debian's packages curl, freerdp2-shadow-x11, openssl, prometheus, prometheus-blackbox-exporter, systemd, weston,
//! xrdp and xvfb (`.ci/install-test-servers` installs them without starting a service), and either root or user namespaces,
//! because each xrdp gets a /run of its own.
//! A test whose programs are missing says so and passes; where `CI=true` it fails.
//!
//! ```sh
//! cargo test --test servers                # all; about two minutes on two cores
//! cargo test --test servers -- --skip scale
//! cargo test --test servers harness        # only what the servers do, without the exporter
//! ```
//!
//! Every test has its own ports, directories and processes, so they run side by side. Nothing waits for a fixed time: what
//! takes time is asked again until a deadline.

#![allow(clippy::unwrap_used, reason = "a test has nothing better to do with an error than to stop")]
#![allow(clippy::disallowed_methods, reason = "deadlines and certificate dates need the real clock")]

mod addresses;
mod certificates;
mod changes;
mod close;
mod command;
mod discovery;
mod freerdp;
#[allow(dead_code, reason = "shared with the offline suite")]
#[path = "../offline/golden.rs"]
mod golden;
mod harness;
mod harness_checks;
mod hostile;
mod layers;
mod legacy;
#[allow(dead_code, reason = "shared with the offline suite")]
#[path = "../offline/markdown.rs"]
mod markdown;
mod migration;
mod network;
mod pages;
mod prometheus;
mod restart;
mod scale;
mod security;
mod trust;
mod web;
mod xrdp;
