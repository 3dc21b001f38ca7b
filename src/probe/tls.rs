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
    mem::{self, MaybeUninit},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, PeerMisbehaved, ProtocolVersion, SignatureScheme,
    client::{
        ClientConnectionData, Resumption, UnbufferedClientConnection,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
    unbuffered::{ConnectionState, EncodeError, EncryptError, WriteTraffic},
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
    connection: Box<UnbufferedClientConnection>,
    /// What the server presented so far.
    presented: &'a mut Option<Presented>,
    /// What came and is no whole message yet.
    unfinished: Vec<u8>,
    /// What came inside TLS and was not heard yet.
    heard: Vec<u8>,
    /// What is to be sent.
    unsaid: Vec<u8>,
    /// Whether the server ended TLS.
    has_ended: bool,
    /// How TLS broke, if it did: the library is not asked to go on then.
    broken: Option<Fault>,
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
        let connection =
            UnbufferedClientConnection::new(Arc::clone(&self.config), name).map_err(|error| fault_of(&error))?;
        let mut session = Session::new((tcp, connection), presented);
        session.complete().await?;
        let facts = TlsSession {
            version: version_name(session.connection.protocol_version()),
            cipher: cipher_name(session.connection.negotiated_cipher_suite().map(|suite| suite.suite())),
        };
        Ok((session, facts))
    }
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    fn new((tcp, connection): (&'a mut S, UnbufferedClientConnection), presented: &'a mut Option<Presented>) -> Self {
        Self {
            tcp,
            connection: Box::new(connection),
            presented,
            unfinished: Vec::new(),
            heard: Vec::new(),
            unsaid: Vec::new(),
            has_ended: false,
            broken: None,
            left: MAX_HANDSHAKE_LENGTH,
            piece: PIECE,
        }
    }

    /// Shakes hands. What comes right behind the server's last message of it, an alert or a reset, undoes nothing. Our own
    /// last message leaves with whatever is said next.
    async fn complete(&mut self) -> Result<(), Fault> {
        // The hello is there before anything came.
        self.go_on_with(&mut [])?;
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
        self.write(|traffic, room| traffic.encrypt(bytes, room))?;
        self.flush().await
    }

    /// Appends what the server says next inside TLS.
    pub(super) async fn hear(&mut self, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        let mut broken = Ok(());
        // What was said before it broke is heard first.
        while self.heard.is_empty() {
            broken?;
            broken = self.take_in().await;
            if self.connection.tls13_tickets_received() > MAX_TICKETS {
                return Err(Fault::TlsBroken(format!("more than {MAX_TICKETS} session tickets")));
            }
            self.flush().await?;
        }
        bytes.append(&mut self.heard);
        Ok(())
    }

    /// What is left to be said, close_notify at its end.
    pub(super) fn farewell(&mut self) -> Vec<u8> {
        // Where TLS broke there is none, but maybe what was to be said before.
        let _ = self.write(|traffic, room| traffic.queue_close_notify(room));
        mem::take(&mut self.unsaid)
    }

    /// Reads one piece, and lets the library see it.
    async fn take_in(&mut self) -> Result<(), Fault> {
        if let Some(fault) = &self.broken {
            return Err(fault.clone());
        }
        if self.has_ended {
            return Err(Fault::Closed);
        }
        let limit = self.piece.min(self.left);
        if limit == 0 || self.unfinished.len() > MAX_UNFINISHED_LENGTH {
            return Err(Fault::TlsBroken("more bytes than there is anything to say".to_owned()));
        }
        let taken = poll_fn(|context| self.poll_take_in(context, limit)).await;
        if taken.is_err() {
            // The alert that says so, where there is one and room for it.
            let _ = timeout(Duration::ZERO, self.flush()).await;
        }
        taken
    }

    /// Reads at most `limit` bytes; their room is taken only while they are read, not while they are waited for.
    fn poll_take_in(&mut self, context: &mut Context<'_>, limit: usize) -> Poll<Result<(), Fault>> {
        let mut room = [MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(room.get_mut(..limit).unwrap_or_default());
        ready!(Pin::new(&mut *self.tcp).poll_read(context, &mut piece)).map_err(|error| end_of(&error))?;
        let bytes = piece.filled_mut();
        self.left -= bytes.len();
        Poll::Ready(if bytes.is_empty() { Err(Fault::Closed) } else { self.go_on_with(bytes) })
    }

    /// Lets the library go on, now that `bytes` came.
    fn go_on_with(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        if self.broken.is_none() {
            SEEN.set(self.presented.take());
            let mut unfinished = mem::take(&mut self.unfinished);
            if unfinished.is_empty() {
                // Mostly whole messages come, which are read where they are.
                let done = self.go_on(bytes);
                unfinished.extend_from_slice(bytes.get(done..).unwrap_or_default());
            } else {
                unfinished.extend_from_slice(bytes);
                let done = self.go_on(&mut unfinished);
                unfinished.drain(..done);
            }
            self.unfinished = unfinished;
            *self.presented = SEEN.take();
        }
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Lets the library go on as far as it can with what came, and keeps what it has to say. How many bytes are done with.
    fn go_on(&mut self, bytes: &mut [u8]) -> usize {
        let mut done = 0;
        // Where it broke, there may be an alert to be sent.
        while self.broken.is_none() || self.connection.wants_write() {
            let status = self.connection.process_tls_records(bytes.get_mut(done..).unwrap_or_default());
            done += status.discard;
            match status.state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut self.unsaid, |room| match data.encode(room) {
                        Err(EncodeError::InsufficientSize(error)) => Err(error.required_size),
                        encoded => Ok(encoded.unwrap_or(0)),
                    })
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        self.heard.extend_from_slice(record.payload);
                        done += record.discard;
                    }
                }
                Ok(ConnectionState::PeerClosed) => self.has_ended = true,
                Ok(_) => break,
                Err(error) => self.broken = Some(fault_of(&error)),
            }
        }
        done
    }

    /// Appends what `with` makes of the traffic to what is to be sent; nothing where TLS is broken, as it may not be used then.
    fn write(
        &mut self,
        with: impl Fn(&mut WriteTraffic<'_, ClientConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), Fault> {
        // What was to be said before goes first.
        self.go_on_with(&mut [])?;
        // It has just looked at these bytes, so it is done with none of them.
        let status = self.connection.process_tls_records(&mut self.unfinished);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
            append(&mut self.unsaid, |room| match with(&mut traffic, room) {
                Err(EncryptError::InsufficientSize(error)) => Err(error.required_size),
                written => Ok(written.unwrap_or(0)),
            });
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        let bytes = mem::take(&mut self.unsaid);
        self.tcp.write_all(&bytes).await.map_err(|error| end_of(&error))
    }
}

/// Appends to `bytes` what `write` puts into the room that it is given, or once more into the room that it says it needs.
fn append(bytes: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, usize>) {
    let before = bytes.len();
    let mut room = FLIGHT;
    let written = loop {
        bytes.resize(before + room, 0);
        match write(bytes.get_mut(before..).unwrap_or_default()) {
            Err(needed) if needed > room => room = needed,
            written => break written.unwrap_or(0),
        }
    };
    bytes.truncate(before + written);
}

/// The name for SNI: nothing is sent for an address, nor for a name that TLS cannot carry.
fn name_for_sni(server_name: Option<&str>, peer: IpAddr) -> ServerName<'static> {
    server_name
        .and_then(|name| ServerName::try_from(name.to_owned()).ok())
        .unwrap_or_else(|| ServerName::IpAddress(peer.into()))
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
/// No more is kept of a message that has not ended: the library takes 64 KiB, to which record headers come and a piece.
const MAX_UNFINISHED_LENGTH: usize = 72 * 1024;
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
