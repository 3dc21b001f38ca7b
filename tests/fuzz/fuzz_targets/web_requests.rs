#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rdp_exporter_fuzz::run("web_requests", bytes));
