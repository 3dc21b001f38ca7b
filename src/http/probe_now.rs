//! `POST /targets/NAME/probe`: the button "probe now". For people on our own page, and for programs that are no browser.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper::{
    Response, StatusCode,
    header::{HOST, HeaderMap, HeaderValue, LOCATION, ORIGIN},
};
use tokio::time::Instant;

use super::{
    answers::{Body, come_again, text},
    app::App,
    pages::{find, notice, unknown},
};
use crate::page;

/// When the button was last pressed, of each target that it was pressed for just now.
#[derive(Debug, Default)]
pub(super) struct Presses(Mutex<HashMap<String, Instant>>);

impl Presses {
    /// Whether a probe may be made. Only known targets are asked for, so there are no more than those.
    fn admit(&self, name: &str, now: Instant) -> bool {
        let mut pressed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pressed.retain(|_, at| now.duration_since(*at) < PAUSE);
        let is_first = !pressed.contains_key(name);
        if is_first {
            pressed.insert(name.to_owned(), now);
        }
        is_first
    }
}

/// The part of a path that names the target whose button it is.
pub(super) fn segment(path: &str) -> Option<&str> {
    path.strip_prefix("/targets/")?.strip_suffix("/probe")
}

pub(super) async fn answer(app: &Arc<App>, headers: &HeaderMap, segment: &str) -> Response<Body> {
    if !is_same_origin(headers) {
        let reason = "Another site asked for this probe. Open the target's page here and press the button there.";
        return notice(app, StatusCode::FORBIDDEN, "Not from there", reason);
    }
    let Some(state) = find(app, segment) else { return unknown(app, segment) };
    let laboratory = Arc::clone(&app.service.laboratory);
    let name = state.target.name.clone();
    let back = app.links.to(&page::target_path(&name));
    let place = match app.demand.admit(&name) {
        Ok(place) => place,
        Err(reason) => {
            let reason = format!("{reason}. Try again in a moment.");
            return come_again(notice(app, StatusCode::SERVICE_UNAVAILABLE, "Too many probes", &reason));
        }
    };
    let now = Instant::now();
    let is_first = app.presses.admit(&name, now);
    // The wait for the target's turn, and the probe.
    let deadline = now + state.target.settings.timeout * 2;
    let service = Arc::clone(&app.service);
    let probe = app.service.probes.spawn(async move {
        // A client that hangs up does not end a probe, so the place is the probe's.
        let _place = place;
        let probed = match is_first {
            true => laboratory.probe_or_join(&name, deadline).await?,
            false => laboratory.join(&name, deadline).await?,
        };
        if probed.changed_from.is_some() {
            service.confirm(&probed.state.target);
        }
        Some(())
    });
    match probe.await {
        Ok(Some(())) => see(&back),
        Ok(None) | Err(_) => {
            let reason = "The target's turn did not come in time, or it is gone. Its page shows what is known.";
            notice(app, StatusCode::SERVICE_UNAVAILABLE, "Not probed", reason)
        }
    }
}

/// Whether a request may come from our own page or from no page at all. Browsers say where a request comes from: with
/// `Sec-Fetch-Site` where they trust our address, else with `Origin`.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter().peekable();
    if sites.peek().is_some() {
        return sites.all(|site| site == "same-origin");
    }
    let host = headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    headers.get_all(ORIGIN).iter().all(|origin| {
        let origin = origin.as_bytes();
        let authority = [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| origin.strip_prefix(scheme));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    })
}

fn see(path: &str) -> Response<Body> {
    let mut response = text(StatusCode::SEE_OTHER, format!("see {path}\n"));
    // It is percent-encoded, so it can always stand in a header.
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}

/// Between two probes of one target by the button.
const PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_page_and_no_page_may_ask() {
        for (headers, allowed) in [
            (&[("host", "exporter:19389")][..], true),
            (&[("host", "exporter:19389"), ("origin", "http://exporter:19389")], true),
            (&[("host", "Exporter:19389"), ("origin", "https://exporter:19389")], true),
            (&[("host", "exporter:19389"), ("origin", "http://exporter")], false),
            (&[("host", "exporter:19389"), ("origin", "http://exporter:19389.evil.example")], false),
            (&[("host", "exporter:19389"), ("origin", "http://evil.example")], false),
            (&[("host", "exporter:19389"), ("origin", "null")], false),
            (&[("host", "exporter:19389"), ("origin", "")], false),
            (&[("host", "exporter:19389"), ("origin", "ftp://exporter:19389")], false),
            (&[("host", "a"), ("origin", "http://a"), ("origin", "http://b")], false),
            (&[("origin", "http://exporter")], false),
            (&[("host", "a"), ("sec-fetch-site", "same-origin")], true),
            (&[("host", "a"), ("sec-fetch-site", "same-origin"), ("origin", "null")], true),
            (&[("host", "a"), ("sec-fetch-site", "same-site"), ("origin", "http://a")], false),
            (&[("host", "a"), ("sec-fetch-site", "cross-site")], false),
            (&[("host", "a"), ("sec-fetch-site", "none")], false),
            (&[("host", "a"), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(is_same_origin(&map), allowed, "{headers:?}");
        }
    }

    #[test]
    fn a_target_is_probed_once_in_ten_seconds_and_no_press_is_kept_longer() {
        let (presses, begin) = (Presses::default(), Instant::now());
        let at = |seconds| begin + Duration::from_millis(seconds);
        assert!(presses.admit("a", at(0)));
        assert!(!presses.admit("a", at(9_999)));
        assert!(presses.admit("b", at(9_999)));
        assert!(presses.admit("a", at(10_000)));
        assert!(presses.admit("c", at(30_000)));
        assert_eq!(presses.0.lock().unwrap().len(), 1);
    }
}
