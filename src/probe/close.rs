//! The orderly end of a connection.
//!
//! Closing a socket with unread bytes sends RST, and TLS 1.3 servers leave session tickets unread on every probe. So:
//! end our side, then read and drop until the server ends its own.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout_at},
};

use super::tls::Session;

/// Ends TLS. The server may be gone already, which does not undo the handshake.
pub(super) async fn notify<S: AsyncRead + AsyncWrite + Unpin>(session: &mut Session<'_, S>, deadline: Instant) {
    let _ = timeout_at(limit(deadline), session.end()).await;
}

/// Ends our side of `tcp` and waits for the server to end its own, within limits.
pub(super) async fn orderly(mut tcp: impl AsyncRead + AsyncWrite + Unpin, deadline: Instant) {
    let _ = tcp.shutdown().await;
    let drained = async {
        let mut left = MAX_DROPPED;
        // Not part of what waits for an answer for as long as a probe may take.
        let mut buffer = vec![0; PIECE];
        while left > 0 {
            match tcp.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
    };
    // A server that goes on sending gets the RST that it asks for.
    let _ = timeout_at(limit(deadline), drained).await;
}

fn limit(deadline: Instant) -> Instant {
    let now = Instant::now();
    (now + MAX_WAIT).min(deadline.max(now + MIN_WAIT))
}

/// What is read at once: a few session tickets.
const PIECE: usize = 1024;
/// Bytes that are read and dropped.
const MAX_DROPPED: usize = 64 * 1024;
/// How long a server may take to end its side.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// The least wait, also where the probe's own time is up.
const MIN_WAIT: Duration = Duration::from_millis(50);
