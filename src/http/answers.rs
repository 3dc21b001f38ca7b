//! What every answer is made of.

use std::{io, time::SystemTime};

use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};

pub(super) type Body = BoxBody<Bytes, io::Error>;

/// A short answer in plain text.
pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    shared_text(status, Bytes::from(text.into()))
}

/// The same, of which others may have the same copy.
pub(super) fn shared_text(status: StatusCode, text: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(text).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The answer where there is no room just now.
pub(super) fn busy(reason: &str) -> Response<Body> {
    come_again(text(StatusCode::SERVICE_UNAVAILABLE, reason))
}

/// The same answer, which says that a moment later there may be another one.
pub(super) fn come_again(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[expect(clippy::disallowed_methods, reason = "an answer counts days from the moment it is given")]
pub(super) fn wall_clock() -> SystemTime {
    SystemTime::now()
}
