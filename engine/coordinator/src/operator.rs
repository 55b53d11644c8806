//! Operator commands: one decision under the row lock, audited in its transaction.
//!
//! An operator command wins or it loses, and the saga's row says which. The caller may go away in the middle: a
//! decision that was begun is finished in a task of its own. If the answer to the commit was lost, the audit log says
//! if the command is in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use redress_core::decide::{Event, Refusal};
use redress_core::{Name, SagaId};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::batch::{CommitEffects, Occasion, decide_batch};
use crate::broker::Broker;
use crate::decider::Decider;
use crate::engine::{Engine, Parts};
use crate::ports::{
    Audit, Bus, Changes, Clock, Journal, JournalError, JournalReads, Selection, Snapshot, Stored, StoredState,
};
use crate::publisher::Publisher;
use crate::requests::{OperatorError, OperatorRequest};
use crate::rules::Rules;
use crate::units::{Again, Retries, retry_unit};
use crate::view::SagaView;

const RETRIES: Retries = Retries { max: 4, first: Again::AfterPause };

/// No bytes to spare: one saga is read in any case.
const ONE_SAGA: usize = 1;

enum Refused {
    Decision(Refusal),
    Stale,
    SetAside,
    /// Written by a newer program, in this form.
    Newer(u32),
    /// Pruned since it was looked at.
    Gone,
}

impl<J: JournalReads, B: Bus, C: Clock> Engine<J, B, C> {
    /// Carries out an operator command on a saga, if it is not too late: cancel, retry, resolve, close, pause, resume.
    ///
    /// # Errors
    /// [`OperatorError`] gives the reason for a refusal, with the saga as it is.
    pub async fn operate(&self, id: SagaId, request: OperatorRequest) -> Result<SagaView, OperatorError> {
        let before = self.saga(id).await?.ok_or(OperatorError::NotFound(id))?;
        let known = Name::new(&before.saga)
            .ok()
            .and_then(|n| self.parts.decider.rules.registry.get(&n, before.version));
        if known.is_none() {
            return Err(OperatorError::VersionNotHere(before.saga, before.version));
        }
        let verb = request.command.verb.as_str();
        let Parts { decider, publisher, tasks, .. } = &*self.parts;
        let unit = decide_operator_command(decider.clone(), publisher.clone(), tasks.clone(), id, request);
        let unit = tasks.spawn(unit);
        let refused = unit.await.unwrap_or(Err(JournalError::Panicked))?;
        let after = self.saga(id).await?.ok_or(OperatorError::NotFound(id))?;
        match refused {
            None => Ok(after),
            Some(Refused::Decision(refusal)) => {
                Err(OperatorError::Refused { verb, refusal, saga: Box::new(after) })
            }
            Some(Refused::Newer(format)) => {
                let known = self.parts.config.state_format;
                Err(JournalError::Newer { id, format, known }.into())
            }
            Some(Refused::Gone) => Err(OperatorError::NotFound(id)),
            Some(Refused::Stale) => Err(OperatorError::StaleRevision(Box::new(after))),
            Some(Refused::SetAside) => {
                let problem = format!("saga {id} cannot be decided on; the log says why");
                Err(JournalError::Unreadable(problem).into())
            }
        }
    }
}

async fn decide_operator_command<J: Journal, B: Bus, C: Clock>(
    decider: Arc<Decider<J, C>>,
    publisher: Arc<Publisher<J, B, C>>,
    tasks: TaskTracker,
    id: SagaId,
    request: OperatorRequest,
) -> Result<Option<Refused>, JournalError> {
    let (command_id, mut maybe_committed) = (decider.clock.new_id(), false);
    let decided = retry_unit(&decider.clock, RETRIES, None, |failure| {
        maybe_committed |= matches!(failure, Some(JournalError::CommitUnknown(_)));
        let (of_unit, broker, asked) = (decider.clone(), publisher.broker.clone(), request.clone());
        let decide = move |snapshot| decide_on(&of_unit.rules, &broker, snapshot, id, command_id, asked);
        decider.journal.transact(Selection::These(vec![id]), ONE_SAGA, decide)
    });
    match decided.await? {
        Ok(outcome) => {
            // The decision stands; the caller need not wait for the broker.
            let room = publisher.room_for(&outcome.outgoing).await;
            let publishing = publisher.after_commit(outcome);
            tasks.spawn(async move {
                publishing.await;
                drop(room);
            });
            Ok(None)
        }
        Err(refused) => {
            let ours = maybe_committed && decider.journal.has_operator_command(command_id).await?;
            Ok(Some(refused).filter(|_| !ours))
        }
    }
}

fn decide_on<C: Clock>(
    rules: &Rules<C>,
    broker: &Broker,
    snapshot: Snapshot,
    id: SagaId,
    command_id: Uuid,
    request: OperatorRequest,
) -> (Changes, Result<CommitEffects, Refused>) {
    let Some(revision) = snapshot.sagas.first().map(|stored| stored.revision) else {
        return (Changes::default(), Err(Refused::Gone));
    };
    if request.if_match.is_some_and(|wanted| !wanted.contains(&revision)) {
        return (Changes::default(), Err(Refused::Stale));
    }
    if let Some(Stored { state: StoredState::Newer(format), .. }) = snapshot.sagas.first() {
        return (Changes::default(), Err(Refused::Newer(*format)));
    }
    let command = request.command;
    // An operator command may also find that a pending command was lost.
    let may_be_lost = Event::MayBeLost { asked_before: broker.lost_before(snapshot.now) };
    let events = BTreeMap::from([(id, vec![may_be_lost, Event::Operator(command.clone())])]);
    let (mut changes, outcome) = decide_batch(rules, snapshot, events, Occasion::Events, ONE_SAGA);
    if !changes.set_aside.is_empty() {
        return (changes, Err(Refused::SetAside));
    }
    if let Some((_, refusal)) = outcome.refusals.first() {
        return (changes, Err(Refused::Decision(*refusal)));
    }
    changes.audit.push(Audit {
        command_id,
        actor: command.actor,
        verb: command.verb.as_str(),
        saga_id: id,
        reason: command.reason,
    });
    (changes, Ok(outcome))
}
