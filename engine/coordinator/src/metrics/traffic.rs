//! The broker's connection, read from its own counters when a scrape comes.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::ports::{BusHealth, Traffic};

struct OfBus<F>(F);

impl<F> fmt::Debug for OfBus<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfBus")
    }
}

/// `read` is called at each scrape.
pub(super) fn register(
    registry: &mut Registry,
    read: impl Fn() -> (BusHealth, Traffic) + Send + Sync + 'static,
) {
    registry.register_collector(Box::new(OfBus(read)));
}

impl<F: Fn() -> (BusHealth, Traffic) + Send + Sync + 'static> Collector for OfBus<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (health, traffic) = (self.0)();
        let connected = match health {
            BusHealth::Connected => 1_i64,
            BusHealth::Disconnected | BusHealth::Strange => 0,
        };
        let gauge = ConstGauge::new(connected);
        let help = "1 if the broker is connected and its streams are ours.";
        gauge.encode(encoder.encode_descriptor("broker_connected", help, None, gauge.metric_type())?)?;
        let Traffic { published, publish_failures, redeliveries, reconnects, rebuilds } = traffic;
        for (name, help, count) in [
            ("broker_published", "Messages published and stored.", published),
            ("broker_publish_failures", "Publishes that failed.", publish_failures),
            ("broker_redeliveries", "Messages that came more than once.", redeliveries),
            ("broker_reconnects", "Connections lost and made again.", reconnects),
            ("broker_consumer_rebuilds", "Consumers built anew.", rebuilds),
        ] {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
