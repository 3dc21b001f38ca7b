//! Accepting connections, within limits, until told to stop.

use std::{convert::Infallible, future::Future, io, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{app::App, routes::answer};

/// Answers on `listener` until `stopped` is ready, then lets answers under way end for a short while.
pub async fn serve(listener: TcpListener, app: Arc<App>, stopped: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = &mut stopped => break,
        };
        let Ok((stream, place)) = accepted else {
            // No descriptors, most likely: they come back when others end.
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let service = service_fn({
            let app = Arc::clone(&app);
            move |request| {
                let app = Arc::clone(&app);
                async move { Ok::<_, Infallible>(answer(&app, &request).await) }
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "An HTTP connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    let _ = timeout(STOPPING_TIME, graceful.shutdown()).await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

/// Connections at once; more of them wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// From the first byte of a request, or from the last answer, to the end of the headers.
const HEADER_TIME: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers under way may take once the exporter stops.
const STOPPING_TIME: Duration = Duration::from_secs(2);
