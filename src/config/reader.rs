//! The thread that configurations are read on.

use std::{
    io,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use super::{Config, ConfigError};

/// Reads configurations, each time on the same thread. That takes some KiB a target, which allocators keep for the thread
/// that took it: this way the next reload has it, instead of each thread that ever reads.
#[derive(Debug, Clone)]
pub struct Reader(mpsc::Sender<Order>);

/// What is to be read, and who waits for it.
struct Order(PathBuf, mpsc::Sender<Result<Config, ConfigError>>);

impl Reader {
    /// Starts the thread, which ends with the last one that may ask it.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn start() -> io::Result<Self> {
        let (orders, ordered) = mpsc::channel();
        thread::Builder::new().name("configuration".into()).spawn(move || {
            for Order(file, answer) in ordered {
                // Nobody waits any more where the exporter is stopping.
                let _ = answer.send(Config::load(&file));
            }
        })?;
        Ok(Self(orders))
    }

    /// The same as [`Config::load`].
    ///
    /// # Errors
    /// As there.
    pub fn load(&self, file: &Path) -> Result<Config, ConfigError> {
        let (answer, answered) = mpsc::channel();
        let _ = self.0.send(Order(file.to_owned(), answer));
        // A thread that ended in a fault of ours is no reason to do without.
        answered.recv().unwrap_or_else(|_| Config::load(file))
    }
}
