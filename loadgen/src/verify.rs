//! Whether a database keeps its promises: what clients saw is recorded, and checked afterwards.
//!
//! A [`History`] says what each call on each key was told and when. [`check`] decides whether
//!
//! - strong reads and writes are *linearizable* per key: one order explains all answers, in which each call takes
//!   place between its begin and its end. A write that timed out may take place at any later time, or never; one
//!   that surely failed, never;
//! - eventually consistent reads are *monotone* per key and endpoint: they do not go back;
//! - *nothing acknowledged is lost*: strong reads after the run see what was acknowledged last, or what may have
//!   come after it. It follows from the first, if there are such reads; so it is checked that there are.
//!
//! Each written value is unique, so that an answer says which write it comes from. Then no search is needed: the
//! writes that build on one another are one [block](blocks), each block must span a time that follows from its
//! calls (the zone test of Gibbons and Korach, "Testing Shared Memories", 1997), and there is an order if and only
//! if no two of these times contradict each other.

mod args;
pub mod blocks;
pub mod checker;
pub mod history;
mod monotone;
pub mod plan;
mod recorder;
mod run;
pub mod summary;
pub mod timeline;
pub mod told;
pub mod zones;

pub use args::VerifyArgs;

pub use checker::{Findings, Rule, Verdict, Violation, check};
pub use history::{Call, Fate, History, State, What};
pub use run::{Target, check_file, run};

#[cfg(test)]
mod search;
#[cfg(test)]
mod tests;
