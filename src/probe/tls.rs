//! The TLS handshake: it records and never aborts.
//!
//! The verifier accepts every certificate and every signature and keeps what it saw, also where the handshake fails
//! later; whether a chain is good is the business of `certificate::trust`. That is safe because the probe sends no
//! secret over this stream.
//!
//! The library neither bounds what it takes in nor says that a handshake had completed when what follows breaks it. So it is
//! fed here, piece by piece.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, Read, Write},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, PeerMisbehaved, ProtocolVersion,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};

use super::negotiate::end_of;
use crate::{
    certificate::signature,
    observation::{Fault, Presented, TlsSession},
    wire::credssp,
};

/// What every handshake of this process shares.
#[derive(Debug, Clone)]
pub(super) struct Client {
    config: Arc<ClientConfig>,
}

/// A TLS connection over `tcp`.
pub(super) struct Session<'a, S> {
    tcp: &'a mut S,
    /// Boxed, as it is large, and a session is moved.
    connection: Box<ClientConnection>,
    /// What the server presented so far.
    presented: &'a mut Option<Presented>,
    /// How many more bytes are read of it.
    left: usize,
    /// How many of them at once.
    piece: usize,
}

impl Client {
    #[expect(clippy::expect_used, reason = "the library's own provider speaks the library's own versions")]
    pub(super) fn new() -> Self {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("TLS 1.2 and 1.3 with the suites of ring")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Recorder))
            .with_no_client_auth();
        // CredSSP does not support resumption, and each probe is to be a whole handshake.
        config.resumption = Resumption::disabled();
        Self { config: Arc::new(config) }
    }

    /// Shakes hands with `peer` over `tcp`.
    ///
    /// # Errors
    /// How it stopped. What the server presented until then is in `presented`.
    pub(super) async fn handshake<'a, S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        (tcp, peer): (&'a mut S, IpAddr),
        server_name: Option<&str>,
        presented: &'a mut Option<Presented>,
    ) -> Result<(Session<'a, S>, TlsSession), Fault> {
        let name = name_for_sni(server_name, peer);
        let connection = ClientConnection::new(Arc::clone(&self.config), name).map_err(|error| fault_of(&error))?;
        let connection = Box::new(connection);
        let mut session = Session { tcp, connection, presented, left: MAX_HANDSHAKE_LENGTH, piece: PIECE };
        session.complete().await?;
        let facts = TlsSession {
            version: version_name(session.connection.protocol_version()),
            cipher: cipher_name(session.connection.negotiated_cipher_suite().map(|suite| suite.suite())),
        };
        Ok((session, facts))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    /// Shakes hands. What comes right behind the server's last message of it, an alert or a reset, undoes nothing. Our own
    /// last message leaves with whatever is said next.
    async fn complete(&mut self) -> Result<(), Fault> {
        while self.connection.is_handshaking() {
            self.flush().await?;
            match self.take_in().await {
                Err(fault) if self.connection.is_handshaking() => return Err(fault),
                _ => {}
            }
        }
        self.left = MAX_ANSWER_LENGTH;
        self.piece = SMALL_PIECE;
        Ok(())
    }

    /// Sends `bytes` inside TLS.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.connection.writer().write_all(bytes).map_err(|error| end_of(&error))?;
        self.flush().await
    }

    /// Appends what the server says next inside TLS.
    pub(super) async fn hear(&mut self, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        let mut broken = Ok(());
        loop {
            match self.hear_now(bytes) {
                Ok(0) => return Err(Fault::Closed),
                Ok(_) => return Ok(()),
                // What was said before it broke is heard first.
                Err(_) => broken?,
            }
            broken = self.take_in().await;
            if self.connection.tls13_tickets_received() > MAX_TICKETS {
                return Err(Fault::TlsBroken(format!("more than {MAX_TICKETS} session tickets")));
            }
            self.flush().await?;
        }
    }

    /// Appends what was taken in already; how much that is.
    fn hear_now(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let mut plaintext = [0; SMALL_PIECE];
        let count = self.connection.reader().read(&mut plaintext)?;
        bytes.extend_from_slice(plaintext.get(..count).unwrap_or_default());
        Ok(count)
    }

    /// What is left to be said, close_notify at its end.
    pub(super) fn farewell(&mut self) -> Vec<u8> {
        self.connection.send_close_notify();
        self.unsaid().unwrap_or_default()
    }

    /// Reads one piece, and lets the library see it.
    async fn take_in(&mut self) -> Result<(), Fault> {
        let limit = self.piece.min(self.left);
        if limit == 0 {
            return Err(Fault::TlsBroken("more bytes than there is anything to say".to_owned()));
        }
        let count = poll_fn(|context| self.poll_read(context, limit)).await.map_err(|error| end_of(&error))?;
        if count == 0 {
            return Err(Fault::Closed);
        }
        self.left -= count;
        SEEN.set(self.presented.take());
        let result = self.connection.process_new_packets();
        *self.presented = SEEN.take();
        if let Err(error) = result {
            // The alert that says so, where there is room for it.
            let _ = timeout(Duration::ZERO, self.flush()).await;
            return Err(fault_of(&error));
        }
        Ok(())
    }

    fn poll_read(&mut self, context: &mut Context<'_>, limit: usize) -> Poll<io::Result<usize>> {
        match self.connection.read_tls(&mut Piece { tcp: self.tcp, context, limit }) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            read => Poll::Ready(read),
        }
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        let bytes = self.unsaid().map_err(|error| end_of(&error))?;
        self.tcp.write_all(&bytes).await.map_err(|error| end_of(&error))
    }

    fn unsaid(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if self.connection.wants_write() {
            bytes.reserve_exact(FLIGHT);
        }
        while self.connection.wants_write() {
            self.connection.write_tls(&mut bytes)?;
        }
        Ok(bytes)
    }
}

