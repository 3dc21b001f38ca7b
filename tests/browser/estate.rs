//! An exporter with targets to look at.

use std::{fs, net::Ipv4Addr, process::Command, sync::Arc};

use rdp_exporter::wire::negotiation::Protocols;
use rustls::ServerConfig;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::{
    endpoint::{Endpoint, Tls, answering, refusing, speaking, tls13},
    process::{Process, directory},
};

/// A serving exporter and what it probes.
pub(crate) struct Estate {
    /// By a name that browsers do not trust as they trust loopback.
    pub(crate) url: String,
    pub(crate) port: u16,
    _exporter: Process,
    _endpoints: Vec<Endpoint>,
    _closed: Socket,
}

impl Estate {
    /// Those of `first`, probed first, and so many whose port is closed.
    pub(crate) fn start(first: Vec<(Value, Endpoint)>, closed: usize) -> Self {
        let socket = closed_port();
        let refusing = socket.local_addr().unwrap().as_socket().unwrap().to_string();
        let (mut targets, endpoints): (Vec<_>, Vec<_>) = first.into_iter().unzip();
        targets.extend((0..closed).map(|number| {
            let site = ["berlin", "oslo", "lyon", "porto"][number % 4];
            json!({ "name": format!("ts{number:04}.corp.example"), "address": refusing, "labels": { "site": site } })
        }));
        let config = json!({
            "probe": { "interval": "1h", "confirm_after": "50m", "timeout": "20s", "survey_interval": "0s", "challenge_interval": "0s" },
            "trust": { "system_roots": false },
            "targets": targets,
        });
        let folder = directory();
        // JSON is YAML.
        let file = folder.path().join("config.yaml");
        fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rdp_exporter"));
        command.arg(format!("--config.file={}", file.display())).arg("--web.listen-address=127.0.0.1:0");
        let mut exporter = Process::start("rdp_exporter", &command, folder);
        let log = exporter.log_file();
        let port = exporter.wait_until("a port", || {
            let log = fs::read_to_string(&log).ok()?;
            let (_, after) = log.split_once("address=127.0.0.1:")?;
            after.split_once(char::is_whitespace)?.0.parse().ok()
        });
        let url = format!("http://exporter.example:{port}");
        Self { url, port, _exporter: exporter, _endpoints: endpoints, _closed: socket }
    }
}

/// A port that refuses connections, and that nobody else can be given: bound, but not listened on.
fn closed_port() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket
}

/// A target with an endpoint of its own.
pub(crate) fn member(name: &str, site: &str, endpoint: Endpoint) -> (Value, Endpoint) {
    let address = endpoint.address.to_string();
    (json!({ "name": name, "address": address, "labels": { "site": site } }), endpoint)
}

pub(crate) fn healthy() -> Endpoint {
    Endpoint::start(vec![speaking(Protocols::HYBRID_EX, tls13())])
}

/// Refuses the first probe, and lets every later one in.
pub(crate) fn mended() -> Endpoint {
    Endpoint::start(vec![answering(refusing(5)), speaking(Protocols::HYBRID_EX, tls13())])
}

/// Shows a certificate with that common name, which ended long ago.
pub(crate) fn expired(common_name: &str) -> Endpoint {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let tls = Tls { config: Arc::new(config), pace: None, reply: None };
    Endpoint::start(vec![speaking(Protocols::HYBRID_EX, tls)])
}
