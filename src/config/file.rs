//! Reading a file whole, which may be anything by the time it is opened: bounded in size, and in time where the system
//! lets us: a pipe that nobody writes to holds up nobody for long.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::document::{MAX_BYTES, too_large};

/// The bytes of a file.
///
/// # Errors
/// What is wrong with it, to stand after its name.
pub fn read_file(file: &Path) -> Result<Vec<u8>, String> {
    // The limit holds for what is read, not for what a file says of itself: pipes and devices have no size.
    let bytes = read_start(file, MAX_BYTES as u64 + 1).map_err(|error| format!("cannot be read: {error}"))?;
    match bytes.len() > MAX_BYTES {
        true => Err(too_large()),
        false => Ok(bytes),
    }
}

/// The first `limit` bytes of a file, or all of them.
pub(super) fn read_start(file: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(file)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens whatever is there by now: to open a pipe in the ordinary way would be to wait for its other end.
pub fn open_at_once(file: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    options.open(file)
}

#[cfg(unix)]
fn open(file: &Path) -> io::Result<Box<dyn Read>> {
    let opened = open_at_once(file)?;
    // What is read from a disk is there, or the system waits for it itself.
    let has_a_size = opened.metadata().is_ok_and(|metadata| metadata.is_file() || metadata.is_dir());
    Ok(if has_a_size { Box::new(opened) } else { Box::new(Stream { opened, deadline: clock() + PATIENCE }) })
}

#[cfg(not(unix))]
fn open(file: &Path) -> io::Result<Box<dyn Read>> {
    Ok(Box::new(open_at_once(file)?))
}

/// A pipe, a terminal, a device: has come to its end by the deadline, or is refused.
#[cfg(unix)]
struct Stream {
    opened: File,
    deadline: std::time::Instant,
}

#[cfg(unix)]
impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let left = self.deadline.saturating_duration_since(clock());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let ready = poll(&mut [PollFd::new(&self.opened, PollFlags::IN)], Some(&left))?;
        match ready {
            0 => Err(io::Error::other(format!("nobody wrote it to its end within {} s", PATIENCE.as_secs()))),
            _ => self.opened.read(buffer),
        }
    }
}

#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "how long a pipe may be silent is a matter of the reader's clock")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

/// Long enough for a program that makes the file while it is read.
#[cfg(unix)]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
