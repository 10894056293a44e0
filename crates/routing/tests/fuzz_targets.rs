//! What `cargo fuzz` runs by coverage (crates/routing/fuzz), on random bytes: so the targets keep working, and
//! find in every run what is easy to find.

#[path = "../fuzz/src/messages.rs"]
mod messages;
#[path = "../fuzz/src/tree.rs"]
mod tree;

use proptest::prelude::*;

proptest! {
    #[test]
    fn any_operations_keep_tree_and_model_alike(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        tree::run(&bytes);
    }

    #[test]
    fn any_message_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        messages::run(&bytes);
    }
}
