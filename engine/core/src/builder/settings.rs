//! Policies of the last step, and of the saga.

use std::sync::Arc;
use std::time::Duration;

use crate::builder::Builder;
use crate::builder::draft::{Draft, DraftKind};
use crate::builder::phase::{HasCompensation, HasStep, MayBeRepeated};
use crate::contract::SagaData;
use crate::definition::{AnswersFrom, Delivery, InDoubt, LateSuccess};
use crate::json::JsonText;
use crate::retry::RetryPolicy;
use crate::waiting::millis;

impl<D: SagaData, P, L> Builder<D, P, L> {
    /// How long one attempt of the last step may stay unanswered, at least 1 ms; default 10 seconds.
    ///
    /// Counts for its action, its settlement and, unless it has [its own](Self::compensation_timeout), its
    /// compensation.
    pub fn timeout(mut self, timeout: Duration) -> Self
    where
        L: HasStep,
    {
        if let Some(step) = self.last_step() {
            step.timeout_ms = millis(timeout);
        }
        self
    }

    /// How often, how long and how soon the last step's action is tried before it is settled; by default for two minutes
    /// ([`RetryPolicy::ACTION`]). Of a retriable step only the pauses count.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use redress_core::{Command, RetryPolicy, saga};
    /// # use schemars::JsonSchema;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, JsonSchema)] struct Ship { parcel: u64 }
    /// # impl Command for Ship { const SERVICE: &'static str = "shipping"; const NAME: &'static str = "ship"; type Reply = (); }
    /// # #[derive(Serialize, Deserialize, JsonSchema)] struct Parcel { parcel: u64 }
    /// let definition = saga::<Parcel>("send", 1)
    ///     .pivot("ship", |p| Ship { parcel: p.parcel })
    ///     .retry(RetryPolicy::for_at_most(Duration::from_secs(900)))
    ///     .build();
    /// assert_eq!(definition.described()["steps"][0]["policy"], "tried for at most 15 min, then settled");
    /// ```
    pub fn retry(mut self, policy: RetryPolicy) -> Self
    where
        L: HasStep,
    {
        if let Some(step) = self.last_step() {
            step.retry = match step.kind {
                DraftKind::Retriable => RetryPolicy { attempts_max: None, tried_ms_max: None, ..policy },
                DraftKind::Compensatable(_)
                | DraftKind::Pivot
                | DraftKind::Notification
                | DraftKind::Wait(_)
                | DraftKind::Event(_) => policy,
            };
        }
        self
    }

    /// How often, how long and how soon the last step's compensation is tried before the saga parks; by default 20 times
    /// ([`RetryPolicy::COMPENSATION`]). Only answers count: in silence it is sent again for ever.
    pub fn compensation_retry(mut self, policy: RetryPolicy) -> Self
    where
        L: HasCompensation,
    {
        if let Some(Draft { kind: DraftKind::Compensatable(Some(compensation)), .. }) = self.last_step() {
            compensation.retry = policy;
        }
        self
    }

    /// How long one attempt of the last step's compensation may stay unanswered, at least 1 ms; default is the step's.
    pub fn compensation_timeout(mut self, timeout: Duration) -> Self
    where
        L: HasCompensation,
    {
        if let Some(Draft { kind: DraftKind::Compensatable(Some(compensation)), .. }) = self.last_step() {
            compensation.timeout_ms = Some(millis(timeout));
        }
        self
    }

    /// The policy if the last step succeeded after it had been given up; default is to go on.
    pub fn late_success(mut self, policy: LateSuccess) -> Self
    where
        L: HasCompensation,
    {
        if let Some(Draft { kind: DraftKind::Compensatable(Some(compensation)), .. }) = self.last_step() {
            compensation.late_success = policy;
        }
        self
    }

    /// The policy if nobody can say whether the last step happened, because it called a third party that does not tell;
    /// default is to park.
    pub fn in_doubt(mut self, policy: InDoubt) -> Self
    where
        L: HasCompensation,
    {
        if let Some(Draft { kind: DraftKind::Compensatable(Some(compensation)), .. }) = self.last_step() {
            compensation.in_doubt = policy;
        }
        self
    }

