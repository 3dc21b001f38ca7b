//! GCC conference data inside the MCS connection PDUs ([T.124] 8.7; [MS-RDPBCGR] 2.2.1.3 and 2.2.1.4).
//! Unknown blocks and numbers survive; a certificate that cannot be read loses nothing else.
//!
//! [T.124]: https://www.itu.int/rec/T-REC-T.124
//! [MS-RDPBCGR]: https://learn.microsoft.com/openspecs/windows_protocols/ms-rdpbcgr/

use serde::{Deserialize, Serialize};

use super::{DecodeError, reader::Reader};

/// Encryption methods of Standard RDP Security, as a set (2.2.1.3.3 `encryptionMethods`, 2.2.1.4.3 `encryptionMethod`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EncryptionMethods(pub u32);

impl EncryptionMethods {
    /// No encryption, the empty set.
    pub const NONE: Self = Self(0x00);
    /// `40BIT_ENCRYPTION_FLAG`: RC4.
    pub const BIT_40: Self = Self(0x01);
    /// `128BIT_ENCRYPTION_FLAG`: RC4.
    pub const BIT_128: Self = Self(0x02);
    /// `56BIT_ENCRYPTION_FLAG`: RC4.
    pub const BIT_56: Self = Self(0x08);
    /// `FIPS_ENCRYPTION_FLAG`: 3DES.
    pub const FIPS: Self = Self(0x10);

    /// All that there are.
    pub const ALL: Self = Self(0x1B);

    /// The methods that have a name, weakest first.
    pub const NAMED: [Self; 5] = [Self::NONE, Self::BIT_40, Self::BIT_56, Self::BIT_128, Self::FIPS];

    /// The value of the `method` label, where this is one method that has a name.
    #[must_use]
    pub const fn label(self) -> Option<&'static str> {
        match self {
            Self::NONE => Some("none"),
            Self::BIT_40 => Some("40bit"),
            Self::BIT_56 => Some("56bit"),
            Self::BIT_128 => Some("128bit"),
            Self::FIPS => Some("fips"),
            Self(_) => None,
        }
    }
}

/// How much a server encrypts (2.2.1.4.3 `encryptionLevel`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptionLevel(pub u32);

impl EncryptionLevel {
    /// The value of the `level` label, where the number has a name.
    #[must_use]
    pub const fn label(self) -> Option<&'static str> {
        match self.0 {
            0 => Some("none"),
            1 => Some("low"),
            2 => Some("client_compatible"),
            3 => Some("high"),
            4 => Some("fips"),
            _ => None,
        }
    }
}

/// The key that a server shows inside its security data (2.2.1.4.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// None at all: nothing is encrypted.
    Missing,
    /// A bare RSA key, signed with a key that is published (2.2.1.4.3.1.1). It has no dates.
    Proprietary {
        /// Bits of the modulus.
        key_bits: u32,
    },
    /// Bytes that are neither form.
    Unreadable,
    /// A chain of X.509 certificates in DER, root first, the server's own last ([MS-RDPELE] 2.2.1.4.2).
    ///
    /// [MS-RDPELE]: https://learn.microsoft.com/openspecs/windows_protocols/ms-rdpele/
    X509 {
        /// Never empty.
        chain: Vec<Vec<u8>>,
    },
}

/// Server Security Data, `TS_UD_SC_SEC1` (2.2.1.4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSecurity {
    /// The server's key.
    pub certificate: Certificate,
    /// How much is encrypted.
    pub level: EncryptionLevel,
    /// The method that the server chose.
    pub method: EncryptionMethods,
    /// Bytes of the server's random; 32, or 0 where nothing is encrypted.
    pub random_length_bytes: u32,
}

/// What a server says in its Conference Create Response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerData {
    /// Server Security Data.
    pub security: Option<ServerSecurity>,
    /// The RDP version of Server Core Data, `TS_UD_SC_CORE` (2.2.1.4.2); `0x00080004` for RDP 5.0 to 8.1.
    pub version: Option<u32>,
}

