//! What survives a restart, and what a broken file does.

use std::{
    env, fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use rdp_exporter::{
    diagnosis::Verdict,
    memory::Memory,
    observation::Fault,
    state::{Absent, States, TargetState},
    state_file::{StateFile, load, save},
    target::Settings,
    wire::negotiation::Protocols,
};

use crate::{
    endpoint::{Endpoint, speaking, tls13},
    exposition::absorb,
    findings::every_memory,
    fuzz::faces,
    sample::{self, noon, observation, unconnected},
    serving::Exporter,
};

const DAY: Duration = Duration::from_secs(86_400);

fn fresh(name: &str) -> TargetState {
    TargetState::new(Arc::new(sample::target(name, "ts01", sample::settings())))
}

fn settings() -> Arc<Settings> {
    Arc::new(sample::settings())
}

/// What a process that starts later knows of that target.
fn restored(file: &Path, name: &str, now: SystemTime) -> Option<Arc<TargetState>> {
    let states = States::default();
    states.restore(load(file, &settings(), now).unwrap());
    states.replace(&[Arc::new(sample::target(name, "ts01", sample::settings()))]);
    states.find(name).map(|(state, _)| state).filter(|state| state.probes() > 0 || state.memory != Memory::default())
}

#[test]
fn facts_and_counters_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let states: Vec<_> = every_memory()
        .into_iter()
        .enumerate()
        .map(|(number, memory)| {
            Arc::new(TargetState { memory, tally: [7; Verdict::ALL.len()], ..fresh(&number.to_string()) })
        })
        .collect();
    assert!(states.len() > 50, "all kinds of facts");
    save(&file, &states, &[], noon()).unwrap();
    for state in &states {
        let back = restored(&file, &state.target.name, noon() + DAY).unwrap();
        // How the network behaves, what silent hosts' companions said and a survey half done are of the moment.
        let memory = Memory {
            network: state.memory.network,
            companions: state.memory.companions.clone(),
            survey: state.memory.survey.clone(),
            ..back.memory.clone()
        };
        assert_eq!(memory, state.memory, "{}", state.target.name);
        assert_eq!(back.memory.survey.last, state.memory.survey.last);
        assert_eq!((back.tally, &back.last, back.up), (state.tally, &None, None), "nothing was probed yet");
    }
}

#[test]
fn counters_and_histograms_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let healthy = || observation(vec![sample::shaken(Protocols::HYBRID_EX)]);
    let state =
        absorb(absorb(absorb(fresh("t"), healthy()), healthy()), observation(vec![unconnected(Fault::Refused)]));
    save(&file, &[Arc::new(state.clone())], &[], noon()).unwrap();
    let back = restored(&file, "t", noon()).unwrap();
    assert_eq!((back.tally, back.handshakes), (state.tally, state.handshakes));
    assert_eq!((back.consecutive_failures, back.handshakes.count()), (1, 2));
    let next = absorb(TargetState::clone(&back), healthy());
    assert_eq!((next.tally[Verdict::Healthy as usize], next.handshakes.count()), (3, 3));
    assert!(restored(&file, "other", noon()).is_none(), "another target's");
    assert!(restored(&file, "t", noon() + DAY * 31).is_none(), "older than facts_max_age");
}

/// Found while a fuzz target was written: a year beyond 9999 has no date, and the pages could not be made.
#[test]
fn facts_from_the_future_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let states = every_memory().into_iter().enumerate();
    let states: Vec<_> =
        states.map(|(number, memory)| Arc::new(TargetState { memory, ..fresh(&number.to_string()) })).collect();
    save(&file, &states, &[], noon() + Duration::from_secs(1)).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let observed = |seconds: u64| format!("\"secs_since_epoch\":{seconds},");
    assert!(text.matches(&observed(1_795_176_000)).count() > 50, "all kinds of facts, seen at noon");
    fs::write(&file, text.replace(&observed(1_795_176_000), &observed(400_000_000_000))).unwrap();
    let absent = load(&file, &settings(), noon() + Duration::from_secs(1)).unwrap();
    assert_eq!(absent.len(), states.len());
    for absent in absent {
        let memory = &absent.state.memory;
        assert!(memory.certificates.last.as_ref().is_none_or(|seen| seen.observed <= noon()), "{memory:?}");
        assert!(memory.challenge.last.as_ref().is_none_or(|(_, observed)| *observed <= noon()), "{memory:?}");
        faces::check(&absent.state, noon() + DAY);
    }
}

