//! One pattern of `discovery.files`: which files fit it, and what each listed when it could last be read.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use glob::MatchOptions;

use super::watch::Seen;
use crate::config::{FileSource, ListFormat, Listing};

/// The files of one pattern.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: BTreeMap<PathBuf, Listed>,
}

#[derive(Debug, Default)]
struct Listed {
    seen: Seen,
    /// The last list that could be read.
    listing: Option<Listing>,
    /// What is wrong with the file now.
    error: Option<String>,
}

impl Files {
    /// Looks which files there are and reads those that changed. Whether they list anything else now, or what is wrong; a
    /// file that cannot be read lists what it listed before.
    pub(super) fn look(&mut self, source: &FileSource, now: SystemTime) -> (bool, Result<(), String>) {
        let found = match find(source) {
            Ok(found) => found,
            Err(error) => return (false, Err(error)),
        };
        let mut before = std::mem::take(&mut self.files);
        let mut has_changed = false;
        for file in found {
            let mut listed = before.remove(&file).unwrap_or_default();
            has_changed |= listed.look(&file, now);
            self.files.insert(file, listed);
        }
        has_changed |= before.values().any(|listed| listed.listing.is_some());
        let wrong = self.files.values().find_map(|listed| listed.error.clone());
        (has_changed, wrong.map_or(Ok(()), Err))
    }

    /// What all files list, by their names.
    pub(super) fn listings(&self) -> impl Iterator<Item = &Listing> {
        self.files.values().filter_map(|listed| listed.listing.as_ref())
    }
}

impl Listed {
    fn look(&mut self, file: &Path, now: SystemTime) -> bool {
        let Some(read) = self.seen.look(file, now) else { return false };
        let format = match file.extension().is_some_and(|end| end == "json") {
            true => ListFormat::Json,
            false => ListFormat::Yaml,
        };
        let text = read.map_err(|error| format!("cannot be read: {error}"));
        let text = text.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned()));
        match text.and_then(|text| Listing::parse(&text, format)) {
            Ok(listing) => {
                self.error = None;
                let has_changed = self.listing.as_ref() != Some(&listing);
                self.listing = Some(listing);
                has_changed
            }
            Err(error) => {
                self.error = Some(format!("{}: {error}", file.display()));
                false
            }
        }
    }
}

/// The files that fit. A name without wildcards stands for its file, which has to be there.
fn find(source: &FileSource) -> Result<Vec<PathBuf>, String> {
    let pattern = source.pattern.as_str();
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![source.folder.join(pattern)]);
    }
    let refuse = |error: io::Error| format!("{} cannot be read: {error}", source.folder.display());
    let folder = if source.folder.as_os_str().is_empty() { Path::new(".") } else { &source.folder };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(refuse)? {
        let entry = entry.map_err(refuse)?;
        let name = entry.file_name();
        // As in a shell, and so that what an editor or Kubernetes keeps beside the files is none of them.
        let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
        let fits = name.to_str().is_some_and(|name| source.pattern.matches_with(name, options));
        if fits && !fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir()) {
            found.push(entry.path());
        }
        if found.len() > MAX_FILES {
            return Err(format!("more than {MAX_FILES} files fit"));
        }
    }
    found.sort();
    Ok(found)
}

const MAX_FILES: usize = 1000;
