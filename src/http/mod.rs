//! HTTP: connections, routes, and what is streamed over them.
//! Nothing here touches a target; `/probe` asks the laboratory.

mod answers;
mod app;
mod connections;
mod exposition;
mod pages;
mod probe_endpoint;
mod probe_now;
mod routes;

pub use app::App;
pub use connections::serve;
