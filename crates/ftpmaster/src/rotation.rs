//! Whose turn it is. Pure: no clock, no lock, no socket.

use std::cmp::Reverse;

use clap::ValueEnum;

/// How turns are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// One after the other
    #[default]
    RoundRobin,
    /// The one with the most free places, of equals one after the other
    LeastBusy,
}

/// A slave that could serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    /// Its fixed rank: the order in which the slaves became known.
    pub(crate) order: u64,
    /// Sessions there, as far as is known.
    pub(crate) sessions: u32,
    /// Sessions that it can serve at once; 0 when unknown.
    pub(crate) places: u32,
    /// Whether it said that it has no free place.
    pub(crate) full: bool,
    /// Whether this client has just found it dead or busy.
    pub(crate) tried: bool,
}

/// Remembers who was served last. Ranks never change, so slaves may come and go without anybody losing a turn.
#[derive(Debug, Default)]
pub(crate) struct Rotation {
    last: Option<u64>,
}

impl Rotation {
    /// The order in which a client should try them: indexes into `contenders`.
    pub(crate) fn arrange(&self, policy: Policy, contenders: &[Contender]) -> Vec<usize> {
        let mut indexed: Vec<(usize, &Contender)> = contenders.iter().enumerate().collect();
        indexed.sort_by_key(|(_, contender)| {
            let busy = match policy {
                Policy::RoundRobin => 0,
                Policy::LeastBusy => busyness(contender),
            };
            let behind_last = self.last.is_none_or(|last| contender.order > last);
            (
                contender.tried,
                contender.full,
                busy,
                Reverse(behind_last),
                contender.order,
            )
        });
        indexed.into_iter().map(|(index, _)| index).collect()
    }

    /// The slave of this rank has had its turn.
    pub(crate) const fn served(&mut self, order: u64) {
        self.last = Some(order);
    }
}

/// The share of places that are taken, as a number that can be compared.
fn busyness(contender: &Contender) -> u64 {
    (u64::from(contender.sessions) << 20) / u64::from(contender.places.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDLE: Contender = Contender {
        order: 0,
        sessions: 0,
        places: 10,
        full: false,
        tried: false,
    };

    fn idle(orders: &[u64]) -> Vec<Contender> {
        orders
            .iter()
            .map(|&order| Contender { order, ..IDLE })
            .collect()
    }

    /// Takes a turn, and tells whose it was and who stands behind.
    fn turn(rotation: &mut Rotation, policy: Policy, contenders: &[Contender]) -> Vec<u64> {
        let orders: Vec<u64> = rotation
            .arrange(policy, contenders)
            .into_iter()
            .map(|index| contenders[index].order)
            .collect();
        rotation.served(orders[0]);
        orders
    }

    #[test]
    fn each_has_its_turn_and_the_others_stand_behind() {
        let mut rotation = Rotation::default();
        let slaves = idle(&[1, 2, 3]);
        let mut next = || turn(&mut rotation, Policy::RoundRobin, &slaves);
        assert_eq!(next(), [1, 2, 3]);
        assert_eq!(next(), [2, 3, 1]);
        assert_eq!(next(), [3, 1, 2]);
        assert_eq!(next(), [1, 2, 3]);
    }

    #[test]
    fn slaves_that_come_and_go_take_no_turn_from_the_others() {
        let mut rotation = Rotation::default();
        let mut first = |orders: &[u64]| turn(&mut rotation, Policy::RoundRobin, &idle(orders))[0];
        assert_eq!(first(&[1, 2, 3]), 1);
        assert_eq!(first(&[1, 3]), 3);
        assert_eq!(first(&[1, 2, 3]), 1);
        assert_eq!(first(&[2, 3, 4]), 2);
        assert_eq!(first(&[4]), 4);
        assert_eq!(first(&[1, 2]), 1);
    }

    #[test]
    fn the_tried_and_the_full_come_last() {
        let mut slaves = idle(&[1, 2, 3, 4]);
        slaves[0].tried = true;
        slaves[1].full = true;
        let mut rotation = Rotation::default();
        assert_eq!(
            turn(&mut rotation, Policy::RoundRobin, &slaves),
            [3, 4, 2, 1]
        );
        assert_eq!(
            turn(&mut rotation, Policy::RoundRobin, &slaves),
            [4, 3, 2, 1]
        );
    }

    #[test]
    fn the_least_busy_is_first_and_equals_take_turns() {
        let mut slaves = idle(&[1, 2, 3]);
        slaves[0].sessions = 9;
        (slaves[1].sessions, slaves[1].places) = (10, 1000);
        (slaves[2].sessions, slaves[2].places) = (10, 1000);
        let mut rotation = Rotation::default();
        let mut next = || turn(&mut rotation, Policy::LeastBusy, &slaves);
        assert_eq!(next(), [2, 3, 1]);
        assert_eq!(next(), [3, 2, 1]);
        assert_eq!(next(), [2, 3, 1]);
    }

    proptest! {
        #[test]
        fn nobody_waits_longer_than_a_round(count in 1_u64..20, skip in 0_usize..50) {
            let orders: Vec<u64> = (0..count).collect();
            let mut rotation = Rotation::default();
            let mut served: Vec<u64> = Vec::new();
            for _ in 0..skip + orders.len() {
                served.push(turn(&mut rotation, Policy::RoundRobin, &idle(&orders))[0]);
            }
            let mut round = served.split_off(skip);
            round.sort_unstable();
            prop_assert_eq!(round, orders);
        }

        #[test]
        fn everybody_is_listed_once(
            states in proptest::collection::vec(any::<(u32, u32, bool, bool)>(), 1..10),
            last: Option<u64>,
        ) {
            let contenders: Vec<Contender> = (0..)
                .zip(states)
                .map(|(order, (sessions, places, full, tried))| Contender { order, sessions, places, full, tried })
                .collect();
            for policy in [Policy::RoundRobin, Policy::LeastBusy] {
                let mut listed = Rotation { last }.arrange(policy, &contenders);
                listed.sort_unstable();
                prop_assert!(listed.into_iter().eq(0..contenders.len()));
            }
        }
    }
}
