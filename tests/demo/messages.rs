//! What the simulated endpoints say, byte by byte.

use std::time::{Duration, SystemTime};

/// `TSRequest` with an NTLM CHALLENGE ([MS-CSSP] 2.2.1, [MS-NLMP] 2.2.1.2) of a Windows Server 2022 in the domain DEMO.
///
/// [MS-CSSP]: https://learn.microsoft.com/openspecs/windows_protocols/ms-cssp/
/// [MS-NLMP]: https://learn.microsoft.com/openspecs/windows_protocols/ms-nlmp/
pub(crate) fn challenge(name: &str, clock: SystemTime) -> Vec<u8> {
    let computer = name.to_uppercase();
    let dns_computer = format!("{computer}.demo.example");
    let domain = utf_16("DEMO");
    let mut pairs = Vec::new();
    for (id, name) in [(2, "DEMO"), (1, &computer), (4, "demo.example"), (3, &dns_computer), (5, "demo.example")] {
        append_pair(&mut pairs, id, &utf_16(name));
    }
    append_pair(&mut pairs, 7, &file_time(clock).to_le_bytes());
    append_pair(&mut pairs, 0, &[]);
    let mut token = b"NTLMSSP\0\x02\0\0\0".to_vec();
    append_field(&mut token, domain.len(), HEADER_LENGTH); // TargetName
    token.extend_from_slice(&0xE289_8215_u32.to_le_bytes()); // NegotiateFlags: Unicode, target info, version and more
    token.extend_from_slice(b"demodemo"); // ServerChallenge
    token.extend_from_slice(&[0; 8]); // Reserved
    append_field(&mut token, pairs.len(), HEADER_LENGTH + domain.len()); // TargetInfo
    token.extend_from_slice(&[10, 0, 0x7C, 0x4F, 0, 0, 0, 0x0F]); // Version 10.0.20348
    token.extend_from_slice(&domain);
    token.extend_from_slice(&pairs);
    let tokens = element(&[0x30], &element(&[0x30], &element(&[0xA0], &element(&[0x04], &token))));
    element(&[0x30], &[vec![0xA0, 3, 0x02, 1, 6], element(&[0xA1], &tokens)].concat())
}

/// MCS Connect Response with GCC Conference Create Response ([MS-RDPBCGR] 2.2.1.4) to a Connect Initial: the strongest
/// RC4 of what the client can do, level "client compatible", a chain of X.509 certificates. None for a client that can
/// do none.
///
/// [MS-RDPBCGR]: https://learn.microsoft.com/openspecs/windows_protocols/ms-rdpbcgr/
pub(crate) fn connect_response(initial: &[u8], chain: &[Vec<u8>]) -> Option<Vec<u8>> {
    let header = [0x02, 0xC0, 12, 0]; // CS_SECURITY
    let at = initial.windows(header.len()).position(|bytes| bytes == header)? + header.len();
    let offered = *initial.get(at)?;
    let method = [0x02, 0x08, 0x01].into_iter().find(|method| offered & method != 0)?;
    let mut certificate = 2_u32.to_le_bytes().to_vec();
    certificate.extend_from_slice(&u32::try_from(chain.len()).ok()?.to_le_bytes());
    for link in chain {
        certificate.extend_from_slice(&u32::try_from(link.len()).ok()?.to_le_bytes());
        certificate.extend_from_slice(link);
    }
    let mut security = vec![method, 0, 0, 0, 2, 0, 0, 0, 32, 0, 0, 0]; // method, level, serverRandomLen
    security.extend_from_slice(&u32::try_from(certificate.len()).ok()?.to_le_bytes());
    security.extend_from_slice(&[0x5A; 32]); // serverRandom
    security.extend_from_slice(&certificate);
    let mut blocks = vec![0x01, 0x0C, 12, 0, 4, 0, 8, 0, 0, 0, 0, 0]; // SC_CORE, RDP 5.0 to 8.1
    blocks.extend_from_slice(&[0x02, 0x0C]); // SC_SECURITY
    blocks.extend_from_slice(&u16::try_from(security.len() + 4).ok()?.to_le_bytes());
    blocks.extend_from_slice(&security);
    let packed = |bytes: &[u8]| [&(short(bytes.len()) | 0x8000).to_be_bytes()[..], bytes].concat();
    let gcc = [b"\x14\x76\x0A\x01\x01\x00\x01\xC0\x00McDn".as_slice(), &packed(&blocks)].concat();
    let user_data = [b"\x00\x05\x00\x14\x7C\x00\x01".as_slice(), &packed(&gcc)].concat();
    let parameters =
        element(&[0x30], &[2, 1, 34, 2, 1, 3, 2, 1, 0, 2, 1, 1, 2, 1, 0, 2, 1, 1, 2, 2, 255, 248, 2, 1, 2]);
    let fields = [&[0x0A, 1, 0, 0x02, 1, 0][..], &parameters, &element(&[0x04], &user_data)].concat();
    Some([&[0x02, 0xF0, 0x80][..], &element(&[0x7F, 0x66], &fields)].concat())
}

