//! Servers without a network: what they say is in the input. They run in the client's own task: whatever they will say is
//! there at once.

use std::{
    io::{self, Read, Write},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use rdp_exporter::wire::{
    negotiation::{NegotiationAnswer, Protocols, ResponseFlags},
    x224,
};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How a server goes on after its last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It says all of it again, for a while.
    Again,
    /// It ends the connection.
    Fin,
    /// It resets the connection.
    Reset,
    /// It says nothing more.
    Silence,
}

/// What a server says, in which pieces, and how it goes on.
#[derive(Debug)]
pub(super) struct Voice {
    said: Vec<u8>,
    at: usize,
    piece: usize,
    end: End,
    reads: usize,
    /// The client has ended its side.
    is_left: bool,
}

impl Voice {
    /// The low bits of `how` tell the end, the next ones the pieces.
    pub(super) fn new(said: Vec<u8>, how: u8) -> Self {
        let end = [End::Fin, End::Silence, End::Reset, End::Again][usize::from(how & 3)];
        let piece = [usize::MAX, 1, 5, 1400][usize::from(how >> 2 & 3)];
        Self { said, at: 0, piece, end, reads: 0, is_left: false }
    }

    /// Whether what was said had the form of a confirm.
    pub(super) fn confirms(&self) -> bool {
        matches!(self.said.as_slice(), [3, 0, _, _, _, code, ..] if code & 0xF0 == 0xD0)
    }

    fn read(&mut self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.reads += 1;
        if self.at == self.said.len() && self.end == End::Again && self.reads < MAX_READS {
            self.at = 0;
        }
        let rest = &self.said[self.at..];
        if !rest.is_empty() {
            let piece = &rest[..rest.len().min(self.piece).min(buffer.remaining())];
            buffer.put_slice(piece);
            self.at += piece.len();
            return Poll::Ready(Ok(()));
        }
        match self.end {
            End::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            End::Again | End::Silence if !self.is_left => Poll::Pending,
            // Nobody waits for a client that is gone.
            End::Again | End::Fin | End::Silence => Poll::Ready(Ok(())),
        }
    }
}

/// A server that says what it says, whatever it hears.
#[derive(Debug)]
pub(super) struct Deaf {
    pub(super) voice: Voice,
    pub(super) heard: Vec<u8>,
}

/// A server that speaks TLS, and inside it what the input says.
pub(super) struct Tls {
    voice: Voice,
    connection: ServerConnection,
    words: Option<Words>,
    request: Vec<u8>,
    protocol: Protocols,
    /// One byte of all that it says, and what it is mixed with.
    damage: (usize, u8),
    /// What was heard inside TLS.
    pub(super) heard: Vec<u8>,
}

/// What a server says inside TLS.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    pub(super) reply: Vec<u8>,
    /// In records of this length.
    pub(super) record: usize,
    /// Said before anything is heard.
    pub(super) unasked: bool,
    /// close_notify follows.
    pub(super) closes: bool,
    /// Bytes that stand in no record of TLS.
    pub(super) noise: Vec<u8>,
}

impl Tls {
    /// `how` is that of [`Voice::new`]; its fifth bit asks for TLS 1.2.
    pub(super) fn new(words: Words, protocol: Protocols, damage: (usize, u8), how: u8) -> Self {
        let config = &server_configs()[usize::from(how >> 4 & 1)];
        let mut connection = ServerConnection::new(Arc::clone(config)).unwrap();
        connection.set_buffer_limit(None);
        let voice = Voice::new(vec![], how);
        Self { voice, connection, words: Some(words), request: vec![], protocol, damage, heard: vec![] }
    }

    fn hear(&mut self, mut bytes: &[u8]) {
        if self.request.is_empty() {
            self.request = bytes.to_vec();
            let flags = ResponseFlags(0x1f);
            let answer = NegotiationAnswer::Response { protocol: self.protocol, flags };
            self.voice.said.extend(x224::Answer::Confirm(Some(answer)).encode());
            return;
        }
        let mut has_ended = false;
        while !bytes.is_empty() {
            let taken = self.connection.read_tls(&mut bytes).unwrap_or(0);
            let state = self.connection.process_new_packets();
            let _ = self.connection.reader().read_to_end(&mut self.heard);
            has_ended |= state.as_ref().is_ok_and(|state| state.peer_has_closed());
            if state.is_err() || taken == 0 {
                break;
            }
        }
        self.utter();
        let is_asked = |words: &Words| words.unasked || has_ended || !self.heard.is_empty();
        if !self.connection.is_handshaking() && self.words.as_ref().is_some_and(is_asked) {
            self.speak();
        }
    }

    fn speak(&mut self) {
        let Some(words) = self.words.take() else { return };
        for record in words.reply.chunks(words.record.max(1)) {
            let _ = self.connection.writer().write_all(record);
            self.utter();
        }
        if words.closes {
            self.connection.send_close_notify();
            self.utter();
        }
        self.voice.said.extend(words.noise);
    }

    /// Says what TLS has to say.
    fn utter(&mut self) {
        let before = self.voice.said.len();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.voice.said).unwrap();
        }
        let (place, mixed) = self.damage;
        if (before..self.voice.said.len()).contains(&place) {
            self.voice.said[place] ^= mixed;
        }
    }
}

/// TLS 1.3 and TLS 1.2, with certificates of their own.
fn server_configs() -> &'static [Arc<ServerConfig>; 2] {
    static CONFIGS: OnceLock<[Arc<ServerConfig>; 2]> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        [&rustls::version::TLS13, &rustls::version::TLS12].map(|version| {
            let own = rcgen::generate_simple_self_signed(vec!["ts01.corp.example".to_owned()]).unwrap();
            let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
            let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![own.cert.der().clone()], key)
                .unwrap();
            Arc::new(config)
        })
    })
}

impl AsyncRead for Deaf {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.voice.read(buffer)
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.heard.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.voice.is_left = true;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Tls {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Before its last words it only waits for the client.
        let is_listening = self.words.is_some() && self.damage.1 == 0 && !self.voice.is_left;
        match self.voice.at == self.voice.said.len() && is_listening {
            true => Poll::Pending,
            false => self.voice.read(buffer),
        }
    }
}

impl AsyncWrite for Tls {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.hear(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.voice.is_left = true;
        Poll::Ready(Ok(()))
    }
}

/// A server that repeats itself gets so many reads.
const MAX_READS: usize = 4096;
