//! The part of TLS up to 1.2 that is not encrypted: our hello and the server's first flight ([RFC 5246] 7.4).
//! No cryptography: nothing here proves that the server has the key of the certificate it shows.
//!
//! ```text
//!  0      1  2      3  4                     0      1  2  3
//! | type | version | length | fragment … of | type | length | message … , any number of each in any cut
//! ```
//!
//! [RFC 5246]: https://www.rfc-editor.org/rfc/rfc5246

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tls_parser::{
    ECParametersContent, TlsCipherAu, TlsCipherKx, TlsCipherMac, TlsCipherSuite, parse_dh_params, parse_ecdh_params,
    parse_tls_handshake_server_hello,
};

use super::{DecodeError, reader::Reader};

/// Which hello is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HelloForm {
    /// The last resort: TLS 1.0, without the extension that only 1.2 has.
    Tls10,
    /// TLS 1.1 and below, likewise.
    Tls11,
    /// TLS 1.2 and everything below it.
    Tls12,
}

/// A ClientHello ([RFC 5246] 7.4.1.2) that offers everything that Windows ever spoke below TLS 1.3.
///
/// [RFC 5246]: https://www.rfc-editor.org/rfc/rfc5246
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// Which one.
    pub form: HelloForm,
    /// The client's random.
    pub random: [u8; 32],
    /// The name for the `server_name` extension ([RFC 6066] 3); an address or an impossible name is not sent.
    ///
    /// [RFC 6066]: https://www.rfc-editor.org/rfc/rfc6066
    pub server_name: Option<&'a str>,
}

impl ClientHello<'_> {
    /// The whole record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        extensions.extend_from_slice(SUPPORTED_GROUPS);
        extensions.extend_from_slice(EC_POINT_FORMATS);
        let version = match self.form {
            HelloForm::Tls10 => VERSION_TLS_1_0,
            HelloForm::Tls11 => VERSION_TLS_1_1,
            HelloForm::Tls12 => {
                extensions.extend_from_slice(SIGNATURE_ALGORITHMS);
                VERSION_TLS_1_2
            }
        };
        extensions.extend_from_slice(EXTENDED_MASTER_SECRET);
        if let Some(name) = self.server_name.and_then(sendable) {
            let mut host = vec![0]; // name_type host_name
            append_u16(&mut host, name.as_bytes());
            let mut list = Vec::new();
            append_u16(&mut list, &host);
            extensions.extend_from_slice(&[0, 0]); // server_name
            append_u16(&mut extensions, &list);
        }
        let mut hello = version.to_be_bytes().to_vec();
        hello.extend_from_slice(&self.random);
        hello.push(0); // session_id
        let suites: Vec<u8> = CIPHER_SUITES.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        append_u16(&mut hello, &suites);
        hello.extend_from_slice(&[1, 0]); // compression_methods: null
        append_u16(&mut hello, &extensions);
        let mut message = vec![HANDSHAKE_CLIENT_HELLO, 0];
        append_u16(&mut message, &hello);
        let mut record = vec![RECORD_HANDSHAKE, 3, 1];
        append_u16(&mut record, &message);
        record
    }
}

/// The alert that says goodbye ([RFC 5246] 7.2.1), in a record of the server's version.
///
/// [RFC 5246]: https://www.rfc-editor.org/rfc/rfc5246
#[must_use]
pub const fn close_notify(version: u16) -> [u8; 7] {
    let [major, minor] = version.to_be_bytes();
    [RECORD_ALERT, major, minor, 0, 2, 1, 0]
}

/// What a server chose in its ServerHello ([RFC 5246] 7.4.1.3).
///
/// [RFC 5246]: https://www.rfc-editor.org/rfc/rfc5246
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerHello {
    /// The cipher suite.
    pub cipher: u16,
    /// Whether the random says that the server also speaks TLS 1.3 ([RFC 8446] 4.1.3).
    ///
    /// [RFC 8446]: https://www.rfc-editor.org/rfc/rfc8446
    pub speaks_tls_1_3: bool,
    /// The version, `0x0300` to `0x0303`.
    pub version: u16,
}

/// An alert ([RFC 5246] 7.2).
///
/// [RFC 5246]: https://www.rfc-editor.org/rfc/rfc5246
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert {
    /// 2 for a fatal one.
    pub level: u8,
    /// Why.
    pub description: u8,
}

