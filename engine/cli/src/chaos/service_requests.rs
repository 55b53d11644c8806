//! Requests to the tasks that keep the processes of services: each has its child, and alone may signal it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::refusal::Refusal;

/// What is done to the process of a service.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ServiceDeed {
    /// Nothing; its id is told.
    Look,
    Pause(Duration),
    Kill,
}

/// A request, and where its outcome is told: the ids of the process before and after.
#[derive(Debug)]
pub(crate) struct ServiceRequest {
    pub(crate) deed: ServiceDeed,
    pub(crate) done: oneshot::Sender<Result<(u32, u32), Refusal>>,
}

/// The tasks that keep processes, by service; none if services run in `up` itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceHandles(BTreeMap<String, mpsc::Sender<ServiceRequest>>);

impl ServiceHandles {
    /// The other end of a service's requests.
    pub(crate) fn add(&mut self, service: &str) -> mpsc::Receiver<ServiceRequest> {
        let (sender, requests) = mpsc::channel(1);
        self.0.insert(service.to_owned(), sender);
        requests
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Has it done, and gives the ids of the process before and after.
    pub(crate) async fn order(&self, service: &str, deed: ServiceDeed) -> Result<(u32, u32), Refusal> {
        if self.0.is_empty() {
            return Err(Refusal::usage(
                "the services of this `redress up` run in its own process, with the coordinator",
                "redress up --processes, which runs each service as a process of its own",
            ));
        }
        let Some(requests) = self.0.get(service) else {
            let known = self.0.keys().cloned().collect::<Vec<_>>().join(", ");
            let message = format!("this `redress up` runs no service `{service}`");
            return Err(Refusal::usage(message, &format!("one of these: {known}")));
        };
        let (done, outcome) = oneshot::channel();
        let gone = || Refusal::failed(anyhow::anyhow!("service `{service}` is being stopped"));
        requests.send(ServiceRequest { deed, done }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}
