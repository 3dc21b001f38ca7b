//! What the cases stand on: child processes, servers, certificates, peers, and a reader of the metrics text.
//! INVARIANT: nothing here asks the exporter what the truth is.

pub(crate) mod exporter;
pub(crate) mod http;
pub(crate) mod masked;
pub(crate) mod openssl;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod samples;
pub(crate) mod servers;
pub(crate) mod tls;
pub(crate) mod web;
