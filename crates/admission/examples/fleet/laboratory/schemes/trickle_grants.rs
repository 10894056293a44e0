//! A model of CockroachDB's distributed token bucket for tenants (its public RFC and documentation):
//! instances ask for the tokens they expect to need in a target period of 10 s; while the central bucket
//! has them they get them at once; otherwise a part of the refill rate trickles to them over the period,
//! by shares that follow each instance's exponentially weighted load.

use super::{LocalTokens, ONE_WAY, Scheme};

/// Seconds that a grant is meant to last.
const TARGET_PERIOD: f64 = 10.0;
/// The weight of a new second in the load's average.
const NEW_SECOND: f64 = 0.2;
/// The next grant is asked for so long before a trickle ends.
const ANTICIPATION: f64 = 1.0;

struct Instance {
    tokens: LocalTokens,
    offered: f64,
    load: f64,
    /// When the trickle ends.
    until: f64,
    grant: Option<Grant>,
    asked: bool,
}

struct Grant {
    at: f64,
    tokens: f64,
    rate: f64,
}

/// See the module.
pub(crate) struct TrickleGrants {
    rate: f64,
    level: f64,
    refilled_at: f64,
    second: f64,
    instances: Vec<Instance>,
}

impl TrickleGrants {
    pub(crate) fn new(proxies: usize, rate: f64) -> Self {
        let instances = (0..proxies)
            .map(|_| Instance {
                tokens: LocalTokens { depth: f64::MAX, ..LocalTokens::default() },
                offered: 0.0,
                load: 0.0,
                until: 0.0,
                grant: None,
                asked: false,
            })
            .collect();
        Self { rate, level: rate, refilled_at: 0.0, second: 0.0, instances }
    }

    fn ask(&mut self, index: usize, now: f64) {
        let wanted =
            (self.instances[index].load * TARGET_PERIOD - self.instances[index].tokens.level).max(0.0);
        let shares: f64 = self.instances.iter().map(|instance| instance.load).sum();
        let grant = if wanted <= self.level {
            self.level -= wanted;
            Grant { at: now + 2.0 * ONE_WAY, tokens: wanted, rate: 0.0 }
        } else {
            let part = if shares > 0.0 { self.instances[index].load / shares } else { 0.0 };
            let rate = (self.rate * part).min(wanted / TARGET_PERIOD);
            // What trickles is taken from the refill: the bucket may go into debt for it.
            self.level -= rate * TARGET_PERIOD;
            Grant { at: now + 2.0 * ONE_WAY, tokens: 0.0, rate }
        };
        self.instances[index].grant = Some(grant);
        self.instances[index].asked = true;
    }

    fn average(&mut self, now: f64) {
        if now - self.second < 1.0 {
            return;
        }
        self.second = now;
        for instance in &mut self.instances {
            instance.load += (instance.offered - instance.load) * NEW_SECOND;
            instance.offered = 0.0;
        }
    }
}

impl Scheme for TrickleGrants {
    fn name(&self) -> &'static str {
        "CockroachDB (model)"
    }

    fn admit(&mut self, proxy: usize, requests: u32, now: f64) -> u32 {
        let instance = &mut self.instances[proxy];
        instance.offered += f64::from(requests);
        instance.tokens.take(requests, now)
    }

    fn step(&mut self, now: f64) {
        self.level = (self.level + self.rate * (now - self.refilled_at)).min(self.rate);
        self.refilled_at = now;
        self.average(now);
        for index in 0..self.instances.len() {
            let instance = &mut self.instances[index];
            instance.tokens.refill(now);
            if let Some(grant) = instance.grant.take_if(|grant| grant.at <= now) {
                instance.tokens.level += grant.tokens;
                instance.tokens.rate = grant.rate;
                instance.until = grant.at + TARGET_PERIOD;
                instance.asked = false;
            }
            if now >= instance.until {
                instance.tokens.rate = 0.0;
            }
            let low = instance.tokens.rate == 0.0 && instance.tokens.level < instance.load * ANTICIPATION;
            if !instance.asked && (low || now >= instance.until - ANTICIPATION) {
                self.ask(index, now);
            }
        }
    }
}
