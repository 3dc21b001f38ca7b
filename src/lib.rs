//! Prometheus exporter for RDP endpoints: the map.
//!
//! ```text
//! config → target → observation → diagnosis → report → metrics → HTTP
//!   load     schedule  probe        diagnose    absorb   render    serve
//! ```
//!
//! Facts first, judgement second, presentation last; see ARCHITECTURE.md.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may fail by panic"))]

pub mod access;
pub mod certificate;
pub mod cli;
pub mod config;
mod descriptors;
pub mod diagnosis;
pub mod discovery;
pub mod examine;
pub mod history;
pub mod http;
pub mod laboratory;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod observation;
pub mod page;
pub mod probe;
pub mod report;
pub mod schedule;
pub mod service;
pub mod state;
pub mod state_file;
pub mod survey;
pub mod target;
pub mod text;
pub mod wire;
