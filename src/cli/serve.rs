//! Serving: probes on a schedule, answers HTTP, until SIGTERM or SIGINT.

use std::{env, io, net::SocketAddr, sync::Arc, thread, time::Duration};

use anyhow::Context;
use tokio::{
    runtime::{self, Runtime},
    sync::watch,
    time::timeout,
};

use super::{
    ServeArguments, listen,
    notify::{self, Phase},
};
use crate::{
    access::Access,
    config::{COUNT_VARIABLE, Config, INDEX_VARIABLE, Reader, ShardVariables},
    descriptors,
    http::{self, App, Links, Web},
    metrics::BuildInfo,
    service::{Origin, Service},
};

pub(super) fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    descriptors::check().map_err(anyhow::Error::msg)?;
    let origin = Origin::new(arguments.config_file, shard_variables()?, arguments.auto_reload);
    let reader = Reader::start().context("start the thread that reads the configuration")?;
    let config = origin.file.as_ref().map_or_else(|| Ok(Config::without_file()), |file| reader.load(file))?;
    let access = Access::load(arguments.web_config_file)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().thread_keep_alive(FOR_EVER).build();
    let runtime = runtime.context("start the runtime")?;
    keep_threads(&runtime).context("start the threads that answers are made on")?;
    let ended = runtime.block_on(async move {
        let listeners = match arguments.systemd_socket {
            true => listen::on_handed_over()?,
            false => listen::on(&arguments.listen_addresses).await?,
        };
        let (service, probes) = Service::start(config, origin, reader)?;
        for listener in &listeners {
            let address = listener.local_addr().context("ask for the address that is listened on")?;
            announce(address, &service, &access);
        }
        let stopped = signals(Arc::clone(&service))?;
        let web = Web {
            telemetry_path: arguments.telemetry_path,
            links: Links::new(arguments.external_path.as_deref(), arguments.route_prefix.as_deref()),
            max_requests: arguments.max_requests,
        };
        let app = Arc::new(App::new(service, access, web));
        let serving = tokio::spawn(http::serve(listeners, app, is_true(stopped.clone())));
        notify::tell(Phase::Ready);
        is_true(stopped).await;
        notify::tell(Phase::Stopping);
        tracing::info!("Stopping");
        let probes = tokio::task::spawn_blocking(move || probes.stop());
        let _ = serving.await;
        match timeout(LAST_SAVE, probes).await {
            Ok(probes) => probes.context("stop probing")??,
            Err(_) => tracing::warn!("Could not save what is known in time"),
        }
        tracing::info!("Stopped");
        Ok(())
    });
    // A file or a password that is still being read keeps nobody waiting.
    runtime.shutdown_background();
    ended
}

/// Starts a few of the threads that may block, which then stay: later there may be none to be had, and where there is not
/// even one the runtime would panic.
fn keep_threads(runtime: &Runtime) -> io::Result<()> {
    thread::Builder::new().spawn(|| ())?.join().map_err(|_| io::Error::other("a thread panicked"))?;
    for _ in 0..KEPT_THREADS {
        // Long enough that none of them takes the next one's work too.
        drop(runtime.spawn_blocking(|| thread::sleep(Duration::from_millis(100))));
    }
    Ok(())
}

fn shard_variables() -> anyhow::Result<ShardVariables> {
    let [index, count] = [INDEX_VARIABLE, COUNT_VARIABLE].map(|name| env::var(name).ok());
    ShardVariables::parse(index.as_deref(), count.as_deref()).map_err(anyhow::Error::msg)
}

fn announce(address: SocketAddr, service: &Service, access: &Access) {
    let targets = service.config().targets.len();
    let settings = &access.now().settings;
    let tls = settings.tls.is_some();
    tracing::info!(version = BuildInfo::THIS.version, %address, targets, tls, "Listening");
    if !address.ip().to_canonical().is_loopback() && !settings.authenticates() {
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
                    notify::tell(Phase::Reloading);
                    // Not waited for: a file that cannot be read must not keep the exporter from ending.
                    drop(tokio::task::spawn_blocking(move || {
                        // How it went is in the log and in the metrics.
                        let _ = service.reload();
                        notify::tell(Phase::Ready);
                    }));
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

/// For a scrape, a page, a password or a reload each, and one more.
const KEPT_THREADS: usize = 4;
/// A thread that was there once need not be asked for again.
const FOR_EVER: Duration = Duration::MAX;
/// How long the state file may take to be written at the end, on a disk that does not answer for one.
const LAST_SAVE: Duration = Duration::from_secs(10);
