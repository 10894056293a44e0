//! Items: how large the one of each key is, and its attributes as JSON.
//!
//! An item has its key, and either one string `v` that fills it up to its size, or YCSB's fields. Its size depends
//! on its key's number alone, so that what a write replaces is known, and a run's costs are exact.

use std::f64::consts::TAU;
use std::io::Write as _;
use std::sync::LazyLock;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::item_size::{ItemSize, MAX_ITEM_BYTES};
use super::key::{KeySpace, scramble};

/// Bytes of the name `v`.
const VALUE_NAME_BYTES: u32 = 1;
/// How many different places of the filler an item's content can begin at.
const FILLER_PLACES: usize = 64 * 1024;
/// Keeps sizes apart from the key texts, which are scrambled numbers, too.
const SIZE_SALT: u64 = 0x5EED_0F5E_1235_0001;

/// Random letters and digits that values are cut from: they do not compress, and need no escapes in JSON.
static FILLER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut filler = vec![0; MAX_ITEM_BYTES as usize + FILLER_PLACES];
    ChaCha8Rng::seed_from_u64(0).fill(filler.as_mut_slice());
    for byte in &mut filler {
        *byte = LETTERS[usize::from(*byte % 64)];
    }
    filler
});

/// What the items of a stream look like.
#[derive(Debug, Clone, Copy)]
pub(super) struct ItemLayout {
    size: ItemSize,
    /// What the key attributes count for.
    key_bytes: u32,
    filler: &'static [u8],
}

impl ItemLayout {
    pub(super) fn new(size: ItemSize, keys: &KeySpace) -> Self {
        Self { size, key_bytes: keys.key_bytes(), filler: FILLER.as_slice() }
    }

    /// The size of the item of this key number by DynamoDB's rule, in bytes.
    pub(super) fn bytes(&self, number: u64) -> u32 {
        let wanted = match self.size {
            ItemSize::Fixed(bytes) => bytes,
            ItemSize::Uniform { least, most } => {
                let point = unit_interval(scramble(number ^ SIZE_SALT));
                least + (point * f64::from(most - least + 1)) as u32
            }
            ItemSize::Lognormal { median, sigma } => {
                (f64::from(median) * (sigma * normal(number)).exp()).round() as u32
            }
            ItemSize::Fields { count, bytes } => self.key_bytes + fields_bytes(count, bytes),
        };
        wanted.clamp(self.least_bytes(), MAX_ITEM_BYTES)
    }

    /// The size of an item that has no content beside its keys.
    pub(super) const fn least_bytes(&self) -> u32 {
        self.key_bytes + VALUE_NAME_BYTES
    }

    /// Bytes that [`Self::write_content`] appends for an item of so many bytes.
    pub(super) fn content_json_bytes(&self, item_bytes: u32) -> usize {
        match self.size {
            ItemSize::Fields { count, bytes } => {
                let each = r#","":{"S":""}"#.len();
                fields_bytes(count, bytes) as usize + count as usize * each
            }
            _ => r#","v":{"S":""}"#.len() + self.value_bytes(item_bytes),
        }
    }

