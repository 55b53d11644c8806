//! Participants without a network: the real inbox rules, and the effects that really happened.
//!
//! This is the hidden truth against which a saga's own account is checked. An effect that happens twice, an undo of
//! something that does not stand, and a question that changes under its key are noted the moment they happen.

use std::collections::BTreeMap;

use redress_core::inbox::{Fingerprint, Record, Recorded, Retention, Ruling, rule};
use redress_core::{
    CommandMessage, IdempotencyKey, JsonText, Name, Outcome, Phase, Rejection, ReplyMessage, SagaId,
    Timestamp,
};

/// A rule that is taken away, to show what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// None: the protocol as it is.
    Nothing,
    /// Silence at the pivot is taken for a refusal.
    SettlingThePivot,
    /// What never happened leaves no fence.
    Fences,
    /// The same key may get another answer.
    Memory,
    /// A rejection is not remembered.
    Rejections,
    /// An ordered failure of this kind, by its word, is not played.
    Obedience(&'static str),
}

impl Without {
    /// Whether ordered failures of this kind are not played.
    pub(crate) fn ignores(self, kind: &str) -> bool {
        matches!(self, Self::Obedience(ignored) if ignored == kind)
    }
}

/// What a handler says when it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Business {
    /// It happens.
    Done,
    /// No.
    Rejected(Rejection),
    /// It fails and leaves nothing behind.
    Failed,
}

/// All participants of a world.
#[derive(Debug)]
pub struct Participants {
    without: Without,
    inbox: BTreeMap<IdempotencyKey, Record>,
    effects: BTreeMap<(SagaId, Name), i32>,
    asked: BTreeMap<IdempotencyKey, Fingerprint>,
    replies: BTreeMap<Name, JsonText>,
    wrong: Option<String>,
}

impl Participants {
    /// Participants that keep all rules but one.
    pub fn new(without: Without) -> Self {
        Self {
            without,
            inbox: BTreeMap::new(),
            effects: BTreeMap::new(),
            asked: BTreeMap::new(),
            replies: BTreeMap::new(),
            wrong: None,
        }
    }

    /// What the action of a step replies; `null` if not said.
    pub fn set_reply(&mut self, step: &Name, reply: JsonText) {
        self.replies.insert(step.clone(), reply);
    }

    /// Whether the command's handler would run, so that the business has a say.
    pub fn would_run(&self, command: &CommandMessage) -> bool {
        let (own, action) = self.remembered(command);
        let ruling = rule(command, own, action, command.action_sent_at, &Retention::DEFAULT);
        matches!(ruling, Ruling::Run)
    }

    fn remembered(&self, command: &CommandMessage) -> (Option<&Record>, Option<&Record>) {
        let forgets = self.without == Without::Memory && command.key.phase == Phase::Action;
        let own = self.inbox.get(&command.key).filter(|_| !forgets);
        (own, self.inbox.get(&command.key.of_action()))
    }

    /// Handles a command in one transaction, and answers.
    pub fn handle(&mut self, command: &CommandMessage, now: Timestamp, business: &Business) -> Outcome {
        if command.key.phase != Phase::Settlement {
            let fingerprint = Fingerprint::of(&command.command, &command.payload);
            let first = *self.asked.entry(command.key.clone()).or_insert(fingerprint);
            if first != fingerprint {
                self.note(format!("{}: the question was changed under its key", command.key));
            }
        }
        let (own, action) = self.remembered(command);
        match rule(command, own, action, now, &Retention::DEFAULT) {
            Ruling::Refuse { reason } => Outcome::Refused { reason },
            Ruling::Answer { outcome, record } => {
                for (key, record) in record {
                    if self.without != Without::Fences || record.recorded != Recorded::Fenced {
                        self.inbox.insert(key, record);
                    }
                }
                outcome
            }
            Ruling::Run => self.run(command, business),
        }
    }

    fn run(&mut self, command: &CommandMessage, business: &Business) -> Outcome {
        let reply = self.replies.get(&command.key.step).cloned().unwrap_or_else(JsonText::null);
        let (outcome, recorded) = match (command.key.phase, business) {
            (_, Business::Failed) => return Outcome::Failed { message: "injected".to_owned() },
            (Phase::Action, Business::Rejected(rejection)) => {
                (Outcome::Rejected(rejection.clone()), Recorded::Rejected(rejection.clone()))
            }
            (Phase::Action, Business::Done) => {
                (Outcome::Done { reply: reply.clone() }, Recorded::Done { reply })
            }
            (Phase::Compensation, Business::Done | Business::Rejected(_)) => {
                (Outcome::Done { reply: JsonText::null() }, Recorded::Done { reply: JsonText::null() })
            }
            (Phase::Settlement, _) => unreachable!("a settlement runs no handler"),
        };
        if matches!(recorded, Recorded::Done { .. }) {
            self.take_effect(command);
        }
        let forgets = matches!(recorded, Recorded::Rejected(_)) && self.without == Without::Rejections;
        if !forgets {
            let fingerprint = Some(Fingerprint::of(&command.command, &command.payload));
            self.inbox.insert(command.key.clone(), Record { fingerprint, recorded });
        }
        outcome
    }

    fn take_effect(&mut self, command: &CommandMessage) {
        let effect = self.effects.entry((command.key.saga_id, command.key.step.clone())).or_default();
        match command.key.phase {
            // Without memory a repeated effect is not the point, its forgetting is.
            Phase::Action if self.without == Without::Memory => *effect = 1,
            Phase::Action => *effect += 1,
            Phase::Compensation => *effect -= 1,
            Phase::Settlement => {}
        }
        if !(0..=1).contains(effect) {
            let wrong = format!("{}: the effect stands {effect} times", command.key);
            self.note(wrong);
        }
    }

    fn note(&mut self, wrong: String) {
        self.wrong.get_or_insert(wrong);
    }

    /// What went wrong first, if anything did.
    pub fn wrong(&self) -> Option<&str> {
        self.wrong.as_deref()
    }

    /// How often the effect of a step stands.
    pub fn effect(&self, saga: SagaId, step: &Name) -> i32 {
        self.effects.get(&(saga, step.clone())).copied().unwrap_or_default()
    }
}

/// A reply to a command.
pub fn reply(command: &CommandMessage, outcome: Outcome) -> ReplyMessage {
    ReplyMessage {
        key: command.key.clone(),
        attempt: command.attempt,
        saga: command.saga.clone(),
        version: command.version,
        service: command.service.clone(),
        outcome,
    }
}
