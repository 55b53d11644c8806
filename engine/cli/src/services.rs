//! The services of an installation: in this process, or each as a process of its own.

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::try_join_all;
use redress_participant::{FaultMode, Migrations, Service};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::installation::Servers;
use crate::legible::say;

/// How long a service that has ended rests before it is started again: one that cannot start must not spin.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// Services that run. Dropping them ends them at once; [`Services::stop`] is the polite way.
pub(crate) struct Services {
    running: JoinSet<Result<(), Failure>>,
    stop: CancellationToken,
}

impl Services {
    /// Begins to run services in this process.
    pub(crate) async fn here(servers: &Servers, services: &[Service]) -> Result<Self, Failure> {
        let (mut running, stop) = (JoinSet::new(), CancellationToken::new());
        let begun = services
            .iter()
            .map(|service| servers.run_service(service, FaultMode::Abandon, Migrations::Apply, stop.clone()));
        for serving in try_join_all(begun).await? {
            running.spawn(async move { serving.await?.map_err(Failure::of_service) });
        }
        Ok(Self { running, stop })
    }

    /// Begins to run each service as a process of its own; one that ends is started again.
    pub(crate) async fn apart(servers: &Servers, services: &[Service]) -> Result<Self, Failure> {
        let (mut running, stop) = (JoinSet::new(), CancellationToken::new());
        for service in services {
            // Made here, so that the processes do not race for it.
            servers.service_database(service.name(), Migrations::Apply).await?;
            let mut command = servers.service_command(&[service.name()], false)?;
            command.stdout(Stdio::null());
            running.spawn(keep(service.name(), command, stop.clone()));
        }
        Ok(Self { running, stop })
    }

    /// The failure of a service; waits for ever as long as none fails.
    pub(crate) async fn trouble(&mut self) -> Failure {
        while let Some(ended) = self.running.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => return failure,
                Err(panicked) => return panicked.into(),
            }
        }
        std::future::pending().await
    }

    /// Stops them; work in flight is finished first.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// Runs a service's process until the stop, again and again if it ends by itself, as after an injected crash.
async fn keep(name: &'static str, mut command: Command, stop: CancellationToken) -> Result<(), Failure> {
    while !stop.is_cancelled() {
        let mut process = command.spawn()?;
        // Its end tells the process to finish; `wait` would close it at once.
        let input = process.stdin.take();
        tokio::select! {
            status = process.wait() => say(&format!("service {name} has ended ({}); it is started again", status?)),
            () = stop.cancelled() => {
                drop(input);
                process.wait().await?;
            }
        }
        let _ = tokio::time::timeout(RESTART_PAUSE, stop.cancelled()).await;
    }
    Ok(())
}
