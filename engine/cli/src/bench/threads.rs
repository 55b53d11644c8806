//! The threads of the bench's own client, apart from those of the coordinator, so that its CPU time can be told apart.

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle, Runtime};

/// The name of the client's threads, by which the kernel's counters are found; it knows 15 characters of it.
pub(super) const CLIENT_THREAD: &str = "bench-client";
/// Threads that carry the client's connections: one is busy at some ten thousand sagas per second, and the client must
/// never be what is measured.
const THREADS: usize = 2;

/// A runtime for the client.
pub(super) struct ClientThreads {
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl ClientThreads {
    /// Starts them.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start() -> anyhow::Result<Self> {
        let threads = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name(CLIENT_THREAD)
            .enable_all()
            .build();
        Ok(Self { runtime: Some(threads.context("the client's threads could not be started")?) })
    }

    /// The runtime of these threads.
    pub(super) fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("it is there until the drop").handle()
    }
}

/// A runtime must not be waited for where other tasks run.
impl Drop for ClientThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
