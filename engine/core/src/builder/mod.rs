//! The builder with which users write saga definitions.
//!
//! Two phantom types carry the rules. The *phase* says whether the pivot was passed: before it steps can be
//! compensated, after it they can only be retried. The *last step* says whether the step before is settled: a
//! compensatable step is open until `.compensate(..)` or `.no_compensation()` closes it. A rule that is broken is a
//! compile error in words of ours.
//!
//! Only two rules cannot be seen in types: names, and that times are not zero. [`Builder::try_build`] checks them.
//!
//! ```
//! use redress_core::{Command, Compensates, saga};
//! # use schemars::JsonSchema;
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize, JsonSchema)] struct Charge { payment: u64 }
//! # #[derive(Serialize, Deserialize, JsonSchema)] struct Refund { payment: u64 }
//! # #[derive(Serialize, Deserialize, JsonSchema)] struct Ship { address: String }
//! # #[derive(Serialize, Deserialize, JsonSchema)] struct Charged { receipt: String }
//! # impl Command for Charge { const SERVICE: &'static str = "payment"; const NAME: &'static str = "charge"; type Reply = Charged; }
//! # impl Command for Refund { const SERVICE: &'static str = "payment"; const NAME: &'static str = "refund"; type Reply = (); }
//! # impl Command for Ship { const SERVICE: &'static str = "shipping"; const NAME: &'static str = "ship"; type Reply = (); }
//! # impl Compensates<Charge> for Refund {}
//! # #[derive(Serialize, Deserialize, JsonSchema)]
//! # struct Sale { payment: u64, address: String, receipt: Option<String> }
//! let definition = saga::<Sale>("sell", 1)
//!     .step("charge", |s| Charge { payment: s.payment })
//!         .on_reply(|s, charged| s.receipt = Some(charged.receipt))
//!         .compensate(|s| Refund { payment: s.payment })
//!     .pivot("ship", |s| Ship { address: s.address.clone() })
//!     .build();
//! assert_eq!(definition.steps.len(), 2);
//! ```

mod child;
mod draft;
mod examples;
mod finish;
mod phase;
mod settings;
mod waiting;

use std::marker::PhantomData;
use std::sync::Arc;

use crate::checks::same_text;
use crate::contract::{Command, Compensates, SagaData};
use crate::definition::{
    ANSWER_WITHIN_MS_DEFAULT, AnswersFrom, Delivery, Examples, InDoubt, LateSuccess, Make, SagaDefinition,
    StepSchemas, TIMEOUT_MS_DEFAULT,
};
use crate::json::JsonText;
use crate::retry::RetryPolicy;
use crate::schema;

use child::Child;
use draft::{Draft, DraftCompensation, DraftKind};

pub use phase::{
    AfterPivot, Awaits, AwaitsCompensation, BeforePivot, Compensated, Decisive, HasCompensation, HasEvent,
    HasStep, MayAwait, MayBeRepeated, MayBeSkipped, MayBranch, MayCompensate, MayPivot, MayRetry,
    MayTurnBack, NoStep, Notified, Open, Parallel, Resolved, StandsAlone, Uncompensated, Waits,
};

/// A saga definition in the making; see the [module](self).
#[must_use = "a definition exists only after `.build()`"]
pub struct Builder<D, P, L> {
    name: String,
    version: u32,
    deadline_ms: Option<u64>,
    examples: Examples,
    /// Why an example of the author's is none.
    bad_example: Option<String>,
    parts: Vec<Part>,
    /// The number of the next stage.
    next_stage: u32,
    /// The stage that all steps join until it is left; `None` while each begins its own.
    joined_stage: Option<u32>,
    _types: PhantomData<Types<D, P, L>>,
}

/// A part of a definition.
enum Part {
    Step(Draft),
    Child(Child),
}

/// The types that a builder knows of its saga and does not own.
type Types<D, P, L> = fn() -> (D, P, L);

/// Begins the definition of a saga with data of type `D`.
///
/// `name` is a [`Name`](crate::Name); `version` counts from 1, and a definition that was deployed never changes under its version.
pub fn saga<D: SagaData>(name: &str, version: u32) -> Builder<D, BeforePivot, NoStep> {
    Builder {
        name: name.to_owned(),
        version,
        deadline_ms: None,
        examples: Examples { given: Vec::new(), generated: true },
        bad_example: None,
        parts: Vec::new(),
        next_stage: 0,
        joined_stage: None,
        _types: PhantomData,
    }
}

