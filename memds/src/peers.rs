//! The other servers: this one fills itself from one of them when it starts, and compares what it holds with
//! one after the other, for good.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use routing::{Answer, Comparison, Question, Route};
use tokio_util::sync::CancellationToken;
use units::TableId;
use wire::clock;
use wire::method::{Compare, FetchCatalog, PushRoutes};
use wire::proto::routing as proto;
use wire::transport::{CallError, Connection, ConnectionConfig, Failure};

use crate::peer::{Peer, Round};
use crate::service::MemdsService;

/// How long one message to a peer may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// Questions in one message: about 10 KB, and some milliseconds of the peer's time at most.
const QUESTIONS: usize = 64;
/// Entries that one message's answers should have: about 250 KB. A question may be answered with up to two
/// thousand; so where answers are that large, the next message asks less.
const ENTRIES: usize = 4_000;
/// Routes that are offered to a peer in one message: about 100 KB.
const OFFERED: usize = 2_000;
/// Messages of one round at most: far more than two maps of ten million entries can need.
const MAX_MESSAGES: usize = 1_000_000;
/// How long a server that starts looks for a peer that can fill it before it waits for pushes alone.
const FILL_WITHIN: Duration = Duration::from_secs(3);
/// Between two attempts to be filled.
const FILL_PAUSE: Duration = Duration::from_millis(100);

/// Compares with the peers, one after the other, until `shutdown`.
pub(crate) async fn run(
    peers: Arc<[Peer]>,
    interval: Duration,
    service: Arc<MemdsService>,
    shutdown: CancellationToken,
) {
    let connected = |peer| {
        let peer: &Peer = peer;
        let config = ConnectionConfig { queue: 16, in_flight: 4, name: "memds".to_owned() };
        let connection = Connection::open(peer.address(), config);
        peer.connected_by(connection.clone());
        (peer, connection)
    };
    let connections: Vec<_> = peers.iter().map(connected).collect();
    let running = async {
        fill(&connections, &service).await;
        service.filled();
        if connections.is_empty() {
            return;
        }
        for (peer, connection) in connections.iter().cycle() {
            tokio::time::sleep(interval).await;
            compare_with(peer, connection, &service).await;
        }
    };
    shutdown.run_until_cancelled(running).await;
    peers.iter().for_each(Peer::close);
}

/// Takes everything from the first peer that has it.
async fn fill(peers: &[(&Peer, Connection)], service: &MemdsService) {
    let until = clock::now() + FILL_WITHIN;
    while !peers.is_empty() && clock::now() < until {
        for (known, peer) in peers {
            match catalog_of(peer, service).await {
                Ok(true) => {
                    if compare_with(known, peer, service).await {
                        tracing::info!(peer = peer.address(), "filled by a peer");
                        return;
                    }
                }
                Ok(false) => {
                    tracing::debug!(peer = peer.address(), "the peer has not heard the whole catalog")
                }
                Err(error) => tracing::debug!(peer = peer.address(), %error, "not filled"),
            }
        }
        // No peer knows more, and by now the control plane has told this one: the whole fleet has just started.
        if service.snapshot().catalog_is_whole() {
            return;
        }
        tokio::time::sleep(FILL_PAUSE).await;
    }
}

/// Takes the peer's catalog and nodes; whether the peer has heard the whole catalog.
async fn catalog_of(peer: &Connection, service: &MemdsService) -> Result<bool, CallError> {
    let mut after_table = 0;
    loop {
        let page = peer.call::<FetchCatalog>(&proto::CatalogRequest { after_table }, DEADLINE).await?;
        let push = page.push.unwrap_or_default();
        let whole = push.complete;
        match service.take_catalog_page(push, page.nodes) {
            Some(last) if page.more && last.get() > after_table => after_table = last.get(),
            _ => return Ok(whole),
        }
    }
}

/// Compares once; whether it came to its end.
async fn compare_with(peer: &Peer, connection: &Connection, service: &MemdsService) -> bool {
    let mut round = Round::default();
    let ended = compare(connection, service, &mut round).await;
    service.metrics().comparison_bytes.increment(round.bytes);
    match &ended {
        Ok(()) => {
            peer.compared(round, clock::now());
            service.metrics().compared("done");
        }
        Err(error) => {
            tracing::debug!(peer = peer.address(), %error, "not compared");
            service.metrics().compared("failed");
        }
    }
    ended.is_ok()
}

