//! `weir load verify`.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::args::TargetArgs;
use super::failure::Failure;
use super::session::{Fleets, Session};
use crate::verify::{self, Target, Verdict};

/// Arguments of `weir load verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    verify: verify::VerifyArgs,
}

/// `weir load verify`.
pub(super) async fn run(
    args: VerifyArgs,
    fleets: &impl Fleets,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let findings = match &args.verify.check {
        Some(path) => verify::check_file(path)?,
        None => {
            let session = Session::open(&args.target, fleets).await?;
            let endpoints = session.place.endpoints.clone();
            if endpoints.is_empty() {
                let what = "name an --endpoint, or a local fleet's folder by --dir";
                return Err(Failure::Usage(what.to_owned()));
            }
            let credentials = session.credentials(args.target.profile.as_deref())?;
            let target = Target { endpoints, region: session.place.region.clone(), credentials };
            verify::run(&target, &args.verify, stop).await?
        }
    };
    match findings.verdict() {
        Verdict::Held => Ok(()),
        Verdict::Violated => Err(Failure::Missed("a promise was broken".to_owned())),
        Verdict::Inconclusive => {
            Err(Failure::Invalid("too little was checked to say that all held".to_owned()))
        }
    }
}
