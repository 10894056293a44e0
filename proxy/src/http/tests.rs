//! Raw sockets against the real server: what is not well-formed gets 400 and the end of the connection,
//! and nothing ever hangs.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{Answer, Handler, Received, RetryHint, Server};
use crate::config::HttpConfig;

/// Answers with the body's length; panics or waits when asked to.
#[derive(Default)]
struct Echo {
    handled: AtomicUsize,
    /// Of handlers that wait for somebody's word.
    polls: AtomicUsize,
}

impl Handler for Echo {
    async fn handle(&self, request: Received) -> Answer {
        self.handled.fetch_add(1, Ordering::Relaxed);
        match &request.body[..] {
            b"panic" => panic!("asked to"),
            b"wait" => std::future::pending().await,
            b"slow" => tokio::time::sleep(Duration::from_millis(100)).await,
            b"told" => self.told().await,
            _ => {}
        }
        let throttled = match &request.body[..] {
            b"throttled" => Some(RetryHint { after: Some(Duration::from_micros(2_500)) }),
            b"never" => Some(RetryHint { after: None }),
            _ => None,
        };
        let status = if throttled.is_some() { 400 } else { 200 };
        Answer { status, body: Bytes::from(request.body.len().to_string()), throttled }
    }
}

impl Echo {
    /// Waits for another task, and counts how often it is looked whether that has spoken.
    async fn told(&self) {
        let (say, mut said) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            // Whoever has been woken by then has its turn first.
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            say.send(())
        });
        let hear = |context: &mut Context<'_>| {
            self.polls.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut said).poll(context)
        };
        poll_fn(hear).await.unwrap();
    }
}

struct Running {
    address: std::net::SocketAddr,
    echo: Arc<Echo>,
    shutdown: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

async fn start(config: HttpConfig) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (echo, shutdown) = (Arc::new(Echo::default()), CancellationToken::new());
    let server = Server::new(Arc::clone(&echo), config, "test-1".into(), 7);
    let served = tokio::spawn(server.serve(listener, shutdown.clone()));
    Running { address, echo, shutdown, served }
}

/// Deadlines short enough to wait for.
fn hasty() -> HttpConfig {
    HttpConfig {
        head_deadline_ms: 200,
        body_deadline_ms: 300,
        idle_deadline_ms: 600,
        drain_deadline_ms: 200,
        ..HttpConfig::default()
    }
}

impl Running {
    /// Sends `bytes` and returns all that comes until the server closes; panics if it never does.
    async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may refuse, and close, before all is sent.
        let _ = stream.write_all(bytes).await;
        read_all(&mut stream).await
    }

    fn handled(&self) -> usize {
        self.echo.handled.load(Ordering::Relaxed)
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("the server hangs").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-amz-json-1.0\r\n\
         Content-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test]
async fn an_answer_carries_dynamodbs_headers() {
    let server = start(hasty()).await;
    let answer = server.send(&post("Connection: close\r\n", "{}")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "2");
    for header in [
        "server: Server",
        "content-type: application/x-amz-json-1.0",
        "content-length: 1",
        &format!("x-amz-crc32: {}", crc32fast::hash(b"2")),
    ] {
        assert!(head.contains(header), "{header} is not in {head}");
    }
    let id = head.lines().find_map(|line| line.strip_prefix("x-amzn-requestid: ")).unwrap();
    assert_eq!(id.len(), 52);
    assert!(head.contains("date: "));
}

#[tokio::test]
async fn a_throttled_answer_says_when_to_come_back_and_how_to_ask_why() {
    let server = start(hasty()).await;
    let answer = server.send(&post("Connection: close\r\n", "throttled")).await;
    let header = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    assert_eq!(header("retry-after: ").as_deref(), Some("1"), "whole seconds, rounded up");
    assert_eq!(header("x-weir-retry-after-ms: ").as_deref(), Some("3"));
    assert_eq!(header("x-weir-explain: "), header("x-amzn-requestid: "));
    assert!(header("x-weir-explain: ").is_some());

    let never = server.send(&post("Connection: close\r\n", "never")).await;
    assert!(never.contains("x-weir-explain: ") && !never.contains("retry-after"), "{never}");
    let admitted = server.send(&post("Connection: close\r\n", "{}")).await;
    assert!(!admitted.contains("x-weir-"), "{admitted}");
}

