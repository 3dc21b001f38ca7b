//! What a server answers to our `TSRequest`, and the NTLM message in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rdp_exporter::wire::{credssp, ntlm::Challenge};

fuzz_target!(|bytes: &[u8]| {
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
});
