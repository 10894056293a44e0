//! What is sent, and when: arrivals, operations, keys, items and what they cost. Pure, and the same for the same
//! seed.

mod answer_items;
mod arrivals;
mod cost_warning;
mod invalid_text;
mod item;
mod item_size;
mod key;
mod key_chooser;
mod key_distribution;
mod mix;
mod operation;
mod rate;
mod request_body;
mod request_source;
mod schedule;
mod text_form;
mod unit_rule;
mod ycsb;
mod zipf;

pub use arrivals::{Arrivals, Shape, Spacing};
pub use cost_warning::cost_warnings;
pub use invalid_text::InvalidText;
pub use item_size::ItemSize;
pub use key::{Key, KeySpace, USUAL_ITEMS_PER_PARTITION};
pub use key_distribution::{KeyDistribution, Popularity};
pub use mix::{Mix, MixEntry};
pub use operation::Operation;
pub use rate::Rate;
pub use request_source::{Planned, RequestSource};
pub use schedule::Schedule;
pub(crate) use text_form::text_form;
pub use unit_rule::UnitRule;
pub use ycsb::{YcsbWorkload, ycsb};
