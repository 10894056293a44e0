//! Configuration in layers: defaults ← file ← environment (`WEIR_<TIER>_<FIELD>`).

use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::operator_token::OperatorToken;

/// What every tier's process has beside its tier's own configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdminSettings {
    /// Where the operators' endpoint listens. Default: any free port on loopback.
    pub listen: Option<std::net::SocketAddr>,
    /// Who shows it may change things, and may read from other machines. WEIR_OPERATOR_TOKEN overrides it.
    /// Default: none, and then nobody may.
    pub token: Option<OperatorToken>,
}

/// Loads a tier's configuration: `[admin]` for the process, everything else for the tier.
pub(crate) fn load<T: DeserializeOwned>(tier: &str, file: &Path) -> anyhow::Result<(AdminSettings, T)> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the configuration file {}", file.display()))?;
    let mut table: toml::Table =
        text.parse().with_context(|| format!("{} is not valid TOML", file.display()))?;
    let prefix = format!("WEIR_{}_", tier.to_uppercase());
    for (name, value) in std::env::vars() {
        if let Some(field) = name.strip_prefix(&prefix) {
            set(&mut table, &field.to_lowercase(), &value).with_context(|| format!("in {name}"))?;
        }
    }
    let mut admin: AdminSettings = match table.remove("admin") {
        Some(value) => value.try_into().context("in [admin]")?,
        None => AdminSettings::default(),
    };
    if let Some(token) = OperatorToken::of_environment()? {
        admin.token = Some(token);
    }
    let config = toml::Value::Table(table)
        .try_into()
        .with_context(|| format!("{} is not a valid configuration of a {tier}", file.display()))?;
    Ok((admin, config))
}

/// Sets one field from text; a double underscore goes into a sub-table.
fn set(table: &mut toml::Table, path: &str, text: &str) -> anyhow::Result<()> {
    match path.split_once("__") {
        Some((head, rest)) => {
            let entry = table.entry(head).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            match entry {
                toml::Value::Table(inner) => set(inner, rest, text),
                _ => bail!("{head} is a value, not a table"),
            }
        }
        None => {
            table.insert(path.to_owned(), parse_value(text));
            Ok(())
        }
    }
}

/// TOML where it is TOML (numbers, booleans, arrays), otherwise the text itself.
fn parse_value(text: &str) -> toml::Value {
    format!("value = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_underscore_reaches_into_a_sub_table() {
        let mut table = toml::Table::new();
        set(&mut table, "limits__connections", "12").unwrap();
        set(&mut table, "zone", "1").unwrap();
        set(&mut table, "listen", "127.0.0.1:80").unwrap();
        assert_eq!(table["limits"]["connections"].as_integer(), Some(12));
        assert_eq!(table["zone"].as_integer(), Some(1));
        assert_eq!(table["listen"].as_str(), Some("127.0.0.1:80"));
    }
}
