//! The task that reports to one GAC server and applies its grants.
//!
//! Reports coalesce: what becomes due while [`REPORTS_IN_FLIGHT`] are under way waits for the next, and one
//! bucket is in one report at a time. A server that has nothing to be told hears an empty report, so that it
//! knows that this proxy lives, by which ring, and in how large a fleet.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ::admission::{BucketId, Grant, ReportEntry};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use units::Timestamp;
use wire::clock;
use wire::method::{FetchLevels, Report};
use wire::proto::gac;
use wire::transport::{CallError, Connection, ConnectionConfig};

use super::local_bucket::LocalBucket;
use super::metrics::ServerMetrics;
use super::owners::Link;
use super::shared::Shared;

/// How often urgent buckets are looked at while there are any: they wait for their minimum gap.
const URGENT_LOOK: Duration = Duration::from_millis(20);
/// How often there is a look otherwise.
const LOOK: Duration = Duration::from_millis(100);
/// A server hears of this proxy at least so often: once a second, with a look's delay.
const HEARTBEAT: Duration = Duration::from_millis(850);
/// A report's answer is for nothing later: the next one is due.
const REPORT_DEADLINE: Duration = Duration::from_secs(1);
/// After a report without an answer.
const PAUSE: Duration = Duration::from_millis(100);
/// Entries of one report: about 0.8 MB.
const MAX_ENTRIES: usize = 10_000;
/// Reports under way to one server: so a request that asks for its own tokens does not wait for the answer
/// to somebody else's.
const REPORTS_IN_FLIGHT: usize = 4;
/// Calls under way: the reports, one for the levels, and what is just being cancelled.
const IN_FLIGHT: usize = 2 * REPORTS_IN_FLIGHT;
/// How long saying goodbye may take.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// What a call came to.
enum Answer {
    Report { reported: BTreeMap<BucketId, Arc<LocalBucket>>, asked_at: Timestamp, answer: Answered },
    Levels(Result<gac::Levels, CallError>),
}

type Answered = Result<Box<gac::Grants>, CallError>;
type Call = Pin<Box<dyn Future<Output = Answer> + Send>>;

struct Reporter {
    shared: Arc<Shared>,
    link: Arc<Link>,
    connection: Connection,
    metrics: ServerMetrics,
    calls: FuturesUnordered<Call>,
    reports: usize,
    /// Urgent, but reported too recently.
    urgent: Vec<Arc<LocalBucket>>,
    /// When those were looked at.
    looked_at: Timestamp,
    /// Due again as soon as they were answered.
    answered: Vec<Arc<LocalBucket>>,
    sent_at: Timestamp,
    pause_until: Timestamp,
}

/// Reports to one server until `shutdown`, or until the ring has moved on without it.
pub(super) async fn run(shared: Arc<Shared>, link: Arc<Link>, shutdown: CancellationToken) {
    let config = ConnectionConfig { name: "proxy".to_owned(), queue: IN_FLIGHT, in_flight: IN_FLIGHT };
    let connection = Connection::open(&link.address, config);
    let mut streams = connection.clone();
    let mut reporter = Reporter {
        metrics: ServerMetrics::new(&link.address),
        shared,
        link: Arc::clone(&link),
        connection,
        calls: FuturesUnordered::new(),
        reports: 0,
        urgent: Vec::new(),
        looked_at: Timestamp::default(),
        answered: Vec::new(),
        sent_at: Timestamp::default(),
        pause_until: Timestamp::default(),
    };
    let mut looked_at = clock::now();
    loop {
        let look = if reporter.urgent.is_empty() { LOOK } else { URGENT_LOOK };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return reporter.leave().await,
            () = link.gone.cancelled() => return reporter.let_go(),
            () = streams.reconnected() => reporter.introduce(),
            Some(answer) = reporter.calls.next() => reporter.take(answer),
            () = link.wake.notified() => {}
            () = tokio::time::sleep(look) => {}
        }
        let now = clock::now();
        if now.since(looked_at) >= LOOK {
            looked_at = now;
            reporter.show_oldest_lease(now);
        }
        reporter.report_what_is_due(now);
    }
}

