//! The counters of a participant. `exposition` says which series each of them is.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The counts of a participant since its start.
        #[derive(Debug, Default)]
        pub struct Stats { $($(#[$doc])* pub $name: AtomicU64),+ }

        impl Stats {
            /// Adds the counts of another one.
            pub(crate) fn add(&self, other: &Self) {
                $(self.$name.fetch_add(other.$name.load(Ordering::Relaxed), Ordering::Relaxed);)+
            }

            /// Names and values, for logs and tests.
            pub fn read(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed))),+]
            }
        }
    };
}

stats! {
    /// Handlers that said `done`.
    done,
    /// Handlers that said no.
    rejected,
    /// Attempts that failed.
    failed,
    /// Commands answered from memory.
    duplicates,
    /// Deliveries of commands that had been delivered before.
    redelivered,
    /// Actions refused because of a fence.
    fenced,
    /// Compensations that had nothing to undo.
    null_compensations,
    /// Settlements answered.
    settled,
    /// Handlers that said that the answer comes later.
    accepted,
    /// Answers given later and published.
    answered_later,
    /// Commands that were sent or delivered before and whose handler ran without an inbox: perhaps once more.
    run_again,
    /// Commands older than the inbox remembers.
    expired,
    /// Times that the database was found to be down.
    outages,
    /// Of now: 1 while the database is down.
    database_down,
    /// Commands put back because the database was down or the command could not be run.
    put_back,
    /// Commands put back because as many of their kind waited as may.
    put_back_full,
    /// Commands put back because another one about the same action was under way.
    put_back_twin,
    /// Messages given up.
    dead_letters,
    /// Those of them of which the broker kept only a reduced letter.
    dead_letters_reduced,
    /// Those of them that the broker refused and the service's own database keeps.
    dead_letters_kept_here,
    /// Those that the service's own database kept and the broker has taken since.
    dead_letters_forwarded,
    /// Those of them that are kept nowhere but in the log.
    dead_letters_lost,
    /// Batches that had to be run again.
    batch_retries,
    /// Commands that ran beside the batches, because their handler takes long.
    ran_beside,
    /// Of now: commands in batches that run.
    in_batches,
    /// Of now: calls that run beside the batches.
    running_beside,
    /// Of now: commands that wait for a place beside the batches.
    waiting_beside,
    /// Calls to third parties.
    called_out,
    /// Inquiries what became of such calls.
    inquired,
    /// Commands answered `in-doubt`.
    in_doubt,
    /// Rows of the inbox that were pruned.
    pruned,
    /// Notifications that were heard.
    heard,
    /// Notifications that were lost here.
    unheard,
    /// Deliveries that carried on after an injected failure.
    injected,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
