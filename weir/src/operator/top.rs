//! `weir top`: tables and principals by what they ask for, summed over all proxies.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use proxy::{Amount, Capacity, Cause, Flow, Top, TopRow};
use serde::Serialize;

use super::args::TopArgs;
use super::failure::Failure;
use super::figure;
use super::fleet::{Answers, Fleet, Tier};
use crate::cli::OutputFormat;

/// How often a live display is renewed: proxies count by the second.
const REFRESH: Duration = Duration::from_secs(1);
/// Clears the terminal and goes to its top left.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// The whole fleet's traffic, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct FleetTop {
    /// Proxies that answered.
    proxies: usize,
    /// Those that did not: name → why.
    missing: BTreeMap<String, String>,
    tables: Vec<TopRow>,
    principals: Vec<TopRow>,
}

/// `weir top`.
pub(crate) async fn run(args: TopArgs) -> Result<(), Failure> {
    let live = !args.once && args.reach.output == OutputFormat::Table && std::io::stdout().is_terminal();
    let mut fleet = Fleet::find_tier(&args.reach, Tier::Proxy).await?;
    loop {
        let seen = merged(fleet.get_all::<Top>(Tier::Proxy, "/admission/top").await?, &fleet);
        match (args.reach.output, live) {
            (OutputFormat::Json, _) => figure::print(serde_json::to_string(&seen)?)?,
            (OutputFormat::Table, false) => figure::print(seen.shown(args.rows, Window::TenSeconds))?,
            (OutputFormat::Table, true) => {
                figure::print(format!("{CLEAR}{}", seen.shown(args.rows, Window::Second)))?;
            }
        }
        if !live {
            return Ok(());
        }
        tokio::time::sleep(REFRESH).await;
        // A proxy that was away may be back.
        if !seen.missing.is_empty() {
            fleet = Fleet::find_tier(&args.reach, Tier::Proxy).await?;
        }
    }
}

fn merged(answers: Answers<Top>, fleet: &Fleet) -> FleetTop {
    let mut missing: BTreeMap<String, String> =
        answers.missing.into_iter().map(|(name, failure)| (name, failure.to_string())).collect();
    missing.extend(fleet.silent_of(Tier::Proxy));
    let proxies = answers.given.len();
    let (tables, principals) = answers
        .given
        .into_iter()
        .map(|(_, top)| (top.tables, top.principals))
        .unzip::<_, _, Vec<_>, Vec<_>>();
    FleetTop { proxies, missing, tables: summed(tables), principals: summed(principals) }
}

