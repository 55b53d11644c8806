//! The builder of saga definitions: what users write.
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

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::contract::{Command, Compensates, SagaData};
use crate::definition::{
    Compensation, Fold, InvalidDefinition, Make, SagaDefinition, Step, StepKind, StepSchemas,
    TIMEOUT_MS_DEFAULT,
};
use crate::digest;
use crate::ids::Name;
use crate::input;
use crate::json::JsonText;
use crate::retry::RetryPolicy;
use crate::schema;

/// Phase: the pivot has not been passed, everything can still be undone.
#[derive(Debug)]
pub enum BeforePivot {}
/// Phase: the pivot has been passed, everything must succeed in the end.
#[derive(Debug)]
pub enum AfterPivot {}

/// A phase in which steps can be compensated.
#[diagnostic::on_unimplemented(
    message = "a compensatable step after the pivot",
    label = "the saga can no longer go back here",
    note = "use `.retriable(..)`, or move this step before `.pivot(..)`"
)]
pub trait MayCompensate {}
impl MayCompensate for BeforePivot {}

/// A phase in which the pivot may stand.
#[diagnostic::on_unimplemented(
    message = "a second pivot",
    label = "the saga has decided already",
    note = "a saga has one point of no return; what comes after it is `.retriable(..)`"
)]
pub trait MayPivot {}
impl MayPivot for BeforePivot {}

/// A phase in which steps are retried until they succeed.
#[diagnostic::on_unimplemented(
    message = "a retriable step before the pivot",
    label = "no pivot stands before it",
    note = "use `.step(..)` with `.compensate(..)`, or put a `.pivot(..)` before it"
)]
pub trait MayRetry {}
impl MayRetry for AfterPivot {}

/// Last step: there is none yet.
#[derive(Debug)]
pub enum NoStep {}
/// Last step: its command is `C`, and how it is undone has not been said.
#[derive(Debug)]
pub struct Open<C>(PhantomData<fn() -> C>);
/// Last step: its command is `C`, and it has a compensation.
#[derive(Debug)]
pub struct Compensated<C>(PhantomData<fn() -> C>);
/// Last step: its command is `C`, and nothing will undo it.
#[derive(Debug)]
pub struct Closed<C>(PhantomData<fn() -> C>);

/// Nothing remains to be said about the last step.
#[diagnostic::on_unimplemented(
    message = "the step before this one has no compensation",
    label = "the step above is still open",
    note = "add `.compensate(|data| ..)`, or `.no_compensation()` if it has nothing to undo"
)]
pub trait Resolved {}
impl Resolved for NoStep {}
impl<C> Resolved for Compensated<C> {}
impl<C> Resolved for Closed<C> {}

/// There is a last step.
#[diagnostic::on_unimplemented(
    message = "no step stands before this call",
    label = "belongs to a step",
    note = "add a `.step(..)`, `.pivot(..)` or `.retriable(..)` before it"
)]
pub trait HasStep {
    /// Its command.
    type Command: Command;
}
impl<C: Command> HasStep for Open<C> {
    type Command = C;
}
impl<C: Command> HasStep for Compensated<C> {
    type Command = C;
}
impl<C: Command> HasStep for Closed<C> {
    type Command = C;
}

/// How the last step is undone has not been said.
#[diagnostic::on_unimplemented(
    message = "this step has its compensation already, or needs none",
    label = "no open step to compensate",
    note = "`.compensate(..)` or `.no_compensation()` stands once, after a `.step(..)`"
)]
pub trait AwaitsCompensation: HasStep {}
impl<C: Command> AwaitsCompensation for Open<C> {}

/// The last step has a compensation.
#[diagnostic::on_unimplemented(
    message = "no compensation stands before this call",
    label = "belongs to a compensation",
    note = "put it after `.compensate(|data| ..)`"
)]
pub trait HasCompensation: HasStep {}
impl<C: Command> HasCompensation for Compensated<C> {}

/// A saga definition in the making; see the [module](self).
#[must_use = "a definition exists only after `.build()`"]
pub struct Builder<D, P, L> {
    name: String,
    version: u32,
    deadline_ms: Option<u64>,
    steps: Vec<Draft>,
    _types: PhantomData<Types<D, P, L>>,
}

/// What a builder knows of its saga and does not own.
type Types<D, P, L> = fn() -> (D, P, L);

