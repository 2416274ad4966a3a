//! What is known of many replies.

use instamp::{Correction, Record};

use crate::{columns::table, reason::Reason};

/// What stands where there is no number: one that nobody takes for a time.
const NOTHING: i64 = i64::MIN;

table! {
    /// A row for each reply.
    Outcomes {
        reason: u8,
        rtt_ns: i64,
        net_ns: i64,
        remote_ns: i64,
        remote_known: bool,
        tx_stack_ns: i64,
        rx_stack_ns: i64,
        bound_ns: i64,
        bound_known: bool,
        request_hook: u8,
        request_point: u8,
        reply_hook: u8,
        reply_point: u8,
        nic_net_ns: i64,
        nic_net_known: bool,
        nic_net_bound_ns: i64,
        nic_net_bound_known: bool,
        nic_left_out: bool,
        negative: bool,
    }
}

impl Outcomes {
    pub(crate) fn push(&mut self, outcome: Result<&Correction, Reason>) {
        let correction = outcome.ok();
        let time = |of: fn(&Correction) -> i64| correction.map_or(NOTHING, of);
        let place = |of: fn(&Correction) -> u8| correction.map_or(0, of);
        self.reason.push(outcome.err().unwrap_or(Reason::None).number());
        self.rtt_ns.push(time(|correction| correction.rtt_ns));
        self.net_ns.push(time(|correction| correction.net_ns));
        self.tx_stack_ns.push(time(|correction| correction.tx_stack_ns));
        self.rx_stack_ns.push(time(|correction| correction.rx_stack_ns));
        self.request_hook.push(place(|correction| correction.net_source.request.number()));
        self.request_point.push(place(|correction| correction.net_source.request_point));
        self.reply_hook.push(place(|correction| correction.net_source.reply.number()));
        self.reply_point.push(place(|correction| correction.net_source.reply_point));
        self.nic_left_out.push(correction.is_some_and(|correction| correction.nic_left_out));
        self.negative.push(correction.is_some_and(|correction| correction.negative));
        let remote = correction.and_then(|correction| correction.remote_ns);
        let bound = correction.and_then(|correction| correction.bound_ns);
        let nic_net = correction.and_then(|correction| correction.nic_net_ns);
        let nic_net_bound = correction.and_then(|correction| correction.nic_net_bound_ns);
        push(&mut self.remote_ns, &mut self.remote_known, remote);
        push(&mut self.bound_ns, &mut self.bound_known, bound.map(u64::cast_signed));
        push(&mut self.nic_net_ns, &mut self.nic_net_known, nic_net);
        push(&mut self.nic_net_bound_ns, &mut self.nic_net_bound_known, nic_net_bound.map(u64::cast_signed));
    }
}

table! {
    /// A row for each record of each probe.
    Records {
        probe: i64,
        phase: u8,
        point: u8,
        hook: u8,
        node: u16,
        clock: u8,
        bound_ns: i64,
        bound_known: bool,
        time_ns: u64,
    }
}

impl Records {
    /// Adds those of the probe of this row.
    pub(crate) fn push(&mut self, probe: usize, records: &[Record]) {
        for record in records {
            self.probe.push(row(probe));
            self.phase.push(record.phase() as u8);
            self.point.push(record.point());
            self.hook.push(record.hook().number());
            self.node.push(record.node());
            self.clock.push(record.clock().number());
            push(&mut self.bound_ns, &mut self.bound_known, record.bound().nanoseconds().map(u64::cast_signed));
            self.time_ns.push(record.time_ns());
        }
    }
}

/// The number of a row: there is memory for no more.
pub(crate) fn row(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// Adds a number that need not be known.
pub(crate) fn push(numbers: &mut Vec<i64>, known: &mut Vec<bool>, number: Option<i64>) {
    numbers.push(number.unwrap_or(NOTHING));
    known.push(number.is_some());
}
