//! The transport against itself over loopback.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::framing::{Framed, Received};
use super::*;
use crate::method::{Method, Replicate};
use crate::proto::routing::{LookupAnswer, LookupEntry};
use crate::proto::transport::{Frame, Kind, Message};
use crate::{clock, proto};

const LONG: Duration = Duration::from_secs(20);

/// Answers a lookup of table `n` with a table of `n` bytes' decimal name; everything that arrives goes
/// through a channel first if `held`.
struct Echo {
    hold: bool,
    held: mpsc::UnboundedSender<(Incoming, Responder)>,
    notices: mpsc::UnboundedSender<(u32, Bytes)>,
    calls: AtomicUsize,
    answer_bytes: usize,
}

struct Fixture {
    address: String,
    held: mpsc::UnboundedReceiver<(Incoming, Responder)>,
    notices: mpsc::UnboundedReceiver<(u32, Bytes)>,
    service: Arc<Echo>,
    shutdown: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

impl Service for Echo {
    fn call(&self, request: Incoming, responder: Responder) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.hold {
            self.held.send((request, responder)).expect("the test listens");
            return;
        }
        let Ok(lookup) = request.decode::<Lookup>() else {
            return responder.fail(Failure::Malformed);
        };
        assert_ne!(lookup.table_name, "panic", "asked to");
        responder.answer::<Lookup>(&echo(&lookup, self.answer_bytes));
    }

    fn notice(&self, method: u32, payload: Bytes) {
        self.notices.send((method, payload)).expect("the test listens");
    }
}

/// A method of these tests: one lookup, echoed.
enum Lookup {}

impl Method for Lookup {
    const NUMBER: u32 = 10_000;
    const NAME: &'static str = "Lookup";
    type Request = LookupEntry;
    type Response = LookupAnswer;
}

fn echo(request: &LookupEntry, bytes: usize) -> LookupAnswer {
    let mut table = request.table.to_be_bytes().to_vec();
    table.resize(table.len() + bytes, 0);
    LookupAnswer { table: Some(table.into()), ..LookupAnswer::default() }
}

fn lookup(table: u64) -> LookupEntry {
    LookupEntry { table, ..LookupEntry::default() }
}

async fn listen(address: &str) -> TcpListener {
    TcpListener::bind(address).await.expect("loopback has ports")
}

async fn start(hold: bool) -> Fixture {
    start_on(listen("127.0.0.1:0").await, hold, 0, ServerLimits::default())
}

fn start_on(listener: TcpListener, hold: bool, answer_bytes: usize, limits: ServerLimits) -> Fixture {
    let address = listener.local_addr().expect("it is bound").to_string();
    let (held_sender, held) = mpsc::unbounded_channel();
    let (notice_sender, notices) = mpsc::unbounded_channel();
    let service = Arc::new(Echo {
        hold,
        held: held_sender,
        notices: notice_sender,
        calls: AtomicUsize::new(0),
        answer_bytes,
    });
    let shutdown = CancellationToken::new();
    let serving: Arc<dyn Service> = Arc::<Echo>::clone(&service);
    let server = tokio::spawn(serve_with(listener, serving, shutdown.clone(), limits));
    Fixture { address, held, notices, service, shutdown, server }
}

