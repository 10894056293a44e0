//! `weir explain`: why a request was refused, in plain words.

use proxy::{Capacity, Explanation, Layer, LevelCheck};

use super::args::ExplainArgs;
use super::failure::Failure;
use super::figure;
use super::fleet::{Fleet, Tier};
use crate::cli::OutputFormat;

/// `weir explain`.
pub(crate) async fn run(args: ExplainArgs) -> Result<(), Failure> {
    let request = args.request.trim();
    if request.is_empty() || !request.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Failure::Refused(format!("{request:?} is neither a request id nor an explain token")));
    }
    let fleet = Fleet::find_tier(&args.reach, Tier::Proxy).await?;
    let path = format!("/admission/explain/{request}");
    let explanation = match fleet.get_all::<Explanation>(Tier::Proxy, &path).await {
        Ok(answers) => answers.given.into_iter().next().map(|(_, explanation)| explanation),
        Err(Failure::NotFound(_)) => None,
        Err(failure) => return Err(failure),
    };
    let Some(explanation) = explanation else { return Err(unknown(request, &fleet)) };
    match args.reach.output {
        OutputFormat::Json => figure::print(serde_json::to_string(&explanation)?)?,
        OutputFormat::Table => figure::print(in_words(&explanation))?,
    }
    Ok(())
}

fn unknown(request: &str, fleet: &Fleet) -> Failure {
    let silent: Vec<_> = fleet.silent().iter().map(|(name, _)| name.as_str()).collect();
    let silent = match silent.is_empty() {
        true => String::new(),
        false => format!("; {} did not answer and may", silent.join(", ")),
    };
    Failure::NotFound(format!(
        "no proxy that answers remembers a refusal of {request}: it was not refused, or so many were refused \
         since that its record was forgotten, or its proxy restarted{silent}"
    ))
}

fn in_words(it: &Explanation) -> String {
    let capacity = unit(it.capacity);
    let mut lines = vec![
        format!("Request   {}", it.request),
        format!(
            "Refused   {} on table {} by {}, {} ({}), at proxy {}",
            it.operation,
            it.table,
            it.principal,
            figure::ago(it.at_ms),
            figure::time(it.at_ms),
            it.proxy
        ),
        format!(
            "Needed    {} {capacity} {} at least",
            figure::units(it.cost),
            if it.cost <= 1.0 { "unit" } else { "units" }
        ),
        format!("Verdict   {}", it.verdict),
        format!("Cause     {} (refused by: {})", it.cause, it.layer),
        match it.retry_after_ms {
            Some(ms) => format!("Retry     in {}", figure::span(ms)),
            None => "Retry     not while the quota is what it is".to_owned(),
        },
        format!(
            "Quota     a higher quota of the {} {} have admitted it",
            match it.layer {
                Layer::Partition | Layer::Node => Layer::Table,
                quotas => quotas,
            },
            if it.higher_quota_helps { "would" } else { "would not" }
        ),
        String::new(),
        "Checked, top down:".to_owned(),
    ];
    for (number, level) in it.levels.iter().enumerate() {
        lines.push(format!("{:>3}. {}", number + 1, level_in_words(level, capacity)));
    }
    if let Some(partition) = &it.partition {
        let mut words = format!(
            "the {} (at its storage node): refused. It may serve {} {capacity} units/s; {} units were left, and \
             {} banked for bursts, which did not help ({}).",
            it.layer,
            figure::units(partition.rate),
            figure::units(partition.level),
            figure::units(partition.banked),
            partition.burst
        );
        if let Some(hot) = &partition.hot_key {
            words.push_str(&format!(
                " {:.0}% of what was asked of the partition was for one key, whose hash begins with {}.",
                hot.part * 100.0,
                hot.hash
            ));
        }
        lines.push(format!("{:>3}. {words}", it.levels.len() + 1));
    }
    lines.join("\n")
}

fn level_in_words(level: &LevelCheck, capacity: &str) -> String {
    let name = match level.layer {
        Layer::Account => format!("the account's part for {}", level.subject),
        layer => format!("{layer} {}", level.subject),
    };
    let outcome = match (level.refused, level.shadow) {
        (true, true) => "would have refused, but only counts (shadow)",
        (true, false) => "refused",
        (false, _) => "passed",
    };
    let version = match (level.layer, level.quota_version) {
        // What a table gets of its account's quota is divided anew all the time: its number says nothing.
        (Layer::Account, _) | (_, 0) => String::new(),
        (_, version) => format!(", version {version}"),
    };
    let lease = match (level.lease_expired, level.lease_age_ms) {
        (true, Some(age)) => {
            format!("its lease of {} ago had run out, so this was the safe rate", figure::span(age))
        }
        (true, None) => "its lease had run out, so this was the safe rate".to_owned(),
        (false, Some(age)) => format!("granted {} ago", figure::span(age)),
        (false, None) => "no grant had come yet".to_owned(),
    };
    let pool = match level.pool.as_str() {
        "comfortable" => "the pool had tokens",
        "scarce" => "the pool was nearly empty",
        "dry" => "the pool was empty: the whole fleet had used the quota up",
        _ => "nothing was known of the pool",
    };
    format!(
        "{name}: {outcome}. Quota {} {capacity} units/s for the whole fleet (burst {}{version}). This proxy held \
         {} of at most {} units, refilling at {}/s ({lease}; {} mode); {pool}.",
        rate(level.quota_rate),
        rate(level.quota_burst),
        figure::units(level.level),
        rate(level.cap),
        rate(level.leased_rate),
        level.mode,
    )
}

/// What is set to mean "no limit" is not shown as a number.
fn rate(units: f64) -> String {
    if units >= 1e15 { "unlimited".to_owned() } else { figure::units(units) }
}

const fn unit(capacity: Capacity) -> &'static str {
    match capacity {
        Capacity::Read => "read",
        Capacity::Write => "write",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_told_in_plain_words() {
        let mut level = LevelCheck {
            layer: Layer::Table,
            subject: "orders".to_owned(),
            refused: true,
            shadow: false,
            quota_rate: 2000.0,
            quota_burst: 600_000.0,
            quota_version: 7,
            level: 0.25,
            cap: 125.0,
            leased_rate: 500.0,
            lease_age_ms: Some(420),
            lease_expired: false,
            mode: "leased".to_owned(),
            pool: "dry".to_owned(),
        };
        assert_eq!(
            level_in_words(&level, "write"),
            "table orders: refused. Quota 2,000 write units/s for the whole fleet (burst 600,000, version 7). \
             This proxy held 0.25 of at most 125 units, refilling at 500/s (granted 420ms ago; leased mode); \
             the pool was empty: the whole fleet had used the quota up."
        );
        level.shadow = true;
        level.lease_expired = true;
        let words = level_in_words(&level, "write");
        assert!(words.contains("only counts (shadow)") && words.contains("the safe rate"), "{words}");
    }
}
