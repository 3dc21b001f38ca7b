//! The bytes of servers, written from the specifications: X.224, TLS up to 1.2, CredSSP and NTLM, DER, MCS and GCC.
//! Every length is right here; who wants a lie changes it afterwards.

/// An X.224 connection confirm that selects `protocol` ([MS-RDPBCGR] 2.2.1.2).
pub(crate) fn selecting(protocol: u8) -> Vec<u8> {
    let mut bytes = vec![3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0, 2, 0x1f, 8, 0];
    bytes.extend([protocol, 0, 0, 0]);
    bytes
}

pub(crate) const RDP: u8 = 0;
pub(crate) const SSL: u8 = 1;
pub(crate) const HYBRID: u8 = 2;

/// A TLS record.
pub(crate) fn record(kind: u8, version: u16, payload: &[u8]) -> Vec<u8> {
    [&[kind][..], &version.to_be_bytes(), &u16_of(payload.len()).to_be_bytes(), payload].concat()
}

/// A TLS handshake message.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &u24(body.len()), body].concat()
}

/// ServerHello, Certificate, ServerHelloDone of a server that knows nothing but RSA key exchange: no TLS library of today
/// goes on with it, and a certificate is all there is to see.
pub(crate) fn old_messages(certificate: &[u8]) -> [Vec<u8>; 3] {
    let mut hello = TLS_1_0.to_be_bytes().to_vec();
    hello.extend([7; 32]);
    hello.extend([0, 0x00, 0x35, 0]); // no session, TLS_RSA_WITH_AES_256_CBC_SHA, no compression
    let list = [&u24(certificate.len() + 3)[..], &u24(certificate.len()), certificate].concat();
    [message(2, &hello), message(11, &list), message(14, &[])]
}

/// The same in one record.
pub(crate) fn old_flight(certificate: &[u8]) -> Vec<u8> {
    record(22, TLS_1_0, &old_messages(certificate).concat())
}

/// ServerHello, Certificate, CertificateStatus, ServerKeyExchange and CertificateRequest of TLS 1.2, all but the first of so
/// many bytes. That there is nothing in them shows when ServerHelloDone comes.
pub(crate) fn wide_messages(length: usize) -> Vec<Vec<u8>> {
    let mut hello = TLS_1_2.to_be_bytes().to_vec();
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x2b, 0, 0, 8, 0, 0x17, 0, 0, 0, 5, 0, 0]); // extended_master_secret, status_request
    let filled = |head: &[u8], rest: &[u8]| [head, rest, &vec![0x41; length - head.len() - rest.len()]].concat();
    let status = filled(&[1], &u24(length - 4));
    let chain = filled(&u24(length - 3), &u24(length - 6));
    // X25519, and a signature by ECDSA with SHA-256.
    let exchange = [&[3, 0, 0x1d, 32][..], &[9; 32], &[4, 3]].concat();
    let exchange = filled(&exchange, &u16_of(length - exchange.len() - 2).to_be_bytes());
    let names = [u16_of(length - 8), u16_of(length - 10)].map(u16::to_be_bytes).concat();
    let request = filled(&[1, 64, 0, 2, 4, 3], &names);
    let wide = [(11, chain), (22, status), (12, exchange), (13, request)];
    let wide = wide.iter().map(|(kind, body)| message(*kind, body));
    std::iter::once(message(2, &hello)).chain(wide).collect()
}

pub(crate) const TLS_1_0: u16 = 0x0301;
pub(crate) const TLS_1_2: u16 = 0x0303;

pub(crate) fn u24(length: usize) -> [u8; 3] {
    let [_, bytes @ ..] = u32::try_from(length).unwrap().to_be_bytes();
    bytes
}

pub(crate) fn u16_of(length: usize) -> u16 {
    u16::try_from(length).unwrap()
}

/// A DER element, its length in as few bytes as possible.
pub(crate) fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match contents.len() {
        length @ 0..=0x7f => bytes.push(u8::try_from(length).unwrap()),
        length @ 0x80..=0xff => bytes.extend([0x81, u8::try_from(length).unwrap()]),
        length @ 0x100..=0xffff => bytes.extend([&[0x82][..], &u16_of(length).to_be_bytes()].concat()),
        length => bytes.extend([&[0x83][..], &u24(length)].concat()),
    }
    bytes.extend_from_slice(contents);
    bytes
}

