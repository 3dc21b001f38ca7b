//! The running exporter: the configuration in force, and the thread that probes.
//! Knows no HTTP; every way to reload ends here.

use std::{
    io,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        mpsc::{self as std_mpsc, RecvTimeoutError},
    },
    thread,
    time::{Duration, SystemTime},
};

use tokio::{runtime, sync::mpsc, task::JoinError};

use crate::{
    config::{Config, ConfigError, MaxConcurrent, Reader, ShardVariables, check_secrets, load_roots},
    descriptors,
    discovery::{Fetch, Fetched, Sources, Watch},
    laboratory::Laboratory,
    schedule::{self, Order},
    state::Vitals,
    state_file::{self, StateFile, Unclaimed},
    target::{Settings, Target},
};

/// A running exporter.
#[derive(Debug)]
pub struct Service {
    /// What probes share, and what is known.
    pub laboratory: Arc<Laboratory>,
    /// The runtime that probes run on, apart from the one that answers HTTP.
    pub probes: runtime::Handle,
    origin: Origin,
    reader: Reader,
    /// With the targets that were discovered.
    config: RwLock<Arc<Config>>,
    orders: mpsc::UnboundedSender<Order>,
    /// Held by whoever puts another configuration or other targets in force.
    sources: Mutex<Sources>,
}

/// Where the configuration comes from.
#[derive(Debug, Default)]
pub struct Origin {
    /// The file, where there is one.
    pub file: Option<PathBuf>,
    /// What the environment says in place of the file.
    pub sharding: ShardVariables,
    /// What the file was before it was read, where it is loaded again when it changes.
    watch: Option<Watch>,
}

/// The thread that probes and the one that saves, to be stopped in order. They go on where this is dropped.
#[derive(Debug)]
pub struct Threads {
    orders: mpsc::UnboundedSender<Order>,
    probes: thread::JoinHandle<()>,
    stop_saving: std_mpsc::Sender<()>,
    saves: thread::JoinHandle<()>,
}

impl Origin {
    /// To be made before `file` is read: what changes meanwhile is seen later, if it is to be seen by itself.
    #[must_use]
    pub fn new(file: Option<PathBuf>, sharding: ShardVariables, auto_reload: bool) -> Self {
        let watch = auto_reload.then(|| {
            let mut watch = Watch::default();
            watch.has_changed(file.as_deref(), wall_clock());
            watch
        });
        Self { file, sharding, watch }
    }

    /// Whether the file, or one that `config` names, changed since this was last asked.
    fn has_changed(&self, config: &Config, watch: &mut Watch) -> bool {
        let files = self.file.iter().chain(&config.trust.ca_files);
        watch.has_changed(files.map(PathBuf::as_path), wall_clock())
    }
}

impl Service {
    /// Starts to probe what `config`, read from its origin, says.
    ///
    /// # Errors
    /// A thread or runtime that cannot be had, files that the configuration names and that cannot be read, or a share that
    /// the environment leaves nothing of.
    pub fn start(config: Config, mut origin: Origin, reader: Reader) -> anyhow::Result<(Arc<Self>, Threads)> {
        let mut watch = origin.watch.take();
        let has_changed = watch.as_mut().is_some_and(|watch| origin.has_changed(&config, watch));
        let file = origin.file.as_deref().unwrap_or(Path::new(""));
        let config = config.under(origin.sharding, file)?;
        let roots = load_roots(&config.trust, file)?;
        warn_of_secrets(&config, file)?;
        let laboratory = Arc::new(Laboratory::new(Arc::new(roots), Vitals::new(wall_clock())));
        let (orders, received) = mpsc::unbounded_channel();
        let (to_itself, stop) = (orders.downgrade(), orders.clone());
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let probes = runtime.handle().clone();
        let probing = thread::Builder::new().name("probes".into()).spawn({
            let laboratory = Arc::clone(&laboratory);
            move || {
                // A task of its own: whatever wakes the runtime's outermost future does so through the system.
                let schedule = runtime.spawn(schedule::run(laboratory, to_itself, received));
                if let Err(Ok(panic)) = runtime.block_on(schedule).map_err(JoinError::try_into_panic) {
                    // Whoever stops the threads is told.
                    resume_unwind(panic);
                }
                // Look-ups cannot be cancelled; nobody waits for them.
                runtime.shutdown_background();
            }
        })?;
        let service = Arc::new(Self {
            laboratory,
            probes,
            origin,
            reader,
            config: RwLock::new(Arc::new(Config::without_file())),
            orders,
            sources: Mutex::default(),
        });
        let file = service.origin.file.as_deref();
        let unclaimed = |error| unclaimed(file.unwrap_or(Path::new("")), &error);
        let claim = |state_file| StateFile::claim(state_file, file).map_err(unclaimed);
        let state_file = config.exporter.state_file.as_deref().map(claim).transpose()?;
        if let Some(file) = &state_file {
            let settings = Settings { facts_max_age: config.longest_memory(), ..Settings::clone(&config.defaults) };
            let states = &service.laboratory.states;
            states.restore(file.load(&Arc::new(settings), wall_clock()).map_err(unclaimed)?);
            states.forget_trust(service.laboratory.roots().fingerprint());
        }
        service.put_in_force(&config, &mut service.sources());
        let looking = Arc::downgrade(&service);
        thread::Builder::new().name("discovery".into()).spawn(move || keep_looking(&looking, watch, has_changed))?;
        let (stop_saving, stopped) = std_mpsc::channel();
        let saving = thread::Builder::new().name("state file".into()).spawn({
            let service = Arc::clone(&service);
            move || match state_file {
                Some(file) => service.save_until(&file, &stopped),
                // The sender is dropped with the exporter.
                None => drop(stopped.recv()),
            }
        })?;
        Ok((service, Threads { orders: stop, probes: probing, stop_saving, saves: saving }))
    }

