//! Parsed expressions under their texts.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::FixedState;

use super::{Condition, ExpressionKind, KeyConditionExpression, Projection, UpdateExpression};
use crate::error::ApiError;

/// Bytes of texts kept per generation and kind. Programs have some dozen expressions of some hundred bytes;
/// a tree takes up to 40 times its text, so that 2 generations of 5 kinds hold at most some 100 MB however
/// hard someone tries.
const GENERATION_BYTES: usize = 256 << 10;
/// What a text counts for beside its bytes.
const ENTRY_BYTES: usize = 64;

/// Parsed expressions under their texts; bounded, shared by threads, without a clock.
///
/// Two generations: what is found in the older one moves to the newer; when the newer is full, it becomes
/// the older and what had not been asked for since is forgotten. Texts that are no expression are not
/// kept.
#[derive(Debug, Default)]
pub struct ExpressionCache {
    conditions: Kind<Condition>,
    filters: Kind<Condition>,
    key_conditions: Kind<KeyConditionExpression>,
    projections: Kind<Projection>,
    updates: Kind<UpdateExpression>,
}

impl ExpressionCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The parse of a `ConditionExpression`, or of a `FilterExpression` when `kind` says so.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn condition(&self, kind: ExpressionKind, text: &str) -> Result<Arc<Condition>, ApiError> {
        let cached = if kind == ExpressionKind::Filter { &self.filters } else { &self.conditions };
        cached.get_or_parse(text, |text| Condition::parse(kind, text))
    }

    /// The parse of a `KeyConditionExpression`.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn key_condition(&self, text: &str) -> Result<Arc<KeyConditionExpression>, ApiError> {
        self.key_conditions.get_or_parse(text, KeyConditionExpression::parse)
    }

    /// The parse of a `ProjectionExpression`.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn projection(&self, text: &str) -> Result<Arc<Projection>, ApiError> {
        self.projections.get_or_parse(text, Projection::parse)
    }

    /// The parse of an `UpdateExpression`.
    ///
    /// # Errors
    /// `ValidationException` with DynamoDB's message.
    pub fn update(&self, text: &str) -> Result<Arc<UpdateExpression>, ApiError> {
        self.updates.get_or_parse(text, UpdateExpression::parse)
    }
}

/// Texts come from outside, but the map never shows its order, and its size is bounded.
type Generation<T> = HashMap<Arc<str>, Arc<T>, FixedState>;

#[derive(Debug)]
struct Kind<T>(RwLock<Generations<T>>);

#[derive(Debug)]
struct Generations<T> {
    newer: Generation<T>,
    older: Generation<T>,
    /// Of the newer generation.
    bytes: usize,
}

impl<T> Default for Kind<T> {
    fn default() -> Self {
        let (newer, older) = (Generation::default(), Generation::default());
        Self(RwLock::new(Generations { newer, older, bytes: 0 }))
    }
}

impl<T> Kind<T> {
    fn get_or_parse(
        &self,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, ApiError>,
    ) -> Result<Arc<T>, ApiError> {
        // Nothing between taking and giving back the lock panics half-way, so its state is whole.
        if let Some(found) = self.0.read().unwrap_or_else(PoisonError::into_inner).newer.get(text) {
            return Ok(Arc::clone(found));
        }
        let kept = self.0.write().unwrap_or_else(PoisonError::into_inner).older.remove(text);
        let parsed = match kept {
            Some(kept) => kept,
            None => Arc::new(parse(text)?),
        };
        let bytes = text.len() + ENTRY_BYTES;
        // One that would push out all others is not worth keeping.
        if bytes > GENERATION_BYTES / 4 {
            return Ok(parsed);
        }
        let mut generations = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if generations.bytes + bytes > GENERATION_BYTES {
            generations.older = std::mem::take(&mut generations.newer);
            generations.bytes = 0;
        }
        if generations.newer.insert(Arc::from(text), Arc::clone(&parsed)).is_none() {
            generations.bytes += bytes;
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_parsed_once() {
        let cache = ExpressionCache::new();
        let first = cache.projection("a, b").unwrap();
        let second = cache.projection("a, b").unwrap();
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn a_text_in_use_outlives_any_number_of_others_and_the_size_is_bounded() {
        let cache = ExpressionCache::new();
        let kept = cache.projection("kept").unwrap();
        let others = 3 * GENERATION_BYTES / ENTRY_BYTES;
        for number in 0..others {
            cache.projection(&format!("a{number}")).unwrap();
            if number % 500 == 0 {
                cache.projection("kept").unwrap();
            }
        }
        assert!(Arc::ptr_eq(&kept, &cache.projection("kept").unwrap()));
        let generations = cache.projections.0.read().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a sum does not show the order")]
        let texts = generations.newer.keys().chain(generations.older.keys());
        let bytes: usize = texts.map(|text| text.len() + ENTRY_BYTES).sum();
        assert!(bytes <= 2 * GENERATION_BYTES, "{bytes}");
    }

    #[test]
    fn a_text_that_would_push_out_all_others_is_not_kept() {
        let cache = ExpressionCache::new();
        cache.projection(&vec!["a"; GENERATION_BYTES / 4].join(",")).unwrap();
        assert_eq!(cache.projections.0.read().unwrap().newer.len(), 0);
    }

    #[test]
    fn a_text_that_is_no_expression_is_not_kept() {
        let cache = ExpressionCache::new();
        cache.projection("a,").unwrap_err();
        assert_eq!(cache.projections.0.read().unwrap().newer.len(), 0);
    }
}