    /// Appends the attributes beside the key, each after a comma.
    pub(super) fn write_content(&self, item_bytes: u32, rng: &mut impl Rng, out: &mut Vec<u8>) {
        match self.size {
            ItemSize::Fields { count, bytes } => {
                for field in 0..count {
                    out.extend_from_slice(br#",""#);
                    write_field_name(field, out);
                    out.extend_from_slice(br#"":{"S":""#);
                    out.extend_from_slice(self.filling(bytes as usize, rng));
                    out.extend_from_slice(br#""}"#);
                }
            }
            _ => {
                out.extend_from_slice(br#","v":{"S":""#);
                out.extend_from_slice(self.filling(self.value_bytes(item_bytes), rng));
                out.extend_from_slice(br#""}"#);
            }
        }
    }

    /// Appends the name of the attribute that an update sets, and says how long its value is: `v`, or any field.
    pub(super) fn write_updated_name(&self, item_bytes: u32, rng: &mut impl Rng, out: &mut Vec<u8>) -> usize {
        match self.size {
            ItemSize::Fields { count, bytes } => {
                write_field_name(rng.random_range(0..count), out);
                bytes as usize
            }
            _ => {
                out.push(b'v');
                self.value_bytes(item_bytes)
            }
        }
    }

    /// Random content of so many bytes.
    pub(super) fn filling(&self, bytes: usize, rng: &mut impl Rng) -> &'static [u8] {
        let place = rng.random_range(0..FILLER_PLACES);
        &self.filler[place..place + bytes]
    }

    const fn value_bytes(&self, item_bytes: u32) -> usize {
        (item_bytes - self.least_bytes()) as usize
    }
}

fn write_field_name(field: u32, out: &mut Vec<u8>) {
    write!(out, "field{field}").expect("memory can be written to");
}

/// What so many fields count for, names included.
pub(super) fn fields_bytes(count: u32, bytes: u32) -> u32 {
    let digits: u32 = (0..count).map(|field| field.checked_ilog10().unwrap_or(0) + 1).sum();
    count * ("field".len() as u32 + bytes) + digits
}

/// The upper 53 bits as a number from 0 to below 1.
fn unit_interval(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number of the standard normal distribution, by Box and Muller's transform; always the same for a key.
fn normal(number: u64) -> f64 {
    let first = scramble(number ^ SIZE_SALT);
    let radius = (-2.0 * (1.0 - unit_interval(first)).ln()).sqrt();
    radius * (TAU * unit_interval(scramble(first))).cos()
}

#[cfg(test)]
mod tests {
    use dynamodb::json::decode_item;

    use super::*;

    const LAYOUTS: [&str; 7] =
        ["900", "1", "uniform:100-2000", "lognormal:900:0.5", "fields:10x100", "fields:101x3", "409600"];

    fn layout(size: &str, keys: &str) -> (ItemLayout, KeySpace) {
        let keys = KeySpace::of(&keys.parse().unwrap(), &"get=1".parse().unwrap());
        (ItemLayout::new(size.parse().unwrap(), &keys), keys)
    }

    #[test]
    fn an_item_has_exactly_its_size_by_the_products_own_rule() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for size in LAYOUTS {
            for keys in ["uniform:1000", "uniform:1000 by 10"] {
                let (layout, keys) = layout(size, keys);
                for number in [0, 1, 2, 500, 999, 1_000_000] {
                    let mut json = b"{".to_vec();
                    keys.key(number).write_json(&mut json);
                    let before = json.len();
                    layout.write_content(layout.bytes(number), &mut rng, &mut json);
                    assert_eq!(json.len() - before, layout.content_json_bytes(layout.bytes(number)));
                    json.push(b'}');

                    let item = decode_item(&json).unwrap();

                    assert_eq!(item.view().size(), u64::from(layout.bytes(number)), "{size}, key {number}");
                }
            }
        }
    }

    #[test]
    fn sizes_stay_between_the_keys_alone_and_400_kb() {
        for size in ["1", "lognormal:400000:3", "lognormal:2:3"] {
            let (layout, _) = layout(size, "uniform:1000");
            assert!((0..1000).all(|number| (27..=409_600).contains(&layout.bytes(number))));
        }
    }

    #[test]
    fn uniform_sizes_are_evenly_spread() {
        let (layout, _) = layout("uniform:100-2000", "uniform:1000");
        let sizes: Vec<u32> = (0..100_000).map(|number| layout.bytes(number)).collect();

        let mean = sizes.iter().map(|size| f64::from(*size)).sum::<f64>() / 100_000.0;
        assert_eq!((sizes.iter().min(), sizes.iter().max()), (Some(&100), Some(&2000)));
        // Four standard errors: the width by √12, by √100,000.
        assert!((mean - 1050.0).abs() < 4.0 * 1901.0 / 12_f64.sqrt() / 316.0, "{mean}");
    }

    #[test]
    fn lognormal_sizes_have_their_median_and_spread() {
        let (layout, _) = layout("lognormal:900:0.5", "uniform:1000");
        let mut sizes: Vec<u32> = (0..100_000).map(|number| layout.bytes(number)).collect();
        sizes.sort_unstable();

        let at = |quantile: f64| f64::from(sizes[(quantile * 100_000.0) as usize]);
        // e^(±0.5) away lie the 15.87 % quantiles of a normal distribution.
        for (quantile, expected) in [(0.1587, 545.9), (0.5, 900.0), (0.8413, 1483.8)] {
            assert!((at(quantile) / expected - 1.0).abs() < 0.015, "{quantile}: {}", at(quantile));
        }
    }
}
