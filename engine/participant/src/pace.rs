//! Bounds the size of the next batch.
//!
//! A batch is bounded by bytes, so that all of it fits into a small process: the commands, the answers of the handlers,
//! and the answers from the inbox. How much a handler answers is known only afterwards; so handlers are called with as
//! many commands as would fit if each answered as much as the largest answer lately, and at first as much as an answer
//! may have. Commands that do not fit any more are left for the next transaction.
//!
//! And a process that has just been started takes little at first: it may have died of the batch that comes again now.

use std::sync::atomic::{AtomicUsize, Ordering};

use redress_core::message::PAYLOAD_BYTES_MAX;

/// Answers that one transaction makes, in bytes, and those that it reads from the inbox: as much as it takes of commands.
pub(crate) const ANSWER_BYTES_MAX: usize = 8 << 20;
/// The first batch after a start, in commands; it doubles with each commit.
const FIRST_BATCH: usize = 32;

/// The sizes learnt from the batches before.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Commands in the next batch.
    commands: AtomicUsize,
    /// The largest answer lately, in bytes.
    answer_bytes: AtomicUsize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { commands: AtomicUsize::new(FIRST_BATCH), answer_bytes: AtomicUsize::new(PAYLOAD_BYTES_MAX) }
    }
}

impl Pace {
    /// Commands in the next batch, at most `most`.
    pub(crate) fn commands(&self, most: usize) -> usize {
        self.commands.load(Ordering::Relaxed).clamp(1, most.max(1))
    }

    /// A batch has committed.
    pub(crate) fn committed(&self, most: usize) {
        let next = self.commands(most).saturating_mul(2).min(most);
        self.commands.store(next, Ordering::Relaxed);
    }

    /// A batch has failed as a whole.
    pub(crate) fn failed(&self, most: usize) {
        self.commands.store((self.commands(most) / 2).max(1), Ordering::Relaxed);
    }

    /// Calls of a handler whose answers fit into `bytes`; at least one.
    pub(crate) fn calls(&self, bytes: usize) -> usize {
        (bytes / self.answer_bytes.load(Ordering::Relaxed).max(1)).max(1)
    }

    /// A handler has answered; its largest answer had this many bytes.
    pub(crate) fn answered(&self, largest: usize) {
        let before = self.answer_bytes.load(Ordering::Relaxed);
        self.answer_bytes.store(largest.max(before / 4), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_with_each_commit_and_shrink_with_each_failure() {
        let pace = Pace::default();
        let mut sizes = vec![pace.commands(500)];
        for _ in 0..5 {
            pace.committed(500);
            sizes.push(pace.commands(500));
        }
        pace.failed(500);
        sizes.push(pace.commands(500));
        assert_eq!(sizes, [32, 64, 128, 256, 500, 500, 250]);
        assert_eq!(pace.commands(1), 1);
    }

    #[test]
    fn handler_calls_are_sized_by_the_largest_answer() {
        let pace = Pace::default();
        assert_eq!(pace.calls(ANSWER_BYTES_MAX), 32);
        pace.answered(100);
        pace.answered(100);
        assert_eq!(pace.calls(ANSWER_BYTES_MAX), 512);
        pace.answered(PAYLOAD_BYTES_MAX);
        assert_eq!(pace.calls(ANSWER_BYTES_MAX), 32);
        assert_eq!(pace.calls(0), 1);
    }
}
