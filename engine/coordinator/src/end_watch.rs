//! Finds the ends that another coordinator brought about, for the callers that wait here.
//!
//! Ends of our own wake their callers at once. The others are found by looking: one query for all callers, as often as
//! each of them may be kept waiting.

use std::sync::Weak;
use std::time::Duration;

use crate::decider::Decider;
use crate::ports::{Clock, JournalReads};
use crate::waiters::Waiters;

/// The pause between two looks: an end elsewhere is told so much later at most.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Sagas that one query asks for.
const IDS_MAX: usize = 1_000;

/// Looks until the coordinator is gone; while no caller waits it does nothing at all.
pub(crate) async fn run<J: JournalReads, C: Clock>(
    decider: Weak<Decider<J, C>>,
    waiters: Weak<Waiters>,
    clock: C,
) {
    let Some(arrival) = waiters.upgrade().map(|waiters| waiters.arrival()) else { return };
    loop {
        match waiters.upgrade().map(|waiters| waiters.waited_for()) {
            None => return,
            Some(0) => {
                arrival.notified().await;
                continue;
            }
            Some(_) => clock.sleep(LOOK_EVERY).await,
        }
        let (Some(decider), Some(waiters)) = (decider.upgrade(), waiters.upgrade()) else { return };
        for ids in waiters.awaited().chunks(IDS_MAX) {
            match decider.journal.at_rest(ids).await {
                Ok(ended) => waiters.wake(ended),
                // Each caller looks once more when its time is over, and hears of it then.
                Err(error) => tracing::debug!(error = error.with_causes(), "no look for ends elsewhere"),
            }
        }
    }
}