/// One round: both servers hold the union afterwards, each route in its newest version.
async fn compare(peer: &Connection, service: &MemdsService, round: &mut Round) -> Result<(), CallError> {
    let mut walk = Comparison::new(service.routes());
    let mut offers: Vec<Route> = Vec::new();
    let mut at_once = QUESTIONS;
    for _message in 0..MAX_MESSAGES {
        let questions = walk.questions(at_once);
        if questions.is_empty() {
            break;
        }
        let request = proto::CompareRequest { questions: questions.iter().map(Into::into).collect() };
        let response = peer.call::<Compare>(&request, DEADLINE).await?;
        round.bytes += (request.encoded_len() + response.encoded_len()) as u64;
        let entries: usize = response.answers.iter().map(|answer| answer.keys.len()).sum();
        at_once = (questions.len() * ENTRIES / entries.max(1)).clamp(1, QUESTIONS);
        let mut theirs = Vec::new();
        for (question, answer) in questions.iter().zip(response.answers) {
            let Ok(answer) = Answer::try_from(answer) else {
                service.metrics().malformed.increment(1);
                continue;
            };
            let findings = walk.take(question, answer);
            service.metrics().malformed.increment(findings.malformed);
            theirs.extend(findings.theirs);
            offers.extend(findings.ours);
        }
        round.repaired += theirs.len() as u64;
        service.learn_from_peer(theirs).await;
        if offers.len() >= OFFERED {
            offer(peer, service, &mut offers, round).await?;
        }
    }
    offer(peer, service, &mut offers, round).await
}

async fn offer(
    peer: &Connection,
    service: &MemdsService,
    offers: &mut Vec<Route>,
    round: &mut Round,
) -> Result<(), CallError> {
    for some in offers.chunks(OFFERED) {
        let push = proto::PushRoutes { routes: some.iter().map(Into::into).collect(), ..Default::default() };
        round.bytes += push.encoded_len() as u64;
        peer.call::<PushRoutes>(&push, DEADLINE).await?;
        round.repaired += some.len() as u64;
        service.metrics().given.increment(some.len() as u64);
    }
    offers.clear();
    Ok(())
}

/// Answers a peer.
pub(crate) async fn answer(
    service: &MemdsService,
    request: proto::CompareRequest,
) -> Result<proto::CompareResponse, Failure> {
    if request.questions.len() > QUESTIONS {
        return Err(Failure::Malformed);
    }
    // What is being filled differs from its peer in everything: the peer would offer all that it holds, while
    // this server asks for the same.
    if !service.is_filled() {
        return Err(Failure::Unavailable);
    }
    let routes = service.routes();
    let mut answers = Vec::with_capacity(request.questions.len());
    for question in request.questions {
        let question = Question::try_from(question).map_err(|_malformed| Failure::Malformed)?;
        answers.push(routes.answer(&question).into());
        tokio::task::yield_now().await;
    }
    Ok(proto::CompareResponse { answers })
}

/// Tables in one page of a catalog: about a megabyte.
const TABLES: usize = 1_000;

/// One page of the catalog, for a peer that starts.
pub(crate) fn catalog_page(service: &MemdsService, request: &proto::CatalogRequest) -> proto::CatalogPage {
    let now = service.snapshot();
    let mut tables: Vec<_> = now.tables_after(TableId::new(request.after_table)).take(TABLES + 1).collect();
    let more = tables.len() > TABLES;
    tables.truncate(TABLES);
    let position = service.catalog_position();
    proto::CatalogPage {
        push: Some(proto::PushTables {
            tables: tables.into_iter().map(|table| table.json.clone()).collect(),
            removed: Vec::new(),
            complete: !more && now.catalog_is_whole(),
            term: position.term,
            sequence: position.sequence,
        }),
        nodes: now.nodes().iter().map(Into::into).collect(),
        more,
    }
}
