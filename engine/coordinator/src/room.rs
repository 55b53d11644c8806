//! Room in bytes for what waits or is on its way.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many bytes of room; beyond, callers wait their turn.
pub(crate) struct Room {
    bytes: usize,
    /// A permit per byte.
    free: Arc<Semaphore>,
}

impl Room {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, free: Arc::new(Semaphore::new(bytes)) }
    }

    /// Waits for so many bytes of it; what is larger than the room takes all of it.
    pub(crate) async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        let permits = u32::try_from(bytes.min(self.bytes)).unwrap_or(u32::MAX);
        self.free.clone().acquire_many_owned(permits).await.expect("a room is never closed")
    }
}
