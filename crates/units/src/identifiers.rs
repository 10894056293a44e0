//! Identifiers and counters that only grow.

use std::fmt;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a raw number read from a stored or received form.
            #[must_use]
            pub const fn new(raw: u64) -> Self {
                Self(raw)
            }

            /// The raw number, for a stored or sent form.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The next one.
            ///
            /// # Panics
            /// When the 64-bit space is used up, which takes centuries.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("64-bit counters do not wrap"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

identifier!(
    /// A process that hosts replicas (storage node) or a member of the control plane. Never 0.
    NodeId,
    "n"
);
identifier!(
    /// A table or an index: each is a partitioned key space of its own. Never reused.
    TableId,
    "t"
);
identifier!(
    /// A partition, and with it its replication group. Never reused. 0 is the control plane's catalog.
    PartitionId,
    "p"
);
identifier!(
    /// A proxy process, chosen at its start.
    ProxyId,
    "x"
);
identifier!(
    /// A number that only grows and fences what came before.
    Epoch,
    "e"
);
identifier!(
    /// A position in a replication group's log; the first entry has 1.
    LogIndex,
    "i"
);
identifier!(
    /// A term of a replication group's leader.
    Term,
    "r"
);

/// An availability zone, by its number in the fleet (0, 1, 2, …).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Zone(u8);

impl Zone {
    /// Wraps a zone's number.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// The zone's number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "az{}", self.0)
    }
}
