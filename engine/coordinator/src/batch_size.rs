//! How large a batch may be: in rows and in bytes, and small again after trouble.
//!
//! Every loop begins small and doubles with each batch that was committed, so that a batch which kills the process, or
//! its connection, is not tried again as it was: not after a restart either, and without anything to remember. The
//! limit of a loop is at its maximum after four batches.

use std::sync::Mutex;

use crate::ports::JournalError;

/// With how many rows a loop begins: enough that the first look of a small installation takes all there is.
const ROWS_AT_FIRST: usize = 64;
/// With how many bytes a loop begins.
const BYTES_AT_FIRST: usize = 4 << 20;
/// The fewest bytes after failures: below, a batch is one row long in any case.
const BYTES_MIN: usize = 64 << 10;

/// A number of rows and of bytes. A batch holds at least one row, however large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchSize {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

/// The limit of the next batch of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchLimit {
    now: BatchSize,
    max: BatchSize,
}

impl BatchLimit {
    /// At the beginning of a loop.
    pub(crate) fn new(max: BatchSize) -> Self {
        let max = BatchSize { rows: max.rows.max(1), bytes: max.bytes.max(1) };
        let now = BatchSize { rows: ROWS_AT_FIRST.min(max.rows), bytes: BYTES_AT_FIRST.min(max.bytes) };
        Self { now, max }
    }

    /// The limit as it is now.
    pub(crate) const fn now(&self) -> BatchSize {
        self.now
    }

    /// A batch was committed: the next one may be twice as large.
    fn committed(&mut self) {
        self.now.rows = self.now.rows.saturating_mul(2).min(self.max.rows);
        self.now.bytes = self.now.bytes.saturating_mul(2).min(self.max.bytes);
    }

    /// A batch failed, and not because another one was in the way: the next one is half as large.
    fn failed(&mut self) {
        self.now.rows = (self.now.rows / 2).max(1);
        self.now.bytes = (self.now.bytes / 2).max(BYTES_MIN.min(self.max.bytes));
    }
}

/// The limit of a loop whose batches are worked on in tasks of their own.
#[derive(Debug)]
pub(crate) struct SharedLimit(Mutex<BatchLimit>);

impl SharedLimit {
    pub(crate) fn new(max: BatchSize) -> Self {
        Self(Mutex::new(BatchLimit::new(max)))
    }

    pub(crate) fn now(&self) -> BatchSize {
        self.0.lock().expect("nobody panics while holding the limit").now()
    }

    /// The outcome of a batch decides how large the next one may be; one that met another says nothing of its size.
    pub(crate) fn learn<T>(&self, result: &Result<T, JournalError>) {
        let mut limit = self.0.lock().expect("nobody panics while holding the limit");
        match result {
            Ok(_) => limit.committed(),
            Err(JournalError::Collision(_)) => {}
            Err(_) => limit.failed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: BatchSize = BatchSize { rows: 1_000, bytes: 8 << 20 };

    #[test]
    fn batch_limit_begins_small_and_reaches_maximum_after_four_batches() {
        let mut limit = BatchLimit::new(MAX);
        assert_eq!(limit.now(), BatchSize { rows: 64, bytes: 4 << 20 });
        for _ in 0..4 {
            limit.committed();
        }
        assert_eq!(limit.now(), MAX);
        limit.committed();
        assert_eq!(limit.now(), MAX);
    }

    #[test]
    fn batch_limit_is_halved_after_failure_down_to_one_row() {
        let mut limit = BatchLimit::new(MAX);
        limit.failed();
        assert_eq!(limit.now(), BatchSize { rows: 32, bytes: 2 << 20 });
        for _ in 0..20 {
            limit.failed();
        }
        assert_eq!(limit.now(), BatchSize { rows: 1, bytes: BYTES_MIN });
        limit.committed();
        assert_eq!(limit.now(), BatchSize { rows: 2, bytes: 2 * BYTES_MIN });
    }

    #[test]
    fn batch_limit_keeps_maximum_below_initial_size() {
        let tiny = BatchSize { rows: 2, bytes: 10 };
        let mut limit = BatchLimit::new(tiny);
        assert_eq!(limit.now(), tiny);
        limit.failed();
        assert_eq!(limit.now(), BatchSize { rows: 1, bytes: 10 });
        assert_eq!(BatchLimit::new(BatchSize { rows: 0, bytes: 0 }).now(), BatchSize { rows: 1, bytes: 1 });
    }
}
