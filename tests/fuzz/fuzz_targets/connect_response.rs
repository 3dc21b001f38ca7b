//! What a server answers to our MCS Connect Initial.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rdp_exporter::wire::{gcc::Certificate, mcs::ConnectResponse, tpkt};

fuzz_target!(|bytes: &[u8]| {
    // With the frame that the input has, and with one that fits.
    read(bytes);
    if let Some(payload) = bytes.get(..bytes.len().min(60_000)) {
        read(&tpkt::frame(payload));
    }
});

fn read(bytes: &[u8]) {
    let Ok(ConnectResponse { data: Some(data), .. }) = ConnectResponse::decode(bytes) else { return };
    let Some(security) = data.security else { return };
    if let Certificate::X509 { chain } = security.certificate {
        let held: usize = chain.iter().map(Vec::len).sum();
        assert!(!chain.is_empty() && held <= bytes.len());
    }
}
