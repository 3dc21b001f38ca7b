//! `diff A.json B.json`: what two vantage points see differently.

use std::{fs::File, io::Read, path::Path, process::ExitCode};

use super::{WRONG_USE, complain, ink, print};
use crate::{
    report::diff::{self, Sighting},
    text::printable,
};

pub(super) fn run(a: &Path, b: &Path) -> anyhow::Result<ExitCode> {
    let (seen_a, seen_b) = match load(a).and_then(|seen_a| Ok((seen_a, load(b)?))) {
        Ok(both) => both,
        Err(error) => {
            // A file name and a file may hold anything.
            complain(&format!("rdp_exporter: {}", printable(&error)));
            return Ok(ExitCode::from(WRONG_USE));
        }
    };
    let comparison = diff::compare(&seen_a, &seen_b);
    let names = (a.display().to_string(), b.display().to_string());
    print(&diff::text(&comparison, (&names.0, &seen_a), (&names.1, &seen_b), ink()))?;
    Ok(ExitCode::from(u8::from(comparison.differs())))
}

/// What a file holds; or the file, what is wrong with it, and what to do.
fn load(file: &Path) -> Result<Vec<Sighting>, String> {
    let wrong = |reason: String| {
        format!("{}: {reason}; expected what `rdp_exporter probe TARGET... --output=json` prints", file.display())
    };
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(|error| wrong(error.to_string()))?;
    opened.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| wrong(error.to_string()))?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= MAX_FILE => diff::read(&bytes).map_err(wrong),
        _ => Err(wrong(format!("larger than {} MiB", MAX_FILE >> 20))),
    }
}

/// A target takes a few kilobytes.
const MAX_FILE: u64 = 64 << 20;
