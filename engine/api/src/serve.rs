//! Binds the address, and serves the API.
//!
//! The accept loop is ours, because a server that strangers can reach needs bounds in every direction: connections at
//! once ([`connections`](crate::connections)), the time for a header and between requests, for a body
//! ([`extract`](crate::extract)), and for a reader who takes nothing ([`socket`](crate::socket)).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use redress_coordinator::Engine;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::access::Access;
use crate::answer::{self, Leaving};
use crate::connections::{Connections, Seat};
use crate::door::Probed;
use crate::limits::Limits;
use crate::router;
use crate::socket::Socket;

/// How long requests in flight may take to finish after the shutdown: a client that sends its request byte by byte
/// must not keep the program.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// The largest header of a request, in bytes; an answer is buffered in pieces of this size, too.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long the accept loop rests when the system gives it no connection: the resource that is short then (descriptors,
/// memory) comes back when others let go of it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// How often the log says the same of the connections: strangers must not be able to fill it.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The address could not be bound.
#[derive(Debug, Error)]
pub enum BindError {
    /// Not loopback, and any machine could ask.
    #[error("{0} can be reached from other machines: set REDRESS_TOKEN to a secret, or bind to 127.0.0.1")]
    NeedsToken(SocketAddr),
    /// Another program has it, or it is not ours.
    #[error("cannot listen on {address}: is something else running there? choose another one with --http")]
    Taken {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
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
/// None today: a failure is one connection's, or passes.
pub async fn serve(
    listener: TcpListener,
    engine: Engine,
    access: Access,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    serve_within(Limits::of_this_process(), listener, engine, access, shutdown).await
}

/// As [`serve`], for a process in which others run too: their metrics are shown with the coordinator's.
///
/// # Errors
/// As [`serve`].
pub async fn serve_beside(
    listener: TcpListener,
    engine: Engine,
    beside: Arc<dyn Probed>,
    access: Access,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let limits = Limits::of_this_process();
    let router = router::of_api(engine, Some(beside), access, shutdown.clone(), limits);
    serve_router(limits, listener, router, shutdown).await
}

/// Serves the probes and the metrics of a process that has no API until `shutdown`: `/livez`, `/readyz` and `/metrics`,
/// with the access and the limits of [`serve`].
///
/// # Errors
/// As [`serve`].
pub async fn serve_probes(
    listener: TcpListener,
    probed: Arc<dyn Probed>,
    access: Access,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let router = router::of_probes(probed, access);
    serve_router(Limits::of_this_process(), listener, router, shutdown).await
}

/// As [`serve`], within limits of the caller's.
///
/// # Errors
/// As [`serve`].
pub async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    engine: Engine,
    access: Access,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let router = router::of_api(engine, None, access, shutdown.clone(), limits);
    serve_router(limits, listener, router, shutdown).await
}

async fn serve_router(
    limits: Limits,
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let connections = Connections::at_most(limits.connections);
    let mut tasks = JoinSet::new();
    let mut said = Said::default();
    while let Some(accepted) = next(&listener, &shutdown, &mut tasks).await {
        match accepted {
            Ok((stream, peer)) => match connections.admit(peer.ip()).await {
                Some(seat) => {
                    tasks.spawn(carry(stream, seat, router.clone(), limits, shutdown.clone()));
                }
                None => {
                    said.now_and_then(|| {
                        tracing::warn!(max = limits.connections, "connection limit reached")
                    });
                    turn_away(&stream);
                }
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                said.now_and_then(|| tracing::warn!(%error, "failed to accept a connection"));
                connections.cut_one();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.cut_all_idle();
    // Connections that are still there after that are cut when the set is dropped.
    let _ = tokio::time::timeout(DRAIN_MAX, async { while tasks.join_next().await.is_some() {} }).await;
    Ok(())
}

/// The next connection; nothing once it is over. Takes note of the tasks that have ended.
async fn next(
    listener: &TcpListener,
    shutdown: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> Option<std::io::Result<(TcpStream, SocketAddr)>> {
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept() => return Some(accepted),
        }
    }
}

/// Carries one connection to its end.
async fn carry(
    stream: TcpStream,
    seat: Arc<Seat>,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    // Answers are written whole: waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let cut = seat.cut().clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (under_way, router) = (seat.begin(), router.clone());
        async move {
            let Some(under_way) = under_way else { return Ok(answer::no_room()) };
            let answered = router.oneshot(request.map(Body::new)).await;
            answered.map(|response| response.map(|body| Body::new(Leaving { body, _under_way: under_way })))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Socket::new(stream, limits.write)), service);
    let mut connection = std::pin::pin!(connection);
    let told = tokio::select! {
        biased;
        () = cut.cancelled() => return,
        () = shutdown.cancelled() => None,
        ended = connection.as_mut() => Some(ended),
    };
    let ended = match told {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                () = cut.cancelled() => return,
                ended = connection => ended,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection failed");
    }
}

/// Says so if that costs nothing, and closes.
fn turn_away(stream: &TcpStream) {
    let _ = stream.try_write(answer::no_room_bytes().as_bytes());
}

/// Returns true if the error is about the connection that was to be accepted, and not about us.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    let kind = error.kind();
    matches!(kind, ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

/// The time at which the log was last told.
#[derive(Default)]
struct Said(Option<Instant>);

impl Said {
    fn now_and_then(&mut self, say: impl FnOnce()) {
        if self.0.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            self.0 = Some(Instant::now());
            say();
        }
    }
}
