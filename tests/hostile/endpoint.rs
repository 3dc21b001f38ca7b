//! What a hostile endpoint does on one connection, in threads of the test.
//! INVARIANT: every sender ends when its client is gone, sends at a bounded rate, and no more than `MOST`.

use std::cell::RefCell;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, PKCS_ED25519};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ConnectionTrafficSecrets, ServerConfig, ServerConnection, SupportedProtocolVersion};
use socket2::SockRef;

use crate::bytes::{challenge, names, record, selecting, ts_request};
use crate::harness::peer::{drain, read_frame};

/// What is done on one connection.
pub(crate) type Serve = Arc<dyn Fn(TcpStream) -> io::Result<()> + Send + Sync>;

thread_local! {
    /// Where the attacks of this thread's connection are counted.
    static ATTACKS: RefCell<Arc<AtomicUsize>> = RefCell::default();
}

/// Serves one connection on this thread, and counts its attack there once it has begun.
pub(crate) fn serve_counted(serve: &Serve, attacks: &Arc<AtomicUsize>, client: TcpStream) -> io::Result<()> {
    ATTACKS.set(Arc::clone(attacks));
    serve(client)
}

/// Serves one connection on this thread, never ends it, and notes how long the client kept it.
pub(crate) fn serve_clinging(serve: &Serve, kept: &AtomicU64, client: TcpStream) -> io::Result<()> {
    let begun = Instant::now();
    let mut ours = client.try_clone()?;
    // How its part ended says nothing here.
    let _ = serve(client);
    // A reset is an end.
    if SockRef::from(&ours).linger()?.is_some() {
        return Ok(());
    }
    // A client that has only ended its side takes in what still comes; one that is gone answers with RST.
    loop {
        let so_far = begun.elapsed();
        ours.write_all(&[0])?;
        kept.fetch_max(so_far.as_micros() as u64, Ordering::SeqCst);
        thread::sleep(CLINGING);
    }
}

/// The first of what no server should send is sent: the client came as far as that.
pub(crate) fn attack_begun() {
    ATTACKS.with_borrow(|attacks| attacks.fetch_add(1, Ordering::SeqCst));
}

