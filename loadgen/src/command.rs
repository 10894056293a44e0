//! `weir load`: its command line, and what each command does.

mod args;
mod failure;
mod spec_of;

pub use failure::Failure;
