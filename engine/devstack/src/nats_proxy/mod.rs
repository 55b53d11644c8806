//! A proxy before NATS that loses, doubles and delays messages, for tests and experiments.
//!
//! The proxy is authoritative for what reaches the other side. It reads the protocol frame by frame (`frames`), decides of
//! each message whether it is lost or comes twice (`fate`), and remembers what came by (`traffic`, with the table of what
//! may be lost or doubled). What must hold:
//!
//! - **The same seed loses the same messages**, however threads and networks are timed: a decision depends on the seed, on
//!   the message and on the number of its copy. How many copies there are depends on time; what becomes of each does not.
//! - **Order is kept**: every frame of a connection is under way for the same time, control frames too, so that no frame
//!   overtakes another one. NATS promises its order to clients, and a proxy that broke it would test something else.
//! - **The protocol stays whole**: control frames pass unharmed. Bytes that are no frame end the connection, since nobody
//!   knows where the next frame begins; the client connects again.
//!
//! Clients without TLS only. A server that is away is away for its clients, too.

mod fate;
mod frames;
mod traffic;

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

pub use fate::NatsFaults;
use frames::Frames;
use traffic::{Direction, Memory};
pub use traffic::{NatsTraffic, TrafficCount};

/// Frames under way in one direction of a connection; beyond, the sender is read no further. More than a second's worth of
/// what a private server does at the latencies of a test.
const UNDER_WAY_MAX: usize = 16 << 10;
/// Bytes that are read at once.
const READ_BYTES_MAX: usize = 64 << 10;

/// A proxy before a NATS server. Dropped, it takes no more connections; those that are open go on.
#[derive(Debug)]
pub struct NatsProxy {
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    faults: NatsFaults,
    memory: Mutex<Memory>,
    traffic: watch::Sender<NatsTraffic>,
}

/// A frame under way.
struct UnderWay {
    arrives_at: Instant,
    bytes: Bytes,
}

impl Drop for NatsProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl NatsProxy {
    /// Opens a proxy before the server at port `server` of this machine, and gives the proxy's port.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn before(server: u16, faults: NatsFaults) -> io::Result<(Self, u16)> {
        let door = TcpListener::bind("127.0.0.1:0").await?;
        let port = door.local_addr()?.port();
        let shared = Arc::new(Shared {
            faults,
            memory: Mutex::default(),
            traffic: watch::Sender::new(NatsTraffic::default()),
        });
        let of_door = shared.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = door.accept().await {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                    tokio::spawn(of_door.clone().serve(client, server));
                }
            }
        });
        Ok((Self { shared, accepting: accepting.abort_handle() }, port))
    }

    /// What has come by until now.
    pub fn traffic(&self) -> NatsTraffic {
        *self.shared.traffic.borrow()
    }

    /// Waits until what has come by meets a condition, which is asked after each message; gives what has come by then.
    ///
    /// Cancel safe.
    ///
    /// # Panics
    /// Never: the sender lives as long as the proxy.
    pub async fn wait_for(&self, condition: impl FnMut(&NatsTraffic) -> bool) -> NatsTraffic {
        *self
            .shared
            .traffic
            .subscribe()
            .wait_for(condition)
            .await
            .expect("the sender lives as long as the proxy")
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, client: TcpStream, server: TcpStream) {
        // A frame waits for its latency here, and for nothing else. A socket that has gone shows it when it is used.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::join!(
            self.carry(Direction::ToBroker, from_client, to_server),
            self.carry(Direction::ToClient, from_server, to_client),
        );
    }

    /// Carries one direction of a connection to its end; the end goes the same way as the frames.
    async fn carry(&self, direction: Direction, from: OwnedReadHalf, to: OwnedWriteHalf) {
        let (sender, under_way) = mpsc::channel(UNDER_WAY_MAX);
        tokio::join!(self.take(direction, from, sender), arrive(under_way, to));
    }

    /// Reads frames and sends on their way those that are not lost.
    async fn take(&self, direction: Direction, mut from: OwnedReadHalf, on: mpsc::Sender<UnderWay>) {
        let (mut frames, mut buffer) = (Frames::default(), vec![0; READ_BYTES_MAX]);
        loop {
            let count = tokio::select! {
                read = from.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(count) => count,
                },
                () = on.closed() => return,
            };
            let arrives_at = Instant::now() + self.faults.latency;
            frames.push(&buffer[..count]);
            // Bytes that are no frame end the connection.
            while let Some(frame) = match frames.next() {
                Ok(frame) => frame,
                Err(_) => return,
            } {
                for _ in 0..self.copies_of(direction, &frame) {
                    if on.send(UnderWay { arrives_at, bytes: frame.bytes.clone() }).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn copies_of(&self, direction: Direction, frame: &frames::Frame) -> usize {
        if frame.message.is_none() {
            return 1;
        }
        let mut memory = self.memory.lock().expect("no code panics under this lock");
        let copies = memory.copies_of(direction, frame, &self.faults);
        self.traffic.send_replace(memory.traffic());
        copies
    }
}

/// Writes frames when they arrive; then ends the connection in this direction.
async fn arrive(mut under_way: mpsc::Receiver<UnderWay>, mut to: OwnedWriteHalf) {
    while let Some(UnderWay { arrives_at, bytes }) = under_way.recv().await {
        if arrives_at > Instant::now() {
            sleep_until(arrives_at).await;
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    // A peer that has gone needs no end.
    let _ = to.shutdown().await;
}
