//! A step in the making, and the checks that types cannot make.

use crate::definition::{
    AnswersFrom, Compensation, Delivery, Fold, InDoubt, InvalidDefinition, LateSuccess, Make, OrderKey, Step,
    StepKind, StepSchemas, When,
};
use crate::ids::Name;
use crate::retry::RetryPolicy;
use crate::waiting::{AwaitedEvent, Wait};

/// A step whose names have not been checked.
pub(super) struct Draft {
    pub(super) name: &'static str,
    pub(super) stage: u32,
    pub(super) service: &'static str,
    pub(super) command: &'static str,
    pub(super) kind: DraftKind,
    pub(super) timeout_ms: u64,
    pub(super) retry: RetryPolicy,
    pub(super) answer_within_ms: u64,
    pub(super) answers_from: AnswersFrom,
    pub(super) delivery: Delivery,
    pub(super) schemas: StepSchemas,
    pub(super) make: Make,
    pub(super) when: Option<When>,
    pub(super) fold: Option<Fold>,
    pub(super) order: Option<OrderKey>,
}

pub(super) enum DraftKind {
    Compensatable(Option<DraftCompensation>),
    Pivot,
    Retriable,
    Notification,
    Wait(Wait),
    Event(AwaitedEvent),
}

pub(super) struct DraftCompensation {
    pub(super) service: &'static str,
    pub(super) command: &'static str,
    pub(super) retry: RetryPolicy,
    pub(super) timeout_ms: Option<u64>,
    pub(super) late_success: LateSuccess,
    pub(super) in_doubt: InDoubt,
    pub(super) make: Make,
}

impl Draft {
    pub(super) fn check(self, saga: &str) -> Result<Step, InvalidDefinition> {
        if self.waits_for_nothing() {
            return Err(InvalidDefinition::ZeroTimeout { saga: saga.to_owned(), step: self.name.to_owned() });
        }
        if self.delivery == Delivery::AtLeastOnce && self.answers_from == AnswersFrom::ServiceAndPeople {
            return Err(InvalidDefinition::AnswerNotKept {
                saga: saga.to_owned(),
                step: self.name.to_owned(),
            });
        }
        let kind = match self.kind {
            DraftKind::Pivot => StepKind::Pivot,
            DraftKind::Retriable => StepKind::Retriable,
            DraftKind::Notification => StepKind::Notification,
            DraftKind::Wait(wait) => StepKind::Wait(wait),
            DraftKind::Event(event) => StepKind::Event(event),
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
                    timeout_ms: draft.timeout_ms,
                    late_success: draft.late_success,
                    in_doubt: draft.in_doubt,
                    make: draft.make,
                }),
            },
        };
        Ok(Step {
            name: checked(saga, self.name)?,
            stage: self.stage,
            kind,
            service: checked(saga, self.service)?,
            command: checked(saga, self.command)?,
            timeout_ms: self.timeout_ms,
            retry: self.retry,
            answer_within_ms: self.answer_within_ms,
            answers_from: self.answers_from,
            delivery: self.delivery,
            schemas: self.schemas,
            when: self.when,
            make: self.make,
            fold: self.fold,
            order: self.order,
        })
    }

    /// Returns true if one of its times is zero.
    const fn waits_for_nothing(&self) -> bool {
        let of_kind = match &self.kind {
            DraftKind::Compensatable(Some(compensation)) => compensation.timeout_ms,
            DraftKind::Event(event) => Some(event.timeout_ms),
            DraftKind::Compensatable(None)
            | DraftKind::Pivot
            | DraftKind::Retriable
            | DraftKind::Notification
            | DraftKind::Wait(_) => None,
        };
        self.timeout_ms == 0 || self.answer_within_ms == 0 || matches!(of_kind, Some(0))
    }
}

pub(super) fn checked(saga: &str, name: &str) -> Result<Name, InvalidDefinition> {
    Name::new(name).map_err(|problem| InvalidDefinition::Name { saga: saga.to_owned(), problem })
}
