//! `weir load`: its command line, and what each command does.

mod args;
mod call;
mod canary;
mod failure;
mod output;
mod prepare;
mod report_files;
mod session;
mod spec_of;

pub use failure::Failure;
pub use session::{Fleets, LocalFleet};

use canary::CanaryArgs;
