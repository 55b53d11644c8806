//! A decision that a caller waits for: an operator command, or an event from outside.
//!
//! It is one unit of work, under the row lock of its saga, and run again where another one was in the way. The caller may
//! go away in the middle: a decision that was begun is finished in a task of its own. If the answer to its commit was
//! lost, the same is decided once more on the state that the journal then has, and the caller finds out which it was: by
//! the audit log, or by the key of the event.

use std::collections::BTreeMap;
use std::sync::Arc;

use redress_core::SagaId;
use redress_core::decide::{Event, EventVerdict, Refusal};
use tokio_util::task::TaskTracker;

use crate::batch::{CommitEffects, Occasion, decide_batch};
use crate::broker::Broker;
use crate::decider::Decider;
use crate::ports::{
    Audit, Bus, Changes, Clock, Journal, JournalError, Selection, Snapshot, Stored, StoredState,
};
use crate::publisher::Publisher;
use crate::rules::Rules;
use crate::units::{Again, Retries, retry_unit};

const RETRIES: Retries = Retries { max: 4, first: Again::AfterPause };

/// No bytes to spare: one saga is read in any case.
const ONE_SAGA: usize = 1;

/// What the caller asks of a saga.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) event: Event,
    /// Only if the saga has one of these revisions.
    pub(crate) if_match: Option<Vec<i64>>,
    /// Written in the same transaction, unless it is refused.
    pub(crate) audit: Option<Audit>,
}

/// No decision was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undecided {
    /// The saga has moved since the caller looked.
    Stale,
    /// It cannot be decided on; the log says why.
    SetAside,
    /// Written by a newer program, in this form.
    Newer(u32),
    /// Pruned since it was looked at.
    Gone,
}

/// What was decided.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    /// An operator command was refused; nothing has changed.
    pub(crate) refusal: Option<Refusal>,
    /// What the saga made of an event.
    pub(crate) verdict: Option<EventVerdict>,
    /// True if an earlier run of the unit of work may have been committed, so that this one found its traces.
    pub(crate) maybe_before: bool,
}

/// Decides on one saga, writes, and has published what follows.
pub(crate) async fn decide_for_caller<J: Journal, B: Bus, C: Clock>(
    decider: Arc<Decider<J, C>>,
    publisher: Arc<Publisher<J, B, C>>,
    tasks: TaskTracker,
    id: SagaId,
    asked: Asked,
) -> Result<Result<Decided, (Undecided, bool)>, JournalError> {
    let mut maybe_before = false;
    let decided = retry_unit(&decider.clock, RETRIES, None, |failure| {
        maybe_before |= matches!(failure, Some(JournalError::CommitUnknown(_)));
        let (of_unit, broker, asked) = (decider.clone(), publisher.broker.clone(), asked.clone());
        let decide = move |snapshot| decide_on(&of_unit.rules, &broker, snapshot, id, asked);
        decider.journal.transact(Selection::These(vec![id]), ONE_SAGA, decide)
    });
    let mut effects = match decided.await? {
        Ok(effects) => effects,
        Err(undecided) => return Ok(Err((undecided, maybe_before))),
    };
    decider.kept.put(std::mem::take(&mut effects.kept));
    let refusal = effects.refusals.first().map(|(_, refusal)| *refusal);
    let verdict = effects.verdicts.first().map(|(_, verdict)| verdict.clone());
    // The decision stands; the caller need not wait for the broker.
    let room = publisher.room_for(&effects.outgoing).await;
    let publishing = publisher.after_commit(effects);
    tasks.spawn(async move {
        publishing.await;
        drop(room);
    });
    Ok(Ok(Decided { refusal, verdict, maybe_before }))
}

fn decide_on<C: Clock>(
    rules: &Rules<C>,
    broker: &Broker,
    snapshot: Snapshot,
    id: SagaId,
    asked: Asked,
) -> (Changes, Result<CommitEffects, Undecided>) {
    let Some(revision) = snapshot.sagas.first().map(|stored| stored.revision) else {
        return (Changes::default(), Err(Undecided::Gone));
    };
    if asked.if_match.is_some_and(|wanted| !wanted.contains(&revision)) {
        return (Changes::default(), Err(Undecided::Stale));
    }
    if let Some(Stored { state: StoredState::Newer(format), .. }) = snapshot.sagas.first() {
        return (Changes::default(), Err(Undecided::Newer(*format)));
    }
    // The caller may also find that a pending command was lost.
    let may_be_lost = Event::MayBeLost { asked_before: broker.lost_before(snapshot.now) };
    let events = BTreeMap::from([(id, vec![may_be_lost, asked.event])]);
    let (mut changes, effects) = decide_batch(rules, snapshot, events, Occasion::Events, ONE_SAGA);
    if !changes.set_aside.is_empty() {
        return (changes, Err(Undecided::SetAside));
    }
    if effects.refusals.is_empty() {
        changes.audit.extend(asked.audit);
    }
    (changes, Ok(effects))
}

/// A saga that cannot be decided on.
pub(crate) fn set_aside(id: SagaId) -> JournalError {
    JournalError::Unreadable(format!("saga {id} cannot be decided on; the log says why"))
}
