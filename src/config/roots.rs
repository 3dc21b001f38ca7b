//! The roots that certificates are judged by: the system's and those of `trust.ca_files`.

use std::path::Path;

use rustls::pki_types::{
    CertificateDer,
    pem::{self, PemObject},
};

use super::{ConfigError, TrustSettings, read_file};
use crate::certificate::trust::Roots;

/// Reads the roots that `config_file` names. Blocks while it reads files.
///
/// # Errors
/// A file of `trust.ca_files` that cannot be read or holds no certificate, or a system that lets no file be read at all.
/// Single system roots that cannot be read are logged and left out, as nobody asked for one of them by name.
pub fn load_roots(trust: &TrustSettings, config_file: &Path) -> Result<Roots, ConfigError> {
    let mut pinned = Vec::new();
    for (index, file) in trust.ca_files.iter().enumerate() {
        pinned.extend(certificates(file).map_err(|reason| {
            let reason = format!("{} {reason}", file.display());
            ConfigError::of_key(config_file, format!("trust.ca_files[{index}]"), reason)
        })?);
    }
    let mut roots = Vec::new();
    if trust.system_roots {
        let found = rustls_native_certs::load_native_certs();
        if let Some(error) = found.errors.iter().find(|error| is_of_the_moment(error)) {
            let reason = format!("the system's roots cannot be read now: {error}");
            return Err(ConfigError::of_key(config_file, "trust.system_roots".to_owned(), reason));
        }
        for error in &found.errors {
            tracing::warn!(%error, "Left out some of the system's roots");
        }
        roots.extend(found.certs.into_iter().map(|der| der.to_vec()));
    }
    Ok(Roots::new(roots, pinned))
}

/// Whether it is our own process that lacks something: without roots every certificate would be untrusted at once.
fn is_of_the_moment(error: &rustls_native_certs::Error) -> bool {
    let rustls_native_certs::ErrorKind::Io { inner, .. } = &error.kind else { return false };
    matches!(inner.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EIO))
}

/// The certificates of a PEM file, at least one. Blocks while it reads the file.
///
/// # Errors
/// What is wrong with it, to stand after its name.
pub fn certificates(file: &Path) -> Result<Vec<Vec<u8>>, String> {
    let found = CertificateDer::pem_slice_iter(&read_file(file)?).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| format!("is not a file of PEM certificates: {}", broken_pem(&error)))?;
    match found.is_empty() {
        true => Err("holds no PEM certificate (-----BEGIN CERTIFICATE-----)".to_owned()),
        false => Ok(found.into_iter().map(|der| der.to_vec()).collect()),
    }
}

/// What is wrong with a PEM text. The library's own words quote it, and it may hold a private key wherever it stands.
#[must_use]
pub fn broken_pem(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } | pem::Error::IllegalSectionStart { .. } => {
            "a -----BEGIN …----- or -----END …----- is missing, or is no line of its own (in YAML, a text after | keeps its lines)"
        }
        pem::Error::Base64Decode(_) => "what stands between its -----BEGIN …----- and -----END …----- is not base64",
        pem::Error::NoItemsFound => "there is none in it that is not encrypted",
        _ => "it cannot be taken apart",
    }
}