impl ServerData {
    /// Reads the user data of a Connect Response: the Conference Create Response and the blocks in it.
    ///
    /// # Errors
    /// Another message, or a length that goes past the end.
    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        expect(&mut reader, "GCC t124Identifier", CONNECT_DATA)?;
        // Windows writes 0x2A here, whatever the real length is.
        let _length = packed_length(&mut reader, "GCC connectPDU length")?;
        let _choice = reader.u8("GCC connectGCCPDU choice")?;
        let _node = reader.u16_be("GCC nodeID")?;
        let tag_length = reader.u8("GCC tag length")?;
        reader.take("GCC tag", tag_length.into())?;
        let _result = reader.u8("GCC result")?;
        let _sets = reader.u8("GCC userData count")?;
        let _choice = reader.u8("GCC userData choice")?;
        expect(&mut reader, "GCC h221 key", SERVER_KEY)?;
        let length = packed_length(&mut reader, "GCC userData length")?;
        let mut blocks = Reader::new(reader.take("GCC userData", length)?);
        let mut data = Self::default();
        while !blocks.is_empty() {
            data.absorb(&mut blocks)?;
        }
        Ok(data)
    }

    /// Reads one block, `TS_UD_HEADER` (2.2.1.3.1) and what follows it.
    fn absorb(&mut self, blocks: &mut Reader<'_>) -> Result<(), DecodeError> {
        let kind = blocks.u16_le("TS_UD_HEADER type")?;
        let length = blocks.u16_le("TS_UD_HEADER length")?;
        let Some(length) = usize::from(length).checked_sub(BLOCK_HEADER_LENGTH) else {
            return Err(DecodeError::Field { what: "TS_UD_HEADER length", found: length.into(), expected: 4 });
        };
        let mut block = Reader::new(blocks.take("TS_UD block", length)?);
        match kind {
            SC_CORE => self.version = Some(block.u32_le("TS_UD_SC_CORE version")?),
            SC_SECURITY => self.security = Some(ServerSecurity::decode(block)?),
            _ => {}
        }
        Ok(())
    }
}

impl ServerSecurity {
    fn decode(mut block: Reader<'_>) -> Result<Self, DecodeError> {
        let method = EncryptionMethods(block.u32_le("TS_UD_SC_SEC1 encryptionMethod")?);
        let level = EncryptionLevel(block.u32_le("TS_UD_SC_SEC1 encryptionLevel")?);
        let (random_length_bytes, certificate) = match block.is_empty() {
            true => (0, Certificate::Missing),
            false => key(&mut block).unwrap_or((0, Certificate::Unreadable)),
        };
        Ok(Self { certificate, level, method, random_length_bytes })
    }
}

/// The server's random and its certificate.
fn key(block: &mut Reader<'_>) -> Result<(u32, Certificate), DecodeError> {
    let random_length = block.u32_le("TS_UD_SC_SEC1 serverRandomLen")?;
    let length = block.u32_le("TS_UD_SC_SEC1 serverCertLen")?;
    block.take("TS_UD_SC_SEC1 serverRandom", wide(random_length))?;
    let blob = block.take("TS_UD_SC_SEC1 serverCertificate", wide(length))?;
    let certificate = match blob.is_empty() {
        true => Certificate::Missing,
        false => certificate(Reader::new(blob)).unwrap_or(Certificate::Unreadable),
    };
    Ok((random_length, certificate))
}

/// `SERVER_CERTIFICATE` (2.2.1.4.3.1).
fn certificate(mut blob: Reader<'_>) -> Result<Certificate, DecodeError> {
    let version = blob.u32_le("SERVER_CERTIFICATE dwVersion")?;
    // The high bit says that the certificate is temporary.
    match version & 0x7FFF_FFFF {
        CERTIFICATE_PROPRIETARY => proprietary(blob),
        CERTIFICATE_CHAIN => chain(blob),
        found => Err(DecodeError::Unknown { what: "SERVER_CERTIFICATE dwVersion", found }),
    }
}

