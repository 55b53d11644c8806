//! The rules of the runner, on a journal, a clock and work that are scripts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redress_core::fault::{FaultBook, Strike};
use redress_core::{SagaDefinition, Timestamp};
use uuid::Uuid;

use super::*;
use crate::batch_size::BatchSize;
use crate::ports::{Changes, DeadLetter, Inserted, NewSaga, RegisterError, Selection, Snapshot, StoredStart};

/// A clock whose pauses cost nothing and are counted.
#[derive(Clone, Default)]
struct Pauses(Arc<AtomicU32>);

impl Clock for Pauses {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn jitter(&self) -> f64 {
        0.5
    }

    fn new_id(&self) -> Uuid {
        Uuid::nil()
    }
}

/// A journal that says if it is there, and does nothing.
#[derive(Clone)]
enum FakeJournal {
    Away,
    There,
}

impl Journal for FakeJournal {
    async fn transact<T: Send + 'static>(
        &self,
        _: Selection,
        _: usize,
        _: impl FnOnce(Snapshot) -> (Changes, T) + Send + 'static,
    ) -> Result<T, JournalError> {
        Err(JournalError::Panicked)
    }

    async fn insert(&self, _: Vec<NewSaga>, _: Vec<Strike>) -> Result<Vec<Inserted>, JournalError> {
        Err(JournalError::Panicked)
    }

    async fn dead_letter(&self, _: Vec<DeadLetter>) -> Result<(), JournalError> {
        Err(JournalError::Panicked)
    }

    async fn start_of(&self, _: &str) -> Result<Option<StoredStart>, JournalError> {
        Err(JournalError::Panicked)
    }

    async fn has_operator_command(&self, _: Uuid) -> Result<bool, JournalError> {
        Err(JournalError::Panicked)
    }

    async fn read_faults(&self) -> Result<FaultBook, JournalError> {
        Err(JournalError::Panicked)
    }

    async fn look_for_faults(&self) -> Result<(), JournalError> {
        Err(JournalError::Panicked)
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        Err(JournalError::Panicked)
    }

    async fn should_isolate(&self, _: &JournalError) -> bool {
        match self {
            Self::Away => false,
            Self::There => true,
        }
    }

    async fn id(&self) -> Result<String, JournalError> {
        Err(JournalError::Panicked)
    }

    async fn register(&self, _: &SagaDefinition) -> Result<(), RegisterError> {
        Err(JournalError::Panicked.into())
    }
}

fn collision() -> JournalError {
    JournalError::Collision("another one".into())
}

fn refused() -> JournalError {
    JournalError::Refused("no".into())
}

const RETRIES: Retries = Retries { max: 3, first: Again::AtOnce };

/// Runs a unit of work that fails so often; its result, how often it ran, was counted and paused.
async fn retried(failures: u32, error: fn() -> JournalError, retries: Retries) -> (bool, [u32; 3]) {
    let (pauses, counter, mut runs) = (Pauses::default(), Counter::default(), 0);
    let result = retry_unit(&pauses, retries, Some(&counter), |failure| {
        assert_eq!(failure.is_some(), runs > 0, "the unit hears of the failure before");
        runs += 1;
        let fails = runs <= failures;
        async move { if fails { Err(error()) } else { Ok(()) } }
    });
    let is_done = result.await.is_ok();
    let counted = u32::try_from(counter.get()).unwrap();
    (is_done, [runs, counted, pauses.0.load(Ordering::Relaxed)])
}

#[tokio::test]
async fn retryable_failure_is_retried_until_the_limit() {
    assert_eq!(retried(0, collision, RETRIES).await, (true, [1, 0, 0]));
    assert_eq!(retried(3, collision, RETRIES).await, (true, [4, 3, 2]));
    assert_eq!(retried(4, collision, RETRIES).await, (false, [4, 3, 2]));
}

#[tokio::test]
async fn failure_that_is_not_retryable_is_final() {
    assert_eq!(retried(1, refused, RETRIES).await, (false, [1, 0, 0]));
}

#[tokio::test]
async fn first_retry_pauses_unless_it_may_begin_at_once() {
    assert_eq!(retried(1, collision, RETRIES).await, (true, [2, 1, 0]));
    let paused = Retries { first: Again::AfterPause, ..RETRIES };
    assert_eq!(retried(1, collision, paused).await, (true, [2, 1, 1]));
}