/// A SEQUENCE in a SEQUENCE in a SEQUENCE, so deep.
pub(crate) fn nested(depth: usize) -> Vec<u8> {
    // Inside out, so that no byte is copied more than once.
    let mut reversed: Vec<u8> = Vec::new();
    for _ in 0..depth {
        let head = der(0x30, &[]);
        let length = reversed.len();
        let head = if length == 0 {
            head
        } else {
            let whole = der(0x30, &vec![0; length]);
            whole[..whole.len() - length].to_vec()
        };
        reversed.extend(head.iter().rev());
    }
    reversed.reverse();
    reversed
}

/// A `TSRequest` with that token ([MS-CSSP] 2.2.1).
pub(crate) fn ts_request(token: &[u8]) -> Vec<u8> {
    let tokens = der(0xa1, &der(0x30, &der(0x30, &der(0xa0, &der(0x04, token)))));
    der(0x30, &[vec![0xa0, 3, 2, 1, 6], tokens].concat())
}

/// `CHALLENGE_MESSAGE` ([MS-NLMP] 2.2.1.2) with that target name and those AV pairs.
pub(crate) fn challenge(target: &[u8], pairs: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let pair =
        |(id, value): &(u16, Vec<u8>)| [&id.to_le_bytes()[..], &u16_of(value.len()).to_le_bytes(), value].concat();
    let info: Vec<u8> = pairs.iter().flat_map(pair).chain([0; 4]).collect();
    let field = |length: usize, offset: usize| {
        let length = u16_of(length).to_le_bytes();
        [&length[..], &length, &u32::try_from(offset).unwrap().to_le_bytes()].concat()
    };
    let mut bytes = b"NTLMSSP\0\x02\0\0\0".to_vec();
    bytes.extend(field(target.len(), 56));
    bytes.extend(0xe289_8235_u32.to_le_bytes());
    bytes.extend([0x5a; 8]); // ServerChallenge
    bytes.extend([0; 8]);
    bytes.extend(field(info.len(), 56 + target.len()));
    bytes.extend([10, 0, 0x7c, 0x4f, 0, 0, 0, 15]); // 10.0.20348
    [bytes, target.to_vec(), info].concat()
}

/// The AV pairs of a domain member with these names.
pub(crate) fn names(computer: &str, domain: &str, dns_computer: &str, dns_domain: &str) -> Vec<(u16, Vec<u8>)> {
    vec![(2, utf16(domain)), (1, utf16(computer)), (4, utf16(dns_domain)), (3, utf16(dns_computer))]
}

pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// MCS Connect Response with these GCC blocks, as Windows frames it ([MS-RDPBCGR] 4.1.4).
pub(crate) fn connect_response(blocks: &[u8]) -> Vec<u8> {
    let long = |tag: &[u8], contents: &[u8]| [tag, &[0x82], &u16_of(contents.len()).to_be_bytes(), contents].concat();
    let head = b"\x00\x05\x00\x14\x7c\x00\x01\x2a\x14\x76\x0a\x01\x01\x00\x01\xc0\x00McDn";
    let gcc = [&head[..], &(u16_of(blocks.len()) | 0x8000).to_be_bytes(), blocks].concat();
    let domain = b"\x30\x1a\x02\x01\x22\x02\x01\x03\x02\x01\x00\x02\x01\x01\x02\x01\x00\x02\x01\x01\x02\x03\x00\xff\xf8\x02\x01\x02";
    let fields = [&[0x0a, 1, 0, 2, 1, 0][..], domain, &long(&[4], &gcc)].concat();
    let tpdu = [&[2, 0xf0, 0x80][..], &long(&[0x7f, 0x66], &fields)].concat();
    [&[3, 0][..], &u16_of(tpdu.len() + 4).to_be_bytes(), &tpdu].concat()
}

/// A GCC block.
pub(crate) fn block(kind: u16, contents: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &u16_of(contents.len() + 4).to_le_bytes(), contents].concat()
}

/// Server Security Data: 128 bit, client compatible, with that certificate.
pub(crate) fn security(certificate: &[u8]) -> Vec<u8> {
    let length = u32::try_from(certificate.len()).unwrap().to_le_bytes();
    block(0x0c02, &[&[2, 0, 0, 0, 2, 0, 0, 0, 32, 0, 0, 0][..], &length, &[9; 32], certificate].concat())
}
