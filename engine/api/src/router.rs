//! The router: the table of routes, behind the guard.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use redress_coordinator::Engine;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::door::{Door, Probed};
use crate::limits::Limits;
use crate::state::{Api, BODY_BYTES_MAX};
use crate::{guard, ops, problem, routes};

/// All routes, behind the guard.
pub fn router(engine: Engine, access: Access) -> Router {
    let limits = Limits::with_connections(usize::MAX);
    of_api(engine, None, access, CancellationToken::new(), limits)
}

/// All routes of a coordinator; others in its process are shown with its metrics.
pub(crate) fn of_api(
    engine: Engine,
    beside: Option<Arc<dyn Probed>>,
    access: Access,
    shutdown: CancellationToken,
    limits: Limits,
) -> Router {
    let door = Door { probed: Arc::new(engine.clone()), beside, access: Arc::new(access) };
    guarded(routes::all(), &door).with_state(Api { engine, door, shutdown, limits })
}

/// The routes of a process that has nothing but probes and metrics.
pub(crate) fn of_probes(probed: Arc<dyn Probed>, access: Access) -> Router {
    let door = Door { probed, beside: None, access: Arc::new(access) };
    guarded(routes::of_probes(), &door).with_state(door)
}

fn guarded<S: Clone + Send + Sync + 'static>(routes: Router<S>, door: &Door) -> Router<S> {
    routes
        .fallback(ops::unknown_path)
        .method_not_allowed_fallback(ops::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn_with_state(door.clone(), guard::check))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(problem::of_panic))
        .layer(axum::middleware::from_fn(problem::name_instance))
}
