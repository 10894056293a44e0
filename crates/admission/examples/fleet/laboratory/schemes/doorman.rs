//! A model of doorman (github.com/youtube/doorman, its design document): clients ask every refresh
//! interval for the capacity they want and say what they have; the server answers by proportional share:
//! an equal share each, what some do not want going to those that want more in proportion to their
//! excess, and never more than what is not leased to others. A new server is in learning mode for one
//! lease length: it confirms what clients say they have.

use super::{LocalTokens, ONE_WAY, Scheme};

/// As in the documentation's example configuration.
const REFRESH: f64 = 5.0;
/// Seconds of its rate that a client's limiter holds: as our local buckets.
const DEPTH_SECONDS: f64 = 0.25;

struct Client {
    tokens: LocalTokens,
    offered: f64,
    refreshed_at: f64,
    answer: Option<(f64, f64)>,
    wants: f64,
    leased: f64,
}

/// See the module.
pub(crate) struct Doorman {
    capacity: f64,
    clients: Vec<Client>,
}

impl Doorman {
    pub(crate) fn new(proxies: usize, capacity: f64) -> Self {
        let part = capacity / proxies as f64;
        let clients = (0..proxies)
            .map(|index| Client {
                tokens: LocalTokens { rate: part, depth: part * DEPTH_SECONDS, ..LocalTokens::default() },
                offered: 0.0,
                // Clients' refreshes are spread over the interval.
                refreshed_at: -REFRESH * index as f64 / proxies as f64,
                answer: None,
                wants: 0.0,
                leased: part,
            })
            .collect();
        Self { capacity, clients }
    }

    fn refresh(&mut self, index: usize, now: f64) {
        let client = &mut self.clients[index];
        client.wants = client.offered / (now - client.refreshed_at).max(0.1);
        client.offered = 0.0;
        client.refreshed_at = now;
        let share = self.proportional_share(index);
        let others: f64 =
            self.clients.iter().map(|client| client.leased).sum::<f64>() - self.clients[index].leased;
        let client = &mut self.clients[index];
        client.leased = share.min((self.capacity - others).max(0.0));
        client.answer = Some((now + 2.0 * ONE_WAY, client.leased));
    }

    fn proportional_share(&self, index: usize) -> f64 {
        let wants = self.clients[index].wants;
        let all: f64 = self.clients.iter().map(|client| client.wants).sum();
        let equal = self.capacity / self.clients.len() as f64;
        if all <= self.capacity || wants <= equal {
            return wants;
        }
        let unused: f64 = self.clients.iter().map(|client| (equal - client.wants).max(0.0)).sum();
        let excess: f64 = self.clients.iter().map(|client| (client.wants - equal).max(0.0)).sum();
        equal + unused * (wants - equal) / excess
    }
}

impl Scheme for Doorman {
    fn name(&self) -> &'static str {
        "doorman (model)"
    }

    fn admit(&mut self, proxy: usize, requests: u32, now: f64) -> u32 {
        let client = &mut self.clients[proxy];
        client.offered += f64::from(requests);
        client.tokens.take(requests, now)
    }

    fn step(&mut self, now: f64) {
        for index in 0..self.clients.len() {
            if now - self.clients[index].refreshed_at >= REFRESH {
                self.refresh(index, now);
            }
            let client = &mut self.clients[index];
            if let Some((at, rate)) = client.answer
                && at <= now
            {
                client.tokens.refill(now);
                client.tokens.rate = rate;
                client.tokens.depth = rate * DEPTH_SECONDS;
                client.answer = None;
            }
        }
    }
}
