//! MemDS servers that are there and do not answer.

use tokio::task::JoinHandle;
use wire::transport::{Incoming, Responder, Service};

use super::*;

#[tokio::test]
async fn a_silent_server_costs_a_miss_nothing() {
    let stage = Stage::start().await;
    stage.first.knows(&table("orders", 1), &[route(1)]).await;
    let silent = Silent::start().await;
    let routing = stage.routing([silent.address.clone(), stage.first.address()]);
    let servers: Vec<_> = routing.inner.memds.iter().cloned().collect();
    until(|| servers[0].connection.is_connected()).await;

    for _ in 0..20 {
        let began = wire::clock::now();
        let (table, looked) = routing.table("orders", clue, DEADLINE).await.unwrap();
        routing.route(&table, &key(), looked, DEADLINE).await.unwrap();
        let took = wire::clock::now().since(began);
        assert!(took < DEADLINE, "{took:?}");
        let _flushed = routing.flush();
    }
    silent.stop().await;
    stage.stop(routing).await;
}

#[tokio::test]
async fn of_three_servers_a_silent_one_is_avoided() {
    let stage = Stage::start().await;
    let third = Memds::start().await;
    for server in [&stage.first, &third] {
        server.knows(&table("orders", 1), &[route(1)]).await;
    }
    let silent = Silent::start().await;
    let servers = vec![silent.address.clone(), stage.first.address(), third.address()];
    let routing = stage.routing_over(servers, 100);
    let table = known_table(&routing).await;

    // Hits, until some of theirs wait for too long at the silent one.
    eventually(async || {
        routing.route(&table, &key(), Looked::No, DEADLINE).await.unwrap();
        routing.inner.memds.gray() == 0b001
    })
    .await;

    let chosen: Vec<usize> = (0..640)
        .flat_map(|_| routing.inner.memds.next_two().map(|server| server.connection.address().to_owned()))
        .map(|address| usize::from(address == silent.address))
        .collect();
    assert_eq!((chosen.len(), chosen.iter().sum()), (1280, 10));
    third.shutdown.cancel();
    silent.stop().await;
    stage.stop(routing).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_gray() {
    let stage = Stage::start().await;
    let gone = unused_address().await;
    let routing = stage.routing([stage.first.address(), gone]);
    until(|| routing.inner.memds.gray() == 0b10).await;
    stage.stop(routing).await;
}

/// A server that takes requests and keeps them.
struct Silent {
    address: String,
    shutdown: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

#[derive(Default)]
struct Keeps(Mutex<Vec<Responder>>);

impl Service for Keeps {
    fn call(&self, _: Incoming, responder: Responder) {
        self.0.lock().push(responder);
    }
}

impl Silent {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shutdown = CancellationToken::new();
        let serving = wire::transport::serve(listener, Arc::new(Keeps::default()), shutdown.clone());
        Self { address, task: tokio::spawn(serving), shutdown }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.abort();
    }
}
