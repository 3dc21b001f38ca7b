//! `probe TARGET…`: probes each target once and prints what it saw.

use std::{
    io::{IsTerminal, stdout},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::SystemTime,
};

use tokio::{runtime, task::JoinSet};

use super::{Output, ProbeArguments, WRONG_USE, complain, ink, load};
use crate::{
    certificate::trust::Roots,
    config::{Config, Discovery, adhoc_target, load_roots},
    descriptors,
    diagnosis::Verdict,
    discovery,
    laboratory::{Laboratory, Terms},
    logging::{self, LogFormat, LogLevel},
    metrics,
    probe::Companions,
    report::{self, Ink},
    state::{TargetState, Vitals},
    target::{Settings, Target},
    text::printable,
};

pub(super) fn run(arguments: &ProbeArguments) -> anyhow::Result<ExitCode> {
    logging::start(LogLevel::Warn, LogFormat::Logfmt)?;
    let (targets, roots) = match prepare(arguments) {
        Ok(prepared) => prepared,
        Err(error) => {
            complain(&format!("rdp_exporter: {error:#}"));
            return Ok(ExitCode::from(WRONG_USE));
        }
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let states = runtime.block_on(probe_all(targets, roots, !arguments.no_survey));
    runtime.shutdown_background();
    print(arguments.output, &states)?;
    Ok(exit_code(&states, arguments.strict))
}

fn prepare(arguments: &ProbeArguments) -> anyhow::Result<(Vec<Arc<Target>>, Roots)> {
    let mut config = load(arguments.config_file.as_ref())?;
    let is_configured = |text: &String| config.target(text).is_some();
    if config.discovery != Discovery::default() && !arguments.targets.iter().all(is_configured) {
        config = discovery::find_all(&config);
    }
    let roots = load_roots(&config.trust, arguments.config_file.as_deref().unwrap_or(Path::new("")))?;
    let targets = arguments.targets.iter().map(|text| target(&config, text, arguments));
    Ok((targets.collect::<Result<_, _>>()?, roots))
}

fn target(config: &Config, text: &str, arguments: &ProbeArguments) -> anyhow::Result<Arc<Target>> {
    let module = &arguments.module;
    let settings = config.module(module).ok_or_else(|| anyhow::anyhow!("unknown module {module:?}"))?;
    let target = match config.target(text) {
        Some(target) => Target::clone(target),
        None => {
            let address = text.parse().map_err(|error| anyhow::anyhow!("target {text:?}: {error}"))?;
            adhoc_target(address, Arc::clone(settings))
        }
    };
    let timeout = arguments.timeout.unwrap_or(target.settings.timeout);
    let settings = Settings { timeout, ..Settings::clone(&target.settings) };
    Ok(Arc::new(Target { settings: Arc::new(settings), ..target }))
}

/// Probes all targets, some at a time; gives their states in the order of the command line.
async fn probe_all(targets: Vec<Arc<Target>>, roots: Roots, survey: bool) -> Vec<Arc<TargetState>> {
    let laboratory = Arc::new(Laboratory::new(Arc::new(roots), Vitals::new(wall_clock())));
    let mut seen = std::collections::BTreeSet::new();
    let targets: Vec<_> = targets.into_iter().filter(|target| seen.insert(target.name.clone())).collect();
    laboratory.states.replace(&targets);
    let mut waiting = targets.iter().map(|target| target.name.clone());
    let mut running = JoinSet::new();
    for name in waiting.by_ref().take(descriptors::room_for_probes().min(AT_ONCE)) {
        running.spawn(probe(Arc::clone(&laboratory), name, survey));
    }
    while running.join_next().await.is_some() {
        if let Some(name) = waiting.next() {
            running.spawn(probe(Arc::clone(&laboratory), name, survey));
        }
    }
    targets.iter().filter_map(|target| laboratory.states.find(&target.name).map(|(state, _)| state)).collect()
}

async fn probe(laboratory: Arc<Laboratory>, name: String, survey: bool) {
    let states = &laboratory.states;
    let Some(examined) = laboratory.examine(states, &name, AT_ONCE_TERMS).await else { return };
    states.absorb(&examined.target, examined.report.clone(), examined.memory.clone());
    let (target, seen) = (Arc::clone(&examined.target), examined.report.observation.clone());
    // The right to connect goes back before the survey asks for it.
    drop(examined);
    if survey {
        laboratory.survey_all(states, &target, &seen, &AT_ONCE_TERMS).await;
    }
}

fn print(output: Output, states: &[Arc<TargetState>]) -> std::io::Result<()> {
    let now = wall_clock();
    let text = match output {
        Output::Text => for_a_person(states, now, ink()),
        Output::Json => {
            let states: Vec<_> = states.iter().map(AsRef::as_ref).collect();
            report::json(&states, now) + "\n"
        }
        Output::Metrics => exposition(states, now)?,
    };
    super::print(&text)
}

/// A block per target; of several, a summary at the end, where the prompt will be.
fn for_a_person(states: &[Arc<TargetState>], now: SystemTime, ink: Ink) -> String {
    let mut blocks: Vec<_> = states.iter().map(|state| report::text_in(state, now, ink)).collect();
    if states.len() > 1 {
        let states: Vec<_> = states.iter().map(AsRef::as_ref).collect();
        blocks.push(report::summary(&states, ink));
    }
    blocks.join("\n")
}

fn exposition(states: &[Arc<TargetState>], now: SystemTime) -> std::io::Result<String> {
    let mut out = Vec::new();
    metrics::write_probes(states, now, &mut out)?;
    let text = String::from_utf8_lossy(&out).into_owned();
    // The format leaves a stranger's control characters as they are, which is right for a program only.
    match stdout().is_terminal() {
        true => Ok(text.lines().map(|line| printable(line) + "\n").collect()),
        false => Ok(text),
    }
}

fn exit_code(states: &[Arc<TargetState>], strict: bool) -> ExitCode {
    let reports = || states.iter().filter_map(|state| state.last.as_ref());
    if reports().count() < states.len() || reports().any(|report| report.diagnosis.verdict != Verdict::Healthy) {
        return ExitCode::from(NOT_HEALTHY);
    }
    match strict && reports().any(|report| !report.diagnosis.findings.is_empty()) {
        true => ExitCode::from(WITH_FINDINGS),
        false => ExitCode::SUCCESS,
    }
}

#[expect(clippy::disallowed_methods, reason = "what is printed counts days from now")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// A person does not wait for a second probe to learn whether a silent host lives.
const AT_ONCE_TERMS: Terms = Terms { companions: Companions::AtOnce, ..Terms::ORDINARY };
const NOT_HEALTHY: u8 = 1;
const WITH_FINDINGS: u8 = 3;
/// Targets probed at once.
const AT_ONCE: usize = 64;
