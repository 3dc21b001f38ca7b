//! A TLS server of our own, for what no real server does: a key that does not fit, and a record of how the client left.

use std::io::{self, ErrorKind, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::openssl::Certificate;
use super::peer::{Peer, answer_tls_only};

/// Something the client did at the end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The TLS alert that announces the end.
    CloseNotify,
    /// The end of the stream.
    Eof,
    /// Anything else: a reset, silence, broken TLS, bytes after the alert.
    Other(String),
}

/// A server configuration with one certificate; whether the key fits it is not checked.
pub(crate) fn server_config(
    certificate: &Certificate,
    key_of: &Certificate,
    version: &'static SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(&certificate.certificate).unwrap().map(Result::unwrap).collect();
    let key = ring::sign::any_supported_type(&PrivateKeyDer::from_pem_file(&key_of.key).unwrap()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(Arc::new(CertifiedKey::new(chain, key)))));
    // Unread tickets are what turns a careless close of the client into a reset.
    config.send_tls13_tickets = 4;
    Arc::new(config)
}

/// A server of TLS and nothing else, as xrdp with `security_layer=tls`, in threads of the test.
#[allow(dead_code, reason = "the suite of real servers has those")]
pub(crate) fn tls_server(address: SocketAddr, certificate: &Certificate) -> Peer {
    let config = server_config(certificate, certificate, &TLS13);
    Peer::at(address, move |mut client| {
        if answer_tls_only(&mut client)? {
            serve(client, Arc::clone(&config));
        }
        Ok(())
    })
}

/// Speaks TLS until the client ends the connection; what the client did at the end, in order.
pub(crate) fn serve(mut socket: TcpStream, config: Arc<ServerConfig>) -> Vec<Ending> {
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut connection = ServerConnection::new(config).unwrap();
    match until_close_notify(&mut connection, &mut socket) {
        Ok(true) => vec![Ending::CloseNotify, ending(socket)],
        Ok(false) => vec![Ending::Eof],
        Err(error) => vec![Ending::Other(error.to_string())],
    }
}

/// Whether the alert came before the end of the stream.
fn until_close_notify(connection: &mut ServerConnection, socket: &mut TcpStream) -> io::Result<bool> {
    loop {
        while connection.wants_write() {
            connection.write_tls(socket)?;
        }
        if connection.read_tls(socket)? == 0 {
            return Ok(false);
        }
        let state = connection.process_new_packets().map_err(io::Error::other)?;
        if state.plaintext_bytes_to_read() > 0 {
            let mut plaintext = vec![0; state.plaintext_bytes_to_read()];
            connection.reader().read_exact(&mut plaintext)?;
        }
        if state.peer_has_closed() {
            return Ok(true);
        }
    }
}

fn ending(mut socket: TcpStream) -> Ending {
    let mut rest = Vec::new();
    match socket.read_to_end(&mut rest) {
        Ok(0) => Ending::Eof,
        Ok(count) => Ending::Other(format!("{count} bytes after close_notify")),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ending::Other("a reset".to_owned()),
        Err(error) => Ending::Other(error.to_string()),
    }
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
