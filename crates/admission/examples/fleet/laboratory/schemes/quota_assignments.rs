//! A model of Envoy's rate limit quota service (its public API documentation): proxies report, every
//! reporting interval, how many requests they allowed and denied; the service answers with an assigned
//! rate. How it divides is left to the service: here by what each was last asked for.

use super::{LocalTokens, ONE_WAY, Scheme};

/// Seconds between a proxy's reports, as in the documentation's examples.
const REPORTING_INTERVAL: f64 = 10.0;

struct Proxy {
    tokens: LocalTokens,
    offered: f64,
    reported_at: f64,
    load: f64,
    assignment: Option<(f64, f64)>,
}

/// See the module.
pub(crate) struct QuotaAssignments {
    rate: f64,
    proxies: Vec<Proxy>,
}

impl QuotaAssignments {
    pub(crate) fn new(proxies: usize, rate: f64) -> Self {
        let part = rate / proxies as f64;
        let proxies = (0..proxies)
            .map(|index| Proxy {
                tokens: LocalTokens { rate: part, depth: part, ..LocalTokens::default() },
                offered: 0.0,
                reported_at: -REPORTING_INTERVAL * index as f64 / proxies as f64,
                load: part,
                assignment: None,
            })
            .collect();
        Self { rate, proxies }
    }
}

impl Scheme for QuotaAssignments {
    fn name(&self) -> &'static str {
        "Envoy RLQS (model)"
    }

    fn admit(&mut self, proxy: usize, requests: u32, now: f64) -> u32 {
        let proxy = &mut self.proxies[proxy];
        proxy.offered += f64::from(requests);
        proxy.tokens.take(requests, now)
    }

    fn step(&mut self, now: f64) {
        for index in 0..self.proxies.len() {
            let proxy = &mut self.proxies[index];
            if now - proxy.reported_at >= REPORTING_INTERVAL {
                proxy.load = proxy.offered / (now - proxy.reported_at);
                proxy.offered = 0.0;
                proxy.reported_at = now;
                let load = proxy.load;
                let all: f64 = self.proxies.iter().map(|proxy| proxy.load).sum();
                let rate = if all > 0.0 { self.rate * load / all } else { 0.0 };
                self.proxies[index].assignment = Some((now + 2.0 * ONE_WAY, rate));
            }
            let proxy = &mut self.proxies[index];
            if let Some((_, rate)) = proxy.assignment.take_if(|(at, _)| *at <= now) {
                proxy.tokens.refill(now);
                proxy.tokens.rate = rate;
                proxy.tokens.depth = rate;
            }
        }
    }
}
