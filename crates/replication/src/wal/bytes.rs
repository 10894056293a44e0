//! Little-endian fields, written to a vector and read with bounds.

use std::collections::BTreeSet;

use units::{LogIndex, NodeId, Term};

use super::record::RecordError;
use crate::recovered::{Membership, Position};

/// Most members that a stored membership may list; a group has three or four.
const MAX_MEMBERS: u32 = 64;

pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_position(out: &mut Vec<u8>, position: Position) {
    put_u64(out, position.index.get());
    put_u64(out, position.term.get());
}

pub(super) fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    for set in [&membership.voters, &membership.learners, &membership.outgoing, &membership.learners_next] {
        put_u32(out, u32::try_from(set.len()).expect("a group has few members"));
        for node in set {
            put_u64(out, node.get());
        }
    }
    out.push(u8::from(membership.auto_leave));
}

/// Reads fields off the front of a slice.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(RecordError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, RecordError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, RecordError> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes were taken")))
    }

    pub(super) fn u64(&mut self) -> Result<u64, RecordError> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes were taken")))
    }

    pub(super) fn flag(&mut self) -> Result<bool, RecordError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecordError::Malformed),
        }
    }

    pub(super) fn position(&mut self) -> Result<Position, RecordError> {
        Ok(Position { index: LogIndex::new(self.u64()?), term: Term::new(self.u64()?) })
    }

    fn nodes(&mut self) -> Result<BTreeSet<NodeId>, RecordError> {
        let count = self.u32()?;
        if count > MAX_MEMBERS {
            return Err(RecordError::Malformed);
        }
        (0..count).map(|_| Ok(NodeId::new(self.u64()?))).collect()
    }

    pub(super) fn membership(&mut self) -> Result<Membership, RecordError> {
        Ok(Membership {
            voters: self.nodes()?,
            learners: self.nodes()?,
            outgoing: self.nodes()?,
            learners_next: self.nodes()?,
            auto_leave: self.flag()?,
        })
    }

    pub(super) fn end(self) -> Result<(), RecordError> {
        if self.0.is_empty() { Ok(()) } else { Err(RecordError::Malformed) }
    }
}
