//! The running exporter: the configuration in force, and the thread that probes.
//! Knows no HTTP; every way to reload ends here.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    thread,
    time::SystemTime,
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

/// The thread that probes, to be stopped in order.
#[derive(Debug)]
pub struct ProbeThread {
    stop: watch::Sender<bool>,
    thread: thread::JoinHandle<()>,
}

impl Service {
    /// Starts to probe what `config`, read from `file`, says.
    ///
    /// # Errors
    /// A thread or runtime that cannot be had, or roots that cannot be read.
    pub fn start(config: Config, file: Option<PathBuf>) -> anyhow::Result<(Arc<Self>, ProbeThread)> {
        let roots = load_roots(&config.trust, file.as_deref().unwrap_or(Path::new("")))?;
        let laboratory = Arc::new(Laboratory::new(Arc::new(roots), Vitals::new(wall_clock())));
        let (orders, received) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let probes = runtime.handle().clone();
        let thread = thread::Builder::new().name("probes".into()).spawn({
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
        service.put_in_force(config);
        Ok((Arc::new(service), ProbeThread { stop, thread }))
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

impl ProbeThread {
    /// Starts no more probes, lets those under way end for a short while, and waits for that.
    ///
    /// # Errors
    /// Where the thread had ended in a panic.
    pub fn stop(self) -> io::Result<()> {
        self.stop.send_replace(true);
        self.thread.join().map_err(|_| io::Error::other("the thread that probes had panicked"))
    }
}

#[expect(clippy::disallowed_methods, reason = "the time of a reload is a fact of this process")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
