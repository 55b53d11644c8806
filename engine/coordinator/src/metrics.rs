//! The metrics of a coordinator, as OpenMetrics. No ids in labels.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    /// The saga definition's name.
    pub saga: String,
    /// The event, status or outcome that is counted.
    pub kind: &'static str,
}

/// A version of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Version {
    /// The saga definition's name.
    pub saga: String,
    /// Its version.
    pub version: u32,
    /// `true` if this coordinator knows it, `false` if not.
    pub known: &'static str,
}

/// Dead letters of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LetterKind {
    /// The service that gave the messages up, or `coordinator`.
    pub source: String,
    /// The kind of reason.
    pub code: &'static str,
}

/// The coordinator's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Sagas started.
    pub started: Family<Kind, Counter>,
    /// Sagas ended or parked, by status.
    pub ended: Family<Kind, Counter>,
    /// Rows of history written, by event: replies by outcome, late replies, time-outs, re-sends.
    pub events: Family<Kind, Counter>,
    /// Commands published, once and again.
    pub commands: Counter,
    /// Commands that the broker did not say that it has stored: they go out again.
    pub not_stored: Counter,
    /// Commands published again because the reply before them came again.
    pub healed: Counter,
    /// Dead letters written.
    pub dead_letters: Counter,
    /// Dead letters that wait for an operator.
    pub dead_letters_kept: Family<LetterKind, Gauge>,
    /// Replies put back for a coordinator that can read the state of their saga.
    pub left_to_others: Counter,
    /// Batches that had to be decided again.
    pub batch_retries: Counter,
    /// Replies per batch.
    pub batch_size: Histogram,
    /// Sagas that have not ended, by version.
    pub open: Family<Version, Gauge>,
    /// Sagas that go on by themselves, but for longer than they should.
    pub stalled: Gauge,
    /// Sagas removed because of their age.
    pub pruned: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("redress");
        let started = Family::default();
        let ended = Family::default();
        let events = Family::default();
        let (commands, not_stored, healed) = (Counter::default(), Counter::default(), Counter::default());
        let left_to_others = Counter::default();
        let (dead_letters, batch_retries) = (Counter::default(), Counter::default());
        let batch_size = Histogram::new(exponential_buckets(1.0, 2.0, 11));
        registry.register("sagas_started", "Sagas started", started.clone());
        registry.register("sagas_ended", "Sagas ended or parked, by status", ended.clone());
        registry.register("saga_events", "Rows of history written, by event", events.clone());
        registry.register("commands_published", "Commands published", commands.clone());
        registry.register("commands_not_stored", "Commands that go out again", not_stored.clone());
        registry.register(
            "commands_healed",
            "Commands published again after a redelivered reply",
            healed.clone(),
        );
        registry.register("dead_letters", "Dead letters written", dead_letters.clone());
        let dead_letters_kept = Family::default();
        registry.register(
            "dead_letters_kept",
            "Dead letters that wait for an operator, by source and kind of reason",
            dead_letters_kept.clone(),
        );
        registry.register(
            "replies_left_to_others",
            "Replies put back for a newer coordinator, which wrote the state of their saga",
            left_to_others.clone(),
        );
        registry.register("batch_retries", "Batches that had to be decided again", batch_retries.clone());
        registry.register("reply_batch_size", "Replies per batch", batch_size.clone());
        let (open, stalled, pruned) = (Family::default(), Gauge::default(), Counter::default());
        registry.register("sagas_open", "Sagas that have not ended, by version", open.clone());
        registry.register("sagas_stalled", "Sagas that go on for longer than they should", stalled.clone());
        registry.register("sagas_pruned", "Sagas removed because of their age", pruned.clone());
        Self {
            registry,
            started,
            ended,
            events,
            commands,
            not_stored,
            healed,
            dead_letters,
            dead_letters_kept,
            left_to_others,
            batch_retries,
            batch_size,
            open,
            stalled,
            pruned,
        }
    }
}

impl Metrics {
    /// All of them, in the text format of OpenMetrics.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => format!("# the metrics could not be written: {error}\n# EOF\n"),
        }
    }
}
