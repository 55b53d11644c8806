//! A proxy before Postgres that steals one answer: the server has done it, and the client never hears.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Steals the answer to the next message that holds these bytes.
#[derive(Clone, Default)]
pub(crate) struct Thief {
    wanted: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Thief {
    /// Opens a door before the server at `server`, and gives its port.
    pub(crate) async fn before(server: u16) -> (Self, u16) {
        let thief = Self::default();
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = door.local_addr().unwrap().port();
        let of_door = thief.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = door.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(of_door.clone().serve(client, server));
            }
        });
        (thief, port)
    }

    /// Steals the answer to the next message that holds these bytes.
    pub(crate) fn wants(&self, bytes: &[u8]) {
        *self.wanted.lock().unwrap() = Some(bytes.to_vec());
    }

    /// Whether it has stolen what it wanted.
    pub(crate) fn has_stolen(&self) -> bool {
        self.wanted.lock().unwrap().is_none()
    }

    async fn serve(self, client: TcpStream, server: TcpStream) {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (stolen, mut stealing) = tokio::sync::watch::channel(false);
        let back = tokio::spawn(async move {
            let answers = pass(from_server, to_client);
            tokio::select! {
                // The answer is read from the server first, so it has done what it was asked.
                biased;
                _ = stealing.wait_for(|stolen| *stolen) => {}
                () = answers => {}
            }
        });
        self.forward(from_client, to_server, stolen).await;
        back.abort();
    }

    async fn forward(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        stolen: tokio::sync::watch::Sender<bool>,
    ) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = from.read(&mut buffer).await {
            if count == 0 {
                return;
            }
            let steal = self.takes(&buffer[..count]);
            if steal {
                // From here on the client hears nothing.
                stolen.send_replace(true);
            }
            if to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
            if steal {
                // Politely: the server finishes what it was asked before it notices that nobody is there.
                let _ = to.shutdown().await;
                return;
            }
        }
    }

    fn takes(&self, bytes: &[u8]) -> bool {
        let mut wanted = self.wanted.lock().unwrap();
        let holds = |wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
        let takes = wanted.as_deref().is_some_and(holds);
        if takes {
            *wanted = None;
        }
        takes
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // An end on either side ends the connection.
    let _ = tokio::io::copy(&mut from, &mut to).await;
}