    /// How long the answer to the last step's action is waited for if its participant says that it comes later, at least
    /// 1 ms; default a week. Then the participant is asked to give it up. A retriable step waits for ever.
    pub fn answer_within(mut self, limit: Duration) -> Self
    where
        L: HasStep,
    {
        if let Some(step) = self.last_step() {
            step.answer_within_ms = millis(limit);
        }
        self
    }

    /// Lets people give the answer to the last step's action, over HTTP, while its participant says that it comes later.
    pub fn people_may_answer(mut self) -> Self
    where
        L: HasStep,
    {
        if let Some(step) = self.last_step() {
            step.answers_from = AnswersFrom::ServiceAndPeople;
        }
        self
    }

    /// The guarantee with which the last step's action is delivered; default is exactly once.
    ///
    /// [`Delivery::AtLeastOnce`] is for a handler that may run again without harm, and so needs neither inbox nor
    /// database. The step is sent until it is answered. It is never settled, since no participant remembers it: if the
    /// saga turns back while it is not answered, it is shown as `in-doubt` and left at that.
    ///
    /// ```
    /// # use redress_core::definition::Delivery;
    /// # use redress_core::{Command, saga};
    /// # use schemars::JsonSchema;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, JsonSchema)] struct Quote { parcel: u64 }
    /// # impl Command for Quote { const SERVICE: &'static str = "prices"; const NAME: &'static str = "quote"; type Reply = (); }
    /// # #[derive(Serialize, Deserialize, JsonSchema)] struct Parcel { parcel: u64 }
    /// let definition = saga::<Parcel>("send", 1)
    ///     .step("quote", |p| Quote { parcel: p.parcel }).no_compensation().delivery(Delivery::AtLeastOnce)
    ///     .build();
    /// assert_eq!(definition.steps[0].guarantee(), Some("at-least-once"));
    /// ```
    pub fn delivery(mut self, delivery: Delivery) -> Self
    where
        L: MayBeRepeated,
    {
        if let Some(step) = self.last_step() {
            step.delivery = delivery;
        }
        self
    }

    /// Runs the commands of the last step that have one key in the order of their sagas' starts: one at a time, and beside
    /// those of other keys.
    ///
    /// `key` is a pure function of the data of the start, at most [`ORDER_KEY_BYTES_MAX`](crate::order::ORDER_KEY_BYTES_MAX)
    /// bytes as a text; a start whose key cannot be made is refused. The order holds among all sagas that send this command to
    /// this service and are ordered by a key, whatever their definition. A step is sent once every earlier step of its key
    /// is decided for good: it succeeded, or it has no effect and never will, or it was undone. So an earlier saga that is
    /// parked or paused before that holds the key, visibly. Cancel, deadline and close of a saga that waits work at once.
    ///
    /// The order is one of actions: if a step is undone because its saga turned back later, the undo may run beside the next
    /// of its key. Starts of one key are accepted one after the other.
    ///
    /// ```
    /// # use redress_core::{Command, saga};
    /// # use schemars::JsonSchema;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, JsonSchema)] struct Book { account: u64, cents: i64 }
    /// # impl Command for Book { const SERVICE: &'static str = "ledger"; const NAME: &'static str = "book"; type Reply = (); }
    /// # #[derive(Serialize, Deserialize, JsonSchema)] struct Transfer { account: u64, cents: i64 }
    /// let definition = saga::<Transfer>("transfer", 1)
    ///     .step("book", |t| Book { account: t.account, cents: t.cents }).no_compensation()
    ///         .ordered_by(|t| t.account)
    ///     .build();
    /// assert!(definition.steps[0].is_ordered());
    /// ```
    pub fn ordered_by<K: std::fmt::Display>(mut self, key: impl Fn(&D) -> K + Send + Sync + 'static) -> Self
    where
        L: HasStep,
    {
        if let Some(step) = self.last_step() {
            step.order = Some(Arc::new(move |data: &JsonText| Ok(key(&data.read()?).to_string())));
        }
        self
    }

    /// How long the saga may take, from its start, before it turns back; has no power after the pivot.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline_ms = Some(millis(deadline));
        self
    }
}
