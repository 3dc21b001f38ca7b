//! Serving: probes on a schedule, answers HTTP, until SIGTERM or SIGINT.

use std::{
    env, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use anyhow::Context;
use tokio::{net::TcpListener, runtime, sync::watch};

use super::{ListenAddress, ServeArguments, load};
use crate::{
    config::{COUNT_VARIABLE, INDEX_VARIABLE, ShardVariables},
    http::{self, App},
    metrics::BuildInfo,
    service::{Origin, Service},
};

pub(super) fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    let config = load(arguments.config_file.as_ref())?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async move {
        let listener = listen(&arguments.listen_address).await?;
        let origin =
            Origin { file: arguments.config_file, sharding: shard_variables()?, auto_reload: arguments.auto_reload };
        let (service, probes) = Service::start(config, origin)?;
        let address = listener.local_addr().context("ask for the address that is listened on")?;
        announce(address, &service);
        let stopped = signals(Arc::clone(&service))?;
        let app = Arc::new(App::new(service, arguments.telemetry_path));
        let serving = tokio::spawn(http::serve(listener, app, is_true(stopped.clone())));
        is_true(stopped).await;
        tracing::info!("Stopping");
        let probes = tokio::task::spawn_blocking(move || probes.stop());
        let _ = serving.await;
        probes.await.context("stop probing")??;
        tracing::info!("Stopped");
        Ok(())
    })
}

fn shard_variables() -> anyhow::Result<ShardVariables> {
    let [index, count] = [INDEX_VARIABLE, COUNT_VARIABLE].map(|name| env::var(name).ok());
    ShardVariables::parse(index.as_deref(), count.as_deref()).map_err(anyhow::Error::msg)
}

async fn listen(address: &ListenAddress) -> anyhow::Result<TcpListener> {
    let listener = match address {
        ListenAddress::One(address) => TcpListener::bind(address).await,
        ListenAddress::Named(name) => TcpListener::bind(name).await,
        ListenAddress::Everywhere(port) => {
            // Where IPv6 is off, IPv4 alone will do.
            match dual_stack(*port) {
                Ok(listener) => Ok(listener),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
                Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).await,
            }
        }
    };
    listener.with_context(|| format!("listen on {address}"))
}

/// One socket for IPv6 and IPv4.
fn dual_stack(port: u16) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn announce(address: SocketAddr, service: &Service) {
    let config = service.config();
    tracing::info!(version = BuildInfo::THIS.version, %address, targets = config.targets.len(), "Listening");
    if !address.ip().to_canonical().is_loopback() {
        tracing::warn!(%address, "Anyone who can reach this address can read the metrics, as there is no authentication");
    }
}

/// Turns true at SIGTERM or SIGINT; SIGHUP reloads.
#[cfg(unix)]
fn signals(service: Arc<Service>) -> io::Result<watch::Receiver<bool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => {
                    let service = Arc::clone(&service);
                    // How it went is in the log and in the metrics.
                    let _ = tokio::task::spawn_blocking(move || service.reload()).await;
                }
            }
        }
        stop.send_replace(true);
    });
    Ok(stopped)
}

#[cfg(not(unix))]
fn signals(_service: Arc<Service>) -> io::Result<watch::Receiver<bool>> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        stop.send_replace(true);
    });
    Ok(stopped)
}

async fn is_true(mut value: watch::Receiver<bool>) {
    // Where the sender is gone nobody can stop us any more but the system.
    let _ = value.wait_for(|value| *value).await;
}

const BACKLOG: i32 = 1024;
