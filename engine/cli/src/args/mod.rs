//! Arguments that several commands share; those of one command stand in its own file.

pub(crate) mod crash;
pub(crate) mod saga_ref;

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};
use redress_api::Access;
use redress_participant::ParticipantConfig;

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON value.
    Json,
    /// One JSON value per line.
    Jsonl,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people; in colour on a terminal, unless NO_COLOR is set.
    Text,
    /// One JSON object per line.
    Json,
}

/// The default of a service.
pub(crate) const SERVICE_CONCURRENCY: NonZeroUsize =
    NonZeroUsize::new(ParticipantConfig::CONCURRENCY).expect("the default is not zero");

/// Which servers to use.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServersArgs {
    /// Postgres to use instead of a private one; the services' databases are made beside it.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,
    /// NATS to use instead of a private one.
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    pub(crate) nats_url: Option<String>,
    /// Prefix of the names of subjects and streams.
    #[arg(long, env = "REDRESS_PREFIX", default_value = "redress")]
    pub(crate) prefix: String,
    /// How long the broker waits for an acknowledgement before it delivers again, in milliseconds.
    #[arg(long, env = "REDRESS_ACK_WAIT_MS", default_value_t = 30_000)]
    pub(crate) ack_wait_ms: u64,
    /// The most that a stream may hold, in bytes; the server sets it aside.
    #[arg(long, env = "REDRESS_STREAM_BYTES_MAX", default_value_t = 512 << 20)]
    pub(crate) stream_bytes_max: i64,
    /// How many commands of one kind a service runs at the same time if their handler takes long.
    #[arg(long, env = "REDRESS_SERVICE_CONCURRENCY", default_value_t = SERVICE_CONCURRENCY)]
    pub(crate) service_concurrency: NonZeroUsize,
}

/// Access to the API.
#[derive(Clone, Debug, Args)]
pub(crate) struct AccessArgs {
    /// Secret that every request must bear; needed to listen anywhere but on loopback.
    #[arg(long, env = "REDRESS_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

impl AccessArgs {
    /// Access for clients that bear the token, if there is one.
    pub(crate) fn access(&self) -> Access {
        self.token.clone().filter(|token| !token.is_empty()).map_or(Access::Loopback, Access::Token)
    }
}

/// The variable that says where a process of services serves its metrics.
pub(crate) const METRICS_ADDR: &str = "REDRESS_METRICS_ADDR";

/// Where metrics and probes are.
#[derive(Clone, Debug, Args)]
pub(crate) struct MetricsArgs {
    /// Where metrics and probes are served; nowhere if it is not said.
    #[arg(long, env = "REDRESS_METRICS_ADDR")]
    pub(crate) metrics_addr: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// Where the API is.
#[derive(Clone, Debug, Args)]
pub(crate) struct ApiArgs {
    /// Where the API is.
    #[arg(long, env = "REDRESS_URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// Secret that the API asks for.
    #[arg(long, env = "REDRESS_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}
