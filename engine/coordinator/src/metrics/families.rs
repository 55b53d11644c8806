//! The families of metrics, and the text that holds them.

use std::sync::Once;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::labels::{
    Build, Kind, LetterKind, OfCode, OfFailure, OfOutcome, OfPhase, OfReason, OfSaga, OfService, OfStatus,
    OfStep, OfVersion, Version,
};

/// Bounds of the durations of sagas and steps, in seconds: a few milliseconds where nothing is in the way, the two minutes
/// for which a step is tried by default, days where a person must answer.
const DURATIONS_S: [f64; 13] =
    [0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0, 120.0, 3_600.0, 86_400.0, 604_800.0];

/// Makes the histogram of a duration.
fn durations() -> Histogram {
    Histogram::new(DURATIONS_S)
}

/// A family of durations.
pub type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

macro_rules! families {
    ($($(#[$doc:meta])* $field:ident: $kind:ty = $begin:expr, $unit:ident($name:literal, $help:literal);)+) => {
        /// The coordinator's metrics.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            pub(super) seeded: Once,
            $($(#[$doc])* pub $field: $kind,)+
        }

        impl Metrics {
            /// All families, without a series yet.
            pub(super) fn registered(registry: Registry) -> Self {
                let mut families = Families(registry);
                families.0.register(
                    "build",
                    "The coordinator that runs",
                    Info::new(Build { version: env!("CARGO_PKG_VERSION") }),
                );
                $(let $field = families.$unit($name, $help, $begin);)+
                Self { registry: families.0, seeded: Once::new(), $($field,)+ }
            }
        }
    };
}

families! {
    /// Sagas started.
    started: Family<Kind, Counter> = Family::default(),
        plain("sagas_started", "Sagas started");
    /// Sagas ended or parked, by status.
    ended: Family<Kind, Counter> = Family::default(),
        plain("sagas_ended", "Sagas ended or parked, by status");
    /// Rows of history written, by event: replies by outcome, late replies, time-outs, re-sends.
    events: Family<Kind, Counter> = Family::default(),
        plain("saga_events", "Rows of history written, by event");
    /// From the start of a saga to its end.
    saga_durations: Durations<OfStatus> = Family::new_with_constructor(durations as fn() -> Histogram),
        seconds("saga_duration", "From the start of a saga to its end");
    /// From the first attempt at a command to its final answer.
    step_durations: Durations<OfPhase> = Family::new_with_constructor(durations as fn() -> Histogram),
        seconds("step_duration", "From the first attempt at a command to its final answer");
    /// Attempts that failed or were not answered in time.
    attempts_failed: Family<OfFailure, Counter> = Family::default(),
        plain("attempts_failed", "Attempts at a command that failed or were not answered in time");
    /// Settlements answered, by outcome.
    settlements: Family<OfOutcome, Counter> = Family::default(),
        plain("settlements", "Settlements answered, by outcome");
    /// Actions that were silent, and of which their service then knew nothing.
    lost: Family<OfStep, Counter> = Family::default(),
        plain("commands_lost", "Actions that were not answered, and of which their service knew nothing when it was asked");
    /// Steps undone, by the reason for which their saga turned back.
    compensations: Family<OfReason, Counter> = Family::default(),
        plain("compensations", "Steps undone, by the reason for which their saga turned back");
    /// Commands published, once and again.
    commands: Counter = Counter::default(),
        plain("commands_published", "Commands published");
    /// Commands published that had been published before.
    resent: Family<OfService, Counter> = Family::default(),
        plain("commands_resent", "Commands published that had been published before");
    /// Commands that the broker did not say that it has stored: they go out again.
    not_stored: Counter = Counter::default(),
        plain("commands_not_stored", "Commands that go out again");
    /// Commands published again because the reply before them came again.
    healed: Counter = Counter::default(),
        plain("commands_healed", "Commands published again after a redelivered reply");
    /// Dead letters written.
    dead_letters: Counter = Counter::default(),
        plain("dead_letters", "Dead letters written");
    /// Dead letters that wait for an operator.
    dead_letters_kept: Family<LetterKind, Gauge> = Family::default(),
        plain("dead_letters_kept", "Dead letters that wait for an operator, by source and kind of reason");
    /// Replies put back for a coordinator that can read the state of their saga.
    left_to_others: Counter = Counter::default(),
        plain("replies_left_to_others", "Replies put back for a newer coordinator, which wrote the state of their saga");
    /// Batches that had to be decided again.
    batch_retries: Counter = Counter::default(),
        plain("batch_retries", "Batches that had to be decided again");
    /// Sagas whose state was kept from the write before, and not read.
    states_kept: Counter = Counter::default(),
        plain("states_kept", "Decisions on a state that this coordinator had kept, and did not read");
    /// Replies per batch.
    batch_size: Histogram = Histogram::new(exponential_buckets(1.0, 2.0, 11)),
        plain("reply_batch_size", "Replies per batch");
    /// How far the replies that are taken lie behind, in whole seconds.
    replies_behind: Family<OfVersion, Gauge> = Family::default(),
        seconds("replies_behind", "How far the replies that are taken lie behind; time-outs wait for as long");
    /// Sagas that have not ended, by version.
    open: Family<Version, Gauge> = Family::default(),
        plain("sagas_open", "Sagas that have not ended, by version");
    /// The age of the oldest saga that has not ended, in whole seconds; 0 if there is none.
    oldest_open: Family<OfSaga, Gauge> = Family::default(),
        seconds("sagas_oldest_open", "Age of the oldest saga that has not ended");
    /// Sagas that are parked, by the code of their first reason.
    parked: Family<OfCode, Gauge> = Family::default(),
        plain("sagas_parked", "Sagas that wait for an operator, by code");
    /// Sagas that go on by themselves, but for longer than they should.
    stalled: Gauge = Gauge::default(),
        plain("sagas_stalled", "Sagas that go on for longer than they should");
    /// Places in the orders of keys that stand behind another one.
    places_waiting: Gauge = Gauge::default(),
        plain("places_waiting", "Steps that have their place behind another saga in the order of a key");
    /// Sagas removed because of their age.
    pruned: Counter = Counter::default(),
        plain("sagas_pruned", "Sagas removed because of their age");
    /// 1 if an instance of the service takes commands, 0 if none does.
    listening: Family<OfService, Gauge> = Family::default(),
        plain("service_listening", "1 if an instance of the service takes commands");
    /// Commands that lie at the broker and were not handed to the service yet.
    pending: Family<OfService, Gauge> = Family::default(),
        plain("commands_pending", "Commands at the broker that were not handed to the service yet");
    /// Commands that the service has in hand.
    in_flight: Family<OfService, Gauge> = Family::default(),
        plain("commands_in_flight", "Commands that the service has in hand");
    /// 1 if the journal answered the last time it was looked at, 0 if it did not.
    journal_up: Gauge = Gauge::default(),
        plain("journal_up", "1 if the journal answers");
}

impl Metrics {
    /// All of them, in the text format of OpenMetrics.
    pub fn encode(&self) -> String {
        let mut text = self.encode_without_end();
        // A text takes everything.
        let _ = encode_eof(&mut text);
        text
    }

    /// All of them, without the line that ends the text: for a process that has others to tell of as well.
    pub fn encode_without_end(&self) -> String {
        let mut text = String::new();
        match encode_registry(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => format!("# the metrics could not be written: {error}\n"),
        }
    }
}

/// The registry, as families come to it one by one.
struct Families(Registry);

impl Families {
    fn plain<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn seconds<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register_with_unit(name, help, Unit::Seconds, metric.clone());
        metric
    }
}
