//! The status page in a real browser: headless Chromium, driven over WebDriver, against the real binary.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail by panic and must wait")]

#[allow(dead_code, reason = "shared with the offline suite")]
#[path = "../offline/endpoint.rs"]
mod endpoint;
mod estate;
mod hostile;
mod journey;
mod looks;
#[allow(dead_code, reason = "shared with the suite of real servers")]
#[path = "../servers/harness/process.rs"]
mod process;
mod webdriver;