pub(crate) fn serve(work: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Serve {
    Arc::new(work)
}

/// Answers the connection request with these bytes, in one write, and is silent then.
pub(crate) fn answering(bytes: Vec<u8>) -> Serve {
    after_request(move |mut client| {
        client.write_all(&bytes)?;
        drain(client)
    })
}

/// Reads the connection request, and goes on so.
pub(crate) fn after_request(then: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Serve {
    serve(move |mut client| {
        prepare(&client)?;
        read_frame(&mut client)?;
        then(client)
    })
}

/// Selects TLS, reads the ClientHello, and goes on so.
pub(crate) fn after_hello(then: impl Fn(TcpStream, &[u8]) -> io::Result<()> + Send + Sync + 'static) -> Serve {
    after_request(move |mut client| {
        client.write_all(&selecting(crate::bytes::SSL))?;
        let hello = read_record(&mut client)?;
        then(client, &hello)
    })
}

/// Answers the ClientHello with these bytes, in one write, and is silent then.
pub(crate) fn answering_hello(bytes: Vec<u8>) -> Serve {
    after_hello(move |mut client, _| {
        client.write_all(&bytes)?;
        drain(client)
    })
}

/// Resets after a hello of a TLS library, so that a hello made by hand follows, and answers that with these bytes.
pub(crate) fn answering_clear(bytes: Vec<u8>) -> Serve {
    after_clear(move |mut client| {
        client.write_all(&bytes)?;
        drain(client)
    })
}

/// The same, and goes on so after a hello made by hand: it has no session, that of a library has one.
pub(crate) fn after_clear(then: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Serve {
    after_hello(move |client, hello| match hello.get(43) {
        Some(0) => then(client),
        _ => reset(&client),
    })
}

/// Speaks TLS, and goes on so once the handshake has completed.
pub(crate) fn established(
    protocol: u8,
    config: &Arc<ServerConfig>,
    then: impl Fn(Session) -> io::Result<()> + Send + Sync + 'static,
) -> Serve {
    established_by(|| Box::new(|mut client, bytes| client.write_all(bytes)), protocol, config, then)
}

/// The same where everything goes through a sender of one's own.
pub(crate) fn established_by(
    sender: impl Fn() -> Sender + Send + Sync + 'static,
    protocol: u8,
    config: &Arc<ServerConfig>,
    then: impl Fn(Session) -> io::Result<()> + Send + Sync + 'static,
) -> Serve {
    let config = Arc::clone(config);
    after_request(move |client| {
        let mut sender = sender();
        sender(&client, &selecting(protocol))?;
        then(Session::open(client, &config, sender)?)
    })
}

/// Sends what the server says in one turn.
pub(crate) type Sender = Box<dyn FnMut(&TcpStream, &[u8]) -> io::Result<()>>;

/// Selects NLA, speaks TLS, and answers the CredSSP request with these bytes; its end is in order.
pub(crate) fn challenging(config: &Arc<ServerConfig>, answer: Vec<u8>) -> Serve {
    established(crate::bytes::HYBRID, config, move |mut session| {
        session.read_request()?;
        session.say(&answer)?;
        session.end()
    })
}

/// What a server does that is as it should be.
pub(crate) fn honest() -> Serve {
    challenging(&TLS_1_3, honest_challenge())
}

pub(crate) fn honest_challenge() -> Vec<u8> {
    ts_request(&challenge(b"C\0", &names("TS01", "CORP", "ts01.corp.example", "corp.example")))
}

/// An established TLS connection.
pub(crate) struct Session {
    connection: ServerConnection,
    pub(crate) socket: TcpStream,
    sender: Sender,
}

impl Session {
    fn open(socket: TcpStream, config: &Arc<ServerConfig>, sender: Sender) -> io::Result<Self> {
        let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        let mut session = Self { connection, socket, sender };
        while session.connection.is_handshaking() {
            session.flush()?;
            session.take_in()?;
        }
        session.flush().map(|()| session)
    }

    /// The CredSSP request, which is as long as its second byte says.
    pub(crate) fn read_request(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            // It may have come with the last message of the handshake.
            match self.connection.reader().read_to_end(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                ended => return Err(ended.err().unwrap_or(io::ErrorKind::UnexpectedEof.into())),
            }
            if bytes.get(1).is_some_and(|length| bytes.len() >= 2 + usize::from(*length)) {
                return Ok(());
            }
            self.take_in()?;
        }
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connection.writer().write_all(bytes)?;
        self.flush()
    }

    /// Says this, goodbye, and FIN, all at once.
    pub(crate) fn say_last(mut self, bytes: &[u8]) -> io::Result<()> {
        self.connection.writer().write_all(bytes)?;
        self.connection.send_close_notify();
        self.flush()?;
        finish(self.socket)
    }

    /// Asks the client to change keys, once more.
    pub(crate) fn change_keys(&mut self) -> io::Result<()> {
        self.connection.refresh_traffic_keys().map_err(io::Error::other)?;
        self.flush()
    }

    fn take_in(&mut self) -> io::Result<()> {
        if self.connection.read_tls(&mut self.socket)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.connection.process_new_packets().map(drop).map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut bytes)?;
        }
        if bytes.is_empty() { Ok(()) } else { (self.sender)(&self.socket, &bytes) }
    }

    /// Waits for the client's end, then says goodbye.
    pub(crate) fn end(mut self) -> io::Result<()> {
        drain(self.socket.try_clone()?)?;
        self.connection.send_close_notify();
        self.flush()
    }

    /// The socket, and what makes records for it that no library would: the configuration must be [`UNSEALED`]'s.
    pub(crate) fn unseal(self) -> io::Result<(TcpStream, Sealer)> {
        let secrets = self.connection.dangerous_extract_secrets().map_err(io::Error::other)?;
        let (sequence, ConnectionTrafficSecrets::Aes128Gcm { key, iv }) = secrets.tx else {
            return Err(io::Error::other("another cipher suite"));
        };
        let key = UnboundKey::new(&AES_128_GCM, key.as_ref()).unwrap();
        let iv = iv.as_ref().try_into().map_err(io::Error::other)?;
        Ok((self.socket, Sealer { key: LessSafeKey::new(key), iv, sequence }))
    }
}

