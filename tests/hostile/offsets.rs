//! A valid conversation that ends after every number of bytes, by RST and by FIN.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::ServerConfig;

use crate::bytes::HYBRID;
use crate::endpoint::{
    Sender, Serve, TLS_1_2 as SERVER_1_2, TLS_1_3 as SERVER_1_3, established_by, honest_challenge, reset, serve,
};
use crate::estate::{Estate, Pace, Row, turn};
use crate::harness::exporter::{Probe, address};
use crate::harness::peer::{Peer, drain};
use crate::harness::process::require;

/// How a conversation ends too early.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Fin,
    Rst,
}

/// What a server says, by how many bytes it has said.
#[derive(Debug, Clone, Copy)]
struct Conversation {
    config: &'static LazyLock<Arc<ServerConfig>>,
    /// With so many the client's handshake is complete.
    complete: usize,
    whole: usize,
    /// Whether the client has to send something more for that.
    client_is_last: bool,
}

#[test]
fn a_reset_or_a_close_after_every_byte() {
    if !require(&["promtool"]) {
        return;
    }
    let (old, new) =
        (Conversation::measure("1.2", &SERVER_1_2, false), Conversation::measure("1.3", &SERVER_1_3, true));
    let mut rows = Vec::new();
    for (conversation, name) in [(old, "1.2"), (new, "1.3")] {
        for ending in [Ending::Fin, Ending::Rst] {
            rows.extend((0..=conversation.whole).map(|length| conversation.row(name, length, ending)));
        }
    }
    let _turn = turn();
    let estate = Estate::start(&rows, rows.len(), &PACE);
    estate.watch().check(&estate);
}

impl Conversation {
    /// Lets the exporter have it whole, and counts on the server's side.
    fn measure(name: &str, config: &'static LazyLock<Arc<ServerConfig>>, client_is_last: bool) -> Self {
        let turns = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0)));
        let counting = Arc::clone(&turns);
        let sender = move || -> Sender {
            let counting = Arc::clone(&counting);
            Box::new(move |mut client, bytes| {
                let (number, complete, whole) = &*counting;
                let whole = whole.fetch_add(bytes.len(), Ordering::SeqCst) + bytes.len();
                // The confirm, the server's first flight, and with TLS 1.2 its second.
                if number.fetch_add(1, Ordering::SeqCst) < if client_is_last { 2 } else { 3 } {
                    complete.store(whole, Ordering::SeqCst);
                }
                client.write_all(bytes)
            })
        };
        let peer = Peer::start({
            let serve = conversing(sender, config);
            move |client| serve(client)
        });
        let report = Probe::with(&[&address(peer.port), "--no-survey", "--timeout=20s"]).run();
        assert_eq!(report.assert_healthy("hybrid").label("rdp_server_info", "computer"), "TS01", "{name}");
        let count = |number: &AtomicUsize| number.load(Ordering::SeqCst);
        // What it says goodbye with may still come; the challenge has.
        let conversation = Self { config, complete: count(&turns.1), whole: count(&turns.2), client_is_last };
        assert!(conversation.complete > 500 && conversation.whole > conversation.complete + 100, "{conversation:?}");
        conversation
    }

    /// The endpoint that says no more than `length` bytes.
    fn row(&self, name: &str, length: usize, ending: Ending) -> Row {
        let verdicts: &'static [&'static str] = match (length, ending) {
            (0, _) => &["closed_after_request"],
            (1..CONFIRM, _) => &["protocol_error"],
            _ if length < self.complete => &["tls_reset"],
            // The reset races with the client's last message.
            (_, Ending::Rst) if length == self.complete && self.client_is_last => &["tls_reset", "healthy"],
            _ => &["healthy"],
        };
        let sender = move || -> Sender {
            let mut left = length;
            Box::new(move |mut client, bytes| {
                let said = left.min(bytes.len());
                client.write_all(&bytes[..said])?;
                left -= said;
                if left > 0 { Ok(()) } else { Err(io::ErrorKind::ConnectionAborted.into()) }
            })
        };
        let inner = conversing(sender, self.config);
        Row::either(format!("{name}, {ending:?} after {length}"), verdicts, ending.after(length, inner))
    }
}

impl Ending {
    /// Ends the connection so once `serve` has said what it may.
    fn after(self, length: usize, inner: Serve) -> Serve {
        serve(move |client| {
            let ours = client.try_clone()?;
            if length > 0 {
                let _ = inner(client);
            }
            self.end(ours)
        })
    }

    fn end(self, client: TcpStream) -> io::Result<()> {
        match self {
            Self::Rst => reset(&client),
            Self::Fin => {
                client.shutdown(Shutdown::Write)?;
                drain(client)
            }
        }
    }
}

/// The whole of it: NLA, TLS, the challenge, and goodbye.
fn conversing(sender: impl Fn() -> Sender + Send + Sync + 'static, config: &Arc<ServerConfig>) -> Serve {
    established_by(sender, HYBRID, config, |mut session| {
        session.read_request()?;
        session.say(&honest_challenge())?;
        session.end()
    })
}

/// Bytes of the connection confirm.
const CONFIRM: usize = 19;
/// One round is all there is.
const PACE: Pace = Pace {
    interval: Duration::from_secs(100),
    timeout: Duration::from_secs(15),
    quick: Duration::from_secs(1),
    rounds: 1,
    healthy: Duration::from_secs(5),
    gathering: Duration::ZERO,
};
