//! The services of a process as machines look at them: metrics and health.
//!
//! A program has one [`Monitor`], gives it to each of its services ([`ParticipantConfig::monitor`]), and serves what it says
//! where it likes; `redress service --metrics-addr` does. A service is seen from the moment in which it begins to serve, and
//! gone with it: the monitor keeps nothing alive. Nothing is counted for it; it reads the counters that the service has.
//!
//! Health is asked of the database on a connection of its own, so that a pool whose connections are all busy is not
//! taken for a database that is down, and at most once a second, so that those who ask cost the database nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;
use redress_core::Name;
use redress_wire::{Wire, WireHealth};

use crate::exposition::Exposition;
use crate::watched::Watched;

/// How old an answer of the database may be that is given to several who ask.
const HEALTH_AGE_MAX: Duration = Duration::from_secs(1);

/// The services of a process, as machines look at them. Cheap to clone; all clones are one.
///
/// ```
/// use redress_participant::{Monitor, ParticipantConfig};
///
/// let monitor = Monitor::default();
/// // One for each service of the program, with the same monitor.
/// let config = ParticipantConfig { monitor: monitor.clone(), ..ParticipantConfig::default() };
/// # drop(config);
/// // What a scrape is answered, as `application/openmetrics-text; version=1.0.0; charset=utf-8`.
/// assert!(monitor.metrics().ends_with("# EOF\n"));
/// ```
///
/// [`ParticipantConfig::monitor`]: crate::ParticipantConfig::monitor
#[derive(Clone, Default)]
pub struct Monitor {
    services: Arc<Mutex<Vec<Seen>>>,
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.present().iter().map(|it| it.service().clone())).finish()
    }
}

/// The health of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceHealth {
    /// The service.
    pub service: String,
    /// `ok`, or what its database says.
    pub database: String,
    /// `ok`, or what is the matter with the broker.
    pub broker: String,
}

impl ServiceHealth {
    /// Returns true if database and broker answer.
    pub fn is_ready(&self) -> bool {
        self.database == OK && self.broker == OK
    }
}

/// The word for what is as it should be.
const OK: &str = "ok";

/// An answer of a database, and when it was given.
type Answer = (Instant, Result<(), String>);

struct Seen {
    service: Weak<dyn Watched>,
    /// The last answer of its database.
    answer: Arc<tokio::sync::Mutex<Option<Answer>>>,
}

impl Monitor {
    /// Sees a service for as long as it is there.
    pub(crate) fn watch(&self, service: &Arc<impl Watched + 'static>) {
        let service: Arc<dyn Watched> = service.clone();
        let mut services = self.services.lock().expect("no thread panics while it holds the services");
        services.retain(|seen| seen.service.strong_count() > 0);
        services.push(Seen { service: Arc::downgrade(&service), answer: Arc::default() });
    }

    /// The metrics of all services, in the text format of OpenMetrics.
    pub fn metrics(&self) -> String {
        let mut text = self.metrics_without_end();
        // A text takes everything.
        let _ = encode_eof(&mut text);
        text
    }

    /// The metrics of all services, without the line that ends the text: for a process that has others to tell of as well.
    pub fn metrics_without_end(&self) -> String {
        // Instances of one service in one process are one series: a series that comes twice is no text of metrics.
        let mut by_name: BTreeMap<Name, Vec<Arc<dyn Watched>>> = BTreeMap::new();
        for service in self.present() {
            by_name.entry(service.service().clone()).or_default().push(service);
        }
        let mut registry = Registry::with_prefix("redress");
        registry.register_collector(Box::new(Exposition::of(&by_name)));
        let mut text = String::new();
        match encode_registry(&mut text, &registry) {
            Ok(()) => text,
            Err(error) => format!("# the metrics could not be written: {error}\n"),
        }
    }

    /// The metrics of a service that has done nothing yet, without database and broker: each series that there may be is
    /// there, with one command. For a test of alerts or of a dashboard.
    pub fn idle_metrics(service: &str) -> String {
        let mut registry = Registry::with_prefix("redress");
        registry.register_collector(Box::new(Exposition::idle(service)));
        let mut text = String::new();
        // A text takes everything.
        let _ = encode_registry(&mut text, &registry).and_then(|()| encode_eof(&mut text));
        text
    }

    /// The health of each service. May take as long as a database takes to answer, but no longer than some 5 seconds.
    pub async fn health(&self) -> Vec<ServiceHealth> {
        let seen: Vec<_> = {
            let services = self.services.lock().expect("no thread panics while it holds the services");
            let present = services.iter().filter_map(|it| Some((it.service.upgrade()?, it.answer.clone())));
            present.collect()
        };
        join_all(seen.into_iter().map(|(service, answer)| async move {
            let mut answer = answer.lock().await;
            let fresh = answer.as_ref().filter(|(at, _)| at.elapsed() < HEALTH_AGE_MAX);
            let said = match fresh {
                Some((_, said)) => said.clone(),
                None => {
                    let said = service.ask_database().await;
                    *answer = Some((Instant::now(), said.clone()));
                    said
                }
            };
            ServiceHealth {
                service: service.service().to_string(),
                database: said.err().unwrap_or_else(|| OK.to_owned()),
                broker: broker(service.wire()).to_owned(),
            }
        }))
        .await
    }

    /// Returns true if this process can go on by itself: if not, a new one must take its place.
    pub fn is_alive(&self) -> bool {
        self.present().iter().all(|service| service.wire().is_alive())
    }

    fn present(&self) -> Vec<Arc<dyn Watched>> {
        let services = self.services.lock().expect("no thread panics while it holds the services");
        services.iter().filter_map(|seen| seen.service.upgrade()).collect()
    }
}

fn broker(wire: &Wire) -> &'static str {
    match wire.health() {
        WireHealth::Connected => OK,
        WireHealth::Disconnected => "not connected; commands come when it is back",
        WireHealth::Strange => "its streams belong to another installation; see the log",
    }
}
