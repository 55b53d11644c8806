//! A pooler that gives each transaction the one session that it has, and knows nothing of prepared statements: as
//! PgBouncer before 1.21 does with `pool_mode = transaction`. The server behind it must trust all users.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The parameters that it takes from the beginning of a connection.
const TRACKED: [&str; 6] =
    ["user", "database", "client_encoding", "datestyle", "timezone", "application_name"];
/// Codes of the first message: it asks for TLS, or it is none of ours.
const TLS: u32 = 80_877_103;

type Session = Arc<Mutex<TcpStream>>;
type Sessions = Arc<Mutex<HashMap<String, Session>>>;

/// Opens one before the server at this port, and gives its own.
pub(crate) async fn before(server: u16) -> u16 {
    let door = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = door.local_addr().expect("it is bound").port();
    let sessions = Sessions::default();
    tokio::spawn(async move {
        while let Ok((client, _)) = door.accept().await {
            // A client that breaks the rules of the protocol is left alone.
            tokio::spawn(serve(client, server, sessions.clone()));
        }
    });
    port
}

/// A message without a type, as a connection begins with one.
async fn first(stream: &mut TcpStream) -> io::Result<(u32, Vec<u8>)> {
    let length = stream.read_u32().await?;
    let code = stream.read_u32().await?;
    let mut body = vec![0; length as usize - 8];
    stream.read_exact(&mut body).await?;
    Ok((code, body))
}

async fn message(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await?;
    let length = stream.read_u32().await?;
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await?;
    Ok((kind, body))
}

async fn send(stream: &mut TcpStream, kind: u8, body: &[u8]) -> io::Result<()> {
    let mut bytes = vec![kind];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    stream.write_all(&bytes).await
}

fn parameters(body: &[u8]) -> HashMap<String, String> {
    let texts: Vec<String> =
        body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect();
    texts.chunks(2).filter(|pair| pair.len() == 2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

async fn serve(mut client: TcpStream, server: u16, sessions: Sessions) -> io::Result<()> {
    let mut begun = first(&mut client).await?;
    while begun.0 == TLS {
        client.write_all(b"N").await?;
        begun = first(&mut client).await?;
    }
    let given = parameters(&begun.1);
    let unknown =
        given.keys().find(|name| !name.is_empty() && !TRACKED.contains(&name.to_lowercase().as_str()));
    if let Some(name) = unknown {
        let text = format!("SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: {name}\0\0");
        return send(&mut client, b'E', text.as_bytes()).await;
    }
    let database = given.get("database").cloned().unwrap_or_default();
    let session = {
        let mut sessions = sessions.lock().await;
        match sessions.get(&database) {
            Some(session) => session.clone(),
            None => {
                let Some(opened) = open(server, &database, &mut client).await? else { return Ok(()) };
                let session = Arc::new(Mutex::new(opened));
                sessions.insert(database, session.clone());
                session
            }
        }
    };
    send(&mut client, b'R', &0_u32.to_be_bytes()).await?;
    send(&mut client, b'S', b"client_encoding\0UTF8\0").await?;
    send(&mut client, b'K', &[0; 8]).await?;
    send(&mut client, b'Z', b"I").await?;
    relay(&mut client, &session).await
}

/// The session behind it; an error of the server goes to the client.
async fn open(server: u16, database: &str, client: &mut TcpStream) -> io::Result<Option<TcpStream>> {
    let mut stream = TcpStream::connect(("127.0.0.1", server)).await?;
    let body = format!("user\0redress\0database\0{database}\0client_encoding\0UTF8\0\0");
    stream.write_u32(body.len() as u32 + 8).await?;
    stream.write_u32(196_608).await?;
    stream.write_all(body.as_bytes()).await?;
    loop {
        match message(&mut stream).await? {
            (b'Z', _) => return Ok(Some(stream)),
            (b'E', said) => {
                send(client, b'E', &said).await?;
                return Ok(None);
            }
            _ => {}
        }
    }
}

/// Lends the session from the first message of a transaction to its end.
async fn relay(client: &mut TcpStream, session: &Session) -> io::Result<()> {
    let mut lent: Option<OwnedMutexGuard<TcpStream>> = None;
    loop {
        let (kind, body) = message(client).await?;
        if kind == b'X' {
            return Ok(());
        }
        let mut server = match lent.take() {
            Some(server) => server,
            None => session.clone().lock_owned().await,
        };
        send(&mut server, kind, &body).await?;
        // A query and a sync are answered to the end; the messages before a sync are not yet.
        let is_open = !matches!(kind, b'Q' | b'S') || answer(&mut server, client).await?;
        lent = is_open.then_some(server);
    }
}

/// Hands on an answer to its end, and returns true if the transaction is still open.
async fn answer(server: &mut TcpStream, client: &mut TcpStream) -> io::Result<bool> {
    loop {
        let (kind, body) = message(server).await?;
        send(client, kind, &body).await?;
        if kind == b'Z' {
            return Ok(body != b"I");
        }
    }
}
