//! The TLS handshake: it records and never aborts.
//!
//! The verifier accepts every certificate and every signature and keeps what it saw, also where the handshake fails
//! later; whether a chain is good is the business of `certificate::trust`. That is safe because the probe sends no
//! secret over this stream.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, PeerMisbehaved, ProtocolVersion, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::negotiate::end_of;
use crate::{
    certificate::signature,
    observation::{Fault, Presented, TlsSession},
};

/// What every handshake of this process shares.
#[derive(Debug, Clone)]
pub(super) struct Client {
    provider: Arc<CryptoProvider>,
}

/// One handshake's record.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    seen: Mutex<Option<Presented>>,
}

impl Client {
    pub(super) fn new() -> Self {
        Self { provider: Arc::new(rustls::crypto::ring::default_provider()) }
    }

    /// Shakes hands with `peer` over `tcp`.
    ///
    /// # Errors
    /// How it stopped. What the server presented until then is in `recorder`.
    pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        (tcp, peer): (S, IpAddr),
        server_name: Option<&str>,
        recorder: &Arc<Recorder>,
    ) -> Result<(TlsStream<S>, TlsSession), Fault> {
        let connector = TlsConnector::from(Arc::new(self.config(recorder)?));
        let name = name_for_sni(server_name, peer);
        let stream = connector.connect(name, tcp).await.map_err(|error| fault_of(&error))?;
        let (_, connection) = stream.get_ref();
        let session = TlsSession {
            version: version_name(connection.protocol_version()),
            cipher: cipher_name(connection.negotiated_cipher_suite().map(|suite| suite.suite())),
        };
        Ok((stream, session))
    }

    fn config(&self, recorder: &Arc<Recorder>) -> Result<ClientConfig, Fault> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| Fault::TlsBroken(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(recorder) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        // CredSSP does not support resumption, and each probe is to be a whole handshake.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// The name for SNI: nothing is sent for an address, nor for a name that TLS cannot carry.
fn name_for_sni(server_name: Option<&str>, peer: IpAddr) -> ServerName<'static> {
    server_name
        .and_then(|name| ServerName::try_from(name.to_owned()).ok())
        .unwrap_or_else(|| ServerName::IpAddress(peer.into()))
}

impl Recorder {
    /// What the server presented so far.
    pub(super) fn presented(&self) -> Option<Presented> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record_signature(&self, message: &[u8], leaf: &CertificateDer<'_>, signed: &DigitallySignedStruct) {
        let proven = signature::verify(leaf, signed.scheme.into(), message, signed.signature());
        if let Some(presented) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            presented.key_proven = proven;
        }
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates).map(|der| der.to_vec()).collect();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Presented { chain, key_proven: None });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.record_signature(message, cert, dss);
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.record_signature(message, cert, dss);
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

fn fault_of(error: &io::Error) -> Fault {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return end_of(error);
    };
    match tls {
        rustls::Error::AlertReceived(alert) => Fault::Alert((*alert).into()),
        rustls::Error::PeerIncompatible(why) => Fault::Incompatible(format!("{why:?}")),
        rustls::Error::PeerMisbehaved(why) if is_unoffered_choice(why) => Fault::Incompatible(format!("{why:?}")),
        other => Fault::TlsBroken(other.to_string()),
    }
}

/// Whether the library calls a choice misbehaviour that other clients would have offered.
fn is_unoffered_choice(why: &PeerMisbehaved) -> bool {
    matches!(
        why,
        PeerMisbehaved::SelectedUnofferedCipherSuite
            | PeerMisbehaved::SelectedUnofferedKxGroup
            | PeerMisbehaved::SelectedUnusableCipherSuiteForVersion
            | PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme
            | PeerMisbehaved::SignedKxWithWrongAlgorithm
    )
}

fn version_name(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "TLS 1.2",
    }
}

/// The IANA name. The library's own names differ for TLS 1.3.
fn cipher_name(suite: Option<CipherSuite>) -> &'static str {
    match suite {
        Some(CipherSuite::TLS13_AES_128_GCM_SHA256) => "TLS_AES_128_GCM_SHA256",
        Some(CipherSuite::TLS13_AES_256_GCM_SHA384) => "TLS_AES_256_GCM_SHA384",
        Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256) => "TLS_CHACHA20_POLY1305_SHA256",
        Some(suite) => suite.as_str().unwrap_or_default(),
        None => "",
    }
}

/// What is offered. Servers with Windows' legacy key provider sign with SHA-1 and may refuse a client that does not
/// offer it; P-521 is not checked by our library but must not end the handshake. Both come last.
const SCHEMES: [SignatureScheme; 11] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::RSA_PKCS1_SHA1,
];
