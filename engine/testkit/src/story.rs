//! The life of one saga, told: what is given, and what is to be expected then.
//!
//! A story plays a definition of yours on the real core, behind the real inbox rules, in virtual time: no clock, no
//! server, no waiting. What goes wrong is said in the one vocabulary of [`Fault`], as over HTTP. The life that comes of
//! it reads line by line, made for inline snapshots:
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
//! let life = Story::of(&sell())
//!     .given(r#"{"step": "ship", "kind": "reject", "code": "address-undeliverable"}"#)
//!     .play();
//! assert_eq!(life.to_string(), "\
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
use std::fmt;
use std::time::Duration;

use redress_core::decide::{Order, Verb};
use redress_core::fault::Fault;
use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::message::NotificationMessage;
use redress_core::plan::Plan;
use redress_core::state::SagaState;
use redress_core::{JsonText, Name, SagaDefinition};
use serde_json::Value;

use crate::delivery::Delivery;
use crate::example::{self, Extent};
use crate::participants::Without;
use crate::theatre::Theatre;

/// What is given of a saga's life.
#[must_use = "a story is told by `.play()`"]
pub struct Story<'d> {
    pub(crate) definition: &'d SagaDefinition,
    input: Value,
    replies: BTreeMap<String, Value>,
    faults: Vec<Fault>,
    orders: Vec<Standing>,
    lost: Vec<Name>,
    without: Without,
}

/// An order that waits for its moment.
#[derive(Debug)]
pub(crate) struct Standing {
    /// The line of the life after which it is given.
    pub(crate) after: String,
    /// How long after it, in milliseconds.
    pub(crate) delay_ms: i64,
    pub(crate) order: Order,
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
            orders: Vec::new(),
            lost: Vec::new(),
            without: Without::Nothing,
        }
    }

    /// The input with which it is started.
    pub fn input(mut self, input: Value) -> Self {
        self.input = input;
        self
    }

    /// What a step's action replies.
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

    /// A rule that is taken away from the participants.
    pub(crate) fn without(mut self, rule: Without) -> Self {
        self.without = rule;
        self
    }

    /// What an operator orders as soon as the life has this line, such as `sent action ship 1`.
    pub fn order_after(self, line: &str, verb: Verb) -> Self {
        self.order_later(line, Duration::ZERO, verb)
    }

    /// What an operator orders so long after the life has this line.
    pub fn order_later(mut self, line: &str, delay: Duration, verb: Verb) -> Self {
        let order = Order { verb, actor: "ann".to_owned(), reason: "why not".to_owned() };
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        self.orders.push(Standing { after: line.to_owned(), delay_ms, order });
        self
    }

    /// Plays it until nothing happens any more by itself.
    ///
    /// # Panics
    /// If the input does not fit the definition, or the saga goes on without an end.
    pub fn play(self) -> Life {
        let data = match self.definition.read_input(&self.input) {
            Ok(data) => data,
            Err(error) => panic!("{error}; give another one with `.input(..)`"),
        };
        let mut theatre = Theatre::new(self.definition, self.without);
        theatre.lost = self.lost;
        for (step, reply) in &self.replies {
            if let (Ok(step), Ok(reply)) = (Name::new(step.as_str()), JsonText::of(reply)) {
                theatre.participants.set_reply(&step, reply);
            }
        }
        theatre.begin(data, self.faults, self.orders);
        theatre.play();
        theatre.into_life()
    }
}

/// A saga's life as it was played.
#[derive(Debug)]
pub struct Life {
    /// Where it stands in the end.
    pub state: SagaState,
    /// What happened.
    pub history: Vec<HistoryEntry>,
    /// Who was told, and what.
    pub notifications: Vec<NotificationMessage>,
    /// What came to the participants, in the order in which it came.
    pub deliveries: Vec<Delivery>,
    /// How often the effect of each step stands at its participant.
    pub effects: BTreeMap<Name, i32>,
    /// What would still be done and what would be undone, as it was when each order was given.
    pub plans: Vec<Plan>,
    /// Orders that were refused, and why.
    pub refused: Vec<String>,
    /// What a participant found to be wrong first.
    pub wrong: Option<String>,
}

impl Life {
    /// The status as one word.
    pub fn status(&self) -> &'static str {
        self.state.status_word()
    }

    /// Whether a row of this kind about this step is in it.
    pub fn has(&self, line: &str) -> bool {
        self.history.iter().any(|row| self::line(row).starts_with(line))
    }
}

/// A row of history as a line: event, phase, step, attempt, injected failure.
pub fn line(row: &HistoryEntry) -> String {
    let mut words = vec![row.event.to_string()];
    words.extend(row.phase.map(|phase| phase.to_string()));
    words.extend(row.step.as_ref().map(ToString::to_string));
    words.extend(row.attempt.map(|attempt| attempt.to_string()));
    let detail = row.detail.read::<Value>().unwrap_or_default();
    if let Some(fault) = detail["fault"].as_str() {
        words.push(format!("({fault})"));
    }
    if row.event == HistoryEvent::Parked
        && let Some(code) = detail["code"].as_str()
    {
        words.push(format!("({code})"));
    }
    words.join(" ")
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.history {
            write!(f, "{}", line(row))?;
            match (row.event, self.state.cause()) {
                (HistoryEvent::Compensated, Some(cause)) => writeln!(f, " because {cause}")?,
                (_, _) => writeln!(f)?,
            }
        }
        for refused in &self.refused {
            writeln!(f, "refused: {refused}")?;
        }
        Ok(())
    }
}
