//! E12: fifty tables under one account, weights 1 : 2 : 4, a fifth of the account's rate in floors.

use std::time::Duration;

use admission::{Claim, Claimant, divide_max_min};
use units::MilliUnitsPerSecond;

use super::super::findings::{Findings, Must};
use super::super::simulation::{Fleet, Meter, Pattern, Setup, random, samples};
use super::Options;

const TABLES: usize = 50;
/// Those that sleep while the others contend.
const SLEEPERS: usize = 10;
/// What counts as served at the floor, over half a second, in parts of it: arrivals are random.
const AT_FLOOR: f64 = 0.97;
/// Of what was asked for in that time.
const NEARLY_ALL: f64 = 0.9;

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("E12");
    let (proxies, rate) = options.pick((100, 200_000), (10, 20_000));
    let mut account = Account::new(options, proxies, rate);

    account.ask(|table| if table < SLEEPERS { 0.0 } else { demand_of(table) });
    account.fleet.run(options.pick(Duration::from_secs(60), Duration::from_secs(15)));
    let since = account.fleet.tables[0].meter.now();
    account.fleet.run(options.pick(Duration::from_secs(60), Duration::from_secs(15)));
    let off = account.furthest_from_max_min(since);
    findings.figure("contended", "furthest from max-min, %", off, Must::AtMost(2.0));

    let woken = account.fleet.tables[0].meter.now();
    account.ask(demand_of);
    account.fleet.run(Duration::from_secs(10));
    let at_floor = account.seconds_to_floors(woken);
    findings.figure("a fifth wakes up", "seconds to the floors", at_floor, Must::AtMost(1.0));
    let since = account.fleet.tables[0].meter.now();
    account.fleet.run(options.pick(Duration::from_secs(60), Duration::from_secs(15)));
    let off = account.furthest_from_max_min(since);
    findings.figure("a fifth wakes up", "furthest from max-min, %", off, Must::AtMost(2.0));

    account.ask(|table| demand_of(TABLES - 1 - table));
    account.fleet.run(Duration::from_secs(5));
    let since = account.fleet.tables[0].meter.now();
    account.fleet.run(options.pick(Duration::from_secs(60), Duration::from_secs(15)));
    let off = account.furthest_from_max_min(since);
    findings.figure("demand inverted", "furthest from max-min, %", off, Must::AtMost(2.0));
    findings.figure("all", "excess of the account, units", account.excess(), Must::AtMost(0.0));
    findings.series("E12", &["second", "weight 1", "weight 2", "weight 4", "account"], account.by_weight());
    findings
}

/// In parts of an equal share: every third table wants little, the others much.
fn demand_of(table: usize) -> f64 {
    if table % 3 == 1 { 0.3 } else { 4.0 }
}

/// A fleet whose tables are shares of one account, and what each is asked for.
struct Account {
    fleet: Fleet,
    rate: f64,
    claims: Vec<Claim>,
    demands: Vec<f64>,
    /// Which part of a table's demand each proxy has.
    parts: Vec<f64>,
}

impl Account {
    fn new(options: &Options, proxies: usize, rate: u64) -> Self {
        let weights: u64 = (0..TABLES).map(weight).sum();
        let claim = |table| {
            let floor = MilliUnitsPerSecond::new(rate * 200 * weight(table) / weights);
            let weight = u32::try_from(weight(table)).expect("it is 1, 2 or 4");
            Claim { weight, floor, version: 1, ..Claim::default() }
        };
        let claims: Vec<Claim> = (0..TABLES).map(claim).collect();
        let setup = Setup { tables: TABLES, ..Setup::new(options.seed, proxies, rate) };
        let mut fleet = Fleet::new(setup);
        fleet.share_account(&claims);
        let parts = random::zipf(proxies, 0.8);
        Self { fleet, rate: rate as f64, claims, demands: vec![0.0; TABLES], parts }
    }

    /// So many parts of an equal share from now on, by table.
    fn ask(&mut self, parts: impl Fn(usize) -> f64) {
        for table in 0..TABLES {
            let demand = parts(table) * self.rate / TABLES as f64;
            self.demands[table] = demand;
            // Tables are hot at different proxies.
            let hot = |proxy: usize| self.parts[(proxy + table) % self.parts.len()];
            self.fleet.demand(table, Pattern::Steady, |proxy| demand * hot(proxy));
        }
    }

