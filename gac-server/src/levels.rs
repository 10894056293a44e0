//! Which quotas above tables there are: what a proxy must know to check an account's or a principal's
//! quota. Answered from what the control plane said last.

use std::collections::BTreeMap;

use admission::{BucketId, CapacityKind, Level};
use units::UnixMillis;
use wire::proto::control::Quotas;
use wire::proto::gac;

/// Principals that are kept at most: 100 bytes each.
const MAX_PRINCIPALS: usize = 100_000;
/// The longest name of a principal that is kept. Source: IAM, "IAM and AWS STS quotas" (ARNs have up to
/// 2,048 characters).
const MAX_NAME_BYTES: usize = 2_048;

/// The quotas above tables.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    /// When the set changed last, by this server's wall clock; 0: nothing was heard yet. So versions of
    /// different servers compare: a proxy asks whoever has heard of a change last.
    version: u64,
    account: AccountQuotas,
    principals: BTreeMap<BucketId, String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct AccountQuotas {
    read: bool,
    write: bool,
}

impl Levels {
    /// Takes what the control plane says; whether the set changed.
    pub(crate) fn take(&mut self, quotas: &Quotas, now: UnixMillis) -> bool {
        let named = quotas.quotas.iter().filter_map(|quota| {
            let (bucket, _) = quota.parts();
            let name = (bucket.level() == Level::Principal && quota.name.len() <= MAX_NAME_BYTES)
                .then(|| quota.name.clone())?;
            Some((bucket, name))
        });
        let mut principals = if quotas.complete { BTreeMap::new() } else { self.principals.clone() };
        for (bucket, name) in named {
            if principals.len() < MAX_PRINCIPALS || principals.contains_key(&bucket) {
                principals.insert(bucket, name);
            }
        }
        // A part of the quotas says nothing of the principals that it does not name; but every message
        // tells of the account.
        let account =
            AccountQuotas { read: quotas.account_read.is_some(), write: quotas.account_write.is_some() };
        let first = self.version == 0 && quotas.complete;
        if !first && account == self.account && principals == self.principals {
            return false;
        }
        (self.account, self.principals) = (account, principals);
        self.version = now.get().max(self.version + 1);
        true
    }

    /// Grows when the set changes.
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// The name behind a principal's bucket.
    pub(crate) fn name(&self, bucket: BucketId) -> Option<&str> {
        self.principals.get(&bucket).map(String::as_str)
    }

    /// What proxies are told.
    pub(crate) fn to_wire(&self) -> gac::Levels {
        let mut principals: BTreeMap<&str, gac::Principal> = BTreeMap::new();
        for (bucket, name) in &self.principals {
            let principal = principals.entry(name).or_default();
            principal.name.clone_from(name);
            match bucket.kind() {
                CapacityKind::Read => principal.read = true,
                CapacityKind::Write => principal.write = true,
            }
        }
        gac::Levels {
            version: self.version,
            account_read: self.account.read,
            account_write: self.account.write,
            principals: principals.into_values().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use admission::Quota;
    use units::{MilliUnitsPerSecond, TableId};
    use wire::proto::control;

    use super::*;

    fn quota_of(bucket: BucketId, name: &str) -> control::Quota {
        let quota = Quota::with_usual_burst(MilliUnitsPerSecond::from_units(5), 1);
        control::Quota { name: name.to_owned(), ..control::Quota::of(bucket, quota) }
    }

    fn principal(number: u64, kind: CapacityKind, name: &str) -> control::Quota {
        quota_of(BucketId::at(Level::Principal, number, kind), name)
    }

    fn quotas(complete: bool, quotas: Vec<control::Quota>) -> Quotas {
        Quotas { quotas, complete, ..Quotas::default() }
    }

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::new(millis)
    }

    #[test]
    fn the_version_grows_only_when_the_set_changes() {
        let mut levels = Levels::default();
        assert!(levels.take(&quotas(true, vec![principal(1, CapacityKind::Read, "app")]), at(100)));
        assert_eq!(levels.version(), 100);
        assert!(!levels.take(&quotas(true, vec![principal(1, CapacityKind::Read, "app")]), at(200)));
        let table = quota_of(BucketId::new(TableId::new(4), CapacityKind::Read), "");
        assert!(!levels.take(&quotas(false, vec![table]), at(300)));
        assert_eq!(levels.version(), 100);
        assert!(levels.take(&quotas(false, vec![principal(1, CapacityKind::Write, "app")]), at(400)));
        assert_eq!(levels.version(), 400);
        let known = levels.to_wire();
        let app = gac::Principal { name: "app".to_owned(), read: true, write: true };
        assert_eq!((known.version, known.principals), (400, vec![app]));
    }

    #[test]
    fn only_a_whole_push_takes_a_principal_away() {
        let mut levels = Levels::default();
        assert!(levels.take(&quotas(true, vec![principal(1, CapacityKind::Read, "app")]), at(1)));
        assert!(!levels.take(&quotas(false, Vec::new()), at(2)));
        assert_eq!(levels.to_wire().principals.len(), 1);
        assert!(levels.take(&quotas(true, Vec::new()), at(3)));
        assert_eq!(levels.to_wire(), gac::Levels { version: 3, ..gac::Levels::default() });
    }

    #[test]
    fn every_message_tells_whether_the_account_has_a_quota() {
        let mut levels = Levels::default();
        let limited = Quotas { account_read: Some(control::Quota::default()), ..Quotas::default() };
        assert!(levels.take(&limited, at(1)));
        assert!(levels.to_wire().account_read && !levels.to_wire().account_write);
        assert!(levels.take(&Quotas::default(), at(2)));
        assert!(!levels.to_wire().account_read);
    }

    #[test]
    fn a_clock_that_went_back_does_not_hide_a_change() {
        let mut levels = Levels::default();
        levels.take(&quotas(true, Vec::new()), at(1_000));
        assert!(levels.take(&quotas(false, vec![principal(1, CapacityKind::Read, "app")]), at(10)));
        assert_eq!(levels.version(), 1_001);
    }
}
