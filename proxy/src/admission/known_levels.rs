//! Which quotas above tables there are, as a GAC server said last: the account's, and principals'. Most
//! deployments have none, and then a request checks its table's quota alone.

use std::collections::HashMap;

use ::admission::{BucketId, CapacityKind};
use wire::proto::gac;

/// Principals with quotas that are kept at most, at about 100 B each.
const MAX_PRINCIPALS: usize = 100_000;

/// The quotas above tables.
#[derive(Debug, Default)]
pub(super) struct KnownLevels {
    /// Grows with every change.
    pub(super) version: u64,
    account_read: bool,
    account_write: bool,
    principals: HashMap<Box<str>, Buckets, foldhash::fast::RandomState>,
}

/// A principal's buckets, where it has quotas.
#[derive(Clone, Copy, Debug, Default)]
struct Buckets {
    read: Option<BucketId>,
    write: Option<BucketId>,
}

impl KnownLevels {
    pub(super) fn read(levels: gac::Levels) -> Self {
        let named = levels.principals.into_iter().take(MAX_PRINCIPALS).map(|principal| {
            let bucket = |kind| BucketId::principal(&principal.name, kind);
            let buckets = Buckets {
                read: principal.read.then(|| bucket(CapacityKind::Read)),
                write: principal.write.then(|| bucket(CapacityKind::Write)),
            };
            (principal.name.clone().into_boxed_str(), buckets)
        });
        Self {
            version: levels.version,
            account_read: levels.account_read,
            account_write: levels.account_write,
            principals: named.collect(),
        }
    }

    /// Whether the account has a quota of this kind.
    pub(super) const fn limits_account(&self, kind: CapacityKind) -> bool {
        match kind {
            CapacityKind::Read => self.account_read,
            CapacityKind::Write => self.account_write,
        }
    }

    /// The principal's bucket, if it has a quota of this kind.
    pub(super) fn principal(&self, name: &str, kind: CapacityKind) -> Option<BucketId> {
        if self.principals.is_empty() {
            return None;
        }
        let buckets = self.principals.get(name)?;
        match kind {
            CapacityKind::Read => buckets.read,
            CapacityKind::Write => buckets.write,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_with_a_quota_of_the_kind_are_checked() {
        let app = gac::Principal { name: "app".into(), read: false, write: true };
        let levels = KnownLevels::read(gac::Levels {
            version: 3,
            account_read: true,
            account_write: false,
            principals: vec![app],
        });
        assert!(levels.limits_account(CapacityKind::Read) && !levels.limits_account(CapacityKind::Write));
        let bucket = BucketId::principal("app", CapacityKind::Write);
        assert_eq!(levels.principal("app", CapacityKind::Write), Some(bucket));
        assert_eq!(levels.principal("app", CapacityKind::Read), None);
        assert_eq!(levels.principal("other", CapacityKind::Write), None);
    }
}
