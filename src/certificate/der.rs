//! A certificate cut into its fields, each still raw: the DER headers are asn1-rs' business, the order of fields ours.
//! One broken field never spoils another, and nothing here recurses, however deep the bytes nest.

use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};

/// The fields of one certificate (RFC 5280 4.1); `None` for a field that is not there or not what it should be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    /// The content octets of the serial number.
    pub(super) serial: Option<&'a [u8]>,
    /// The content of the issuer's Name.
    pub(super) issuer: Option<&'a [u8]>,
    /// The content of Validity.
    pub(super) validity: Option<&'a [u8]>,
    /// The content of the subject's Name.
    pub(super) subject: Option<&'a [u8]>,
    /// The content of SubjectPublicKeyInfo.
    pub(super) key: Option<&'a [u8]>,
    /// The content of the AlgorithmIdentifier that stands beside the signature.
    pub(super) signature_algorithm: Option<&'a [u8]>,
    /// What follows the key inside the TBSCertificate.
    after_key: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// Cuts `der`; bytes after the certificate are ignored.
    pub(super) fn split(der: &'a [u8]) -> Self {
        let mut certificate = Elements(Elements(der).take(Tag::Sequence).unwrap_or_default());
        let mut tbs = Elements(certificate.take(Tag::Sequence).unwrap_or_default());
        let signature_algorithm = certificate.take(Tag::Sequence);
        // A version 1 certificate has no version field.
        let before = tbs;
        if tbs.next().and_then(|element| element.context(0)).is_none() {
            tbs = before;
        }
        let serial = tbs.take(Tag::Integer);
        let _algorithm_again = tbs.take(Tag::Sequence);
        let issuer = tbs.take(Tag::Sequence);
        let validity = tbs.take(Tag::Sequence);
        let subject = tbs.take(Tag::Sequence);
        let key = tbs.take(Tag::Sequence);
        let after_key = key.map(|_| tbs.0);
        Self { serial, issuer, validity, subject, key, signature_algorithm, after_key }
    }

    /// The value of the first extension of the type `oid`, dotted. `None` where the extensions cannot be read,
    /// `Some(None)` where there is no such extension.
    pub(super) fn extension(&self, oid: &str) -> Option<Option<&'a [u8]>> {
        let mut tbs = Elements(self.after_key?);
        while !tbs.is_empty() {
            let Some(content) = tbs.next()?.context(3) else { continue };
            let mut extensions = Elements(Elements(content).take(Tag::Sequence)?);
            while !extensions.is_empty() {
                let mut extension = Elements(extensions.take(Tag::Sequence)?);
                if dotted(extension.take(Tag::Oid)?).as_deref() != Some(oid) {
                    continue;
                }
                // The critical flag may stand between the type and the value.
                let element = extension.next()?;
                let value = element.content(Tag::OctetString).or_else(|| extension.take(Tag::OctetString));
                return value.map(Some);
            }
        }
        Some(None)
    }
}

/// Elements that stand one after another. Stays where it is once a header cannot be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elements<'a>(pub(super) &'a [u8]);

impl<'a> Elements<'a> {
    /// Whether everything was read.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element.
    pub(super) fn next(&mut self) -> Option<Element<'a>> {
        let (rest, any) = Any::from_der(self.0).ok()?;
        let (whole, _) = self.0.split_at_checked(self.0.len().checked_sub(rest.len())?)?;
        self.0 = rest;
        Some(Element { class: any.class(), tag: any.tag(), content: any.data, whole })
    }

    /// The content of the next element, which is gone whether it has the universal tag `tag` or not.
    pub(super) fn take(&mut self, tag: Tag) -> Option<&'a [u8]> {
        self.next()?.content(tag)
    }
}

/// One element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    class: Class,
    /// The tag's number.
    pub(super) tag: Tag,
    content: &'a [u8],
    /// The element with its header.
    pub(super) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// The content of an element with the universal tag `tag`.
    pub(super) fn content(self, tag: Tag) -> Option<&'a [u8]> {
        (self.class == Class::Universal && self.tag == tag).then_some(self.content)
    }

    /// The content of an element with the context-specific tag `number`.
    pub(super) fn context(self, number: u32) -> Option<&'a [u8]> {
        (self.context_number()? == number).then_some(self.content)
    }

    /// The number of a context-specific tag.
    pub(super) fn context_number(self) -> Option<u32> {
        (self.class == Class::ContextSpecific).then_some(self.tag.0)
    }

    /// The content of a universal element, with its tag.
    pub(super) fn universal(self) -> Option<(Tag, &'a [u8])> {
        (self.class == Class::Universal).then_some((self.tag, self.content))
    }

    /// The content, whatever the tag says.
    pub(super) const fn any_content(self) -> &'a [u8] {
        self.content
    }
}

/// An object identifier in dots. asn1-rs has this too, but turns 2.48 and above into 3.8, and takes quadratic time for
/// an arc that fills a certificate.
pub(super) fn dotted(oid: &[u8]) -> Option<String> {
    // A cut-off last arc is no identifier.
    if oid.last()? & 0x80 != 0 {
        return None;
    }
    let mut arcs = Vec::new();
    let mut arc = 0_u64;
    for byte in oid {
        arc = arc.checked_mul(0x80)? | u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            arcs.push(arc);
            arc = 0;
        }
    }
    // The first two arcs share a number; only beneath 2 may the second one pass 39 (X.690 8.19.4).
    let (joint, others) = arcs.split_first()?;
    let first = (joint / 40).min(2);
    let mut text = format!("{first}.{}", joint - first * 40);
    for arc in others {
        text.push('.');
        text.push_str(&arc.to_string());
    }
    Some(text)
}

/// Lower-case hex without separators.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
