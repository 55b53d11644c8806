//! Whether a batch claims its keys before it runs, or reads them and inserts its answers in the end.
//!
//! A claim is a row that is written twice. Hardly any command comes twice at the same time, so a batch on a lane reads,
//! runs, and inserts: one write for each command. If it finds in the end that a twin was first, all that its handlers did
//! was for nothing. Twins come in crowds, as after a crash or an outage, when everything is delivered again; so from then
//! on batches claim first, for a while.
//!
//! What it knows of an action that is young and comes for the first time, it does not even read (`batch/begin.rs`).
//!
//! Whichever way, the unique key of the inbox decides, and an effect commits with its answer or not at all.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::isolation::Isolation;

/// Batches that claim first after one that read in vain: the messages that a broker delivers again come within a few.
const CLAIMING_BATCHES: u32 = 100;

/// How a batch learns what the inbox knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Approach {
    /// It inserts a row for each key that is new, and whoever comes later waits for it.
    ClaimFirst,
    /// It reads what may be known, and inserts its answers in the end.
    ReadFirst,
}

/// The approach of the next batches.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// How many claim first.
    claiming: AtomicU32,
}

impl Claims {
    /// The approach of a batch. One that may take long claims, since whoever comes meanwhile had better wait than run it
    /// once more.
    pub(crate) fn approach(&self, isolation: &Isolation) -> Approach {
        match isolation {
            Isolation::Shared(_) => {
                let one_less = |claiming: u32| claiming.checked_sub(1);
                match self.claiming.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
                    Ok(_) => Approach::ClaimFirst,
                    Err(_) => Approach::ReadFirst,
                }
            }
            Isolation::Probe(_) | Isolation::Beside | Isolation::Everything => Approach::ClaimFirst,
        }
    }

    /// A batch has read in vain: a twin was first, or something failed that may have come of a twin.
    pub(crate) fn read_in_vain(&self) {
        self.claiming.store(CLAIMING_BATCHES, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn batches_claim_for_a_while_after_one_that_read_in_vain() {
        let (claims, shared) = (Claims::default(), Isolation::Shared(Arc::default()));
        assert_eq!(claims.approach(&shared), Approach::ReadFirst);
        assert_eq!(claims.approach(&Isolation::Beside), Approach::ClaimFirst, "it may take long");
        claims.read_in_vain();
        let approaches = (0..=CLAIMING_BATCHES).map(|_| claims.approach(&shared));
        let claiming = approaches.filter(|approach| *approach == Approach::ClaimFirst).count();
        assert_eq!((claiming, claims.approach(&shared)), (100, Approach::ReadFirst));
    }
}
