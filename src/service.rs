//! The running exporter: the configuration in force, and the thread that probes.
//! Knows no HTTP; every way to reload ends here.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        mpsc::{self as std_mpsc, RecvTimeoutError},
    },
    thread,
    time::{Duration, SystemTime},
};

use tokio::{
    runtime,
    sync::{mpsc, watch},
};

use crate::{
    config::{Config, ConfigError, MaxConcurrent, load_roots},
    descriptors,
    laboratory::Laboratory,
    schedule::{self, Order},
    state::Vitals,
    state_file,
};

/// A running exporter.
#[derive(Debug)]
pub struct Service {
    /// What probes share, and what is known.
    pub laboratory: Arc<Laboratory>,
    /// The runtime that probes run on, apart from the one that answers HTTP.
    pub probes: runtime::Handle,
    file: Option<PathBuf>,
    config: RwLock<Arc<Config>>,
    orders: mpsc::UnboundedSender<Order>,
    reloading: Mutex<()>,
}

/// The thread that probes and the one that saves, to be stopped in order.
#[derive(Debug)]
pub struct Threads {
    stop: watch::Sender<bool>,
    probes: thread::JoinHandle<()>,
    stop_saving: std_mpsc::Sender<()>,
    saves: thread::JoinHandle<()>,
}

impl Service {
    /// Starts to probe what `config`, read from `file`, says.
    ///
    /// # Errors
    /// A thread or runtime that cannot be had, or roots that cannot be read.
    pub fn start(config: Config, file: Option<PathBuf>) -> anyhow::Result<(Arc<Self>, Threads)> {
        let roots = load_roots(&config.trust, file.as_deref().unwrap_or(Path::new("")))?;
        let laboratory = Arc::new(Laboratory::new(Arc::new(roots), Vitals::new(wall_clock())));
        let (orders, received) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let probes = runtime.handle().clone();
        let probing = thread::Builder::new().name("probes".into()).spawn({
            let laboratory = Arc::clone(&laboratory);
            move || {
                runtime.block_on(schedule::run(laboratory, received, stopped));
                // Look-ups cannot be cancelled; nobody waits for them.
                runtime.shutdown_background();
            }
        })?;
        let config = Arc::new(config);
        let service = Self {
            laboratory,
            probes,
            file,
            config: RwLock::new(Arc::clone(&config)),
            orders,
            reloading: Mutex::new(()),
        };
        if let Some(file) = &config.exporter.state_file {
            service.laboratory.states.restore(state_file::load(file, &config.defaults, wall_clock()));
        }
        service.put_in_force(config);
        let service = Arc::new(service);
        let (stop_saving, stopped) = std_mpsc::channel();
        let saving = thread::Builder::new().name("state file".into()).spawn({
            let service = Arc::clone(&service);
            move || service.save_until(&stopped)
        })?;
        Ok((service, Threads { stop, probes: probing, stop_saving, saves: saving }))
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the thread that probes is still there.
    #[must_use]
    pub fn is_probing(&self) -> bool {
        !self.orders.is_closed()
    }

    /// Reads the configuration again. Blocks while it reads files.
    ///
    /// # Errors
    /// What is wrong with it; nothing has changed then.
    pub fn reload(&self) -> Result<(), ConfigError> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.try_reload();
        self.laboratory.vitals.record_reload(result.is_ok(), wall_clock());
        match &result {
            Ok(()) => tracing::info!(targets = self.config().targets.len(), "Reloaded the configuration"),
            Err(error) => tracing::warn!(%error, "Kept the old configuration, as the new one is not valid"),
        }
        result
    }

    fn try_reload(&self) -> Result<(), ConfigError> {
        let Some(file) = &self.file else { return Ok(()) };
        let config = Config::load(file)?;
        let roots = load_roots(&config.trust, file)?;
        self.laboratory.replace_roots(Arc::new(roots));
        self.put_in_force(Arc::new(config));
        Ok(())
    }

    /// Saves what is known once a minute, and once more at the end.
    fn save_until(&self, stopped: &std_mpsc::Receiver<()>) {
        let mut is_failing = false;
        loop {
            let is_over = stopped.recv_timeout(SAVE_INTERVAL) != Err(RecvTimeoutError::Timeout);
            if let Some(file) = &self.config().exporter.state_file {
                let states = &self.laboratory.states;
                let saved = state_file::save(file, &states.snapshot(), &states.absent(), wall_clock());
                match &saved {
                    Err(error) if !is_failing => {
                        tracing::warn!(file = %file.display(), %error, "Could not write the state file; trying again every minute");
                    }
                    Ok(()) if is_failing => tracing::info!(file = %file.display(), "The state file is written again"),
                    Ok(()) | Err(_) => {}
                }
                is_failing = saved.is_err();
            }
            if is_over {
                return;
            }
        }
    }

    fn put_in_force(&self, config: Arc<Config>) {
        let limit = match config.exporter.max_concurrent {
            MaxConcurrent::Auto => descriptors::room_for_probes(),
            MaxConcurrent::Limit(limit) => limit,
        };
        self.laboratory.states.replace(&config.targets);
        // The thread that probes has ended only when the exporter is stopping.
        let _ = self.orders.send(Order::Limit(limit));
        let _ = self.orders.send(Order::Replace(config.targets.clone()));
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }
}

impl Threads {
    /// Starts no more probes, lets those under way end for a short while, saves what is known, and waits for all that.
    ///
    /// # Errors
    /// Where a thread had ended in a panic.
    pub fn stop(self) -> io::Result<()> {
        self.stop.send_replace(true);
        let probed = self.probes.join().map_err(|_| io::Error::other("the thread that probes had panicked"));
        // It may have ended already; then there is nobody to tell.
        let _ = self.stop_saving.send(());
        let saved = self.saves.join().map_err(|_| io::Error::other("the thread that saves had panicked"));
        probed.and(saved)
    }
}

/// Facts may be this old when they are lost in a crash.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "the time of a reload is a fact of this process")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
