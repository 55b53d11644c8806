//! Binding and serving.

use std::future::IntoFuture as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redress_coordinator::Engine;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::guard::Access;
use crate::{Api, routes};

/// How long requests in flight may take to finish after the shutdown: a client that sends its request byte by byte
/// must not keep the program.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// The address could not be bound.
#[derive(Debug, Error)]
pub enum BindError {
    /// Not loopback, and anybody could ask.
    #[error("{0} can be reached from other machines: set REDRESS_TOKEN to a secret, or bind to 127.0.0.1")]
    NeedsToken(SocketAddr),
    /// Somebody else has it, or it is not ours.
    #[error("cannot listen on {address}: is something else running there? choose another one with --http")]
    Taken {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Binds the address, if the access allows it.
///
/// # Errors
/// [`BindError`] if the address is not loopback and there is no token, or it is taken.
pub async fn bind(address: SocketAddr, access: &Access) -> Result<TcpListener, BindError> {
    if !address.ip().is_loopback() && matches!(access, Access::Loopback) {
        return Err(BindError::NeedsToken(address));
    }
    TcpListener::bind(address).await.map_err(|source| BindError::Taken { address, source })
}

/// Serves until `shutdown`; requests in flight are finished, and those that wait for a saga's end are answered at once.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    engine: Engine,
    access: Access,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let api = Api { engine, access: Arc::new(access), shutdown: shutdown.clone() };
    let serving =
        axum::serve(listener, routes(api)).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN_MAX).await;
    };
    tokio::select! {
        served = serving.into_future() => served,
        () = overdue => Ok(()),
    }
}
