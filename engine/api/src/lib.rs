//! The HTTP API of a coordinator.
//!
//! Thin: a handler reads its request, asks the [`Engine`](redress_coordinator::Engine) and writes the answer. Every
//! error, also one that axum itself would write, is `application/problem+json` with a stable `type`. Bound to loopback
//! unless a token is configured; on loopback, requests that a foreign web page could make are refused by their `Host`
//! and `Origin`. A value that is given twice is ambiguous and refused with its name or place: headers and query
//! parameters (`strict`), members of JSON objects.

mod access;
mod answer;
mod conditions;
mod connections;
mod extract;
mod guard;
mod letters;
mod limits;
mod operator;
mod ops;
mod problem;
mod problem_type;
mod router;
mod routes;
mod sagas;
mod serve;
mod socket;
mod state;
mod strict;

pub use access::Access;
pub use limits::Limits;
pub use problem::Problem;
pub use problem_type::ProblemType;
pub use router::router;
pub use routes::{Effect, ROUTES, Route};
pub use serve::{BindError, bind, serve, serve_within};
pub use state::BODY_BYTES_MAX;
