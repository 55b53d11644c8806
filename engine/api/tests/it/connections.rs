//! Raw sockets: the limits on strangers, and that other clients are answered meanwhile.

use std::net::SocketAddr;
use std::time::Duration;

use redress_api::{Access, Limits, bind, serve_within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, SALE};

/// How long anything may take on a busy machine before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time after which the limit under test strikes; other limits are as in production.
const SOON: Duration = Duration::from_millis(300);

struct Served {
    fixture: Fixture,
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Served {
    async fn within(limits: Limits) -> Self {
        let fixture = Fixture::new().await;
        let listener = bind("127.0.0.1:0".parse().unwrap(), &Access::Loopback).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (engine, shutdown) = (fixture.engine.clone(), CancellationToken::new());
        let serving = serve_within(limits, listener, engine, Access::Loopback, shutdown.clone());
        Self { fixture, address, shutdown, serving: tokio::spawn(serving) }
    }

    async fn connect(&self) -> TcpStream {
        in_time(TcpStream::connect(self.address)).await.unwrap()
    }

    /// A connection on which this was sent.
    async fn say(&self, text: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// Asks on a connection of its own, which ends with the answer.
    async fn ask(&self, path: &str) -> String {
        let asked = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        rest(&mut self.say(&asked).await).await
    }

    /// Others are answered, also by the database.
    async fn serves_others(&self) {
        for path in ["/livez", "/v1/sagas", "/readyz"] {
            let answer = self.ask(path).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
        }
    }

    async fn ends(self) {
        self.shutdown.cancel();
        in_time(self.serving).await.unwrap().unwrap();
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

/// All that comes until the other end closes, whichever way.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = in_time(stream.read_to_end(&mut bytes)).await;
    String::from_utf8(bytes).unwrap()
}

/// One answer, whose body ends with this.
async fn answer(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let read = in_time(stream.read_buf(&mut bytes)).await.unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&bytes));
    }
    String::from_utf8(bytes).unwrap()
}

fn start(key: &str, query: &str, bytes: usize) -> String {
    format!(
        "POST /v1/sagas{query} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         idempotency-key: {key}\r\ncontent-length: {bytes}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_sockets_beyond_the_limit_lock_out_no_client() {
    let served = Served::within(Limits::with_connections(8)).await;
    let mut silent = Vec::new();
    for number in 0..40 {
        let half = if number % 2 == 0 { "" } else { "GET /v1/sagas HTTP/1.1\r\nho" };
        silent.push(served.say(half).await);
    }
    served.serves_others().await;
    // The oldest ones had to go.
    for stream in &mut silent[..30] {
        assert_eq!(rest(stream).await, "");
    }
    served.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_connection_is_not_idle_and_is_not_cut() {
    let served = Served::within(Limits::with_connections(2)).await;
    let asked = format!("{}{SALE}", start("k", "?wait=60s", SALE.len()));
    let mut waiting = served.say(&asked).await;
    in_time(async {
        while served.fixture.engine.waiting() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(served.connect().await);
    }
    served.serves_others().await;
    // With a second one all are busy, and a newcomer is told so at once.
    let mut second = served.say(&asked.replace("key: k", "key: k2")).await;
    in_time(async {
        while served.fixture.engine.waiting() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let refused = rest(&mut served.connect().await).await;
    assert!(refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refused}");
    assert!(refused.contains("/problems/too-many-connections"), "{refused}");
    served.shutdown.cancel();
    for stream in [&mut waiting, &mut second] {
        let answered = rest(stream).await;
        assert!(answered.starts_with("HTTP/1.1 202 Accepted\r\n"), "{answered}");
    }
    served.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_header_and_idle_connection_are_closed() {
    let served = Served::within(Limits { head: SOON, ..Limits::with_connections(100) }).await;
    let mut slow = served.say("GET /livez HTTP/1.1\r\nhost: local").await;
    let mut silent = served.connect().await;
    let mut kept = served.say("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(answer(&mut kept, "\r\n\r\nok\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
    for stream in [&mut slow, &mut silent, &mut kept] {
        assert_eq!(rest(stream).await, "");
    }
    served.serves_others().await;
    served.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trickling_body_is_refused() {
    let served = Served::within(Limits { body: SOON, ..Limits::with_connections(100) }).await;
    let mut slow = served.say(&format!("{}{{", start("k", "", SALE.len()))).await;
    served.serves_others().await;
    let refused = rest(&mut slow).await;
    assert!(refused.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{refused}");
    assert!(refused.contains("content-type: application/problem+json\r\n"), "{refused}");
    assert!(refused.contains("/problems/slow-body"), "{refused}");
    served.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_that_takes_nothing_is_cut() {
    let served = Served::within(Limits { write: SOON, ..Limits::with_connections(100) }).await;
    let heavy = SALE.replace("1 Harbour", &"x".repeat(200_000));
    for key in 0..4 {
        assert_eq!(served.fixture.start(&format!("k{key}"), heavy.clone()).await.status, 202);
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut reader = in_time(socket.connect(served.address)).await.unwrap();
    // More than the system buffers for a connection: some eighty megabytes.
    let asked = "GET /v1/sagas?include=input HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
    reader.write_all(asked.as_bytes()).await.unwrap();
    // Nothing is read, and yet the end is felt: the connection is reset.
    in_time(reader.ready(Interest::ERROR)).await.unwrap();
    served.serves_others().await;
    served.ends().await;
}

/// Several requests on one connection; and a shutdown closes it and one with a header that is never finished.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order_until_shutdown() {
    let served = Served::within(Limits::with_connections(100)).await;
    let one = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let other = "GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut kept = served.say(&format!("{one}{other}{}{SALE}{one}", start("k", "", SALE.len()))).await;
    let (mut answers, mut lines) = (Vec::new(), String::new());
    while answers.len() < 4 {
        let mut bytes = vec![0; 4_096];
        let read = in_time(kept.read(&mut bytes)).await.unwrap();
        lines.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        answers = lines.matches("HTTP/1.1 ").collect();
    }
    let statuses: Vec<&str> = lines.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "404", "202", "200"]);
    // A header that is never finished does not keep the program either.
    let mut half = served.say("GET /livez HTTP/1.1\r\nhost: local").await;
    served.serves_others().await;
    served.ends().await;
    assert_eq!(
        (rest(&mut kept).await.replace("ok\n", ""), rest(&mut half).await),
        (String::new(), String::new())
    );
}
