//! Keys as sequences of symbols: each byte is two nibbles, and past a key's end stands [`END`], which is less
//! than every nibble. So a key sorts before all that it is a prefix of, as byte strings do.

/// A symbol: [`END`], or a nibble plus one.
pub(super) type Symbol = u8;

/// What stands past a key's end.
pub(super) const END: Symbol = 0;

/// How many symbols there are.
pub(super) const SYMBOLS: u8 = 17;

/// The symbol at a position, counted in nibbles from the key's start.
pub(super) fn symbol(key: &[u8], at: usize) -> Symbol {
    match key.get(at / 2) {
        None => END,
        Some(byte) if at.is_multiple_of(2) => (byte >> 4) + 1,
        Some(byte) => (byte & 15) + 1,
    }
}

/// The first position, from `from` on, at which two keys differ; none: they are equal from there on.
pub(super) fn first_difference(one: &[u8], other: &[u8], from: usize) -> Option<usize> {
    let start = from / 2;
    let (one_rest, other_rest) = (one.get(start..).unwrap_or(&[]), other.get(start..).unwrap_or(&[]));
    let same = one_rest.iter().zip(other_rest).take_while(|(one, other)| one == other).count();
    if same == one_rest.len() && same == other_rest.len() {
        return None;
    }
    let at = (start + same) * 2;
    let at = if symbol(one, at) == symbol(other, at) { at + 1 } else { at };
    Some(at.max(from))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn symbols(key: &[u8]) -> Vec<Symbol> {
        (0..key.len() * 2 + 1).map(|at| symbol(key, at)).collect()
    }

    proptest! {
        #[test]
        fn symbols_sort_as_the_keys_do(one: Vec<u8>, other: Vec<u8>) {
            prop_assert_eq!(symbols(&one).cmp(&symbols(&other)), one.cmp(&other));
        }

        #[test]
        fn the_first_difference_is_where_the_symbols_say(one in "[ab]{0,5}", other in "[abq]{0,5}") {
            let (one, other) = (one.as_bytes(), other.as_bytes());
            let naive = (0..12).find(|at| symbol(one, *at) != symbol(other, *at));
            prop_assert_eq!(first_difference(one, other, 0), naive);
        }
    }
}
