//! Participants without a network: the real inbox rules, and the effects that really happened.
//!
//! This is the hidden truth against which a saga's own account is checked. An effect that happens twice, an undo of
//! something that does not stand, and a command that changes under its key are noted the moment they happen.
//!
//! A handler may leave its command open, to be answered later ([`Participants::answer`]), or call a third party. The
//! third party honours the key under which it is called. A call whose answer is lost takes effect at the end of its
//! longest time ([`Participants::calls_taking`]), so that what comes in between meets a call under way.

mod answering;
mod calls;
mod unremembered;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use redress_core::inbox::{Fingerprint, Record, Recorded, Retention, Ruling, rule};
use redress_core::{
    CommandMessage, IdempotencyKey, JsonText, Name, Outcome, Phase, Rejection, ReplyMessage, SagaId,
    Timestamp,
};

/// A rule that is taken away, to show what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisabledRule {
    /// None: the protocol as it is.
    Nothing,
    /// Silence at the pivot is taken for a refusal.
    SettlingThePivot,
    /// An action that never happened leaves no fence.
    Fences,
    /// The same key may get another answer.
    Memory,
    /// A rejection is not remembered.
    Rejections,
    /// A command that may have been forgotten is ruled on as if it had never been.
    Expiry,
    /// An action whose answer was to come later is given up in words alone: its question stays open.
    GivingUp,
    /// Every answer to a question counts, and not only the first.
    FirstAnswer,
    /// A question that is still open is pruned like any other record.
    OpenRecords,
    /// A third party is called before anything is recorded.
    Preparing,
    /// A settlement of an action for which a third party was called asks nobody: it never happened.
    Inquiring,
    /// A call that may be under way is not waited for.
    Waiting,
    /// An action that was undone in doubt may be called for again.
    Renouncing,
    /// An ordered failure of this kind, by its word, is not played.
    Obedience(&'static str),
}

impl DisabledRule {
    /// Returns true if ordered failures of this kind are not played.
    pub(crate) fn ignores(self, kind: &str) -> bool {
        matches!(self, Self::Obedience(ignored) if ignored == kind)
    }
}

/// A handler's outcome when it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Business {
    /// It happens.
    Done,
    /// No.
    Rejected(Rejection),
    /// It fails and leaves nothing behind.
    Failed,
    /// The answer comes later; asked to give it up, the service says that it cannot.
    Later,
    /// It calls a third party, which honours the key.
    Called {
        /// The third party does it; if not, it says no.
        done: bool,
        /// The answer arrives.
        answered: bool,
    },
}

/// How much a third party tells when it is asked what became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThirdParty {
    /// Whether it has done it; what it has not, it refuses from then on.
    Tells,
    /// Nothing.
    Silent,
}

/// All participants of a world.
#[derive(Debug)]
pub struct Participants {
    without: DisabledRule,
    /// How long they remember.
    retention: Retention,
    third_party: ThirdParty,
    /// The longest time that a call to a third party takes.
    calls_take: Duration,
    /// Calls whose answers are lost, and when they take effect.
    under_way: Vec<(Timestamp, IdempotencyKey)>,
    inbox: BTreeMap<IdempotencyKey, Record>,
    /// When each was remembered.
    handled_at: BTreeMap<IdempotencyKey, Timestamp>,
    effects: BTreeMap<(SagaId, Name), i32>,
    asked: BTreeMap<IdempotencyKey, Fingerprint>,
    replies: BTreeMap<Name, JsonText>,
    /// Sagas and steps that no participant remembers.
    unremembered: BTreeSet<(Name, Name)>,
    wrong: Option<String>,
}

impl Participants {
    /// Participants that keep all rules but one.
    pub fn new(without: DisabledRule) -> Self {
        Self {
            without,
            retention: Retention::DEFAULT,
            third_party: ThirdParty::Tells,
            calls_take: Duration::ZERO,
            under_way: Vec::new(),
            inbox: BTreeMap::new(),
            handled_at: BTreeMap::new(),
            effects: BTreeMap::new(),
            asked: BTreeMap::new(),
            replies: BTreeMap::new(),
            unremembered: BTreeSet::new(),
            wrong: None,
        }
    }

    /// Participants that remember for so long only.
    pub fn remembering(self, retention: Retention) -> Self {
        Self { retention, ..self }
    }

