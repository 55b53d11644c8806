//! What is asked of `up`, and its answers: plain data.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;

/// A process of `up`'s.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Target {
    Nats,
    Postgres,
    /// The process of a service.
    Service(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nats => f.write_str("nats"),
            Self::Postgres => f.write_str("postgres"),
            Self::Service(name) => write!(f, "service {name}"),
        }
    }
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Deed {
    /// Stopped for so long, in milliseconds, and let go on.
    Pause {
        for_ms: u64,
    },
    Kill,
    /// Killed, and what it has stored is deleted.
    Wipe,
}

/// A disruption: what is done to which process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Disruption {
    pub(crate) deed: Deed,
    pub(crate) target: Target,
}

/// `pause nats for 5 s`, `kill service payment`
impl fmt::Display for Disruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.target;
        match self.deed {
            Deed::Pause { for_ms } => write!(f, "pause {target} for {:?}", Duration::from_millis(for_ms)),
            Deed::Kill => write!(f, "kill {target}"),
            Deed::Wipe => write!(f, "wipe {target}"),
        }
    }
}

/// A request to `up`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Which processes are there?
    Look,
    /// Carry it out; if it is `dry`, only say whether it could be.
    Do { disruption: Disruption, dry: bool },
}

/// The answer of `up`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Targets(Vec<Target>),
    Done(Report),
    Refused(Refusal),
}

/// A disruption that was carried out, or could be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) disruption: Disruption,
    /// The id of the process that it was done to.
    pub(crate) process: u32,
    /// The id of the process afterwards; nothing if it was not carried out.
    pub(crate) process_after: Option<u32>,
    /// How long it took until the process went on, or another one served.
    pub(crate) took_ms: u64,
}