impl Alert {
    /// Whether it ends the connection by its level; a warning does not.
    #[must_use]
    pub const fn is_fatal(self) -> bool {
        self.level != ALERT_WARNING
    }
}

/// What a first flight tells, as far as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The last alert.
    pub alert: Option<Alert>,
    /// The certificates in DER, the server's own first; some servers send an empty list.
    pub certificates: Option<Vec<Vec<u8>>>,
    /// The group of the server's ephemeral key, where the key exchange is ECDHE over a named one.
    pub group: Option<u16>,
    /// The algorithm of the server's signature over that key; only TLS 1.2 names it.
    pub scheme: Option<u16>,
    /// The ServerHello.
    pub server_hello: Option<ServerHello>,
}

/// Whether a flight is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// ServerHelloDone or the alert that ends it was read; what comes after is ignored.
    Done,
    /// It goes on.
    NeedMore,
}

/// Collects a server's first flight, however it is cut: the pieces in which it is fed make no difference.
#[derive(Debug, Clone, Default)]
pub struct Flight {
    alert_level: Option<u8>,
    /// How it ended, where it did.
    end: Option<Result<Progress, DecodeError>>,
    facts: Facts,
    /// Handshake bytes that are no whole message yet.
    handshake: Vec<u8>,
    /// Bytes of the next record's header, as far as they came.
    header: Vec<u8>,
    /// Bytes of the current record that are still to come.
    record_left: usize,
    record_type: u8,
    records: usize,
    total: usize,
}

impl Flight {
    /// A flight of which nothing was read.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is known so far; also where the flight is broken or the connection ended early.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What is known at the end.
    #[must_use]
    pub fn into_facts(self) -> Facts {
        self.facts
    }

    /// Reads on.
    ///
    /// # Errors
    /// Bytes that are not a server's first flight in TLS, or more of it than [`MAX_FLIGHT_LENGTH`] or [`MAX_RECORDS`].
    /// A flight that is broken stays broken.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Progress, DecodeError> {
        while self.end.is_none() && !bytes.is_empty() {
            match self.consume(&mut bytes) {
                Ok(Progress::NeedMore) => {}
                end => self.end = Some(end),
            }
        }
        self.end.unwrap_or(Ok(Progress::NeedMore))
    }

    /// Takes what completes the current record or the next one's header, or what there is of it.
    fn consume(&mut self, bytes: &mut &[u8]) -> Result<Progress, DecodeError> {
        let room = MAX_FLIGHT_LENGTH.saturating_sub(self.total);
        if room == 0 {
            return Err(too_much("TLS flight length", MAX_FLIGHT_LENGTH + 1, MAX_FLIGHT_LENGTH));
        }
        let in_header = self.record_left == 0;
        let wanted = if in_header { HEADER_LENGTH.saturating_sub(self.header.len()) } else { self.record_left };
        let (taken, rest) = bytes.split_at_checked(wanted.min(room)).unwrap_or((bytes, &[]));
        *bytes = rest;
        self.total += taken.len();
        if in_header {
            self.header.extend_from_slice(taken);
            return self.begin_record();
        }
        self.record_left -= taken.len();
        if self.record_type == RECORD_ALERT {
            return Ok(self.read_alerts(taken));
        }
        self.handshake.extend_from_slice(taken);
        self.read_messages()
    }

    /// Reads the header, once it is whole.
    fn begin_record(&mut self) -> Result<Progress, DecodeError> {
        let Ok(header) = <[u8; HEADER_LENGTH]>::try_from(self.header.as_slice()) else { return Ok(Progress::NeedMore) };
        self.header.clear();
        let [kind, major, minor, high, low] = header;
        if kind != RECORD_HANDSHAKE && kind != RECORD_ALERT {
            return Err(DecodeError::Unknown { what: "TLS record type", found: kind.into() });
        }
        if major != 3 {
            let found = u16::from_be_bytes([major, minor]).into();
            return Err(DecodeError::Unknown { what: "TLS record version", found });
        }
        let length = u16::from_be_bytes([high, low]).into();
        if length > MAX_RECORD_LENGTH {
            return Err(too_much("TLS record length", length, MAX_RECORD_LENGTH));
        }
        if self.records == MAX_RECORDS {
            return Err(too_much("TLS records", MAX_RECORDS + 1, MAX_RECORDS));
        }
        self.records += 1;
        self.record_type = kind;
        self.record_left = length;
        Ok(Progress::NeedMore)
    }

    fn read_alerts(&mut self, bytes: &[u8]) -> Progress {
        for byte in bytes {
            let Some(level) = self.alert_level.take() else {
                self.alert_level = Some(*byte);
                continue;
            };
            let alert = Alert { level, description: *byte };
            self.facts.alert = Some(alert);
            if alert.is_fatal() || alert.description == CLOSE_NOTIFY {
                return Progress::Done;
            }
        }
        Progress::NeedMore
    }

    fn read_messages(&mut self) -> Result<Progress, DecodeError> {
        let mut reader = Reader::new(&self.handshake);
        while let Some((kind, body)) = message(&mut reader)? {
            if self.facts.absorb(kind, body)? == Progress::Done {
                return Ok(Progress::Done);
            }
        }
        let left = reader.len();
        self.handshake.drain(..self.handshake.len().saturating_sub(left));
        Ok(Progress::NeedMore)
    }
}

