//! Accepting connections, within limits, until told to stop.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::BodyExt as _;
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming, SizeHint},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    answers::Body,
    app::App,
    guard,
    places::{Limits, MOMENT, Place, Places},
};
use crate::access::Policy;

/// Answers on `listeners` until `stopped` is ready, then lets answers under way end for a short while.
pub async fn serve(listeners: Vec<TcpListener>, app: Arc<App>, stopped: impl Future<Output = ()>) {
    let places = Places::new(CONNECTIONS);
    let (stop, stopping) = watch::channel(false);
    let mut doors = JoinSet::new();
    for listener in listeners {
        doors.spawn(open(listener, Arc::clone(&places), Arc::clone(&app), stopping.clone()));
    }
    stopped.await;
    doors.shutdown().await;
    stop.send_replace(true);
    // Each connection has a place until its end.
    let _ = timeout(STOPPING_TIME, places.all_free()).await;
}

async fn open(listener: TcpListener, places: Arc<Places>, app: Arc<App>, stopping: watch::Receiver<bool>) {
    let mut is_failing = false;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if !is_failing {
                    tracing::warn!(%error, "Cannot accept connections; trying again until descriptors are free");
                }
                is_failing = true;
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if is_failing {
            tracing::info!("Connections are accepted again");
            is_failing = false;
        }
        // Whoever has so many is not waited for.
        let Some(place) = places.take(peer.ip()).await else { continue };
        limit_stalls(&stream);
        let client = Client { peer, place: Arc::new(place) };
        let (app, stopping) = (Arc::clone(&app), stopping.clone());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = client.place.lost() => tracing::debug!(%peer, "A connection made room for another"),
                () = converse(stream, client.clone(), app, stopping) => {}
            }
        });
    }
}

/// Lets the system end the connection of a client that does not read its answer, which hyper would wait for.
/// On other systems that takes until the connection is old.
fn limit_stalls(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    // A system without it has the longer limit.
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, STALL_MILLISECONDS);
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// Who asks, and the place of its connection.
#[derive(Debug, Clone)]
struct Client {
    peer: SocketAddr,
    place: Arc<Place>,
}

impl Client {
    async fn answer(self, app: Arc<App>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let work = self.place.work();
        let answer = guard::answer(&app, request, self.peer.ip()).await;
        drop(work);
        let place = self.place;
        Ok(answer.map(|body| Renewing { body, place }.boxed()))
    }
}

/// A body that renews the place of its connection: each part of a long one is asked for only when those before it were read.
struct Renewing {
    body: Body,
    place: Arc<Place>,
}

impl hyper::body::Body for Renewing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let part = Pin::new(&mut self.body).poll_frame(context);
        if part.is_ready() {
            self.place.renew();
        }
        part
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// One connection, from its TLS handshake to its end.
async fn converse(stream: TcpStream, client: Client, app: Arc<App>, stopping: watch::Receiver<bool>) {
    // From before the policy is looked at, so that no change of it is missed.
    let changes = app.access.changes();
    let policy = app.access.policy().await;
    let end = end(stopping, changes, Arc::clone(&policy));
    let peer = client.peer;
    let result = match &policy.tls {
        None => speak_http1(stream, client, app, end).await,
        Some(config) => match handshake(stream, config).await {
            Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                speak_http2(stream, client, app, end).await
            }
            Ok(stream) => speak_http1(stream, client, app, end).await,
            Err(error) => {
                tracing::debug!(%peer, %error, "A TLS handshake failed");
                return;
            }
        },
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "An HTTP connection ended");
    }
}

async fn handshake(stream: TcpStream, config: &Arc<ServerConfig>) -> io::Result<TlsStream<TcpStream>> {
    timeout(HANDSHAKE_TIME, TlsAcceptor::from(Arc::clone(config)).accept(stream)).await?
}

async fn speak_http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    client: Client,
    app: Arc<App>,
    end: impl Future<Output = ()>,
) -> hyper::Result<()> {
    let service = service_fn(move |request| client.clone().answer(Arc::clone(&app), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    until(connection, end).await
}

async fn speak_http2(
    stream: TlsStream<TcpStream>,
    client: Client,
    app: Arc<App>,
    end: impl Future<Output = ()>,
) -> hyper::Result<()> {
    let service = service_fn(move |request| client.clone().answer(Arc::clone(&app), request));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(HEADER_TIME)
        .keep_alive_timeout(HANDSHAKE_TIME)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES_2)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    until(connection, end).await
}

/// Drives a connection to its own end, or lets what is under way on it end once `end` is ready.
async fn until<C: GracefulConnection>(connection: C, end: impl Future<Output = ()>) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
    tokio::select! {
        result = &mut connection => return result,
        () = end => {}
    }
    connection.as_mut().graceful_shutdown();
    timeout(ENDING_TIME, connection).await.unwrap_or(Ok(()))
}

/// Ready when a connection that began under `policy` is to end: the exporter stops, another policy holds, or it is old.
async fn end(mut stopping: watch::Receiver<bool>, mut changes: watch::Receiver<Arc<Policy>>, policy: Arc<Policy>) {
    tokio::select! {
        _ = stopping.wait_for(|stopping| *stopping) => {}
        _ = changes.wait_for(|now| !Arc::ptr_eq(now, &policy)) => {}
        () = sleep(MAX_AGE) => {}
    }
}

const CONNECTIONS: Limits = Limits { all: 256, each: 128, patience: MOMENT };
/// Requests at once of one HTTP/2 connection.
const MAX_STREAMS: u32 = 16;
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 64 * 1024;
const MAX_HEADER_BYTES_2: u32 = 16 * 1024;
/// What is kept of request bodies, which nobody reads.
const WINDOW_BYTES: u32 = 64 * 1024;
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// From the first byte of a request, or from the last answer, to the end of the headers.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// After that a client connects anew, and shows its certificate again.
const MAX_AGE: Duration = Duration::from_secs(600);
/// How long answers under way may take once their connection is to end.
const ENDING_TIME: Duration = Duration::from_secs(300);
/// How long a client may read nothing.
#[cfg(target_os = "linux")]
const STALL_MILLISECONDS: u32 = 30_000;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers under way may take once the exporter stops.
const STOPPING_TIME: Duration = Duration::from_secs(2);
