//! Steps that wait: for a time, or for an event from outside.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::builder::draft::{Draft, DraftKind};
use crate::builder::phase::{Awaits, HasEvent, MayAwait, MayTurnBack, Resolved, Waits};
use crate::builder::{Builder, Part};
use crate::contract::SagaData;
use crate::definition::{ANSWER_WITHIN_MS_DEFAULT, AnswersFrom, Delivery, StepSchemas, TIMEOUT_MS_DEFAULT};
use crate::ids::Timestamp;
use crate::json::JsonText;
use crate::retry::RetryPolicy;
use crate::waiting::{AwaitedEvent, NO_SERVICE, OnTimeout, Wait, WaitEnd, millis};
use crate::{input, schema};

impl<D: SagaData, P, L> Builder<D, P, L> {
    /// Adds a wait: the saga goes on this long after it has come here. Nothing is sent, and nothing has to be undone.
    ///
    /// `name` is a [`Name`](crate::Name), unique in the saga; `length` is a pure function of the saga's data, in whole
    /// milliseconds. A cancel, the saga's deadline and operators reach the saga meanwhile. A pause of the saga does not
    /// stop the clock: a wait whose end passes meanwhile is over when the saga is resumed.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use redress_core::{Command, saga};
    /// # use schemars::JsonSchema;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, JsonSchema)] struct Pay { to: String }
    /// # impl Command for Pay { const SERVICE: &'static str = "bank"; const NAME: &'static str = "pay"; type Reply = (); }
    /// #[derive(Serialize, Deserialize, JsonSchema)]
    /// struct Expense { to: String, approved_by: Option<String> }
    /// #[derive(Serialize, Deserialize, JsonSchema)]
    /// struct Approval { by: String }
    ///
    /// let expense = saga::<Expense>("expense", 1)
    ///     .await_event::<Approval>("approval", Duration::from_secs(7 * 86_400))
    ///         .on_event(|e, approval| e.approved_by = Some(approval.by))
    ///         .or_turn_back()
    ///     .wait("cool-off", |_| Duration::from_secs(3_600))
    ///     .pivot("pay", |e| Pay { to: e.to.clone() })
    ///     .build();
    /// assert_eq!(expense.steps[0].kind.as_str(), "event");
    /// ```
    pub fn wait(
        self,
        name: &'static str,
        length: impl Fn(&D) -> Duration + Send + Sync + 'static,
    ) -> Builder<D, P, Waits>
    where
        L: Resolved,
    {
        let end = WaitEnd::After(Arc::new(move |data: &JsonText| Ok(length(&data.read()?))));
        self.push_waiting(name, DraftKind::Wait(Wait { end }), Value::Null)
    }

    /// Adds a wait until a time; the saga goes on at once if it has passed. Otherwise as [`wait`](Self::wait).
    pub fn wait_until(
        self,
        name: &'static str,
        time: impl Fn(&D) -> Timestamp + Send + Sync + 'static,
    ) -> Builder<D, P, Waits>
    where
        L: Resolved,
    {
        let end = WaitEnd::At(Arc::new(move |data: &JsonText| Ok(time(&data.read()?))));
        self.push_waiting(name, DraftKind::Wait(Wait { end }), Value::Null)
    }

    /// Adds a wait for an event from outside, for this long at most, and at least 1 ms.
    ///
    /// `name` is the name of the step and of the event; `E` is the type of its payload. The first event of this name
    /// counts, and one that comes before its step is kept. Without one in time the saga turns back, and after the pivot it
    /// goes on: [`or_turn_back`](Self::or_turn_back) and [`or_go_on`](Self::or_go_on) say so or otherwise.
    pub fn await_event<E: SagaData>(self, name: &'static str, timeout: Duration) -> Builder<D, P, Awaits<E>>
    where
        P: MayAwait,
        L: Resolved,
    {
        let event = AwaitedEvent {
            timeout_ms: millis(timeout),
            on_timeout: P::ON_TIMEOUT,
            read: input::reader::<E>(),
        };
        self.push_waiting(name, DraftKind::Event(event), schema::of::<E>())
    }

    /// Folds the event that the last step waits for into the saga's data; a second one replaces the first.
    pub fn on_event(mut self, fold: impl Fn(&mut D, L::Event) + Send + Sync + 'static) -> Self
    where
        L: HasEvent,
    {
        if let Some(step) = self.last_step() {
            step.fold = Some(Arc::new(move |data: &JsonText, event: &JsonText| {
                let mut data: D = data.read()?;
                fold(&mut data, event.read()?);
                JsonText::of(&data)
            }));
        }
        self
    }

    /// Turns the saga back if the event that the last step waits for does not come in time: the default before the pivot.
    pub fn or_turn_back(self) -> Self
    where
        L: HasEvent,
        P: MayTurnBack,
    {
        self.on_timeout(OnTimeout::TurnBack)
    }

    /// Lets the saga go on without the event that the last step waits for if it does not come in time: the only way after
    /// the pivot.
    pub fn or_go_on(self) -> Self
    where
        L: HasEvent,
    {
        self.on_timeout(OnTimeout::GoOn)
    }

    fn on_timeout(mut self, on_timeout: OnTimeout) -> Self {
        if let Some(Draft { kind: DraftKind::Event(event), .. }) = self.last_step() {
            event.on_timeout = on_timeout;
        }
        self
    }

    fn push_waiting<L2>(mut self, name: &'static str, kind: DraftKind, event: Value) -> Builder<D, P, L2> {
        let stage = self.take_stage();
        self.parts.push(Part::Step(Draft {
            name,
            stage,
            service: NO_SERVICE,
            command: NO_SERVICE,
            kind,
            timeout_ms: TIMEOUT_MS_DEFAULT,
            retry: RetryPolicy::ACTION,
            answer_within_ms: ANSWER_WITHIN_MS_DEFAULT,
            answers_from: AnswersFrom::default(),
            delivery: Delivery::default(),
            schemas: StepSchemas { command: Value::Null, reply: event, compensation: None },
            when: None,
            make: Arc::new(|_| Ok(JsonText::null())),
            fold: None,
            order: None,
        }));
        self.into_typed()
    }
}
