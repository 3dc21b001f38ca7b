//! Who may ask over HTTP, and over what: TLS, client certificates, passwords, and how much at once.
//!
//! The web configuration and the files that it names are read again when they change. A bad new version keeps the old one,
//! and so does one that asks for less: a file that is being written has moments in which half of it is missing.

mod client;
mod passwords;
mod rate;
mod shares;
mod tls;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use rustls::ServerConfig;
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    task::spawn_blocking,
    time::Instant,
};

pub use passwords::Admission;
pub use shares::party;

use crate::config::{ConfigError, WebConfig};
use passwords::Passwords;
use rate::Bucket;
use shares::Shares;

/// What is asked of clients, now and as files change.
#[derive(Debug)]
pub struct Access {
    file: Option<PathBuf>,
    policy: watch::Sender<Arc<Policy>>,
    watched: Arc<AsyncMutex<Watched>>,
    passwords: Passwords,
    bucket: Mutex<Bucket>,
    is_current: AtomicBool,
}

/// What is asked of clients.
#[derive(Debug)]
pub struct Policy {
    /// How TLS is spoken; `None`: it is not.
    pub tls: Option<Arc<ServerConfig>>,
    /// All else.
    pub settings: WebConfig,
}

/// The files that the policy was made of, as they were.
#[derive(Debug)]
struct Watched {
    files: Marks,
    looked_at: Instant,
    /// Why the last version was not taken, and when it was read.
    refused: Option<(Refusal, Instant)>,
}

/// Why a version of the files was not taken.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// It lacks a protection.
    AsksForLess(&'static str),
    Invalid(ConfigError),
}

/// Files, each with its mark where it is there.
type Marks = Vec<(PathBuf, Option<Mark>)>;

/// What of a file changes when it is written or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    modified: Option<SystemTime>,
    bytes: u64,
    /// Inode and time of its change, where the system has them: a file may be replaced by one of the same age.
    identity: Option<(u64, i64, i64)>,
}

impl Access {
    /// As `file` says; without one, plain HTTP for everyone. Blocks while it reads files.
    ///
    /// # Errors
    /// What is wrong with the file, or with one that it names.
    pub fn load(file: Option<PathBuf>) -> Result<Self, ConfigError> {
        let (files, policy) = match &file {
            Some(file) => read(file),
            None => (Vec::new(), Ok(Policy { tls: None, settings: WebConfig::without_file() })),
        };
        let policy = policy?;
        if let Some(file) = &file {
            policy.warn_of_secrets(file);
        }
        let watched = Watched { files, looked_at: Instant::now(), refused: None };
        Ok(Self {
            file,
            policy: watch::Sender::new(Arc::new(policy)),
            watched: Arc::new(AsyncMutex::new(watched)),
            passwords: Passwords::new(),
            bucket: Mutex::new(Bucket::new(Instant::now())),
            is_current: AtomicBool::new(true),
        })
    }

    /// The policy in force, as of the files of a second ago.
    pub async fn policy(self: &Arc<Self>) -> Arc<Policy> {
        // Whoever comes while another looks goes on with what is known, so that a slow disk holds up one request at most.
        if let Some(file) = &self.file
            && let Ok(mut watched) = Arc::clone(&self.watched).try_lock_owned()
            && watched.looked_at.elapsed() >= LOOK_INTERVAL
        {
            let (access, file) = (Arc::clone(self), file.clone());
            let _ = spawn_blocking(move || {
                access.look_again(&file, &mut watched);
                watched.looked_at = Instant::now();
            })
            .await;
        }
        self.now()
    }

