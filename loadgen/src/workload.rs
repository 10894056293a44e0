//! What is sent, and when: arrivals, operations, keys, items and what they cost. Pure, and the same for the same
//! seed.

mod arrivals;
mod invalid_text;
mod item_size;
mod key_distribution;
mod mix;
mod operation;
mod rate;
mod request_source;
mod schedule;
mod text_form;
mod unit_rule;
mod ycsb;

pub use arrivals::{Arrivals, Shape, Spacing};
pub use invalid_text::InvalidText;
pub use item_size::ItemSize;
pub use key_distribution::{KeyDistribution, Popularity};
pub use mix::{Mix, MixEntry};
pub use operation::Operation;
pub use rate::Rate;
pub use request_source::{Planned, RequestSource};
pub use schedule::Schedule;
pub(crate) use text_form::text_form;
pub use unit_rule::UnitRule;
pub use ycsb::{YcsbWorkload, ycsb};
