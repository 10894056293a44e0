//! Whether a run says anything about the service, or only about the generator.

use crate::result::Validity;

/// Sends may be late so often, in parts of a thousand.
const LATE_PER_MILLE: u64 = 1;
/// A thread that uses more of a core than this is saturated: it sends and reads when it can, not when it should.
const SATURATED: f64 = 0.95;
/// A thread may be saturated in so many seconds of a hundred.
const SATURATED_PERCENT: usize = 5;

/// What is known of the generator's own behaviour.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conduct {
    /// Requests that were sent.
    pub sent: u64,
    /// Those of them that were sent over 1 ms late though a connection was free.
    pub late_sends: u64,
    /// Requests due before the end and never sent.
    pub not_sent: u64,
    /// Attempts.
    pub attempts: u64,
    /// The share of a core that each sending thread used, by second.
    pub threads: Vec<Vec<f64>>,
    /// CPU of this process in the measured part, in microseconds.
    pub own_cpu_us: u64,
}

/// Judges a run.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shares and means")]
pub fn judge(conduct: &Conduct) -> Validity {
    let mut reasons = Vec::new();
    let Conduct { sent, late_sends, not_sent, attempts, ref threads, own_cpu_us } = *conduct;
    if sent == 0 && not_sent == 0 {
        reasons.push("nothing was sent: no stream had a request due in the measured part".to_owned());
    }
    if late_sends * 1000 > sent * LATE_PER_MILLE {
        let percent = late_sends as f64 * 100.0 / sent as f64;
        reasons.push(format!(
            "{late_sends} of {sent} requests ({percent:.2} %) were sent over 1 ms late though a connection was free; \
             0.1 % is allowed. This machine is busy: send from a quieter one, or with more threads"
        ));
    }
    if not_sent > 0 {
        reasons.push(format!(
            "it fell behind: {not_sent} requests that were due could not be sent before the end, because all \
             connections were busy. Lower the rate, or allow more connections"
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
        not_sent,
    }
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
            sent: 100_000,
            late_sends: 100,
            not_sent: 0,
            attempts: 200_000,
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
        let behind = Conduct { not_sent: 7, ..good() };
        let saturated = Conduct { threads: vec![vec![0.5; 20], vec![0.96; 2]], ..good() };
        let nothing = Conduct { sent: 0, late_sends: 0, attempts: 0, ..good() };
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
}
