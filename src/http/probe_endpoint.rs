//! `/probe`: probes what it is asked for now, where it may.
//!
//! Anyone who can reach it could make the exporter connect anywhere, so it is fenced; the fence is checked against the
//! address that is connected to.

use std::{sync::Arc, time::Duration};

use hyper::{Request, Response, StatusCode, body::Incoming};

use tokio::time::Instant;

use super::{
    answers::{Body, busy, text, wall_clock},
    app::App,
    demand::Demanded,
};
use crate::{
    config::{Config, ProbeEndpoint, adhoc_target},
    examine::{Report, judge_again},
    laboratory::{Examined, Terms},
    metrics,
    observation::Fault,
    probe::Companions,
    state::TargetState,
    target::{Address, Host, Reach, Target},
};

/// What is to be probed.
#[derive(Debug)]
pub enum Subject {
    /// A configured target, by its name.
    Configured(String),
    /// A configured target that another shard probes on schedule.
    OfAnotherShard(Arc<Target>),
    /// Anything else that is allowed.
    PasserBy(Arc<Target>, Reach),
}

impl Subject {
    fn name(&self) -> &str {
        match self {
            Self::Configured(name) => name,
            Self::OfAnotherShard(target) | Self::PasserBy(target, _) => &target.name,
        }
    }
}

pub(super) async fn answer(app: &Arc<App>, request: &Request<Incoming>) -> Response<Body> {
    let query = match Query::read(request.uri().query().unwrap_or_default()) {
        Ok(query) => query,
        Err(reason) => return text(StatusCode::BAD_REQUEST, reason),
    };
    let config = app.service.config();
    let subject = match subject(&config, &query) {
        Ok(subject) => subject,
        Err((status, reason)) => return text(status, format!("{reason}\n")),
    };
    let place = match app.demand.admit(subject.name()) {
        Ok(place) => place,
        Err(reason) => return busy(&format!("{reason}\n")),
    };
    let is_configured = !matches!(subject, Subject::PasserBy(..));
    let deadline = deadline(request, &config, &subject, query.survey);
    let Some((state, report)) = probe(app, subject, (deadline, query.survey), place).await else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the target's turn did not come in time, or it is gone\n");
    };
    if let Some(Fault::Forbidden(ip)) = report.observation.stop().map(|stop| &stop.fault) {
        return text(StatusCode::FORBIDDEN, format!("probe_endpoint does not allow {ip}\n"));
    }
    let now = wall_clock();
    let mut out = Vec::new();
    if query.debug {
        out.extend_from_slice(crate::report::text(&state, now).as_bytes());
        out.push(b'\n');
    }
    if let Err(error) = metrics::write_probe(&state, is_configured, now, &mut out) {
        return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"));
    }
    let mut response = text(StatusCode::OK, String::from_utf8_lossy(&out));
    if !query.debug {
        let exposition = hyper::header::HeaderValue::from_static(prometheus::TEXT_FORMAT);
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, exposition);
    }
    response
}

/// Probes on the runtime of probes; what was learnt is remembered, counters are left alone.
async fn probe(
    app: &App,
    subject: Subject,
    (deadline, survey): (Instant, bool),
    place: Demanded,
) -> Option<(Arc<TargetState>, Report)> {
    let laboratory = Arc::clone(&app.service.laboratory);
    let task = async move {
        // A client that hangs up does not end a probe, so the place is the probe's.
        let _place = place;
        let ordinary = Terms { deadline: Some(deadline), companions: Companions::WhenDueInTime, ..Terms::ORDINARY };
        let (states, name, terms) = match subject {
            Subject::Configured(name) => (&laboratory.states, name, ordinary),
            Subject::OfAnotherShard(target) => {
                laboratory.passers_by.admit(&target, MAX_PASSERS_BY);
                (&laboratory.passers_by, target.name.clone(), Terms { target: Some(target), ..ordinary })
            }
            Subject::PasserBy(target, reach) => {
                laboratory.passers_by.admit(&target, MAX_PASSERS_BY);
                // The port was allowed, no other.
                let fenced = Terms { reach, companions: Companions::Never, ..ordinary };
                (&laboratory.passers_by, target.name.clone(), Terms { target: Some(target), ..fenced })
            }
        };
        let Examined { target, report, memory, turn } = laboratory.examine(states, &name, terms.clone()).await?;
        laboratory.remember(states, &target, memory);
        drop(turn);
        if survey && report.observation.is_confirmed() {
            laboratory.survey_all(states, &target, &report.observation, &terms).await;
        }
        // Its name may be another endpoint's by now, of which nothing was seen.
        let (known, _) = states.find(&name)?;
        let known = known.target.is_same_endpoint(&target).then_some(known)?;
        let state = TargetState { target, ..TargetState::clone(&known) };
        let report = judge_again(report, &state.target, &state.memory);
        let memory = state.memory.clone();
        Some((Arc::new(state.absorb(report.clone(), memory)), report))
    };
    app.service.probes.spawn(task).await.ok()?
}

