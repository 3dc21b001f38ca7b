//! Texts that nobody may see, given in the configuration or, better, in a file of their own.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{
    Config, ConfigError, HttpSource, Scheme,
    error::Mistake,
    file::read_start,
    section::{Section, Value},
};

/// A secret, or where it stands. It is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A file that is read each time, so that it may be replaced.
    File(PathBuf),
    /// It stands in the configuration.
    Inline(String),
}

impl Secret {
    /// The secret itself, without the line break that editors leave at the end of a file. Reads the file.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub fn read(&self) -> Result<String, String> {
        let file = match self {
            Self::Inline(text) => return Ok(text.clone()),
            Self::File(file) => file,
        };
        let refuse = |reason: &str| format!("{} cannot be read: {reason}", file.display());
        let bytes = read_start(file, MAX_BYTES + 1).map_err(|error| refuse(&error.to_string()))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(format!("{} is larger than {} KiB", file.display(), MAX_BYTES >> 10));
        }
        let text = String::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8"))?;
        match text.trim() {
            "" => Err(format!("{} is empty", file.display())),
            secret => Ok(secret.to_owned()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "File({file:?})"),
            Self::Inline(_) => f.write_str(HIDDEN),
        }
    }
}

/// Takes the secret of `key` or of `key_file`; both are one too many.
pub(super) fn take_secret(section: &mut Section, key: &str, folder: &Path) -> Result<Option<Secret>, Mistake> {
    let file_key = format!("{key}_file");
    let (inline, file) = (section.take(key), section.take(&file_key));
    match (inline, file) {
        (Some(_), Some(file)) => Err(file.mistake(format!("must not stand beside {key}; keep one of the two"))),
        (Some(inline), None) => read_inline(inline).map(Some),
        (None, Some(file)) => Ok(Some(Secret::File(read_path(file, folder)?))),
        (None, None) => Ok(None),
    }
}

fn read_inline(value: Value) -> Result<Secret, Mistake> {
    let path = value.path.clone();
    // No message may quote it.
    match value.text() {
        Ok(text) if !text.is_empty() && !text.contains(['\r', '\n', '\0']) => Ok(Secret::Inline(text)),
        Ok(_) | Err(_) => Err(path.mistake("must be a text of one line, in quotes, and not empty")),
    }
}

/// The path of a file; a relative one is taken from the folder of the configuration.
pub(super) fn read_path(value: Value, folder: &Path) -> Result<PathBuf, Mistake> {
    let path = value.path.clone();
    match value.text()?.as_str() {
        "" => Err(path.mistake("must be the path of a file")),
        file => Ok(folder.join(file)),
    }
}

/// Reads the secrets and authorities that the HTTP sources of `config` name; gives warnings. Blocks while it reads files.
///
/// # Errors
/// A file that cannot be read, or holds nothing of what it should.
pub fn check_secrets(config: &Config, config_file: &Path) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    for (index, source) in config.discovery.http.iter().enumerate() {
        let refuse = |key: &str, reason: String| {
            ConfigError::of_key(config_file, format!("discovery.http[{index}].{key}"), reason)
        };
        let HttpSource { credentials, ca_file, .. } = source;
        if let Some(credentials) = credentials {
            let key = match &credentials.scheme {
                Scheme::Basic(_) => "basic_auth.password_file",
                Scheme::Bearer => "bearer_token_file",
                Scheme::Other(_) => "authorization.credentials_file",
            };
            credentials.secret.read().map_err(|reason| refuse(key, reason))?;
            let file = match &credentials.secret {
                Secret::File(file) => file,
                Secret::Inline(_) => config_file,
            };
            warnings.extend(exposed(file));
            if !source.is_encrypted() {
                warnings.push(format!("discovery.http[{index}] sends its credentials over http, unencrypted"));
            }
        }
        if let Some(file) = ca_file {
            super::roots::certificates(file)
                .map_err(|reason| refuse("tls_config.ca_file", format!("{} {reason}", file.display())))?;
        }
    }
    warnings.sort();
    warnings.dedup();
    Ok(warnings)
}

/// The warning where a file with a secret is for everyone to read.
pub(super) fn exposed(file: &Path) -> Option<String> {
    let warning = || format!("{} holds a secret and is readable by every user of this machine", file.display());
    is_readable_by_others(file).then(warning)
}

#[cfg(unix)]
fn is_readable_by_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_readable_by_others(_file: &Path) -> bool {
    false
}

/// What is shown in place of a secret.
pub(super) const HIDDEN: &str = "<secret>";
/// No header takes more.
const MAX_BYTES: u64 = 16 << 10;
