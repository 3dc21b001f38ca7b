//! Clients that mean no good, as many as real programs can make of them: the exporter goes on answering others and probing.
//!
//! The built binary probes targets beside all that, and another client, curl at an address of its own, scrapes it. What is
//! looked at is what that one got, whether probes kept their pace, and what /proc says of the process.
//!
//! Needed: Linux, and Debian's packages apache2-utils, curl, nghttp2-client, openssl, slowhttptest and wrk
//! (`.ci/install-test-servers`). A test whose programs are missing says so and passes; where `CI=true` it fails.
//!
//! ```sh
//! cargo test --test clients                      # two minutes on two cores
//! cargo test --test clients -- --nocapture       # with figures
//! ```

#![allow(clippy::unwrap_used, reason = "a test has nothing better to do with an error than to stop")]
#![allow(clippy::disallowed_methods, reason = "deadlines and certificate dates need the real clock")]

mod floods;
#[allow(dead_code, reason = "shared with the suite of real servers")]
#[path = "../servers/harness/mod.rs"]
mod harness;
mod idle;
mod odd;
mod siege;
mod slow;
#[allow(dead_code, reason = "shared with the offline suite")]
#[path = "../offline/watch.rs"]
mod watch;
