//! What became of all probes.

use instamp::prober::Event;

use super::distribution::Distribution;

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
    /// Over first answers.
    pub(super) rtt: Distribution,
    /// Over corrected first answers, like those that follow.
    pub(super) net: Distribution,
    pub(super) tx_stack: Distribution,
    pub(super) rx_stack: Distribution,
    /// Over those of them to which a far end that stamps has contributed.
    pub(super) remote: Distribution,
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
                self.received += 1;
                self.late += u64::from(reply.late);
                self.rtt.record(reply.rtt_ns);
                if let Ok(correction) = &reply.correction {
                    self.corrected += 1;
                    self.net.record(correction.net_ns);
                    self.tx_stack.record(correction.tx_stack_ns);
                    self.rx_stack.record(correction.rx_stack_ns);
                    if let Some(remote) = correction.remote_ns.filter(|remote| *remote != 0) {
                        self.remote.record(remote);
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
