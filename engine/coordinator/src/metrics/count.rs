//! Counts what a decision was measured by, once it is committed.

use redress_core::Name;
use redress_core::history::HistoryEvent;

use super::families::Metrics;
use super::labels::{Kind, NameLabel, OfFailure, OfOutcome, OfPhase, OfReason, OfService, OfStatus, OfStep};
use crate::measure::{Measure, Measures};

/// The events that end an attempt without an answer.
pub(super) const ATTEMPT_ENDS: [HistoryEvent; 2] = [HistoryEvent::Failed, HistoryEvent::TimedOut];
/// The events that answer a settlement.
pub(super) const SETTLEMENTS: [HistoryEvent; 7] = [
    HistoryEvent::Done,
    HistoryEvent::Rejected,
    HistoryEvent::Fenced,
    HistoryEvent::Expired,
    HistoryEvent::Refused,
    HistoryEvent::Accepted,
    HistoryEvent::InDoubt,
];

impl Metrics {
    /// Counts what is known of one saga.
    pub(crate) fn count(&self, Measures { saga, all }: Measures) {
        for measure in all {
            self.count_one(&saga, measure);
        }
    }

    fn count_one(&self, saga: &Name, measure: Measure) {
        let saga = NameLabel::from(saga);
        match measure {
            Measure::Event(event) => {
                self.events.get_or_create(&Kind { saga, kind: event.as_str() }).inc();
            }
            Measure::Settled(event) => {
                self.settlements.get_or_create(&OfOutcome { saga, outcome: event.as_str() }).inc();
            }
            Measure::Lost { step } => {
                self.lost.get_or_create(&OfStep { saga, step: NameLabel(step) }).inc();
            }
            Measure::Compensated { step, reason } => {
                let (step, reason) = (NameLabel(step), reason.as_str());
                self.compensations.get_or_create(&OfReason { saga, step, reason }).inc();
            }
            Measure::AttemptFailed { step, phase, event } => {
                let (step, phase, kind) = (NameLabel(step), phase.as_str(), event.as_str());
                self.attempts_failed.get_or_create(&OfFailure { saga, step, phase, kind }).inc();
            }
            Measure::StepEnded { step, phase, took } => {
                let (step, phase) = (NameLabel(step), phase.as_str());
                self.step_durations.get_or_create(&OfPhase { saga, step, phase }).observe(took.as_secs_f64());
            }
            Measure::SagaEnded { status, took } => {
                self.saga_durations.get_or_create(&OfStatus { saga, status }).observe(took.as_secs_f64());
            }
            Measure::Resent { service } => {
                self.resent.get_or_create(&OfService { service: NameLabel(service) }).inc();
            }
        }
    }
}
