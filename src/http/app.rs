//! What the routes share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{
    config_text::ConfigText, demand::Demand, exposition::Exposition, links::Links, long_text::Readers,
    probe_now::Presses,
};
use crate::{access::Access, service::Service};

/// What the routes need.
#[derive(Debug)]
pub struct App {
    pub(super) service: Arc<Service>,
    pub(super) access: Arc<Access>,
    pub(super) links: Links,
    pub(super) telemetry_path: String,
    pub(super) exposition: Exposition,
    pub(super) config_text: ConfigText,
    pub(super) page_places: Arc<Semaphore>,
    pub(super) page_readers: Readers,
    pub(super) demand: Demand,
    pub(super) reload_places: Arc<Semaphore>,
    pub(super) presses: Presses,
}

/// Where things are, and how much of them there is.
#[derive(Debug, Clone)]
pub struct Web {
    /// The path of the metrics, below the route prefix.
    pub telemetry_path: String,
    /// The route prefix.
    pub links: Links,
    /// Scrapes answered at once; 0: no limit.
    pub max_requests: usize,
}

impl Default for Web {
    fn default() -> Self {
        Self { telemetry_path: "/metrics".to_owned(), links: Links::default(), max_requests: 40 }
    }
}

impl App {
    /// The routes of `service`, for those whom `access` lets in.
    #[must_use]
    pub fn new(service: Arc<Service>, access: Access, web: Web) -> Self {
        Self {
            service,
            access: Arc::new(access),
            links: web.links,
            telemetry_path: web.telemetry_path,
            exposition: Exposition::new(web.max_requests),
            config_text: ConfigText::default(),
            page_places: Arc::new(Semaphore::new(MAX_PAGES)),
            page_readers: Readers::default(),
            demand: Demand::default(),
            reload_places: Arc::new(Semaphore::new(MAX_RELOADS)),
            presses: Presses::default(),
        }
    }
}

/// Pages made at once; more of them wait.
const MAX_PAGES: usize = 4;
/// Reloads at once, each on a thread of its own; they wait for one another.
const MAX_RELOADS: usize = 4;
