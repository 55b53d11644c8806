//! Runs units of work: one again where that may help, and a batch so that no member stops the others.
//!
//! A unit of work that met another one, or whose commit was not answered, is run again ([`retry_unit`]). A batch is run
//! in as many units as its members need ([`run_batch`]). If one of them fails and a member may be to blame, each member
//! is run in a unit of its own ([`isolate`]): only the culprit waits, is set aside or is refused. How large the next
//! batch may be is learnt from the batches; a member that runs alone says nothing of them.
//!
//! What the members are and what becomes of them (acknowledged, woken, set aside, refused) is the caller's
//! ([`BatchWork`]). A participant has a runner of its own (`participant/src/recovery.rs`): its members come again from the
//! broker, may be the end of the process, and leave attempt markers.

use prometheus_client::metrics::counter::Counter;

use crate::batch_size::SharedLimit;
use crate::pauses::stagger;
use crate::ports::{Clock, Journal, JournalError};

/// When a unit of work is run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// At once.
    AtOnce,
    /// After a pause of chance length, lest those that met meet again.
    AfterPause,
}

/// How often a unit of work is run again when another one was in the way or the answer to its commit was lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retries {
    /// At most so often.
    pub(crate) max: u32,
    /// The first time; each later one comes after a pause.
    pub(crate) first: Again,
}

impl Retries {
    /// When a unit of work is run again that has failed like this, having been run again so often; never if `None`.
    fn again(self, error: &JournalError, retried: u32) -> Option<Again> {
        let is_due = error.is_retryable() && retried < self.max;
        is_due.then_some(if retried == 0 { self.first } else { Again::AfterPause })
    }
}

/// Runs a unit of work, and again as `retries` allow; each time it is handed the failure before, if there was one.
///
/// `counter` counts how often it is run again.
pub(crate) async fn retry_unit<C: Clock, T, F>(
    clock: &C,
    retries: Retries,
    counter: Option<&Counter>,
    mut unit: impl FnMut(Option<&JournalError>) -> F,
) -> Result<T, JournalError>
where
    F: Future<Output = Result<T, JournalError>>,
{
    let (mut retried, mut failure) = (0, None);
    loop {
        let error = match unit(failure.as_ref()).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let Some(again) = retries.again(&error, retried) else { return Err(error) };
        retried += 1;
        if let Some(counter) = counter {
            counter.inc();
        }
        match again {
            Again::AtOnce => {}
            Again::AfterPause => stagger(clock).await,
        }
        failure = Some(error);
    }
}

/// The company in which a member of a batch is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// With the others that came, as many as fit: they wait a little for a transaction that is in the way.
    Batch {
        /// About the most bytes that the unit of work may read and send.
        bytes_max: usize,
    },
    /// Alone, after its batch has failed: if another transaction holds its saga it rests, so that no member behind it
    /// waits.
    Alone,
}

impl Isolation {
    /// The bytes that a unit of work may read and send; alone, a member's own are read in any case.
    pub(crate) const fn bytes_max(self) -> usize {
        match self {
            Self::Batch { bytes_max } => bytes_max,
            Self::Alone => 1,
        }
    }
}

/// Work that comes in batches.
pub(crate) trait BatchWork: Send {
    /// What a batch consists of.
    type Member: Send + Sync;
    /// What a unit of work has led to.
    type Outcome: Send;
    /// The members by name, for the log.
    const NAME: &'static str;

    /// Runs these members in one unit of work, as many as fit, but always one.
    fn run(
        &mut self,
        members: &[Self::Member],
        isolation: Isolation,
    ) -> impl Future<Output = Result<Self::Outcome, JournalError>> + Send;

    /// Does what follows the commit, and takes out the members that are done.
    fn after_commit(
        &mut self,
        members: &mut Vec<Self::Member>,
        outcome: Self::Outcome,
    ) -> impl Future<Output = ()> + Send;

    /// Does what follows when a member has failed alone; an error ends the work on the others, too.
    fn fail(
        &mut self,
        member: Self::Member,
        error: JournalError,
    ) -> impl Future<Output = Result<(), Failed<Self::Member>>> + Send;
}

/// Members that were given up together, in their order: the journal is to blame, and none of them.
#[derive(Debug)]
pub(crate) struct Failed<M> {
    pub(crate) members: Vec<M>,
    pub(crate) error: JournalError,
}

impl<M> Failed<M> {
    pub(crate) fn one(member: M, error: JournalError) -> Self {
        Self { members: vec![member], error }
    }
}

/// Runs a batch until all its members are done; if a unit of work fails, those that are left run one by one, unless the
/// journal is to blame.
///
/// # Errors
/// The members that are left when there is no use in going on.
pub(crate) async fn run_batch<J: Journal, W: BatchWork>(
    journal: &J,
    limit: &SharedLimit,
    work: &mut W,
    mut members: Vec<W::Member>,
) -> Result<(), Failed<W::Member>> {
    while !members.is_empty() {
        let together = Isolation::Batch { bytes_max: limit.now().bytes };
        let result = work.run(&members, together).await;
        limit.learn(&result);
        let error = match result {
            Ok(outcome) => {
                work.after_commit(&mut members, outcome).await;
                continue;
            }
            Err(error) => error,
        };
        return match <[W::Member; 1]>::try_from(members) {
            // It was alone already.
            Ok([member]) => work.fail(member, error).await,
            Err(members) => isolate(journal, work, members, error).await,
        };
    }
    Ok(())
}

/// Runs the members of a failed batch one by one, unless the journal is to blame.
///
/// # Errors
/// The members that are left when there is no use in going on.
pub(crate) async fn isolate<J: Journal, W: BatchWork>(
    journal: &J,
    work: &mut W,
    members: Vec<W::Member>,
    error: JournalError,
) -> Result<(), Failed<W::Member>> {
    if members.is_empty() || !journal.should_isolate(&error).await {
        return Err(Failed { members, error });
    }
    tracing::warn!(error = error.with_causes(), "batch of {} failed; its members run one by one", W::NAME);
    let mut members = members.into_iter();
    while let Some(member) = members.next() {
        let failed = match work.run(std::slice::from_ref(&member), Isolation::Alone).await {
            Ok(outcome) => {
                work.after_commit(&mut vec![member], outcome).await;
                continue;
            }
            Err(error) => work.fail(member, error).await,
        };
        if let Err(mut failed) = failed {
            failed.members.extend(members);
            return Err(failed);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
