//! The metrics of services: which counter is which series.
//!
//! A table says it for all counters ([`Stats`]), so that one that is added and not shown fails a test. Labels are the
//! service, the names of its commands as its program registers them, and words of closed lists.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use redress_core::{Name, Phase};
use redress_wire::WireHealth;

use crate::stats::Stats;
use crate::watched::{Load, Watched};

/// A family of series that are read from the counters.
struct Family {
    /// Without the prefix.
    name: &'static str,
    help: &'static str,
    kind: Kind,
    /// The label that tells its series apart, beside the service; empty if there is one series.
    label: &'static str,
    /// Value of the label, and name of the counter.
    series: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

const fn counter(
    name: &'static str,
    help: &'static str,
    of: &'static [(&'static str, &'static str)],
) -> Family {
    Family { name, help, kind: Kind::Counter, label: "", series: of }
}

const FAMILIES: &[Family] = &[
    Family {
        name: "service_commands_answered",
        help: "Commands whose handler answered, or for which none had to run, by outcome.",
        kind: Kind::Counter,
        label: "outcome",
        series: &[
            ("done", "done"),
            ("rejected", "rejected"),
            ("failed", "failed"),
            ("fenced", "fenced"),
            ("nothing-to-undo", "null_compensations"),
            ("accepted", "accepted"),
            ("expired", "expired"),
            ("in-doubt", "in_doubt"),
        ],
    },
    counter(
        "service_duplicates",
        "Commands answered from memory, as they were done before.",
        &[("", "duplicates")],
    ),
    counter(
        "service_commands_run_again",
        "Commands that came again and whose handler ran without an inbox, perhaps once more.",
        &[("", "run_again")],
    ),
    counter(
        "service_redeliveries",
        "Deliveries of commands that were delivered before.",
        &[("", "redelivered")],
    ),
    counter("service_settlements", "Settlements answered.", &[("", "settled")]),
    counter("service_answers_given_later", "Answers given later and published.", &[("", "answered_later")]),
    Family {
        name: "service_commands_put_back",
        help: "Commands put back unanswered, by reason.",
        kind: Kind::Counter,
        label: "reason",
        series: &[("inbox", "put_back"), ("no-room", "put_back_full"), ("under-way", "put_back_twin")],
    },
    counter(
        "service_inbox_outages",
        "Times that the inbox database was found to be down.",
        &[("", "outages")],
    ),
    counter("service_dead_letters", "Messages given up.", &[("", "dead_letters")]),
    Family {
        name: "service_dead_letters_refused",
        help: "Dead letters that the broker did not take whole, by where they are kept.",
        kind: Kind::Counter,
        label: "kept",
        series: &[
            ("reduced", "dead_letters_reduced"),
            ("inbox", "dead_letters_kept_here"),
            ("log", "dead_letters_lost"),
        ],
    },
    counter(
        "service_dead_letters_forwarded",
        "Dead letters that the inbox kept and the broker has taken since.",
        &[("", "dead_letters_forwarded")],
    ),
    counter("service_batch_retries", "Batches that had to be run again.", &[("", "batch_retries")]),
    counter("service_commands_ran_beside", "Commands that ran beside the batches.", &[("", "ran_beside")]),
    Family {
        name: "service_calls",
        help: "Calls to third parties, and inquiries what became of them.",
        kind: Kind::Counter,
        label: "kind",
        series: &[("call", "called_out"), ("inquiry", "inquired")],
    },
    counter("service_inbox_pruned", "Rows of the inbox that were pruned.", &[("", "pruned")]),
    Family {
        name: "service_notifications",
        help: "Notifications that came, by what became of them.",
        kind: Kind::Counter,
        label: "outcome",
        series: &[("heard", "heard"), ("lost", "unheard")],
    },
    counter(
        "service_faults_injected",
        "Deliveries that carried on after an injected failure.",
        &[("", "injected")],
    ),
    Family {
        name: "service_commands_in_batches",
        help: "Commands in batches that run now.",
        kind: Kind::Gauge,
        label: "",
        series: &[("", "in_batches")],
    },
    Family {
        name: "service_commands_beside",
        help: "Commands beside the batches now, by whether they run or wait for a place.",
        kind: Kind::Gauge,
        label: "state",
        series: &[("running", "running_beside"), ("waiting", "waiting_beside")],
    },
];

/// Counters that stand behind a family of their own.
#[cfg(test)]
const SHOWN_OTHERWISE: [&str; 1] = ["database_down"];

type Label = (&'static str, String);

/// The services at the time of a scrape.
pub(crate) struct Exposition(Vec<Service>);

struct Service {
    name: String,
    stats: Vec<(&'static str, u64)>,
    loads: Vec<Load>,
    is_connected: bool,
    reconnects: u64,
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|service| &service.name)).finish()
    }
}

