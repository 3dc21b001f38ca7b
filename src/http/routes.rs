//! Which path is answered by what.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT_ENCODING, ALLOW, HeaderMap, HeaderName, HeaderValue},
};

use super::{
    answers::{Body, shared_text, text},
    app::App,
    guard::Peer,
    pages, probe_endpoint, probe_now,
};

pub(super) async fn answer(app: &Arc<App>, request: &Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    let method = request.method();
    let allowed = methods(app, path);
    let mut response = match allowed.split(", ").any(|allowed| allowed == method.as_str()) {
        true => route(app, request, path).await,
        false => not_allowed(allowed),
    };
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The methods of a path.
fn methods(app: &App, path: &str) -> &'static str {
    match path {
        "/-/reload" => "POST, PUT",
        path if path != app.telemetry_path && probe_now::segment(path).is_some() => "POST",
        _ => "GET, HEAD",
    }
}

async fn route(app: &Arc<App>, request: &Request<Incoming>, path: &str) -> Response<Body> {
    match path {
        _ if path == app.telemetry_path => scrape(app, request),
        "/probe" => probe_endpoint::answer(app, request).await,
        "/config" => config(app).await,
        "/-/healthy" => text(StatusCode::OK, "rdp_exporter is healthy.\n"),
        // Serving begins only after the configuration is loaded.
        "/-/ready" if app.service.is_probing() => text(StatusCode::OK, "rdp_exporter is ready.\n"),
        "/-/ready" => text(StatusCode::SERVICE_UNAVAILABLE, "rdp_exporter does not probe any more.\n"),
        "/-/reload" => reload(app).await,
        path => match probe_now::segment(path) {
            Some(segment) => probe_now::answer(app, request.headers(), segment).await,
            None => pages::answer(app, request.uri(), client(request)).await,
        },
    }
}

fn scrape(app: &App, request: &Request<Incoming>) -> Response<Body> {
    app.service.laboratory.vitals.record_access(app.access.is_current());
    app.exposition.answer(&app.service, client(request), accepts_gzip(request.headers()))
}

fn client(request: &Request<Incoming>) -> IpAddr {
    request.extensions().get().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(client)| *client)
}

/// Of a large estate it takes a while to write, in which nothing else would be answered.
async fn config(app: &Arc<App>) -> Response<Body> {
    let place = Arc::clone(&app.page_places).acquire_owned().await;
    let app = Arc::clone(app);
    let written = tokio::task::spawn_blocking(move || {
        // A client that hangs up does not end the work, so the place is the work's.
        let _place = place;
        app.config_text.of(&app.service.config())
    });
    match written.await {
        Ok(yaml) => shared_text(StatusCode::OK, yaml),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

async fn reload(app: &Arc<App>) -> Response<Body> {
    let Ok(place) = Arc::clone(&app.reload_places).try_acquire_owned() else {
        let reason = "other reloads are under way here already; ask again once they have ended\n";
        return text(StatusCode::SERVICE_UNAVAILABLE, reason);
    };
    let service = Arc::clone(&app.service);
    let reloaded = tokio::task::spawn_blocking(move || {
        let _place = place;
        service.reload()
    });
    match reloaded.await {
        Ok(Ok(())) => text(StatusCode::OK, "reloaded\n"),
        Ok(Err(error)) => {
            let told = format!("{error}\nThe old configuration is still in force; mend that, then reload again.\n");
            text(StatusCode::INTERNAL_SERVER_ERROR, told)
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {allow}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// Whether `gzip` is among the accepted encodings, and not at quality zero.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = parts.any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, quality)| {
                name.trim().eq_ignore_ascii_case("q") && quality.trim().parse() == Ok(0.0_f32)
            })
        });
        is_gzip && !refused
    })
}

const SECURITY_HEADERS: [(HeaderName, &str); 3] = [
    (
        hyper::header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (hyper::header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not `no-referrer`: with that, browsers post forms with `Origin: null`, and the button needs the origin (Fetch, 3.2).
    (hyper::header::REFERRER_POLICY, "same-origin"),
];