/// Work on numbers, two in each unit of work.
struct Numbers {
    /// A unit of work with this number in it fails like this.
    culprit: Option<(u32, fn() -> JournalError)>,
    /// True if work ends with a number that fails alone.
    gives_up: bool,
    /// The units of work that were run.
    runs: Vec<(Vec<u32>, Isolation)>,
    done: Vec<u32>,
    failed: Vec<u32>,
}

impl Numbers {
    fn new(culprit: Option<(u32, fn() -> JournalError)>) -> Self {
        Self { culprit, gives_up: false, runs: Vec::new(), done: Vec::new(), failed: Vec::new() }
    }

    fn alone(&self) -> Vec<u32> {
        let alone = self.runs.iter().filter(|(_, isolation)| *isolation == Isolation::Alone);
        alone.flat_map(|(members, _)| members.clone()).collect()
    }
}

impl BatchWork for Numbers {
    type Member = u32;
    type Outcome = usize;
    const NAME: &'static str = "numbers";

    async fn run(&mut self, members: &[u32], isolation: Isolation) -> Result<usize, JournalError> {
        self.runs.push((members.to_vec(), isolation));
        match self.culprit {
            Some((number, error)) if members.contains(&number) => Err(error()),
            Some(_) | None => Ok(members.len().min(2)),
        }
    }

    async fn after_commit(&mut self, members: &mut Vec<u32>, done: usize) {
        self.done.extend(members.drain(..done));
    }

    async fn fail(&mut self, member: u32, error: JournalError) -> Result<(), Failed<u32>> {
        self.failed.push(member);
        if self.gives_up { Err(Failed::one(member, error)) } else { Ok(()) }
    }
}

fn limit() -> SharedLimit {
    SharedLimit::new(BatchSize { rows: 1_000, bytes: 8 << 20 })
}

#[tokio::test]
async fn batch_runs_in_as_many_units_as_its_members_need() {
    let (mut work, limit) = (Numbers::new(None), limit());
    run_batch(&FakeJournal::There, &limit, &mut work, vec![1, 2, 3, 4, 5]).await.unwrap();
    assert_eq!(work.done, [1, 2, 3, 4, 5]);
    let sizes: Vec<(usize, usize)> =
        work.runs.iter().map(|(members, company)| (members.len(), company.bytes_max())).collect();
    assert_eq!(sizes, [(5, 4 << 20), (3, 8 << 20), (1, 8 << 20)]);
    assert_eq!(limit.now().rows, 8 * 64, "each commit doubles the limit");
}

#[tokio::test]
async fn culprit_of_failed_batch_fails_alone() {
    let (mut work, limit) = (Numbers::new(Some((2, refused))), limit());
    run_batch(&FakeJournal::There, &limit, &mut work, vec![1, 2, 3]).await.unwrap();
    assert_eq!((work.done.as_slice(), work.failed.as_slice()), (&[1, 3][..], &[2][..]));
    assert_eq!(work.alone(), [1, 2, 3]);
    assert_eq!(limit.now().rows, 32, "members that run alone say nothing of batches");
}

#[tokio::test]
async fn batch_is_not_isolated_while_the_journal_is_away() {
    let mut work = Numbers::new(Some((2, refused)));
    let failed = run_batch(&FakeJournal::Away, &limit(), &mut work, vec![1, 2, 3]).await.unwrap_err();
    assert_eq!(failed.members, [1, 2, 3]);
    assert!(matches!(failed.error, JournalError::Refused(_)));
    assert_eq!((work.runs.len(), work.failed.len()), (1, 0));
}

#[tokio::test]
async fn batch_of_one_is_not_run_twice() {
    let mut work = Numbers::new(Some((1, refused)));
    run_batch(&FakeJournal::There, &limit(), &mut work, vec![1]).await.unwrap();
    assert_eq!((work.runs.len(), work.failed.as_slice()), (1, &[1][..]));
}

#[tokio::test]
async fn work_ends_with_the_member_that_gives_up() {
    let mut work = Numbers { gives_up: true, ..Numbers::new(Some((2, refused))) };
    let batch = vec![1, 2, 3, 4];
    let failed = run_batch(&FakeJournal::There, &limit(), &mut work, batch).await.unwrap_err();
    assert_eq!(failed.members, [2, 3, 4]);
    assert_eq!((work.done.as_slice(), work.alone().as_slice()), (&[1][..], &[1, 2][..]));
}

#[tokio::test]
async fn collision_says_nothing_of_the_size_of_batches() {
    let (mut work, limit) = (Numbers::new(Some((2, collision))), limit());
    run_batch(&FakeJournal::There, &limit, &mut work, vec![1, 2]).await.unwrap();
    assert_eq!(limit.now().rows, 64);
}
