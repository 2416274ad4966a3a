//! What came of the probes of one queue.

use std::collections::BTreeMap;

use instamp::afxdp::{Reply, Verdict};

use crate::distribution::Distribution;

/// Over first answers in time.
pub(super) struct Tally {
    /// Those that could not be corrected, by the reason.
    pub(super) uncorrected: BTreeMap<&'static str, u64>,
    pub(super) rtt: Distribution,
    /// Of corrected ones, like those that follow.
    pub(super) net: Distribution,
    pub(super) rx_stack: Distribution,
    /// Of those to which a far end that stamps has contributed.
    pub(super) remote: Distribution,
    /// Of those of which the ways are known.
    pub(super) forward: Distribution,
    pub(super) backward: Distribution,
}

impl Tally {
    pub(super) fn new() -> Self {
        let [rtt, net, rx_stack, remote, forward, backward] = [(); 6].map(|()| Distribution::coarse());
        Self { uncorrected: BTreeMap::new(), rtt, net, rx_stack, remote, forward, backward }
    }

    pub(super) fn count(&mut self, reply: &Reply) {
        if reply.verdict != Verdict::Answer {
            return;
        }
        self.rtt.record(reply.rtt_ns);
        let correction = match &reply.correction {
            Ok(correction) => correction,
            Err(reason) => return *self.uncorrected.entry(reason.name()).or_default() += 1,
        };
        self.net.record(correction.net_ns);
        self.rx_stack.record(correction.rx_stack_ns);
        if let Some(remote) = correction.remote_ns.filter(|remote| *remote != 0) {
            self.remote.record(remote);
        }
        if let Some(ways) = reply.one_way {
            self.forward.record(ways.forward_ns);
            self.backward.record(ways.backward_ns);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (reason, count) in &other.uncorrected {
            *self.uncorrected.entry(reason).or_default() += count;
        }
        self.rtt.merge(&other.rtt);
        self.net.merge(&other.net);
        self.rx_stack.merge(&other.rx_stack);
        self.remote.merge(&other.remote);
        self.forward.merge(&other.forward);
        self.backward.merge(&other.backward);
    }

    /// All of them, by the names that they have in the outputs for programs.
    pub(super) fn named(&self) -> [(&'static str, &Distribution); 6] {
        [
            ("rtt", &self.rtt),
            ("net", &self.net),
            ("remote", &self.remote),
            ("rx_stack", &self.rx_stack),
            ("forward", &self.forward),
            ("backward", &self.backward),
        ]
    }
}
