//! One version of a file that is being fetched: what is there of it, and what is known.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use protocol::Digest;
use protocol::limits::BLOCK;
use transfer::block_tree::block_count;

use crate::block_digests::BlockDigests;
use crate::fetch::Fetched;
use crate::publish::Finish;
use crate::stripe::plan::{Origin, Plan};
use crate::stripe::roster::Roster;
use crate::trailer::Trailer;

#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) trailer: Trailer,
    finish: Finish,
    pub(crate) plan: Plan,
    pub(crate) digests: BlockDigests,
    /// The digest of the whole, as far as it is known.
    pub(crate) announced: Option<Digest>,
    /// Whether the blocks of an earlier try are hashed.
    pub(crate) kept_is_hashed: bool,
    /// Whether they are known to be right.
    pub(crate) kept_is_right: bool,
}

impl Work {
    /// Of which the blocks `kept` are there from an earlier try.
    pub(crate) fn new(
        trailer: Trailer,
        finish: Finish,
        announced: Option<Digest>,
        kept: &[u64],
    ) -> Self {
        let mut plan = Plan::new(block_count(trailer.size));
        kept.iter().for_each(|index| plan.keep(*index));
        Self {
            digests: BlockDigests::blank(trailer.size, plan.count()),
            trailer,
            finish,
            plan,
            announced,
            kept_is_hashed: kept.is_empty(),
            kept_is_right: kept.is_empty(),
        }
    }

    /// Has every block whose digest is not that of `right` fetched again: how many those are of each slave. Unless all are
    /// `hashed`, only those of an earlier try are.
    pub(crate) fn reject(&mut self, right: &[Digest], hashed: bool) -> BTreeMap<Origin, u64> {
        let kept: Vec<u64> = self.plan.kept().collect();
        let pairs = self.digests.digests().iter().zip(right);
        let wrong: Vec<u64> = (0..)
            .zip(pairs)
            .filter(|(_, (ours, theirs))| ours != theirs)
            .map(|(index, _)| index)
            .filter(|index| hashed || kept.binary_search(index).is_ok())
            .collect();
        let mut by_slave = BTreeMap::new();
        for origin in wrong
            .into_iter()
            .filter_map(|index| self.plan.reject(index))
        {
            *by_slave.entry(origin).or_default() += 1;
        }
        by_slave
    }

    /// The content as it is given back, whole.
    pub(crate) fn fetched(&self, roster: &Roster, digest: Option<Digest>) -> Fetched {
        let size = self.trailer.size;
        let length = |index: u64| size.saturating_sub(index * BLOCK).min(BLOCK);
        let mut served: Vec<_> = self.plan.served().into_iter().collect();
        served.sort_by_key(|(_, blocks)| Reverse(*blocks));
        let mut slaves: Vec<SocketAddr> = Vec::new();
        for (origin, _) in served {
            slaves.extend(
                roster
                    .address(origin)
                    .filter(|slave| !slaves.contains(slave)),
            );
        }
        Fetched {
            trailer: self.trailer.clone(),
            finish: self.finish,
            digest,
            resumed_at: self.plan.kept().map(length).sum(),
            slaves,
        }
    }
}
