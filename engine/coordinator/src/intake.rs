//! The loops: replies in, timers, and what follows a commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redress_core::decide::Event;
use redress_core::{Name, ReplyMessage, SagaId};
use redress_wire::Delivery;
use redress_wire::delivery::Handle as Ack;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::crash::CrashPoint;
use crate::engine::Shared;
use crate::journal::JournalError;
use crate::metrics::Kind;
use crate::ports::{Buried, Changes, Journal, Selection};
use crate::waiters::Ended;
use crate::work::{Outcome, decide_batch};

/// How often a batch is tried again when another one is in the way or the answer to its commit was lost.
const TRIES_MAX: u32 = 8;
/// How many sagas in a row may meet trouble of the database's before it is taken for the database's and not theirs.
const TROUBLE_MAX: u32 = 3;
/// How long replies rest while the database is down.
const DATABASE_DOWN_PAUSE: Duration = Duration::from_secs(1);

/// Takes the replies to sagas of one definition until the shutdown.
pub(crate) async fn replies(shared: Arc<Shared>, saga: Name, version: u32, shutdown: CancellationToken) {
    let mut inflow = shared.wire.replies(&saga, version);
    let lanes = Arc::new(Semaphore::new(shared.config.lanes));
    loop {
        let lane = lanes.clone().acquire_owned().await.expect("the lanes are never closed");
        let batch = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            batch = inflow.next_batch(shared.config.batch_max) => batch,
        };
        let shared = shared.clone();
        shared.clone().tasks.spawn(async move {
            process(&shared, batch).await;
            drop(lane);
        });
    }
}

async fn process(shared: &Arc<Shared>, batch: Vec<Delivery<ReplyMessage>>) {
    shared.metrics.batch_size.observe(batch.len() as f64);
    let mut replies = Vec::with_capacity(batch.len());
    for delivery in batch {
        let (message, _, ack) = delivery.split();
        match message {
            Ok(reply) => replies.push((reply, ack)),
            Err(poison) => {
                let letter = Buried {
                    saga_id: poison.address.map(|address| address.key.saga_id),
                    reason: poison.reason,
                    subject: poison.subject,
                    headers: poison.headers,
                    payload: poison.payload,
                };
                match shared.journal.bury(vec![letter]).await {
                    Ok(()) => ack.term().await,
                    Err(_) => ack.nak(DATABASE_DOWN_PAUSE).await,
                }
                shared.metrics.dead_letters.inc();
            }
        }
    }
    if !replies.is_empty() {
        settle(shared, replies, Company::Batch).await;
    }
}

/// In which company a reply is decided on.
#[derive(Clone, Copy)]
enum Company {
    /// With the others that came: they wait a little for whoever is in the way.
    Batch,
    /// Alone, after its batch has failed: if somebody holds its saga it rests, so that nobody behind it has to wait.
    Alone,
}

/// Whether the journal can be worked with.
enum Journalled {
    /// It can; what it did not take was set aside or put back.
    Yes,
    /// There is no use in going on.
    Unavailable,
}

/// Decides a batch; one that cannot be decided as a whole is decided reply by reply, so that the culprit is found.
async fn settle(shared: &Arc<Shared>, replies: Vec<(ReplyMessage, Ack)>, company: Company) -> Journalled {
    let mut events: BTreeMap<SagaId, Vec<Event>> = BTreeMap::new();
    for (reply, _) in &replies {
        events.entry(reply.key.saga_id).or_default().push(Event::Reply(reply.clone()));
    }
    let pass = |point| shared.config.crash.pass(point, replies.iter().map(|(reply, _)| &reply.key));
    pass(CrashPoint::BeforeCommit);
    match work(shared, events, company).await {
        Ok(outcome) => {
            pass(CrashPoint::AfterCommit);
            let publishing = after_commit(shared, outcome);
            for (_, ack) in &replies {
                ack.ack().await;
            }
            if shared.config.crash.is_armed() {
                // Whoever dies at the next point must not take the acknowledgements along.
                shared.wire.flush().await;
            }
            pass(CrashPoint::AfterAcknowledgement);
            publishing.await;
            pass(CrashPoint::AfterPublish);
        }
        Err(error) => return settle_failed(shared, replies, error).await,
    }
    Journalled::Yes
}