/// The name for SNI: nothing is sent for an address, nor for a name that TLS cannot carry.
fn name_for_sni(server_name: Option<&str>, peer: IpAddr) -> ServerName<'static> {
    server_name
        .and_then(|name| ServerName::try_from(name.to_owned()).ok())
        .unwrap_or_else(|| ServerName::IpAddress(peer.into()))
}

/// What the library may read at once, from where it is.
struct Piece<'a, 'b, S> {
    tcp: &'a mut S,
    context: &'a mut Context<'b>,
    limit: usize,
}

impl<S: AsyncRead + Unpin> Read for Piece<'_, '_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.limit);
        let mut buffer = ReadBuf::new(buffer.get_mut(..length).unwrap_or_default());
        match Pin::new(&mut *self.tcp).poll_read(self.context, &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Keeps what it is shown in [`SEEN`].
#[derive(Debug)]
struct Recorder;

thread_local! {
    /// What was presented on the connection whose bytes the library looks at just now. The verifier is not told which one
    /// that is; it is called nowhere else.
    static SEEN: RefCell<Option<Presented>> = const { RefCell::new(None) };
}

impl Recorder {
    fn record_signature(message: &[u8], leaf: &CertificateDer<'_>, signed: &DigitallySignedStruct) {
        let proven = signature::verify(leaf, signed.scheme.into(), message, signed.signature());
        SEEN.with_borrow_mut(|seen| {
            if let Some(presented) = seen {
                presented.key_proven = proven;
            }
        });
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
        SEEN.set(Some(Presented { chain, key_proven: None }));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::record_signature(message, cert, dss);
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::record_signature(message, cert, dss);
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

fn fault_of(error: &rustls::Error) -> Fault {
    match error {
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

/// No more is read of a handshake, record headers included: the library takes four messages of at most 64 KiB.
const MAX_HANDSHAKE_LENGTH: usize = 256 * 1024;
/// No more is read after it: the longest answer to a CredSSP request, and what TLS adds to it.
const MAX_ANSWER_LENGTH: usize = credssp::MAX_FRAME_LENGTH + 16 * 1024;
/// Session tickets after which nobody waits for the answer any more. Servers send one to four, and each, of 18 bytes, makes
/// the library copy the server's whole chain.
const MAX_TICKETS: u32 = 32;
/// Room for what is sent at once: all but a chatty hello fits.
const FLIGHT: usize = 512;
/// What is read at once: most flights fit.
const PIECE: usize = 4096;
/// The same after the handshake, so that few tickets come between two looks at their number.
const SMALL_PIECE: usize = 1024;

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
