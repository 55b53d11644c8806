//! Reads the gauges anew: what the journal holds, and what waits at the broker.
//!
//! One look after the other, each independent of the others: a journal that is away hides nothing of the broker, and
//! nothing here decides anything about a saga.

use std::collections::HashMap;
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use redress_core::state::ParkCode;
use redress_core::{LetterCode, LetterStatus, Name};

use crate::decider::Decider;
use crate::metrics::labels::{LetterKind, NameLabel, OfCode, OfSaga, OfService, Version};
use crate::metrics::{Metrics, answering_services, zero};
use crate::pauses::within;
use crate::ports::{
    Backlog, Bus, COORDINATOR, Clock, JournalError, JournalLetters, JournalUpkeep, LetterFilter, OpenSagas,
};

/// The longest time that the broker may take to say what waits for a service.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);

/// The gauges of a coordinator.
pub(crate) struct Gauges<J, B, C> {
    decider: Arc<Decider<J, C>>,
    bus: B,
    metrics: Arc<Metrics>,
    /// A saga that goes on by itself for longer than this is counted as stalled.
    stalled_after: Duration,
    services: Vec<Name>,
    /// How many commands had been handed to each service at the last look.
    delivered: HashMap<Name, u64>,
}

impl<J: JournalUpkeep + JournalLetters, B: Bus, C: Clock> Gauges<J, B, C> {
    pub(crate) fn new(
        decider: Arc<Decider<J, C>>,
        bus: B,
        metrics: Arc<Metrics>,
        stalled_after: Duration,
    ) -> Self {
        let services = answering_services(decider.rules.registry.all());
        Self { decider, bus, metrics, stalled_after, services, delivered: HashMap::new() }
    }

    /// Whether the journal has answered the looks.
    pub(crate) fn note_journal(&self, looked: Result<(), JournalError>) {
        self.metrics.journal_up.set(i64::from(looked.is_ok()));
        if let Err(error) = looked {
            tracing::debug!(%error, "sagas and dead letters not counted");
        }
    }

    /// Counts the sagas that have not ended, and logs the versions that no coordinator here can carry on.
    pub(crate) async fn look_at_sagas(&self) -> Result<(), JournalError> {
        let Decider { journal, rules, .. } = &*self.decider;
        let open = journal.open_sagas().await?;
        self.metrics.open.clear();
        for definition in rules.registry.all() {
            let (saga, version) = (definition.name.to_string(), definition.version);
            zero(&self.metrics.open, Version { saga, version, known: "true" });
        }
        for OpenSagas { saga, version, count } in open {
            let known = rules.registry.all().iter().any(|d| *d.name == *saga && d.version == version);
            if !known {
                tracing::warn!(
                    saga,
                    version,
                    count,
                    "open sagas of a version that is unknown here wait for a coordinator that knows it"
                );
            }
            let label = Version { known: if known { "true" } else { "false" }, saga, version };
            self.metrics.open.get_or_create(&label).set(count);
        }
        self.metrics.stalled.set(journal.stalled(self.stalled_after).await?);
        if rules.registry.has_orders() {
            self.metrics.places_waiting.set(journal.places_waiting().await?);
        }
        self.look_at_standing().await
    }

    /// What is gone by now reads zero, and stays a series: an alert then knows that it is over.
    async fn look_at_standing(&self) -> Result<(), JournalError> {
        let standing = self.decider.journal.standing().await?;
        anew(&self.metrics.oldest_open, self.definitions().map(|saga| OfSaga { saga }));
        for (saga, age) in standing.oldest {
            let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
            self.metrics.oldest_open.get_or_create(&OfSaga { saga }).set(seconds);
        }
        let all = self
            .definitions()
            .flat_map(|saga| ParkCode::ALL.map(|code| OfCode { saga: saga.clone(), code: code.as_str() }));
        anew(&self.metrics.parked, all);
        for (saga, code, count) in standing.parked {
            self.metrics.parked.get_or_create(&OfCode { saga, code: code.as_str() }).set(count);
        }
        Ok(())
    }

    fn definitions(&self) -> impl Iterator<Item = String> {
        self.decider.rules.registry.all().iter().map(|definition| definition.name.to_string())
    }

    /// Counts the letters that wait for an operator.
    pub(crate) async fn look_at_letters(&self) -> Result<(), JournalError> {
        let kept = LetterFilter { status: Some(LetterStatus::Kept), ..LetterFilter::default() };
        let groups = self.decider.journal.letter_groups(&kept).await?;
        let none =
            LetterCode::ALL.map(|code| LetterKind { source: COORDINATOR.to_owned(), code: code.as_str() });
        anew(&self.metrics.dead_letters_kept, none.into_iter());
        for group in groups {
            let kind = LetterKind { source: group.source, code: group.code.as_str() };
            self.metrics.dead_letters_kept.get_or_create(&kind).set(group.count);
        }
        Ok(())
    }

    /// Asks the broker what waits for each service. A service of which it does not speak keeps what was known of it.
    pub(crate) async fn look_at_services(&mut self) {
        for service in &self.services {
            let asked = pin!(self.bus.backlog(service));
            let answer = within(&self.decider.clock, ANSWER_TIME_MAX, asked).await.flatten();
            let Some(backlog) = answer else { continue };
            let before = self.delivered.insert(service.clone(), backlog.delivered);
            let label = OfService { service: NameLabel::from(service) };
            let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            self.metrics.listening.get_or_create(&label).set(i64::from(is_listening(backlog, before)));
            self.metrics.pending.get_or_create(&label).set(gauge(backlog.pending));
            self.metrics.in_flight.get_or_create(&label).set(gauge(backlog.in_flight));
        }
    }
}

/// A service listens if it asks for commands. One that has all that it asked for in hand does not ask for a moment; it
/// works if it was handed others since the last look.
fn is_listening(now: Backlog, delivered_before: Option<u64>) -> bool {
    now.requests > 0 || delivered_before.is_some_and(|before| before != now.delivered)
}

/// Sets a family to these series, all of them zero.
fn anew<L: Clone + Eq + Hash>(family: &Family<L, Gauge>, labels: impl Iterator<Item = L>) {
    family.clear();
    for label in labels {
        zero(family, label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_that_is_busy_with_all_that_it_asked_for_listens() {
        let busy = Backlog { requests: 0, pending: 9, in_flight: 5, delivered: 40 };
        let cases = [
            (busy, Some(39), true),
            (busy, Some(40), false),
            (busy, None, false),
            (Backlog { requests: 1, ..busy }, Some(40), true),
        ];
        for (backlog, before, listens) in cases {
            assert_eq!(is_listening(backlog, before), listens, "{backlog:?} {before:?}");
        }
    }
}
