//! The floor: what a probe costs without an exporter around it. One thread, blocking sockets: connect, X.224, a whole TLS
//! handshake by the same library with the signature checked, close. At a pace, as an exporter has one.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rdp_exporter::wire::{negotiation::Protocols, x224::ConnectionRequest};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// What is said to [`run`].
pub(crate) fn arguments(rate: f64, seconds: f64, addresses: &[SocketAddr]) -> Vec<String> {
    let addresses = addresses.iter().map(ToString::to_string);
    ["as-floor".to_owned(), rate.to_string(), seconds.to_string()].into_iter().chain(addresses).collect()
}

/// Probes so many times a second, for so many seconds, these addresses in turn: `RATE SECONDS ADDRESS…`.
pub(crate) fn run(arguments: &[String]) {
    let rate: f64 = arguments[0].parse().unwrap();
    let seconds: f64 = arguments[1].parse().unwrap();
    let addresses: Vec<SocketAddr> = arguments[2..].iter().map(|address| address.parse().unwrap()).collect();
    let (request, config) = (request(), Arc::new(config()));
    let begun = Instant::now();
    let count = (rate * seconds) as u32;
    for number in 0..count {
        let due = begun + Duration::from_secs_f64(f64::from(number) / rate);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        probe(addresses[number as usize % addresses.len()], &request, &config).unwrap();
    }
    println!("{count} probes in {:.3} s", begun.elapsed().as_secs_f64());
}

/// How many probes it made in how many seconds, as it tells at its end.
pub(crate) fn told(text: &str) -> (f64, f64) {
    let numbers: Vec<f64> = text.split(' ').filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}

fn probe(address: SocketAddr, request: &[u8], config: &Arc<ClientConfig>) -> io::Result<()> {
    let mut tcp = TcpStream::connect(address)?;
    tcp.set_nodelay(true)?;
    tcp.write_all(request)?;
    let mut confirm = [0; 19];
    tcp.read_exact(&mut confirm)?;
    let name = ServerName::IpAddress(address.ip().into());
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    tls.send_close_notify();
    tls.write_tls(&mut tcp)?;
    tcp.shutdown(Shutdown::Write)?;
    // In order, as the exporter does it: a bare close would be answered for by a reset.
    let mut rest = [0; 4096];
    while tcp.read(&mut rest)? > 0 {}
    Ok(())
}

/// The connection request.
pub(crate) fn request() -> Vec<u8> {
    ConnectionRequest::offering(Protocols::ORDINARY, "rdpexport").encode()
}

/// Whole handshakes with whatever certificate.
pub(crate) fn config() -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

/// Takes every certificate, and checks that the server has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