async fn settle_failed(
    shared: &Arc<Shared>,
    replies: Vec<(ReplyMessage, Ack)>,
    error: JournalError,
) -> Journalled {
    let is_there = shared.journal.may_fail_less_alone(&error).await;
    let (count, error_text) = (replies.len(), error.with_causes());
    if is_there && count > 1 {
        tracing::warn!(error = error_text, "batch of replies failed; they are decided one by one");
        return settle_alone(shared, replies).await;
    }
    if error.is_unavailable() {
        tracing::warn!(error = error_text, count, "not journalled; the replies wait");
        put_back(replies).await;
        return if is_there { Journalled::Yes } else { Journalled::Unavailable };
    }
    for (reply, ack) in replies {
        set_aside(shared, &reply, &ack, &error_text).await;
    }
    Journalled::Yes
}

/// Each reply in a unit of work of its own, so that only the culprit waits or is set aside.
async fn settle_alone(shared: &Arc<Shared>, replies: Vec<(ReplyMessage, Ack)>) -> Journalled {
    let mut replies = replies.into_iter();
    while let Some(reply) = replies.next() {
        match Box::pin(settle(shared, vec![reply], Company::Alone)).await {
            Journalled::Yes => {}
            Journalled::Unavailable => {
                put_back(replies.collect()).await;
                return Journalled::Unavailable;
            }
        }
    }
    Journalled::Yes
}

async fn put_back(replies: Vec<(ReplyMessage, Ack)>) {
    for (_, ack) in replies {
        ack.nak(DATABASE_DOWN_PAUSE).await;
    }
}

/// Keeps a reply from which nothing that the journal takes can follow.
async fn set_aside(shared: &Shared, reply: &ReplyMessage, ack: &Ack, error: &str) {
    tracing::error!(error, key = %reply.key, "reply set aside");
    let letter = Buried {
        saga_id: Some(reply.key.saga_id),
        reason: format!("the journal refused what follows from it: {error}"),
        subject: format!("reply of {}", reply.service),
        headers: Vec::new(),
        payload: format!("{reply:?}").into_bytes(),
    };
    match shared.journal.bury(vec![letter]).await {
        Ok(()) => ack.term().await,
        Err(_) => ack.nak(DATABASE_DOWN_PAUSE).await,
    }
    shared.metrics.dead_letters.inc();
}

/// Decides events, trying again what is worth it.
async fn work(
    shared: &Shared,
    events: BTreeMap<SagaId, Vec<Event>>,
    company: Company,
) -> Result<Outcome, JournalError> {
    let ids: Vec<SagaId> = events.keys().copied().collect();
    let (mut selection, again) = match (company, ids.as_slice()) {
        (Company::Alone, &[id]) => (Selection::Alone(id), Selection::Alone(id)),
        // Unlocked, it could meet others again and again; with locks it waits for them.
        (Company::Alone | Company::Batch, _) => (Selection::Unlocked(ids.clone()), Selection::These(ids)),
    };
    let mut tries = 0;
    loop {
        let (registry, events, clock) = (shared.registry.clone(), events.clone(), shared.clock.clone());
        let result = shared
            .journal
            .transact(selection, move |snapshot| {
                clock.set(snapshot.now);
                decide_batch(&registry, snapshot, events, false)
            })
            .await;
        match result {
            Err(error) if error.is_worth_another_try() && tries < TRIES_MAX => {
                tries += 1;
                shared.metrics.batch_retries.inc();
                selection = again.clone();
                if tries > 1 {
                    tokio::time::sleep(Duration::from_millis(u64::from(rand::random::<u8>()))).await;
                }
            }
            result => return result,
        }
    }
}

/// Looks for sagas that are due until the shutdown; any number of coordinators do so at once.
pub(crate) async fn timers(shared: Arc<Shared>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(shared.config.timer_poll);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {}
        }
        if let Err(error) = shared.journal.look_for_faults().await {
            tracing::debug!(%error, "standing faults not looked up");
        }
        loop {
            match fire(&shared).await {
                Ok(true) if !shutdown.is_cancelled() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(error = error.with_causes(), "timers not looked up");
                    break;
                }
            }
        }
    }
}

