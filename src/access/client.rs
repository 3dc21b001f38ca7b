//! What is asked of a client's certificate.

use std::{net::IpAddr, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _, time::ASN1Time};

/// Asks for a certificate, and judges it by its chain, its names or neither. That the client has its key is always proven.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    /// Whether one must be shown.
    pub(super) is_mandatory: bool,
    /// Who judges the chain; `None`: nobody.
    pub(super) chain: Option<Arc<dyn ClientCertVerifier>>,
    /// Certificates that are known themselves.
    pub(super) pinned: Vec<CertificateDer<'static>>,
    /// Names of which it must have one.
    pub(super) allowed_sans: Option<Vec<String>>,
    /// How the proof is checked.
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.as_ref().map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chain) = &self.chain {
            let verified = chain.verify_client_cert(leaf, others, now);
            // webpki takes no authority for a client, not even one that is known, as what `openssl req -x509` makes is.
            verified.map(|_| ()).or_else(|error| match self.pinned.contains(leaf) && may_be_client(leaf, now) {
                true => Ok(()),
                false => Err(error),
            })?;
        }
        match &self.allowed_sans {
            Some(allowed) if !names(leaf).iter().any(|name| allowed.contains(name)) => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            Some(_) | None => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether a certificate is valid now, and for clients too.
fn may_be_client(leaf: &[u8], now: UnixTime) -> bool {
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else { return false };
    let now = i64::try_from(now.as_secs()).ok().and_then(|seconds| ASN1Time::from_timestamp(seconds).ok());
    let is_valid = now.is_some_and(|now| leaf.validity().is_valid_at(now));
    let usage = leaf.extended_key_usage();
    is_valid && usage.is_ok_and(|usage| usage.is_none_or(|usage| usage.value.any || usage.value.client_auth))
}

/// The DNS names, e-mail addresses, IP addresses and URIs of a certificate; none where it cannot be read.
fn names(leaf: &[u8]) -> Vec<String> {
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else { return Vec::new() };
    let Ok(Some(extension)) = leaf.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => Some((*text).to_owned()),
        GeneralName::IPAddress(bytes) => ip_address(bytes).map(|ip| ip.to_string()),
        _ => None,
    });
    names.collect()
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
