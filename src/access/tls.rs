//! Settings to what rustls serves by. Blocks while it reads files.

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

use super::client::ClientVerifier;
use crate::{
    config::{ClientAuth, Pem, PemSource, TlsSettings, broken_pem, read_file},
    wire::tls_version::TlsVersion,
};

/// The key that is wrong, and why.
pub(super) type Mistake = (String, String);

/// How TLS is spoken, with the certificates as they are now.
pub(super) fn server_config(settings: &TlsSettings, http2: bool) -> Result<ServerConfig, Mistake> {
    let provider = Arc::new(provider(settings));
    let of_section = |error: rustls::Error| ("tls_server_config".to_owned(), format!("cannot be served: {error}"));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&versions(settings)).map_err(of_section)?;
    let builder = match client_verifier(settings, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::from_pem_slice(&read(&settings.key)?).map_err(|error| {
        refusal(&settings.key, &format!("has no private key that can be read: {}", broken_pem(&error)))
    })?;
    let mut config = builder
        .with_single_cert(certificates(&settings.certificate)?, key)
        .map_err(|error| refusal(&settings.certificate, &format!("cannot be served with its key: {error}")))?;
    config.ignore_client_order = settings.prefers_own_order;
    config.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    // A resumed session would not show its certificate again, not even after that has expired.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn provider(settings: &TlsSettings) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if let Some(listed) = &settings.cipher_suites {
        // The list is of TLS 1.2; those of TLS 1.3 are always on.
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        provider.cipher_suites.extend(listed.iter().filter(|suite| suite.tls13().is_none()));
    }
    if let Some(groups) = &settings.groups {
        provider.kx_groups.clone_from(groups);
    }
    provider
}

fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let (oldest, newest) = settings.versions;
    let all = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)];
    all.into_iter().filter(|(version, _)| (oldest..=newest).contains(version)).map(|(_, version)| version).collect()
}

fn client_verifier(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Mistake> {
    let is_mandatory = match settings.client_auth {
        ClientAuth::NoClientCert => return Ok(None),
        ClientAuth::RequestClientCert | ClientAuth::VerifyClientCertIfGiven => false,
        ClientAuth::RequireAnyClientCert | ClientAuth::RequireAndVerifyClientCert => true,
    };
    let verifies = settings.client_auth.is_verified() || settings.client_auth == ClientAuth::VerifyClientCertIfGiven;
    let (mut pinned, mut chain) = (Vec::new(), None);
    if let Some(pem) = &settings.client_ca
        && verifies
    {
        pinned = certificates(pem)?;
        chain = Some(chain_verifier(&pinned, provider).map_err(|error| refusal(pem, &error))?);
    }
    Ok(Some(Arc::new(ClientVerifier {
        is_mandatory,
        chain,
        pinned,
        allowed_sans: settings.client_allowed_sans.clone(),
        algorithms: provider.signature_verification_algorithms,
    })))
}

fn chain_verifier(
    authorities: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|error| format!("cannot be trusted: {error}"))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    verifier.map_err(|error| format!("cannot be trusted: {error}"))
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, Mistake> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(pem)?)
        .collect::<Result<_, _>>()
        .map_err(|error| refusal(pem, &format!("is not PEM: {}", broken_pem(&error))))?;
    match found.is_empty() {
        true => Err(refusal(pem, "has no PEM certificate (-----BEGIN CERTIFICATE-----)")),
        false => Ok(found),
    }
}

fn read(pem: &Pem) -> Result<Vec<u8>, Mistake> {
    match &pem.source {
        PemSource::File(file) => read_file(file).map_err(|reason| refusal(pem, &reason)),
        PemSource::Inline(text) => Ok(text.reveal().as_bytes().to_vec()),
    }
}

fn refusal(pem: &Pem, reason: &str) -> Mistake {
    let reason = match &pem.source {
        PemSource::File(file) => format!("{} {reason}", file.display()),
        PemSource::Inline(_) => reason.to_owned(),
    };
    (pem.key.clone(), reason)
}
