//! Waits for the time of each saga of a timetable, on a thread of its own.
//!
//! tokio's timers are exact to a millisecond, which would be a tenth of what one saga takes; a thread sleeps to within some
//! 50 µs. Its CPU time, some 10 µs a saga, is counted as the coordinator's: a thread's counters go with it.

use std::thread;
use std::time::Instant;

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::pace::Pace;

/// The name of the thread.
const THREAD: &str = "bench-pacer";
/// Sagas whose time has come and that the loop has not taken yet. If there are more of them the thread waits, and is late;
/// the timetable stays what it was.
const DUE_MAX: usize = 64;

/// Tells when the next saga is to be started.
pub(super) struct Pacer {
    /// Nothing in a closed loop, whose sagas are always due.
    due: Option<mpsc::Receiver<()>>,
}

impl Pacer {
    /// Begins a timetable of so many sagas at this moment.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn begin(pace: Pace, sagas: u64, begin: Instant) -> anyhow::Result<Self> {
        if pace == Pace::Closed {
            return Ok(Self { due: None });
        }
        let (sender, due) = mpsc::channel(DUE_MAX);
        let timetable = move || {
            for number in 0..sagas {
                let intended = begin + pace.intended(number).unwrap_or_default();
                thread::sleep(intended.saturating_duration_since(Instant::now()));
                if sender.blocking_send(()).is_err() {
                    // The loop is over.
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name(THREAD.to_owned()).spawn(timetable);
        thread.context("the thread that keeps the timetable could not be started")?;
        Ok(Self { due: Some(due) })
    }

    /// Waits until the next saga is due.
    pub(super) async fn due(&mut self) {
        if let Some(due) = &mut self.due {
            // The thread has sent as many as there are sagas before it ends.
            let _ = due.recv().await;
        }
    }
}
