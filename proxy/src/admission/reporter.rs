//! The task that reports to one GAC server and applies its grants. One report is under way at a time, so
//! reports coalesce by themselves: while one travels, what becomes due waits for the next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::admission::{BucketId, ReportEntry};
use parking_lot::Mutex;
use tokio::sync::Notify;
use units::Timestamp;
use wire::clock;
use wire::method::Report;
use wire::proto::gac;
use wire::transport::{Connection, ConnectionConfig};

use super::Shared;
use super::local_bucket::LocalBucket;
use super::metrics::AdmissionMetrics;

/// How often all buckets are looked at for reports that are due.
const SCAN: Duration = Duration::from_millis(100);
/// How often urgent ones are, while there are any: they wait for their minimum gap.
const URGENT_SCAN: Duration = Duration::from_millis(20);
/// A report's answer is for nothing later: the next one is due.
const REPORT_DEADLINE: Duration = Duration::from_secs(1);
/// Entries of one report: about 0.5 MB.
const MAX_ENTRIES: usize = 10_000;
/// Reports under way to one server: one, and what is just being cancelled.
const IN_FLIGHT: usize = 4;

/// What request tasks leave for one server's task.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// At most once per bucket: bounded by their number.
    urgent: Mutex<Vec<Arc<LocalBucket>>>,
    wake: Notify,
}

impl Link {
    pub(super) fn urge(&self, bucket: Arc<LocalBucket>) {
        self.urgent.lock().push(bucket);
        self.wake.notify_one();
    }
}

/// Reports to `server` for ever.
pub(super) async fn run(shared: Arc<Shared>, server: usize) {
    let config = ConnectionConfig { name: "proxy".to_owned(), queue: IN_FLIGHT, in_flight: IN_FLIGHT };
    let connection = Connection::open(&shared.ring.servers()[server], config);
    let mut streams = connection.clone();
    let oldest_lease = AdmissionMetrics::oldest_lease(server);
    let mut reporter = Reporter { shared, server, connection, urgent: Vec::new() };
    let mut scanned_at = clock::now();
    loop {
        let pause = if reporter.urgent.is_empty() { SCAN } else { URGENT_SCAN };
        tokio::select! {
            () = streams.reconnected() => reporter.introduce().await,
            () = reporter.shared.links[server].wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        let now = clock::now();
        let scan = now.since(scanned_at) >= SCAN;
        if scan {
            scanned_at = now;
            oldest_lease.set(reporter.tidy(now).as_secs_f64());
        }
        reporter.report_what_is_due(scan).await;
    }
}

struct Reporter {
    shared: Arc<Shared>,
    server: usize,
    connection: Connection,
    /// Urgent, but reported too recently.
    urgent: Vec<Arc<LocalBucket>>,
}

impl Reporter {
    /// A new stream: the server may have restarted, so it is shown everything, also that there is nothing.
    async fn introduce(&mut self) {
        self.mine(|bucket| bucket.report_anew());
        let nothing = gac::Report::pack(self.shared.report_header(), &[]);
        let now = clock::now();
        let mut due = self.take_due(true, now);
        if due.is_empty() {
            // Its answer holds no grants; a failure shows in the next report.
            let _no_grants = self.connection.call::<Report>(&nothing, REPORT_DEADLINE).await;
        }
        while !due.is_empty() && self.send(due, now).await {
            due = self.take_due(true, clock::now());
        }
    }

    async fn report_what_is_due(&mut self, scan: bool) {
        let mut scan = scan;
        while self.connection.is_connected() {
            let now = clock::now();
            let due = self.take_due(scan, now);
            // A grant that lowers a rate is acknowledged at once: so look again, at all of them.
            if due.is_empty() || !self.send(due, now).await {
                return;
            }
            scan = true;
        }
    }

    fn take_due(&mut self, scan: bool, now: Timestamp) -> Vec<(Arc<LocalBucket>, ReportEntry)> {
        let mut due = Vec::new();
        self.urgent.append(&mut self.shared.links[self.server].urgent.lock());
        self.urgent.retain(|bucket| match bucket.report_if_due(now) {
            Some(entry) => {
                due.push((Arc::clone(bucket), entry));
                false
            }
            None => !bucket.is_forgotten(now),
        });
        if scan {
            self.mine(|bucket| {
                if due.len() < MAX_ENTRIES
                    && let Some(entry) = bucket.report_if_due(now)
                {
                    due.push((Arc::clone(bucket), entry));
                }
            });
        }
        due
    }

    /// Sends a report and applies the answer. False: there was none, so wait before the next.
    async fn send(&self, due: Vec<(Arc<LocalBucket>, ReportEntry)>, asked_at: Timestamp) -> bool {
        let entries: Vec<_> = due.iter().map(|(_, entry)| *entry).collect();
        let report = gac::Report::pack(self.shared.report_header(), &entries);
        let answer = self.connection.call::<Report>(&report, REPORT_DEADLINE).await;
        let metrics = &self.shared.metrics;
        let reported: BTreeMap<BucketId, Arc<LocalBucket>> =
            due.into_iter().map(|(bucket, _)| (bucket.id, bucket)).collect();
        let grants = match &answer {
            Ok(grants) => grants.entries(),
            Err(error) => {
                tracing::debug!(server = self.connection.address(), %error, "report not answered");
                metrics.reports_failed.increment(1);
                reported.values().for_each(|bucket| bucket.report_anew());
                return false;
            }
        };
        let Ok(grants) = grants else {
            tracing::warn!(server = self.connection.address(), "malformed grants");
            metrics.reports_failed.increment(1);
            return false;
        };
        metrics.reports_answered.increment(1);
        let now = clock::now();
        for grant in grants {
            let accepted =
                reported.get(&grant.bucket).is_some_and(|bucket| bucket.apply(&grant, asked_at, now));
            let counter = if accepted { &metrics.grants_accepted } else { &metrics.grants_ignored };
            counter.increment(1);
        }
        true
    }

    /// Forgets what was not used for long; the age of the oldest lease in use.
    fn tidy(&self, now: Timestamp) -> Duration {
        let mut oldest = Duration::ZERO;
        let mut forgotten = Vec::new();
        self.mine(|bucket| {
            oldest = oldest.max(bucket.lease_age(now));
            if bucket.is_forgotten(now) {
                forgotten.push(bucket.id);
            }
        });
        for id in forgotten {
            self.shared.buckets.remove_if(&id, |_, bucket| bucket.is_forgotten(now));
        }
        #[expect(clippy::cast_precision_loss, reason = "only shown")]
        self.shared.metrics.buckets.set(self.shared.buckets.len() as f64);
        oldest
    }

    fn mine(&self, mut visit: impl FnMut(&Arc<LocalBucket>)) {
        for bucket in &self.shared.buckets {
            if bucket.server == Some(self.server) {
                visit(bucket.value());
            }
        }
    }
}
