//! Static 1/N: every proxy has an equal part of rate and burst, for ever.

use super::{LocalTokens, Scheme};

/// See the module.
pub(crate) struct StaticShares {
    proxies: Vec<LocalTokens>,
}

impl StaticShares {
    pub(crate) fn new(proxies: usize, rate: f64) -> Self {
        let part = rate / proxies as f64;
        let tokens = LocalTokens { rate: part, depth: part, ..LocalTokens::default() };
        Self { proxies: vec![tokens; proxies] }
    }
}

impl Scheme for StaticShares {
    fn name(&self) -> &'static str {
        "static 1/N"
    }

    fn admit(&mut self, proxy: usize, requests: u32, now: f64) -> u32 {
        self.proxies[proxy].take(requests, now)
    }

    fn step(&mut self, _now: f64) {}
}