impl<D: SagaData, P, L> Builder<D, P, L> {
    /// Adds a step that can be undone; say next how, or that it has nothing to undo.
    ///
    /// `name` is a [`Name`](crate::Name), unique in the saga; `action` is a pure function of the saga's data.
    pub fn step<C: Command>(
        self,
        name: &'static str,
        action: impl Fn(&D) -> C + Send + Sync + 'static,
    ) -> Builder<D, P, Open<C>>
    where
        P: MayCompensate,
        L: Resolved,
    {
        self.push(name, DraftKind::Compensatable(None), RetryPolicy::ACTION, action)
    }

    /// Adds the step that decides the saga: once it has succeeded there is no way back.
    pub fn pivot<C: Command>(
        self,
        name: &'static str,
        action: impl Fn(&D) -> C + Send + Sync + 'static,
    ) -> Builder<D, AfterPivot, Decisive<C>>
    where
        P: MayPivot + StandsAlone,
        L: Resolved,
    {
        self.push(name, DraftKind::Pivot, RetryPolicy::ACTION, action)
    }

    /// Adds a step that is sent until it succeeds.
    pub fn retriable<C: Command>(
        self,
        name: &'static str,
        action: impl Fn(&D) -> C + Send + Sync + 'static,
    ) -> Builder<D, P, Uncompensated<C>>
    where
        P: MayRetry,
        L: Resolved,
    {
        self.push(name, DraftKind::Retriable, RetryPolicy::FOR_EVER, action)
    }

    /// Adds a notification: sent once, heard at most once, never answered, retried or undone.
    ///
    /// For what may be lost without harm, such as a hint to a dashboard.
    pub fn notify<C: Command>(
        self,
        name: &'static str,
        notification: impl Fn(&D) -> C + Send + Sync + 'static,
    ) -> Builder<D, P, Notified>
    where
        L: Resolved,
    {
        self.push(name, DraftKind::Notification, RetryPolicy::ACTION, notification)
    }

    /// Adds a stage: steps that run side by side. The next one starts when all of them are done.
    ///
    /// If one of them fails the others are settled before anything is undone.
    pub fn parallel<L2: Resolved>(
        mut self,
        stage: impl FnOnce(Builder<D, Parallel<P>, NoStep>) -> Builder<D, Parallel<P>, L2>,
    ) -> Builder<D, P, NoStep>
    where
        P: MayBranch,
        L: Resolved,
    {
        self.joined_stage = Some(self.next_stage);
        let mut joined = stage(self.into_typed());
        joined.joined_stage = None;
        joined.next_stage += 1;
        joined.into_typed()
    }

