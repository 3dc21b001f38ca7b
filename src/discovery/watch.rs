//! Whether a file changed, asked again and again: by its place on the disk, its size, its time, and then by its content.
//! Asking finds what notifications miss: Kubernetes swaps a symlink two folders above the file.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use ring::digest::{SHA256, digest};

use crate::config::{MAX_BYTES, open_at_once};

/// Files whose changes somebody wants to know of.
#[derive(Debug, Default)]
pub struct Watch {
    files: BTreeMap<PathBuf, Seen>,
}

/// A file as it was when it was last read.
#[derive(Debug, Default)]
pub(super) struct Seen {
    stamp: Option<Stamp>,
    content: Option<Vec<u8>>,
}

/// What of a file is asked without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: Option<SystemTime>,
}

impl Watch {
    /// Whether any of `files` has another content than when this was last asked. One that is new here is no change, one
    /// that cannot be read is none before it can be read again: it may be just being replaced.
    pub fn has_changed<'a>(&mut self, files: impl IntoIterator<Item = &'a Path>, now: SystemTime) -> bool {
        let mut before = std::mem::take(&mut self.files);
        let mut has_changed = false;
        for file in files {
            let known = before.remove(file);
            let is_known = known.is_some();
            let mut seen = known.unwrap_or_default();
            has_changed |= matches!(seen.look(file, now), Some(Ok(_))) && is_known;
            self.files.insert(file.to_owned(), seen);
        }
        has_changed
    }
}

impl Seen {
    /// The content of the file, where it is another one than last time, or why it cannot be read.
    pub(super) fn look(&mut self, file: &Path, now: SystemTime) -> Option<io::Result<Vec<u8>>> {
        match self.try_look(file, now) {
            Ok(Some(bytes)) => Some(Ok(bytes)),
            Ok(None) => None,
            Err(error) => {
                *self = Self::default();
                Some(Err(error))
            }
        }
    }

    fn try_look(&mut self, file: &Path, now: SystemTime) -> io::Result<Option<Vec<u8>>> {
        // To open a device may be to set it going.
        let found = Stamp::of_regular(&fs::metadata(file)?)?;
        if self.stamp.as_ref() == Some(&found) {
            return Ok(None);
        }
        self.read(open_at_once(file)?, now)
    }

    /// Reads what was opened, which may be another file than the one that was found.
    fn read(&mut self, opened: File, now: SystemTime) -> io::Result<Option<Vec<u8>>> {
        let stamp = Stamp::of_regular(&opened.metadata()?)?;
        if stamp.size > MAX_BYTES as u64 {
            return Err(io::Error::other(format!("is larger than {} MiB", MAX_BYTES >> 20)));
        }
        let mut bytes = Vec::new();
        opened.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        // A file that has just been written may be written again without another time.
        self.stamp = Some(stamp).filter(|stamp| !stamp.is_young(now));
        let content = digest(&SHA256, &bytes).as_ref().to_vec();
        let is_same = self.content.replace(content.clone()) == Some(content);
        Ok(Some(bytes).filter(|_| !is_same))
    }
}

impl Stamp {
    fn of_regular(metadata: &Metadata) -> io::Result<Self> {
        match metadata.is_file() {
            true => Ok(Self { inode: inode(metadata), size: metadata.len(), modified: metadata.modified().ok() }),
            false => Err(io::Error::other("is no regular file")),
        }
    }

    fn is_young(&self, now: SystemTime) -> bool {
        let Some(modified) = self.modified else { return true };
        let distance = now.duration_since(modified).unwrap_or_else(|error| error.duration());
        distance < YOUNG
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn inode(_metadata: &Metadata) -> (u64, u64) {
    (0, 0)
}

/// Longer than the steps in which file systems count time.
const YOUNG: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)
    }

    #[test]
    fn a_swapped_symlink_and_a_rename_are_changes_and_a_touch_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // As Kubernetes mounts a ConfigMap.
        for (version, text) in [("v1", "one"), ("v2", "two")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("list.yaml"), text).unwrap();
        }
        std::os::unix::fs::symlink("v1", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/list.yaml", at("list.yaml")).unwrap();
        let mut seen = Seen::default();
        let mut look = || seen.look(&at("list.yaml"), soon()).map(|read| read.unwrap());
        assert_eq!(look().as_deref(), Some(&b"one"[..]));
        assert_eq!(look(), None);
        std::os::unix::fs::symlink("v2", at("..next")).unwrap();
        fs::rename(at("..next"), at("..data")).unwrap();
        assert_eq!(look().as_deref(), Some(&b"two"[..]));
        fs::write(at("new"), "three").unwrap();
        fs::rename(at("new"), at("v2").join("list.yaml")).unwrap();
        assert_eq!(look().as_deref(), Some(&b"three"[..]));
        fs::write(at("v2").join("list.yaml"), "three").unwrap();
        assert_eq!(look(), None, "written again, and the same");
    }

    #[test]
    fn what_is_written_within_one_tick_of_the_clock_is_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list.yaml");
        let mut watch = Watch::default();
        let mut has_changed = |text: &str| {
            fs::write(&file, text).unwrap();
            let now = fs::metadata(&file).unwrap().modified().unwrap();
            watch.has_changed([file.as_path()], now)
        };
        let changes = ["a", "b", "b", "c"].map(&mut has_changed);
        assert_eq!(changes, [false, true, false, true]);
    }

    #[test]
    fn a_file_that_is_gone_is_no_change_before_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        let mut watch = Watch::default();
        fs::write(&file, "a").unwrap();
        assert!(!watch.has_changed([file.as_path()], soon()));
        fs::remove_file(&file).unwrap();
        assert!(!watch.has_changed([file.as_path()], soon()));
        fs::write(&file, "b").unwrap();
        assert!(watch.has_changed([file.as_path()], soon()));
        assert!(!watch.has_changed([file.as_path()], soon()));
        let mut seen = Seen::default();
        assert!(seen.look(folder.path(), soon()).unwrap().is_err(), "a folder");
    }

    /// Whoever may write the file may rename a pipe over it, at any moment.
    #[test]
    fn a_pipe_in_the_place_of_a_file_holds_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let (file, pipe) = (folder.path().join("list.yaml"), folder.path().join("pipe"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        fs::write(&file, "[]").unwrap();
        let refused = Seen::default().read(open_at_once(&pipe).unwrap(), soon()).unwrap_err();
        assert_eq!(refused.to_string(), "is no regular file");
        let (stop, swapping) = std::sync::mpsc::channel::<()>();
        let (done, looked) = std::sync::mpsc::channel();
        let swapped = file.clone();
        let swaps = std::thread::spawn(move || {
            while swapping.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                fs::write(swapped.with_extension("new"), "[]").unwrap();
                fs::rename(swapped.with_extension("new"), &swapped).unwrap();
                std::thread::sleep(Duration::from_micros(10));
                fs::hard_link(&pipe, swapped.with_extension("pipe")).unwrap();
                fs::rename(swapped.with_extension("pipe"), &swapped).unwrap();
            }
        });
        std::thread::spawn(move || {
            let (mut read, mut refused) = (0, 0);
            while read < 20_000 || refused < 20_000 {
                match Seen::default().look(&file, soon()) {
                    Some(Ok(_)) => read += 1,
                    _ => refused += 1,
                }
            }
            done.send(())
        });
        looked.recv_timeout(Duration::from_secs(60)).expect("it waits for the other end of a pipe");
        drop(stop);
        swaps.join().unwrap();
    }
}
