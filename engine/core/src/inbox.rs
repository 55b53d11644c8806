//! The rules of a participant's inbox, as a pure function.
//!
//! The inbox is a table of commands with their stored answers. It is authoritative for what happened in its service,
//! because a row commits together with the effect that it speaks of. The participant library claims the
//! [`keys_to_claim`] of a command by unique-key inserts, before the handler runs or with the answer (only these decide a
//! race, and the transaction that loses one rolls back and begins again), reads what may have been there before, and asks
//! [`rule`] what to do.
//!
//! The rules, each shown necessary by the explorer in `redress-simulation`:
//!
//! 1. The same key gets the same answer, a remembered rejection included.
//! 2. An undo of something that never happened leaves a fence, and so does a settlement: the late original is
//!    refused from then on.
//!
//! | command | its own record | the action's record | ruling |
//! |---|---|---|---|
//! | any, older than the retention | none | none | `expired` |
//! | action | none | | run |
//! | action | done, rejected | | the stored answer |
//! | action | fence | | `fenced` |
//! | settlement | | done, rejected, fence | the action's outcome |
//! | settlement | | none | fence the action, `fenced` |
//! | compensation | done | | the stored answer |
//! | compensation | none | done | run |
//! | compensation | none | none | fence the action, `done` (nothing to undo) |
//! | compensation | none | rejected, fence | `done` (nothing to undo) |
//!
//! The same key with another payload is refused whatever the record says. What is remembered is answered at any age: an
//! undo is forgotten no sooner than its action, so that where the action's record stands, the want of its own is true.
//!
//! A command whose handler calls a third party leaves a record before the call, *prepared*: what will be asked, and
//! until when a call may be under way. From then on nobody but the third party, or the author who asks it, can say that
//! nothing happened:
//!
//! | command | its own record | the action's record | ruling |
//! |---|---|---|---|
//! | any | prepared, or the action is, and a call may be under way | | wait |
//! | action, compensation | prepared | | call again, with the same key |
//! | action | given up | | `in-doubt` |
//! | settlement | | prepared | inquire |
//! | settlement | | given up | `in-doubt` |
//! | compensation | none | prepared, given up | run, as if it had happened; the action is given up |
//!
//! A handler may leave its command *open*: the answer comes later, from any code of the service, in a transaction of
//! its own. The first answer counts:
//!
//! | command | its own record | the action's record | ruling |
//! |---|---|---|---|
//! | action, compensation | open | | `accepted` |
//! | settlement | | open | ask the service to give it up |
//! | settlement with an answer | | open | the answer, which is remembered |
//! | compensation | none | open | `failed`: it is to be settled first |

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::{IdempotencyKey, Name, Phase, Timestamp};
use crate::json::JsonText;
use crate::message::{CommandMessage, Outcome, Rejection};

/// SHA-256 of a command's name and payload: tells a repeated command from another one under the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of this command with this payload.
    pub fn of(command: &Name, payload: &JsonText) -> Self {
        let hash =
            Sha256::new().chain_update(command.as_bytes()).chain_update([0]).chain_update(payload.as_bytes());
        Self(hash.finalize().into())
    }
}

/// The inbox's record of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Of the command that made the record; a bare fence has none.
    pub fingerprint: Option<Fingerprint>,
    /// The answer to the command.
    pub recorded: Recorded,
}

/// A remembered answer. `failed` is never remembered: the coordinator sends the command again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It happened, with this reply.
    Done {
        /// The reply, byte for byte.
        reply: JsonText,
    },
    /// The business said no.
    Rejected(Rejection),
    /// It never happened and never will. Only on an action's key.
    Fenced,
    /// Its answer comes later.
    Open,
    /// A third party is called for it: it may have happened. No answer yet.
    Prepared {
        /// What is asked of the third party.
        request: JsonText,
        /// A call, or an inquiry, may be under way until then.
        called_until: Timestamp,
    },
    /// A third party was called for it, it may have happened, and it is never called again: it was undone in this
    /// doubt. Only on an action's key.
    GivenUp {
        /// What was asked of the third party.
        request: JsonText,
    },
}

impl Record {
    /// The record of an action that never happened and must not.
    pub const fn fence() -> Self {
        Self { fingerprint: None, recorded: Recorded::Fenced }
    }