    /// Forgets what is old enough and has its answer; says how much it was.
    pub fn prune(&mut self, now: Timestamp) -> usize {
        self.land_calls(now);
        let keep = i64::try_from(self.retention.keep.as_millis()).unwrap_or(i64::MAX);
        let is_old = |at: &Timestamp| (now - *at).num_milliseconds() > keep;
        let is_answered = |key: &IdempotencyKey| match self.inbox.get(key).map(|record| &record.recorded) {
            Some(Recorded::Open) => self.without == DisabledRule::OpenRecords,
            Some(Recorded::Prepared { .. }) => false,
            Some(
                Recorded::Done { .. } | Recorded::Rejected(_) | Recorded::Fenced | Recorded::GivenUp { .. },
            )
            | None => true,
        };
        let handled = self.handled_at.iter();
        let old = handled.filter(|(key, at)| is_old(at) && is_answered(key));
        let old: Vec<IdempotencyKey> = old.map(|(key, _)| key.clone()).collect();
        for key in &old {
            self.handled_at.remove(key);
            self.inbox.remove(key);
        }
        old.len()
    }

    /// An operator does or undoes by hand what a step stands for.
    pub fn act_by_hand(&mut self, saga: SagaId, step: &Name, stands: bool) {
        self.effects.insert((saga, step.clone()), i32::from(stands));
    }

    fn rule(
        &self,
        command: &CommandMessage,
        own: Option<&Record>,
        action: Option<&Record>,
        now: Timestamp,
    ) -> Ruling {
        let retention =
            if self.without == DisabledRule::Expiry { Retention::DEFAULT } else { self.retention };
        if self.without == DisabledRule::Waiting {
            let (own, action) = (own.map(not_under_way), action.map(not_under_way));
            return rule(command, own.as_ref(), action.as_ref(), now, &retention);
        }
        rule(command, own, action, now, &retention)
    }

    fn remember(&mut self, key: IdempotencyKey, record: Record, now: Timestamp) {
        self.handled_at.insert(key.clone(), now);
        self.inbox.insert(key, record);
    }

    /// Sets the reply of a step's action; `null` without one.
    pub fn set_reply(&mut self, step: &Name, reply: JsonText) {
        self.replies.insert(step.clone(), reply);
    }

    /// The reply of a step's action; `null` without one.
    pub fn reply_of(&self, step: &Name) -> JsonText {
        self.replies.get(step).cloned().unwrap_or_else(JsonText::null)
    }

    /// Returns true if the command's handler would run, so that the business has a say.
    pub fn would_run(&self, command: &CommandMessage) -> bool {
        matches!(self.ruling(command, command.action_sent_at), Ruling::Run)
    }

    /// The ruling on a command if it came now: it says what the business would be asked.
    pub fn ruling(&self, command: &CommandMessage, now: Timestamp) -> Ruling {
        if self.forgets(command) {
            return Ruling::Run;
        }
        let (own, action) = self.remembered(command);
        self.rule(command, own, action, now)
    }

    fn remembered(&self, command: &CommandMessage) -> (Option<&Record>, Option<&Record>) {
        let forgets = self.without == DisabledRule::Memory && command.key.phase == Phase::Action;
        let own = self.inbox.get(&command.key).filter(|_| !forgets);
        (own, self.inbox.get(&command.key.of_action()))
    }

    /// Handles a command in one transaction, and answers.
    pub fn handle(&mut self, command: &CommandMessage, now: Timestamp, business: &Business) -> Outcome {
        self.land_calls(now);
        if command.key.phase != Phase::Settlement {
            let fingerprint = Fingerprint::of(&command.command, &command.payload);
            let first = *self.asked.entry(command.key.clone()).or_insert(fingerprint);
            if first != fingerprint {
                self.note(format!("{}: the command was changed under its key", command.key));
            }
        }
        if self.forgets(command) {
            return self.handle_unremembered(command, business);
        }
        match self.ruling(command, now) {
            Ruling::Refuse { reason } => Outcome::Refused { reason },
            Ruling::Answer { outcome, record } => {
                for (key, record) in record {
                    self.remember_ruling(key, record, now);
                }
                outcome
            }
            Ruling::Run => self.run(command, now, business),
            Ruling::UndoInDoubt { record: (key, record), .. } => {
                let outcome = self.run(command, now, business);
                let leaves_a_record = self.inbox.contains_key(&command.key);
                if leaves_a_record && self.without != DisabledRule::Renouncing {
                    self.remember(key, record, now);
                }
                outcome
            }
            Ruling::Call { .. } => self.call(command, now, business),
            Ruling::Inquire { .. } => self.inquire(command, now),
            Ruling::GiveUp => self.give_up(command, now, business),
            Ruling::Wait { .. } => Outcome::Failed { message: "a call may be under way".to_owned() },
        }
    }

