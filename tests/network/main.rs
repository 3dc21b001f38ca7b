//! The exporter through a real network: what filters, routers, resolvers and broken paths make of a probe.
//!
//! Each test has three hosts of its own, exporter – router – host, which are network namespaces with cables (veth)
//! between them. The built binary runs in the first, real servers in the last, and nft breaks what is to be broken on the
//! way. What is expected comes from the test's own rules, never from the exporter.
//!
//! Needed: Linux, Debian's packages iproute2, nftables, openssl, unbound, xrdp and those of the suite `servers`
//! (`.ci/install-test-servers`), and root. Root in a user namespace will do, once everything is fetched and built:
//!
//! ```sh
//! cargo test --test network                               # all; about a minute on two cores
//! unshare --map-root-user --net cargo test --test network # who is not root
//! ```
//!
//! Where something is missing a test says so and passes; where `CI=true` it fails. The namespaces have no names and go
//! with the test, also where it is killed. Nothing outside of them is touched.

#![allow(clippy::unwrap_used, reason = "a test has nothing better to do with an error than to stop")]
#![allow(clippy::disallowed_methods, reason = "deadlines and certificate dates need the real clock")]

mod cut;
mod delay;
mod fault;
mod fence;
mod names;
mod namespace;
mod probing;
mod silence;
mod unstable;

#[allow(dead_code, reason = "shared with the suite of real servers")]
#[path = "../servers/harness/mod.rs"]
mod harness;
