//! E17: random schedules of everything that can go wrong; after each step the invariants are held against
//! what the whole fleet really does, which no server sees.
//!
//! - I1: Σ of the rates that proxies really refill at ≤ R; and the owner's own Σ`out` ≤ R.
//! - I2: pool + Σ of the tokens that proxies really hold ≤ B.
//! - I3: a proxy accepts only newer grants (asserted by the simulated proxy).
//! - I4, I5 and the running sums: asserted by the allocator.
//! - The bound: admitted in any window ≤ B + R·τ + D + ρ·R·τ, and a hundredth of it for proxies that
//!   restart while they are cut off, D being the largest debt of the fleet.
//!
//! Quotas have the policy `strict`: with `static` a lease that outlives its owner is nobody's to count.
//!
//! R and B are the largest that were in force within the time that an old lease may last.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::AllocatorConfig;
use rand::Rng;
use units::Timestamp;

use super::super::findings::{Findings, Must};
use super::super::simulation::random::{Dice, dice};
use super::super::simulation::{Fleet, Lie, Network, Pattern, Setup};
use super::Options;

/// Schedules of the full form.
const FULL: u64 = 1_000_000;
/// Schedules of the short form.
const SHORT: u64 = 3_000;
/// How many of the failing seeds are shown.
const SHOWN: usize = 5;
/// The largest difference between two clocks' rates, in parts of 10,000.
const DRIFT: i128 = 2;
/// The allowances of all proxies together are this part of a quota: a proxy that restarts while it is cut
/// off uses its allowance beside what its owner counts for its predecessor.
const ALLOWANCES: u64 = 100;
/// Rounding: every change of a lease may lose or make less than a milli-unit.
const ROUNDING: i128 = 1_000;

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E17");
    if options.replay {
        let outcome = schedule(options.seed, true);
        eprintln!("E17, seed {}: {outcome:?}", options.seed);
        findings.figure(
            format!("seed {}", options.seed),
            "schedules that broke one",
            f64::from(u8::from(outcome.is_err())),
            Must::AtMost(0.0),
        );
        return findings;
    }
    let count = options.pick(FULL, SHORT);
    let broken = all(options.seed, count);
    for (seed, what) in broken.iter().take(SHOWN) {
        eprintln!("E17 broke: {what}\n  replay with: fleet E17 --seed {seed}");
    }
    findings.figure(
        format!("{count} random schedules"),
        "schedules that broke one",
        broken.len() as f64,
        Must::AtMost(0.0),
    );
    findings
}

/// Runs `count` schedules from `first` on, on as many threads as there are cores.
fn all(first: u64, count: u64) -> Vec<(u64, String)> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(0);
    let work = || {
        let mut broken = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return broken;
            }
            if let Err(what) = schedule(first + index, false) {
                broken.push((first + index, what));
            }
        }
    };
    let mut broken: Vec<(u64, String)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker catches panics")).collect()
    });
    broken.sort();
    broken
}

fn schedule(seed: u64, told: bool) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| Schedule::new(seed, told).run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    })
}

struct Schedule {
    dice: Dice,
    fleet: Fleet,
    told: bool,
    /// What was in force, and until when it may still be.
    quotas: VecDeque<(u64, u64, Timestamp)>,
    allowed_nanos: i128,
    admitted: u64,
    lowest: i128,
}

impl Schedule {
    fn new(seed: u64, told: bool) -> Self {
        let mut dice = dice(seed ^ 0xe17);
        let proxies = dice.random_range(1..=6);
        // B is at least what the fleet's local buckets hold at their shallowest, four units each.
        let rate = 40 * 2_u64.pow(dice.random_range(0..8)) + dice.random_range(0..20);
        let setup = Setup {
            burst_seconds: [1.0, 5.0, 60.0][dice.random_range(0..3)],
            step: Duration::from_millis(20),
            network: network(&mut dice),
            config: AllocatorConfig {
                expected_proxies: u32::try_from(proxies).expect("few"),
                // Longer than an owner takes to see that a proxy is lost.
                ttl: Duration::from_secs(6),
                contended_interval: Duration::from_millis(500),
                comfortable_interval: Duration::from_secs(1),
                ..AllocatorConfig::default()
            },
            ..Setup::new(seed, proxies, rate)
        };
        let mut fleet = Fleet::new(setup);
        fleet.watches_debt = true;
        for proxy in &mut fleet.proxies {
            proxy.drift = dice.random_range(-100..=100);
        }
        let quota = fleet.tables[0].quota;
        let quotas = VecDeque::from([(quota.rate.get(), quota.burst.get(), Timestamp::from_nanos(u64::MAX))]);
        Self { dice, fleet, told, quotas, allowed_nanos: 0, admitted: 0, lowest: 0 }
    }

