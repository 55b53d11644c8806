//! The trial of one guarantee: a service behind a bad network, the charges, and the books afterwards.
//!
//! The service reaches the broker through a proxy that loses, doubles and delays; the coordinator reaches it directly, so
//! that all guarantees have the same coordinator. The books are read when nothing can change them any more: every saga has
//! ended, every message that the broker may deliver again is acknowledged (or every notification has come by and was
//! heard, unless it was lost), and the service has stopped.

use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use redress_coordinator::{Engine, StartRequest};
use redress_devstack::{NatsProxy, NatsTraffic, Stack};
use redress_participant::{ParticipantConfig, ServiceConfig, ServiceError};
use redress_postgres::ensure_database;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::args::Experiment;
use super::books::Books;
use super::guarantee::Guarantee;
use super::ledger::Ledger;
use super::services::Charging;
use super::timings::{Latencies, Timings};
use crate::bench::closed_loop;
use crate::failure::Failure;
use crate::installation::Servers;

/// How long a service may take to hear the first knock.
const READY_PATIENCE: Duration = Duration::from_secs(30);
/// How long messages that are still under way after the last saga has ended are waited for. Past it the books are read as
/// they are: the guarantees hold at any time.
const SETTLE_PATIENCE: Duration = Duration::from_secs(20);
/// The same for notifications, which nothing sends again.
const HEAR_PATIENCE: Duration = Duration::from_secs(5);

/// Batches that a service works on at once.
const LANES: usize = 8;

/// What came out of a trial.
pub(super) struct Outcome {
    pub(super) guarantee: Guarantee,
    pub(super) books: Books,
    pub(super) latencies: Latencies,
    /// What the proxy did, from the first charge on.
    pub(super) traffic: NatsTraffic,
    pub(super) seconds: f64,
}

/// Everything that a trial runs on.
pub(super) struct Laboratory<'s> {
    pub(super) servers: &'s Servers,
    pub(super) stack: &'s Stack,
    pub(super) engine: &'s Engine,
    pub(super) experiment: &'s Experiment,
}

/// A service that runs behind its proxy.
struct Running {
    proxy: NatsProxy,
    timings: Arc<Timings>,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), ServiceError>>,
}

