//! The table of routes.
//!
//! The router is built from it, and so is the test that asks each path with each method, without a token and as a page
//! of another site: a route that is not in the table does not exist, and one that is cannot be forgotten.

use axum::Router;
use axum::http::Method;
use axum::routing::{MethodRouter, get, post};
use redress_core::LetterVerb;
use redress_core::decide::Verb;

use crate::door::Door;
use crate::state::Api;
use crate::{events, letters, operator, ops, probes, sagas};

/// A path that takes a method.
#[derive(Debug)]
pub struct Route {
    /// The method; a path that takes GET takes HEAD too.
    pub method: Method,
    /// The path, with `{names}` of its parameters.
    pub path: &'static str,
    /// The effect of a request.
    pub effect: Effect,
    handler: fn() -> MethodRouter<Api>,
}

/// The effect of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It looks.
    Reads,
    /// It changes something.
    Writes,
    /// It looks, and strangers may ask: probes are asked by machines that know no secret.
    Probes,
}

const fn route(
    method: Method,
    path: &'static str,
    effect: Effect,
    handler: fn() -> MethodRouter<Api>,
) -> Route {
    Route { method, path, effect, handler }
}

/// All routes.
pub const ROUTES: &[Route] = {
    use Effect::{Probes, Reads, Writes};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    &[
        route(POST, "/v1/sagas", Writes, || post(sagas::start)),
        route(GET, "/v1/sagas", Reads, || get(sagas::list)),
        route(POST, "/v1/sagas/retry", Writes, || post(operator::retry_all)),
        route(GET, "/v1/sagas/{id}", Reads, || get(sagas::one)),
        route(GET, "/v1/sagas/{id}/history", Reads, || get(sagas::history)),
        route(GET, "/v1/sagas/{id}/plan", Reads, || get(sagas::plan)),
        route(POST, "/v1/sagas/{id}/cancel", Writes, || post(operator::cancel)),
        route(POST, "/v1/sagas/{id}/retry", Writes, || post(operator::retry)),
        route(POST, "/v1/sagas/{id}/resolve", Writes, || post(operator::resolve)),
        route(POST, "/v1/sagas/{id}/steps/{step}/answer", Writes, || post(operator::answer)),
        route(POST, "/v1/sagas/{id}/events/{name}", Writes, || post(events::send)),
        route(POST, "/v1/sagas/events/{name}", Writes, || post(events::send_by_tag)),
        route(POST, "/v1/sagas/{id}/close", Writes, || operator::plain(Verb::Close)),
        route(POST, "/v1/sagas/{id}/pause", Writes, || operator::plain(Verb::Pause)),
        route(POST, "/v1/sagas/{id}/resume", Writes, || operator::plain(Verb::Resume)),
        route(GET, "/v1/definitions", Reads, || get(ops::definitions)),
        route(GET, "/v1/definitions/{saga}/{version}", Reads, || get(ops::definition)),
        route(GET, "/v1/definitions/{saga}/{version}/diagram", Reads, || get(ops::diagram)),
        route(GET, "/v1/faults", Reads, || get(ops::faults)),
        route(POST, "/v1/faults", Writes, || post(ops::add_fault)),
        route(Method::DELETE, "/v1/faults/{fault}", Writes, || axum::routing::delete(ops::remove_fault)),
        route(Method::DELETE, "/v1/faults", Writes, || axum::routing::delete(ops::clear_faults)),
        route(GET, "/v1/dead-letters", Reads, || get(letters::list)),
        route(GET, "/v1/dead-letters/groups", Reads, || get(letters::groups)),
        route(POST, "/v1/dead-letters/replay", Writes, || letters::change_all(LetterVerb::Replay)),
        route(POST, "/v1/dead-letters/discard", Writes, || letters::change_all(LetterVerb::Discard)),
        route(GET, "/v1/dead-letters/{letter}", Reads, || get(letters::one)),
        route(POST, "/v1/dead-letters/{letter}/replay", Writes, || letters::change(LetterVerb::Replay)),
        route(POST, "/v1/dead-letters/{letter}/discard", Writes, || letters::change(LetterVerb::Discard)),
        route(POST, "/v1/begin", Writes, || post(ops::begin)),
        route(GET, "/livez", Probes, || get(probes::livez)),
        route(GET, "/readyz", Probes, || get(probes::readyz)),
        route(GET, "/metrics", Reads, || get(probes::metrics)),
    ]
};

/// The router of the table.
pub(crate) fn all() -> Router<Api> {
    ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.handler)()))
}

/// The router of a process that has nothing but probes and metrics.
pub(crate) fn of_probes() -> Router<Door> {
    Router::new()
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", get(probes::metrics))
}

/// Returns true if this is the path of a probe.
pub(crate) fn is_probe(path: &str) -> bool {
    ROUTES.iter().any(|route| route.effect == Effect::Probes && route.path == path)
}
