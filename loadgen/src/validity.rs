//! Whether a run says anything about the service, or only about the generator.
//!
//! Late sends and saturated threads are the generator's doing. That requests waited for a connection until the end can
//! be anyone's: the connections were too few for the rate, or the service froze or got slow and all of them waited
//! for it. The rule: a service that answers in its median time needs `rate × median` connections. If that is more than
//! there were, the setting was the limit and the run is invalid, unless the service shows that it was in trouble: over
//! 1 % of the attempts had no answer, or the median is over ten times the quickest answer (it answers quickly, and
//! queued). Otherwise the run counts, with a warning, and with those requests as failures: thresholds decide.

use std::time::Duration;

use crate::report::figure::span;
use crate::result::Validity;

/// Sends may be late so often, in parts of a thousand.
const LATE_PER_MILLE: u64 = 1;
/// A thread that uses more of a core than this is saturated: it sends and reads when it can, not when it should.
const SATURATED: f64 = 0.95;
/// A thread may be saturated in so many seconds of a hundred.
const SATURATED_PERCENT: usize = 5;

/// Late sends that any run may have: one of a small run says nothing.
const FEWEST_LATE: u64 = 2;
/// A service with more attempts unanswered, in percent, is in trouble.
const UNANSWERED_PERCENT: u64 = 1;
/// So many times its quickest answer, a service's median answer has queued.
const QUEUED: u64 = 10;
/// CPU time in each second, beyond which a host that takes it away is named as the reason for late sends.
const STOLEN: f64 = 0.002;
/// How the reason begins that all connections were busy.
const BEHIND: &str = "it fell behind";

/// What is known of the generator's own behaviour.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conduct {
    /// Requests that were due.
    pub offered: u64,
    /// Requests that were sent.
    pub sent: u64,
    /// Those of them that were sent late though a connection was free.
    pub late_sends: u64,
    /// From when on a request counts as late.
    pub late_after: Duration,
    /// CPU time that this machine's host took away in the measured part: of a virtual machine only.
    pub stolen: Duration,
    /// Requests due before the end and never sent, because no connection became free.
    pub not_sent: u64,
    /// Requests never sent because the retry model held them back.
    pub held_back: u64,
    /// Attempts.
    pub attempts: u64,
    /// Attempts without an answer.
    pub unanswered: u64,
    /// Connections.
    pub connections: usize,
    /// Requests that they can have in flight at once.
    pub places: usize,
    /// How long the measured part was.
    pub lasted: Duration,
    /// Service time in microseconds: the least and the median.
    pub service_us: (u64, u64),
    /// The share of a core that each sending thread used, by second.
    pub threads: Vec<Vec<f64>>,
    /// CPU of this process in the measured part, in microseconds.
    pub own_cpu_us: u64,
}

/// What keeps a sender from its time.
fn why_late(conduct: &Conduct) -> String {
    let per_second = conduct.stolen.as_secs_f64() / conduct.lasted.as_secs_f64().max(1.0);
    if per_second < STOLEN {
        return "This machine is busy: send from a quieter one, or with more threads".to_owned();
    }
    format!(
        "This machine's host took {} of its CPU time away in each second: send from another, or allow for it with \
         --late-after {}, by which the figures may then be wrong",
        span(Duration::from_secs_f64(per_second)),
        span(conduct.late_after * 5)
    )
}

/// Judges a run.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shares and means")]
pub fn judge(conduct: &Conduct) -> Validity {
    let mut reasons = Vec::new();
    let Conduct { offered, sent, late_sends, not_sent, held_back, attempts, ref threads, own_cpu_us, .. } =
        *conduct;
    if offered == 0 {
        reasons.push("nothing was sent: no stream had a request due in the measured part".to_owned());
    }
    if late_sends >= FEWEST_LATE && late_sends * 1000 > sent * LATE_PER_MILLE {
        let percent = late_sends as f64 * 100.0 / sent as f64;
        reasons.push(format!(
            "{late_sends} of {sent} requests ({percent:.2} %) were sent over {} late though a connection was free; 0.1 % \
             is allowed. {}",
            span(conduct.late_after),
            why_late(conduct)
        ));
    }
    if not_sent > 0 && had_too_few_connections(conduct) {
        reasons.push(format!(
            "{BEHIND}: {not_sent} requests that were due could not be sent before the end, because all {} connections \
             were busy. Lower the rate, or allow more connections",
            conduct.connections
        ));
    }
    reasons.extend(threads.iter().enumerate().filter_map(|(number, seconds)| saturation(number, seconds)));
    let busiest_thread = threads.iter().flatten().copied().fold(0.0, f64::max);
    let own_cpu_us_per_attempt = own_cpu_us as f64 / attempts.max(1) as f64;
    Validity {
        valid: reasons.is_empty(),
        reasons,
        late_sends,
        busiest_thread,
        own_cpu_us_per_attempt,
        not_sent: not_sent + held_back,
    }
}

/// What a reader should know of a run that counts.
#[must_use]
pub fn warnings(conduct: &Conduct) -> Vec<String> {
    let Conduct { not_sent, held_back, connections, .. } = *conduct;
    let mut warnings = Vec::new();
    if not_sent > 0 && !had_too_few_connections(conduct) {
        warnings.push(format!(
            "{not_sent} requests waited for a connection until the end and count as failures: {connections} connections \
             were all busy, because the service got slow or stopped answering; more --connections would send them"
        ));
    }
    if held_back > 0 {
        warnings.push(format!(
            "{held_back} requests were held back by the adaptive retry model until the end and count as failures: \
             the service throttled more than this client may send"
        ));
    }
    warnings
}

