//! Plays one saga with given inputs, faults and operator commands, and shows its run.
//!
//! A story plays a definition of yours on the real core, behind the real inbox rules, in virtual time: no clock, no
//! server, no waiting. Disruptions are given in the one vocabulary of [`Fault`], as over HTTP. The run that comes of it
//! reads line by line, made for inline snapshots:
//!
//! ```
//! # use redress_core::{Command, Compensates, SagaDefinition, saga};
//! # use schemars::JsonSchema;
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize, JsonSchema)] struct Charge { payment: u64 }
//! # #[derive(Serialize, Deserialize, JsonSchema)] struct Refund { payment: u64 }
//! # #[derive(Serialize, Deserialize, JsonSchema)] struct Ship {}
//! # impl Command for Charge { const SERVICE: &'static str = "payment"; const NAME: &'static str = "charge"; type Reply = (); }
//! # impl Command for Refund { const SERVICE: &'static str = "payment"; const NAME: &'static str = "refund"; type Reply = (); }
//! # impl Command for Ship { const SERVICE: &'static str = "shipping"; const NAME: &'static str = "ship"; type Reply = (); }
//! # impl Compensates<Charge> for Refund {}
//! # #[derive(Serialize, Deserialize, JsonSchema)] struct Sale { payment: u64 }
//! # fn sell() -> SagaDefinition {
//! #     saga::<Sale>("sell", 1)
//! #         .step("charge", |s| Charge { payment: s.payment }).compensate(|s| Refund { payment: s.payment })
//! #         .pivot("ship", |_| Ship {})
//! #         .build()
//! # }
//! use redress_testkit::Story;
//!
//! let run = Story::of(&sell())
//!     .given(r#"{"step": "ship", "kind": "reject", "code": "address-undeliverable"}"#)
//!     .play();
//! assert_eq!(run.to_string(), "\
//! started
//! sent action charge 1
//! done action charge 1
//! sent action ship 1 (reject:address-undeliverable)
//! rejected action ship 1
//! plan-frozen
//! sent compensation charge 1
//! done compensation charge 1
//! compensated because ship rejected: address-undeliverable (injected)
//! ");
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use redress_core::decide::{OperatorCommand, Verb};
use redress_core::fault::Fault;
use redress_core::{JsonText, Name, Phase, SagaDefinition};
use serde_json::Value;

use crate::events::{ScheduledEvent, Senders};
use crate::example::{self, Extent};
use crate::manners::{Manners, UnansweredCall};
use crate::participants::{DisabledRule, Participants};
use crate::run_result::{RunResult, ScheduledCommand};
use crate::virtual_run::VirtualRun;
use crate::world::World;

/// The input, replies, faults and operator commands of a saga's run.
#[must_use = "a story is told by `.play()`"]
pub struct Story<'d> {
    pub(crate) definition: &'d SagaDefinition,
    input: Value,
    replies: BTreeMap<String, Value>,
    faults: Vec<Fault>,
    scheduled: Vec<ScheduledCommand>,
    lost: Vec<Name>,
    manners: Manners,
    senders: Senders,
    without: DisabledRule,
}

impl<'d> Story<'d> {
    /// The story of a saga of this definition, with an input and replies that fit their schemas.
    pub fn of(definition: &'d SagaDefinition) -> Self {
        Self::with_examples(definition, Extent::Least)
    }

    /// The same, with examples that say so much.
    pub(crate) fn with_examples(definition: &'d SagaDefinition, extent: Extent) -> Self {
        let replies = definition.steps.iter();
        let replies = replies.map(|step| (step.name.to_string(), example::of(&step.schemas.reply, extent)));
        Self {
            definition,
            input: example::of(&definition.input_schema, extent),
            replies: replies.collect(),
            faults: Vec::new(),
            scheduled: Vec::new(),
            lost: Vec::new(),
            manners: Manners::default(),
            senders: Senders::default(),
            without: DisabledRule::Nothing,
        }
    }

    /// The input with which it is started.
    pub fn input(mut self, input: Value) -> Self {
        self.input = input;
        self
    }

    /// The reply of a step's action, or the payload of the event that it waits for.
    pub fn reply(mut self, step: &str, reply: Value) -> Self {
        self.replies.insert(step.to_owned(), reply);
        self
    }

