//! The way of a reply, from its line.

use instamp::{Correction, correct};
use instamp_trailer::Record;

use super::record::Reply;
use crate::stages::{Stages, Trip};

/// Takes the way of a corrected reply into account. Returns whether it can be told from the line.
///
/// The line has no time of sending. But it has the time from there to the stamp that the network is measured from, and only one stamp
/// leads to the times that the line tells.
pub(super) fn record(stages: &mut Stages, reply: &Reply<'_>) -> bool {
    let stamps: Vec<Record> = reply.stamps.iter().filter_map(|stamp| stamp.record()).collect();
    let Some((sent_ns, received_ns, correction)) = stamps.iter().find_map(|stamp| sent_before(stamp, &stamps, reply))
    else {
        return false;
    };
    stages.record(&Trip { sent_ns, received_ns, stamps: &stamps, correction: &correction });
    true
}

/// When the probe was sent and received, if `stamp` is the one that the network was measured from.
fn sent_before(stamp: &Record, stamps: &[Record], reply: &Reply<'_>) -> Option<(u64, u64, Correction)> {
    let sent_ns = stamp.time_ns().checked_sub_signed(reply.tx_stack_ns?)?;
    let received_ns = sent_ns.checked_add_signed(reply.rtt_ns?)?;
    let correction = correct(stamps, sent_ns, received_ns).ok()?;
    let told = (reply.tx_stack_ns, reply.net_ns, reply.remote_ns, reply.rx_stack_ns);
    let Correction { tx_stack_ns, net_ns, remote_ns, rx_stack_ns, .. } = correction;
    (told == (Some(tx_stack_ns), Some(net_ns), remote_ns, Some(rx_stack_ns))).then_some((
        sent_ns,
        received_ns,
        correction,
    ))
}