#[tokio::test]
async fn health_is_told_to_whoever_asks() {
    let server = start(hasty()).await;
    let answer = server.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("200 OK") && answer.ends_with("healthy: dynamodb.test-1.amazonaws.com "));
    let answer = server.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("200 OK") && answer.ends_with("\r\n\r\n"));
}

#[tokio::test]
async fn what_is_no_operation_is_not_handled() {
    let server = start(hasty()).await;
    for head in ["GET /x", "PUT /", "DELETE /", "POST /x", "POST /?a=b", "GET /?a=b"] {
        let request = format!("{head} HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = server.send(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{head}: {answer}");
    }
    let untyped = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
    assert!(server.send(untyped).await.starts_with("HTTP/1.1 404 "));
    assert_eq!(server.handled(), 0);
}

#[tokio::test]
async fn malformed_requests_are_answered_400_and_end_the_connection() {
    let server = start(hasty()).await;
    let host = "POST / HTTP/1.1\r\nHost: a\r\n";
    let long = format!("{host}X: {}\r\n\r\n", "a".repeat(200_000));
    let many = format!("{host}{}\r\n", "X: a\r\n".repeat(3000));
    for request in [
        "GARBAGE\r\n\r\n",
        "\0\u{1}\u{2}\u{3}\r\n\r\n",
        "\n\n\n\n",
        "POST / HTTP/9.9\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n",
        "POST http://other/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        &format!("{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        &format!("{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        &format!("{host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        &format!("{host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        &format!("{host}Content-Length: nine\r\n\r\n"),
        &format!("{host}Content-Length: -1\r\n\r\n"),
        &format!("{host}Content-Length : 5\r\n\r\nhello"),
        &format!("{host}Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
        &format!("{host} folded: a\r\n\r\n"),
        &format!("{host}a b: c\r\n\r\n"),
        &format!("{host}X: a\0b\r\n\r\n"),
        &long,
        &many,
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ] {
        let answer = server.send(request.as_bytes()).await;
        let shown = &request[..request.len().min(90)];
        assert!(answer.starts_with("HTTP/1.1 4"), "{shown:?}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{shown:?}: {answer:?}");
    }
    assert_eq!(server.handled(), 0);
}

#[tokio::test]
async fn what_follows_a_framing_error_is_never_read_as_a_request() {
    let server = start(hasty()).await;
    let mut smuggled = post("", "{}");
    smuggled.extend_from_slice(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    smuggled.extend_from_slice(&post("", "{}"));
    let answer = server.send(&smuggled).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1);
    assert_eq!(answer.matches("HTTP/1.1 400").count(), 1);
    assert_eq!(server.handled(), 1);
}

#[tokio::test]
async fn requests_may_follow_one_another_on_a_connection() {
    let server = start(hasty()).await;
    let mut requests = post("", "{}");
    requests.extend_from_slice(&post("", "{  }"));
    requests.extend_from_slice(&post("Connection: close\r\n", ""));
    let answer = server.send(&requests).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 3);
}

#[tokio::test]
async fn a_body_past_the_limit_is_refused_unread() {
    let config = HttpConfig { max_body_bytes: 1024, ..hasty() };
    let server = start(config).await;
    let answer = server.send(&post("", &"x".repeat(1_000_000))).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("RequestEntityTooLargeException"));
    assert_eq!(server.handled(), 0);
}

#[tokio::test]
async fn a_body_at_the_limit_arrives_whole() {
    let server = start(HttpConfig { max_body_bytes: 1_000_000, ..HttpConfig::default() }).await;
    let answer = server.send(&post("Connection: close\r\n", &"x".repeat(1_000_000))).await;
    assert!(answer.ends_with("\r\n\r\n1000000"), "{answer}");
}

#[tokio::test]
async fn slow_heads_slow_bodies_and_idle_connections_are_ended() {
    let server = start(hasty()).await;
    let slow_head = server.send(b"POST / HTTP/1.1\r\nHo").await;
    assert_eq!(slow_head, "");
    let slow_body = server.send(&post("", "{}")[..post("", "{}").len() - 1]).await;
    assert!(slow_body.starts_with("HTTP/1.1 408 "), "{slow_body}");
    assert_eq!(server.send(b"").await, "");
    assert_eq!(server.handled(), 0);
}

#[tokio::test]
async fn a_connection_in_use_outlives_the_idle_deadline() {
    let server = start(hasty()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let began = wire::clock::now();
    let mut answered = 0;
    // Each request arrives whole, so that the connection is always between two requests when it is looked at.
    let mut every = tokio::time::interval(Duration::from_millis(50));
    while wire::clock::now().since(began) < Duration::from_millis(hasty().idle_deadline_ms * 2) {
        every.tick().await;
        stream.write_all(&post("", "{}")).await.unwrap();
        let mut answer = [0; 4096];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 "), "after {answered} answers");
        answered += 1;
    }
    assert!(answered > 5, "{answered} answers");
}

#[tokio::test]
async fn a_trickled_head_does_not_outlive_its_deadline() {
    let server = start(hasty()).await;
    let (mut reader, mut writer) = TcpStream::connect(server.address).await.unwrap().into_split();
    let trickle = tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_millis(20));
        while writer.write_all(b"a").await.is_ok() {
            every.tick().await;
        }
    });
    let mut answer = Vec::new();
    let read = reader.read_to_end(&mut answer);
    let _ended = tokio::time::timeout(Duration::from_secs(5), read).await.expect("the server hangs");
    assert_eq!(answer, b"");
    drop(reader);
    trickle.await.unwrap();
}

#[tokio::test]
async fn a_request_is_polled_when_it_arrives_and_when_it_can_be_answered() {
    let server = start(hasty()).await;
    let answer = server.send(&post("Connection: close\r\n", "told")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(server.echo.polls.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_body_that_is_waited_for_is_asked_for() {
    let server = start(hasty()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = post("Expect: 100-continue\r\nConnection: close\r\n", "{}");
    let (head, body) = request.split_at(request.len() - 2);
    stream.write_all(head).await.unwrap();
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body).await.unwrap();
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let server = start(hasty()).await;
    let answer = server.send(&post("", "panic")).await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(server.send(&post("Connection: close\r\n", "{}")).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn who_waits_too_long_for_a_place_is_shed() {
    let config = HttpConfig { max_concurrent_requests: 1, queue_delay_target_ms: 20, ..hasty() };
    let server = start(config).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(&post("", "wait")).await.unwrap();
    while server.handled() == 0 {
        tokio::task::yield_now().await;
    }
    let answer = server.send(&post("", "{}")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(server.handled(), 1);
}

#[tokio::test]
async fn at_the_connection_limit_no_more_are_served_until_one_ends() {
    let server = start(HttpConfig { max_connections: 1, ..hasty() }).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(&post("Connection: close\r\n", "wait")).await.unwrap();
    while server.handled() == 0 {
        tokio::task::yield_now().await;
    }
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(&post("Connection: close\r\n", "{}")).await.unwrap();
    drop(first);
    assert!(read_all(&mut second).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn one_source_cannot_take_every_connection() {
    let server = start(HttpConfig { max_connections_per_source: 1, ..hasty() }).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(&post("Connection: close\r\n", "slow")).await.unwrap();
    while server.handled() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.send(&post("", "{}")).await, "");
    assert!(read_all(&mut first).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn shutdown_finishes_what_was_begun_and_abandons_what_never_ends() {
    let server = start(hasty()).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(&post("", "slow")).await.unwrap();
    let mut stuck = TcpStream::connect(server.address).await.unwrap();
    stuck.write_all(&post("", "wait")).await.unwrap();
    while server.handled() < 2 {
        tokio::task::yield_now().await;
    }
    server.shutdown.cancel();
    assert!(read_all(&mut slow).await.contains("200 OK"));
    assert_eq!(read_all(&mut stuck).await, "");
    tokio::time::timeout(Duration::from_secs(5), server.served).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn http2_is_served_in_cleartext() {
    let server = start(hasty()).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = |content_type: &str| {
        hyper::Request::post("http://a/")
            .header("content-type", content_type)
            .body(http_body_util::Full::new(Bytes::from_static(b"{}")))
            .unwrap()
    };
    let answer = client.send_request(request("application/x-amz-json-1.1")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/x-amz-json-1.1");
    let mut two_hosts = request("application/x-amz-json-1.0");
    two_hosts.headers_mut().insert("host", "b".parse().unwrap());
    assert_eq!(client.send_request(two_hosts).await.unwrap().status(), 400);
    drop(client);
    connection.abort();
}

/// More than the windows of a stream and of a connection: the sender must hear, again and again, that it may go on.
#[tokio::test]
async fn an_http2_upload_past_the_windows_is_answered_without_any_timers_help() {
    let hour = 3_600_000;
    let server =
        start(HttpConfig { head_deadline_ms: hour, idle_deadline_ms: hour, ..HttpConfig::default() }).await;
    let io = hyper_util::rt::TokioIo::new(TcpStream::connect(server.address).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::post("http://a/")
        .header("content-type", "application/x-amz-json-1.0")
        .body(http_body_util::Full::new(Bytes::from(vec![b'x'; 3_000_000])))
        .unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(8), client.send_request(request));
    let answer = answer.await.expect("the upload stalls").unwrap();
    assert_eq!(answer.status(), 200);
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    assert_eq!(&body[..], b"3000000");
    connection.abort();
}

#[tokio::test]
async fn mutated_bytes_never_hang_the_server_nor_break_it() {
    use futures_util::stream::{self, StreamExt};
    use rand::{Rng, SeedableRng};

    let server = start(hasty()).await;
    let valid = post("X-Amz-Target: DynamoDB_20120810.GetItem\r\nAccept: */*\r\n", "{\"TableName\":\"tab\"}");
    let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(20_221_122);
    let mutated: Vec<Vec<u8>> = (0..2000)
        .map(|_| {
            let mut bytes = valid.repeat(dice.random_range(1..3));
            for _ in 0..dice.random_range(1..4) {
                let at = dice.random_range(0..bytes.len());
                match dice.random_range(0..4) {
                    0 => bytes[at] = dice.random(),
                    1 => drop(bytes.drain(at..(at + dice.random_range(1..9)).min(bytes.len()))),
                    2 => drop(bytes.splice(at..at, *b"\r\n")),
                    _ => drop(bytes.splice(at..=at, bytes.clone()[at / 2..at].iter().copied())),
                }
            }
            bytes
        })
        .collect();
    let address = server.address;
    let answers = stream::iter(&mutated).map(|bytes| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        (bytes, read_all(&mut stream).await)
    });
    let mut refused = 0;
    let mut answers = std::pin::pin!(answers.buffer_unordered(32));
    while let Some((bytes, answer)) = answers.next().await {
        let shown = String::from_utf8_lossy(bytes);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 "), "{shown:?}: {answer}");
        assert!(!answer.contains("HTTP/1.1 5"), "{shown:?}: {answer}");
        refused += usize::from(answer.contains("HTTP/1.1 4"));
    }
    assert!(refused > 500, "{refused}");
    let answer = server.send(&post("Connection: close\r\n", "{}")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "));
}