/// A step whose names have not been checked.
struct Draft {
    name: &'static str,
    service: &'static str,
    command: &'static str,
    kind: DraftKind,
    timeout_ms: u64,
    retry: RetryPolicy,
    schemas: StepSchemas,
    make: Make,
    fold: Option<Fold>,
}

enum DraftKind {
    Compensatable(Option<DraftCompensation>),
    Pivot,
    Retriable,
}

struct DraftCompensation {
    service: &'static str,
    command: &'static str,
    retry: RetryPolicy,
    make: Make,
}

/// Begins the definition of a saga with data of type `D`.
///
/// `name` is a [`Name`]; `version` counts from 1, and a definition that was deployed never changes under its version.
pub fn saga<D: SagaData>(name: &str, version: u32) -> Builder<D, BeforePivot, NoStep> {
    Builder { name: name.to_owned(), version, deadline_ms: None, steps: Vec::new(), _types: PhantomData }
}

impl<D: SagaData, P, L> Builder<D, P, L> {
    /// Adds a step that can be undone; say next how, or that it has nothing to undo.
    ///
    /// `name` is a [`Name`], unique in the saga; `action` is a pure function of the saga's data.
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
    ) -> Builder<D, AfterPivot, Closed<C>>
    where
        P: MayPivot,
        L: Resolved,
    {
        self.push(name, DraftKind::Pivot, RetryPolicy::ACTION, action)
    }

    /// Adds a step that is asked until it succeeds.
    pub fn retriable<C: Command>(
        self,
        name: &'static str,
        action: impl Fn(&D) -> C + Send + Sync + 'static,
    ) -> Builder<D, P, Closed<C>>
    where
        P: MayRetry,
        L: Resolved,
    {
        self.push(name, DraftKind::Retriable, RetryPolicy::FOR_EVER, action)
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
        if let Some(step) = self.steps.last_mut() {
            step.schemas.compensation = Some(schema::of::<K>());
            step.kind = DraftKind::Compensatable(Some(DraftCompensation {
                service: K::SERVICE,
                command: K::NAME,
                retry: RetryPolicy::COMPENSATION,
                make: maker(compensation),
            }));
        }
        self.into_typed()
    }

    /// Says that the last step has nothing to undo.
    pub fn no_compensation(self) -> Builder<D, P, Closed<L::Command>>
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
        if let Some(step) = self.steps.last_mut() {
            step.fold = Some(Arc::new(move |data: &JsonText, reply: &JsonText| {
                let mut data: D = data.read()?;
                fold(&mut data, reply.read()?);
                JsonText::of(&data)
            }));
        }
        self
    }

    /// How long one attempt of the last step may stay unanswered, at least 1 ms; default 10 seconds.
    ///
    /// Counts for its action, its settlement and its compensation.
    pub fn timeout(mut self, timeout: Duration) -> Self
    where
        L: HasStep,
    {
        if let Some(step) = self.steps.last_mut() {
            step.timeout_ms = millis(timeout);
        }
        self
    }

    /// How often and how soon the last step's action is tried again; of a retriable step only the pauses count.
    pub fn retry(mut self, policy: RetryPolicy) -> Self
    where
        L: HasStep,
    {
        if let Some(step) = self.steps.last_mut() {
            step.retry = match step.kind {
                DraftKind::Retriable => RetryPolicy { attempts_max: None, ..policy },
                DraftKind::Compensatable(_) | DraftKind::Pivot => policy,
            };
        }
        self
    }

    /// How often and how soon the last step's compensation is tried again before the saga parks.
    pub fn compensation_retry(mut self, policy: RetryPolicy) -> Self
    where
        L: HasCompensation,
    {
        if let Some(Draft { kind: DraftKind::Compensatable(Some(compensation)), .. }) = self.steps.last_mut()
        {
            compensation.retry = policy;
        }
        self
    }

    /// How long the saga may take, from its start, before it turns back; has no power after the pivot.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline_ms = Some(millis(deadline));
        self
    }

    /// The finished definition.
    ///
    /// # Panics
    /// If it is [invalid](InvalidDefinition): a mistake in the program, found when it starts.
    #[track_caller]
    pub fn build(self) -> SagaDefinition
    where
        L: Resolved,
    {
        match self.try_build() {
            Ok(definition) => definition,
            Err(error) => panic!("{error}"),
        }
    }

    /// The finished definition, or what is wrong with it.
    ///
    /// # Errors
    /// [`InvalidDefinition`], for names that are put together at run time.
    pub fn try_build(self) -> Result<SagaDefinition, InvalidDefinition>
    where
        L: Resolved,
    {
        let saga = self.name;
        let name = checked(&saga, &saga)?;
        if self.version == 0 {
            return Err(InvalidDefinition::Version { saga });
        }
        if self.steps.is_empty() {
            return Err(InvalidDefinition::NoStep { saga });
        }
        if self.deadline_ms == Some(0) {
            return Err(InvalidDefinition::ZeroDeadline { saga });
        }
        let mut steps: Vec<Step> = Vec::with_capacity(self.steps.len());
        for draft in self.steps {
            let step = draft.check(&saga)?;
            if steps.iter().any(|other| other.name == step.name) {
                return Err(InvalidDefinition::DuplicateStep { saga, step: step.name.to_string() });
            }
            steps.push(step);
        }
        let mut definition = SagaDefinition {
            name,
            version: self.version,
            steps,
            deadline_ms: self.deadline_ms,
            digest: String::new(),
            input_schema: schema::of::<D>(),
            read_input: input::reader::<D>(),
        };
        definition.digest = digest::of(&definition.graph());
        Ok(definition)
    }

    fn push<C: Command, P2, L2>(
        mut self,
        name: &'static str,
        kind: DraftKind,
        retry: RetryPolicy,
        action: impl Fn(&D) -> C + Send + Sync + 'static,
    ) -> Builder<D, P2, L2> {
        self.steps.push(Draft {
            name,
            service: C::SERVICE,
            command: C::NAME,
            kind,
            timeout_ms: TIMEOUT_MS_DEFAULT,
            retry,
            schemas: StepSchemas {
                command: schema::of::<C>(),
                reply: schema::of::<C::Reply>(),
                compensation: None,
            },
            make: maker(action),
            fold: None,
        });
        self.into_typed()
    }

    fn into_typed<P2, L2>(self) -> Builder<D, P2, L2> {
        Builder {
            name: self.name,
            version: self.version,
            deadline_ms: self.deadline_ms,
            steps: self.steps,
            _types: PhantomData,
        }
    }
}

