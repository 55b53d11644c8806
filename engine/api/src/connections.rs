//! Counts the connections, and cuts an idle one when there is no room for another.
//!
//! A connection is idle until the header of a request is complete, and again once the answer has left; a client that
//! waits for a saga's end is not idle. When there is no room for one more, an idle connection is cut: the oldest one of
//! the peer that has the most, so that a stranger with many takes room from himself and not from others. If none is
//! idle, the newcomer is turned away.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// All connections of a listener.
pub(crate) struct Connections {
    max: usize,
    open: Mutex<Open>,
    left: Notify,
}

#[derive(Default)]
struct Open {
    /// Counts events: their order is all that matters.
    ticks: u64,
    all: HashMap<u64, Connection>,
}

struct Connection {
    peer: IpAddr,
    stand: Stand,
    cut: CancellationToken,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Since this tick no request is under way.
    Idle { since: u64 },
    /// A request is under way.
    Busy,
    /// It must go; no request begins on it any more.
    Cut,
}

/// A seat among the connections; free again when it is dropped.
pub(crate) struct Seat {
    connections: Arc<Connections>,
    id: u64,
    cut: CancellationToken,
}

/// A request that is under way on a connection, until its answer has left.
pub(crate) struct UnderWay(Arc<Seat>);

impl Connections {
    pub(crate) fn at_most(max: usize) -> Arc<Self> {
        Arc::new(Self { max, open: Mutex::default(), left: Notify::new() })
    }

    /// A seat for a newcomer, for which another one may have to go; nothing if all are busy.
    pub(crate) async fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Arc<Seat>> {
        loop {
            {
                let mut open = self.open();
                if open.all.len() < self.max {
                    return Some(Arc::new(self.seat(&mut open, peer)));
                }
                let leaves = open.all.values().any(|connection| connection.stand == Stand::Cut);
                if !leaves && !open.cut_one() {
                    return None;
                }
            }
            // A connection that was cut is gone in a moment: its task waits for nothing else.
            self.left.notified().await;
        }
    }

    fn seat(self: &Arc<Self>, open: &mut Open, peer: IpAddr) -> Seat {
        let (id, cut) = (open.tick(), CancellationToken::new());
        let stand = Stand::Idle { since: id };
        open.all.insert(id, Connection { peer: network_of(peer), stand, cut: cut.clone() });
        Seat { connections: self.clone(), id, cut }
    }

    /// Makes room without a newcomer, as when the system gives no more descriptors.
    pub(crate) fn cut_one(&self) {
        self.open().cut_one();
    }

    /// No request begins any more; those under way are finished.
    pub(crate) fn cut_all_idle(&self) {
        while self.open().cut_one() {}
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("nothing panics while it holds the connections")
    }
}

impl Open {
    const fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    fn cut_one(&mut self) -> bool {
        let Some(connection) = self.victim().and_then(|id| self.all.get_mut(&id)) else { return false };
        connection.stand = Stand::Cut;
        connection.cut.cancel();
        true
    }

    /// The oldest idle connection of the peer that has the most.
    fn victim(&self) -> Option<u64> {
        let mut held = HashMap::<IpAddr, usize>::new();
        for connection in self.all.values() {
            *held.entry(connection.peer).or_default() += 1;
        }
        let idle = self.all.iter().filter_map(|(id, connection)| match connection.stand {
            Stand::Idle { since } => Some((held.get(&connection.peer)?, Reverse(since), *id)),
            Stand::Busy | Stand::Cut => None,
        });
        idle.max().map(|(_, _, id)| id)
    }
}

impl Seat {
    /// Cancelled when this connection must go.
    pub(crate) const fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// A request begins, unless the connection was cut a moment before: then nothing may begin that would be torn.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<UnderWay> {
        let mut open = self.connections.open();
        let connection = open.all.get_mut(&self.id)?;
        match connection.stand {
            Stand::Idle { .. } | Stand::Busy => connection.stand = Stand::Busy,
            Stand::Cut => return None,
        }
        Some(UnderWay(self.clone()))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut open = self.0.connections.open();
        let since = open.tick();
        if let Some(connection) = open.all.get_mut(&self.0.id) {
            match connection.stand {
                Stand::Busy => connection.stand = Stand::Idle { since },
                Stand::Idle { .. } | Stand::Cut => {}
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.open().all.remove(&self.id);
        self.connections.left.notify_one();
    }
}

/// The network that counts as one peer: an address, or the network that every household with IPv6 has to itself.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROWD: &str = "10.0.0.1";

    async fn admit(connections: &Arc<Connections>, peer: &str) -> Option<Arc<Seat>> {
        let admitted = connections.admit(peer.parse().unwrap());
        tokio::time::timeout(std::time::Duration::from_secs(10), admitted).await.unwrap()
    }

    /// Admits a peer for which another one must go, and gives the place that was cut.
    async fn admit_instead(connections: &Arc<Connections>, peer: &str, seats: &mut Vec<Arc<Seat>>) -> usize {
        let admitted = admit(connections, peer);
        let leaves = async {
            loop {
                if let Some(at) = seats.iter().position(|seat| seat.cut().is_cancelled()) {
                    drop(seats.remove(at));
                    return at;
                }
                tokio::task::yield_now().await;
            }
        };
        let (admitted, at) = tokio::join!(admitted, leaves);
        seats.push(admitted.unwrap());
        at
    }

    #[tokio::test]
    async fn oldest_connection_of_the_largest_peer_is_cut_first() {
        let connections = Connections::at_most(4);
        let mut seats = Vec::new();
        for peer in ["10.0.0.9", CROWD, CROWD, CROWD] {
            seats.push(admit(&connections, peer).await.unwrap());
        }
        // The guest is the oldest, and stays: the crowd loses its own oldest, and then the next one.
        assert_eq!(admit_instead(&connections, CROWD, &mut seats).await, 1);
        assert_eq!(admit_instead(&connections, "10.0.0.8", &mut seats).await, 1);
        // A connection with a request under way is not cut, and is idle again once its answer has left.
        let busy = seats[1].begin().unwrap();
        assert_eq!(admit_instead(&connections, "10.0.0.7", &mut seats).await, 2);
        drop(busy);
        assert!(connections.open().all.values().all(|c| matches!(c.stand, Stand::Idle { .. })));
    }

    #[tokio::test]
    async fn newcomer_is_turned_away_if_all_connections_are_busy() {
        let connections = Connections::at_most(2);
        let seats = [admit(&connections, CROWD).await.unwrap(), admit(&connections, CROWD).await.unwrap()];
        let busy = seats.each_ref().map(|seat| seat.begin().unwrap());
        assert!(admit(&connections, "10.0.0.9").await.is_none());
        drop(busy);
        connections.cut_all_idle();
        assert!(seats.iter().all(|seat| seat.begin().is_none()), "nothing begins on what was cut");
        drop(seats);
        assert!(admit(&connections, "10.0.0.9").await.is_some());
    }

    #[test]
    fn ipv6_network_counts_as_one_peer() {
        let network = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(network("10.0.0.1"), "10.0.0.1");
    }
}
