//! The services of this process behind the door of the API: probes and metrics.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use redress_api::{Access, BindError, Probed, Ready, bind, serve_probes};
use redress_participant::{Monitor, ServiceHealth};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::args::MetricsArgs;
use crate::failure::Failure;
use crate::legible::say;

/// The services of this process, as many as there should be.
pub(crate) struct OfServices {
    pub(crate) monitor: Monitor,
    pub(crate) expected: usize,
}

impl Probed for OfServices {
    fn is_alive(&self) -> bool {
        self.monitor.is_alive()
    }

    fn readiness(&self) -> Pin<Box<dyn Future<Output = Ready> + Send + '_>> {
        Box::pin(async move { ready(&self.monitor.health().await, self.expected) })
    }

    fn metrics_without_end(&self) -> String {
        self.monitor.metrics_without_end()
    }
}

/// A process is ready once all of its services are: the first trouble is the one that is told.
fn ready(services: &[ServiceHealth], expected: usize) -> Ready {
    let first = |of: fn(&ServiceHealth) -> &String| {
        services.iter().map(of).find(|state| *state != "ok").cloned().unwrap_or_else(|| "ok".to_owned())
    };
    let of_one =
        |it: &ServiceHealth| json!({ "service": it.service, "database": it.database, "broker": it.broker });
    let is_complete = services.len() >= expected;
    let database = match is_complete {
        true => first(|it| &it.database),
        false => format!("{} of {expected} services have begun to serve", services.len()),
    };
    let services: Vec<Value> = services.iter().map(of_one).collect();
    let broker = first(|it| &it.broker);
    Ready {
        ready: database == "ok" && broker == "ok",
        database,
        broker,
        mode: None,
        more: Map::from_iter([("services".to_owned(), Value::Array(services))]),
    }
}

/// The port on which the services of a process show themselves.
pub(crate) struct Door {
    listener: TcpListener,
    access: Access,
}

impl Door {
    /// Binds the port, if one was asked for; before the work, so that a port that cannot be had is told at once.
    pub(crate) async fn open(args: &MetricsArgs) -> Result<Option<Self>, Failure> {
        let Some(address) = args.metrics_addr else { return Ok(None) };
        let access = args.access.access();
        let listener = bind(address, &access).await.map_err(|error| refused(address, error))?;
        Ok(Some(Self { listener, access }))
    }

    /// Serves until the shutdown.
    pub(crate) fn serve(
        self,
        services: OfServices,
        names: &[String],
        shutdown: CancellationToken,
    ) -> Result<(), Failure> {
        let address = self.listener.local_addr()?;
        say(&format!("metrics of {}: http://{address}/metrics", names.join(", ")));
        tokio::spawn(serve_probes(self.listener, Arc::new(services), self.access, shutdown));
        Ok(())
    }
}

fn refused(address: SocketAddr, error: BindError) -> Failure {
    match error {
        BindError::NeedsToken(_) => Failure::new(1, error),
        BindError::Taken { source, .. } => {
            let error = anyhow::Error::from(source).context(format!("cannot serve metrics on {address}"));
            Failure::new(1, error).remedy("choose another address with --metrics-addr".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_is_ready_once_all_of_its_services_are() {
        let service = |database: &str, broker: &str| ServiceHealth {
            service: "payment".to_owned(),
            database: database.to_owned(),
            broker: broker.to_owned(),
        };
        let cases = [
            (vec![], 1, (false, "0 of 1 services have begun to serve", "ok")),
            (vec![service("ok", "ok")], 1, (true, "ok", "ok")),
            (vec![service("ok", "ok"), service("gone", "ok")], 2, (false, "gone", "ok")),
            (vec![service("ok", "away")], 1, (false, "ok", "away")),
        ];
        for (services, expected, (is_ready, database, broker)) in cases {
            let said = ready(&services, expected);
            assert_eq!((said.ready, &*said.database, &*said.broker), (is_ready, database, broker));
        }
    }
}
