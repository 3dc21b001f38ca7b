//! What a server answers to our connection request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rdp_exporter::wire::{tpkt, x224::Answer};

fuzz_target!(|bytes: &[u8]| {
    // With the frame that the input has, and with one that fits.
    read(bytes);
    if bytes.len() < 300 {
        read(&tpkt::frame(bytes));
    }
});

/// What was read is written and read again as itself.
fn read(bytes: &[u8]) {
    if let Ok(answer) = Answer::decode(bytes) {
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
}
