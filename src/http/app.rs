//! What the routes share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{exposition::Exposition, probe_now::Presses};
use crate::service::Service;

/// What the routes need.
#[derive(Debug)]
pub struct App {
    pub(super) service: Arc<Service>,
    pub(super) telemetry_path: String,
    pub(super) exposition: Exposition,
    pub(super) page_places: Arc<Semaphore>,
    pub(super) probe_places: Arc<Semaphore>,
    pub(super) presses: Presses,
}

impl App {
    /// The routes of `service`, with its metrics at `telemetry_path`.
    #[must_use]
    pub fn new(service: Arc<Service>, telemetry_path: String) -> Self {
        Self {
            service,
            telemetry_path,
            exposition: Exposition::new(),
            page_places: Arc::new(Semaphore::new(MAX_PAGES)),
            probe_places: Arc::new(Semaphore::new(MAX_PROBES)),
            presses: Presses::default(),
        }
    }
}

/// Pages made at once; more of them wait.
const MAX_PAGES: usize = 4;
/// Probes of `/probe` and of the button at once.
pub(super) const MAX_PROBES: usize = 128;