/// The first flight ([RFC 5246] 7.4) of a server that has nothing but RSA key exchange and CBC, in one record as SChannel
/// packs it; none to a client that does not offer these.
///
/// [RFC 5246]: https://www.rfc-editor.org/rfc/rfc5246
pub(crate) fn legacy_flight(client_hello: &[u8], certificate: &[u8]) -> Option<Vec<u8>> {
    let version: [u8; 2] = client_hello.get(4..6)?.try_into().ok()?;
    let session = usize::from(*client_hello.get(38)?);
    let length: [u8; 2] = client_hello.get(39 + session..41 + session)?.try_into().ok()?;
    let suites = client_hello.get(41 + session..)?.get(..u16::from_be_bytes(length).into())?;
    let suite = if version == [3, 3] { [0x00, 0x3C] } else { [0x00, 0x2F] };
    suites.chunks_exact(2).find(|offered| **offered == suite)?;
    let hello = [&version[..], &[0x4C; 32], &[0], &suite, &[0]].concat();
    let list = [&length_24(certificate), certificate].concat();
    let messages =
        [(2, hello), (11, [&length_24(&list), list.as_slice()].concat()), (14, Vec::new())].map(|(kind, body)| {
            let length = length_24(&body);
            [&[kind], &length[..], &body].concat()
        });
    let messages = messages.concat();
    let length = u16::try_from(messages.len()).ok()?.to_be_bytes();
    Some([&[22][..], &version, &length, &messages].concat())
}

fn utf_16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Units of 100 ns since 1601.
fn file_time(time: SystemTime) -> u64 {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let units = (since_1970 + Duration::from_secs(11_644_473_600)).as_nanos() / 100;
    u64::try_from(units).unwrap_or_default()
}

/// `AV_PAIR`: identifier, length, value.
fn append_pair(bytes: &mut Vec<u8>, id: u16, value: &[u8]) {
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&short(value.len()).to_le_bytes());
    bytes.extend_from_slice(value);
}

/// Length, maximum and offset of a part of the payload.
fn append_field(bytes: &mut Vec<u8>, length: usize, offset: usize) {
    bytes.extend_from_slice(&short(length).to_le_bytes());
    bytes.extend_from_slice(&short(length).to_le_bytes());
    bytes.extend_from_slice(&u32::from(short(offset)).to_le_bytes());
}

/// An element of DER.
fn element(tag: &[u8], contents: &[u8]) -> Vec<u8> {
    let [high, low] = short(contents.len()).to_be_bytes();
    let length = match (high, low) {
        (0, 0..=0x7F) => vec![low],
        (0, _) => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [tag, &length, contents].concat()
}

fn length_24(bytes: &[u8]) -> [u8; 3] {
    let [high, low] = short(bytes.len()).to_be_bytes();
    [0, high, low]
}

/// INVARIANT: nothing that an endpoint of the demo says is longer.
fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap()
}

/// Of a CHALLENGE with a version.
const HEADER_LENGTH: usize = 56;
