//! A proxy before Postgres that keeps one answer to itself, for tests: the server has done what it was asked, and the
//! client never hears. The connection breaks then ([`Loot::Answer`]), or stays open without a word
//! ([`Loot::Connection`]), as it does when a machine vanishes from the network.

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loot {
    /// The answer: the connection ends before it comes.
    Answer,
    /// The connection: it stays open, and nothing comes on it any more.
    Connection,
}

#[derive(Debug)]
struct Wish {
    bytes: Vec<u8>,
    loot: Loot,
}

/// Takes its loot at the next message that holds certain bytes, once.
#[derive(Clone, Debug, Default)]
pub struct Thief {
    wish: Arc<Mutex<Option<Wish>>>,
}

impl Thief {
    /// Opens a door before the server at port `server`, and gives the door's port.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn before(server: u16) -> io::Result<(Self, u16)> {
        let thief = Self::default();
        let door = TcpListener::bind("127.0.0.1:0").await?;
        let port = door.local_addr()?.port();
        let of_door = thief.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = door.accept().await {
                // A server that is away is away for its clients, too.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                    tokio::spawn(of_door.clone().serve(client, server));
                }
            }
        });
        Ok((thief, port))
    }

    /// Wants this at the next message that holds these bytes.
    ///
    /// # Panics
    /// Never: nobody panics while holding the wish.
    pub fn wants(&self, loot: Loot, bytes: &[u8]) {
        let wish = Wish { bytes: bytes.to_vec(), loot };
        *self.wish.lock().expect("nobody panics while holding the wish") = Some(wish);
    }

    /// Whether it has what it wanted.
    ///
    /// # Panics
    /// Never: nobody panics while holding the wish.
    pub fn has_stolen(&self) -> bool {
        self.wish.lock().expect("nobody panics while holding the wish").is_none()
    }

    async fn serve(self, client: TcpStream, server: TcpStream) {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (stolen, stealing) = watch::channel(None);
        let back = tokio::spawn(answer(from_server, to_client, stealing));
        self.forward(from_client, to_server, stolen).await;
        back.abort();
    }

    async fn forward(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        stolen: watch::Sender<Option<Loot>>,
    ) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = from.read(&mut buffer).await {
            if count == 0 {
                return;
            }
            let loot = self.takes(&buffer[..count]);
            if loot.is_some() {
                // From here on the client hears nothing.
                stolen.send_replace(loot);
            }
            if to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
            match loot {
                None => {}
                Some(Loot::Answer) => {
                    // Politely: the server finishes what it was asked before it notices that nobody is there.
                    let _ = to.shutdown().await;
                    return;
                }
                // Whatever the client says now, nobody hears it, until it goes away.
                Some(Loot::Connection) => while from.read(&mut buffer).await.is_ok_and(|count| count > 0) {},
            }
        }
    }

    fn takes(&self, bytes: &[u8]) -> Option<Loot> {
        let mut wish = self.wish.lock().expect("nobody panics while holding the wish");
        let comes_true = |wish: &mut Wish| bytes.windows(wish.bytes.len()).any(|window| window == wish.bytes);
        wish.take_if(comes_true).map(|wish| wish.loot)
    }
}

/// Passes answers on until one is stolen.
async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut stealing: watch::Receiver<Option<Loot>>,
) {
    let stolen = async { stealing.wait_for(Option::is_some).await.ok().and_then(|loot| *loot) };
    tokio::select! {
        // The answer is read from the server first, so it has done what it was asked.
        biased;
        loot = stolen => {
            if loot == Some(Loot::Connection) {
                // Both ends are held, and nothing is said.
                std::future::pending::<()>().await;
            }
        }
        // An end on either side ends the connection.
        _ = tokio::io::copy(&mut from, &mut to) => {}
    }
}
