//! The services of an installation: in this process, or each as a process of its own.

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::try_join_all;
use redress_devstack::Pause;
use redress_participant::crash::CrashHook;
use redress_participant::{FaultMode, Migrations, Service};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::chaos::{Refusal, ServiceDeed, ServiceHandles, ServiceRequest};
use crate::failure::Failure;
use crate::installation::Servers;
use crate::legible::say;

/// How long a service that has ended rests before it is started again: one that cannot start must not spin.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// Services that run. Dropping them ends them at once; [`Services::stop`] is the polite way.
pub(crate) struct Services {
    running: JoinSet<Result<(), Failure>>,
    stop: CancellationToken,
    /// To the tasks that keep processes.
    handles: ServiceHandles,
}

impl Services {
    /// Begins to run services in this process.
    pub(crate) async fn here(servers: &Servers, services: &[Service]) -> Result<Self, Failure> {
        let (mut running, stop) = (JoinSet::new(), CancellationToken::new());
        let begun = services.iter().map(|service| {
            servers.run_service(
                service,
                (FaultMode::Abandon, CrashHook::default()),
                Migrations::Apply,
                stop.clone(),
            )
        });
        for serving in try_join_all(begun).await? {
            running.spawn(async move { serving.await?.map_err(Failure::of_service) });
        }
        Ok(Self { running, stop, handles: ServiceHandles::default() })
    }

    /// Begins to run each service as a process of its own; one that ends is started again.
    pub(crate) async fn apart(servers: &Servers, services: &[Service]) -> Result<Self, Failure> {
        let (mut running, stop) = (JoinSet::new(), CancellationToken::new());
        let mut handles = ServiceHandles::default();
        for service in services {
            // Made here, so that the processes do not race for it.
            if service.needs_database() {
                servers.service_database(service.name(), Migrations::Apply).await?;
            }
            let mut command = servers.service_command(&[service.name()], false)?;
            // Any free port; the process says which.
            command.args(["--metrics-addr", "127.0.0.1:0"]);
            command.stdout(Stdio::null());
            let requests = handles.add(service.name());
            running.spawn(keep(service.name(), command, stop.clone(), requests));
        }
        Ok(Self { running, stop, handles })
    }

    /// Where disruptions of the processes are asked for.
    pub(crate) fn handles(&self) -> ServiceHandles {
        self.handles.clone()
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
async fn keep(
    name: &'static str,
    mut command: Command,
    stop: CancellationToken,
    mut requests: mpsc::Receiver<ServiceRequest>,
) -> Result<(), Failure> {
    let mut killed: Option<(u32, Done)> = None;
    while !stop.is_cancelled() {
        let mut process = command.spawn()?;
        if let (Some((before, done)), Some(after)) = (killed.take(), process.id()) {
            // The one who asked for it may have gone.
            let _ = done.send(Ok((before, after)));
        }
        killed = keep_one(name, &mut process, &stop, &mut requests).await?;
        let _ = tokio::time::timeout(RESTART_PAUSE, stop.cancelled()).await;
    }
    Ok(())
}

type Done = oneshot::Sender<Result<(u32, u32), Refusal>>;

/// Runs one process until its end or the stop. Returns its id, and where to tell the next one, if its end was asked for.
async fn keep_one(
    name: &'static str,
    process: &mut Child,
    stop: &CancellationToken,
    requests: &mut mpsc::Receiver<ServiceRequest>,
) -> Result<Option<(u32, Done)>, Failure> {
    // Its end tells the process to finish; `wait` would close it at once.
    let mut input = process.stdin.take();
    let (mut killed, mut pauses) = (None, JoinSet::new());
    loop {
        tokio::select! {
            status = process.wait() => {
                say(&format!("service {name} has ended ({}); it is started again", status?));
                return Ok(killed);
            }
            () = stop.cancelled() => {
                // Those that are paused go on.
                pauses.shutdown().await;
                drop(input.take());
                process.wait().await?;
                return Ok(None);
            }
            Some(ServiceRequest { deed, done }) = requests.recv() => match (deed, process.id()) {
                (_, None) => drop(done),
                (ServiceDeed::Look, Some(pid)) => drop(done.send(Ok((pid, pid)))),
                (ServiceDeed::Kill, Some(pid)) => {
                    process.start_kill()?;
                    killed = Some((pid, done));
                }
                (ServiceDeed::Pause(at_most), Some(pid)) => match Pause::of_child(pid, at_most) {
                    Ok(pause) => drop(pauses.spawn(async move {
                        pause.over().await;
                        done.send(Ok((pid, pid)))
                    })),
                    Err(error) => drop(done.send(Err(Refusal::failed(error)))),
                },
            },
        }
    }
}