/// The next whole handshake message: its type and its body.
fn message<'a>(reader: &mut Reader<'a>) -> Result<Option<(u8, &'a [u8])>, DecodeError> {
    let mut ahead = reader.clone();
    let Ok([kind, length @ ..]) = ahead.array::<4>("handshake header") else { return Ok(None) };
    let length = number(length);
    if length > MAX_FLIGHT_LENGTH {
        return Err(too_much("handshake message length", length, MAX_FLIGHT_LENGTH));
    }
    let Ok(body) = ahead.take("handshake message", length) else { return Ok(None) };
    *reader = ahead;
    Ok(Some((kind, body)))
}

impl Facts {
    /// Reads one handshake message. What we do not ask for is skipped, where a first flight may have it.
    fn absorb(&mut self, kind: u8, body: &[u8]) -> Result<Progress, DecodeError> {
        match (kind, self.server_hello) {
            (HANDSHAKE_HELLO_REQUEST, _) => {}
            (HANDSHAKE_SERVER_HELLO, None) => self.server_hello = Some(server_hello(body)?),
            (HANDSHAKE_CERTIFICATE, Some(_)) if self.certificates.is_none() => {
                self.certificates = Some(certificates(body)?);
            }
            (HANDSHAKE_SERVER_KEY_EXCHANGE, Some(hello)) => self.absorb_key_exchange(hello, body),
            (HANDSHAKE_CERTIFICATE_REQUEST | HANDSHAKE_CERTIFICATE_STATUS, Some(_)) => {}
            (HANDSHAKE_SERVER_HELLO_DONE, Some(_)) => return Ok(Progress::Done),
            _ => return Err(DecodeError::Unknown { what: "handshake message", found: kind.into() }),
        }
        Ok(Progress::NeedMore)
    }

    /// ServerKeyExchange ([RFC 5246] 7.4.3, [RFC 8422] 5.4). One that cannot be read tells nothing.
    ///
    /// [RFC 5246]: https://www.rfc-editor.org/rfc/rfc5246
    /// [RFC 8422]: https://www.rfc-editor.org/rfc/rfc8422
    fn absorb_key_exchange(&mut self, hello: ServerHello, body: &[u8]) {
        let Some(suite) = TlsCipherSuite::from_id(hello.cipher) else { return };
        let signature = match suite.kx {
            TlsCipherKx::Ecdhe => {
                let Ok((rest, parameters)) = parse_ecdh_params(body) else { return };
                if let ECParametersContent::NamedGroup(group) = parameters.curve_params.params_content {
                    self.group = Some(group.0);
                }
                rest
            }
            TlsCipherKx::Dhe => {
                let Ok((rest, _)) = parse_dh_params(body) else { return };
                rest
            }
            _ => return,
        };
        if hello.version == VERSION_TLS_1_2 && suite.au != TlsCipherAu::Null {
            self.scheme = Reader::new(signature).u16_be("SignatureAndHashAlgorithm").ok();
        }
    }
}

fn server_hello(body: &[u8]) -> Result<ServerHello, DecodeError> {
    let version = Reader::new(body).u16_be("ServerHello server_version")?;
    if !(VERSION_SSL_3_0..=VERSION_TLS_1_2).contains(&version) {
        return Err(DecodeError::Unknown { what: "ServerHello server_version", found: version.into() });
    }
    let (_, hello) =
        parse_tls_handshake_server_hello(body).map_err(|_| DecodeError::Truncated { what: "ServerHello" })?;
    let speaks_tls_1_3 = hello.random.ends_with(DOWNGRADE_FROM_TLS_1_3);
    Ok(ServerHello { cipher: hello.cipher.0, speaks_tls_1_3, version })
}

