//! The orderly end of a connection.
//!
//! Closing a socket with unread bytes sends RST, and TLS 1.3 servers leave session tickets unread on every probe. So:
//! end our side, then read and drop until the server ends its own.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf},
    net::TcpStream,
    time::Instant,
};

use super::limit::Limit;

/// The same as [`orderly`], with the farewell and the end of our side in one segment where the system can do that.
pub(super) async fn tcp(tcp: TcpStream, farewell: &[u8], limit: &mut Limit<'_>) {
    let said = tcp.try_io(Interest::WRITABLE, || say_with_what_follows(&tcp, farewell)).unwrap_or(0);
    orderly(tcp, farewell.get(said..).unwrap_or_default(), limit).await;
}

#[cfg(target_os = "linux")]
fn say_with_what_follows(tcp: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match bytes {
        [] => Ok(0),
        bytes => socket2::SockRef::from(tcp).send_with_flags(bytes, libc::MSG_MORE | libc::MSG_NOSIGNAL),
    }
}

#[cfg(not(target_os = "linux"))]
fn say_with_what_follows(_: &TcpStream, _: &[u8]) -> io::Result<usize> {
    Ok(0)
}

/// Says `farewell`, ends our side of `tcp` and waits for the server to end its own, within limits. The server may be gone
/// already, which undoes nothing.
pub(super) async fn orderly(mut tcp: impl AsyncRead + AsyncWrite + Unpin, farewell: &[u8], limit: &mut Limit<'_>) {
    if !farewell.is_empty() {
        let _ = limit.hold_until(end(limit.deadline()), pin!(tcp.write_all(farewell))).await;
    }
    let _ = tcp.shutdown().await;
    let drained = async {
        let mut left = MAX_DROPPED;
        while left > 0 {
            match poll_fn(|context| drop_piece(&mut tcp, context)).await {
                Ok(0) | Err(_) => break,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
    };
    // A server that goes on sending gets the RST that it asks for.
    let _ = limit.hold_until(end(limit.deadline()), pin!(drained)).await;
}

/// Reads and drops what is there; how much that was. Its room is taken only while it reads, not while it waits.
fn drop_piece(tcp: &mut (impl AsyncRead + Unpin), context: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut room = [MaybeUninit::uninit(); PIECE];
    let mut piece = ReadBuf::uninit(&mut room);
    Pin::new(tcp).poll_read(context, &mut piece).map_ok(|()| piece.filled().len())
}

fn end(deadline: Instant) -> Instant {
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