    /// Has the verdict of `target` confirmed, as the schedule has it for those that it finds changed.
    pub fn confirm(&self, target: &Arc<Target>) {
        // Without a schedule there is nothing to confirm any more.
        let _ = self.orders.send(Order::Confirm(Arc::clone(target)));
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
        let mut sources = self.sources();
        let result = self.try_reload(&mut sources);
        self.laboratory.vitals.record_reload(result.is_ok(), wall_clock());
        match &result {
            Ok(()) => tracing::info!(targets = self.config().targets.len(), "Reloaded the configuration"),
            Err(error) => tracing::warn!(%error, "Kept the old configuration, as the new one is not valid"),
        }
        result
    }

    fn try_reload(&self, sources: &mut Sources) -> Result<(), ConfigError> {
        let Some(file) = &self.origin.file else { return Ok(()) };
        let config = self.reader.load(file)?.under(self.origin.sharding, file)?;
        let roots = load_roots(&config.trust, file)?;
        warn_of_secrets(&config, file)?;
        self.laboratory.replace_roots(Arc::new(roots));
        self.put_in_force(&config, sources);
        Ok(())
    }

    /// Saves what is known soon after the start, so that a folder that cannot be written to is told of at once; then once
    /// a minute, and once more at the end.
    fn save_until(&self, file: &StateFile, stopped: &std_mpsc::Receiver<()>) {
        let (mut is_failing, mut pause) = (false, SAVE_AGAIN_AFTER);
        loop {
            let is_over = stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
            let states = &self.laboratory.states;
            let saved = file.save(&states.snapshot(), &states.absent(), wall_clock());
            match &saved {
                Err(error) if !is_failing => {
                    tracing::warn!(%file, %error, "Could not write the state file; trying again every ten seconds");
                }
                Ok(()) if is_failing => tracing::info!(%file, "The state file is written again"),
                Ok(()) | Err(_) => {}
            }
            is_failing = saved.is_err();
            pause = if is_failing { SAVE_AGAIN_AFTER } else { SAVE_INTERVAL };
            self.laboratory.vitals.record_save(saved.is_ok(), wall_clock());
            if is_over {
                return;
            }
        }
    }

    fn put_in_force(&self, config: &Config, sources: &mut Sources) {
        let limit = match config.exporter.max_concurrent {
            MaxConcurrent::Auto => descriptors::room_for_probes(),
            MaxConcurrent::Limit(limit) => limit,
        };
        // The thread that probes has ended only when the exporter is stopping.
        let _ = self.orders.send(Order::Limit(limit));
        sources.follow(&config.discovery);
        sources.look();
        self.replace_targets(config, sources);
    }