/// Makes TLS 1.3 records of any kind (RFC 8446 5.2, 5.3).
pub(crate) struct Sealer {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Sealer {
    pub(crate) fn seal(&mut self, kind: u8, contents: &[u8]) -> Vec<u8> {
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()).for_each(|(byte, mask)| *byte ^= mask);
        self.sequence += 1;
        let mut inner = [contents, &[kind]].concat();
        let head = &record(23, crate::bytes::TLS_1_2, &vec![0; inner.len() + 16])[..5];
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(head), &mut inner).unwrap();
        [head, &inner].concat()
    }
}

/// Sends `chunk` again and again.
pub(crate) fn endless(mut client: &TcpStream, mut chunk: impl FnMut() -> Vec<u8>) -> io::Result<()> {
    let mut sent = 0;
    while sent < MOST {
        let bytes = chunk();
        client.write_all(&bytes)?;
        if sent == 0 {
            attack_begun();
        }
        sent += bytes.len();
        thread::sleep(REST);
    }
    Ok(())
}

/// Sends a byte a second.
pub(crate) fn slowly(mut client: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes.iter().take(MOST_SECONDS) {
        thread::sleep(Duration::from_secs(1));
        client.write_all(&[*byte])?;
    }
    Ok(())
}

/// Ends the connection with RST.
pub(crate) fn reset(client: &TcpStream) -> io::Result<()> {
    SockRef::from(client).set_linger(Some(Duration::ZERO))
}

/// Ends our side with FIN, and waits for the client's.
pub(crate) fn finish(client: TcpStream) -> io::Result<()> {
    client.shutdown(Shutdown::Write)?;
    drain(client)
}

pub(crate) fn prepare(client: &TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))
}

pub(crate) fn read_record(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 5];
    client.read_exact(&mut bytes)?;
    bytes.resize(5 + usize::from(u16::from_be_bytes([bytes[3], bytes[4]])), 0);
    client.read_exact(&mut bytes[5..])?;
    Ok(bytes)
}

/// A key of which every signature has the same length, so that every conversation has.
pub(crate) fn key() -> &'static KeyPair {
    static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate_for(&PKCS_ED25519).unwrap());
    &KEY
}

/// An ordinary self-signed certificate of [`key`].
pub(crate) fn certificate() -> &'static [u8] {
    static DER: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut params = CertificateParams::new(vec!["ts01.corp.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "ts01.corp.example");
        params.self_signed(key()).unwrap().der().to_vec()
    });
    &DER
}

/// A root that nobody here comes from.
pub(crate) fn authority() -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.self_signed(key()).unwrap().pem()
}

/// A server that shows this chain and has [`key`], whether it fits or not.
pub(crate) fn showing(chain: Vec<Vec<u8>>, version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
    Arc::new(configured(chain, version, provider::default_provider()))
}

fn configured(chain: Vec<Vec<u8>>, version: &'static SupportedProtocolVersion, with: CryptoProvider) -> ServerConfig {
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let signer = PrivateKeyDer::try_from(key().serialize_der()).unwrap();
    let signer = provider::sign::any_supported_type(&signer).unwrap();
    ServerConfig::builder_with_provider(Arc::new(with))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, signer))))
}

/// A server whose connections can be had with [`Session::unseal`].
pub(crate) fn unsealed(chain: Vec<Vec<u8>>) -> Arc<ServerConfig> {
    let mut with = provider::default_provider();
    with.cipher_suites.retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    let mut config = configured(chain, &TLS13, with);
    config.enable_secret_extraction = true;
    Arc::new(config)
}

pub(crate) static TLS_1_2: LazyLock<Arc<ServerConfig>> =
    LazyLock::new(|| showing(vec![certificate().to_vec()], &TLS12));
pub(crate) static TLS_1_3: LazyLock<Arc<ServerConfig>> =
    LazyLock::new(|| showing(vec![certificate().to_vec()], &TLS13));
pub(crate) static UNSEALED: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| unsealed(vec![certificate().to_vec()]));

/// Longer than any probe lasts.
const PATIENCE: Duration = Duration::from_secs(20);
/// What an endless sender sends at most, and how long it rests after each chunk.
const MOST: usize = 64 << 20;
const REST: Duration = Duration::from_millis(5);
const MOST_SECONDS: usize = 20;
/// Between two bytes to a client that is to end a connection.
const CLINGING: Duration = Duration::from_millis(20);
