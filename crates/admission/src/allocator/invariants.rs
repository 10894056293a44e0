//! The invariants as named functions: asserted in debug builds, counted in others.

use super::bucket::{Bucket, Sums};

impl Bucket {
    /// I1: Σ`out` ≤ R, or has only fallen since R was lowered.
    pub(super) fn leased_rates_fit_the_quota(&self) -> bool {
        self.sums.out <= self.most_out
    }

    /// I2: L + Σ`hold` ≤ B, or has only fallen since B was lowered.
    pub(super) fn tokens_fit_the_burst(&self) -> bool {
        self.pool.level().get() + self.sums.hold <= self.most_held
    }

    /// The running sums are those of the shares.
    pub(super) fn sums_are_right(&self) -> bool {
        let mut sums = Sums::default();
        self.shares.iter().for_each(|share| sums.add(share));
        sums == self.sums
    }

    /// Counts what does not hold; in debug builds it must.
    pub(super) fn check(&mut self, thoroughly: bool) {
        self.violations.leased_rates += u64::from(!self.leased_rates_fit_the_quota());
        self.violations.tokens += u64::from(!self.tokens_fit_the_burst());
        if thoroughly {
            self.violations.sums += u64::from(!self.sums_are_right());
        }
        debug_assert!(self.violations.is_empty(), "{self:?}");
    }

    pub(super) fn assert_invariants(&self) {
        assert!(self.sums_are_right(), "the running sums are those of the shares");
        assert!(self.leased_rates_fit_the_quota(), "I1: {:?} leased of {:?}", self.sums, self.quota);
        assert!(self.tokens_fit_the_burst(), "I2: pool {:?}, {:?} of {:?}", self.pool, self.sums, self.quota);
    }
}
