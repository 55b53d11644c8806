//! Limits how much of this process the clients of the API may take.
//!
//! A connection costs a descriptor, and Postgres and NATS are reached by descriptors too: the API may take as many as
//! the system allows less a reserve, so that a crowd at the door never keeps the engine from its journal.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// Connections at once, however many descriptors there are: ten thousand callers that wait for the ends of their sagas,
/// some 25 KiB each, and room for others.
const CONNECTIONS_MAX: rlim_t = 12_288;
/// Descriptors that stay the engine's: the pools of journal and services (16 and about 10 each), the broker's
/// connections, logs and pipes, four times over.
const DESCRIPTORS_KEPT: rlim_t = 256;
/// Descriptors that are asked of the system at the start. Not all that it would give: programs that we start inherit
/// the limit, and some of them walk through all of it.
const DESCRIPTORS_WANTED: rlim_t = CONNECTIONS_MAX + 2 * DESCRIPTORS_KEPT;

/// The limits of the connections: their number, and times.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// From the end of one request, or the beginning of the connection, to the end of the next request's header. More
    /// than the minute for which proxies commonly keep a connection open.
    pub head: Duration,
    /// From the header of a request to the end of its body.
    pub body: Duration,
    /// For as long a client may take nothing of what is sent to it.
    pub write: Duration,
}

impl Limits {
    /// So many connections, and times that no honest client comes near.
    pub const fn with_connections(connections: usize) -> Self {
        Self {
            connections,
            head: Duration::from_secs(75),
            body: Duration::from_secs(30),
            write: Duration::from_secs(30),
        }
    }

    /// The limits that this process can bear; asks the system for more descriptors first.
    pub fn of_this_process() -> Self {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((CONNECTIONS_MAX, CONNECTIONS_MAX));
        let wanted = hard.min(DESCRIPTORS_WANTED).max(soft);
        // Where more are refused, those that there are must do.
        let raised = wanted > soft && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok();
        Self::with_connections(connections_within(if raised { wanted } else { soft }))
    }
}

/// Connections that leave the engine its descriptors; half of them where there are few.
fn connections_within(descriptors: rlim_t) -> usize {
    let kept = DESCRIPTORS_KEPT.min(descriptors / 2);
    usize::try_from((descriptors - kept).clamp(1, CONNECTIONS_MAX)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_engine_its_descriptors() {
        for (descriptors, connections) in
            [(0, 1), (64, 32), (256, 128), (512, 256), (1_024, 768), (4_096, 3_840), (rlim_t::MAX, 12_288)]
        {
            assert_eq!(connections_within(descriptors), connections, "{descriptors}");
        }
    }
}
