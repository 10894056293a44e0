//! Streams between tiers of one process: the same behaviour without sockets. A binary of its own, since it is the
//! whole process that connects so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::method::Method;
use wire::proto::routing::{LookupAnswer, LookupEntry};
use wire::transport::{
    CallError, Connection, ConnectionConfig, Failure, Incoming, Responder, ServerLimits, Service,
    connect_within_the_process, serve_with,
};

const LONG: Duration = Duration::from_secs(20);

enum Lookup {}

impl Method for Lookup {
    const NUMBER: u32 = 10_000;
    const NAME: &'static str = "Lookup";
    type Request = LookupEntry;
    type Response = LookupAnswer;
}

/// Answers even numbers at once; odd ones are held by the test.
struct Held {
    held: mpsc::UnboundedSender<Responder>,
    frames: AtomicUsize,
}

impl Service for Held {
    fn call(&self, request: Incoming, responder: Responder) {
        match request.decode::<Lookup>() {
            Ok(lookup) if lookup.table.is_multiple_of(2) => responder.answer::<Lookup>(&answer(lookup.table)),
            Ok(_) => self.held.send(responder).expect("the test listens"),
            Err(_) => responder.fail(Failure::Malformed),
        }
    }

    fn frame_ended(&self) {
        self.frames.fetch_add(1, Ordering::SeqCst);
    }
}

struct Server {
    service: Arc<Held>,
    held: mpsc::UnboundedReceiver<Responder>,
    shutdown: CancellationToken,
    running: JoinHandle<std::io::Result<()>>,
    connection: Connection,
}

async fn start(limits: ServerLimits) -> Server {
    connect_within_the_process();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = listener.local_addr().expect("it is bound").to_string();
    let (sender, held) = mpsc::unbounded_channel();
    let service = Arc::new(Held { held: sender, frames: AtomicUsize::new(0) });
    let shutdown = CancellationToken::new();
    let serving: Arc<dyn Service> = Arc::<Held>::clone(&service);
    let running = tokio::spawn(serve_with(listener, serving, shutdown.clone(), limits));
    // It is found once it runs.
    tokio::task::yield_now().await;
    let mut connection = Connection::open(&address, ConnectionConfig::named("test"));
    connection.reconnected().await;
    Server { service, held, shutdown, running, connection }
}

fn request(table: u64) -> LookupEntry {
    LookupEntry { table, ..LookupEntry::default() }
}

fn answer(table: u64) -> LookupAnswer {
    LookupAnswer { table: Some(table.to_be_bytes().to_vec().into()), ..LookupAnswer::default() }
}

#[tokio::test]
async fn calls_of_one_moment_share_a_frame_and_each_gets_its_own_answer() {
    let server = start(ServerLimits::default()).await;
    let connection = &server.connection;
    let calls = (0..100).map(|call| async move {
        let answered = connection.call::<Lookup>(&request(2 * call), LONG).await;
        assert_eq!(answered, Ok(answer(2 * call)));
    });
    join_all(calls).await;
    assert_eq!(server.service.frames.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn deadlines_and_cancellations_hold() {
    let mut server = start(ServerLimits::default()).await;
    let short = Duration::from_millis(30);
    assert_eq!(server.connection.call::<Lookup>(&request(1), short).await, Err(CallError::Timeout));
    let responder = server.held.recv().await.expect("it arrived");
    while !responder.is_cancelled() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_waits_beyond_the_servers_bound_is_not_started() {
    let mut server = start(ServerLimits { outstanding: 2, ..ServerLimits::default() }).await;
    let connection = server.connection.clone();
    let first = tokio::spawn(async move {
        let calls = [1, 3].map(|table| {
            let connection = connection.clone();
            async move { connection.call::<Lookup>(&request(table), LONG).await }
        });
        join_all(calls).await
    });
    let held = [server.held.recv().await, server.held.recv().await];
    let connection = server.connection.clone();
    let mut third = tokio::spawn(async move { connection.call::<Lookup>(&request(4), LONG).await });
    let waited = tokio::time::timeout(Duration::from_millis(30), &mut third).await;
    assert!(waited.is_err(), "there is no room for it");
    for responder in held.into_iter().flatten() {
        responder.answer::<Lookup>(&answer(1));
    }
    assert_eq!(third.await.expect("it ends"), Ok(answer(4)));
    assert!(first.await.expect("they end").into_iter().all(|answered| answered.is_ok()));
}

#[tokio::test]
async fn a_stopping_server_answers_what_is_in_flight_and_takes_nothing_new() {
    let mut server = start(ServerLimits::default()).await;
    let connection = server.connection.clone();
    let call = tokio::spawn(async move { connection.call::<Lookup>(&request(1), LONG).await });
    let responder = server.held.recv().await.expect("it arrived");
    server.shutdown.cancel();
    while server.connection.is_connected() {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.connection.call::<Lookup>(&request(2), LONG).await, Err(CallError::NotConnected));
    responder.answer::<Lookup>(&answer(1));
    assert_eq!(call.await.expect("it ends"), Ok(answer(1)));
    server.running.await.expect("it ends").expect("without an error");
}

#[tokio::test]
async fn a_server_that_is_dropped_ends_its_calls_at_once() {
    let mut server = start(ServerLimits::default()).await;
    let connection = server.connection.clone();
    let call = tokio::spawn(async move { connection.call::<Lookup>(&request(1), LONG).await });
    let responder = server.held.recv().await.expect("it arrived");
    server.running.abort();
    assert_eq!(call.await.expect("it ends"), Err(CallError::Disconnected));
    assert!(responder.is_cancelled());
}
