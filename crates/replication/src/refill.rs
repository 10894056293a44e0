//! A replica that lost its data: what it must learn before it may take part again.
//!
//! It may have voted in a term, and may have acknowledged entries, that it does not remember. Every quorum
//! that it was part of has another member; so it asks so many of the others that every such quorum is
//! met. The greatest term among their answers is at least any that it voted in or acknowledged in, and the
//! greatest index that may be committed covers every entry that was on the strength of its acknowledgement. A
//! leader that answers forgets at the same time what the lost replica held. From then on the replica
//! follows leaders of at least that term; when it holds the log up to that index it is whole again.

use std::collections::{BTreeMap, BTreeSet};

use units::{LogIndex, NodeId, Term, Timestamp};

use crate::recovered::Membership;

#[derive(Debug)]
pub(crate) enum Refill {
    /// Asking; silent in all else.
    Asking { answers: BTreeMap<NodeId, (Term, LogIndex)>, next: Timestamp },
    /// Following, without a vote, until the log is held up to here, or up to a commit of a later term.
    Filling { until: LogIndex, term: Term },
}

impl Refill {
    pub(crate) fn asking(now: Timestamp) -> Self {
        Self::Asking { answers: BTreeMap::new(), next: now }
    }

    /// Takes an answer from a member that has its own data. Once there are enough: the term and the
    /// commit index that this replica must reach.
    pub(crate) fn answered(
        &mut self,
        me: NodeId,
        membership: &Membership,
        from: NodeId,
        term: Term,
        commit: LogIndex,
    ) -> Option<(Term, LogIndex)> {
        let Self::Asking { answers, .. } = self else { return None };
        answers.insert(from, (term, commit));
        let enough = |voters: &BTreeSet<NodeId>| {
            let others = voters.iter().filter(|voter| **voter != me && answers.contains_key(voter)).count();
            others >= answers_needed(voters.len())
        };
        if !enough(&membership.voters) || !(membership.outgoing.is_empty() || enough(&membership.outgoing)) {
            return None;
        }
        let term = answers.values().map(|(term, _)| *term).max()?;
        let commit = answers.values().map(|(_, commit)| *commit).max()?;
        *self = Self::Filling { until: commit, term };
        Some((term, commit))
    }
}

/// How many others of so many voters meet every quorum that contains one given voter: a quorum has
/// `voters / 2` others, so fewer than that may remain unasked.
fn answers_needed(voters: usize) -> usize {
    voters - voters / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_answers_meet_every_quorum_that_one_voter_was_part_of() {
        for voters in 1_usize..=7 {
            let others = voters - 1;
            let quorum_others = voters / 2;
            let unasked = others.saturating_sub(answers_needed(voters));
            assert!(unasked < quorum_others.max(1), "{voters} voters");
        }
    }
}
