//! The HTTP API of a coordinator.
//!
//! Thin: a handler reads its request, asks the [`Engine`](redress_coordinator::Engine) and writes the answer. Every
//! error, also one that axum itself would write, is `application/problem+json` with a stable `type`. Bound to loopback
//! unless a token is configured; on loopback, requests that a foreign web page could make are refused by their `Host`
//! and `Origin`. The probes and metrics of a process without an API stand behind the same guard
//! (`door`). A value that is given twice is ambiguous and refused with its name or place: headers and query
//! parameters (`strict`), members of JSON objects.

mod access;
mod answer;
mod conditions;
mod connections;
mod door;
mod events;
mod extract;
mod guard;
mod letters;
mod limits;
mod operator;
mod ops;
mod probes;
mod problem;
mod problem_type;
mod router;
mod routes;
mod sagas;
mod serve;
mod socket;
mod state;
mod strict;
mod text_format;

pub use access::Access;
pub use door::{Probed, Ready};
pub use limits::Limits;
pub use problem::Problem;
pub use problem_type::ProblemType;
pub use router::router;
pub use routes::{Effect, ROUTES, Route};
pub use serve::{BindError, bind, serve, serve_beside, serve_probes, serve_within};
pub use state::BODY_BYTES_MAX;