#[test]
fn what_is_not_claimed_yet_is_saved_again_with_its_own_age() {
    let folder = tempfile::tempdir().unwrap();
    let (file, next) = (folder.path().join("state"), folder.path().join("next"));
    let state = Arc::new(absorb(fresh("t"), observation(vec![unconnected(Fault::Refused)])));
    save(&file, &[state], &[], noon()).unwrap();
    let states = States::default();
    states.restore(load(&file, &settings(), noon()).unwrap());
    save(&next, &states.snapshot(), &states.absent(), noon() + DAY * 20).unwrap();
    assert!(restored(&next, "t", noon() + DAY * 29).is_some());
    assert!(restored(&next, "t", noon() + DAY * 31).is_none(), "it was last configured 31 days ago");
}

#[test]
fn a_file_that_cannot_be_read_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let aside = folder.path().join("state.unreadable");
    let state = Arc::new(absorb(fresh("t"), observation(vec![unconnected(Fault::Refused)])));
    save(&file, &[Arc::clone(&state), state], &[], noon()).unwrap();
    let good = fs::read(&file).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    let last_line = text.trim_end().rfind('\n').unwrap();
    let rows: [(&str, Vec<u8>); 7] = [
        ("empty", Vec::new()),
        ("noise", vec![0xff, 0x00, 0x80, b'\n']),
        ("another version", text.replacen("\"version\":1", "\"version\":2", 1).into()),
        ("another format", text.replacen("rdp_exporter", "other", 1).into()),
        ("cut in a line", good[..good.len() - 20].to_vec()),
        ("cut after a line", good[..=last_line].to_vec()),
        ("a wrong type", text.replacen("\"tally\":{", "\"tally\":[{", 1).into()),
    ];
    for (name, bytes) in rows {
        fs::write(&file, &bytes).unwrap();
        assert!(load(&file, &settings(), noon()).unwrap().is_empty(), "{name}");
        assert!(!file.exists(), "{name}: it was left in its place");
        assert_eq!(fs::read(&aside).unwrap(), bytes, "{name}: what was in it is not lost");
    }
    assert!(load(&file, &settings(), noon()).unwrap().is_empty(), "a first start");
    fs::write(&file, &good).unwrap();
    assert_eq!(load(&file, &settings(), noon()).unwrap().len(), 2);
}

/// A clock that is wrong at the start must not end what was known: it is saved over ten seconds later.
#[test]
fn what_a_wrong_clock_leaves_out_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (file, aside) = (folder.path().join("state"), folder.path().join("state.unreadable"));
    let state = |name: &str| Arc::new(absorb(fresh(name), observation(vec![unconnected(Fault::Refused)])));
    let absent = Absent { state: state("old"), known: noon() - DAY * 20 };
    save(&file, &[state("new")], &[absent], noon()).unwrap();
    let saved = fs::read(&file).unwrap();
    for (now, kept) in [(noon(), 2), (noon() + DAY * 29, 1), (noon() - DAY / 2, 2)] {
        assert_eq!(load(&file, &settings(), now).unwrap().len(), kept);
        assert!(file.exists() && !aside.exists(), "ordinary ageing");
    }
    for (now, kept) in [(noon() + DAY * 31, 0), (noon() - DAY * 2, 1), (SystemTime::UNIX_EPOCH, 0)] {
        assert_eq!(load(&file, &settings(), now).unwrap().len(), kept);
        assert_eq!(fs::read(&aside).unwrap(), saved, "the next save would be its end");
        assert!(file.exists(), "a crash before the next save takes nothing");
        save(&file, &[], &[Absent { state: state("poor"), known: noon() - DAY * 400 }], now).unwrap();
        assert!(load(&file, &settings(), now).unwrap().is_empty());
        assert_eq!(fs::read(&aside).unwrap(), saved, "there is more in it");
        fs::rename(&aside, &file).unwrap();
    }
    let memories = every_memory().into_iter().filter(|memory| memory.certificates.last.is_some());
    let memory = memories.last().unwrap();
    let observed = memory.certificates.last.as_ref().unwrap().observed;
    save(&file, &[Arc::new(TargetState { memory, ..fresh("t") })], &[], observed - DAY * 2).unwrap();
    assert_eq!(load(&file, &settings(), observed - DAY * 2).unwrap().len(), 1);
    assert!(aside.exists(), "a fact of it is left out");
    fs::remove_file(&aside).unwrap();
    save(&file, &[], &[], noon()).unwrap();
    assert!(load(&file, &settings(), noon()).unwrap().is_empty() && file.exists(), "nothing to lose");
}

