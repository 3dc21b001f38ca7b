//! One simulated RDP endpoint.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, RwLock},
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData, SignatureAlgorithm};
use rdp_exporter::wire::{
    negotiation::{FailureCode, NegotiationAnswer, Protocols, ResponseFlags},
    tpkt,
    x224::{Answer, ConnectionRequest},
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use time::OffsetDateTime;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::messages;

/// What an endpoint does.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    /// Nothing listens.
    Closed,
    /// Selects NLA and resets the connection once TLS begins.
    CutInTls,
    /// NLA with nothing better than TLS 1.2, RSA key exchange and CBC: what no modern TLS library finishes.
    Legacy(Certificate),
    /// NLA with TLS.
    Nla(Certificate),
    /// The same with a clock that goes ahead.
    NlaAhead(Certificate, Duration),
    /// RDP_NEG_FAILURE 3.
    NoCertificate,
    /// Takes the connection and says nothing.
    Silent,
    /// NLA, each answer late.
    Slow(Certificate, Duration),
    /// RDP_NEG_FAILURE 2 to everything but Standard RDP Security.
    StandardOnly(Certificate),
    /// TLS without NLA.
    TlsOnly(Certificate),
}

/// Which certificate an endpoint shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Certificate {
    hours_left: i64,
    self_signed: bool,
}

impl Certificate {
    /// By the demo's authority.
    pub(crate) const fn issued(days_left: i64) -> Self {
        Self::issued_for_hours(hours(days_left))
    }

    /// The same, to the hour.
    pub(crate) const fn issued_for_hours(hours_left: i64) -> Self {
        Self { hours_left, self_signed: false }
    }

    /// By itself, as Windows makes them.
    pub(crate) const fn self_signed(days_left: i64) -> Self {
        Self { hours_left: hours(days_left), self_signed: true }
    }
}

/// Half a day more, so that a day's fraction does not round it down.
const fn hours(days: i64) -> i64 {
    days * 24 + 12
}

/// The demo's certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = named("rdp_exporter demo CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = OffsetDateTime::now_utc() - time::Duration::days(3650);
        params.not_after = OffsetDateTime::now_utc() + time::Duration::days(3650);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn acceptor(&self, certificate: Certificate, name: &str) -> TlsAcceptor {
        let params = params(certificate, name);
        let key = KeyPair::generate().unwrap();
        let signed = match certificate.self_signed {
            true => params.self_signed(&key),
            false => params.signed_by(&key, &self.issuer),
        };
        let chain = vec![CertificateDer::from(signed.unwrap())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()))
    }

    /// Root and own certificate in DER, for a key of RSA that nobody has: it never comes to using it.
    fn shown(&self, certificate: Certificate, name: &str) -> Vec<Vec<u8>> {
        let signed = params(certificate, name).signed_by(&RsaKey::new(), &self.issuer).unwrap();
        vec![self.certificate.der().to_vec(), signed.der().to_vec()]
    }
}

fn params(certificate: Certificate, name: &str) -> CertificateParams {
    let name = format!("{name}.demo.example");
    let mut params = named(&name);
    params.not_after = OffsetDateTime::now_utc() + time::Duration::hours(certificate.hours_left);
    params.not_before = params.not_after - time::Duration::days(365);
    params.subject_alt_names = vec![rcgen::SanType::DnsName(name.as_str().try_into().unwrap())];
    params
}

/// `RSAPublicKey` of 2048 bits that is no product of two primes.
struct RsaKey(Vec<u8>);

impl RsaKey {
    fn new() -> Self {
        Self([&[0x30, 0x82, 1, 10, 0x02, 0x82, 1, 1, 0][..], &[0xC5; 256], &[0x02, 3, 1, 0, 1]].concat())
    }
}

impl PublicKeyData for RsaKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A simulated endpoint.
#[derive(Clone)]
pub(crate) struct Endpoint {
    name: &'static str,
    behaviour: Behaviour,
    /// What it shakes hands with, where it does.
    tls: Option<Arc<RwLock<TlsAcceptor>>>,
    /// The certificates that it shows without shaking hands, the root first.
    shown: Vec<Vec<u8>>,
}

impl Endpoint {
    pub(crate) fn new(behaviour: Behaviour, name: &'static str, authority: &Authority) -> Self {
        use Behaviour::{Legacy, Nla, NlaAhead, Slow, StandardOnly, TlsOnly};
        let tls = match behaviour {
            Nla(certificate) | NlaAhead(certificate, _) | Slow(certificate, _) | TlsOnly(certificate) => {
                Some(Arc::new(RwLock::new(authority.acceptor(certificate, name))))
            }
            _ => None,
        };
        let shown = match behaviour {
            Legacy(certificate) | StandardOnly(certificate) => authority.shown(certificate, name),
            _ => Vec::new(),
        };
        Self { name, behaviour, tls, shown }
    }