    /// Probes what `config` and the sources list, from now on.
    fn replace_targets(&self, config: &Config, sources: &mut Sources) {
        let config = sources.union(config);
        self.laboratory.vitals.record_discovery(sources.vitals());
        let share = config.share();
        self.laboratory.states.replace(&share);
        let _ = self.orders.send(Order::Replace(share));
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Looks whether files list other targets than before; gives the questions that servers are to be asked.
    fn look_around(&self) -> Vec<Fetch> {
        let mut sources = self.sources();
        if sources.look() {
            self.replace_discovered(&mut sources);
        }
        self.laboratory.vitals.record_discovery(sources.vitals());
        sources.take_due()
    }

    /// Takes in what one server listed, and probes that from then on.
    fn take_in(&self, fetched: Fetched) {
        let mut sources = self.sources();
        if sources.take_in(fetched) {
            self.replace_discovered(&mut sources);
        }
        self.laboratory.vitals.record_discovery(sources.vitals());
    }

    fn replace_discovered(&self, sources: &mut Sources) {
        let before = self.config();
        self.replace_targets(&before, sources);
        let (before, after) = (before.targets.len(), self.config().targets.len());
        if before != after {
            tracing::info!(before, after, "Other targets were discovered");
        }
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks around until the service is gone. Each question has a thread of its own, as a server may be silent; there is at
/// most one to each server.
fn keep_looking(service: &Weak<Service>, mut watch: Option<Watch>, has_changed: bool) {
    // Rounds until a configuration that could not be loaded is tried again: a file that it names may be there by then.
    let mut again: Option<u32> = has_changed.then_some(0);
    while let Some(service) = service.upgrade() {
        again = again.map(|rounds| rounds.saturating_sub(1));
        let has_changed = |watch| service.origin.has_changed(&service.config(), watch);
        if watch.as_mut().is_some_and(has_changed) || again == Some(0) {
            // How it went is in the log and in the metrics.
            again = service.reload().is_err().then_some(ROUNDS_BEFORE_AGAIN);
        }
        for fetch in service.look_around() {
            let (asking, fetch) = (Arc::clone(&service), Arc::new(fetch));
            let asked = Arc::clone(&fetch);
            let thread = thread::Builder::new().name("discovery-http".into());
            if let Err(error) = thread.spawn(move || asking.take_in(asked.run())) {
                service.take_in(fetch.unasked(format!("no thread to ask it on: {error}")));
            }
        }
        drop(service);
        thread::sleep(LOOK_AROUND_EVERY);
    }
}

/// Whether the state file that `config`, read from `file`, names may be one. Nothing is made or locked.
///
/// # Errors
/// What could not be replaced by a state file without a loss.
pub fn check_state_file(config: &Config, file: &Path) -> Result<(), ConfigError> {
    let Some(state_file) = &config.exporter.state_file else { return Ok(()) };
    state_file::check(state_file, Some(file)).map_err(|error| unclaimed(file, &error))
}

fn unclaimed(file: &Path, error: &Unclaimed) -> ConfigError {
    ConfigError::of_key(file, "exporter.state_file".to_owned(), error.to_string())
}

fn warn_of_secrets(config: &Config, file: &Path) -> Result<(), ConfigError> {
    for warning in check_secrets(config, file)? {
        tracing::warn!("{warning}");
    }
    Ok(())
}

impl Threads {
    /// Starts no more probes, lets those under way end for a short while, saves what is known, and waits for all that.
    ///
    /// # Errors
    /// Where a thread had ended in a panic.
    pub fn stop(self) -> io::Result<()> {
        // It may have ended in a panic.
        let _ = self.orders.send(Order::Stop);
        let probed = self.probes.join().map_err(|_| io::Error::other("the thread that probes had panicked"));
        // It may have ended already; then there is nobody to tell.
        let _ = self.stop_saving.send(());
        let saved = self.saves.join().map_err(|_| io::Error::other("the thread that saves had panicked"));
        probed.and(saved)
    }
}

/// Facts may be this old when they are lost in a crash.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);
/// Until the first save, and between two tries where none succeeds.
const SAVE_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// A minute of rounds.
const ROUNDS_BEFORE_AGAIN: u32 = 30;
/// How often files are looked at. Their times and sizes only, as long as those stay.
const LOOK_AROUND_EVERY: Duration = Duration::from_secs(2);

#[expect(clippy::disallowed_methods, reason = "the time of a reload is a fact of this process")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
