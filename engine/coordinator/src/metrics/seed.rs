//! The series that are there before anything has happened, at zero. What the broker says of services is not among them:
//! nobody knows it before the first look.

use std::hash::Hash;
use std::sync::Arc;

use prometheus_client::metrics::family::{Family, MetricConstructor};
use redress_core::definition::StepKind;
use redress_core::history::HistoryEvent;
use redress_core::state::{CauseKind, ParkCode};
use redress_core::{LetterCode, Name, Phase, SagaDefinition};

use super::count::{ATTEMPT_ENDS, SETTLEMENTS};
use super::families::Metrics;
use super::labels::{
    Kind, LetterKind, NameLabel, OfCode, OfFailure, OfOutcome, OfPhase, OfReason, OfSaga, OfService,
    OfStatus, OfStep, OfVersion, Version,
};
use crate::ports::COORDINATOR;

/// The statuses with which a saga ends.
const ENDS: [&str; 3] = ["completed", "compensated", "closed"];

pub(super) fn seed(metrics: &Metrics, definitions: &[Arc<SagaDefinition>]) {
    for definition in definitions {
        seed_saga(metrics, &definition.name);
        let (saga, version) = (NameLabel::from(&definition.name), definition.version);
        zero(&metrics.replies_behind, OfVersion { saga, version });
        for step in &definition.steps {
            let phases: &[Phase] = match step.kind {
                StepKind::Notification | StepKind::Wait(_) | StepKind::Event(_) => &[],
                StepKind::Compensatable { .. } => &[Phase::Action, Phase::Settlement, Phase::Compensation],
                StepKind::Pivot | StepKind::Retriable => &[Phase::Action, Phase::Settlement],
            };
            for &phase in phases {
                seed_phase(metrics, &definition.name, &step.name, phase);
            }
        }
    }
    for service in answering_services(definitions) {
        let of_service = OfService { service: NameLabel(service) };
        zero(&metrics.resent, of_service);
    }
    for code in LetterCode::ALL {
        let of_coordinator = LetterKind { source: COORDINATOR.to_owned(), code: code.as_str() };
        zero(&metrics.dead_letters_kept, of_coordinator);
    }
}

fn seed_saga(metrics: &Metrics, name: &Name) {
    let saga = NameLabel::from(name);
    zero(&metrics.started, Kind { saga: saga.clone(), kind: "start" });
    for kind in ENDS.into_iter().chain(["parked"]) {
        zero(&metrics.ended, Kind { saga: saga.clone(), kind });
    }
    for event in HistoryEvent::ALL {
        zero(&metrics.events, Kind { saga: saga.clone(), kind: event.as_str() });
    }
    for status in ENDS {
        zero(&metrics.saga_durations, OfStatus { saga: saga.clone(), status });
    }
    for event in SETTLEMENTS {
        zero(&metrics.settlements, OfOutcome { saga: saga.clone(), outcome: event.as_str() });
    }
    zero(&metrics.oldest_open, OfSaga { saga: name.to_string() });
    for code in ParkCode::ALL {
        zero(&metrics.parked, OfCode { saga: name.to_string(), code: code.as_str() });
    }
}

fn seed_phase(metrics: &Metrics, saga: &Name, step: &Name, phase: Phase) {
    let (saga, step) = (NameLabel::from(saga), NameLabel::from(step));
    for event in ATTEMPT_ENDS {
        let (saga, step) = (saga.clone(), step.clone());
        let kind = event.as_str();
        zero(&metrics.attempts_failed, OfFailure { saga, step, phase: phase.as_str(), kind });
    }
    match phase {
        Phase::Action => {
            zero(&metrics.lost, OfStep { saga: saga.clone(), step: step.clone() });
        }
        Phase::Compensation => {
            for reason in CauseKind::ALL {
                let (saga, step, reason) = (saga.clone(), step.clone(), reason.as_str());
                zero(&metrics.compensations, OfReason { saga, step, reason });
            }
        }
        // The longest rows of all, for what is rare: its durations come with the first one.
        Phase::Settlement => return,
    }
    zero(&metrics.step_durations, OfPhase { saga, step, phase: phase.as_str() });
}

/// What the journal and the broker say of sagas and services, as if they had said so: for a coordinator that asks nobody.
pub(super) fn seed_looks(metrics: &Metrics, definitions: &[Arc<SagaDefinition>]) {
    for definition in definitions {
        for known in ["true", "false"] {
            let (saga, version) = (definition.name.to_string(), definition.version);
            zero(&metrics.open, Version { saga, version, known });
        }
    }
    for service in answering_services(definitions) {
        for gauge in [&metrics.listening, &metrics.pending, &metrics.in_flight] {
            zero(gauge, OfService { service: NameLabel::from(&service) });
        }
    }
}

/// The series is there from now on.
pub(crate) fn zero<L, M, C>(family: &Family<L, M, C>, label: L)
where
    L: Clone + Hash + Eq,
    C: MetricConstructor<M>,
{
    drop(family.get_or_create(&label));
}

/// The services that take commands from the broker's streams, each once.
pub(crate) fn answering_services(definitions: &[Arc<SagaDefinition>]) -> Vec<Name> {
    let steps = definitions.iter().flat_map(|definition| &definition.steps);
    let answering = steps.filter(|step| match step.kind {
        StepKind::Compensatable { .. } | StepKind::Pivot | StepKind::Retriable => true,
        StepKind::Notification | StepKind::Wait(_) | StepKind::Event(_) => false,
    });
    let mut services: Vec<Name> = answering.map(|step| step.service.clone()).collect();
    services.sort();
    services.dedup();
    services
}