    fn run(mut self) -> Result<(), String> {
        self.demand();
        for _ in 0..16 {
            self.disturb();
            let until = self.fleet.now + Duration::from_millis(self.dice.random_range(20..1_500));
            while self.fleet.now < until {
                self.fleet.run(self.fleet.setup.step);
                self.check().inspect_err(|_| self.tell())?;
            }
        }
        Ok(())
    }

    /// What every proxy really has, and what the owner counts for it.
    fn tell(&self) {
        if !self.told {
            return;
        }
        let now = self.fleet.now;
        for proxy in &self.fleet.proxies {
            let local = proxy.locals[0].as_ref().map(|local| {
                let rate = local.bucket.rate_at(proxy.clock(now)).get();
                let lease = local.bucket.lease_expires().as_nanos() as f64 / 1e9;
                format!(
                    "rate {rate}, level {}, cap {}, lease until {lease:.3}, falls back {}, {:?}",
                    local.bucket.level().get(),
                    local.bucket.cap().get(),
                    local.keeper.falls_back(),
                    local.keeper.accepted()
                )
            });
            eprintln!(
                "{:?} session {} runs {} cut {}: {local:?}",
                proxy.id, proxy.session, proxy.runs, proxy.cut
            );
        }
        let owner = self.fleet.servers[0].allocator.as_ref();
        owner.into_iter().flat_map(|owner| owner.shares(self.fleet.tables[0].id, now)).for_each(|share| {
            eprintln!("{share:?}");
        });
        eprintln!("{:?}, trace {:x}", self.fleet.setup.config, self.fleet.trace());
    }

    fn disturb(&mut self) {
        let proxy = self.dice.random_range(0..self.fleet.proxies.len());
        let what = self.dice.random_range(0..12);
        if self.told {
            let now = self.fleet.now;
            let rates: Vec<u64> = self
                .fleet
                .proxies
                .iter()
                .map(|proxy| {
                    let local = proxy.locals[0].as_ref().filter(|_| proxy.runs);
                    local.map_or(0, |local| local.bucket.rate_at(proxy.clock(now)).get())
                })
                .collect();
            let view = self.fleet.summary(0);
            let learning = view
                .map(|view| (view.learning, view.leased.get(), view.reserved.get(), view.quota.rate.get()));
            let time = now.as_nanos() as f64 / 1e9;
            eprintln!(
                "{time:.3} s: action {what}, proxy {proxy}; rates {rates:?}, learning, leased, reserved, R {learning:?}"
            );
        }
        if matches!(what, 6..=8) {
            // A new owner goes on with what proxies show, until it has learned.
            let until = self.fleet.now + OLD_LEASES + OLD_LEASES;
            let lasting = self.quotas.iter_mut().filter(|quota| quota.2 < until);
            lasting.for_each(|quota| quota.2 = until);
        }
        match what {
            0 | 1 => self.demand(),
            2 => self.fleet.network = network(&mut self.dice),
            3 => self.fleet.proxies[proxy].cut ^= true,
            4 => self.fleet.proxies[proxy].restart(),
            5 => self.fleet.proxies[proxy].runs = false,
            6 => {
                self.fleet.crash_server(0);
                self.fleet.restart_server(0);
            }
            7 => self.fleet.crash_server(0),
            8 => {
                if !self.fleet.servers[0].is_reachable() {
                    self.fleet.restart_server(0);
                }
            }
            // While no owner knows the leases under the old quota, nobody can lower them.
            9 if self.fleet.summary(0).is_some_and(|view| !view.learning) => self.change_quota(),
            9 => {}
            10 => self.fleet.servers[0].cut ^= true,
            _ => self.fleet.proxies[proxy].lie = [Lie::Honest, Lie::Replays][self.dice.random_range(0..2)],
        }
    }

    fn demand(&mut self) {
        let rate = self.fleet.tables[0].quota.rate.get() as f64 / 1000.0;
        let parts: Vec<f64> = self
            .fleet
            .proxies
            .iter()
            .map(|_| self.dice.random_range(0.0..2.0) * self.dice.random_range(0.0..2.0))
            .collect();
        let each = rate / parts.len() as f64;
        self.fleet.demand(0, Pattern::Steady, |proxy| each * 2.0 * parts[proxy]);
    }