impl Draft {
    fn check(self, saga: &str) -> Result<Step, InvalidDefinition> {
        if self.timeout_ms == 0 {
            return Err(InvalidDefinition::ZeroTimeout { saga: saga.to_owned(), step: self.name.to_owned() });
        }
        let kind = match self.kind {
            DraftKind::Pivot => StepKind::Pivot,
            DraftKind::Retriable => StepKind::Retriable,
            DraftKind::Compensatable(None) => StepKind::Compensatable { compensation: None },
            DraftKind::Compensatable(Some(draft)) if draft.service != self.service => {
                return Err(InvalidDefinition::OtherService {
                    saga: saga.to_owned(),
                    step: self.name.to_owned(),
                    action: self.service.to_owned(),
                    compensation: draft.service.to_owned(),
                });
            }
            DraftKind::Compensatable(Some(draft)) => StepKind::Compensatable {
                compensation: Some(Compensation {
                    command: checked(saga, draft.command)?,
                    retry: draft.retry,
                    make: draft.make,
                }),
            },
        };
        Ok(Step {
            name: checked(saga, self.name)?,
            kind,
            service: checked(saga, self.service)?,
            command: checked(saga, self.command)?,
            timeout_ms: self.timeout_ms,
            retry: self.retry,
            schemas: self.schemas,
            make: self.make,
            fold: self.fold,
        })
    }
}

fn checked(saga: &str, name: &str) -> Result<Name, InvalidDefinition> {
    Name::new(name).map_err(|problem| InvalidDefinition::Name { saga: saga.to_owned(), problem })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `==` of texts, which `const` does not know.
const fn same_text(a: &str, b: &str) -> Option<()> {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return None;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return None;
        }
        at += 1;
    }
    Some(())
}

fn maker<D: SagaData, C: Command>(build: impl Fn(&D) -> C + Send + Sync + 'static) -> Make {
    Arc::new(move |data: &JsonText| JsonText::of(&build(&data.read()?)))
}
