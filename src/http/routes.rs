//! Which path is answered by what.

use std::sync::Arc;

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};

use super::{
    answers::{Body, text},
    app::App,
    probe_endpoint,
};

pub(super) async fn answer(app: &Arc<App>, request: &Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    let method = request.method();
    let mut response = if path == "/-/reload" {
        match *method {
            Method::POST | Method::PUT => reload(app).await,
            _ => not_allowed("POST, PUT"),
        }
    } else if *method != Method::GET && *method != Method::HEAD {
        not_allowed("GET, HEAD")
    } else {
        match path {
            _ if path == app.telemetry_path => app.exposition.answer(&app.service, accepts_gzip(request.headers())),
            "/" => page(app, app.service.laboratory.states.snapshot().len()),
            "/probe" => probe_endpoint::answer(app, request).await,
            "/config" => text(StatusCode::OK, app.service.config().to_yaml()),
            "/-/healthy" => text(StatusCode::OK, "rdp_exporter is healthy.\n"),
            // Serving begins only after the configuration is loaded.
            "/-/ready" if app.service.is_probing() => text(StatusCode::OK, "rdp_exporter is ready.\n"),
            "/-/ready" => text(StatusCode::SERVICE_UNAVAILABLE, "rdp_exporter does not probe any more.\n"),
            _ => text(StatusCode::NOT_FOUND, "404 not found\n"),
        }
    };
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn reload(app: &Arc<App>) -> Response<Body> {
    let service = Arc::clone(&app.service);
    match tokio::task::spawn_blocking(move || service.reload()).await {
        Ok(Ok(())) => text(StatusCode::OK, "reloaded\n"),
        Ok(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn page(app: &App, targets: usize) -> Response<Body> {
    // The paths were checked when the command line was read: they need no escaping.
    let [metrics, config, healthy] = [&app.telemetry_path, "/config", "/-/healthy"].map(|route| app.links.to(route));
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>rdp_exporter</title></head>\
         <body><h1>rdp_exporter</h1><p>Probes {targets} RDP targets.</p><ul>\
         <li><a href=\"{metrics}\">metrics</a></li><li><a href=\"{config}\">configuration</a></li>\
         <li><a href=\"{healthy}\">health</a></li></ul></body></html>\n"
    );
    let mut response = text(StatusCode::OK, html);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
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
    (hyper::header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (hyper::header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (hyper::header::REFERRER_POLICY, "no-referrer"),
];