    fn change_quota(&mut self) {
        let rate = self.fleet.setup.rate as f64 * self.dice.random_range(0.6..3.0);
        let last = self.quotas.back_mut().expect("one is in force");
        last.2 = self.fleet.now + OLD_LEASES;
        self.fleet.set_quota(0, rate);
        let quota = self.fleet.tables[0].quota;
        self.quotas.push_back((quota.rate.get(), quota.burst.get(), Timestamp::from_nanos(u64::MAX)));
    }

    fn check(&mut self) -> Result<(), String> {
        let now = self.fleet.now;
        self.quotas.retain(|(_, _, until)| *until >= now);
        let rate = self.quotas.iter().map(|(rate, _, _)| *rate).max().expect("one is in force");
        let burst = self.quotas.iter().map(|(_, burst, _)| *burst).max().expect("one is in force");
        self.fleet.assert_invariants();
        let (mut used, mut held) = (0, 0);
        for proxy in self.fleet.proxies.iter().filter(|proxy| proxy.runs) {
            for local in proxy.locals.iter().flatten() {
                used += local.bucket.rate_at(proxy.clock(now)).get();
                held += local.bucket.level().get();
            }
        }
        let allowances = i128::from(rate / ALLOWANCES);
        if i128::from(used) > i128::from(rate) + allowances + ROUNDING {
            return Err(format!("I1: {used} in use of {rate} at {now:?}"));
        }
        if i128::from(held) > i128::from(burst + burst / ALLOWANCES) + ROUNDING {
            return Err(format!("I2: {held} held of {burst} at {now:?}"));
        }
        self.check_owners_view(used, held)?;
        self.check_bound(rate, burst)
    }

    /// What the owner counts with covers what the fleet really has.
    fn check_owners_view(&self, used: u64, held: u64) -> Result<(), String> {
        let Some(view) = self.fleet.summary(0).filter(|view| !view.learning && self.quotas.len() == 1) else {
            return Ok(());
        };
        let now = self.fleet.now;
        let counted = view.leased.get() + view.reserved.get() + view.quota.rate.get() / ALLOWANCES;
        if i128::from(used) > i128::from(counted) + ROUNDING {
            return Err(format!("I1: {used} in use, {counted} counted at {now:?}: {view:?}"));
        }
        let burst = view.quota.burst.get() + view.quota.burst.get() / ALLOWANCES;
        if i128::from(held + view.pool.get()) > i128::from(burst) + ROUNDING {
            return Err(format!("I2: {held} held, B {burst} at {now:?}: {view:?}"));
        }
        Ok(())
    }

    fn check_bound(&mut self, rate: u64, burst: u64) -> Result<(), String> {
        let step = i128::try_from(self.fleet.setup.step.as_nanos()).expect("short");
        self.allowed_nanos += i128::from(rate + rate / ALLOWANCES) * step * (10_000 + DRIFT) / 10_000;
        let allowed = self.allowed_nanos / 1_000_000_000;
        let before = i128::from(self.admitted) - allowed;
        self.lowest = self.lowest.min(before);
        self.admitted = self.fleet.tables[0].meter.total.admitted;
        let rise = i128::from(self.admitted) - allowed - self.lowest;
        // The largest burst of the whole run: a window may begin under it.
        let most = self.quotas.iter().map(|(_, burst, _)| *burst).max().unwrap_or(burst);
        let debt = i128::from(self.fleet.most_debt);
        if rise > i128::from(most) + debt + ROUNDING {
            return Err(format!("the bound: {rise} above R·τ, of {most} at {:?}", self.fleet.now));
        }
        Ok(())
    }
}

/// After a quota was lowered, what was leased before may last so long: a lease, and what the owner waits
/// beyond it.
const OLD_LEASES: Duration = Duration::from_secs(8);

fn network(dice: &mut Dice) -> Network {
    let good = Network::good(Duration::from_millis([2, 10, 100][dice.random_range(0..3)]));
    match dice.random_range(0..3) {
        0 => good,
        1 => Network { loss: dice.random_range(0.0..0.2), duplicates: dice.random_range(0.0..0.3), ..good },
        _ => Network {
            loss: 0.05,
            duplicates: 0.1,
            delayed: dice.random_range(0.0..0.5),
            delay: Duration::from_millis(dice.random_range(10..900)),
            ..good
        },
    }
}