    /// The record of an action that is undone though nobody knows whether it happened.
    fn given_up(&self, request: &JsonText) -> Self {
        Self { fingerprint: self.fingerprint, recorded: Recorded::GivenUp { request: request.clone() } }
    }
}

/// How long the inbox remembers.
///
/// Rows that have their answer are pruned after `keep`; an action older than `keep` less `margin` of which nothing is
/// remembered is answered `expired`, so that no message is ever judged by an inbox that may have forgotten it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Age after which a record may be pruned.
    pub keep: Duration,
    /// Room for a message that waits in a stream while rows are pruned, and for clocks that differ.
    pub margin: Duration,
}

impl Retention {
    /// Thirty days, with one day of margin.
    pub const DEFAULT: Self =
        Self { keep: Duration::from_secs(30 * 86_400), margin: Duration::from_secs(86_400) };

    fn is_expired(&self, action_sent_at: Timestamp, now: Timestamp) -> bool {
        let age = (now - action_sent_at).to_std().unwrap_or(Duration::ZERO);
        age > self.keep.saturating_sub(self.margin)
    }
}

/// The answer to a command that was left open: given by the service in a transaction of its own, or by a person, with
/// the payload of a settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GivenAnswer {
    /// It happened.
    Done {
        /// The reply.
        reply: JsonText,
    },
    /// The business "no".
    Rejected(Rejection),
}

/// The inbox's ruling on a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Run the handler and record its answer under the command's own key.
    Run,
    /// Run the handler of the compensation as if the action had happened, which nobody knows, and store this record of
    /// the action with whatever the handler leaves.
    UndoInDoubt {
        /// What was asked of the third party for the action.
        request: JsonText,
        /// The action's key and record.
        record: (IdempotencyKey, Record),
    },
    /// Call the third party, perhaps again, with the command's own key.
    Call {
        /// What is asked of it.
        request: JsonText,
    },
    /// Ask the third party what became of the call for the action.
    Inquire {
        /// What was asked of it.
        request: JsonText,
    },
    /// Ask the service to give up the action, whose answer was to come later.
    GiveUp,
    /// Rule again then: until then a call for the action, or for the command itself, may be under way.
    Wait {
        /// The end of the longest time that the call may take.
        until: Timestamp,
    },
    /// Answer without running anything, after storing these new records.
    Answer {
        /// The answer.
        outcome: Outcome,
        /// Records to store in the same transaction.
        record: Vec<(IdempotencyKey, Record)>,
    },
    /// Neither run nor answer from memory: this is not the command that the key stands for.
    Refuse {
        /// Why, for people.
        reason: String,
    },
}

/// The keys that must be claimed before the ruling: the command's own and, of an undo or a settlement, its action's
/// as a fence. In the order in which [`rule`] names them; a batch sorts them all together.
pub fn keys_to_claim(message: &CommandMessage) -> Vec<IdempotencyKey> {
    match message.key.phase {
        Phase::Action => vec![message.key.clone()],
        Phase::Settlement => vec![message.key.of_action()],
        Phase::Compensation => vec![message.key.of_action(), message.key.clone()],
    }
}

/// Rules on a command, given what the inbox remembered of its own key and of its action's key.
pub fn rule(
    message: &CommandMessage,
    own: Option<&Record>,
    action: Option<&Record>,
    now: Timestamp,
    retention: &Retention,
) -> Ruling {
    if own.is_none() && action.is_none() && retention.is_expired(message.action_sent_at, now) {
        return answer(Outcome::Expired);
    }
    match message.key.phase {
        Phase::Action => rule_on_action(message, own, now),
        Phase::Settlement => rule_on_settlement(message, action, now),
        Phase::Compensation => rule_on_compensation(message, own, action, now),
    }
}

fn rule_on_action(message: &CommandMessage, own: Option<&Record>, now: Timestamp) -> Ruling {
    match own {
        None => Ruling::Run,
        Some(record) => remembered(message, record, now),
    }
}

fn rule_on_settlement(message: &CommandMessage, action: Option<&Record>, now: Timestamp) -> Ruling {
    match action.map(|record| &record.recorded) {
        Some(Recorded::Prepared { called_until, .. }) if *called_until > now => {
            Ruling::Wait { until: *called_until }
        }
        Some(Recorded::Prepared { request, .. }) => Ruling::Inquire { request: request.clone() },
        Some(Recorded::Open) => give_up(message, action),
        Some(
            answered @ (Recorded::Done { .. }
            | Recorded::Rejected(_)
            | Recorded::Fenced
            | Recorded::GivenUp { .. }),
        ) => answer(outcome(answered)),
        None => Ruling::Answer {
            outcome: Outcome::Fenced,
            record: vec![(message.key.of_action(), Record::fence())],
        },
    }
}

