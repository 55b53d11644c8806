//! Finds the ends that another coordinator brought about, for the callers that wait here.
//!
//! Ends of our own wake their callers at once. Of the others the coordinator that has committed them tells, and the callers
//! are woken as soon as that is heard ([`Bus::tell_ended`]). A hint may be lost, so the callers' sagas are looked for as
//! well: one query for all callers, as often as each of them may be kept waiting. A hint may also be wrong, or come before
//! the database that is read here shows the end: a caller that is woken reads its saga, and waits on if it goes on.

use std::pin::pin;
use std::sync::Weak;
use std::time::Duration;

use crate::decider::Decider;
use crate::ports::{Bus, Clock, JournalReads};
use crate::waiters::Waiters;

/// The pause between two looks: an end elsewhere whose hint is lost is told so much later at most.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Sagas that one query asks for.
const IDS_MAX: usize = 1_000;

/// Hears and looks until the coordinator is gone; while no caller waits nothing is looked for.
pub(crate) async fn run<J: JournalReads, B: Bus, C: Clock>(
    decider: Weak<Decider<J, C>>,
    waiters: Weak<Waiters>,
    bus: B,
    clock: C,
) {
    let woken = waiters.clone();
    let hearing = bus.hear_ended(move |ended| {
        if let Some(waiters) = woken.upgrade() {
            waiters.wake(ended);
        }
    });
    let mut looking = pin!(look(decider, waiters, clock));
    tokio::select! {
        biased;
        () = &mut looking => {}
        // A bus of somebody's own that hears no more.
        () = hearing => looking.await,
    }
}

async fn look<J: JournalReads, C: Clock>(decider: Weak<Decider<J, C>>, waiters: Weak<Waiters>, clock: C) {
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
