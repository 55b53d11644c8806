//! The rules of the order in which a coordinator does things, checked when it does them.
//!
//! | it | then |
//! |---|---|
//! | commits | the saga's account is sound ([`check`](World::check)) |
//! | publishes a command | the journal says that the command was sent |
//! | acknowledges a reply | the reply has nothing more to say to its saga |
//! | tells that a saga has ended | the journal says so |
//! | prunes | what is gone had ended, and waited for nothing |

use redress_coordinator::ports::JournalError;
use redress_core::decide::{Context, Effect, Event, decide};
use redress_core::fault::FaultBook;
use redress_core::history::{ATTEMPT_ROWS_MAX, HistoryEntry, HistoryEvent};
use redress_core::{CommandMessage, Outcome, ReplyMessage, SagaId};

use super::world::World;
use crate::memory::Row;

impl World {
    /// Something did not hold; the first one counts.
    pub(super) fn fail(&mut self, id: Option<SagaId>, wrong: String) {
        self.wrong.get_or_insert((id, wrong));
    }

    /// A unit of work was committed.
    pub(super) fn has_written(&mut self, sagas: &[SagaId], set_aside: &[SagaId]) {
        for id in sagas {
            if let Err((id, wrong)) = self.check(*id) {
                self.fail(id, wrong);
            }
        }
        if let Some(id) = set_aside.first() {
            self.fail(Some(*id), "it was set aside: the log says why".to_owned());
        }
    }

    /// A unit of work was not committed.
    pub(super) fn has_not_written(&mut self, error: &JournalError) {
        match error {
            JournalError::Collision(_) => self.count("collision"),
            error => self.fail(None, format!("the journal refused a decision: {}", error.with_causes())),
        }
    }

    /// A command is published only if the journal says that it was sent.
    pub(super) fn check_published(&mut self, command: &CommandMessage) {
        let is_known =
            self.journal.look(command.key.saga_id, |row| row.is_some_and(|row| is_sent(row, command)));
        if !is_known && !self.pruned.contains_key(&command.key.saga_id) {
            let wrong =
                format!("attempt {} at {} was published before it was decided", command.attempt, command.key);
            self.fail(Some(command.key.saga_id), wrong);
        }
    }

    /// A reply is acknowledged only if it would not move its saga any more.
    pub(super) fn check_acknowledged(&mut self, reply: &ReplyMessage) {
        let (id, now) = (reply.key.saga_id, self.clock());
        let effect = self.journal.look(id, |row| {
            let row = row?;
            let mut faults = FaultBook::default();
            let mut ctx = Context {
                definition: self.definition(&row.definition)?,
                saga_id: id,
                now,
                jitter: 0.0,
                faults: &mut faults,
                traceparent: None,
            };
            // One that came too late may be in time once an operator has asked again.
            (!is_heard(row, reply))
                .then(|| decide(&mut ctx, row.state.clone(), Event::Reply(reply.clone())).effect)
        });
        if effect == Some(Effect::Moved) {
            let wrong = format!("the reply to attempt {} at {} was lost", reply.attempt, reply.key);
            self.fail(Some(id), wrong);
        }
    }

    /// A caller hears of an end only if the journal says so.
    pub(super) fn check_ended(&mut self, id: SagaId, status: &str) {
        let says = |row: &Row| row.history.iter().any(|entry| entry.event.as_str() == status);
        let is_so = self.journal.look(id, |row| row.is_some_and(says));
        if !is_so && status != "paused" && !self.pruned.contains_key(&id) {
            self.fail(Some(id), format!("a caller was told that it is {status} before it was"));
        }
    }

    /// Keeps sagas as they are before some are pruned.
    pub(super) fn keep_for_the_record(&mut self) {
        for id in self.sagas.clone() {
            if let Some(row) = self.journal.row(id) {
                self.pruned.insert(id, row);
            }
        }
    }

    /// Some sagas may have been pruned.
    pub(super) fn has_pruned(&mut self) {
        for id in self.sagas.clone() {
            if self.journal.look(id, |row| row.is_some()) {
                self.pruned.remove(&id);
                continue;
            }
            let Some(row) = self.pruned.get(&id) else { continue };
            if !row.state.is_ended() || row.state.due_at().is_some() {
                self.fail(Some(id), "it was pruned before it had ended".to_owned());
            }
            self.count("saga pruned");
        }
    }
}

/// Returns true if the history says that the command was sent, or is too long to say so.
fn is_sent(row: &Row, command: &CommandMessage) -> bool {
    command.attempt > ATTEMPT_ROWS_MAX
        || row.history.iter().any(|entry| {
            entry.event == HistoryEvent::Sent
                && entry.step.as_ref() == Some(&command.key.step)
                && entry.phase == Some(command.key.phase)
                && entry.attempt == Some(command.attempt)
        })
}

/// Returns true if the history says that this attempt was answered. That the answer comes later is said once, whichever
/// attempt was answered so.
fn is_heard(row: &Row, reply: &ReplyMessage) -> bool {
    let is_accepted =
        |entry: &HistoryEntry| reply.outcome == Outcome::Accepted && entry.event == HistoryEvent::Accepted;
    row.history.iter().any(|entry| {
        let is_answer =
            !matches!(entry.event, HistoryEvent::Sent | HistoryEvent::TimedOut | HistoryEvent::NotSent);
        is_answer
            && entry.step.as_ref() == Some(&reply.key.step)
            && entry.phase == Some(reply.key.phase)
            && (entry.attempt == Some(reply.attempt) || is_accepted(entry))
    })
}