#[test]
fn a_restarted_exporter_shows_what_the_last_one_knew() {
    let endpoint = Endpoint::start(vec![speaking(Protocols::HYBRID_EX, tls13())]);
    let address: SocketAddr = endpoint.address;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let root = folder.path().join("root.pem");
    fs::write(&root, rcgen::generate_simple_self_signed(vec!["root".to_owned()]).unwrap().cert.pem()).unwrap();
    let config = |roots: &[&Path]| {
        format!(
            "exporter: {{ state_file: {file:?} }}\nprobe: {{ interval: 1h, survey_interval: 0s, challenge_interval: 0s }}\n\
             trust: {{ system_roots: false, ca_files: {roots:?} }}\ntargets: [{{ address: '{address}', name: t }}]\n"
        )
    };
    let exporter = Exporter::start(Some(&config(&[&root])));
    exporter.wait_for("the probe", |exporter| exporter.metric("rdp_up{target=\"t\"").is_some());
    assert_eq!(exporter.metric("rdp_certificate_trusted"), Some(0.0));
    let expiry = exporter.metric("rdp_certificate_not_after_timestamp_seconds").unwrap();
    exporter.end();
    endpoint.finish();
    let exporter = Exporter::start(Some(&config(&[])));
    assert_eq!(exporter.metric("rdp_certificate_not_after_timestamp_seconds"), Some(expiry), "at once");
    assert_eq!(exporter.metric("rdp_certificate_trusted"), None, "no roots are loaded now");
    exporter.wait_for("the next probe", |exporter| exporter.metric("rdp_up{target=\"t\"") == Some(0.0));
    assert_eq!(exporter.metric("rdp_probes_total{target=\"t\",verdict=\"healthy\""), Some(1.0));
    assert_eq!(exporter.metric("rdp_probes_total{target=\"t\",verdict=\"connect_refused\""), Some(1.0));
    assert_eq!(exporter.metric("rdp_certificate_not_after_timestamp_seconds"), Some(expiry));
    exporter.end();
}

/// What is named by mistake is not lost, and two exporters do not overwrite each other's.
#[test]
fn what_is_no_state_file_of_ours_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (config, inside) = (folder.path().join("config.yaml"), folder.path().join("folder"));
    fs::create_dir(&inside).unwrap();
    fs::write(&config, "targets: []\n").unwrap();
    for (file, reason) in [(&inside, "no ordinary file"), (&config, "the configuration itself")] {
        let refused = StateFile::claim(file, Some(&config)).unwrap_err().to_string();
        assert!(refused.contains(reason) && refused.contains(&file.display().to_string()), "{refused}");
    }
    assert!(inside.is_dir() && fs::read_to_string(&config).unwrap() == "targets: []\n", "both are as they were");
    let file = folder.path().join("state");
    let claimed = StateFile::claim(&file, Some(&config)).unwrap();
    let refused = StateFile::claim(&file, Some(&config)).unwrap_err().to_string();
    assert!(refused.contains("another exporter"), "{refused}");
    drop(claimed);
    StateFile::claim(&file, Some(&config)).unwrap();
    let nowhere = folder.path().join("not-there/state");
    assert!(StateFile::claim(&nowhere, None).unwrap().save(&[], &[], noon()).is_err(), "it starts, and says so");
}

