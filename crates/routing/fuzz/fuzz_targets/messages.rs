//! `cargo fuzz run messages --sanitizer none`
#![no_main]

#[path = "../src/messages.rs"]
mod messages;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| messages::run(bytes));