impl Laboratory<'_> {
    /// Tries one guarantee.
    pub(super) async fn trial(
        &self,
        guarantee: Guarantee,
        progress: ProgressBar,
    ) -> Result<Outcome, Failure> {
        let url = self.stack.postgres().url(guarantee.database());
        ensure_database(&url).await.map_err(Failure::of_database)?;
        let ledger = Ledger::open(&url).await?;
        let running = self.serve(guarantee, &ledger, &url).await?;
        self.knock(guarantee, &running.timings).await?;
        let before = running.proxy.traffic();
        let calls_before = running.timings.handled_so_far().calls;
        let Experiment { charges, concurrency, .. } = *self.experiment;
        let measured = closed_loop(self.engine, u64::from(charges), concurrency, progress, |number| {
            // They are counted from 1.
            let number = u32::try_from(number + 1).expect("a lab has few charges");
            running.timings.started(number);
            start(guarantee, number)
        })
        .await?;
        let settled = self.settled(guarantee, &running, before, calls_before);
        let patience = match guarantee {
            Guarantee::AtMostOnce => HEAR_PATIENCE + self.experiment.faults.latency,
            Guarantee::AtLeastOnce | Guarantee::ExactlyOnce => SETTLE_PATIENCE,
        };
        if timeout(patience, settled).await.is_err() {
            let words = guarantee.words();
            let (traffic, handled) = (running.proxy.traffic(), running.timings.handled_so_far());
            tracing::warn!(
                ?traffic,
                ?handled,
                "{words}: messages are still under way; the books are read as they are"
            );
        }
        running.stop.cancel();
        running.serving.await?.map_err(Failure::of_service)?;
        let books = ledger.books(charges).await?;
        ledger.close().await;
        Ok(Outcome {
            guarantee,
            books,
            latencies: running.timings.latencies(),
            traffic: since(before, running.proxy.traffic()),
            seconds: measured.seconds(),
        })
    }

    async fn serve(&self, guarantee: Guarantee, ledger: &Ledger, url: &str) -> Result<Running, Failure> {
        let faults = self.experiment.faults;
        let (proxy, port) = NatsProxy::before(self.stack.nats().port(), faults).await?;
        let mut nats_url = Url::parse(&self.servers.nats_url)?;
        nats_url.set_port(Some(port)).map_err(|()| anyhow::anyhow!("the URL of NATS has no port"))?;
        let wire = self.servers.wire_by(nats_url.as_str(), |config| {
            // A listener publishes nothing; for others, a reply that is lost is given up after this time.
            if guarantee != Guarantee::AtMostOnce {
                config.publish_timeout = Duration::from_secs(1) + faults.latency * 4;
            }
            // Longer: a service that waits for the broker to take a reply has not lost its command.
            config.ack_wait = Duration::from_secs(2) + faults.latency * 6;
            config.wait_for_server = true;
        });
        let wire = wire.await?;
        let timings = Arc::new(Timings::new());
        let charging =
            Charging { ledger: ledger.clone(), timings: timings.clone(), charges: self.experiment.charges };
        let service = charging.service(guarantee);
        let stop = CancellationToken::new();
        // A reply that is lost on its way to the broker holds up its lane until it is given up.
        let participant = ParticipantConfig { lanes: LANES, ..ParticipantConfig::default() };
        let serving = if service.needs_database() {
            let config = ServiceConfig { participant, ..ServiceConfig::default() };
            let pool = service.open(url, &config).await.map_err(Failure::of_service)?;
            let stop = stop.clone();
            tokio::spawn(async move { service.serve(pool, wire, config, stop).await })
        } else {
            let stop = stop.clone();
            tokio::spawn(async move { service.serve_without_database(wire, participant, stop).await })
        };
        Ok(Running { proxy, timings, stop, serving })
    }

    /// Knocks until the service hears the last knock: then it hears everything that is sent later, and everything that
    /// was sent before has come by.
    async fn knock(&self, guarantee: Guarantee, timings: &Timings) -> Result<(), Failure> {
        let faults = self.experiment.faults;
        let pause = Duration::from_millis(500) + faults.latency * 6;
        let knocking = async {
            for knock in self.experiment.charges + 1.. {
                self.engine.start_request(start(guarantee, knock)).await?;
                if timeout(pause, timings.wait_for(|handled| handled.last == knock)).await.is_ok() {
                    break;
                }
            }
            Ok::<(), Failure>(())
        };
        let heard = timeout(READY_PATIENCE, knocking).await;
        heard.unwrap_or_else(|_| {
            let seconds = READY_PATIENCE.as_secs();
            let error =
                anyhow::anyhow!("the service `{}` has heard nothing for {seconds} s", guarantee.name());
            Err(Failure::new(1, error).remedy("less loss or latency, or a machine that is less busy"))
        })
    }

    /// Waits until nothing is under way any more.
    async fn settled(&self, guarantee: Guarantee, running: &Running, before: NatsTraffic, calls_before: u64) {
        match guarantee {
            Guarantee::AtMostOnce => {
                let all = before.plain.came + u64::from(self.experiment.charges);
                let plain = running.proxy.wait_for(|traffic| traffic.plain.came >= all).await.plain;
                let arrived = (plain.came - before.plain.came) - (plain.lost - before.plain.lost);
                running.timings.wait_for(|handled| handled.calls >= calls_before + arrived).await;
            }
            Guarantee::AtLeastOnce | Guarantee::ExactlyOnce => {
                running.proxy.wait_for(|traffic| traffic.unacknowledged == 0).await;
            }
        }
    }
}

fn start(guarantee: Guarantee, number: u32) -> StartRequest {
    StartRequest {
        saga: guarantee.saga().to_owned(),
        input: json!({ "number": number }),
        key: Uuid::now_v7().to_string(),
        ..StartRequest::default()
    }
}

/// What came by between two looks.
fn since(before: NatsTraffic, after: NatsTraffic) -> NatsTraffic {
    let mut traffic = after;
    for (count, before) in [
        (&mut traffic.deliveries, before.deliveries),
        (&mut traffic.plain, before.plain),
        (&mut traffic.publications, before.publications),
        (&mut traffic.acknowledgements, before.acknowledgements),
    ] {
        count.came -= before.came;
        count.lost -= before.lost;
        count.doubled -= before.doubled;
    }
    traffic
}
