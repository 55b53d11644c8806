//! What operators order: one decision under the row lock, audited in its transaction.
//!
//! An order wins or it loses, and the saga's row says which. Whoever gave it may go away in the middle: what was begun
//! is finished in a task of its own. If the answer to the commit was lost, the audit log says whether the order is in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redress_core::decide::{Event, Refusal};
use redress_core::{Name, SagaId};
use uuid::Uuid;

use crate::engine::{Engine, Shared};
use crate::intake;
use crate::journal::JournalError;
use crate::ports::{Audit, Changes, Journal, Selection, Snapshot};
use crate::registry::Registry;
use crate::requests::{OrderError, OrderRequest};
use crate::view::SagaView;
use crate::work::{Outcome, decide_batch};

/// How often it is tried again when another unit of work is in the way or the answer to the commit was lost.
const TRIES_MAX: u32 = 4;

enum Refused {
    Decision(Refusal),
    Stale,
    SetAside,
    /// Pruned since it was looked at.
    Gone,
}

impl Engine {
    /// Does what an operator wants of a saga, if it is not too late: cancel, retry, resolve, close, pause, resume.
    ///
    /// # Errors
    /// [`OrderError`] says what is in the way, with the saga as it is.
    pub async fn order(&self, id: SagaId, request: OrderRequest) -> Result<SagaView, OrderError> {
        let before = self.saga(id).await?.ok_or(OrderError::NotFound(id))?;
        let known = Name::new(&before.saga).ok().and_then(|n| self.shared.registry.get(&n, before.version));
        if known.is_none() {
            return Err(OrderError::VersionNotHere(before.saga, before.version));
        }
        let (shared, verb) = (self.shared.clone(), request.order.verb.as_str());
        let unit = self.shared.tasks.spawn(async move { decide_order(&shared, id, &request).await });
        let refused = unit.await.unwrap_or(Err(JournalError::Panicked))?;
        let after = self.saga(id).await?.ok_or(OrderError::NotFound(id))?;
        match refused {
            None => Ok(after),
            Some(Refused::Decision(refusal)) => {
                Err(OrderError::Refused { verb, refusal, saga: Box::new(after) })
            }
            Some(Refused::Gone) => Err(OrderError::NotFound(id)),
            Some(Refused::Stale) => Err(OrderError::StaleRevision(Box::new(after))),
            Some(Refused::SetAside) => {
                let problem = format!("saga {id} cannot be decided on; the log says why");
                Err(JournalError::Unreadable(problem).into())
            }
        }
    }
}

async fn decide_order(
    shared: &Arc<Shared>,
    id: SagaId,
    request: &OrderRequest,
) -> Result<Option<Refused>, JournalError> {
    let (mut tries, mut maybe_committed) = (0, false);
    let order_id = Uuid::now_v7();
    loop {
        let (registry, asked) = (shared.registry.clone(), request.clone());
        let selection = Selection::These(vec![id]);
        let decide = move |snapshot| decide_on(&registry, snapshot, id, order_id, asked);
        match shared.journal.transact(selection, decide).await {
            Ok(Ok(outcome)) => {
                // The decision stands; whoever asked need not wait for the broker.
                shared.tasks.spawn(intake::after_commit(shared, outcome));
                return Ok(None);
            }
            Ok(Err(refused)) => {
                let ours = maybe_committed && shared.journal.has_order(order_id).await?;
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
    order_id: Uuid,
    request: OrderRequest,
) -> (Changes, Result<Outcome, Refused>) {
    let Some(revision) = snapshot.sagas.first().map(|stored| stored.revision) else {
        return (Changes::default(), Err(Refused::Gone));
    };
    if request.if_match.is_some_and(|wanted| wanted != revision) {
        return (Changes::default(), Err(Refused::Stale));
    }
    let order = request.order;
    let events = BTreeMap::from([(id, vec![Event::Ordered(order.clone())])]);
    let (mut changes, outcome) = decide_batch(registry, snapshot, events, false);
    if !changes.set_aside.is_empty() {
        return (changes, Err(Refused::SetAside));
    }
    if let Some((_, refusal)) = outcome.refusals.first() {
        return (changes, Err(Refused::Decision(*refusal)));
    }
    changes.audit.push(Audit {
        order_id,
        actor: order.actor,
        verb: order.verb.as_str(),
        saga_id: id,
        reason: order.reason,
    });
    (changes, Ok(outcome))
}
