//! What became of all probes.

use instamp::prober::Event;

use crate::distribution::Distribution;

pub(super) struct Tally {
    pub(super) sent: u64,
    /// Probes that were answered, in time or late.
    pub(super) received: u64,
    /// Of these, those whose first answer could be corrected.
    pub(super) corrected: u64,
    /// Of these, those whose first answer came after the timeout.
    pub(super) late: u64,
    pub(super) duplicates: u64,
    pub(super) errors: u64,
    /// Over first answers, and over the whole ones that came behind truncated ones.
    pub(super) rtt: Distribution,
    /// Over corrected first answers, like those that follow.
    pub(super) net: Distribution,
    pub(super) tx_stack: Distribution,
    pub(super) rx_stack: Distribution,
    /// Over those of them to which a far end that stamps has contributed.
    pub(super) remote: Distribution,
    /// Over those of which the network card has told both times.
    pub(super) nic_net: Distribution,
    /// Over those of which the ways are known.
    pub(super) forward: Distribution,
    pub(super) backward: Distribution,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            sent: 0,
            received: 0,
            corrected: 0,
            late: 0,
            duplicates: 0,
            errors: 0,
            rtt: Distribution::new(),
            net: Distribution::new(),
            tx_stack: Distribution::new(),
            rx_stack: Distribution::new(),
            remote: Distribution::new(),
            nic_net: Distribution::new(),
            forward: Distribution::new(),
            backward: Distribution::new(),
        }
    }

    pub(super) fn count(&mut self, event: &Event) {
        match event {
            Event::Sent { .. } => self.sent += 1,
            Event::Timeout { .. } => {}
            Event::Error { .. } => self.errors += 1,
            Event::Reply(reply) => {
                self.duplicates += u64::from(reply.duplicate);
                if !reply.is_first_answer() {
                    return;
                }
                // A probe counts once, with its truncated answer if that came first.
                if !reply.supersedes {
                    self.received += 1;
                    self.late += u64::from(reply.late);
                }
                self.rtt.record(reply.rtt_ns);
                if let Ok(correction) = &reply.correction {
                    self.corrected += 1;
                    self.net.record(correction.net_ns);
                    self.tx_stack.record(correction.tx_stack_ns);
                    self.rx_stack.record(correction.rx_stack_ns);
                    if let Some(remote) = correction.remote_ns.filter(|remote| *remote != 0) {
                        self.remote.record(remote);
                    }
                    if let Some(nic_net) = correction.nic_net_ns {
                        self.nic_net.record(nic_net);
                    }
                    if let Some(ways) = reply.one_way {
                        self.forward.record(ways.forward_ns);
                        self.backward.record(ways.backward_ns);
                    }
                }
            }
        }
    }

    /// The share of probes that were not answered, or `None` where none was sent.
    pub(super) fn loss(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits than a double has")]
        let share = |part: u64, whole: u64| part as f64 / whole as f64;
        (self.sent > 0).then(|| share(self.sent.saturating_sub(self.received), self.sent))
    }
}

#[cfg(test)]
mod tests {
    use instamp::{Uncorrected, prober::Reply};

    use super::*;
    use crate::ping::samples;

    #[test]
    fn a_probe_is_received_once_whatever_was_forged_before_its_reply() {
        let mut tally = Tally::new();
        tally.count(&Event::Sent { seq: 1, sent_ns: samples::SENT_NS });
        let truncated = samples::uncorrected(1, Uncorrected::Truncated);
        for reply in [
            Reply { late: true, ..truncated },
            Reply { late: true, supersedes: true, ..samples::reply(1) },
            Reply { late: true, duplicate: true, ..truncated },
        ] {
            tally.count(&Event::Reply(reply));
        }
        assert_eq!((tally.sent, tally.received, tally.corrected, tally.late, tally.duplicates), (1, 1, 1, 1, 1));
        assert_eq!((tally.rtt.count(), tally.net.count(), tally.loss()), (2, 1, Some(0.0)));
    }
}
