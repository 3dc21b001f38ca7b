//! What is shipped in `dashboards/` and `packaging/kubernetes/`, and the examples in `docs/`, held against the exporter, the
//! linters' rules and the programs that read them.
//! Nothing here loads a dashboard into a Grafana server.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod agreement;
mod contract;
mod files;
mod kubernetes;
mod lint;
mod live;
mod live_test;
mod names;
mod pages;
mod programs;
mod promql;
mod rules;
mod served;

// The pages, as the offline suite reads them.
#[allow(dead_code, reason = "shared with the offline suite")]
#[path = "../offline/markdown.rs"]
mod markdown;
// Of what the suite of real servers stands on, this one needs child processes and GET.
#[path = "../servers/harness/http.rs"]
mod http;
#[allow(dead_code, clippy::disallowed_methods, reason = "shared with the suite of real servers, and a test must wait")]
#[path = "../servers/harness/process.rs"]
mod process;
