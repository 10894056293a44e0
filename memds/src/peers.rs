//! The other servers: this one fills itself from one of them when it starts, and compares what it holds with
//! one after the other, for good.

use std::sync::Arc;
use std::time::Duration;

use routing::{Answer, Comparison, Question, Route};
use tokio_util::sync::CancellationToken;
use units::TableId;
use wire::clock;
use wire::method::{Compare, FetchCatalog, PushRoutes};
use wire::proto::routing as proto;
use wire::transport::{CallError, Connection, ConnectionConfig};

use crate::service::MemdsService;

/// How long one message to a peer may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// Questions in one message: about 10 KB, and some milliseconds of the peer's time at most.
const QUESTIONS: usize = 64;
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
    peers: Vec<String>,
    interval: Duration,
    service: Arc<MemdsService>,
    shutdown: CancellationToken,
) {
    let peers: Vec<_> = peers
        .iter()
        .map(|address| {
            let config = ConnectionConfig { queue: 16, in_flight: 4, name: "memds".to_owned() };
            Connection::open(address, config)
        })
        .collect();
    let running = async {
        fill(&peers, &service).await;
        service.filled();
        if peers.is_empty() {
            return;
        }
        for peer in peers.iter().cycle() {
            tokio::time::sleep(interval).await;
            compare_with(peer, &service).await;
        }
    };
    shutdown.run_until_cancelled(running).await;
}

/// Takes everything from the first peer that has it.
async fn fill(peers: &[Connection], service: &MemdsService) {
    let until = clock::now() + FILL_WITHIN;
    while !peers.is_empty() && clock::now() < until {
        for peer in peers {
            match catalog_of(peer, service).await {
                Ok(true) => {
                    if compare(peer, service).await.is_ok() {
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

async fn compare_with(peer: &Connection, service: &MemdsService) {
    if let Err(error) = compare(peer, service).await {
        tracing::debug!(peer = peer.address(), %error, "not compared");
        service.metrics().compared("failed");
    }
}

/// One round: both servers hold the union afterwards, each route in its newest version.
async fn compare(peer: &Connection, service: &MemdsService) -> Result<(), CallError> {
    let mut walk = Comparison::new(service.routes());
    let mut offers: Vec<Route> = Vec::new();
    for _message in 0..MAX_MESSAGES {
        let questions = walk.questions(QUESTIONS);
        if questions.is_empty() {
            break;
        }
        let request = proto::CompareRequest { questions: questions.iter().map(Into::into).collect() };
        let response = peer.call::<Compare>(&request, DEADLINE).await?;
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
        service.learn_from_peer(theirs);
        if offers.len() >= OFFERED {
            offer(peer, service, &mut offers).await?;
        }
    }
    offer(peer, service, &mut offers).await?;
    service.metrics().compared("done");
    Ok(())
}

async fn offer(peer: &Connection, service: &MemdsService, offers: &mut Vec<Route>) -> Result<(), CallError> {
    for some in offers.chunks(OFFERED) {
        let push = proto::PushRoutes { routes: some.iter().map(Into::into).collect(), ..Default::default() };
        peer.call::<PushRoutes>(&push, DEADLINE).await?;
        service.metrics().given.increment(some.len() as u64);
    }
    offers.clear();
    Ok(())
}

/// Answers a peer.
pub(crate) fn answer(
    service: &MemdsService,
    request: proto::CompareRequest,
) -> Result<proto::CompareResponse, wire::transport::Failure> {
    if request.questions.len() > QUESTIONS {
        return Err(wire::transport::Failure::Malformed);
    }
    let routes = service.routes();
    let answers = request
        .questions
        .into_iter()
        .map(|question| Ok(routes.answer(&Question::try_from(question)?).into()))
        .collect::<Result<_, wire::routes::Malformed>>()
        .map_err(|_malformed| wire::transport::Failure::Malformed)?;
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
