//! The demo: the exporter beside a small estate of simulated RDP endpoints on loopback, with real TLS.
//!
//! `cargo run --example demo` starts it, Ctrl-C ends it. It is an example, and no part of the shipped binary.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a demonstration may stop at the first surprise")]

mod endpoint;
mod messages;

use std::{fmt::Write as _, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use endpoint::{Authority, Behaviour, Certificate, Endpoint};
use rdp_exporter::{
    access::Access,
    config::{Reader, ShardVariables},
    http, logging,
    service::{Origin, Service},
};
use tokio::net::TcpListener;

/// One member of the estate, and what the exporter is to say of it.
struct Member {
    name: &'static str,
    site: &'static str,
    behaviour: Behaviour,
    expected: &'static str,
}

fn estate() -> Vec<Member> {
    use Behaviour::{Closed, CutInTls, Legacy, Nla, NlaAhead, NoCertificate, Silent, Slow, StandardOnly, TlsOnly};
    let member = |name, site, behaviour, expected| Member { name, site, behaviour, expected };
    let issued = Certificate::issued;
    vec![
        member("dc01", "berlin", Nla(issued(180)), "healthy, 180 days left"),
        member("ts01", "berlin", Nla(issued(12)), "healthy, certificate_expiring: 12 days left"),
        member(
            RENEWED,
            "berlin",
            Nla(Certificate::issued_for_hours(71)),
            "healthy, certificate_expiring: not quite 3 days left",
        ),
        member("ts03", "berlin", Nla(issued(-10)), "healthy, certificate_expired [critical]"),
        member(
            "ws01",
            "oslo",
            Nla(Certificate::self_signed(-5)),
            "healthy, self-signed and overdue: certificate_expired",
        ),
        member("linux01", "oslo", TlsOnly(Certificate::self_signed(90)), "healthy, TLS without NLA"),
        member("old01", "oslo", StandardOnly(issued(60)), "healthy, standard_security_only [critical]"),
        member("legacy01", "oslo", Legacy(issued(150)), "healthy, tls_legacy, read in the clear"),
        member("clock01", "oslo", NlaAhead(issued(170), TWENTY_MINUTES), "healthy, clock_skew: 20 minutes ahead"),
        member("broken01", "lyon", NoCertificate, "no_certificate: the server has no certificate for TLS"),
        member("broken02", "lyon", CutInTls, "tls_reset: cut inside TLS"),
        member("hung01", "lyon", Silent, "negotiation_timeout: takes the connection and says nothing"),
        member("off01", "lyon", Closed, "connect_refused: nothing listens"),
        member("slow01", "lyon", Slow(issued(200), Duration::from_millis(400)), "healthy, and slow"),
    ]
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    logging::start(logging::LogLevel::Warn, logging::LogFormat::Logfmt)?;
    let folder = tempfile::Builder::new().prefix("rdp_exporter-demo").tempdir()?;
    let authority = Authority::new();
    let mut yaml = String::from(SETTINGS);
    let mut guide = String::new();
    let mut renewed = None;
    for Member { name, site, behaviour, expected } in estate() {
        let endpoint = Endpoint::new(behaviour, name, &authority);
        let address = endpoint.start().await?;
        writeln!(
            yaml,
            "  - {{ name: {name}, address: \"{address}\", server_name: {name}.demo.example, labels: {{ site: {site} }} }}"
        )?;
        writeln!(guide, "  {name:<9} {site:<7} {expected}")?;
        renewed = renewed.or((name == RENEWED).then_some(endpoint));
    }
    let file = folder.path().join("config.yaml");
    std::fs::write(folder.path().join("demo-ca.pem"), authority.pem())?;
    std::fs::write(&file, yaml)?;
    if let Some(endpoint) = renewed {
        tokio::spawn(renew_when_asked(endpoint, authority));
    }
    run(&file, &guide).await
}

/// A new certificate at each SIGUSR1, so that an alert can be seen to end.
async fn renew_when_asked(endpoint: Endpoint, authority: Authority) {
    while asked_to_renew().await.is_some() {
        endpoint.renew(Certificate::issued(365), &authority);
        println!("{RENEWED} has a new certificate.");
    }
}

async fn run(file: &Path, guide: &str) -> anyhow::Result<()> {
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, 19389)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
    };
    let address = listener.local_addr()?;
    let origin = Origin::new(Some(file.to_owned()), ShardVariables::default(), false);
    let reader = Reader::start()?;
    let (service, probes) = Service::start(reader.load(file)?, origin, reader)?;
    println!("rdp_exporter demo: {} simulated RDP endpoints, probed every 5 s.", guide.lines().count());
    println!("What each of them accepts is surveyed within a minute.\n");
    println!("{guide}");
    println!("Open  http://{address}/");
    println!("      http://{address}/metrics");
    println!("      http://{address}/probe?target=broken01&debug=true");
    println!("      http://{address}/config");
    if cfg!(unix) {
        println!("Renew the certificate of {RENEWED} with  kill -USR1 {}", std::process::id());
    }
    println!("End with Ctrl-C.");
    let app = Arc::new(http::App::new(service, Access::load(None)?, http::Web::default()));
    http::serve(vec![listener], app, asked_to_stop()).await;
    tokio::task::spawn_blocking(move || probes.stop()).await??;
    println!("\nStopped.");
    Ok(())
}

#[cfg(unix)]
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(unix)]
async fn asked_to_renew() -> Option<()> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::user_defined1()).unwrap().recv().await
}

#[cfg(not(unix))]
async fn asked_to_renew() -> Option<()> {
    None
}

#[cfg(not(unix))]
async fn asked_to_stop() {
    let _ = tokio::signal::ctrl_c().await;
}

/// What a real estate would also have, but quicker: a demonstration should not take five minutes to change its mind.
const SETTINGS: &str = "\
probe:
  interval: 5s
  timeout: 3s
  confirm_after: 3s
  survey_interval: 1m
  challenge_interval: 10s
trust:
  system_roots: false
  ca_files: [demo-ca.pem]
targets:
";

/// Whose certificate can be renewed.
const RENEWED: &str = "ts02";
const TWENTY_MINUTES: Duration = Duration::from_secs(20 * 60);
