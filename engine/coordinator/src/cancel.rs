//! Cancelling: one decision under the row lock, audited in its transaction.
//!
//! It wins or it loses, and the saga's row says which. Whoever asked may go away in the middle: what was begun is
//! finished in a task of its own. If the answer to the commit was lost, the history says whether the request is in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redress_core::decide::{CancelRefusal, Event};
use redress_core::{Name, SagaId};

use crate::engine::{Engine, Shared};
use crate::intake;
use crate::journal::JournalError;
use crate::ports::{Audit, Changes, Journal, Selection, Snapshot};
use crate::registry::Registry;
use crate::requests::{CancelError, CancelRequest};
use crate::view::SagaView;
use crate::work::{Outcome, decide_batch};

/// How often it is tried again when another unit of work is in the way or the answer to the commit was lost.
const TRIES_MAX: u32 = 4;

enum Refused {
    Decision(CancelRefusal),
    Stale,
    SetAside,
}

impl Engine {
    /// Makes a saga turn back, if it is not too late.
    ///
    /// # Errors
    /// [`CancelError`] says who won, with the saga as it is.
    pub async fn cancel(&self, id: SagaId, request: CancelRequest) -> Result<SagaView, CancelError> {
        let before = self.saga(id).await?.ok_or(CancelError::NotFound(id))?;
        let known = Name::new(&before.saga).ok().and_then(|n| self.shared.registry.get(&n, before.version));
        if known.is_none() {
            return Err(CancelError::VersionNotHere(before.saga, before.version));
        }
        let shared = self.shared.clone();
        let unit = self.shared.tasks.spawn(async move { decide_cancel(&shared, id, &request).await });
        let refused = unit.await.unwrap_or(Err(JournalError::Panicked))?;
        let after = self.saga(id).await?.ok_or(CancelError::NotFound(id))?;
        match refused {
            None => Ok(after),
            Some(Refused::Decision(refusal)) => Err(CancelError::Refused(refusal, Box::new(after))),
            Some(Refused::Stale) => Err(CancelError::StaleRevision(Box::new(after))),
            Some(Refused::SetAside) => {
                let problem = format!("saga {id} cannot be decided on; the log says why");
                Err(JournalError::Unreadable(problem).into())
            }
        }
    }
}

async fn decide_cancel(
    shared: &Arc<Shared>,
    id: SagaId,
    request: &CancelRequest,
) -> Result<Option<Refused>, JournalError> {
    let (mut tries, mut maybe_committed) = (0, false);
    loop {
        let (registry, asked) = (shared.registry.clone(), request.clone());
        let selection = Selection::These(vec![id]);
        let decide = move |snapshot| decide_on(&registry, snapshot, id, asked);
        match shared.journal.transact(selection, decide).await {
            Ok(Ok(outcome)) => {
                // The decision stands; whoever asked need not wait for the broker.
                shared.tasks.spawn(intake::after_commit(shared, outcome));
                return Ok(None);
            }
            Ok(Err(refused)) => {
                let ours = maybe_committed
                    && shared.journal.was_cancelled_by(id, &request.actor, &request.reason).await?;
                return Ok(Some(refused).filter(|_| !ours));
            }
            Err(error) if error.is_worth_another_try() && tries < TRIES_MAX => {
                tries += 1;
                maybe_committed |= matches!(error, JournalError::CommitUnknown(_));
                tokio::time::sleep(Duration::from_millis(u64::from(rand::random::<u8>()))).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn decide_on(
    registry: &Registry,
    snapshot: Snapshot,
    id: SagaId,
    request: CancelRequest,
) -> (Changes, Result<Outcome, Refused>) {
    let revision = snapshot.sagas.first().map(|stored| stored.revision);
    if request.if_match.is_some_and(|wanted| Some(wanted) != revision) {
        return (Changes::default(), Err(Refused::Stale));
    }
    let (actor, reason) = (request.actor.clone(), request.reason.clone());
    let event = Event::CancelRequested { reason, actor };
    let events = BTreeMap::from([(id, vec![event])]);
    let (mut changes, outcome) = decide_batch(registry, snapshot, events, false);
    if !changes.set_aside.is_empty() {
        return (changes, Err(Refused::SetAside));
    }
    if let Some((_, refusal)) = outcome.refusals.first() {
        return (changes, Err(Refused::Decision(*refusal)));
    }
    let audit = Audit { actor: request.actor, verb: "cancel", saga_id: id, reason: request.reason };
    changes.audit.push(audit);
    (changes, Ok(outcome))
}