/// Turns one batch of sagas that are due; says whether there may be more.
///
/// A batch that cannot be written as a whole is turned saga by saga: the culprit is set aside, or it would come first
/// again for ever and stop all the others.
async fn fire(shared: &Arc<Shared>) -> Result<bool, JournalError> {
    let limit = shared.config.timer_batch_max;
    let selected = Arc::new(Mutex::new(Vec::new()));
    let due = Selection::Due { known: shared.registry.known(), limit };
    let result = fire_these(shared, due, selected.clone()).await;
    let selected = std::mem::take(&mut *selected.lock().expect("nobody panics while holding the ids"));
    let full = i64::try_from(selected.len()).unwrap_or(i64::MAX) >= limit;
    match result {
        Err(error) if !selected.is_empty() && shared.journal.may_fail_less_alone(&error).await => {
            tracing::warn!(error = error.with_causes(), "batch of timers failed; they are turned one by one");
            fire_one_by_one(shared, selected).await?;
        }
        result => result?,
    }
    Ok(full)
}

/// Each saga in a unit of work of its own, so that only the culprit waits or is set aside.
///
/// A saga may also end its connection by itself (its row is too large, say); if one after the other does, it is the
/// database that is in trouble, and nobody is to blame.
async fn fire_one_by_one(shared: &Arc<Shared>, ids: Vec<SagaId>) -> Result<(), JournalError> {
    let mut in_trouble = 0;
    for id in ids {
        match fire_these(shared, Selection::Alone(id), Arc::default()).await {
            // Whoever holds it is busy with it; it stays due.
            Ok(()) | Err(JournalError::Held(_) | JournalError::Collision(_)) => in_trouble = 0,
            Err(error) if in_trouble < TROUBLE_MAX && shared.journal.may_fail_less_alone(&error).await => {
                let mut changes = Changes::default();
                if error.is_unavailable() {
                    in_trouble += 1;
                    tracing::warn!(error = error.with_causes(), saga_id = %id, "saga put off");
                    changes.put_off.push(id);
                } else {
                    tracing::error!(error = error.with_causes(), saga_id = %id, "saga set aside");
                    changes.set_aside.push(id);
                }
                shared.journal.transact(Selection::These(vec![id]), move |_| (changes, ())).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Turns the timers of the sagas that are selected, and notes which ones these are.
async fn fire_these(
    shared: &Arc<Shared>,
    selection: Selection,
    selected: Arc<Mutex<Vec<SagaId>>>,
) -> Result<(), JournalError> {
    let (registry, clock) = (shared.registry.clone(), shared.clock.clone());
    let outcome = shared
        .journal
        .transact(selection, move |snapshot| {
            clock.set(snapshot.now);
            *selected.lock().expect("nobody panics while holding the ids") =
                snapshot.sagas.iter().map(|stored| stored.id).collect();
            decide_batch(&registry, snapshot, BTreeMap::new(), true)
        })
        .await?;
    after_commit(shared, outcome).await;
    Ok(())
}

/// Counts, tells who waits, and publishes; the returned future is the publishing.
pub(crate) fn after_commit(
    shared: &Arc<Shared>,
    outcome: Outcome,
) -> impl Future<Output = ()> + Send + 'static {
    let metrics = &shared.metrics;
    for ((saga, event), times) in outcome.events {
        metrics.events.get_or_create(&Kind { saga, kind: event.as_str() }).inc_by(times);
    }
    let mut ended: Vec<Ended> = Vec::with_capacity(outcome.ended.len());
    for (saga, end) in outcome.ended {
        metrics.ended.get_or_create(&Kind { saga, kind: end.status }).inc();
        ended.push(end);
    }
    metrics.commands.inc_by(outcome.outgoing.commands.len() as u64);
    metrics.healed.inc_by(outcome.healed);
    metrics.dead_letters.inc_by(outcome.dead_letters);
    shared.waiters.notify(&ended);
    let (wire, crash) = (shared.wire.clone(), shared.config.crash.clone());
    let outgoing = outcome.outgoing;
    async move { outgoing.publish(&wire, &crash).await }
}
