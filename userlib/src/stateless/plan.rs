//! Which probe goes where.

use std::net::IpAddr;

use thiserror::Error;

use super::{
    Permutation, Targets,
    mix::{STEP, spread},
};

/// The probes of a run: each target once in every round, each round in an order of its own.
///
/// ```
/// use instamp::stateless::{Plan, Targets, parse_prefix};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let plan = Plan::new(Targets::new(&[parse_prefix("192.0.2.0/24")?], &[])?, 3, [1, 2])?;
/// assert_eq!(plan.total(), 768);
/// assert_eq!(plan.at(255).round, 0);
/// assert_eq!(plan.at(256).round, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    targets: Targets,
    rounds: u64,
    total: u64,
    key: [u64; 2],
}

/// What a probe of a plan is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Of the plan's rounds, counted from 0.
    pub round: u64,
    /// To whom it goes.
    pub target: IpAddr,
}

/// More probes than can be numbered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{rounds} rounds of {targets} targets are more than 2^64 probes: make it fewer rounds")]
pub struct TooManyRounds {
    /// How many were asked for.
    pub rounds: u64,
    /// Of how many targets.
    pub targets: u64,
}

impl Plan {
    /// The orders are those of the key.
    ///
    /// # Errors
    ///
    /// [`TooManyRounds`] where 64 bits do not number the probes.
    pub fn new(targets: Targets, rounds: u64, key: [u64; 2]) -> Result<Self, TooManyRounds> {
        match targets.len().checked_mul(rounds) {
            Some(total) => Ok(Self { targets, rounds, total, key }),
            None => Err(TooManyRounds { rounds, targets: targets.len() }),
        }
    }

    /// How many probes there are.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// How many rounds there are.
    pub const fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Whom they go to.
    pub const fn targets(&self) -> &Targets {
        &self.targets
    }

    /// What the probe of this number is.
    ///
    /// # Panics
    ///
    /// Where `index` is not below [`total`](Self::total).
    pub fn at(&self, index: u64) -> Probe {
        assert!(index < self.total, "there is no probe {index} of {}", self.total);
        let length = self.targets.len();
        let round = index / length;
        // One target has no order: what that takes is saved where it is asked for most often.
        let position = if length == 1 { 0 } else { self.order(round).at(index % length) };
        Probe { round, target: self.targets.get(position).expect("the order is one of positions") }
    }

    fn order(&self, round: u64) -> Permutation {
        let [first, second] = self.key;
        let own = spread(first.wrapping_add(round.wrapping_mul(STEP)));
        Permutation::new(self.targets.len(), [own, second])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::stateless::parse_prefix;

    fn plan(prefixes: &[&str], rounds: u64) -> Plan {
        let prefixes: Vec<_> = prefixes.iter().map(|prefix| parse_prefix(prefix).expect("a prefix")).collect();
        Plan::new(Targets::new(&prefixes, &[]).expect("few"), rounds, [11, 12]).expect("few")
    }

    #[test]
    fn every_round_has_each_target_once_in_its_own_order() {
        let plan = plan(&["192.0.2.0/26", "2001:db8::/125"], 5);
        let mut rounds: BTreeMap<u64, Vec<IpAddr>> = BTreeMap::new();
        for index in 0..plan.total() {
            let probe = plan.at(index);
            rounds.entry(probe.round).or_default().push(probe.target);
        }
        assert!(rounds.keys().copied().eq(0..5));
        let orders: HashSet<&Vec<IpAddr>> = rounds.values().collect();
        assert_eq!(orders.len(), 5);
        for order in rounds.values() {
            assert_eq!(order.iter().collect::<HashSet<_>>().len(), 72);
            assert_eq!(order.len(), 72);
        }
    }

    #[test]
    fn one_target_is_probed_in_every_round() {
        let plan = plan(&["192.0.2.1"], 1 << 40);
        for index in [0, 1, (1 << 40) - 1] {
            assert_eq!(plan.at(index), Probe { round: index, target: "192.0.2.1".parse().expect("an address") });
        }
    }

    #[test]
    fn no_targets_or_rounds_make_no_probes() {
        assert_eq!(plan(&[], 7).total(), 0);
        assert_eq!(plan(&["192.0.2.1"], 0).total(), 0);
    }

    #[test]
    fn too_many_probes_are_refused() {
        let targets = Targets::new(&[parse_prefix("2001:db8::/80").expect("a prefix")], &[]).expect("not too many");
        let most = u64::MAX >> 48;
        assert!(Plan::new(targets.clone(), most, [1, 2]).is_ok());
        let error = Plan::new(targets, most + 1, [1, 2]).expect_err("too many");
        assert_eq!(error, TooManyRounds { rounds: 1 << 16, targets: 1 << 48 });
    }

    proptest! {
        /// What the threads of a run send is the run.
        #[test]
        fn shares_make_the_whole(workers in 1_u64..9, rounds in 0_u64..4) {
            let plan = plan(&["192.0.2.0/27"], rounds);
            let shares = (0..workers).flat_map(|worker| (worker..plan.total()).step_by(usize::try_from(workers).expect("few")));
            let mut all: Vec<(u64, IpAddr)> = shares.map(|index| plan.at(index)).map(|probe| (probe.round, probe.target)).collect();
            all.sort_unstable();
            let addresses = |round| (0..32).map(move |low| (round, IpAddr::from([192, 0, 2, low])));
            prop_assert_eq!(all, (0..rounds).flat_map(addresses).collect::<Vec<_>>());
        }
    }
}