fn connect(fixture: &Fixture) -> Connection {
    Connection::open(&fixture.address, ConnectionConfig::named("test"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_concurrent_calls_share_a_stream_and_each_gets_its_own_answer() {
    let fixture = start(false).await;
    let connection = connect(&fixture);
    let tasks = (0..8_u64).map(|task| {
        let connection = connection.clone();
        tokio::spawn(async move {
            let calls = (0..500).map(|call| {
                let connection = &connection;
                async move {
                    let request = lookup(task * 1000 + call);
                    let answer = connection.call::<Lookup>(&request, LONG).await;
                    assert_eq!(answer, Ok(echo(&request, 0)));
                }
            });
            join_all(calls).await;
        })
    });
    for task in tasks {
        task.await.expect("every answer was right");
    }
    assert_eq!(fixture.service.calls.load(Ordering::SeqCst), 4000);
    assert_eq!(connection.in_flight(), 0);
}

#[tokio::test]
async fn a_detached_call_runs_its_callback_with_the_answer() {
    let fixture = start(false).await;
    let connection = connect(&fixture);
    let (sender, answer) = oneshot::channel();
    connection
        .call_detached::<Lookup>(&lookup(7), LONG, |answer| sender.send(answer).expect("the test waits"))
        .expect("there is room");
    assert_eq!(answer.await.expect("it ran"), Ok(echo(&lookup(7), 0)));
}

#[tokio::test]
async fn a_callback_that_panics_costs_only_its_own_call() {
    let fixture = start(false).await;
    let mut connection = connect(&fixture);
    connection.reconnected().await;
    connection
        .call_detached::<Lookup>(&lookup(7), LONG, |_answer| panic!("as the test wants"))
        .expect("there is room");
    assert_eq!(connection.call::<Lookup>(&lookup(8), LONG).await, Ok(echo(&lookup(8), 0)));
    assert!(connection.is_connected());
}

#[tokio::test]
async fn notices_arrive_in_order() {
    let mut fixture = start(false).await;
    let connection = connect(&fixture);
    for from_node in 0..100 {
        let envelope = proto::replication::Envelope { from_node, ..Default::default() };
        connection.notify::<Replicate>(&envelope).expect("there is room");
    }
    for from_node in 0..100 {
        let (method, payload) = fixture.notices.recv().await.expect("a hundred were sent");
        let envelope = proto::replication::Envelope::decode(payload).expect("as it was sent");
        assert_eq!((method, envelope.from_node), (<Replicate as crate::method::Notice>::NUMBER, from_node));
    }
}

#[tokio::test]
async fn calls_made_before_the_server_listens_wait_for_it() {
    let listener = listen("127.0.0.1:0").await;
    let address = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    let connection = Connection::open(&address, ConnectionConfig::named("test"));
    let request = lookup(1);
    let (answer, _fixture) = tokio::join!(connection.call::<Lookup>(&request, LONG), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        start_on(listen(&address).await, false, 0, ServerLimits::default())
    });
    assert_eq!(answer, Ok(echo(&lookup(1), 0)));
}

#[tokio::test]
async fn calls_to_a_server_that_never_listens_fail_as_not_sent() {
    let listener = listen("127.0.0.1:0").await;
    let address = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    let connection = Connection::open(&address, ConnectionConfig::named("test"));
    let soon = Duration::from_millis(30);
    assert_eq!(connection.call::<Lookup>(&lookup(1), soon).await, Err(CallError::NotConnected));
    let broken = Connection::open("not an address", ConnectionConfig::named("test"));
    assert_eq!(broken.call::<Lookup>(&lookup(1), LONG).await, Err(CallError::NotConnected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_fails_its_calls_at_once_and_is_found_again() {
    let mut fixture = start(true).await;
    let mut connection = connect(&fixture);
    connection.reconnected().await;
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.call::<Lookup>(&lookup(1), LONG).await }
    });
    let (_request, _responder) = fixture.held.recv().await.expect("the call arrives");
    fixture.server.abort();

    assert_eq!(call.await.expect("it ends"), Err(CallError::Disconnected));
    let while_down = connection.call::<Lookup>(&lookup(2), LONG).await;
    assert_eq!(while_down, Err(CallError::NotConnected));

    let _again = start_on(listen(&fixture.address).await, false, 0, ServerLimits::default());
    connection.reconnected().await;
    assert_eq!(connection.call::<Lookup>(&lookup(3), LONG).await, Ok(echo(&lookup(3), 0)));
}

#[tokio::test]
async fn calls_beyond_in_flight_are_refused_and_not_sent() {
    let mut fixture = start(true).await;
    let config = ConnectionConfig { in_flight: 3, ..ConnectionConfig::named("test") };
    let connection = Connection::open(&fixture.address, config);
    let calls: Vec<_> = (0..3)
        .map(|n| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.call::<Lookup>(&lookup(n), LONG).await })
        })
        .collect();
    let mut responders = Vec::new();
    for _ in 0..3 {
        responders.push(fixture.held.recv().await.expect("three fit"));
    }
    assert_eq!(connection.call::<Lookup>(&lookup(9), LONG).await, Err(CallError::QueueFull));
    for (request, responder) in responders {
        let request = request.decode::<Lookup>().expect("well-formed");
        responder.answer::<Lookup>(&echo(&request, 0));
    }
    for call in calls {
        assert!(call.await.expect("it ends").is_ok());
    }
    assert_eq!(fixture.service.calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_full_queue_refuses_before_anything_is_sent() {
    let listener = listen("127.0.0.1:0").await;
    let address = listener.local_addr().expect("it is bound").to_string();
    let config = ConnectionConfig { queue: 2, ..ConnectionConfig::named("test") };
    // Nobody accepts the stream yet, so everything stays queued.
    let connection = Connection::open(&address, config);
    let envelope = proto::replication::Envelope::default();
    assert_eq!(connection.notify::<Replicate>(&envelope), Ok(()));
    assert_eq!(connection.notify::<Replicate>(&envelope), Ok(()));
    assert_eq!(connection.notify::<Replicate>(&envelope), Err(CallError::QueueFull));
    assert_eq!(connection.call::<Lookup>(&lookup(1), LONG).await, Err(CallError::QueueFull));
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_the_server_learns_it() {
    let mut fixture = start(true).await;
    let mut connection = connect(&fixture);
    connection.reconnected().await;
    let started = clock::now();
    let answer = connection.call::<Lookup>(&lookup(1), Duration::from_millis(60)).await;
    assert_eq!(answer, Err(CallError::Timeout));
    assert!(clock::now().since(started) >= Duration::from_millis(60));
    let (request, responder) = fixture.held.recv().await.expect("it was sent");
    assert!(request.deadline <= Duration::from_millis(60));
    until(|| responder.is_cancelled()).await;
}

#[tokio::test]
async fn dropping_the_future_cancels_the_call_at_the_server() {
    let mut fixture = start(true).await;
    let connection = connect(&fixture);
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.call::<Lookup>(&lookup(1), LONG).await }
    });
    let (_request, responder) = fixture.held.recv().await.expect("it arrives");
    assert!(!responder.is_cancelled());
    call.abort();
    until(|| responder.is_cancelled()).await;
    // Its answer goes nowhere, and disturbs nobody.
    responder.answer::<Lookup>(&echo(&lookup(1), 0));
    assert_eq!(connection.in_flight(), 0);
}

