//! `cargo fuzz run tree --sanitizer none`
#![no_main]

#[path = "../src/tree.rs"]
mod tree;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tree::run(bytes));
