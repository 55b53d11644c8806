//! A private pair of servers.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::{Data, StackConfig, StopMode};
use crate::discover::Binary;
use crate::environment;
use crate::error::DevstackError;
use crate::guard::Guard;
use crate::home::Home;
use crate::nats::Nats;
use crate::postgres::Postgres;
use crate::provide::provide;
use crate::run_as::{RunAs, is_root, unprivileged};
use crate::server::Server;

/// A private Postgres and NATS, both children of this process.
///
/// Dropping it stops them too (the guard does) and blocks until they are gone, usually a tenth of a second;
/// [`Stack::stop`] does the same without blocking.
#[derive(Debug)]
pub struct Stack {
    postgres: Option<Postgres>,
    nats: Option<Nats>,
    home: Home,
    guard: Arc<Guard>,
}

/// The result of the blocking part of a start.
struct Prepared {
    home: Home,
    guard: Guard,
    run_as: Option<RunAs>,
    postgres: Option<Binary>,
    nats: Option<Binary>,
}

impl Stack {
    /// Finds or installs the servers, starts them side by side, and returns when both serve.
    ///
    /// `notice` gets one line for everything that the user should know: a server that is skipped, a server
    /// that is installed, data that go elsewhere.
    ///
    /// # Errors
    /// When no server can be found or installed, when the data directory cannot be used, or when a server
    /// does not start. Nothing is left running then.
    pub async fn start(
        options: StackConfig,
        notice: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Stack, DevstackError> {
        let durability = options.durability;
        let Prepared { home, guard, run_as, postgres, nats } = prepare(options, notice).await?;
        let guard = Arc::new(guard);
        let (postgres, nats) = tokio::try_join!(
            async {
                match postgres {
                    Some(binary) => {
                        Postgres::open(&home, binary, durability, run_as, guard.clone()).await.map(Some)
                    }
                    None => Ok(None),
                }
            },
            async {
                match nats {
                    Some(binary) => Nats::open(&home, binary, guard.clone()).await.map(Some),
                    None => Ok(None),
                }
            },
        )?;
        Ok(Stack { postgres, nats, home, guard })
    }

    /// The private Postgres.
    ///
    /// # Panics
    /// When the options did not ask for it.
    pub fn postgres(&self) -> &Postgres {
        self.postgres.as_ref().expect("the stack was started without Postgres")
    }

    /// The private NATS.
    ///
    /// # Panics
    /// When the options did not ask for it.
    pub fn nats(&self) -> &Nats {
        self.nats.as_ref().expect("the stack was started without NATS")
    }

    /// The directory that holds data and logs.
    pub fn dir(&self) -> &Path {
        &self.home.dir
    }

    /// Stops both servers in order, and removes the directory if it is ephemeral.
    ///
    /// Returns when that is done. A server that does not stop is killed, by the guard at the latest.
    pub async fn stop(self) {
        let Stack { postgres, nats, home: _, guard } = self;
        tokio::join!(
            async {
                if let Some(postgres) = &postgres {
                    // The guard has the last word on a server that will not stop.
                    let _ = postgres.stop(StopMode::Fast).await;
                }
            },
            async {
                if let Some(nats) = &nats {
                    let _ = nats.stop(StopMode::Fast).await;
                }
            },
        );
        // A guard that panicked has nothing left to report, and is finished by its drop.
        let _ = tokio::task::spawn_blocking(move || guard.finish()).await;
    }
}

/// Runs the preparation on a thread for blocking work, and passes its notices on as they come.
async fn prepare(
    options: StackConfig,
    notice: &(dyn Fn(&str) + Send + Sync),
) -> Result<Prepared, DevstackError> {
    let (lines, mut spoken) = mpsc::unbounded_channel::<String>();
    let work = tokio::task::spawn_blocking(move || {
        prepare_blocking(&options, &|line| {
            // The receiver is gone when the start was cancelled.
            let _ = lines.send(line.to_owned());
        })
    });
    while let Some(line) = spoken.recv().await {
        notice(&line);
    }
    match work.await {
        Ok(prepared) => prepared,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn prepare_blocking(options: &StackConfig, notice: &dyn Fn(&str)) -> Result<Prepared, DevstackError> {
    if let Some(name) = environment::options_of_connections().filter(|_| options.postgres) {
        notice(&format!(
            "{name} is set: it changes each connection that this process makes, also to its private Postgres; unset it"
        ));
    }
    // Only Postgres minds being root.
    let run_as = if options.postgres && is_root() { unprivileged()? } else { None };
    let (home, guard) = match &options.data {
        Data::Ephemeral => Home::ephemeral(run_as.as_ref())?,
        Data::Kept { dir, fresh } => Home::kept(dir, *fresh, run_as.as_ref(), notice)?,
    };
    let data = home.data_major().map(|major| (major, home.dir.as_path()));
    let postgres = match options.postgres {
        true => Some(provide(Server::Postgres, data, run_as.as_ref(), notice)?),
        false => None,
    };
    let nats = match options.nats {
        true => Some(provide(Server::Nats, None, None, notice)?),
        false => None,
    };
    Ok(Prepared { home, guard, run_as, postgres, nats })
}
