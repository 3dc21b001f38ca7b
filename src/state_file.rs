//! What survives a restart: facts, what is known not to work, layer baselines and counters, one line per target.
//!
//! The file is replaced as a whole, so a crash leaves the old or the new one. What cannot be read is set aside: a restart
//! without memory is better than none.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{
    diagnosis::Verdict,
    memory::Memory,
    observation::age,
    state::{Absent, HANDSHAKE_BUCKETS, Histogram, TargetState},
    target::{Settings, Target},
};

/// The first line.
#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    targets: usize,
}

/// A target's line.
#[derive(Serialize, Deserialize)]
struct Saved {
    name: String,
    address: String,
    server_name: Option<String>,
    /// When the target was last configured.
    known: SystemTime,
    memory: Memory,
    tally: BTreeMap<String, u64>,
    consecutive_failures: u64,
    handshakes: Vec<u32>,
    handshakes_sum: f64,
}

/// A state file that this process alone writes, as long as this lives.
#[derive(Debug)]
pub struct StateFile {
    file: PathBuf,
    _lock: Option<File>,
}

/// Why a file cannot be this process's state file.
#[derive(Debug, thiserror::Error)]
pub enum Unclaimed {
    /// A folder, a device, a pipe.
    #[error("{0} is no ordinary file; name one, or one that is not there yet")]
    NotAFile(String),
    /// It would be overwritten.
    #[error("{0} is the configuration itself; name another file")]
    TheConfiguration(String),
    /// Two would overwrite each other's.
    #[error("another exporter writes {0}; give each a file of its own")]
    Taken(String),
    /// It is there, but what it knows would be lost.
    #[error("{0} cannot be read: {1}")]
    Io(String, io::Error),
}

impl StateFile {
    /// Makes `file` this process's own. `config` is never taken for one.
    ///
    /// # Errors
    /// Another process's, and what could not be replaced by a state file without a loss.
    pub fn claim(file: &Path, config: Option<&Path>) -> Result<Self, Unclaimed> {
        check(file, config)?;
        let shown = || file.display().to_string();
        match lock(&beside(file, "lock")) {
            Ok(lock) => Ok(Self { file: file.to_owned(), _lock: Some(lock) }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Unclaimed::Taken(shown())),
            // Nothing can be written there: the first save says so, and the exporter runs without.
            Err(_) => Ok(Self { file: file.to_owned(), _lock: None }),
        }
    }

    /// What an earlier process saved; see [`load`].
    ///
    /// # Errors
    /// A file that is there and that the system does not let us read.
    pub fn load(&self, settings: &Arc<Settings>, now: SystemTime) -> Result<Vec<Absent>, Unclaimed> {
        load(&self.file, settings, now).map_err(|error| Unclaimed::Io(self.to_string(), error))
    }

    /// Replaces the file; see [`save`].
    ///
    /// # Errors
    /// A folder that cannot be written to, a full disk.
    pub fn save(&self, states: &[Arc<TargetState>], absent: &[Absent], now: SystemTime) -> io::Result<()> {
        save(&self.file, states, absent, now)
    }
}

impl fmt::Display for StateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())
    }
}

/// Whether `file` may be a state file at all. Nothing is made or locked.
///
/// # Errors
/// What could not be replaced by a state file without a loss.
pub fn check(file: &Path, config: Option<&Path>) -> Result<(), Unclaimed> {
    let shown = || file.display().to_string();
    if fs::metadata(file).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Unclaimed::NotAFile(shown()));
    }
    let is_config =
        |config: &Path| fs::canonicalize(config).ok().is_some_and(|it| fs::canonicalize(file).ok() == Some(it));
    match config.is_some_and(is_config) {
        true => Err(Unclaimed::TheConfiguration(shown())),
        false => Ok(()),
    }
}

/// Holds the lock as long as the file is open; the system lets it go when the process ends, however it ends.
#[cfg(unix)]
fn lock(file: &Path) -> io::Result<File> {
    let lock = create(file)?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(lock)
}

#[cfg(not(unix))]
fn lock(file: &Path) -> io::Result<File> {
    create(file)
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("line {0}: {1}")]
    Line(usize, serde_json::Error),
    #[error("it is of another version of the exporter ({0})")]
    Other(String),
    #[error("it says {said} targets and has {found}")]
    Incomplete { said: usize, found: usize },
}

/// Reads what an earlier process saved, as states of targets with `settings`. What is older than their `facts_max_age` is
/// left out, and what is dated in the future; a file of which anything is in the future, or all too old, is set aside. So is
/// one that holds something else, and nothing is known; a file that is not there is a first start.
///
/// # Errors
/// A file that is there and that the system does not let us read.
pub fn load(file: &Path, settings: &Arc<Settings>, now: SystemTime) -> io::Result<Vec<Absent>> {
    let read = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.map_err(Unreadable::Io).and_then(|opened| read(BufReader::new(opened))),
    };
    match read {
        Ok(saved) => {
            let is_ahead = saved.iter().any(|saved| saved.is_ahead_of(now));
            let is_fresh = |saved: &Saved| age(saved.known, now) <= settings.facts_max_age;
            // One by one targets age; all at once they do by a clock that is wrong, and the next save would end them.
            if is_ahead || !(saved.is_empty() || saved.iter().any(is_fresh)) {
                let aside = copy_aside(file);
                tracing::warn!(file = %file.display(), aside, "Left out what the state file dates in the future or too long ago; is the clock right?");
            }
            let fresh = saved.into_iter().filter(is_fresh);
            Ok(fresh.filter_map(|saved| saved.into_state(settings, now)).collect())
        }
        // Bytes that are no text are not the system's fault.
        Err(Unreadable::Io(error)) if error.kind() != io::ErrorKind::InvalidData => Err(error),
        Err(error) => {
            let aside = set_aside(file);
            tracing::warn!(file = %file.display(), %error, aside, "Could not read the state file; starting without what it knew");
            Ok(Vec::new())
        }
    }
}

