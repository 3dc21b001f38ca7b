//! What the routes share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::exposition::Exposition;
use crate::service::Service;

/// What the routes need.
#[derive(Debug)]
pub struct App {
    pub(super) service: Arc<Service>,
    pub(super) telemetry_path: String,
    pub(super) exposition: Exposition,
    pub(super) probe_places: Arc<Semaphore>,
}

impl App {
    /// The routes of `service`, with its metrics at `telemetry_path`.
    #[must_use]
    pub fn new(service: Arc<Service>, telemetry_path: String) -> Self {
        let probe_places = Arc::new(Semaphore::new(MAX_PROBES));
        Self { service, telemetry_path, exposition: Exposition::new(), probe_places }
    }
}

/// Probes of `/probe` at once.
pub(super) const MAX_PROBES: usize = 128;
