//! A scripted RDP endpoint on loopback: it does what its script says, and records what the client did.
//! One thread a connection; port 0; it never waits longer than `PATIENCE` for a client.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rdp_exporter::wire::{
    credssp,
    negotiation::{FailureCode, NegotiationAnswer, Protocols, ResponseFlags},
    x224::{Answer, ConnectionRequest},
};
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};
use socket2::SockRef;

/// What the endpoint does next on a connection. After the last step it waits for the client's end.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Goes on as the row of the protocols that were offered says; without a row, ends our side.
    ByOffer(Vec<(u32, Script)>),
    /// Reads the ClientHello and goes on by who sent it: rustls, or a hello made by hand.
    ByHello(Script, Script),
    /// Ends our side of the connection.
    Fin,
    /// Reads a Connect Initial and answers it.
    Mcs(Mcs),
    /// Reads one TLS record, which should be the ClientHello.
    ReadHello,
    /// Reads one TPKT frame, which should be the connection request.
    ReadRequest,
    /// Resets the connection.
    Rst,
    /// Sends bytes in one write.
    Send(Vec<u8>),
    /// Sends one byte at a time, so long apart.
    SendSlowly(Vec<u8>, Duration),
    /// Shakes hands and reads until the client ends.
    Tls(Tls),
    /// Sends what is no TLS in one piece with the last message of the handshake, and waits for the client's end: TLS 1.3 only.
    Rubbish(Arc<ServerConfig>),
    /// Does nothing, as that is what the script is about.
    Wait(Duration),
}

/// How the endpoint speaks TLS.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    /// Sends one byte at a time, so long apart.
    pub(crate) pace: Option<Duration>,
    /// What is said to the client's first message inside TLS; nothing where there is none.
    pub(crate) reply: Option<Reply>,
}

/// What the endpoint says to a CredSSP request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// These bytes.
    Bytes(Vec<u8>),
    /// close_notify and FIN.
    Close,
}

/// How the endpoint answers an MCS Connect Initial.
#[derive(Debug, Clone)]
pub(crate) struct Mcs {
    /// The encryption methods that it takes; a client with none of them is sent away.
    pub(crate) methods: u32,
    /// The frame for each method that it may choose.
    pub(crate) frame: fn(u32) -> Vec<u8>,
}

/// What the endpoint does on one connection.
pub(crate) type Script = Vec<Step>;

/// How the client ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// close_notify, then FIN.
    CloseNotify,
    /// FIN.
    Eof,
    /// It did not, within `PATIENCE`.
    None,
    /// RST.
    Reset,
    /// Our own script ended it.
    Ours,
}

/// What one connection showed.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) accepted: Instant,
    pub(crate) ended: Instant,
    /// The bytes of the connection request.
    pub(crate) request: Vec<u8>,
    /// The record of the ClientHello, where the script read it.
    pub(crate) hello: Vec<u8>,
    /// What the client sent inside TLS.
    pub(crate) received: Vec<u8>,
    /// The server name of the ClientHello.
    pub(crate) sni: Option<String>,
    pub(crate) ending: Ending,
}

impl Seen {
    /// The protocols that were offered.
    pub(crate) fn offer(&self) -> Option<u32> {
        let request = ConnectionRequest::decode(&self.request).ok()?;
        Some(request.negotiation?.protocols.0)
    }

    /// The version of the ClientHello, where it was made by hand: ours has no session id, that of rustls has one.
    pub(crate) fn clear_hello(&self) -> Option<u16> {
        let version = u16::from_be_bytes([*self.hello.get(9)?, *self.hello.get(10)?]);
        (*self.hello.get(43)? == 0).then_some(version)
    }
}

/// A listening endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopping: AtomicBool,
    open: AtomicUsize,
    most_open: AtomicUsize,
    seen: Mutex<Vec<(usize, Seen)>>,
}

impl Endpoint {
    /// Listens; the nth connection gets the nth script, those beyond the last one the last one.
    pub(crate) fn start(scripts: Vec<Script>) -> Self {
        Self::listen((Ipv4Addr::LOCALHOST, 0).into(), scripts)
    }

    /// The same at that address.
    pub(crate) fn listen(at: SocketAddr, scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept_all(&listener, &scripts, &shared)
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// The most connections that were open at once so far.
    pub(crate) fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }

