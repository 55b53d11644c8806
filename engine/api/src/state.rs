//! The values that all handlers share.

use axum::extract::FromRef;
use redress_coordinator::Engine;
use tokio_util::sync::CancellationToken;

use crate::door::Door;
use crate::limits::Limits;

/// The largest request body, in bytes: below what the broker takes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) engine: Engine,
    pub(crate) door: Door,
    /// A client that waits for the end of a saga waits no longer than this.
    pub(crate) shutdown: CancellationToken,
    /// The limits of the connections.
    pub(crate) limits: Limits,
}

impl FromRef<Api> for Door {
    fn from_ref(api: &Api) -> Self {
        api.door.clone()
    }
}
