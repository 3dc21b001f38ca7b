//! Single messages.

use rdp_exporter::wire::{
    clear_tls::{self, Flight, Progress},
    credssp,
    gcc::Certificate,
    mcs::ConnectResponse,
    ntlm::Challenge,
    tpkt,
    x224::{Answer, ConnectionRequest},
};

/// What a server answers to our `TSRequest`, and the NTLM message in it.
pub(super) fn challenge(bytes: &[u8]) {
    let length = credssp::frame_length(bytes);
    if let Ok(answer) = credssp::Answer::decode(bytes) {
        // What is one whole message says so in its first bytes, unless it is larger than we read.
        assert!(length == Ok(Some(bytes.len())) || bytes.len() > credssp::MAX_FRAME_LENGTH);
        let _ = answer.token.map(Challenge::decode);
    }
    if let Ok(challenge) = Challenge::decode(bytes) {
        let names = [&challenge.dns_computer, &challenge.netbios_computer, &challenge.target];
        assert!(names.into_iter().flatten().all(|name| (1..=512).contains(&name.chars().count())));
    }
}

/// A server's first TLS flight: at once, byte by byte, and in the pieces that the input's first byte says.
pub(super) fn clear_flight(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let mut whole = Flight::new();
    let progress = whole.feed(bytes);
    for size in [1, usize::from(*size).max(1)] {
        let mut flight = Flight::new();
        let last = bytes.chunks(size).map(|piece| flight.feed(piece)).last();
        assert_eq!(last.unwrap_or(Ok(Progress::NeedMore)), progress);
        assert_eq!(flight.facts(), whole.facts());
    }
    let facts = whole.into_facts();
    let held: usize = facts.certificates.iter().flatten().map(Vec::len).sum();
    assert!(held <= bytes.len());
    if let Some(hello) = facts.server_hello {
        assert!(clear_tls::version_name(hello.version).is_some());
        let _ = clear_tls::rustls_speaks(hello.version, hello.cipher, facts.group, facts.scheme);
    }
}

/// What a server answers to our MCS Connect Initial, with the frame that the input has and with one that fits.
pub(super) fn connect_response(bytes: &[u8]) {
    read_connect_response(bytes);
    if let Some(payload) = bytes.get(..bytes.len().min(60_000)) {
        read_connect_response(&tpkt::frame(payload));
    }
}

fn read_connect_response(bytes: &[u8]) {
    let Ok(ConnectResponse { data: Some(data), .. }) = ConnectResponse::decode(bytes) else { return };
    let Some(security) = data.security else { return };
    if let Certificate::X509 { chain } = security.certificate {
        let held: usize = chain.iter().map(Vec::len).sum();
        assert!(!chain.is_empty() && held <= bytes.len());
    }
}

/// What a server answers to our connection request, framed likewise. What was read is written and read again as itself.
pub(super) fn x224_answer(bytes: &[u8]) {
    let read = |bytes: &[u8]| {
        if let Ok(answer) = Answer::decode(bytes) {
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
    };
    read(bytes);
    if bytes.len() < 300 {
        read(&tpkt::frame(bytes));
    }
}

/// A connection request, as the other side reads it; the same.
pub(super) fn x224_request(bytes: &[u8]) {
    let read = |bytes: &[u8]| {
        if let Ok(request) = ConnectionRequest::decode(bytes) {
            let again = request.encode();
            // A cookie that is longer than ours ever is, is cut when it is written.
            if request.cookie.len() <= 127 {
                assert_eq!(ConnectionRequest::decode(&again).as_ref(), Ok(&request));
            }
        }
    };
    read(bytes);
    if bytes.len() < 300 {
        read(&tpkt::frame(bytes));
    }
}