/// `PROPRIETARYSERVERCERTIFICATE` and its `RSA_PUBLIC_KEY` (2.2.1.4.3.1.1), up to the length of the modulus.
fn proprietary(mut blob: Reader<'_>) -> Result<Certificate, DecodeError> {
    let _signature_algorithm = blob.u32_le("dwSigAlgId")?;
    let _key_algorithm = blob.u32_le("dwKeyAlgId")?;
    let _kind = blob.u16_le("wPublicKeyBlobType")?;
    let _length = blob.u16_le("wPublicKeyBlobLen")?;
    expect(&mut blob, "RSA_PUBLIC_KEY magic", b"RSA1")?;
    let _key_length = blob.u32_le("RSA_PUBLIC_KEY keylen")?;
    Ok(Certificate::Proprietary { key_bits: blob.u32_le("RSA_PUBLIC_KEY bitlen")? })
}

/// X.509 Certificate Chain ([MS-RDPELE] 2.2.1.4.2); what pads its end is not read.
fn chain(mut blob: Reader<'_>) -> Result<Certificate, DecodeError> {
    let count = blob.u32_le("NumCertBlobs")?;
    if !(1..=MAX_CHAIN).contains(&count) {
        return Err(DecodeError::Field { what: "NumCertBlobs", found: count, expected: 2 });
    }
    let chain = (0..count).map(|_| {
        let length = blob.u32_le("cbCert")?;
        blob.take("abCert", wide(length)).map(<[u8]>::to_vec)
    });
    Ok(Certificate::X509 { chain: chain.collect::<Result<_, _>>()? })
}

/// GCC Conference Create Request with a client's blocks (2.2.1.3), of an unassuming client without channels of its own.
pub(super) fn conference_create_request(methods: EncryptionMethods) -> Vec<u8> {
    let mut blocks = Vec::new();
    append_block(&mut blocks, CS_CORE, &core_data());
    append_block(&mut blocks, CS_CLUSTER, &[0x0D, 0, 0, 0, 0, 0, 0, 0]);
    let mut security = methods.0.to_le_bytes().to_vec();
    security.extend_from_slice(&[0; 4]); // extEncryptionMethods
    append_block(&mut blocks, CS_SECURITY, &security);
    let mut channels = vec![1, 0, 0, 0]; // channelCount
    channels.extend_from_slice(b"rdpdr\0\0\0");
    channels.extend_from_slice(&0x8080_0000_u32.to_le_bytes());
    append_block(&mut blocks, CS_NETWORK, &channels);
    // Conference Create Request: conference name "1", one set of user data, of the h221 key.
    let mut request = vec![0x00, 0x08, 0x00, 0x10, 0x00, 0x01, 0xC0, 0x00];
    request.extend_from_slice(b"Duca");
    append_packed(&mut request, &blocks);
    let mut bytes = CONNECT_DATA.to_vec();
    append_packed(&mut bytes, &request);
    bytes
}

