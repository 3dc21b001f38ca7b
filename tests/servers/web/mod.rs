//! Who may ask the exporter, and over what: TLS, client certificates, passwords, prefixes, sockets.
//! INVARIANT: what is expected comes from curl, openssl, promtool, Prometheus and crypt(3).

mod changes;
mod files;
mod listening;
mod passwords;
mod scraping;
mod tls;

use crate::harness::web::{Answer, Site, ask, bcrypt, curl, recipe, text};
