//! The memory that a start takes while it waits: a thousand callers wait at once, and each future is copied when it is
//! spawned and lies in memory until it is answered.

use std::time::Duration;

use redress_coordinator::{Engine, StartError, StartRequest, Started};

/// Bytes of a future that starts a saga: the request on its way, and no query of the database's, which takes more.
const START_BYTES_MAX: usize = 4_096;

/// The size of the future that a function of two arguments returns, in bytes.
fn future_bytes<A, B, F: Future>(_: fn(A, B) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn start_that_waits_takes_little_memory() {
    async fn start(engine: Engine, request: StartRequest) -> Result<Started, StartError> {
        engine.start_request(request).await
    }
    async fn start_and_wait(engine: Engine, request: StartRequest) -> Result<(), Box<dyn std::error::Error>> {
        engine.start_awaited(request).await?.ended(Duration::MAX).await?;
        Ok(())
    }
    for (caller, bytes) in
        [("a start", future_bytes(start)), ("a start that waits for the end", future_bytes(start_and_wait))]
    {
        assert!(bytes <= START_BYTES_MAX, "{caller} takes {bytes} bytes while it waits");
    }
}