/// Client Core Data, `TS_UD_CS_CORE` (2.2.1.3.2), up to `serverSelectedProtocol`.
fn core_data() -> Vec<u8> {
    let mut core = 0x0008_0004_u32.to_le_bytes().to_vec(); // version
    core.extend_from_slice(&[0x00, 0x04, 0x00, 0x03]); // desktopWidth 1024, desktopHeight 768
    core.extend_from_slice(&[0x01, 0xCA, 0x03, 0xAA]); // colorDepth, SASSequence
    core.extend_from_slice(&0x0409_u32.to_le_bytes()); // keyboardLayout
    core.extend_from_slice(&2600_u32.to_le_bytes()); // clientBuild
    let mut name = [0; 32];
    for (unit, letter) in name.chunks_exact_mut(2).zip("rdp-exporter".encode_utf16()) {
        unit.copy_from_slice(&letter.to_le_bytes());
    }
    core.extend_from_slice(&name); // clientName
    core.extend_from_slice(&4_u32.to_le_bytes()); // keyboardType
    core.extend_from_slice(&0_u32.to_le_bytes()); // keyboardSubType
    core.extend_from_slice(&12_u32.to_le_bytes()); // keyboardFunctionKey
    core.extend_from_slice(&[0; 64]); // imeFileName
    core.extend_from_slice(&[0x01, 0xCA, 0x01, 0x00]); // postBeta2ColorDepth, clientProductId
    core.extend_from_slice(&0_u32.to_le_bytes()); // serialNumber
    core.extend_from_slice(&[24, 0, 0x07, 0]); // highColorDepth, supportedColorDepths
    core.extend_from_slice(&[0x01, 0]); // earlyCapabilityFlags
    core.extend_from_slice(&[0; 64]); // clientDigProductId
    core.extend_from_slice(&[0, 0]); // connectionType, pad1octet
    core.extend_from_slice(&0_u32.to_le_bytes()); // serverSelectedProtocol: Standard RDP Security
    core
}

/// Appends a block with its header.
fn append_block(bytes: &mut Vec<u8>, kind: u16, contents: &[u8]) {
    // INVARIANT: our own blocks are shorter than 64 KiB.
    let length = u16::try_from(contents.len() + BLOCK_HEADER_LENGTH).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(contents);
}

/// Appends a PER octet string ([X.691] 11.9) with its length in two bytes.
///
/// [X.691]: https://www.itu.int/rec/T-REC-X.691
fn append_packed(bytes: &mut Vec<u8>, contents: &[u8]) {
    // INVARIANT: our own strings are shorter than 16 KiB.
    let length = u16::try_from(contents.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&(length | 0x8000).to_be_bytes());
    bytes.extend_from_slice(contents);
}

/// A PER length determinant ([X.691] 11.9): one byte, or two with the high bit set.
fn packed_length(reader: &mut Reader<'_>, what: &'static str) -> Result<usize, DecodeError> {
    let first = reader.u8(what)?;
    if first & 0x80 == 0 {
        return Ok(first.into());
    }
    Ok(usize::from(first & 0x7F) << 8 | usize::from(reader.u8(what)?))
}

/// Requires these bytes.
fn expect(reader: &mut Reader<'_>, what: &'static str, bytes: &[u8]) -> Result<(), DecodeError> {
    let found = reader.take(what, bytes.len())?;
    match found == bytes {
        true => Ok(()),
        false => Err(DecodeError::Unknown {
            what,
            found: found.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)),
        }),
    }
}

/// A length off the wire; what does not fit the machine is not there either.
fn wide(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// ConnectData with the object identifier of T.124, 0.0.20.124.0.1.
const CONNECT_DATA: &[u8] = &[0x00, 0x05, 0x00, 0x14, 0x7C, 0x00, 0x01];
/// The h221 key of a server, with its length above four.
const SERVER_KEY: &[u8] = &[0x00, b'M', b'c', b'D', b'n'];
const BLOCK_HEADER_LENGTH: usize = 4;
const SC_CORE: u16 = 0x0C01;
const SC_SECURITY: u16 = 0x0C02;
const CS_CORE: u16 = 0xC001;
const CS_SECURITY: u16 = 0xC002;
const CS_NETWORK: u16 = 0xC003;
const CS_CLUSTER: u16 = 0xC004;
const CERTIFICATE_PROPRIETARY: u32 = 1;
const CERTIFICATE_CHAIN: u32 = 2;
/// [MS-RDPELE] 2.2.1.4.2 allows 2 to 200.
const MAX_CHAIN: u32 = 200;