    /// Adds a saga inside this one: its steps are done here, as `<name>-<step>`, and undone with those around it.
    ///
    /// `child` is a definition of its own with steps that can be undone, and perhaps notifications; its data are a
    /// field of this saga's data, which may be filled by the input or by the replies to earlier steps.
    ///
    /// ```
    /// # use redress_core::{Command, Compensates, saga};
    /// # use schemars::JsonSchema;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, JsonSchema)] struct Reserve { room: u64 }
    /// # #[derive(Serialize, Deserialize, JsonSchema)] struct Release { room: u64 }
    /// # impl Command for Reserve { const SERVICE: &'static str = "hotel"; const NAME: &'static str = "reserve"; type Reply = (); }
    /// # impl Command for Release { const SERVICE: &'static str = "hotel"; const NAME: &'static str = "release"; type Reply = (); }
    /// # impl Compensates<Reserve> for Release {}
    /// #[derive(Serialize, Deserialize, JsonSchema)]
    /// struct Stay { room: u64 }
    /// #[derive(Serialize, Deserialize, JsonSchema)]
    /// struct Trip { stay: Stay }
    ///
    /// let stay = saga::<Stay>("stay", 1)
    ///     .step("reserve", |s| Reserve { room: s.room }).compensate(|s| Release { room: s.room })
    ///     .build();
    /// let trip = saga::<Trip>("trip", 1).saga("hotel", stay, |t| &mut t.stay).build();
    /// assert_eq!(trip.steps[0].name, *"hotel-reserve");
    /// ```
    pub fn saga<C: SagaData>(
        mut self,
        name: &'static str,
        child: SagaDefinition,
        data: impl for<'d> Fn(&'d mut D) -> &'d mut C + Send + Sync + 'static,
    ) -> Builder<D, P, NoStep>
    where
        P: MayCompensate + MayBranch,
        L: Resolved,
    {
        let child = Child::new(name, self.next_stage, child, data);
        self.next_stage += child.stages();
        self.parts.push(Part::Child(child));
        self.into_typed()
    }

    /// Does the last step only if this holds of the saga's data when its turn comes; else it is skipped.
    ///
    /// A skipped pivot counts as passed: there is no way back from there.
    pub fn when(mut self, condition: impl Fn(&D) -> bool + Send + Sync + 'static) -> Self
    where
        L: MayBeSkipped,
    {
        if let Some(step) = self.last_step() {
            step.when = Some(Arc::new(move |data: &JsonText| Ok(condition(&data.read()?))));
        }
        self
    }

    /// Says how the last step is undone.
    ///
    /// The command is built from the data as they are when the saga turns back, and must belong to the service of
    /// the action.
    pub fn compensate<K: Compensates<L::Command>>(
        mut self,
        compensation: impl Fn(&D) -> K + Send + Sync + 'static,
    ) -> Builder<D, P, Compensated<L::Command>>
    where
        L: AwaitsCompensation,
    {
        const {
            // `expect` and not `assert!`, so that rustc points here and not into its own library.
            same_text(<L::Command as Command>::SERVICE, K::SERVICE).expect(
                "a compensation must belong to the service of the action that it undoes: a fence in another \
                 database is none",
            );
        }
        if let Some(step) = self.last_step() {
            step.schemas.compensation = Some(schema::of::<K>());
            step.kind = DraftKind::Compensatable(Some(DraftCompensation {
                service: K::SERVICE,
                command: K::NAME,
                retry: RetryPolicy::COMPENSATION,
                timeout_ms: None,
                late_success: LateSuccess::default(),
                in_doubt: InDoubt::default(),
                make: maker(compensation),
            }));
        }
        self.into_typed()
    }

    /// Says that the last step has nothing to undo.
    pub fn no_compensation(self) -> Builder<D, P, Uncompensated<L::Command>>
    where
        L: AwaitsCompensation,
    {
        self.into_typed()
    }

    /// Folds the last step's reply into the saga's data; a second one replaces the first.
    pub fn on_reply(
        mut self,
        fold: impl Fn(&mut D, <L::Command as Command>::Reply) + Send + Sync + 'static,
    ) -> Self
    where
        L: HasStep,
    {
        if let Some(step) = self.last_step() {
            step.fold = Some(Arc::new(move |data: &JsonText, reply: &JsonText| {
                let mut data: D = data.read()?;
                fold(&mut data, reply.read()?);
                JsonText::of(&data)
            }));
        }
        self
    }

    fn last_step(&mut self) -> Option<&mut Draft> {
        match self.parts.last_mut() {
            Some(Part::Step(step)) => Some(step),
            Some(Part::Child(_)) | None => None,
        }
    }

    /// The stage of the next step.
    fn take_stage(&mut self) -> u32 {
        let stage = self.joined_stage.unwrap_or(self.next_stage);
        if self.joined_stage.is_none() {
            self.next_stage += 1;
        }
        stage
    }

    fn push<C: Command, P2, L2>(
        mut self,
        name: &'static str,
        kind: DraftKind,
        retry: RetryPolicy,
        action: impl Fn(&D) -> C + Send + Sync + 'static,
    ) -> Builder<D, P2, L2> {
        let stage = self.take_stage();
        self.parts.push(Part::Step(Draft {
            name,
            stage,
            service: C::SERVICE,
            command: C::NAME,
            kind,
            timeout_ms: TIMEOUT_MS_DEFAULT,
            retry,
            answer_within_ms: ANSWER_WITHIN_MS_DEFAULT,
            answers_from: AnswersFrom::default(),
            delivery: Delivery::default(),
            schemas: StepSchemas {
                command: schema::of::<C>(),
                reply: schema::of::<C::Reply>(),
                compensation: None,
            },
            when: None,
            make: maker(action),
            fold: None,
            order: None,
        }));
        self.into_typed()
    }

    fn into_typed<P2, L2>(self) -> Builder<D, P2, L2> {
        Builder {
            name: self.name,
            version: self.version,
            deadline_ms: self.deadline_ms,
            examples: self.examples,
            bad_example: self.bad_example,
            parts: self.parts,
            next_stage: self.next_stage,
            joined_stage: self.joined_stage,
            _types: PhantomData,
        }
    }
}
fn maker<D: SagaData, C: Command>(build: impl Fn(&D) -> C + Send + Sync + 'static) -> Make {
    Arc::new(move |data: &JsonText| JsonText::of(&build(&data.read()?)))
}
