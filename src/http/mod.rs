//! HTTP: connections, routes, and what is streamed over them.
//! Nothing here touches a target; `/probe` asks the laboratory.

mod answers;
mod app;
mod config_text;
mod connections;
mod demand;
mod exposition;
mod guard;
mod links;
mod long_text;
mod pages;
mod places;
mod probe_endpoint;
mod probe_now;
mod routes;

pub use app::{App, Web};
pub use connections::serve;
pub use links::Links;
pub use probe_endpoint::{Subject, fence};
