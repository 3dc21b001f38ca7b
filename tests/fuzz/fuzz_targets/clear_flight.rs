//! A server's first TLS flight: at once, byte by byte, and in the pieces that the input's first byte says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rdp_exporter::wire::clear_tls::{self, Flight, Progress};

fuzz_target!(|bytes: &[u8]| {
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
});