#[tokio::test]
async fn failures_panics_and_dropped_responders_answer_one_call_each() {
    let fixture = start(false).await;
    let connection = connect(&fixture);
    let panicking = LookupEntry { table_name: "panic".to_owned(), ..LookupEntry::default() };
    let panicked = connection.call::<Lookup>(&panicking, LONG).await;
    assert_eq!(panicked, Err(CallError::Failed(Failure::Internal)));
    assert_eq!(connection.call::<Lookup>(&lookup(2), LONG).await, Ok(echo(&lookup(2), 0)));

    let mut holding = start(true).await;
    let connection = connect(&holding);
    let request = lookup(1);
    let call = connection.call::<Lookup>(&request, LONG);
    let (answer, ()) = tokio::join!(call, async {
        drop(holding.held.recv().await.expect("it arrives"));
    });
    assert_eq!(answer, Err(CallError::Failed(Failure::Internal)));
    let call = connection.call::<Lookup>(&request, LONG);
    let (answer, ()) = tokio::join!(call, async {
        let (_request, responder) = holding.held.recv().await.expect("it arrives");
        responder.fail(Failure::Overloaded);
    });
    assert_eq!(answer, Err(CallError::Failed(Failure::Overloaded)));
}

#[tokio::test]
async fn a_request_whose_deadline_has_passed_is_not_started() {
    let fixture = start(false).await;
    let (frames, mut answers) = raw_stream(&fixture.address).await;
    frames.send(frame([request(1, 0)])).await.expect("the stream is up");
    let answer = answers.message().await.expect("the stream holds").expect("it answers");
    assert_eq!(answer.messages[0].status, Failure::DeadlineExceeded as u32);
    assert_eq!(fixture.service.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_waited_on_the_way_beyond_its_deadline_is_answered_and_not_started() {
    const NOW_US: u64 = 3_600_000_000;
    let fixture = start(false).await;
    let (frames, mut answers) = raw_stream(&fixture.address).await;
    // The first tells how long a frame takes. The second was sent ten seconds before it, and has waited
    // for as long in a frozen server's buffers; of its two callers one is still there.
    frames.send(sent_at(NOW_US, [request(1, 1_000_000)])).await.expect("the stream is up");
    frames
        .send(sent_at(NOW_US - 10_000_000, [request(2, 1_000_000), request(3, 60_000_000)]))
        .await
        .expect("the stream is up");
    let mut statuses = Vec::new();
    while statuses.len() < 3 {
        let frame = answers.message().await.expect("the stream holds").expect("it answers");
        statuses.extend(frame.messages.iter().map(|message| (message.id, message.status)));
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [(1, 0), (2, Failure::DeadlineExceeded as u32), (3, 0)]);
    assert_eq!(fixture.service.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_server_that_answers_nothing_is_silent_until_it_answers() {
    let mut fixture = start(true).await;
    let mut connection = connect(&fixture);
    connection.reconnected().await;
    assert_eq!(connection.silent_for(clock::now()), None);
    let begun = clock::now();
    let short = Duration::from_millis(40);
    // The server holds both: the first times out, the second still waits.
    assert_eq!(connection.call::<Lookup>(&lookup(1), short).await, Err(CallError::Timeout));
    let second = tokio::spawn({
        let connection = connection.clone();
        async move { connection.call::<Lookup>(&lookup(2), LONG).await }
    });
    let _first = fixture.held.recv().await.expect("it was sent");
    let (_request, responder) = fixture.held.recv().await.expect("it was sent");
    let silent = connection.silent_for(clock::now()).expect("two are unanswered");
    assert!(silent >= short && silent <= clock::now().since(begun), "{silent:?}");
    responder.answer::<Lookup>(&LookupAnswer::default());
    assert!(second.await.expect("it ends").is_ok());
    assert_eq!(connection.silent_for(clock::now()), None);
}

#[tokio::test]
async fn calls_that_are_given_up_make_no_server_silent() {
    let mut fixture = start(true).await;
    let mut connection = connect(&fixture);
    connection.reconnected().await;
    for number in 0..20 {
        let request = lookup(number);
        let mut call = Box::pin(connection.call::<Lookup>(&request, LONG));
        assert!(futures_util::poll!(call.as_mut()).is_pending());
        let _held = fixture.held.recv().await.expect("it was sent");
        assert!(connection.silent_for(clock::now()).is_some(), "while it waits");
        drop(call);
        assert_eq!(connection.silent_for(clock::now()), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_servers_callers_time_out_and_its_backlog_is_not_executed() {
    const CALLS: u64 = 200;
    let fixture = start(false).await;
    let (address, thawed) = freezable(fixture.address.clone()).await;
    let config = ConnectionConfig { queue: 64, in_flight: 96, ..ConnectionConfig::named("test") };
    let mut connection = Connection::open(&address, config);
    connection.reconnected().await;
    for _ in 0..10 {
        assert!(connection.call::<Lookup>(&lookup(0), LONG).await.is_ok());
    }

    thawed.send_replace(false);
    let deadline = Duration::from_millis(50);
    let calls = (1..=CALLS).map(|call| {
        let connection = &connection;
        async move { connection.call::<Lookup>(&lookup(call), deadline).await }
    });
    let ends = join_all(calls).await;
    let timed_out = ends.iter().filter(|end| **end == Err(CallError::Timeout)).count();
    let refused = ends.iter().filter(|end| **end == Err(CallError::QueueFull)).count();
    assert_eq!((timed_out <= 96, timed_out + refused), (true, ends.len()), "its bounds hold");
    assert!(connection.silent_for(clock::now()).is_some_and(|silent| silent >= deadline));
    // The backlog is old beyond doubt: a frozen server's time passes, nothing is waited for.
    tokio::time::sleep(deadline).await;
    assert_eq!(connection.in_flight(), 0);

    thawed.send_replace(true);
    assert_eq!(connection.call::<Lookup>(&lookup(7), LONG).await, Ok(echo(&lookup(7), 0)));
    assert_eq!(fixture.service.calls.load(Ordering::SeqCst), 11, "nothing of the backlog ran");
    assert_eq!(connection.silent_for(clock::now()), None);
}

#[tokio::test]
async fn an_undecodable_stream_costs_only_itself() {
    let fixture = start(false).await;
    let connection = connect(&fixture);
    assert!(connection.call::<Lookup>(&lookup(1), LONG).await.is_ok());
    let mut garbage = TcpStream::connect(&fixture.address).await.expect("it listens");
    garbage.write_all(&[0xff; 4096]).await.expect("sent");
    drop(garbage);
    assert!(connection.call::<Lookup>(&lookup(2), LONG).await.is_ok());
}

#[tokio::test]
async fn strangers_that_say_nothing_hold_only_so_many_places() {
    let fixture = start(false).await;
    let mut silent = Vec::new();
    for _ in 0..server::MAX_UNMET {
        silent.push(TcpStream::connect(&fixture.address).await.expect("it listens"));
    }
    let connection = connect(&fixture);
    let soon = Duration::from_millis(50);
    assert_eq!(connection.call::<Lookup>(&lookup(1), soon).await, Err(CallError::NotConnected));
    drop(silent.pop());
    assert_eq!(connection.call::<Lookup>(&lookup(2), LONG).await, Ok(echo(&lookup(2), 0)));
}

#[tokio::test]
async fn a_refused_clients_calls_were_certainly_not_executed() {
    let listener = listen("127.0.0.1:0").await;
    let address = listener.local_addr().expect("it is bound").to_string();
    let (held, _held) = mpsc::unbounded_channel();
    let (notices, _notices) = mpsc::unbounded_channel();
    let service = Echo { hold: false, held, notices, calls: AtomicUsize::new(0), answer_bytes: 0 };
    let acceptor = server::Acceptor::new(Arc::new(service), ServerLimits::default());
    acceptor.stop();
    let refusing = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let framed = Framed::meet_client(socket).await.expect("it is one of ours");
            assert!(acceptor.welcome(framed).is_none(), "it is stopping");
        }
    });
    let connection = Connection::open(&address, ConnectionConfig::named("test"));
    let soon = Duration::from_millis(200);
    assert_eq!(connection.call::<Lookup>(&lookup(1), soon).await, Err(CallError::NotConnected));
    assert!(!connection.is_connected());
    refusing.abort();
}

#[tokio::test]
async fn a_client_that_reads_no_answers_is_read_no_further() {
    const ANSWER: usize = 64 * 1024;
    const SENT: u64 = 2000;
    let limits = ServerLimits { queued_bytes: 1024 * 1024, ..ServerLimits::default() };
    // Little is buffered by the system, so that what is held is the server's own.
    let listening = small_socket();
    listening.bind("127.0.0.1:0".parse().expect("an address")).expect("loopback has ports");
    let listener = listening.listen(1).expect("it is bound");
    let fixture = start_on(listener, false, ANSWER, limits);
    let address = fixture.address.parse().expect("an address");
    let socket = small_socket().connect(address).await.expect("it listens");
    let (frames, mut answers) = raw_stream_on(socket).await;
    let feeding = tokio::spawn(async move {
        for id in 1..=SENT {
            frames.send(frame([request(id, 60_000_000)])).await.expect("the stream is up");
        }
        frames
    });
    // The queue of 1 MiB is sixteen answers; two more wait for the socket, and a few are with the system. 128 MB
    // of answers were asked for.
    let held = settled(|| fixture.service.calls.load(Ordering::SeqCst)).await;
    assert!(held < 40, "{held} answers of 64 KiB are held for a client that does not read");
    let mut received = 0;
    while received < SENT {
        let frame = answers.message().await.expect("the stream holds").expect("more are due");
        received += frame.messages.len() as u64;
    }
    drop(feeding.await.expect("all were sent"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_answers_what_is_in_flight_and_takes_nothing_new() {
    let mut fixture = start(true).await;
    let mut connection = connect(&fixture);
    connection.reconnected().await;
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.call::<Lookup>(&lookup(1), LONG).await }
    });
    let (_request, responder) = fixture.held.recv().await.expect("it arrives");
    fixture.shutdown.cancel();
    until(|| !connection.is_connected()).await;
    assert_eq!(connection.call::<Lookup>(&lookup(2), LONG).await, Err(CallError::NotConnected));
    responder.answer::<Lookup>(&echo(&lookup(1), 0));
    assert_eq!(call.await.expect("it ends"), Ok(echo(&lookup(1), 0)));
    fixture.server.await.expect("it ends").expect("without an error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_waits_for_unanswered_calls_only_so_long() {
    let limits = ServerLimits { drain: Duration::from_millis(100), ..ServerLimits::default() };
    let mut fixture = start_on(listen("127.0.0.1:0").await, true, 0, limits);
    let connection = connect(&fixture);
    let call = tokio::spawn({
        let connection = connection.clone();
        async move { connection.call::<Lookup>(&lookup(1), LONG).await }
    });
    let (_request, responder) = fixture.held.recv().await.expect("it arrives");
    fixture.shutdown.cancel();
    assert_eq!(call.await.expect("it ends"), Err(CallError::Disconnected));
    fixture.server.await.expect("it ends").expect("without an error");
    assert!(responder.is_cancelled());
}

#[tokio::test]
async fn an_idle_server_stops_at_once() {
    let fixture = start(false).await;
    let mut connection = connect(&fixture);
    connection.reconnected().await;
    let started = clock::now();
    fixture.shutdown.cancel();
    fixture.server.await.expect("it ends").expect("without an error");
    assert!(clock::now().since(started) < Duration::from_secs(3));
}

#[tokio::test]
async fn the_last_handles_drop_closes_the_stream() {
    let mut fixture = start(true).await;
    let connection = connect(&fixture);
    let answered = Arc::new(AtomicBool::new(false));
    connection
        .call_detached::<Lookup>(&lookup(1), LONG, {
            let answered = Arc::clone(&answered);
            move |answer| answered.store(answer == Err(CallError::Disconnected), Ordering::SeqCst)
        })
        .expect("there is room");
    let (_request, responder) = fixture.held.recv().await.expect("it arrives");
    drop(connection);
    until(|| answered.load(Ordering::SeqCst) && responder.is_cancelled()).await;
}

#[tokio::test]
async fn payloads_up_to_the_bound_pass_and_larger_ones_are_refused() {
    let fixture = start(false).await;
    let connection = connect(&fixture);
    let with_key = |bytes| LookupEntry { key: Some(vec![7; bytes].into()), ..lookup(1) };
    assert!(connection.call::<Lookup>(&with_key(MAX_PAYLOAD_BYTES - 64), LONG).await.is_ok());
    let refused = connection.call::<Lookup>(&with_key(MAX_PAYLOAD_BYTES), LONG).await;
    assert_eq!(refused, Err(CallError::Failed(Failure::Malformed)));
}

fn request(id: u64, deadline_us: u64) -> Message {
    let payload = lookup(id).encode_to_vec().into();
    Message { id, kind: Kind::Request.into(), method: 10, status: 0, deadline_us, payload }
}

fn frame<const N: usize>(messages: [Message; N]) -> Frame {
    sent_at(0, messages)
}

fn sent_at<const N: usize>(sent_us: u64, messages: [Message; N]) -> Frame {
    Frame { messages: messages.to_vec(), sent_us }
}

/// A client's stream by hand: frames to send, and those that arrive.
async fn raw_stream(address: &str) -> (RawStream, RawStream) {
    raw_stream_on(TcpStream::connect(address).await.expect("it listens")).await
}

/// A socket for which the system buffers next to nothing; so do those that it accepts.
fn small_socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("sockets are left");
    socket.set_send_buffer_size(16 * 1024).expect("a TCP socket");
    socket.set_recv_buffer_size(16 * 1024).expect("a TCP socket");
    socket
}

async fn raw_stream_on(socket: TcpStream) -> (RawStream, RawStream) {
    let framed = Framed::meet_server(socket).await.expect("it accepts");
    let framed = Arc::new(parking_lot::Mutex::new(framed));
    (RawStream(Arc::clone(&framed)), RawStream(framed))
}

struct RawStream(Arc<parking_lot::Mutex<Framed<TcpStream>>>);

impl RawStream {
    async fn send(&self, frame: Frame) -> Result<(), framing::StreamError> {
        self.0.lock().put(&frame);
        poll_fn(|context| self.0.lock().poll_flush(context)).await
    }

    async fn message(&mut self) -> Result<Option<Frame>, framing::StreamError> {
        loop {
            match poll_fn(|context| self.0.lock().poll_receive(context)).await? {
                Some(Received::Frame(frame)) => return Ok(Some(frame)),
                Some(Received::Ping) => {}
                None => return Ok(None),
            }
        }
    }
}

/// A relay to `address` that passes nothing on while it is frozen: what a stopped process looks like from
/// outside.
async fn freezable(address: String) -> (String, watch::Sender<bool>) {
    let listener = listen("127.0.0.1:0").await;
    let own = listener.local_addr().expect("it is bound").to_string();
    let (thawed, gate) = watch::channel(true);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&address).await.expect("the server listens");
            for socket in [&client, &server] {
                socket.set_nodelay(true).expect("a TCP socket");
            }
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(pass(from_client, to_server, gate.clone()));
            tokio::spawn(pass(from_server, to_client, gate.clone()));
        }
    });
    (own, thawed)
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut gate: watch::Receiver<bool>) {
    let mut some = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut some).await {
        let open = gate.wait_for(|thawed| *thawed).await.is_ok();
        if !open || to.write_all(&some[..read]).await.is_err() {
            return;
        }
    }
}

/// Waits for what is bound to come true; a hang is the test's failure.
async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("it comes true");
}

/// A count that has not moved for a while: only a count that wrongly moves on could mislead this, and
/// then the test's bound catches it.
async fn settled(count: impl Fn() -> usize) -> usize {
    let mut last = 0;
    let mut unchanged = 0;
    while unchanged < 20 || last == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now = count();
        unchanged = if now == last { unchanged + 1 } else { 0 };
        last = now;
    }
    last
}
