//! What stands before every route: the rate limit, the password, the route prefix; and the headers of the web configuration.

use std::{net::IpAddr, sync::Arc};

use hyper::{
    Request, Response, StatusCode, Uri, Version,
    body::Incoming,
    header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE},
    http::uri::PathAndQuery,
};

use super::{
    answers::{Body, text},
    app::App,
    routes,
};
use crate::access::Admission;

/// Where a request comes from, among its extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

pub(super) async fn answer(app: &Arc<App>, mut request: Request<Incoming>, peer: IpAddr) -> Response<Body> {
    let policy = app.access.policy().await;
    if !names_one_host(&request) {
        return text(StatusCode::BAD_REQUEST, "a request has one Host header\n");
    }
    if !app.access.has_room(&policy) {
        return too_many("rate_limit lets no more requests be answered now\n");
    }
    let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let mut response = match app.access.admit(&policy, authorization, peer).await {
        Admission::Granted => {
            request.extensions_mut().insert(Peer(peer));
            inside(app, request).await
        }
        Admission::Refused => unauthorized(),
        Admission::Busy => too_many("too many passwords are waiting to be checked\n"),
    };
    for (name, value) in &policy.settings.headers {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) else { continue };
        match value.is_empty() {
            true => response.headers_mut().remove(name),
            false => response.headers_mut().insert(name, value),
        };
    }
    response
}

/// Where there are two, whoever stands before us may have looked at the other one (RFC 9112, 3.2).
fn names_one_host(request: &Request<Incoming>) -> bool {
    let hosts = request.headers().get_all(HOST).iter().count();
    hosts == 1 || (hosts == 0 && request.version() != Version::HTTP_11)
}

/// Routes know nothing of the prefix, nor of what HTTP/2 does otherwise.
async fn inside(app: &Arc<App>, mut request: Request<Incoming>) -> Response<Body> {
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    match app.links.inside(request.uri().path()) {
        Some(path) => {
            if let Some(uri) = with_path(request.uri(), path) {
                *request.uri_mut() = uri;
            }
            routes::answer(app, &request).await
        }
        None if request.uri().path() == "/" => to_start(app),
        None => text(StatusCode::NOT_FOUND, "404 not found\n"),
    }
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let whole = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    Some(Uri::from(PathAndQuery::try_from(whole).ok()?))
}

fn to_start(app: &App) -> Response<Body> {
    let mut response = text(StatusCode::FOUND, "see the route prefix\n");
    if let Ok(start) = HeaderValue::try_from(app.links.to("/")) {
        response.headers_mut().insert(LOCATION, start);
    }
    response
}

fn unauthorized() -> Response<Body> {
    let mut response = text(StatusCode::UNAUTHORIZED, "401 unauthorized\n");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
    response
}

fn too_many(reason: &str) -> Response<Body> {
    let mut response = text(StatusCode::TOO_MANY_REQUESTS, reason);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
