//! A run as people and programs see it: one HTML page, a summary for the terminal, JSON, and HDR files.

mod axis;
mod comparison_page;
pub mod figure;
mod file;
#[cfg(test)]
pub(crate) mod fixture;
mod hdr;
mod page;
mod percentiles;
mod plot;
mod repeat;
mod run_page;
mod run_plots;
mod run_tables;
mod runs_page;
mod search_page;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod timeline;
mod verdict;

pub use comparison_page::comparison_html;
pub use file::{UnreadableResult, read_json, to_json, write_json};
pub use hdr::{HdrError, MergedHdr, merge_hdr, write_hdr};
pub use run_page::{html, html_judged};
pub use runs_page::html_many;
pub use search_page::search_html;
pub use text::{text, text_judged};