    /// Starts it on a free loopback port.
    pub(crate) async fn start(&self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        if matches!(self.behaviour, Behaviour::Closed) {
            return Ok(address);
        }
        let endpoint = self.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let endpoint = endpoint.clone();
                // A client that goes away is no news.
                tokio::spawn(async move { drop(endpoint.converse(tcp).await) });
            }
        });
        Ok(address)
    }

    /// Replaces the certificate; what is under way goes on with the old one.
    pub(crate) fn renew(&self, certificate: Certificate, authority: &Authority) {
        if let Some(tls) = &self.tls {
            *tls.write().unwrap() = authority.acceptor(certificate, self.name);
        }
    }

    async fn converse(&self, mut tcp: TcpStream) -> io::Result<()> {
        let request = read_frame(&mut tcp).await?;
        sleep(self.pause()).await;
        let Some(answer) = self.answer(&request) else { return wait_for_end(&mut tcp).await };
        tcp.write_all(&Answer::Confirm(Some(answer)).encode()).await?;
        sleep(self.pause()).await;
        match (&self.behaviour, &self.tls) {
            (Behaviour::CutInTls, _) => {
                tcp.read_u8().await?;
                tcp.set_zero_linger()
            }
            (Behaviour::Legacy(_), _) => self.show_flight(tcp).await,
            (Behaviour::StandardOnly(_), _) => self.respond(tcp).await,
            (_, Some(tls)) => {
                let tls = tls.read().unwrap().clone();
                self.talk(tls.accept(tcp).await?).await
            }
            (_, None) => wait_for_end(&mut tcp).await,
        }
    }

    fn answer(&self, request: &[u8]) -> Option<NegotiationAnswer> {
        use Behaviour::{Closed, CutInTls, Legacy, Nla, NlaAhead, NoCertificate, Silent, Slow, StandardOnly, TlsOnly};
        let offered = ConnectionRequest::decode(request).ok()?.negotiation?.protocols;
        let (accepted, otherwise, flags): (&[_], _, _) = match self.behaviour {
            Closed | Silent => return None,
            CutInTls | Nla(_) | NlaAhead(..) | Slow(..) => {
                let accepted = &[Protocols::HYBRID_EX, Protocols::HYBRID, Protocols::RDSTLS];
                (accepted, FailureCode::HYBRID_REQUIRED_BY_SERVER, 0x1f)
            }
            Legacy(_) => (&[Protocols::HYBRID], FailureCode::HYBRID_REQUIRED_BY_SERVER, 0x0f),
            TlsOnly(_) => (&[Protocols::SSL], FailureCode::SSL_REQUIRED_BY_SERVER, 0x01),
            NoCertificate => (&[], FailureCode::SSL_CERT_NOT_ON_SERVER, 0x00),
            StandardOnly(_) => (&[Protocols::RDP], FailureCode::SSL_NOT_ALLOWED_BY_SERVER, 0x00),
        };
        let is_offered = |protocol: &Protocols| offered == *protocol || offered.0 & protocol.0 != 0;
        Some(match accepted.iter().copied().find(is_offered) {
            Some(protocol) => NegotiationAnswer::Response { protocol, flags: ResponseFlags(flags) },
            None => NegotiationAnswer::Failure(otherwise),
        })
    }

    /// After the handshake: one challenge, where NLA asks for it.
    async fn talk(&self, mut stream: TlsStream<TcpStream>) -> io::Result<()> {
        let ahead = match self.behaviour {
            Behaviour::NlaAhead(_, ahead) => ahead,
            _ => Duration::ZERO,
        };
        let mut rest = [0; 1024];
        let length = stream.read(&mut rest).await?;
        if length > 0 && !matches!(self.behaviour, Behaviour::TlsOnly(_)) {
            sleep(self.pause()).await;
            stream.write_all(&messages::challenge(self.name, SystemTime::now() + ahead)).await?;
        }
        while stream.read(&mut rest).await? > 0 {}
        stream.shutdown().await
    }

    /// A first flight in the clear to who can do what this server can, a reset to everybody else.
    async fn show_flight(&self, mut tcp: TcpStream) -> io::Result<()> {
        let mut header = [0; 5];
        tcp.read_exact(&mut header).await?;
        let [.., high, low] = header;
        let mut hello = vec![0; u16::from_be_bytes([high, low]).into()];
        tcp.read_exact(&mut hello).await?;
        match self.shown.last().and_then(|certificate| messages::legacy_flight(&hello, certificate)) {
            Some(flight) => {
                tcp.write_all(&flight).await?;
                wait_for_end(&mut tcp).await
            }
            None => tcp.set_zero_linger(),
        }
    }

    /// The one exchange of Standard RDP Security that is in the clear.
    async fn respond(&self, mut tcp: TcpStream) -> io::Result<()> {
        let initial = read_frame(&mut tcp).await?;
        if let Some(response) = messages::connect_response(&initial, &self.shown) {
            tcp.write_all(&tpkt::frame(&response)).await?;
            wait_for_end(&mut tcp).await?;
        }
        Ok(())
    }

    const fn pause(&self) -> Duration {
        match self.behaviour {
            Behaviour::Slow(_, pause) => pause,
            _ => Duration::ZERO,
        }
    }
}

async fn read_frame(tcp: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; tpkt::HEADER_LENGTH];
    tcp.read_exact(&mut frame).await?;
    let header: [u8; tpkt::HEADER_LENGTH] = frame.as_slice().try_into().unwrap();
    let header = tpkt::Header::decode(header).map_err(io::Error::other)?;
    frame.resize(header.length.into(), 0);
    tcp.read_exact(frame.get_mut(tpkt::HEADER_LENGTH..).unwrap_or_default()).await?;
    Ok(frame)
}

async fn wait_for_end(tcp: &mut TcpStream) -> io::Result<()> {
    let mut rest = [0; 1024];
    while tcp.read(&mut rest).await? > 0 {}
    Ok(())
}