/// Certificate ([RFC 5246] 7.4.2).
///
/// [RFC 5246]: https://www.rfc-editor.org/rfc/rfc5246
fn certificates(body: &[u8]) -> Result<Vec<Vec<u8>>, DecodeError> {
    let mut reader = Reader::new(body);
    let length = number(reader.array("certificate_list length")?);
    let mut list = Reader::new(reader.take("certificate_list", length)?);
    reader.finish("Certificate")?;
    let mut certificates = Vec::new();
    while !list.is_empty() {
        if certificates.len() == MAX_CERTIFICATES {
            return Err(too_much("certificate_list count", MAX_CERTIFICATES + 1, MAX_CERTIFICATES));
        }
        let length = number(list.array("certificate length")?);
        certificates.push(list.take("certificate", length)?.to_vec());
    }
    Ok(certificates)
}

/// The IANA name of a cipher suite.
#[must_use]
pub fn cipher_name(cipher: u16) -> Option<&'static str> {
    TlsCipherSuite::from_id(cipher).map(|suite| suite.name)
}

/// The value of the `version` label.
#[must_use]
pub const fn version_name(version: u16) -> Option<&'static str> {
    match version {
        VERSION_SSL_3_0 => Some("SSL 3.0"),
        VERSION_TLS_1_0 => Some("TLS 1.0"),
        VERSION_TLS_1_1 => Some("TLS 1.1"),
        VERSION_TLS_1_2 => Some("TLS 1.2"),
        VERSION_TLS_1_3 => Some("TLS 1.3"),
        _ => None,
    }
}

/// Whether the key exchange is ephemeral. A suite that is not in IANA's list has no known virtue.
#[must_use]
pub fn has_forward_secrecy(cipher: u16) -> bool {
    TlsCipherSuite::from_id(cipher)
        .is_some_and(|suite| matches!(suite.kx, TlsCipherKx::Dhe | TlsCipherKx::Ecdhe | TlsCipherKx::Tls13))
}

/// Whether the suite encrypts and authenticates in one (GCM, CCM, ChaCha20-Poly1305).
#[must_use]
pub fn is_aead(cipher: u16) -> bool {
    TlsCipherSuite::from_id(cipher).is_some_and(|suite| suite.mac == TlsCipherMac::Aead)
}

/// Whether rustls with ring speaks what a server chose. What the server did not say is taken for spoken, so that a
/// failure of rustls is never explained away without a reason.
///
/// Below TLS 1.3 an ECDSA scheme does not name the curve of the certificate's key (a P-521 key signs with SHA-256 too),
/// and rustls lacks all but P-256 and P-384: whoever judges looks at the key as well.
#[must_use]
pub fn rustls_speaks(version: u16, cipher: u16, group: Option<u16>, scheme: Option<u16>) -> bool {
    let suites = match version {
        VERSION_TLS_1_2 => RUSTLS_TLS_1_2_SUITES,
        VERSION_TLS_1_3 => RUSTLS_TLS_1_3_SUITES,
        _ => return false,
    };
    suites.contains(&cipher)
        && group.is_none_or(|group| RUSTLS_GROUPS.contains(&group))
        && scheme.is_none_or(|scheme| RUSTLS_SCHEMES.contains(&scheme))
}

/// The form of a name that the `server_name` extension takes: no address, no final dot.
fn sendable(name: &str) -> Option<&str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let possible = (1..=MAX_NAME_LENGTH).contains(&name.len()) && name.is_ascii() && name.parse::<IpAddr>().is_err();
    possible.then_some(name)
}

