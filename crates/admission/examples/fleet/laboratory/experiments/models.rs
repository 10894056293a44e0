//! Not of the design's list: our fleet beside models of other schemes, asked the same.

use std::time::Duration;

use super::super::findings::{Findings, Must};
use super::super::schemes::{Comparison, Doorman, QuotaAssignments, Scheme, StaticShares, TrickleGrants};
use super::super::simulation::{Fleet, Meter, Pattern, Setup, jain, random, samples};
use super::Options;

/// The ranks are inverted at this second.
const INVERTED_AT: u64 = 60;

pub(crate) fn run(options: &Options) -> Findings {
    let mut findings = Findings::new("models");
    let (proxies, rate) = options.pick((100, 20_000), (50, 5_000));
    let rest = Duration::from_secs(options.pick(120, 60));
    let weights = random::zipf(proxies, 1.0);
    let setup = Setup::new(options.seed, proxies, rate);
    let step = setup.step;
    let offered = 1.5 * rate as f64;

    let mut fleet = Fleet::new(setup);
    fleet.demand(0, Pattern::Steady, |proxy| offered * weights[proxy]);
    fleet.run(Duration::from_secs(INVERTED_AT));
    let ratios = fleet.admit_ratios(0, &fleet.beginning());
    fleet.demand(0, Pattern::Steady, |proxy| offered * weights[proxies - 1 - proxy]);
    fleet.run(rest);
    judge(&mut findings, "Weir", &fleet.tables[0].meter, &ratios);
    let weir: Vec<Vec<f64>> = fleet.tables[0].meter.per_second();

    let schemes: [Box<dyn Scheme>; 4] = [
        Box::new(StaticShares::new(proxies, rate as f64)),
        Box::new(Doorman::new(proxies, rate as f64)),
        Box::new(TrickleGrants::new(proxies, rate as f64)),
        Box::new(QuotaAssignments::new(proxies, rate as f64)),
    ];
    let mut columns = vec!["second", "quota", "Weir"];
    let mut rows: Vec<Vec<f64>> = weir.iter().map(|row| vec![row[0], row[4], row[3]]).collect();
    for scheme in schemes {
        let name = scheme.name();
        let mut comparison = Comparison::new(scheme, options.seed, proxies, rate, step);
        comparison.demand(|proxy| offered * weights[proxy]);
        comparison.run(Duration::from_secs(INVERTED_AT));
        let ratios: Vec<f64> =
            comparison.counted.iter().map(|(admitted, asked)| *admitted as f64 / *asked as f64).collect();
        comparison.demand(|proxy| offered * weights[proxies - 1 - proxy]);
        comparison.run(rest);
        judge(&mut findings, name, &comparison.meter, &ratios);
        columns.push(name);
        rows.iter_mut().zip(comparison.meter.per_second()).for_each(|(row, theirs)| row.push(theirs[3]));
    }
    findings.series("models", &columns, rows);
    findings
}

fn judge(findings: &mut Findings, name: &str, meter: &Meter, ratios: &[f64]) {
    let changed = samples(INVERTED_AT as f64);
    let converged = meter.convergence(changed, samples(0.5), 97.0, samples(55.0));
    findings.figure(name, "seconds to 97 % of ideal after inversion", converged, Must::Nothing);
    findings.figure(
        name,
        "% of ideal before it",
        meter.percent_of_ideal(samples(20.0), changed),
        Must::Nothing,
    );
    findings.figure(
        name,
        "% of ideal in the 30 s after it",
        meter.percent_of_ideal(changed, changed + samples(30.0)),
        Must::Nothing,
    );
    findings.figure(
        name,
        "most admitted in 10 s, % of R",
        meter.peak(Duration::from_secs(10)),
        Must::Nothing,
    );
    findings.figure(name, "Jain index of admit ratios before it", jain(ratios), Must::Nothing);
}