fn rule_on_compensation(
    message: &CommandMessage,
    own: Option<&Record>,
    action: Option<&Record>,
    now: Timestamp,
) -> Ruling {
    if let Some(record) = own {
        return remembered(message, record, now);
    }
    let Some(action) = action else {
        return nothing_to_undo(message, Some((message.key.of_action(), Record::fence())));
    };
    match &action.recorded {
        Recorded::Done { .. } => Ruling::Run,
        Recorded::Rejected(_) | Recorded::Fenced => nothing_to_undo(message, None),
        Recorded::Open => answer(Outcome::Failed {
            message: "the answer to the action is still to come: it must be settled first".to_owned(),
        }),
        Recorded::Prepared { called_until, .. } if *called_until > now => {
            Ruling::Wait { until: *called_until }
        }
        Recorded::Prepared { request, .. } | Recorded::GivenUp { request } => Ruling::UndoInDoubt {
            request: request.clone(),
            record: (message.key.of_action(), action.given_up(request)),
        },
    }
}

fn nothing_to_undo(message: &CommandMessage, fence: Option<(IdempotencyKey, Record)>) -> Ruling {
    let own = Record {
        fingerprint: Some(Fingerprint::of(&message.command, &message.payload)),
        recorded: Recorded::Done { reply: JsonText::null() },
    };
    Ruling::Answer {
        outcome: Outcome::Done { reply: JsonText::null() },
        record: fence.into_iter().chain([(message.key.clone(), own)]).collect(),
    }
}

/// Nothing is run, and nothing new is remembered.
const fn answer(outcome: Outcome) -> Ruling {
    Ruling::Answer { outcome, record: Vec::new() }
}

/// What a record of an answer, or of the want of one, says.
fn outcome(recorded: &Recorded) -> Outcome {
    match recorded {
        Recorded::Done { reply } => Outcome::Done { reply: reply.clone() },
        Recorded::Rejected(rejection) => Outcome::Rejected(rejection.clone()),
        Recorded::Fenced => Outcome::Fenced,
        Recorded::Open => Outcome::Accepted,
        Recorded::Prepared { .. } | Recorded::GivenUp { .. } => Outcome::InDoubt {
            reason: "a third party was called, and what became of the call is not known".to_owned(),
        },
    }
}

/// The stored answer, or the call that goes on, if this is the command that was stored.
fn remembered(message: &CommandMessage, record: &Record, now: Timestamp) -> Ruling {
    let same = match record.fingerprint {
        Some(stored) => stored == Fingerprint::of(&message.command, &message.payload),
        None => true,
    };
    if !same {
        return Ruling::Refuse {
            reason: format!(
                "the key {} was used before with another payload: a key stands for one command; \
                 nothing was done, look for who sent it",
                message.key
            ),
        };
    }
    match &record.recorded {
        Recorded::Prepared { called_until, .. } if *called_until > now => {
            Ruling::Wait { until: *called_until }
        }
        Recorded::Prepared { request, .. } => Ruling::Call { request: request.clone() },
        answered @ (Recorded::Done { .. }
        | Recorded::Rejected(_)
        | Recorded::Fenced
        | Recorded::Open
        | Recorded::GivenUp { .. }) => answer(outcome(answered)),
    }
}

/// A settlement of an action whose answer is to come later. It may bring the answer of a person with it.
fn give_up(message: &CommandMessage, action: Option<&Record>) -> Ruling {
    if message.payload == JsonText::null() {
        return Ruling::GiveUp;
    }
    let recorded = match message.payload.read::<GivenAnswer>() {
        Ok(GivenAnswer::Done { reply }) => Recorded::Done { reply },
        Ok(GivenAnswer::Rejected(rejection)) => Recorded::Rejected(rejection),
        Err(error) => return Ruling::Refuse { reason: format!("the settlement brings no answer: {error}") },
    };
    let outcome = outcome(&recorded);
    let fingerprint = action.and_then(|record| record.fingerprint);
    Ruling::Answer { outcome, record: vec![(message.key.of_action(), Record { fingerprint, recorded })] }
}

#[cfg(test)]
mod tests;
