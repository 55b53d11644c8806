//! A proxy before Postgres that keeps one answer to itself, for tests: the server has carried out the request, and the
//! client never gets the answer. The connection breaks then ([`Drop::Reply`]), or stays open without a word
//! ([`Drop::Connection`]), as it does when a machine vanishes from the network.

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The thing that the proxy drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    /// The answer: the connection ends before it comes.
    Reply,
    /// The connection: it stays open, and nothing comes on it any more.
    Connection,
}

#[derive(Debug)]
struct Armed {
    bytes: Vec<u8>,
    drop: Drop,
}

/// Drops a reply or the connection at the next message that holds certain bytes, once.
#[derive(Clone, Debug, Default)]
pub struct FaultProxy {
    armed: Arc<Mutex<Option<Armed>>>,
}

impl FaultProxy {
    /// Opens a proxy before the server at port `server`, and gives the proxy's port.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn before(server: u16) -> io::Result<(Self, u16)> {
        let proxy = Self::default();
        let door = TcpListener::bind("127.0.0.1:0").await?;
        let port = door.local_addr()?.port();
        let of_door = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = door.accept().await {
                // A server that is away is away for its clients, too.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                    tokio::spawn(of_door.clone().serve(client, server));
                }
            }
        });
        Ok((proxy, port))
    }

    /// Arms the proxy: at the next message that holds these bytes, it drops this.
    ///
    /// # Panics
    /// Never: no code panics under this lock.
    pub fn drop_on_match(&self, drop: Drop, bytes: &[u8]) {
        let armed = Armed { bytes: bytes.to_vec(), drop };
        *self.armed.lock().expect("no code panics under this lock") = Some(armed);
    }

    /// Returns true if it has dropped the reply or the connection that it was armed for.
    ///
    /// # Panics
    /// Never: no code panics under this lock.
    pub fn has_dropped(&self) -> bool {
        self.armed.lock().expect("no code panics under this lock").is_none()
    }

    async fn serve(self, client: TcpStream, server: TcpStream) {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (dropped, dropping) = watch::channel(None);
        let back = tokio::spawn(answer(from_server, to_client, dropping));
        self.forward(from_client, to_server, dropped).await;
        back.abort();
    }

    async fn forward(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        dropped: watch::Sender<Option<Drop>>,
    ) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = from.read(&mut buffer).await {
            if count == 0 {
                return;
            }
            let drop = self.takes(&buffer[..count]);
            if drop.is_some() {
                // From here on the client gets no answer.
                dropped.send_replace(drop);
            }
            if to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
            match drop {
                None => {}
                Some(Drop::Reply) => {
                    // In order: the server finishes the request before it notices that the client is gone.
                    let _ = to.shutdown().await;
                    return;
                }
                // The server does not get anything that the client sends now, until the client goes away.
                Some(Drop::Connection) => while from.read(&mut buffer).await.is_ok_and(|count| count > 0) {},
            }
        }
    }

    fn takes(&self, bytes: &[u8]) -> Option<Drop> {
        let mut armed = self.armed.lock().expect("no code panics under this lock");
        let matches =
            |armed: &mut Armed| bytes.windows(armed.bytes.len()).any(|window| window == armed.bytes);
        armed.take_if(matches).map(|armed| armed.drop)
    }
}

/// Passes answers on until one is dropped.
async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut dropping: watch::Receiver<Option<Drop>>,
) {
    let dropped = async { dropping.wait_for(Option::is_some).await.ok().and_then(|drop| *drop) };
    tokio::select! {
        // The answer is read from the server first, so it has done what it was asked.
        biased;
        drop = dropped => {
            if drop == Some(Drop::Connection) {
                // Both ends are held open, and nothing is sent.
                std::future::pending::<()>().await;
            }
        }
        // An end on either side ends the connection.
        _ = tokio::io::copy(&mut from, &mut to) => {}
    }
}