impl Exposition {
    /// Instances of one service in one process are summed up.
    pub(crate) fn of(services: &BTreeMap<Name, Vec<Arc<dyn Watched>>>) -> Self {
        Self(services.iter().map(|(name, instances)| service(name, instances)).collect())
    }
}

impl Exposition {
    /// A service that has done nothing yet.
    pub(crate) fn idle(service: &str) -> Self {
        let command = "command".to_owned();
        let load = Load { command, phase: Phase::Action, running: 0, waiting: 0, concurrency: 0 };
        let (name, stats) = (service.to_owned(), Stats::default().read());
        Self(vec![Service { name, stats, loads: vec![load], is_connected: true, reconnects: 0 }])
    }
}

fn service(name: &Name, instances: &[Arc<dyn Watched>]) -> Service {
    let stats = Stats::default();
    let mut loads: Vec<Load> = Vec::new();
    let mut reconnects = 0;
    for instance in instances {
        stats.add(instance.stats());
        reconnects += read(&instance.wire().stats().reconnects);
        for load in instance.loads() {
            let same = |it: &&mut Load| (&it.command, it.phase) == (&load.command, load.phase);
            match loads.iter_mut().find(same) {
                Some(sum) => {
                    sum.running += load.running;
                    sum.waiting += load.waiting;
                    sum.concurrency += load.concurrency;
                }
                None => loads.push(load),
            }
        }
    }
    loads.sort();
    let is_connected = instances.iter().all(|it| it.wire().health() == WireHealth::Connected);
    Service { name: name.to_string(), stats: stats.read(), loads, is_connected, reconnects }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Service {
    fn stat(&self, name: &str) -> u64 {
        self.stats.iter().find(|(of, _)| *of == name).map_or(0, |(_, value)| *value)
    }

    fn label(&self) -> Label {
        ("service", self.name.clone())
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        for family in FAMILIES {
            let series = self.0.iter().flat_map(|service| {
                family.series.iter().map(move |(value, stat)| {
                    let mut labels = vec![service.label()];
                    if !family.label.is_empty() {
                        labels.push((family.label, (*value).to_owned()));
                    }
                    (labels, service.stat(stat))
                })
            });
            write(&mut encoder, (family.name, family.help, family.kind), series)?;
        }
        self.write_links(&mut encoder)?;
        self.write_loads(&mut encoder)
    }
}

impl Exposition {
    fn write_links(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let up = ("service_inbox_up", "1 unless the inbox database was found to be down.", Kind::Gauge);
        let is_up = |it: &Service| (vec![it.label()], u64::from(it.stat("database_down") == 0));
        write(encoder, up, self.0.iter().map(is_up))?;
        let help = "1 if the broker is connected and its streams are ours.";
        let connected = ("service_broker_connected", help, Kind::Gauge);
        let is_connected = |it: &Service| (vec![it.label()], u64::from(it.is_connected));
        write(encoder, connected, self.0.iter().map(is_connected))?;
        let help = "Connections to the broker lost and made again.";
        let reconnects = ("service_broker_reconnects", help, Kind::Counter);
        write(encoder, reconnects, self.0.iter().map(|it| (vec![it.label()], it.reconnects)))
    }

    fn write_loads(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        type OfLoad = fn(&Load) -> usize;
        let families: [(&str, &str, OfLoad); 3] = [
            ("service_commands_running", "Commands that run beside the batches now.", |it| it.running),
            ("service_commands_waiting", "Commands that wait for a place beside the batches.", |it| {
                it.waiting
            }),
            ("service_concurrency", "Commands that may run beside each other.", |it| it.concurrency),
        ];
        for (name, help, of) in families {
            let series = self.0.iter().flat_map(|service| {
                service.loads.iter().map(move |load| {
                    let command = ("command", load.command.clone());
                    let phase = ("phase", load.phase.as_str().to_owned());
                    (vec![service.label(), command, phase], of(load) as u64)
                })
            });
            write(encoder, (name, help, Kind::Gauge), series)?;
        }
        Ok(())
    }
}

/// Writes a family: one line for each series.
fn write(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, kind): (&str, &str, Kind),
    series: impl Iterator<Item = (Vec<Label>, u64)>,
) -> Result<(), fmt::Error> {
    let of_kind = match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    };
    let mut metric = encoder.encode_descriptor(name, help, None, of_kind)?;
    for (labels, value) in series {
        let encoder = metric.encode_family(&labels)?;
        match kind {
            Kind::Counter => ConstCounter::new(value).encode(encoder)?,
            Kind::Gauge => ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_counter_is_a_series() {
        let shown = FAMILIES.iter().flat_map(|family| family.series.iter().map(|(_, stat)| *stat));
        let shown: BTreeSet<&str> = shown.chain(SHOWN_OTHERWISE).collect();
        let counted: BTreeSet<&str> = Stats::default().read().into_iter().map(|(name, _)| name).collect();
        assert_eq!(shown, counted);
    }
}
