//! The socket over which `up` is asked for disruptions.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::unistd::geteuid;
use redress_devstack::{DevstackError, Nats, Pause, Postgres, StopMode};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::refusal::Refusal;
use super::request::{Answer, Deed, Disruption, Report, Request, Target};
use super::service_requests::{ServiceDeed, ServiceHandles};
use crate::failure::Failure;
use crate::installation::Servers;
use crate::legible::say;

/// Its name in the data directory: short, because a socket's path may have a hundred bytes or so.
const SOCKET: &str = "chaos";
/// A request that does not come within this time is not waited for, as others wait behind it.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);
/// The longest request, in bytes: many times what one needs.
const REQUEST_BYTES_MAX: u64 = 4096;

/// The end of the socket that `up` holds.
pub(crate) struct Control {
    listener: Option<UnixListener>,
    path: PathBuf,
}

impl Control {
    /// Listens in the data directory of private servers; without any, nobody is listened to. `up` goes on without it if
    /// that cannot be.
    pub(crate) fn listen(servers: &Servers) -> Self {
        let Some(stack) = &servers.stack else { return Self { listener: None, path: PathBuf::new() } };
        let path = stack.dir().join(SOCKET);
        // The directory is locked by us, so this one is left from an earlier program.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path);
        if let Err(error) = &listener {
            say(&format!("redress chaos cannot reach this program: {}: {error}", path.display()));
        }
        Self { listener: listener.ok(), path }
    }

    /// Carries out one request after the other.
    pub(crate) async fn serve(&self, servers: &Servers, services: &ServiceHandles) -> Infallible {
        let Some(listener) = &self.listener else { return std::future::pending().await };
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // A client that has gone away wants no answer.
                    let _ = answer(stream, servers, services).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to take a request for chaos");
                    tokio::time::sleep(REQUEST_WITHIN).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if self.listener.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

async fn answer(mut stream: UnixStream, servers: &Servers, services: &ServiceHandles) -> io::Result<()> {
    if stream.peer_cred()?.uid() != geteuid().as_raw() {
        return Ok(());
    }
    let mut line = String::new();
    let mut reader = BufReader::new((&mut stream).take(REQUEST_BYTES_MAX));
    tokio::time::timeout(REQUEST_WITHIN, reader.read_line(&mut line)).await??;
    let answer = match serde_json::from_str(&line) {
        Ok(Request::Look) => Answer::Targets(targets(servers, services)),
        Ok(Request::Do { disruption, dry }) => match carry_out(disruption, dry, servers, services).await {
            Ok(report) => Answer::Done(report),
            Err(refusal) => Answer::Refused(refusal),
        },
        Err(error) => {
            let message = format!("`redress up` does not understand the request: {error}");
            Answer::Refused(Refusal::usage(message, "the same version of redress for both"))
        }
    };
    stream.write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes()).await
}

fn targets(servers: &Servers, services: &ServiceHandles) -> Vec<Target> {
    let nats = servers.own_nats().map(|_| Target::Nats);
    let postgres = servers.own_postgres().map(|_| Target::Postgres);
    let services = services.names().cloned().map(Target::Service);
    nats.into_iter().chain(postgres).chain(services).collect()
}

async fn carry_out(
    disruption: Disruption,
    dry: bool,
    servers: &Servers,
    services: &ServiceHandles,
) -> Result<Report, Refusal> {
    let begun = Instant::now();
    if !dry {
        say(&format!("chaos: {disruption}"));
    }
    let given = |server: &str, variable: &str| {
        let message = format!("{server} was given to this `redress up` by {variable}, and is not its own");
        Refusal::usage(message, &format!("unset {variable} there, for a private {server}"))
    };
    let (process, process_after) = match &disruption.target {
        Target::Nats => {
            let nats = servers.own_nats().ok_or_else(|| given("NATS", "NATS_URL"))?;
            of_nats(nats, disruption.deed, dry).await?
        }
        Target::Postgres => {
            let postgres = servers.own_postgres().ok_or_else(|| given("Postgres", "DATABASE_URL"))?;
            of_postgres(postgres, disruption.deed, dry).await?
        }
        Target::Service(name) => services.order(name, of_service(disruption.deed, dry)?).await?,
    };
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Report { disruption, process, process_after: (!dry).then_some(process_after), took_ms })
}

async fn of_nats(nats: &Nats, deed: Deed, dry: bool) -> Result<(u32, u32), Refusal> {
    let process = nats.pid();
    match deed {
        _ if dry => {}
        Deed::Pause { for_ms } => over(nats.pause(Duration::from_millis(for_ms)).await).await?,
        Deed::Kill => nats.restart(StopMode::Kill).await.map_err(Refusal::failed)?,
        Deed::Wipe => nats.wipe_store().await.map_err(Refusal::failed)?,
    }
    Ok((process, nats.pid()))
}

async fn of_postgres(postgres: &Postgres, deed: Deed, dry: bool) -> Result<(u32, u32), Refusal> {
    let process = postgres.pid();
    match deed {
        Deed::Wipe => {
            return Err(Refusal::usage(
                "Postgres holds the journal and the books of the services: without them every saga is lost",
                "redress up --fresh, to begin with empty servers; or wipe nats, which loses no saga",
            ));
        }
        _ if dry => {}
        Deed::Pause { for_ms } => over(postgres.pause(Duration::from_millis(for_ms)).await).await?,
        Deed::Kill => postgres.restart(StopMode::Kill).await.map_err(Refusal::failed)?,
    }
    Ok((process, postgres.pid()))
}

fn of_service(deed: Deed, dry: bool) -> Result<ServiceDeed, Refusal> {
    match deed {
        Deed::Wipe => Err(Refusal::usage(
            "a service stores nothing outside its database, and a database is not wiped",
            "kill it instead, or wipe nats",
        )),
        _ if dry => Ok(ServiceDeed::Look),
        Deed::Pause { for_ms } => Ok(ServiceDeed::Pause(Duration::from_millis(for_ms))),
        Deed::Kill => Ok(ServiceDeed::Kill),
    }
}

async fn over(pause: Result<Pause, DevstackError>) -> Result<(), Refusal> {
    pause.map_err(Refusal::failed)?.over().await;
    Ok(())
}

/// Asks the `up` that keeps its data in one of these places.
pub(crate) async fn ask(data: &Path, request: &Request) -> Result<Answer, Failure> {
    let places = redress_devstack::kept_places(data).map_err(Failure::unavailable)?;
    let mut stream = None;
    for place in &places {
        if stream.is_none() {
            stream = UnixStream::connect(place.join(SOCKET)).await.ok();
        }
    }
    let Some(mut stream) = stream else {
        let message = format!("no `redress up` with private servers keeps its data in {}", data.display());
        let remedy = "redress up, and the same --data here as there";
        return Err(Failure::unavailable(anyhow::anyhow!("{message}")).remedy(remedy));
    };
    let asked = async {
        stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes()).await?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        anyhow::ensure!(!line.is_empty(), "it has ended, or does not take requests of this user");
        Ok(serde_json::from_str(&line)?)
    };
    asked.await.context("`redress up` did not answer").map_err(Failure::unavailable)
}