/// Appends `contents` with their length in two bytes.
fn append_u16(bytes: &mut Vec<u8>, contents: &[u8]) {
    // INVARIANT: our own hello is shorter than 1 KiB.
    bytes.extend_from_slice(&u16::try_from(contents.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(contents);
}

/// Three bytes as a number.
fn number([high, middle, low]: [u8; 3]) -> usize {
    usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
}

fn too_much(what: &'static str, found: usize, most: usize) -> DecodeError {
    let (found, expected) = (u32::try_from(found).unwrap_or(u32::MAX), u32::try_from(most).unwrap_or(u32::MAX));
    DecodeError::Field { what, found, expected }
}

/// The description of the alert that says goodbye.
pub const CLOSE_NOTIFY: u8 = 0;
/// No more than this is read of a first flight, record headers included.
pub const MAX_FLIGHT_LENGTH: usize = 256 * 1024;
/// No more records than this are read; a flight cut into records of 64 bytes still fits.
pub const MAX_RECORDS: usize = 4096;
/// A fragment's 2^14 bytes, and what some servers add.
const MAX_RECORD_LENGTH: usize = (1 << 14) + 2048;
/// No chain that anybody has is longer.
const MAX_CERTIFICATES: usize = 64;
const MAX_NAME_LENGTH: usize = 253;
const HEADER_LENGTH: usize = 5;

const VERSION_SSL_3_0: u16 = 0x0300;
const VERSION_TLS_1_0: u16 = 0x0301;
const VERSION_TLS_1_1: u16 = 0x0302;
const VERSION_TLS_1_2: u16 = 0x0303;
const VERSION_TLS_1_3: u16 = 0x0304;
const RECORD_ALERT: u8 = 21;
const RECORD_HANDSHAKE: u8 = 22;
const HANDSHAKE_HELLO_REQUEST: u8 = 0;
const HANDSHAKE_CLIENT_HELLO: u8 = 1;
const HANDSHAKE_SERVER_HELLO: u8 = 2;
const HANDSHAKE_CERTIFICATE: u8 = 11;
const HANDSHAKE_SERVER_KEY_EXCHANGE: u8 = 12;
const HANDSHAKE_CERTIFICATE_REQUEST: u8 = 13;
const HANDSHAKE_SERVER_HELLO_DONE: u8 = 14;
const HANDSHAKE_CERTIFICATE_STATUS: u8 = 22;
const ALERT_WARNING: u8 = 1;
const DOWNGRADE_FROM_TLS_1_3: &[u8] = b"DOWNGRD\x01";

/// ECDHE with GCM first, then DHE with GCM, ECDHE with CBC, DHE with CBC, plain RSA, 3DES, RC4, and the renegotiation
/// signal ([RFC 5746] 3.3).
///
/// [RFC 5746]: https://www.rfc-editor.org/rfc/rfc5746
#[rustfmt::skip]
const CIPHER_SUITES: [u16; 26] = [
    0xC02C, 0xC02B, 0xC030, 0xC02F, 0x009F, 0x009E, 0xC024, 0xC023, 0xC028, 0xC027, 0xC00A, 0xC009, 0xC014, 0xC013,
    0x0039, 0x0033, 0x009D, 0x009C, 0x003D, 0x003C, 0x0035, 0x002F, 0x000A, 0x0005, 0x0004, 0x00FF,
];
/// X25519, P-256, P-384, P-521. Without this extension SChannel picks no ECDHE.
const SUPPORTED_GROUPS: &[u8] = &[0, 0x0A, 0, 10, 0, 8, 0, 0x1D, 0, 0x17, 0, 0x18, 0, 0x19];
/// Uncompressed.
const EC_POINT_FORMATS: &[u8] = &[0, 0x0B, 0, 2, 1, 0];
/// RSA PKCS#1, ECDSA and RSA PSS with SHA-2, then SHA-1 (RSA, ECDSA, DSA), then RSA with MD5.
#[rustfmt::skip]
const SIGNATURE_ALGORITHMS: &[u8] = &[
    0, 0x0D, 0, 28, 0, 26, 4, 1, 5, 1, 6, 1, 4, 3, 5, 3, 6, 3, 8, 4, 8, 5, 8, 6, 2, 1, 2, 3, 2, 2, 1, 1,
];
const EXTENDED_MASTER_SECRET: &[u8] = &[0, 0x17, 0, 0];

/// ECDHE with ECDSA or RSA; AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305.
const RUSTLS_TLS_1_2_SUITES: &[u16] = &[0xC02B, 0xC02C, 0xCCA9, 0xC02F, 0xC030, 0xCCA8];
const RUSTLS_TLS_1_3_SUITES: &[u16] = &[0x1301, 0x1302, 0x1303];
/// X25519, P-256, P-384.
const RUSTLS_GROUPS: &[u16] = &[0x001D, 0x0017, 0x0018];
/// RSA PKCS#1 with SHA-256, SHA-384, SHA-512 and (as we offer it) SHA-1; RSA PSS; ECDSA with SHA-256 and SHA-384;
/// Ed25519.
const RUSTLS_SCHEMES: &[u16] = &[0x0401, 0x0501, 0x0601, 0x0201, 0x0804, 0x0805, 0x0806, 0x0403, 0x0503, 0x0807];
