//! Metrics at their beginning: registered, and at zero.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use redress_core::SagaDefinition;

use super::families::Metrics;
use super::seed::{seed, seed_looks};
use super::traffic::register;
use crate::ports::{Bus, BusHealth, Traffic};

impl Metrics {
    /// The metrics of a coordinator on this bus.
    pub(crate) fn new(bus: &impl Bus) -> Self {
        let mut registry = Registry::with_prefix("redress");
        let bus = bus.clone();
        register(&mut registry, move || (bus.health(), bus.traffic()));
        let metrics = Self::registered(registry);
        // It has just answered.
        metrics.journal_up.set(1);
        metrics
    }

    /// All series of these definitions are there from the first scrape on. Not before, since many a coordinator is never
    /// scraped, as those of a simulation, and there are hundreds.
    pub(crate) fn seeded(&self, definitions: &[Arc<SagaDefinition>]) -> &Self {
        self.seeded.call_once(|| seed(self, definitions));
        self
    }

    /// The metrics of a coordinator that knows these definitions and has done nothing yet, without journal and broker: each
    /// series that there may be is there. For a test of alerts or of a dashboard.
    pub fn idle(definitions: impl IntoIterator<Item = SagaDefinition>) -> Self {
        let mut registry = Registry::with_prefix("redress");
        register(&mut registry, || (BusHealth::Connected, Traffic::default()));
        let definitions: Vec<_> = definitions.into_iter().map(Arc::new).collect();
        let metrics = Self::registered(registry);
        seed(&metrics, &definitions);
        seed_looks(&metrics, &definitions);
        metrics
    }
}
