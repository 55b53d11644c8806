//! How many connections a service has, and what they are for.
//!
//! One for each lane, and a few for lanes that open while a batch stalls; one to spare, for the inbox's own statements; and
//! the rest for commands that run beside the batches. A batch never waits for those: however many there are, its
//! connection is there.

/// The most connections of a service that nobody sized otherwise: a Postgres server admits a hundred, and in a rolling
/// upgrade there are two instances of each service. They are opened only when they are needed.
const CONNECTIONS_MAX: usize = 48;
/// Lanes that open while a batch stalls: a few stalls at once, and a service that stalls more has long commands.
const EXTRA_LANES_MAX: usize = 3;
/// For attempt markers, pruning, listeners, and the question whether the database is there.
const SPARE: usize = 1;
/// Of the connections that are left, one in so many is for further lanes.
const PER_EXTRA_LANE: usize = 4;

/// What the connections of a service are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// Batches in flight, those that have given their lane back included.
    pub(crate) lanes_max: usize,
    /// Commands that run beside the batches; none if there is no connection for them.
    pub(crate) beside: usize,
}

impl Places {
    /// What this many connections are good for.
    pub(crate) fn of(connections: u32, lanes: usize) -> Self {
        let connections = usize::try_from(connections).unwrap_or(usize::MAX);
        let left = connections.saturating_sub(lanes + SPARE);
        let extra_lanes = EXTRA_LANES_MAX.min(left / PER_EXTRA_LANE);
        Self { lanes_max: lanes + extra_lanes, beside: left - extra_lanes }
    }
}

/// The connections of a service whose commands may run this many times beside each other: as many as they need, within
/// [`CONNECTIONS_MAX`], and at least one place for each command.
pub(crate) fn connections(lanes: usize, concurrency: &[usize]) -> u32 {
    let of_batches = lanes + EXTRA_LANES_MAX + SPARE;
    let wanted = concurrency.iter().fold(0, |sum: usize, each| sum.saturating_add(*each));
    let beside = wanted.min(CONNECTIONS_MAX.saturating_sub(of_batches)).max(concurrency.len());
    u32::try_from(of_batches + beside).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_is_sized_by_the_commands_and_bounded() {
        assert_eq!(connections(1, &[]), 5);
        assert_eq!(connections(1, &[16]), 21);
        assert_eq!(connections(1, &[16, 4]), 25);
        assert_eq!(connections(1, &[16; 6]), 48);
        assert_eq!(connections(1, &[16; 60]), 65, "one for each command");
        assert_eq!(connections(1, &[usize::MAX; 2]), 48);
    }

    #[test]
    fn batches_keep_their_connections() {
        assert_eq!(Places::of(connections(1, &[16]), 1), Places { lanes_max: 4, beside: 16 });
        assert_eq!(Places::of(connections(3, &[16; 6]), 3), Places { lanes_max: 6, beside: 41 });
        // A pool of the caller's own.
        assert_eq!(Places::of(10, 1), Places { lanes_max: 3, beside: 6 });
        for small in 0..=2 {
            assert_eq!(Places::of(small, 1), Places { lanes_max: 1, beside: 0 });
        }
    }
}
