//! The HTTP API of a coordinator.
//!
//! Thin: a handler reads its request, asks the [`Engine`] and writes the answer. Every error, also one that axum itself
//! would write, is `application/problem+json` with a stable `type`. Bound to loopback unless a token is configured; on
//! loopback, requests that a foreign web page could make are refused by their `Host` and `Origin`.

mod extract;
mod guard;
mod ops;
mod orders;
mod problem;
mod sagas;
mod serve;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use redress_coordinator::Engine;
use redress_core::decide::Verb;
use tokio_util::sync::CancellationToken;

pub use guard::Access;
pub use problem::Problem;
pub use serve::{BindError, bind, serve};

/// The largest request body, in bytes: below what the broker takes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) engine: Engine,
    pub(crate) access: Arc<Access>,
    /// Whoever waits for the end of a saga waits no longer than this.
    pub(crate) shutdown: CancellationToken,
}

/// All routes, behind the guard.
pub fn router(engine: Engine, access: Access) -> Router {
    routes(Api { engine, access: Arc::new(access), shutdown: CancellationToken::new() })
}

pub(crate) fn routes(api: Api) -> Router {
    Router::new()
        .route("/v1/sagas", post(sagas::start).get(sagas::list))
        .route("/v1/sagas/{id}", get(sagas::one))
        .route("/v1/sagas/{id}/history", get(sagas::history))
        .route("/v1/sagas/{id}/plan", get(sagas::plan))
        .route("/v1/sagas/{id}/cancel", post(orders::cancel))
        .route("/v1/sagas/{id}/retry", post(orders::retry))
        .route("/v1/sagas/{id}/resolve", post(orders::resolve))
        .route("/v1/sagas/{id}/close", orders::plain(Verb::Close))
        .route("/v1/sagas/{id}/pause", orders::plain(Verb::Pause))
        .route("/v1/sagas/{id}/resume", orders::plain(Verb::Resume))
        .route("/v1/definitions", get(ops::definitions))
        .route("/v1/definitions/{saga}/{version}", get(ops::definition))
        .route("/v1/definitions/{saga}/{version}/diagram", get(ops::diagram))
        .route("/v1/faults", get(ops::faults).post(ops::add_fault).delete(ops::clear_faults))
        .route("/v1/begin", post(ops::begin))
        .route("/livez", get(ops::livez))
        .route("/readyz", get(ops::readyz))
        .route("/metrics", get(ops::metrics))
        .fallback(ops::unknown_path)
        .method_not_allowed_fallback(ops::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn_with_state(api.clone(), guard::check))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(problem::of_panic))
        .layer(axum::middleware::from_fn(problem::name_instance))
        .with_state(api)
}
