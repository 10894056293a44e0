//! What a command knows of where it runs: endpoints, region, credentials, and the fleet behind them.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;

use anyhow::Context;

use super::args::TargetArgs;
use super::failure::Failure;
use super::spec_of::Place;
use crate::credentials::{Credentials, Places, find_region};
use crate::engine::{Client, Endpoint};
use crate::spec::{Protocol, RunSpec};

/// Where Weir and other local endpoints are, unless told otherwise.
const USUAL_REGION: &str = "us-east-1";
/// An endpoint of Amazon's names its region: `dynamodb.eu-west-1.amazonaws.com`.
const AMAZON: &str = ".amazonaws.com";

/// A fleet that runs on this machine, found by its folder.
#[derive(Debug, Clone, Default)]
pub struct LocalFleet {
    /// Its proxies.
    pub endpoints: Vec<String>,
    /// Operators' endpoints of its proxies.
    pub operators: Vec<String>,
    /// What they want to see.
    pub operator_token: Option<String>,
    /// A key pair that it accepts.
    pub credentials: Option<Credentials>,
    /// Its processes: name and id.
    pub processes: Vec<(String, u32)>,
}

/// Who knows how to find fleets by their folders.
pub trait Fleets {
    /// The fleet that runs from `dir`.
    fn find(&self, dir: &Path) -> impl Future<Output = anyhow::Result<LocalFleet>> + Send;
}

/// Where a command's requests go, and as whom.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub place: Place,
    pub fleet: LocalFleet,
}

impl Session {
    /// Looks everything up that the flags leave open.
    pub(super) async fn open(target: &TargetArgs, fleets: &impl Fleets) -> Result<Self, Failure> {
        let places = Places::of_process();
        let fleet = match &target.dir {
            Some(dir) => fleets.find(dir).await?,
            None => LocalFleet::default(),
        };
        let mut endpoints = target.endpoints.clone();
        if endpoints.is_empty() {
            endpoints.clone_from(&fleet.endpoints);
        }
        if endpoints.is_empty() {
            let of_variable = |name| (places.variable)(name);
            endpoints
                .extend(of_variable("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| of_variable("AWS_ENDPOINT_URL")));
        }
        for endpoint in &endpoints {
            let parsed = endpoint.parse::<Endpoint>();
            parsed.map_err(|error| Failure::Usage(format!("--endpoint {endpoint}: {error}")))?;
        }
        let region = target
            .region
            .clone()
            .or_else(|| endpoints.first().and_then(|endpoint| region_of(endpoint)))
            .or_else(|| find_region(target.profile.as_deref(), &places))
            .unwrap_or_else(|| USUAL_REGION.to_owned());
        Ok(Self { place: Place { endpoints, region, profile: target.profile.clone() }, fleet })
    }

    /// Who signs for a profile; without one, whoever the fleet's folder names, or the environment.
    pub(super) fn credentials(&self, profile: Option<&str>) -> Result<Credentials, Failure> {
        match (profile, &self.fleet.credentials) {
            (None, Some(of_fleet)) => Ok(of_fleet.clone()),
            _ => Credentials::find(profile, &Places::of_process())
                .context("a request to DynamoDB must be signed; --dir takes the key pair of a local fleet")
                .map_err(Failure::from),
        }
    }

    /// The credentials of each stream's profile; a missing one is better said before a run than in it.
    pub(super) fn all_credentials(
        &self,
        spec: &RunSpec,
    ) -> Result<BTreeMap<Option<String>, Credentials>, Failure> {
        spec.streams
            .iter()
            .map(|stream| Ok((stream.profile.clone(), self.credentials(stream.profile.as_deref())?)))
            .collect()
    }

    /// A client for single calls to one endpoint.
    pub(super) fn client(
        &self,
        endpoint: &str,
        region: &str,
        profile: Option<&str>,
        protocol: Protocol,
    ) -> Result<Client, Failure> {
        let client = Client::new(endpoint, region, self.credentials(profile)?, protocol);
        client.map_err(|error| Failure::Other(error.into()))
    }
}

/// The region in the name of one of Amazon's endpoints.
fn region_of(endpoint: &str) -> Option<String> {
    let host = endpoint.parse::<Endpoint>().ok()?.host().to_owned();
    let name = host.strip_suffix(AMAZON).or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    let region = name.rsplit('.').next()?;
    // `dynamodb.amazonaws.com` is the first region's.
    Some(if region.starts_with("dynamodb") { USUAL_REGION.to_owned() } else { region.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amazons_endpoints_name_their_region_and_others_do_not() {
        for (endpoint, region) in [
            ("https://dynamodb.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("https://123456789012.ddb.us-west-2.amazonaws.com", Some("us-west-2")),
            ("https://dynamodb.amazonaws.com", Some("us-east-1")),
            ("https://dynamodb.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("http://127.0.0.1:8000", None),
        ] {
            assert_eq!(region_of(endpoint).as_deref(), region, "{endpoint}");
        }
    }
}
