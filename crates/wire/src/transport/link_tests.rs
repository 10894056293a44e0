//! Streams on a pipe in memory, with the time that passes made up: who is taken for gone, and who is not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::calls::{Answer, Waiter};
use super::client::{Client, Start};
use super::client_link::ClientLink;
use super::framing::{Framed, PREFACE, StreamError};
use super::server::{Acceptor, MAX_STREAMS};
use super::*;

/// What the pipe holds in one direction.
const PIPE: usize = 1024;
/// Longer than anybody is allowed to be silent.
const LONGER: Duration = Duration::from_secs(30);

/// Answers after a while, with so many bytes.
struct Slow {
    after: Duration,
    bytes: usize,
}

impl Service for Slow {
    fn call(&self, _request: Incoming, responder: Responder) {
        let (after, bytes) = (self.after, self.bytes);
        tokio::spawn(async move {
            sleep(after).await;
            responder.answer_encoded(vec![0; bytes].into());
        });
    }
}

type Link = JoinHandle<Result<(), StreamError>>;

fn acceptor(after: Duration, bytes: usize, limits: ServerLimits) -> Arc<Acceptor> {
    Arc::new(Acceptor::new(Arc::new(Slow { after, bytes }), limits))
}

fn serve_pipe(acceptor: &Arc<Acceptor>, pipe: DuplexStream) -> Link {
    let acceptor = Arc::clone(acceptor);
    tokio::spawn(async move {
        let framed = Framed::meet_client(pipe).await?;
        acceptor.welcome(framed).expect("it is accepted").await
    })
}

async fn client_of(pipe: DuplexStream) -> (Arc<Client>, Link) {
    let (client, _streams) = Client::new("a pipe", ConnectionConfig::named("test"));
    let framed = Framed::meet_server(pipe).await.expect("it is accepted");
    client.came_up();
    let link = tokio::spawn({
        let client = Arc::clone(&client);
        async move {
            let ended = ClientLink::new(Arc::clone(&client), framed).await;
            client.disconnect();
            ended
        }
    });
    (client, link)
}

fn call(client: &Client, bytes: usize) -> oneshot::Receiver<Answer> {
    let (sender, answer) = oneshot::channel();
    let waiter = Waiter::Detached(Box::new(move |answer| drop(sender.send(answer))));
    let start = Start { method: 1, payload: vec![0; bytes].into(), deadline: Duration::from_secs(600) };
    client.start(start, waiter).expect("there is room");
    answer
}

/// A server by hand, that has accepted.
async fn accepted() -> (DuplexStream, Arc<Client>, Link) {
    let (ours, mut theirs) = duplex(PIPE);
    theirs.write_all(&PREFACE).await.expect("the pipe holds");
    let (client, link) = client_of(ours).await;
    theirs.read_exact(&mut [0; PREFACE.len()]).await.expect("the client's preface");
    (theirs, client, link)
}

/// A client by hand, that was accepted.
async fn connected(acceptor: &Arc<Acceptor>) -> (DuplexStream, Link) {
    let (mut ours, theirs) = duplex(PIPE);
    let link = serve_pipe(acceptor, theirs);
    ours.write_all(&PREFACE).await.expect("the pipe holds");
    ours.read_exact(&mut [0; PREFACE.len()]).await.expect("the server's preface");
    (ours, link)
}