impl Reporter {
    /// A new stream: the server may have restarted, so it is shown everything, also that there is nothing.
    fn introduce(&mut self) {
        for bucket in self.mine() {
            bucket.report_anew();
            self.shared.urge(&bucket);
        }
        (self.sent_at, self.pause_until) = Default::default();
    }

    fn report_what_is_due(&mut self, now: Timestamp) {
        let connected = self.connection.is_connected();
        self.link.set_connected(connected);
        if now < self.pause_until || !connected {
            return;
        }
        while self.reports < REPORTS_IN_FLIGHT {
            let due = self.take_due(now);
            if due.is_empty() && now.since(self.sent_at) < HEARTBEAT {
                return;
            }
            self.send(due, now);
        }
    }

    /// What is to be reported of what has become urgent; and, every now and then, of what was already.
    fn take_due(&mut self, now: Timestamp) -> Vec<(Arc<LocalBucket>, ReportEntry)> {
        let mut candidates = std::mem::take(&mut self.answered);
        self.link.take_urgent(&mut candidates);
        if now.since(self.looked_at) >= URGENT_LOOK {
            self.looked_at = now;
            candidates.append(&mut self.urgent);
        }
        let mut due = Vec::new();
        for bucket in candidates {
            if !bucket.is_owned_by(&self.link) {
                // The ring moved it: it is another task's.
                bucket.is_no_longer_urgent();
                self.shared.urge(&bucket);
            } else if due.len() == MAX_ENTRIES {
                self.urgent.push(bucket);
            } else if let Some(entry) = bucket.report_if_due(now) {
                due.push((bucket, entry));
            } else if !bucket.is_in_use(now) {
                bucket.is_no_longer_urgent();
            } else if bucket.is_urgent() {
                self.urgent.push(bucket);
            }
        }
        due
    }