    /// The policy in force, as it was last read.
    #[must_use]
    pub fn now(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.borrow())
    }

    /// Whether what was last read of the files is in force; `None` where there are none.
    #[must_use]
    pub fn is_current(&self) -> Option<bool> {
        self.file.as_ref().map(|_| self.is_current.load(Ordering::Relaxed))
    }

    /// Tells when another policy comes into force.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Policy>> {
        self.policy.subscribe()
    }

    /// Whether `rate_limit` lets one more request be answered.
    #[must_use]
    pub fn has_room(&self, policy: &Policy) -> bool {
        policy
            .settings
            .rate_limit
            .is_none_or(|limit| self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(limit, Instant::now()))
    }

    fn look_again(&self, file: &Path, watched: &mut Watched) {
        let is_new = watched.files.iter().any(|(path, mark)| Mark::of(path) != *mark);
        // What could not be read for want of descriptors changes no more when it can be read again.
        let is_due = watched.refused.as_ref().is_some_and(|(_, read)| read.elapsed() >= AGAIN_AFTER);
        if !is_new && !is_due {
            return;
        }
        let (files, policy) = read(file);
        watched.files = files;
        let refused = match policy.map(|policy| (policy.lost_since(&self.now()), policy)) {
            Ok((None, policy)) => {
                tracing::info!(file = %file.display(), summary = policy.settings.summary(), "Read the web configuration again");
                policy.warn_of_secrets(file);
                self.policy.send_replace(Arc::new(policy));
                None
            }
            Ok((Some(lost), _)) => Some(Refusal::AsksForLess(lost)),
            Err(error) => Some(Refusal::Invalid(error)),
        };
        self.is_current.store(refused.is_none(), Ordering::Relaxed);
        let before = watched.refused.take().map(|(refusal, _)| refusal);
        if let Some(refusal) = refused.as_ref().filter(|_| is_new || before != refused) {
            refusal.log(file);
        }
        watched.refused = refused.map(|refusal| (refusal, Instant::now()));
    }
}

impl Policy {
    fn new(settings: WebConfig, file: &Path) -> Result<Self, ConfigError> {
        let tls = settings.tls.as_ref().map(|tls| tls::server_config(tls, settings.http2)).transpose();
        let tls = tls.map_err(|(key, reason)| ConfigError::of_key(file, key, reason))?;
        Ok(Self { tls: tls.map(Arc::new), settings })
    }

    fn warn_of_secrets(&self, file: &Path) {
        for warning in self.settings.warnings(file) {
            tracing::warn!("{warning}");
        }
    }

    /// The first protection that `old` has and this one lacks.
    fn lost_since(&self, old: &Self) -> Option<&'static str> {
        let protections = |policy: &Self| {
            let tls = policy.settings.tls.as_ref();
            [
                ("TLS", tls.is_some()),
                ("verified client certificates", tls.is_some_and(|tls| tls.client_auth.is_verified())),
                ("client_allowed_sans", tls.is_some_and(|tls| tls.client_allowed_sans.is_some())),
                ("basic_auth_users", !policy.settings.users.is_empty()),
            ]
        };
        let both = protections(old).into_iter().zip(protections(self));
        both.into_iter().find(|((_, had), (_, has))| *had && !has).map(|((lost, _), _)| lost)
    }
}

impl Refusal {
    fn log(&self, file: &Path) {
        match self {
            Self::AsksForLess(lost) => {
                tracing::warn!(file = %file.display(), lost, "Kept the old web configuration: to ask for less takes a restart");
            }
            Self::Invalid(error) => {
                tracing::warn!(%error, "Kept the old web configuration, as the new one is not valid");
            }
        }
    }
}

impl Mark {
    fn of(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok()?;
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt as _;
            Some((metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
        };
        #[cfg(not(unix))]
        let identity = None;
        Some(Self { modified: metadata.modified().ok(), bytes: metadata.len(), identity })
    }
}

/// The policy of a file, and the files that it depends on as they were before they were read: what is written meanwhile is
/// seen the next time.
fn read(file: &Path) -> (Marks, Result<Policy, ConfigError>) {
    let marked = |path: &Path| (path.to_owned(), Mark::of(path));
    let mut files = vec![marked(file)];
    let settings = match WebConfig::load(file) {
        Ok(settings) => settings,
        Err(error) => return (files, Err(error)),
    };
    files.extend(settings.files().map(marked));
    (files, Policy::new(settings, file))
}

/// Between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Between two readings of files that were refused and have not changed.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