/// In the same words as the start, at the key, and without a trace in the folder.
#[test]
fn check_config_refuses_the_state_file_that_the_start_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    let said = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_rdp_exporter")).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (state_file, reason) in [(".", "no ordinary file"), ("config.yaml", "the configuration itself")] {
        fs::write(&config, format!("exporter:\n  state_file: {state_file}\n")).unwrap();
        let place = format!("{}:2:3: exporter.state_file: ", config.display());
        let file = format!("--config.file={}", config.display());
        for arguments in [&["check-config", config.to_str().unwrap()][..], &[&file, "--web.listen-address=127.0.0.1:0"]]
        {
            let (code, said) = said(arguments);
            assert!(code == Some(1) && said.contains(&place) && said.contains(reason), "{said}");
        }
    }
    fs::write(&config, "exporter: { state_file: state }\n").unwrap();
    assert_eq!(said(&["check-config", config.to_str().unwrap()]), (Some(0), String::new()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is made");
}

/// Fifty kills at moments that nobody chose, while it probes: every start works, and what was saved is there at once.
#[test]
fn an_exporter_that_is_killed_starts_again_with_what_was_saved() {
    let endpoint = Endpoint::start(vec![speaking(Protocols::HYBRID_EX, tls13())]);
    let folder = tempfile::tempdir().unwrap();
    let closed: Vec<_> = (1..=200).map(|number| format!("{{ address: '127.0.0.1:1', name: c{number} }}")).collect();
    let config = format!(
        "exporter: {{ state_file: {:?} }}\nprobe: {{ interval: 2s, timeout: 1s, survey_interval: 0s, challenge_interval: 0s }}\n\
         targets: [{{ address: '{}', name: t, interval: 1h }}, {}]\n",
        folder.path().join("state").display().to_string(),
        endpoint.address,
        closed.join(", "),
    );
    let exporter = Exporter::start(Some(&config));
    exporter.wait_for("the probe", |exporter| exporter.metric("rdp_up{target=\"t\"").is_some());
    let expiry = exporter.metric("rdp_certificate_not_after_timestamp_seconds").unwrap();
    exporter.end();
    endpoint.finish();
    let mut seed = 0x5851_f42d_u64;
    for round in 0..50 {
        let exporter = Exporter::start(Some(&config));
        let known = exporter.metric("rdp_certificate_not_after_timestamp_seconds");
        assert_eq!(known, Some(expiry), "round {round}");
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_millis((seed >> 33) % 300));
        // Dropped, it is killed.
    }
}

/// Fifty kills at moments that nobody chose, each while the file is being replaced over and over.
#[test]
fn a_kill_leaves_the_old_file_or_the_new_one() {
    // What is killed is this test again, told so.
    if let Some(file) = env::var_os(SAVE_FOR_EVER) {
        let states = many();
        loop {
            save(Path::new(&file), &states, &[], noon()).unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    save(&file, &many(), &[], noon()).unwrap();
    let mut seed = 0x9e37_79b9_u64;
    for round in 0..50 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "state_file::a_kill_leaves_the_old_file_or_the_new_one"])
            .env(SAVE_FOR_EVER, &file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let beside = folder.path().join("state.new");
        let deadline = Instant::now() + Duration::from_secs(20);
        while !beside.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_micros((seed >> 33) % 30_000));
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "it saved until it was killed");
        assert_eq!(load(&file, &settings(), noon()).unwrap().len(), MANY, "round {round}");
        let _ = fs::remove_file(&beside);
    }
}

/// Names of hosts and what they let in are nobody else's business, whatever the umask says.
#[cfg(unix)]
#[test]
fn nobody_else_may_read_what_is_saved() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let claimed = StateFile::claim(&file, None).unwrap();
    claimed.save(&many(), &[], noon()).unwrap();
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), 2, "the file and its lock: {files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

fn many() -> Vec<Arc<TargetState>> {
    let memories = every_memory();
    let memory = |number: usize| memories[number % memories.len()].clone();
    (0..MANY).map(|number| Arc::new(TargetState { memory: memory(number), ..fresh(&number.to_string()) })).collect()
}

const MANY: usize = 300;
const SAVE_FOR_EVER: &str = "SAVE_FOR_EVER";
