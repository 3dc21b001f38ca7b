//! The status page and the API: which page, and on which thread it is made.

use std::{net::IpAddr, sync::Arc};

use hyper::{
    Response, StatusCode, Uri,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use percent_encoding::percent_decode_str;

use super::{
    answers::{Body, text, wall_clock},
    app::App,
};
use crate::{
    page::{self, ChangeQuery, Query, View},
    report,
    state::TargetState,
};

/// What is asked for.
enum Asked {
    Overview(Query),
    /// By the segment of a path that names it.
    Target(String),
    Changes(ChangeQuery),
    ApiTargets(Query),
    ApiTarget(String),
}

pub(super) async fn answer(app: &Arc<App>, uri: &Uri, reader: IpAddr) -> Response<Body> {
    let query = uri.query().unwrap_or_default();
    let asked = match uri.path() {
        page::STYLE_PATH => return asset("text/css; charset=utf-8", page::STYLE),
        page::ICON_PATH => return asset("image/svg+xml", page::ICON),
        "/" => Asked::Overview(Query::parse(query)),
        "/changes" => Asked::Changes(ChangeQuery::parse(query)),
        "/api/v1/targets" => Asked::ApiTargets(Query::parse(query)),
        path => match (path.strip_prefix("/targets/"), path.strip_prefix("/api/v1/targets/")) {
            (Some(segment), _) => Asked::Target(segment.to_owned()),
            (None, Some(segment)) => Asked::ApiTarget(segment.to_owned()),
            (None, None) => return text(StatusCode::NOT_FOUND, "404 not found\n"),
        },
    };
    app.page_readers.answer(reader, make(app, asked)).await
}

/// A page of a large estate takes milliseconds, in which nothing else would be answered.
async fn make(app: &Arc<App>, asked: Asked) -> Response<Body> {
    let place = Arc::clone(&app.page_places).acquire_owned().await.ok();
    let app = Arc::clone(app);
    let made = tokio::task::spawn_blocking(move || {
        let _place = place;
        asked.answer(&app)
    });
    made.await.unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made\n"))
}

impl Asked {
    fn answer(&self, app: &App) -> Response<Body> {
        let view = view(app);
        let states = &app.service.laboratory.states;
        match self {
            Self::Overview(query) => html(StatusCode::OK, page::overview(&states.snapshot(), query, view)),
            Self::Changes(query) => html(StatusCode::OK, page::changes(&states.snapshot(), query, view)),
            Self::Target(segment) => match find(app, segment) {
                Some(state) => html(StatusCode::OK, page::target(&state, view)),
                None => unknown(app, segment),
            },
            Self::ApiTargets(query) => {
                let states = states.snapshot();
                let selected = query.select(&states);
                let targets: Vec<&TargetState> = selected.items.iter().map(|state| &***state).collect();
                let counts = (selected.total, selected.page, selected.pages);
                json(StatusCode::OK, report::json_page(&targets, counts, view.now))
            }
            Self::ApiTarget(segment) => match find(app, segment) {
                Some(state) => json(StatusCode::OK, report::json_with_history(&state, view.now)),
                None => json(StatusCode::NOT_FOUND, "{ \"error\": \"no such target\" }".to_owned()),
            },
        }
    }
}

/// The target that a segment of a path names. Prometheus' templates write a space as `+`.
pub(super) fn find(app: &App, segment: &str) -> Option<Arc<TargetState>> {
    let states = &app.service.laboratory.states;
    let find = |segment: &str| Some(states.find(&target_name(segment)?)?.0);
    find(segment).or_else(|| find(&segment.replace('+', " ")))
}

/// The name in a segment of a path; `None` where it can be no target's.
fn target_name(segment: &str) -> Option<String> {
    let name = percent_decode_str(segment).decode_utf8().ok()?;
    (!segment.contains('/')).then(|| name.into_owned())
}

/// The page where there is no such target.
pub(super) fn unknown(app: &App, segment: &str) -> Response<Body> {
    html(StatusCode::NOT_FOUND, page::not_found(&target_name(segment).unwrap_or_default(), view(app)))
}

/// A page that says one thing.
pub(super) fn notice(app: &App, status: StatusCode, title: &str, text: &str) -> Response<Body> {
    html(status, page::notice(title, text, view(app)))
}

fn view(app: &App) -> View<'_> {
    View { now: wall_clock(), telemetry_path: &app.telemetry_path, prefix: app.links.prefix() }
}

fn html(status: StatusCode, page: String) -> Response<Body> {
    of_type("text/html; charset=utf-8", "no-cache", text(status, page))
}

fn json(status: StatusCode, json: String) -> Response<Body> {
    of_type("application/json", "no-cache", text(status, json + "\n"))
}

/// Something that never changes under its address, as that ends in its version.
fn asset(kind: &'static str, content: &'static str) -> Response<Body> {
    of_type(kind, "public, max-age=31536000, immutable", text(StatusCode::OK, content))
}

fn of_type(kind: &'static str, cached: &'static str, mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cached));
    response
}