/// Replaces the file by what is known of `states`, and of targets that are `absent`.
///
/// # Errors
/// A folder that cannot be written to, a full disk.
pub fn save(file: &Path, states: &[Arc<TargetState>], absent: &[Absent], now: SystemTime) -> io::Result<()> {
    let beside = beside(file, "new");
    // What a crash left there, and whatever else: a pipe would hold up whoever opens it.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let replaced = write_beside(&beside, states, absent, now).and_then(|()| fs::rename(&beside, file));
    if replaced.is_err() {
        // Half of it would take the room that a full disk has left.
        let _ = fs::remove_file(&beside);
    }
    replaced.and_then(|()| sync_folder(file))
}

fn write_beside(beside: &Path, states: &[Arc<TargetState>], absent: &[Absent], now: SystemTime) -> io::Result<()> {
    let mut out = BufWriter::new(create(beside)?);
    let targets = states.len() + absent.len();
    write_line(&mut out, &Header { format: FORMAT.to_owned(), version: VERSION, targets })?;
    for state in states {
        write_line(&mut out, &Saved::of(state, now))?;
    }
    for absent in absent {
        write_line(&mut out, &Saved::of(&absent.state, absent.known))?;
    }
    let written = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    written.sync_all()
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn read(lines: impl BufRead) -> Result<Vec<Saved>, Unreadable> {
    let mut lines = lines.lines().enumerate();
    let Some((_, first)) = lines.next() else { return Err(Unreadable::Other("an empty file".to_owned())) };
    let header: Header = serde_json::from_str(&first?).map_err(|error| Unreadable::Line(1, error))?;
    if header.format != FORMAT || header.version != VERSION {
        return Err(Unreadable::Other(format!("{:?}, version {}", header.format, header.version)));
    }
    let read = |(number, line): (usize, io::Result<String>)| {
        serde_json::from_str(&line?).map_err(|error| Unreadable::Line(number + 1, error))
    };
    let saved = lines.map(read).collect::<Result<Vec<Saved>, _>>()?;
    match saved.len() == header.targets {
        true => Ok(saved),
        false => Err(Unreadable::Incomplete { said: header.targets, found: saved.len() }),
    }
}

impl Saved {
    fn of(state: &TargetState, known: SystemTime) -> Self {
        let tally = Verdict::ALL.into_iter().zip(state.tally).filter(|(_, count)| *count > 0);
        Self {
            name: state.target.name.clone(),
            address: state.target.address.to_string(),
            server_name: state.target.server_name.clone(),
            known,
            memory: state.memory.clone(),
            tally: tally.map(|(verdict, count)| (verdict.label().to_owned(), count)).collect(),
            consecutive_failures: state.consecutive_failures,
            handshakes: state.handshakes.counts(),
            handshakes_sum: state.handshakes.sum(),
        }
    }

    /// Whether it has facts of a time that is yet to come.
    fn is_ahead_of(&self, now: SystemTime) -> bool {
        age(self.known, now) == Duration::MAX || self.memory.clone().without_the_future(now) != self.memory
    }

    /// `None` where it is of no target that could be configured.
    fn into_state(self, settings: &Arc<Settings>, now: SystemTime) -> Option<Absent> {
        let target = Target {
            address: self.address.parse().ok()?,
            name: self.name,
            labels: BTreeMap::new(),
            server_name: self.server_name,
            settings: Arc::clone(settings),
        };
        let count = |verdict: Verdict| self.tally.get(verdict.label()).copied().unwrap_or_default().min(MOST);
        let state = TargetState {
            memory: self.memory.without_the_future(now),
            tally: Verdict::ALL.map(count),
            consecutive_failures: self.consecutive_failures.min(MOST),
            handshakes: Histogram::new(&HANDSHAKE_BUCKETS).with(&self.handshakes, self.handshakes_sum),
            ..TargetState::new(Arc::new(target))
        };
        Some(Absent { state: Arc::new(state), known: self.known })
    }
}

/// What it says of us is for us alone.
fn create(file: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}

/// The name of the file beside it; empty where it could not be renamed.
fn set_aside(file: &Path) -> String {
    let aside = beside(file, "unreadable");
    fs::rename(file, &aside).map(|()| aside.display().to_string()).unwrap_or_default()
}

/// The name of a copy of the file beside it; empty where none was made, as where there is one that holds more: by a clock
/// that is still wrong little is saved, and a start later that is no better.
fn copy_aside(file: &Path) -> String {
    let aside = beside(file, "unreadable");
    let size = |file: &Path| fs::metadata(file).map_or(0, |metadata| metadata.len());
    let is_more = size(file) >= size(&aside);
    is_more
        .then(|| fs::copy(file, &aside))
        .and_then(Result::ok)
        .map(|_| aside.display().to_string())
        .unwrap_or_default()
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    PathBuf::from(name)
}

/// A rename is safe from a loss of power only after its folder was written.
fn sync_folder(file: &Path) -> io::Result<()> {
    match file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

const FORMAT: &str = "rdp_exporter state";
/// More than an exporter can have counted; from there on it can still count and add up.
const MOST: u64 = 1 << 48;
/// Raised with every change that an older file does not fit.
const VERSION: u32 = 1;