    fn send(&mut self, due: Vec<(Arc<LocalBucket>, ReportEntry)>, now: Timestamp) {
        let entries: Vec<_> = due.iter().map(|(_, entry)| *entry).collect();
        let report = gac::Report::pack(self.shared.report_header(), &entries);
        let reported = due.into_iter().map(|(bucket, _)| (bucket.id, bucket)).collect();
        let connection = self.connection.clone();
        self.sent_at = now;
        self.reports += 1;
        self.calls.push(Box::pin(async move {
            let answer = connection.call::<Report>(&report, REPORT_DEADLINE).await.map(Box::new);
            Answer::Report { reported, asked_at: now, answer }
        }));
    }

    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Report { reported, asked_at, answer } => {
                self.reports -= 1;
                self.take_report(&reported, asked_at, &answer);
            }
            Answer::Levels(levels) => self.shared.learn_levels(levels),
        }
    }

    fn take_report(
        &mut self,
        reported: &BTreeMap<BucketId, Arc<LocalBucket>>,
        asked_at: Timestamp,
        answer: &Answered,
    ) {
        let now = clock::now();
        let mine = |bucket: &&Arc<LocalBucket>| bucket.is_owned_by(&self.link);
        reported.values().filter(mine).for_each(|bucket| bucket.landed());
        let answered = answer.as_ref().map_err(CallError::to_string);
        let entries = |grants: &gac::Grants| grants.entries().map(Vec::from_iter).map_err(|e| e.to_string());
        match answered.and_then(|grants| Ok((grants, entries(grants)?))) {
            Ok((answer, grants)) => self.take_grants(reported, asked_at, answer, &grants),
            Err(error) => {
                tracing::debug!(server = self.link.address, error, "report not answered");
                self.shared.metrics.reports_failed.increment(1);
                self.pause_until = now + PAUSE;
                for bucket in reported.values() {
                    bucket.report_anew();
                    self.shared.urge(bucket);
                }
            }
        }
    }

    fn take_grants(
        &mut self,
        reported: &BTreeMap<BucketId, Arc<LocalBucket>>,
        asked_at: Timestamp,
        answer: &gac::Grants,
        grants: &[Grant],
    ) {
        let (now, metrics) = (clock::now(), &self.shared.metrics);
        metrics.reports_answered.increment(1);
        metrics.not_owned.increment(answer.not_owned.len() as u64);
        self.metrics.sync.record(now.since(asked_at));
        self.link.heard(asked_at);
        for grant in grants {
            // Not of buckets that have moved since: theirs is another owner's word now.
            let bucket = reported.get(&grant.bucket).filter(|bucket| bucket.is_owned_by(&self.link));
            let accepted = bucket.is_some_and(|bucket| bucket.apply(grant, asked_at, now));
            let counter = if accepted { &metrics.grants_accepted } else { &metrics.grants_ignored };
            counter.increment(1);
            // A lower rate is acknowledged at once, and those who came meanwhile ask for theirs.
            if let Some(bucket) = bucket.filter(|bucket| bucket.is_due(now)) {
                self.answered.push(Arc::clone(bucket));
            }
        }
        if self.learn(answer) {
            // By the ring that was just learned their owner may well be the same.
            let not_owned = answer.not_owned.iter().map(|raw| BucketId::from_raw(*raw));
            for bucket in not_owned.filter_map(|id| reported.get(&id)) {
                bucket.report_anew();
                self.shared.urge(bucket);
            }
        }
    }

    /// What an answer says of the fleet: its size, its ring, and the quotas above tables. Whether the ring
    /// has moved.
    fn learn(&mut self, answer: &gac::Grants) -> bool {
        self.shared.learn_fleet(answer.fleet, clock::now());
        let moved = self.shared.learn_ring(answer.ring_epoch, &answer.ring_servers);
        if self.shared.wants_levels(answer.levels_version) {
            let connection = self.connection.clone();
            self.calls.push(Box::pin(async move {
                let asked = gac::LevelsRequest::default();
                Answer::Levels(connection.call::<FetchLevels>(&asked, REPORT_DEADLINE).await)
            }));
        }
        moved
    }

    fn show_oldest_lease(&self, now: Timestamp) {
        let ages = self.mine().filter(|bucket| bucket.is_in_use(now)).filter_map(|it| it.lease_age(now));
        self.metrics.oldest_lease.set(ages.max().unwrap_or_default().as_secs_f64());
    }

    fn mine(&self) -> impl Iterator<Item = Arc<LocalBucket>> {
        self.shared.owned_by(&self.link).into_iter()
    }

    /// The ring has moved on without this server. What was under way to it is dropped: an answer that still
    /// came would be from the owner of an older ring.
    fn let_go(&mut self) {
        let mut left = std::mem::take(&mut self.urgent);
        left.append(&mut self.answered);
        self.link.take_urgent(&mut left);
        self.calls.clear();
        for bucket in left {
            bucket.is_no_longer_urgent();
            self.shared.urge(&bucket);
        }
        self.metrics.oldest_lease.set(0.0);
    }

    /// The proxy leaves: what it held goes home, so that nobody waits for its leases to run out.
    async fn leave(&mut self) {
        if !self.connection.is_connected() {
            return;
        }
        let now = clock::now();
        let entries: Vec<_> = self.mine().map(|bucket| bucket.leave(now)).collect();
        let header = ::admission::ReportHeader { leaving: true, ..self.shared.report_header() };
        let goodbye = async {
            for part in entries.chunks(MAX_ENTRIES) {
                let report = gac::Report::pack(header, part);
                if self.connection.call::<Report>(&report, LEAVE_WITHIN).await.is_err() {
                    return;
                }
            }
            if entries.is_empty() {
                let nothing = gac::Report::pack(header, &[]);
                // Whether it arrives or not: there is nothing left to do.
                let _answer = self.connection.call::<Report>(&nothing, LEAVE_WITHIN).await;
            }
        };
        if tokio::time::timeout(LEAVE_WITHIN, goodbye).await.is_err() {
            tracing::debug!(server = self.link.address, "left without an answer");
        }
    }
}