/// One row per name and capacity, the busiest first.
fn summed(proxies: Vec<Vec<TopRow>>) -> Vec<TopRow> {
    let mut rows: BTreeMap<(String, Capacity), TopRow> = BTreeMap::new();
    for row in proxies.into_iter().flatten() {
        let total = rows.entry((row.name.clone(), row.capacity)).or_insert_with(|| TopRow {
            name: row.name,
            capacity: row.capacity,
            last_second: Flow::default(),
            last_ten_seconds: Flow::default(),
        });
        add(&mut total.last_second, &row.last_second);
        add(&mut total.last_ten_seconds, &row.last_ten_seconds);
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    let offered = |row: &TopRow| row.last_ten_seconds.offered;
    rows.sort_by(|a, b| offered(b).units.total_cmp(&offered(a).units));
    rows
}

fn add(total: &mut Flow, part: &Flow) {
    add_amount(&mut total.offered, part.offered);
    add_amount(&mut total.admitted, part.admitted);
    add_amount(&mut total.shadow, part.shadow);
    for (cause, amount) in &part.throttled {
        add_amount(total.throttled.entry(*cause).or_default(), *amount);
    }
}

fn add_amount(total: &mut Amount, part: Amount) {
    total.units += part.units;
    total.requests += part.requests;
}

#[derive(Clone, Copy)]
enum Window {
    Second,
    TenSeconds,
}

impl Window {
    fn of(self, row: &TopRow) -> &Flow {
        match self {
            Self::Second => &row.last_second,
            Self::TenSeconds => &row.last_ten_seconds,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Second => "the last second",
            Self::TenSeconds => "the last ten seconds",
        }
    }
}

impl FleetTop {
    fn shown(&self, rows: usize, window: Window) -> String {
        let mut text = format!(
            "{} {} · capacity units per second over {}",
            self.proxies,
            if self.proxies == 1 { "proxy" } else { "proxies" },
            window.name()
        );
        for (name, why) in &self.missing {
            text.push_str(&format!("\n! {name} is missing: {why}"));
        }
        for (title, kind) in [("TABLE", &self.tables), ("PRINCIPAL", &self.principals)] {
            text.push_str("\n\n");
            text.push_str(&block(title, kind, rows, window));
        }
        text
    }
}

fn block(title: &str, rows: &[TopRow], limit: usize, window: Window) -> String {
    let mut table = figure::table(&[
        title,
        "CAPACITY",
        ">OFFERED",
        ">ADMITTED",
        ">THROTTLED",
        ">QUOTA",
        ">SHARE",
        ">ACCOUNT",
        ">PARTITION",
        ">NODE",
        ">SHADOW",
        ">REQUESTS",
    ]);
    for row in rows.iter().take(limit) {
        let flow = window.of(row);
        let refused = |cause: Cause| flow.throttled.get(&cause).map_or(0.0, |amount| amount.units);
        let capacity = match row.capacity {
            Capacity::Read => "read",
            Capacity::Write => "write",
        };
        let mut cells = vec![row.name.clone(), capacity.to_owned()];
        cells.extend([flow.offered.units, flow.admitted.units].map(figure::units));
        cells.push(figure::units(flow.throttled.values().map(|amount| amount.units).sum()));
        cells.extend(Cause::ALL.map(|cause| dash(refused(cause))));
        cells.extend([dash(flow.shadow.units), figure::units(flow.offered.requests)]);
        table.add_row(cells);
    }
    if rows.is_empty() {
        return format!("{}\n (nothing in ten seconds)", figure::trimmed(&table));
    }
    figure::trimmed(&table)
}

/// Nothing is shown as a dash, so that what is there catches the eye.
fn dash(units: f64) -> String {
    if units == 0.0 { "-".to_owned() } else { figure::units(units) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_several_proxies_are_summed_by_name_and_capacity() {
        let rows = summed(vec![
            vec![row("orders", Capacity::Write, 10.0, 4.0), row("orders", Capacity::Read, 1.0, 0.0)],
            vec![row("orders", Capacity::Write, 30.0, 6.0), row("users", Capacity::Write, 20.0, 0.0)],
        ]);

        let names: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.capacity)).collect();
        assert_eq!(
            names,
            [("orders", Capacity::Write), ("users", Capacity::Write), ("orders", Capacity::Read)],
            "the busiest stands first"
        );
        assert_eq!(rows[0].last_second.offered.units, 40.0);
        assert_eq!(rows[0].last_second.throttled[&Cause::Share].units, 10.0);
    }

    #[test]
    fn a_proxy_that_does_not_answer_is_named() {
        let seen = FleetTop {
            proxies: 1,
            missing: [("proxy-2".to_owned(), "no answer".to_owned())].into(),
            tables: Vec::new(),
            principals: Vec::new(),
        };
        assert!(seen.shown(5, Window::Second).contains("proxy-2 is missing: no answer"));
    }

    fn row(name: &str, capacity: Capacity, offered: f64, share: f64) -> TopRow {
        let amount = |units| Amount { units, requests: units };
        let flow = Flow {
            offered: amount(offered),
            admitted: amount(offered - share),
            throttled: [(Cause::Share, amount(share))].into(),
            shadow: Amount::default(),
        };
        TopRow { name: name.to_owned(), capacity, last_second: flow.clone(), last_ten_seconds: flow }
    }
}