    /// The connections that have ended so far, in the order in which they were made.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let mut seen = self.shared.seen.lock().unwrap().clone();
        seen.sort_by_key(|(number, _)| *number);
        seen.into_iter().map(|(_, seen)| seen).collect()
    }

    /// Ends, once every connection has; gives what was seen of each.
    pub(crate) fn finish(mut self) -> Vec<Seen> {
        self.stop();
        self.seen()
    }

    fn stop(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor, after all connections that were made before.
        drop(TcpStream::connect(self.address));
        acceptor.join().unwrap();
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept_all(listener: &TcpListener, scripts: &[Script], shared: &Arc<Shared>) {
    thread::scope(|scope| {
        for (number, tcp) in listener.incoming().enumerate() {
            let Ok(tcp) = tcp else { continue };
            if shared.stopping.load(Ordering::SeqCst) && is_wake_up(&tcp) {
                break;
            }
            let accepted = Instant::now();
            let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
            shared.most_open.fetch_max(open, Ordering::SeqCst);
            let script = scripts.get(number).or(scripts.last()).map_or(&[][..], Vec::as_slice);
            scope.spawn(move || {
                let mut seen = Seen {
                    accepted,
                    ended: accepted,
                    request: Vec::new(),
                    hello: Vec::new(),
                    received: Vec::new(),
                    sni: None,
                    ending: Ending::None,
                };
                seen.ending = begin(&tcp, script, &mut seen).unwrap_or_else(|error| ending_of(&error));
                if seen.ended == accepted {
                    seen.ended = Instant::now();
                }
                // Before the socket is closed, as the client may wait for that.
                shared.seen.lock().unwrap().push((number, seen));
                shared.open.fetch_sub(1, Ordering::SeqCst);
                drop(tcp);
            });
        }
    });
}

/// Whether this is the connection of `Endpoint::stop`, which is closed without a byte.
fn is_wake_up(tcp: &TcpStream) -> bool {
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    matches!(tcp.peek(&mut [0]), Ok(0))
}

fn begin(tcp: &TcpStream, script: &[Step], seen: &mut Seen) -> io::Result<Ending> {
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.set_nodelay(true)?;
    converse(tcp, script, seen)
}

fn converse(mut tcp: &TcpStream, script: &[Step], seen: &mut Seen) -> io::Result<Ending> {
    for step in script {
        match step {
            Step::ByOffer(rows) => {
                let offer = seen.offer();
                let row = rows.iter().find(|(row, _)| Some(*row) == offer);
                return converse(tcp, row.map_or(&[Step::Fin], |(_, script)| script), seen);
            }
            Step::ByHello(rustls, by_hand) => {
                seen.hello = read_record(tcp)?;
                let script = if seen.clear_hello().is_some() { by_hand } else { rustls };
                return converse(tcp, script, seen);
            }
            Step::Fin => tcp.shutdown(Shutdown::Write)?,
            Step::Mcs(mcs) => match mcs.choice(&read_frame(tcp)?) {
                Some(method) => tcp.write_all(&(mcs.frame)(method))?,
                None => tcp.shutdown(Shutdown::Write)?,
            },
            Step::ReadHello => seen.hello = read_record(tcp)?,
            Step::ReadRequest => seen.request = read_frame(tcp)?,
            Step::Rst => {
                SockRef::from(tcp).set_linger(Some(Duration::ZERO))?;
                return Ok(Ending::Ours);
            }
            Step::Send(bytes) => tcp.write_all(bytes)?,
            Step::SendSlowly(bytes, pace) => Trickle { tcp, pace: Some(*pace) }.write_all(bytes)?,
            Step::Tls(tls) => return shake_hands(tcp, tls, seen),
            Step::Rubbish(config) => return end_in_rubbish(tcp, config),
            Step::Wait(time) => thread::sleep(*time),
        }
    }
    io::copy(&mut tcp, &mut io::sink())?;
    if script.iter().any(|step| matches!(step, Step::Fin | Step::Mcs(_))) {
        // Ours had ended before; the client does not wait for us.
        seen.ended = Instant::now();
    }
    linger(tcp).map(|()| Ending::Eof)
}

impl Mcs {
    /// The strongest method that both can do.
    fn choice(&self, connect_initial: &[u8]) -> Option<u32> {
        // CS_SECURITY, 12 bytes long, and the methods in it.
        let place = connect_initial.windows(4).position(|bytes| bytes == [0x02, 0xc0, 12, 0])? + 4;
        let asked = u32::from_le_bytes(connect_initial[place..place + 4].try_into().unwrap());
        [2, 8, 1, 16].into_iter().find(|method| self.methods & asked & method != 0)
    }
}

fn read_frame(tcp: &TcpStream) -> io::Result<Vec<u8>> {
    read_sized(tcp, 4, |header| usize::from(u16::from_be_bytes([header[2], header[3]])).saturating_sub(4))
}

fn read_record(tcp: &TcpStream) -> io::Result<Vec<u8>> {
    read_sized(tcp, 5, |header| usize::from(u16::from_be_bytes([header[3], header[4]])))
}

/// Takes its time to end our side, as servers do. A client that is gone by then, or left bytes unread, has sent RST.
fn linger(tcp: &TcpStream) -> io::Result<()> {
    thread::sleep(LINGER);
    tcp.take_error()?.map_or(Ok(()), Err)
}

fn read_sized(mut tcp: &TcpStream, header: usize, rest: impl Fn(&[u8]) -> usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; header];
    tcp.read_exact(&mut bytes)?;
    bytes.resize(header + rest(&bytes), 0);
    tcp.read_exact(&mut bytes[header..])?;
    Ok(bytes)
}