    /// Something that goes wrong, as JSON: the same that `POST /v1/faults` takes.
    ///
    /// # Panics
    /// If it makes no sense.
    pub fn given(mut self, fault: &str) -> Self {
        match serde_json::from_str(fault) {
            Ok(fault) => self.faults.push(fault),
            Err(error) => panic!("{fault}: {error}"),
        }
        self
    }

    /// Something that goes wrong.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// A notification that never arrives.
    pub fn lost(mut self, step: &Name) -> Self {
        self.lost.push(step.clone());
        self
    }

    /// A step whose action is accepted first and done so long after, unless it has been given up by then.
    ///
    /// # Panics
    /// If it is no name of a step.
    pub fn answers_later(self, step: &str, delay: Duration) -> Self {
        self.phase_answers_later(step, Phase::Action, delay)
    }

    /// The same of any phase but a settlement.
    pub(crate) fn phase_answers_later(mut self, step: &str, phase: Phase, delay: Duration) -> Self {
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        self.manners.answer_later(named(step), phase, delay_ms);
        self
    }

    /// A step whose action calls a third party that does not answer. Asked what became of the call, it tells nothing until
    /// an operator has resolved the step.
    ///
    /// # Panics
    /// If it is no name of a step.
    pub fn in_doubt(mut self, step: &str, call: UnansweredCall) -> Self {
        self.manners.be_in_doubt(named(step), call);
        self
    }

    /// The event of this step never comes; if nothing is said of it, it comes as soon as the step waits.
    ///
    /// # Panics
    /// If it is no name of a step.
    pub fn no_event(mut self, step: &str) -> Self {
        self.senders.tell(named(step));
        self
    }

    /// The event of this step is given, under this key, as soon as the run has this line, such as `started`.
    ///
    /// # Panics
    /// If it is no name of a step.
    pub fn event_after(self, line: &str, step: &str, key: &str) -> Self {
        self.event_later(line, Duration::ZERO, step, key)
    }

    /// The event of this step is given, under this key, so long after the run has this line.
    ///
    /// # Panics
    /// If it is no name of a step.
    pub fn event_later(mut self, line: &str, delay: Duration, step: &str, key: &str) -> Self {
        let (after, step, key) = (line.to_owned(), named(step), key.to_owned());
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        self.senders.schedule(ScheduledEvent { after, delay_ms, step, key });
        self
    }

    /// A rule that is taken away from the participants.
    pub(crate) fn without(mut self, rule: DisabledRule) -> Self {
        self.without = rule;
        self
    }

    /// An operator command that is given as soon as the run has this line, such as `sent action ship 1`.
    pub fn operator_after(self, line: &str, verb: Verb) -> Self {
        self.operator_later(line, Duration::ZERO, verb)
    }

    /// An operator command that is given so long after the run has this line.
    pub fn operator_later(mut self, line: &str, delay: Duration, verb: Verb) -> Self {
        let command = OperatorCommand { verb, actor: "ann".to_owned(), reason: "why not".to_owned() };
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        self.scheduled.push(ScheduledCommand { after: line.to_owned(), delay_ms, command });
        self
    }

    /// Plays it until nothing happens any more by itself.
    ///
    /// # Panics
    /// If the input does not fit the definition, or the saga goes on without an end.
    pub fn play(self) -> RunResult {
        let data = match self.definition.read_input(&self.input) {
            Ok(data) => data,
            Err(error) => panic!("{error}; give another one with `.input(..)`"),
        };
        let mut participants = Participants::new(self.without);
        for (step, reply) in &self.replies {
            if let (Ok(step), Ok(reply)) = (Name::new(step.as_str()), JsonText::of(reply)) {
                participants.set_reply(&step, reply);
            }
        }
        let (world, first) = World::begin(self.definition, participants, data, self.faults);
        let senders = self.senders.complete(self.definition);
        let run = VirtualRun::new(world, self.scheduled, self.lost, self.manners, self.without);
        run.with_events(senders, self.replies).play(first)
    }
}

fn named(step: &str) -> Name {
    match Name::new(step) {
        Ok(name) => name,
        Err(error) => panic!("{step}: {error}"),
    }
}
