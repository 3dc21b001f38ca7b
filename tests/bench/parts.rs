//! What a probe consists of: system calls, allocations and instructions, counted by strace and valgrind of the exporter and of
//! the floor alike, and the time of the cryptography in it. Counts, unlike times, are the same on a machine that is busy.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use ring::{
    agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral},
    rand::SystemRandom,
    signature::{self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    estate::Estate,
    exporter::{Exporter, targets},
    floor,
    goals::Goals,
    harness::process::{command, directory, require},
};

/// Probes a second: slow enough for valgrind.
const RATE: usize = 10;
/// What starting takes is the same in a short and in a long run, and goes by the difference.
const SECONDS: [u64; 2] = [8, 38];

pub(crate) fn measure(_: &mut Goals) {
    let estate = Estate::start(&["tls"], 4, 1);
    println!("a probe                    exporter        floor");
    if require(&["strace"]) {
        print_rows(&["system calls"], &estate, &[], system_calls);
    }
    if require(&["valgrind"]) {
        print_rows(&["allocations", "bytes of them"], &estate, &["--tool=dhat", "--dhat-out-file="], of_dhat);
        print_rows(&["instructions"], &estate, &["--tool=callgrind", "--callgrind-out-file="], of_callgrind);
    }
    print_cryptography();
}

/// What is counted in the file that the tool leaves, per probe. Without arguments for valgrind the tool is strace.
fn print_rows(names: &[&str], estate: &Estate, tool: &[&str], counted: impl Fn(&Path) -> Vec<f64>) {
    let per_probe = |run: &dyn Fn(Command, u64) -> f64| -> Vec<f64> {
        let [(few, short), (many, long)] = SECONDS.map(|seconds| {
            let directory = directory();
            let file = directory.path().join("counts");
            let probes = run(under(tool, &file), seconds);
            (probes, counted(&file))
        });
        short.iter().zip(long).map(|(short, long)| (long - short) / (many - few)).collect()
    };
    let exporter = per_probe(&|command, seconds| exporter_under(estate, command, seconds));
    let floor = per_probe(&|command, seconds| floor_under(estate, command, seconds));
    for ((name, exporter), floor) in names.iter().zip(exporter).zip(floor) {
        println!("  {name:<20} {exporter:>12.1} {floor:>12.1}");
    }
}

/// A command that counts what the program that is its next argument does.
fn under(tool: &[&str], file: &Path) -> Command {
    let Some((out, arguments)) = tool.split_last() else {
        let mut strace = command("strace");
        strace.args(["--follow-forks", "--summary-only", "--summary-columns=calls,name", "--output"]).arg(file);
        return strace;
    };
    let mut valgrind = command("valgrind");
    valgrind.args(arguments).arg(format!("{out}{}", file.display()));
    valgrind
}

/// How many probes it made in so many seconds.
fn exporter_under(estate: &Estate, mut command: Command, seconds: u64) -> f64 {
    let config = format!(
        "probe: {{ interval: 2s, timeout: 1900ms, survey_interval: 0s }}\ntargets:\n{}",
        targets("t", 2 * RATE, estate.of("tls"))
    );
    command.arg(env!("CARGO_BIN_EXE_rdp_exporter"));
    let exporter = Exporter::start_as(&config, command).0;
    thread::sleep(Duration::from_secs(seconds));
    let probes = exporter.probes();
    end_all_of(exporter.id);
    exporter.wait_for_end();
    probes
}

/// strace ends what it started only where it is not told itself.
fn end_all_of(process: u32) {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let all: Vec<u32> = children.split_whitespace().map(|child| child.parse().unwrap()).collect();
    for process in if all.is_empty() { vec![process] } else { all } {
        kill_process(Pid::from_raw(process.cast_signed()).unwrap(), Signal::TERM).unwrap();
    }
}

fn floor_under(estate: &Estate, mut command: Command, seconds: u64) -> f64 {
    command.arg(std::env::current_exe().unwrap());
    let output = command.args(floor::arguments(RATE as f64, seconds as f64, estate.of("tls"))).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (RATE as u64 * seconds) as f64
}

fn system_calls(file: &Path) -> Vec<f64> {
    let text = fs::read_to_string(file).unwrap();
    let total = text.lines().find_map(|line| line.trim().strip_suffix(" total")).expect("a line of totals");
    vec![total.split_whitespace().next().unwrap().parse().unwrap()]
}

fn of_dhat(file: &Path) -> Vec<f64> {
    let counts: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let places = counts["pps"].as_array().unwrap();
    let sum = |field: &str| places.iter().map(|place| place[field].as_f64().unwrap()).sum();
    ["tbk", "tb"].map(sum).to_vec()
}

fn of_callgrind(file: &Path) -> Vec<f64> {
    let text = fs::read_to_string(file).unwrap();
    vec![text.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap().trim().parse().unwrap()]
}

/// What every handshake does, in a loop that does nothing else: warm, as between two probes it is not.
fn print_cryptography() {
    let random = SystemRandom::new();
    let peer = EphemeralPrivateKey::generate(&X25519, &random).unwrap().compute_public_key().unwrap();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.as_ref(), &random).unwrap();
    let signed = key.sign(&random, b"handshake").unwrap();
    let public = signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key());
    let agreed = mean_of(|| {
        let ours = EphemeralPrivateKey::generate(&X25519, &random).unwrap();
        ours.compute_public_key().unwrap();
        agree_ephemeral(ours, &UnparsedPublicKey::new(&X25519, &peer), <[u8]>::len).unwrap();
    });
    let verified = mean_of(|| public.verify(b"handshake", signed.as_ref()).unwrap());
    println!(
        "\n  X25519, a pair of keys and the agreement   {agreed:.1} us\n  P-256, a signature checked   {verified:.1} us"
    );
}

/// Microseconds.
fn mean_of(work: impl Fn()) -> f64 {
    const TIMES: u32 = 5000;
    let begun = Instant::now();
    (0..TIMES).for_each(|_| work());
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES)
}