#[expect(clippy::disallowed_methods, reason = "the test's paused clock, which no other call reads")]
async fn assert_found_silent(link: Link) {
    let begun = Instant::now();
    let ended = timeout(LONGER, link).await.expect("it is found").expect("no panic");
    assert!(matches!(ended, Err(StreamError::Silent)), "{ended:?}");
    let seconds = begun.elapsed().as_secs_f64();
    assert!((7.9..=10.1).contains(&seconds), "after {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn a_frozen_server_is_found_whether_it_is_sent_anything_or_not() {
    for bytes in [0, 10, 10 * PIPE] {
        let (_server, client, link) = accepted().await;
        let answer = (bytes > 0).then(|| call(&client, bytes));
        assert_found_silent(link).await;
        if let Some(answer) = answer {
            assert_eq!(answer.await, Ok(Err(CallError::Disconnected)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_frozen_client_is_found_also_when_it_does_not_take_its_answers() {
    let idle = acceptor(Duration::ZERO, 0, ServerLimits::default());
    let (_client, link) = connected(&idle).await;
    assert_found_silent(link).await;

    let limits = ServerLimits { queued_bytes: PIPE, ..ServerLimits::default() };
    let busy = acceptor(Duration::ZERO, 200 * PIPE, limits);
    let (ours, theirs) = duplex(PIPE);
    let link = serve_pipe(&busy, theirs);
    // Encoded by one of ours, which from then on reads nothing.
    let mut framed = Framed::meet_server(ours).await.expect("it is accepted");
    let kind = crate::proto::transport::Kind::Request.into();
    for id in 1..=3 {
        let message =
            crate::proto::transport::Message { id, kind, deadline_us: 60_000_000, ..Default::default() };
        framed.put(&crate::proto::transport::Frame { messages: vec![message], sent_us: 0 });
    }
    std::future::poll_fn(|context| framed.poll_flush(context)).await.expect("the pipe holds");
    assert_found_silent(link).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_frame_that_comes_slowly_is_a_sign_of_life() {
    const LARGE: u32 = 1_000_000;
    let slow_server = async {
        let (mut server, _client, link) = accepted().await;
        trickle(&mut server, LARGE).await;
        assert!(!link.is_finished(), "the client waits for the rest");
    };
    let slow_client = async {
        let acceptor = acceptor(Duration::ZERO, 0, ServerLimits::default());
        let (mut client, link) = connected(&acceptor).await;
        trickle(&mut client, LARGE).await;
        assert!(!link.is_finished(), "the server waits for the rest");
    };
    tokio::join!(slow_server, slow_client);
}

/// A frame's length and its first bytes, one each second.
async fn trickle(pipe: &mut DuplexStream, length: u32) {
    pipe.write_all(&length.to_le_bytes()).await.expect("the pipe holds");
    for _ in 0..LONGER.as_secs() {
        sleep(Duration::from_secs(1)).await;
        pipe.write_all(&[0]).await.expect("the stream is up");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_reads_a_large_frame_slowly_lives() {
    let (mut server, client, link) = accepted().await;
    let _answer = call(&client, 100 * PIPE);
    for _ in 0..LONGER.as_secs() {
        sleep(Duration::from_secs(1)).await;
        server.read_exact(&mut [0; PIPE]).await.expect("the stream is up");
    }
    assert!(!link.is_finished(), "the client sends the rest");
}

#[tokio::test(start_paused = true)]
async fn a_server_at_its_bounds_is_not_taken_for_gone_nor_its_client() {
    let limits = ServerLimits { outstanding: 1, ..ServerLimits::default() };
    let acceptor = acceptor(LONGER, 0, limits);
    let (ours, theirs) = duplex(PIPE);
    let serving = serve_pipe(&acceptor, theirs);
    let (client, _link) = client_of(ours).await;
    let first = call(&client, 0);
    sleep(Duration::from_secs(1)).await;
    // It is not read before the first is answered.
    let second = call(&client, 0);
    for answer in [first, second] {
        assert_eq!(answer.await, Ok(Ok(Bytes::new())));
    }
    assert!(!serving.is_finished());
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_when_the_server_stops_is_answered_however_long_it_takes() {
    for after in [Duration::from_millis(3500), LONGER] {
        let acceptor = acceptor(after, 0, ServerLimits::default());
        let (ours, theirs) = duplex(PIPE);
        let serving = serve_pipe(&acceptor, theirs);
        let (client, link) = client_of(ours).await;
        let answer = call(&client, 0);
        sleep(Duration::from_millis(300)).await;
        acceptor.stop();
        assert_eq!(answer.await, Ok(Ok(Bytes::new())));
        assert!(serving.await.expect("no panic").is_ok());
        assert!(link.await.expect("no panic").is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_pings_is_answered_by_few() {
    let acceptor = acceptor(Duration::ZERO, 0, ServerLimits::default());
    let (mut client, _link) = connected(&acceptor).await;
    // A quarter of a million, and nothing is read meanwhile.
    client.write_all(&vec![0; 1024 * 1024]).await.expect("the stream is up");
    let mut answered = 0;
    let mut some = [0; PIPE];
    while let Ok(Ok(read @ 1..)) = timeout(Duration::from_secs(1), client.read(&mut some)).await {
        answered += read;
    }
    assert!((4..=2 * PIPE).contains(&answered), "{answered} bytes of answers");
}

#[test]
fn streams_that_come_and_go_near_the_bound_are_not_refused() {
    const LIVE: usize = MAX_STREAMS * 2 / 3;
    let acceptor = acceptor(Duration::ZERO, 0, ServerLimits::default());
    let mut live: Vec<_> = (0..LIVE).map(|_| acceptor.accept().expect("there is room")).collect();
    for _ in 0..MAX_STREAMS {
        assert!(acceptor.accept().is_some(), "{LIVE} are open");
    }
    live.extend((LIVE..MAX_STREAMS).map(|_| acceptor.accept().expect("there is room")));
    assert!(acceptor.accept().is_none(), "now it is full");
    live.pop();
    assert!(acceptor.accept().is_some(), "one has gone");
}
