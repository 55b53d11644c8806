//! The router: the table of routes, behind the guard.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use redress_coordinator::Engine;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::limits::Limits;
use crate::state::{Api, BODY_BYTES_MAX};
use crate::{guard, ops, problem, routes};

/// All routes, behind the guard.
pub fn router(engine: Engine, access: Access) -> Router {
    let limits = Limits::with_connections(usize::MAX);
    guarded(Api { engine, access: Arc::new(access), shutdown: CancellationToken::new(), limits })
}

pub(crate) fn guarded(api: Api) -> Router {
    routes::all()
        .fallback(ops::unknown_path)
        .method_not_allowed_fallback(ops::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn_with_state(api.clone(), guard::check))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(problem::of_panic))
        .layer(axum::middleware::from_fn(problem::name_instance))
        .with_state(api)
}
