//! The life of a simulated coordinator: one that is dead waits for ever at its next word to journal or bus.
//!
//! So a coordinator dies between any two things that others could notice, and nothing in it has to know.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// The life of a coordinator.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    is_over: Arc<AtomicBool>,
    /// Ends its loops: those that wait for nothing but time would turn for ever.
    pub(super) shutdown: CancellationToken,
}

impl Life {
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Goes on if it is alive, and else never.
    pub(super) async fn go_on(&self) {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
    }

    /// It dies.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.shutdown.cancel();
    }
}