    /// Stores a record that comes of the ruling alone.
    fn remember_ruling(&mut self, key: IdempotencyKey, record: Record, now: Timestamp) {
        if self.without == DisabledRule::Fences && record.recorded == Recorded::Fenced {
            return;
        }
        // A person's word on an open action: what it stands for is done with it.
        if key.phase == Phase::Action && matches!(record.recorded, Recorded::Done { .. }) {
            self.take_effect(&key);
        }
        self.remember(key, record, now);
    }

    fn run(&mut self, command: &CommandMessage, now: Timestamp, business: &Business) -> Outcome {
        let fingerprint = Some(Fingerprint::of(&command.command, &command.payload));
        match business {
            Business::Later => {
                self.remember(command.key.clone(), Record { fingerprint, recorded: Recorded::Open }, now);
                return Outcome::Accepted;
            }
            Business::Called { .. } => return self.call(command, now, business),
            Business::Done | Business::Rejected(_) | Business::Failed => {}
        }
        let outcome = self.conclude(command, now, business);
        if matches!(outcome, Outcome::Done { .. }) {
            self.take_effect(&command.key);
        }
        outcome
    }

    /// The answer of a handler, remembered.
    fn conclude(&mut self, command: &CommandMessage, now: Timestamp, business: &Business) -> Outcome {
        let reply = self.reply_of(&command.key.step);
        let (outcome, recorded) = match (command.key.phase, business) {
            (_, Business::Failed | Business::Later | Business::Called { .. }) => {
                return Outcome::Failed { message: "injected".to_owned() };
            }
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
        let forgets = matches!(recorded, Recorded::Rejected(_)) && self.without == DisabledRule::Rejections;
        if !forgets {
            let fingerprint = Some(Fingerprint::of(&command.command, &command.payload));
            self.remember(command.key.clone(), Record { fingerprint, recorded }, now);
        }
        outcome
    }

    fn take_effect(&mut self, key: &IdempotencyKey) {
        let is_in_doubt = key.phase == Phase::Compensation
            && self.inbox.get(&key.of_action()).is_some_and(|action| {
                matches!(action.recorded, Recorded::Prepared { .. } | Recorded::GivenUp { .. })
            });
        let effect = self.effects.entry((key.saga_id, key.step.clone())).or_default();
        match key.phase {
            // It bears that nothing is there to be undone.
            Phase::Compensation if is_in_doubt => *effect = 0,
            // Without memory a repeated effect is not the point, its forgetting is.
            Phase::Action if self.without == DisabledRule::Memory => *effect = 1,
            Phase::Action => *effect += 1,
            Phase::Compensation => *effect -= 1,
            Phase::Settlement => {}
        }
        if !(0..=1).contains(effect) {
            let wrong = format!("{key}: the effect stands {effect} times");
            self.note(wrong);
        }
    }

    fn note(&mut self, wrong: String) {
        self.wrong.get_or_insert(wrong);
    }

    /// The first error, if there was one.
    pub fn wrong(&self) -> Option<&str> {
        self.wrong.as_deref()
    }

    /// How often the effect of a step stands.
    pub fn effect(&self, saga: SagaId, step: &Name) -> i32 {
        self.effects.get(&(saga, step.clone())).copied().unwrap_or_default()
    }
}

/// The same record, as if no call could be under way.
fn not_under_way(record: &Record) -> Record {
    match &record.recorded {
        Recorded::Prepared { request, .. } => {
            let recorded =
                Recorded::Prepared { request: request.clone(), called_until: Timestamp::UNIX_EPOCH };
            Record { fingerprint: record.fingerprint, recorded }
        }
        Recorded::Done { .. }
        | Recorded::Rejected(_)
        | Recorded::Fenced
        | Recorded::Open
        | Recorded::GivenUp { .. } => record.clone(),
    }
}

/// The reply of a handler that fails and leaves nothing behind.
pub fn failure(command: &CommandMessage) -> ReplyMessage {
    reply(command, Outcome::Failed { message: "injected".to_owned() })
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
