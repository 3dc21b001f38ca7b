//! Listeners in threads of the test: what answers the first request of RDP and goes on as the case wants.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::process::wait_until;

/// A listener with a thread per connection, closed on drop.
pub(crate) struct Peer {
    pub(crate) port: u16,
    ip: IpAddr,
    accepted: Arc<Mutex<Vec<SocketAddr>>>,
    closed: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Peer {
    /// On 127.0.0.1.
    pub(crate) fn start(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::on(Ipv4Addr::LOCALHOST, serve)
    }

    pub(crate) fn on(ip: Ipv4Addr, serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::at(SocketAddr::from((ip, 0)), serve)
    }

    pub(crate) fn at(address: SocketAddr, serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let closed = Arc::new(AtomicBool::new(false));
        let (list, stop, serve) = (Arc::clone(&accepted), Arc::clone(&closed), Arc::new(serve));
        let accepting = thread::spawn(move || {
            while let Ok((stream, from)) = listener.accept() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                list.lock().unwrap().push(from);
                let serve = Arc::clone(&serve);
                // A client that goes away early is no failure of the test: what matters is asserted on the client.
                thread::spawn(move || serve(stream));
            }
        });
        Self { port: address.port(), ip: address.ip(), accepted, closed, accepting: Some(accepting) }
    }

    /// Answers the X.224 request with `confirm`, then relays to a server on another port of 127.0.0.1.
    pub(crate) fn relay(confirm: &'static [u8], to: u16) -> Self {
        Self::start(move |mut client| {
            answer(&mut client, confirm)?;
            relay_between(client, TcpStream::connect((Ipv4Addr::LOCALHOST, to))?)
        })
    }

    /// Relays to a server on another port of 127.0.0.1, only to count its connections.
    pub(crate) fn counter(to: u16) -> Self {
        Self::start(move |client| {
            client.set_nodelay(true)?;
            relay_between(client, TcpStream::connect((Ipv4Addr::LOCALHOST, to))?)
        })
    }

    /// The other way round: asks an RDP server for TLS and relays what follows, so that plain TLS tools can look.
    pub(crate) fn tls_of(rdp_server: u16) -> Self {
        Self::start(move |client| {
            let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, rdp_server))?;
            server.write_all(&REQUEST)?;
            read_frame(&mut server)?;
            relay_between(client, server)
        })
    }

    /// How many connections were taken so far; an answered one always is.
    pub(crate) fn taken(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    /// How many connections came in before this call, those still in the queue included.
    ///
    /// INVARIANT: accept is in order, so a connection of our own marks the end of all earlier ones.
    pub(crate) fn accepted(&self) -> usize {
        let mark = TcpStream::connect((self.ip, self.port)).unwrap();
        let from = mark.local_addr().unwrap();
        wait_until("accepted mark", Duration::from_secs(5), || {
            self.accepted.lock().unwrap().iter().position(|address| *address == from)
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes the thread, which then lets the port go. Waited for, so that the next peer can have the same port.
        let woken = TcpStream::connect((self.ip, self.port)).is_ok();
        if let Some(accepting) = self.accepting.take().filter(|_| woken) {
            let _ = accepting.join();
        }
    }
}

/// Reads one request and sends the confirm.
pub(crate) fn answer(client: &mut TcpStream, confirm: &[u8]) -> io::Result<()> {
    client.set_nodelay(true)?;
    client.set_read_timeout(Some(Duration::from_secs(20)))?;
    read_frame(client)?;
    client.write_all(confirm)
}

/// As a server that speaks TLS and nothing else: whether TLS comes next.
pub(crate) fn answer_tls_only(client: &mut TcpStream) -> io::Result<bool> {
    client.set_nodelay(true)?;
    client.set_read_timeout(Some(Duration::from_secs(20)))?;
    let request = read_frame(client)?;
    let asks_for_tls = request.len() >= 19 && request[request.len() - 4] & 1 == 1;
    client.write_all(if asks_for_tls { &CONFIRM_SSL } else { &const { confirm(3, 1) } })?;
    Ok(asks_for_tls)
}

/// What a server answers to `request`.
pub(crate) fn ask(port: u16, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request).unwrap();
    read_frame(&mut stream).unwrap()
}

/// Reads until the other side ends the connection.
pub(crate) fn drain(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

/// One TPKT frame: its third and fourth bytes are its whole length.
pub(crate) fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let mut frame = head.to_vec();
    frame.resize(length.max(4), 0);
    stream.read_exact(&mut frame[4..])?;
    Ok(frame)
}

pub(crate) fn relay_between(client: TcpStream, server: TcpStream) -> io::Result<()> {
    server.set_nodelay(true)?;
    let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || pump(&client_too, &server_too));
    pump(&server, &client)
}

fn pump(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let copied = io::copy(&mut from, &mut to);
    to.shutdown(Shutdown::Write)?;
    copied.map(drop)
}

/// The request of an ordinary client: SSL, HYBRID and HYBRID_EX, no cookie.
pub(crate) const REQUEST: [u8; 19] = request(0x0b);

/// A request for the protocols whose bits are set.
pub(crate) const fn request(protocols: u8) -> [u8; 19] {
    [
        0x03, 0x00, 0x00, 0x13, // TPKT, 19 bytes
        0x0e, 0xe0, 0x00, 0x00, 0x00, 0x00, 0x00, // X.224 connection request
        0x01, 0x00, 0x08, 0x00, protocols, 0x00, 0x00, 0x00, // RDP_NEG_REQ
    ]
}

/// A confirm that selects Standard RDP Security.
pub(crate) const CONFIRM_RDP: [u8; 19] = confirm(2, 0);
/// A confirm that selects TLS.
pub(crate) const CONFIRM_SSL: [u8; 19] = confirm(2, 1);
/// A confirm that selects CredSSP.
pub(crate) const CONFIRM_HYBRID: [u8; 19] = confirm(2, 2);

/// A confirm with a negotiation structure: kind 2 selects a protocol, kind 3 refuses with a code.
pub(crate) const fn confirm(kind: u8, value: u8) -> [u8; 19] {
    [
        0x03, 0x00, 0x00, 0x13, // TPKT, 19 bytes
        0x0e, 0xd0, 0x00, 0x00, 0x12, 0x34, 0x00, // X.224 connection confirm
        kind, 0x1f, 0x08, 0x00, value, 0x00, 0x00, 0x00, // RDP_NEG_RSP or RDP_NEG_FAILURE
    ]
}