fn shake_hands(mut tcp: &TcpStream, tls: &Tls, seen: &mut Seen) -> io::Result<Ending> {
    let mut connection = ServerConnection::new(Arc::clone(&tls.config)).map_err(io::Error::other)?;
    let mut paced = Trickle { tcp, pace: tls.pace };
    while connection.is_handshaking() {
        connection.complete_io(&mut paced)?;
    }
    seen.sni = connection.server_name().map(str::to_owned);
    let mut stream = rustls::Stream::new(&mut connection, &mut paced);
    if let Some(reply) = &tls.reply {
        let mut request = vec![0; credssp::negotiate().len()];
        match (stream.read_exact(&mut request), reply) {
            // It is not asked for: what ended there is read again below.
            (Err(error), _) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            (Err(error), _) => return Err(error),
            (Ok(()), Reply::Bytes(bytes)) => {
                seen.received = request;
                stream.write_all(bytes)?;
            }
            (Ok(()), Reply::Close) => {
                seen.received = request;
                stream.conn.send_close_notify();
                stream.flush()?;
                tcp.shutdown(Shutdown::Write)?;
            }
        }
    }
    match io::copy(&mut stream, &mut seen.received) {
        Ok(_) => {}
        // FIN without close_notify.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Ending::Eof),
        Err(error) => return Err(error),
    }
    // After close_notify nothing but FIN may come.
    match io::copy(&mut tcp, &mut io::sink())? {
        0 => {}
        more => return Err(io::Error::other(format!("{more} bytes after close_notify"))),
    }
    match tls.reply {
        Some(Reply::Close) => seen.ended = Instant::now(),
        Some(Reply::Bytes(_)) | None => {
            connection.send_close_notify();
            connection.write_tls(&mut tcp)?;
        }
    }
    linger(tcp).map(|()| Ending::CloseNotify)
}

fn end_in_rubbish(mut tcp: &TcpStream, config: &Arc<ServerConfig>) -> io::Result<Ending> {
    let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    while !connection.wants_write() {
        connection.read_tls(&mut tcp)?;
        connection.process_new_packets().map_err(io::Error::other)?;
    }
    let mut flight = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut flight)?;
    }
    flight.extend([23, 3, 3, 0, 20]);
    flight.extend([0; 20]);
    tcp.write_all(&flight)?;
    io::copy(&mut tcp, &mut io::sink())?;
    Ok(Ending::Eof)
}

fn ending_of(error: &io::Error) -> Ending {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ending::Reset,
        io::ErrorKind::UnexpectedEof => Ending::Eof,
        _ => Ending::None,
    }
}

/// Writes one byte at a time where it has a pace.
struct Trickle<'a> {
    tcp: &'a TcpStream,
    pace: Option<Duration>,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.read(buffer)
    }
}

impl Write for Trickle<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(pace) = self.pace else { return self.tcp.write(bytes) };
        thread::sleep(pace);
        self.tcp.write(&bytes[..bytes.len().min(1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the request and answers with `bytes`.
pub(crate) fn answering(bytes: Vec<u8>) -> Script {
    vec![Step::ReadRequest, Step::Send(bytes)]
}

/// Reads the request, selects `protocol` and speaks TLS.
pub(crate) fn speaking(protocol: Protocols, tls: Tls) -> Script {
    vec![Step::ReadRequest, Step::Send(selecting(protocol)), Step::Tls(tls)]
}

/// A confirm that selects `protocol`, with the flags of a modern Windows.
pub(crate) fn selecting(protocol: Protocols) -> Vec<u8> {
    Answer::Confirm(Some(NegotiationAnswer::Response { protocol, flags: ResponseFlags(0x1f) })).encode()
}

/// A confirm that refuses with `code`.
pub(crate) fn refusing(code: u32) -> Vec<u8> {
    Answer::Confirm(Some(NegotiationAnswer::Failure(FailureCode(code)))).encode()
}

/// TLS 1.2 as the library does it, without a pause.
pub(crate) fn tls12() -> Tls {
    static CONFIG: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    Tls { config: Arc::clone(CONFIG.get_or_init(|| server_config(&rustls::version::TLS12))), pace: None, reply: None }
}

/// TLS 1.3, with session tickets.
pub(crate) fn tls13() -> Tls {
    static CONFIG: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    Tls { config: Arc::clone(CONFIG.get_or_init(|| server_config(&rustls::version::TLS13))), pace: None, reply: None }
}

/// Both, with a certificate of its own each time.
pub(crate) fn tls_anew() -> Tls {
    let (_, config) = certified(&[&rustls::version::TLS12, &rustls::version::TLS13]);
    Tls { config, pace: None, reply: None }
}

fn server_config(version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
    certified(&[version]).1
}

/// A certificate and a server that has it.
fn certified(versions: &[&'static SupportedProtocolVersion]) -> (Vec<u8>, Arc<ServerConfig>) {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    assert!(config.send_tls13_tickets > 0, "session tickets are what makes an orderly end difficult");
    (own.cert.der().to_vec(), Arc::new(config))
}

/// Longer than any script waits for a client.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between the client's end and ours; less than what a client whose time is up still waits.
const LINGER: Duration = Duration::from_millis(20);
