//! The transport between the bench and the engine: the API, or calls past it.

use std::net::SocketAddr;

use redress_coordinator::Engine;

use super::args::{BenchArgs, Via};
use super::drive::{Drive, Measured};
use super::http::{Api, Http, in_flight_max};
use super::in_process::InProcess;
use super::load::Load;
use super::threads::{CLIENT_THREAD, ClientThreads};
use crate::failure::Failure;

/// A transport that is ready.
pub(super) enum Transport {
    Http { api: Api, client: Http, threads: ClientThreads },
    Engine(InProcess),
}

/// Checks that so many can be in flight over the transport that is asked for.
///
/// # Errors
/// A usage error if not.
pub(super) fn check(args: &BenchArgs) -> Result<(), Failure> {
    let asked = args.concurrency.iter().copied().max().unwrap_or_default();
    match args.via {
        Via::Engine => Ok(()),
        Via::Http => enough(asked, in_flight_max()),
    }
}

fn enough(asked: usize, max: usize) -> Result<(), Failure> {
    if asked <= max {
        return Ok(());
    }
    let cause = format!("over HTTP each has a connection, and this process can serve {max} of its own");
    let error = anyhow::Error::msg(cause).context(format!("{asked} sagas cannot be in flight at once"));
    Err(Failure::new(2, error).remedy(format!("--concurrency {max}, or --via engine")))
}

impl Transport {
    /// Opens a transport to this coordinator.
    ///
    /// # Errors
    /// If the system gives no port or no thread.
    pub(super) async fn open(via: Via, engine: &Engine) -> anyhow::Result<Self> {
        match via {
            Via::Engine => Ok(Self::Engine(InProcess::new(engine.clone()))),
            Via::Http => {
                let api = Api::serve(engine.clone()).await?;
                let (client, threads) = (Http::new(api.address), ClientThreads::start()?);
                Ok(Self::Http { api, client, threads })
            }
        }
    }

    /// Runs the sagas of this load.
    ///
    /// # Errors
    /// If a start is refused, or nothing has ended for two minutes.
    pub(super) async fn run(&self, drive: Drive, load: &Load) -> anyhow::Result<Measured> {
        match self {
            Self::Engine(engine) => drive.run(|number| engine.clone().play(load.request(number))).await,
            Self::Http { client, threads, .. } => {
                let (client, load) = (client.clone(), load.clone());
                let running =
                    async move { drive.run(|number| client.clone().play(load.request(number))).await };
                threads.handle().spawn(running).await?
            }
        }
    }

    /// The name of the client's threads, if it has some of its own.
    pub(super) const fn client_threads(&self) -> Option<&'static str> {
        match self {
            Self::Engine(_) => None,
            Self::Http { .. } => Some(CLIENT_THREAD),
        }
    }

    /// Where the API is served meanwhile.
    pub(super) const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Engine(_) => None,
            Self::Http { api, .. } => Some(api.address),
        }
    }

    /// Closes it.
    ///
    /// # Errors
    /// If the API has ended badly.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Engine(_) => Ok(()),
            Self::Http { api, .. } => api.stop().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_in_flight_than_the_api_has_connections_is_refused() {
        assert!(enough(1_000, 1_024).is_ok());
        let refused = enough(5_000, 1_024).unwrap_err();
        let told = format!("{:#}", refused.error());
        insta::assert_snapshot!(told, @"5000 sagas cannot be in flight at once: over HTTP each has a connection, and this process can serve 1024 of its own");
    }
}