    /// The fair shares, in units per second.
    fn max_min(&self) -> Vec<f64> {
        let claimant = |(demand, claim): (&f64, &Claim)| Claimant {
            demand: MilliUnitsPerSecond::new((*demand * 1000.0) as u64),
            claim: *claim,
        };
        let claimants: Vec<_> = self.demands.iter().zip(&self.claims).map(claimant).collect();
        let shares = divide_max_min(MilliUnitsPerSecond::new((self.rate * 1000.0) as u64), &claimants);
        shares.into_iter().map(|share| share.get() as f64 / 1000.0).collect()
    }

    /// Among all tables, how far what was served since then is from the fair share of what was asked for,
    /// in percent of the fair share.
    fn furthest_from_max_min(&mut self, since: usize) -> f64 {
        let meters = self.fleet.tables.iter().map(|table| &table.meter);
        let seconds = |meter: &Meter| (meter.now() - since) as f64 / samples(1.0) as f64;
        // Arrivals are random: what was really asked for counts.
        let flows: Vec<_> = meters
            .map(|meter| {
                let (from, to) = (&meter.samples[since], &meter.samples[meter.now()]);
                let per_second = |amount: u64| amount as f64 / 1000.0 / seconds(meter);
                (per_second(to.offered - from.offered), per_second(to.admitted - from.admitted))
            })
            .collect();
        self.demands = flows.iter().map(|(offered, _)| *offered).collect();
        let off = |(fair, (_, served)): (f64, &(f64, f64))| {
            if fair > 0.0 { (served / fair - 1.0).abs() } else { 0.0 }
        };
        self.max_min().into_iter().zip(&flows).map(off).fold(0.0, f64::max) * 100.0
    }

    /// From then until every table that slept is served at least at its floor, or nearly all of what it is
    /// asked for, over each half second.
    fn seconds_to_floors(&self, since: usize) -> f64 {
        let (half, tenth) = (samples(0.5), samples(0.1));
        let late = |table: usize| {
            let meter = &self.fleet.tables[table].meter;
            let floor = self.claims[table].floor.get() as f64 * 0.5 * AT_FLOOR;
            let is_below = |from: &usize| {
                let (from, to) = (&meter.samples[*from], &meter.samples[from + half]);
                let asked = (to.offered - from.offered) as f64;
                ((to.admitted - from.admitted) as f64) < floor.min(NEARLY_ALL * asked)
            };
            let last = (since..meter.now() - half).step_by(tenth).rfind(is_below);
            last.map_or(0.0, |from| (from + tenth - since) as f64 / samples(1.0) as f64)
        };
        (0..SLEEPERS).map(late).fold(0.0, f64::max)
    }

    /// The worst window of what all tables admitted above R·τ + B.
    fn excess(&self) -> f64 {
        let burst = self.rate * self.fleet.setup.burst_seconds;
        let count = self.fleet.tables[0].meter.samples.len();
        let per_sample = self.rate / samples(1.0) as f64;
        let (mut rise, mut worst, mut before) = (0.0_f64, 0.0_f64, 0.0);
        for sample in 0..count {
            let all: u64 = self.fleet.tables.iter().map(|table| table.meter.samples[sample].admitted).sum();
            let all = all as f64 / 1000.0;
            rise = (rise - per_sample).max(0.0) + all - before;
            before = all;
            worst = worst.max(rise);
        }
        (worst - burst).max(0.0)
    }

    /// Per second, what tables of each weight were served on average, and all together.
    fn by_weight(&self) -> Vec<Vec<f64>> {
        let tables: Vec<_> = self.fleet.tables.iter().map(|table| table.meter.per_second()).collect();
        let row = |second: usize| {
            let served = |table: usize| tables[table][second][3];
            let of = |weight| {
                let those = (0..TABLES).filter(move |table| table % 3 == weight);
                those.clone().map(served).sum::<f64>() / those.count() as f64
            };
            vec![tables[0][second][0], of(0), of(1), of(2), (0..TABLES).map(served).sum()]
        };
        (0..tables[0].len()).map(row).collect()
    }
}

fn weight(table: usize) -> u64 {
    1 << (table % 3)
}