struct Query {
    target: Option<String>,
    module: Option<String>,
    debug: bool,
    survey: bool,
}

impl Query {
    /// Whoever checks a request on its way here must not see another target or module than we do, so each is given once.
    fn read(query: &str) -> Result<Self, &'static str> {
        let mut read = Self { target: None, module: None, debug: false, survey: false };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "target" if read.target.is_none() => read.target = Some(value.into_owned()),
                "module" if read.module.is_none() => read.module = Some(value.into_owned()),
                "target" | "module" => return Err("target and module may be given only once\n"),
                "debug" => read.debug = value == "true",
                "survey" => read.survey = value == "true",
                _ => {}
            }
        }
        Ok(read)
    }
}

/// What a query to `/probe` leads to under `config`.
///
/// # Errors
/// What is no target, or is not allowed: the answer's status, and why.
pub fn fence(config: &Config, query: &str) -> Result<Subject, (StatusCode, String)> {
    let query = Query::read(query).map_err(|reason| (StatusCode::BAD_REQUEST, reason.trim_end().to_owned()))?;
    subject(config, &query)
}

fn subject(config: &Config, query: &Query) -> Result<Subject, (StatusCode, String)> {
    let bad = |reason: String| (StatusCode::BAD_REQUEST, reason);
    let asked = query.target.as_deref().filter(|target| !target.is_empty());
    let asked = asked.ok_or_else(|| bad("the parameter target is missing".into()))?;
    let module = query.module.as_deref().unwrap_or("default");
    let settings = config.module(module).ok_or_else(|| bad(format!("unknown module {module:?}")))?;
    if let Some(target) = config.target(asked) {
        return Ok(match config.sharding.includes(&target.address) {
            true => Subject::Configured(target.name.clone()),
            false => Subject::OfAnotherShard(Arc::clone(target)),
        });
    }
    let address: Address = asked.parse().map_err(|error| bad(format!("target {asked:?}: {error}")))?;
    let reach = allowed_reach(&config.probe_endpoint, &address).ok_or_else(|| {
        let reason = format!("{address} is not a configured target, and probe_endpoint does not allow it");
        (StatusCode::FORBIDDEN, reason)
    })?;
    Ok(Subject::PasserBy(Arc::new(adhoc_target(address, Arc::clone(settings))), reach))
}

/// Where a probe of `address` may connect to; `None` where it may not be made at all.
fn allowed_reach(endpoint: &ProbeEndpoint, address: &Address) -> Option<Reach> {
    match endpoint {
        ProbeEndpoint::ConfiguredTargets => None,
        ProbeEndpoint::AnyOnDefaultPort => (address.port == Address::DEFAULT_PORT).then_some(Reach::NoSpecial),
        ProbeEndpoint::Allowed { ports, .. } if !ports.contains(&address.port) => None,
        // The addresses of a name must lie in a listed network, if any is listed.
        ProbeEndpoint::Allowed { networks, .. } if !networks.is_empty() => Some(Reach::Networks(networks.clone())),
        ProbeEndpoint::Allowed { names, .. } => match &address.host {
            Host::Ip(_) => None,
            Host::Name(name) => names.iter().any(|pattern| pattern.matches(name)).then_some(Reach::NoSpecial),
        },
    }
}

/// When the answer must be there: what Prometheus leaves us, else a timeout for the turn and one for the probe, and four
/// for a survey.
fn deadline(request: &Request<Incoming>, config: &Config, subject: &Subject, survey: bool) -> Instant {
    let timeout = match subject {
        Subject::Configured(name) => config.targets.iter().find(|target| target.name == *name),
        Subject::OfAnotherShard(target) | Subject::PasserBy(target, _) => Some(target),
    }
    .map_or(config.defaults.timeout, |target| target.settings.timeout);
    let own = timeout * if survey { 6 } else { 2 };
    Instant::now() + scrape_timeout(request).unwrap_or(own)
}

/// What Prometheus leaves us, less a little for the way back.
fn scrape_timeout(request: &Request<Incoming>) -> Option<Duration> {
    let seconds: f64 = request.headers().get("x-prometheus-scrape-timeout-seconds")?.to_str().ok()?.parse().ok()?;
    let timeout = Duration::try_from_secs_f64(seconds).ok()?;
    Some(timeout.saturating_sub(TIMEOUT_OFFSET).clamp(LEAST_TIMEOUT, MOST_TIMEOUT))
}

/// Targets outside the configuration that are remembered.
const MAX_PASSERS_BY: usize = 1024;
const TIMEOUT_OFFSET: Duration = Duration::from_millis(500);
const LEAST_TIMEOUT: Duration = Duration::from_millis(100);
/// The clock cannot go as far as a header can say.
const MOST_TIMEOUT: Duration = Duration::from_secs(60 * 60);