/// Whether all that was amiss is that every connection waited for an answer.
#[must_use]
pub fn only_fell_behind(validity: &Validity) -> bool {
    !validity.reasons.is_empty() && validity.reasons.iter().all(|reason| reason.starts_with(BEHIND))
}

/// Whether there were fewer connections than the rate needs at the service's median time, and the service was well.
#[expect(clippy::cast_precision_loss, reason = "estimates")]
fn had_too_few_connections(conduct: &Conduct) -> bool {
    let Conduct { offered, attempts, unanswered, places, lasted, service_us: (least, median), .. } = *conduct;
    let rate = offered as f64 / lasted.as_secs_f64().max(f64::MIN_POSITIVE);
    let in_trouble = unanswered * 100 > attempts * UNANSWERED_PERCENT || median > least.max(1) * QUEUED;
    rate * median as f64 / 1e6 > places as f64 && !in_trouble
}

fn saturation(number: usize, seconds: &[f64]) -> Option<String> {
    let saturated = seconds.iter().filter(|share| **share > SATURATED).count();
    (saturated * 100 > seconds.len() * SATURATED_PERCENT).then(|| {
        format!(
            "sending thread {} used over 95 % of a core in {saturated} of {} seconds: the generator was the limit. \
             Use more threads, or more machines",
            number + 1,
            seconds.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Conduct {
        Conduct {
            offered: 100_000,
            sent: 100_000,
            late_sends: 100,
            late_after: Duration::from_millis(1),
            stolen: Duration::from_millis(1),
            not_sent: 0,
            held_back: 0,
            attempts: 200_000,
            unanswered: 0,
            connections: 4,
            places: 4,
            lasted: Duration::from_secs(10),
            service_us: (200, 500),
            threads: vec![vec![0.5; 20], [vec![0.2; 19], vec![0.99]].concat()],
            own_cpu_us: 2_000_000,
        }
    }

    #[test]
    fn a_run_at_the_limits_is_valid() {
        let validity = judge(&good());
        assert!(validity.valid && validity.reasons.is_empty());
        assert!((validity.busiest_thread - 0.99).abs() < 1e-9);
        assert!((validity.own_cpu_us_per_attempt - 10.0).abs() < 1e-9);
    }

    #[test]
    fn each_way_to_fail_is_a_reason_with_figures() {
        let late = Conduct { late_sends: 101, ..good() };
        let robbed = judge(&Conduct { stolen: Duration::from_millis(70), ..late.clone() });
        assert!(robbed.reasons[0].contains("host took 7ms of"), "{:?}", robbed.reasons);
        let behind = Conduct { not_sent: 7, ..good() };
        let saturated = Conduct { threads: vec![vec![0.5; 20], vec![0.96; 2]], ..good() };
        let nothing = Conduct { offered: 0, sent: 0, late_sends: 0, attempts: 0, ..good() };
        for (conduct, figures) in [
            (late, "101 of 100000 requests (0.10 %)"),
            (behind, "7 requests"),
            (saturated, "thread 2 used over 95 % of a core in 2 of 2 seconds"),
            (nothing, "nothing was sent"),
        ] {
            let validity = judge(&conduct);
            assert!(!validity.valid);
            assert_eq!(validity.reasons.len(), 1);
            assert!(validity.reasons[0].contains(figures), "{:?}", validity.reasons);
        }
    }

    #[test]
    fn a_service_in_trouble_is_no_fault_of_the_generators_and_too_few_connections_are() {
        // 10,000/s at 0.5 ms take five connections; there are four.
        let behind = Conduct { not_sent: 7, ..good() };
        assert!(!judge(&behind).valid && warnings(&behind).is_empty());
        assert!(only_fell_behind(&judge(&behind)));
        let frozen = Conduct { unanswered: 2_001, ..behind.clone() };
        let slowed = Conduct { service_us: (200, 2_001), ..behind.clone() };
        let stalled_once = Conduct { places: 5, ..behind.clone() };
        for conduct in [frozen, slowed, stalled_once] {
            let validity = judge(&conduct);
            assert!(validity.valid && validity.not_sent == 7 && !only_fell_behind(&validity), "{validity:?}");
            assert!(warnings(&conduct)[0].contains("7 requests waited"), "{:?}", warnings(&conduct));
        }
        let late = judge(&Conduct { late_sends: 500, ..behind });
        assert!(late.reasons.len() == 2 && !only_fell_behind(&late));
    }

    #[test]
    fn what_the_retry_model_held_back_is_told_and_counted() {
        let held = Conduct { sent: 0, late_sends: 0, held_back: 9, ..good() };
        assert!(judge(&held).valid && judge(&held).not_sent == 9);
        assert!(warnings(&held)[0].contains("9 requests were held back by the adaptive retry model"));
    }

    #[test]
    fn one_late_send_of_a_small_run_says_nothing_and_two_do() {
        let small = Conduct { offered: 100, sent: 100, late_sends: 1, ..good() };
        assert!(judge(&small).valid);
        assert!(!judge(&Conduct { late_sends: 2, ..small }).valid);
    }
}
