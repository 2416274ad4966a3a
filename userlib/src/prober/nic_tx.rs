//! The network card's transmit times that were asked for: which have come, and in time.

use instamp_trailer::{Bound, Clock, Hook, Phase, Record};

use crate::known::{Known, local_node};

/// What became of the transmit times that the network card was asked for.
///
/// A time is counted once, be it in the reply, written by the host's hooks, or from the prober's own socket.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NicTxCounts {
    /// Requests that asked for one: all that were sent.
    pub asked: u64,
    /// Times that came with the reply or before it. Those of requests that are never answered are among them.
    pub received: u64,
    /// Times that came when the reply had been taken without.
    pub late: u64,
    /// Those that have not come so far: the card was busy with another one's, is not set to take any, or cannot.
    pub missing: u64,
}

/// A time of the card, in the clock and with the bound that a record of it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CardTime {
    pub(crate) clock: Clock,
    pub(crate) bound: Bound,
    pub(crate) time_ns: u64,
}

/// The transmit times of the latest probes. The memory is allocated once.
pub(crate) struct NicTx {
    /// The probe `seq` is in `slots[seq % slots.len()]`.
    slots: Box<[Slot]>,
    asked: u64,
    received: u64,
    late: u64,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    seq: u64,
    state: State,
}

#[derive(Clone, Copy, Default)]
enum State {
    /// Neither the time nor the reply is there.
    #[default]
    Awaited,
    /// It came through the socket.
    Known(CardTime),
    /// It came in the reply.
    InBand,
    /// The reply was taken without it.
    Missed,
    /// It came behind the reply.
    Late,
}

impl NicTx {
    /// For the latest `probes` probes, which are numbered from 1.
    pub(crate) fn new(probes: u64) -> Self {
        let length = usize::try_from(probes).unwrap_or(usize::MAX).max(1);
        Self { slots: vec![Slot::default(); length].into(), asked: 0, received: 0, late: 0 }
    }

    pub(crate) const fn counts(&self) -> NicTxCounts {
        let Self { asked, received, late, .. } = *self;
        NicTxCounts { asked, received, late, missing: asked.saturating_sub(received).saturating_sub(late) }
    }

    /// Notes that the request `seq` was sent.
    pub(crate) fn sent(&mut self, seq: u64) {
        self.asked += 1;
        let index = self.index(seq);
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Slot { seq, state: State::Awaited };
        }
    }

    /// Notes the time of the request `seq`, which came through the socket.
    pub(crate) fn stamped(&mut self, seq: u64, time: CardTime) {
        match self.state_mut(seq) {
            Some(state @ State::Awaited) => {
                *state = State::Known(time);
                self.received += 1;
            }
            Some(state @ State::Missed) => {
                *state = State::Late;
                self.late += 1;
            }
            Some(State::Known(_) | State::InBand | State::Late) | None => {}
        }
    }

    /// Notes a whole reply to the request `seq` with these records. The record of the card's time, if that came through the socket
    /// and the reply has none.
    pub(crate) fn replied(&mut self, seq: u64, records: &[Record]) -> Option<Record> {
        let stamps = Known(records);
        let local = local_node(records);
        let in_band = local.is_some_and(|local| stamps.has_nic_tx(local));
        match self.state_mut(seq)? {
            state @ State::Awaited if in_band => {
                *state = State::InBand;
                self.received += 1;
            }
            state @ State::Awaited => *state = State::Missed,
            state @ State::Missed if in_band => {
                *state = State::Late;
                self.late += 1;
            }
            State::Known(time) if !in_band => {
                let CardTime { clock, bound, time_ns } = *time;
                let last = stamps.nearest_wire_by_software(local?, Phase::Request, Some(Clock::MONOTONIC))?;
                return Some(Record::new(Phase::Request, last.point(), Hook::NIC_TX, local?, clock, bound, time_ns));
            }
            State::Known(_) | State::Missed | State::InBand | State::Late => {}
        }
        None
    }

    fn state_mut(&mut self, seq: u64) -> Option<&mut State> {
        let index = self.index(seq);
        self.slots.get_mut(index).filter(|slot| slot.seq == seq).map(|slot| &mut slot.state)
    }

    #[expect(clippy::cast_possible_truncation, reason = "less than the number of slots")]
    const fn index(&self, seq: u64) -> usize {
        (seq % self.slots.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correct;

    const TIME: CardTime = CardTime { clock: Clock::PHC, bound: Bound::UNKNOWN, time_ns: 77 };

    fn stamp(phase: Phase, point: u8, hook: Hook, time_ns: u64) -> Record {
        Record::new(phase, point, hook, 7, Clock::MONOTONIC, Bound::at_least(64), time_ns)
    }

    /// A container's stamp, the uplink's, and those of the reply.
    fn reply() -> [Record; 3] {
        [
            stamp(Phase::Request, 1, Hook::TC_INGRESS, 1_010),
            stamp(Phase::Request, 0, Hook::TC_EGRESS, 1_020),
            stamp(Phase::Reply, 0, Hook::XDP_INGRESS, 1_990),
        ]
    }

    fn with_nic_tx() -> Vec<Record> {
        [&reply()[..], &[stamp(Phase::Request, 0, Hook::NIC_TX, 1_030)]].concat()
    }

    fn counted(table: &NicTx, asked: u64, received: u64, late: u64, missing: u64) {
        assert_eq!(table.counts(), NicTxCounts { asked, received, late, missing });
    }

    #[test]
    fn a_time_from_the_socket_becomes_a_record_of_the_uplink() {
        let mut table = NicTx::new(8);
        table.sent(1);
        counted(&table, 1, 0, 0, 1);
        table.stamped(1, TIME);
        counted(&table, 1, 1, 0, 0);
        let record = table.replied(1, &reply()).expect("a record");
        assert_eq!(record, Record::new(Phase::Request, 0, Hook::NIC_TX, 7, Clock::PHC, Bound::UNKNOWN, 77));
        // A duplicate reply gets it too, and it counts once.
        assert_eq!(table.replied(1, &reply()), Some(record));
        table.stamped(1, TIME);
        counted(&table, 1, 1, 0, 0);
    }

    #[test]
    fn a_converted_one_is_corrected_with() {
        let mut table = NicTx::new(8);
        table.sent(1);
        table.stamped(1, CardTime { clock: Clock::MONOTONIC, bound: Bound::at_least(128), time_ns: 1_040 });
        let mut records = reply().to_vec();
        records.extend(table.replied(1, &records));
        let correction = correct(&records, 1_000, 2_000).expect("corrected");
        assert_eq!((correction.tx_stack_ns, correction.bound_ns), (40, Some(128 + 64)));
        assert_eq!(correction.net_source.to_string(), "nic-tx/xdp-ingress");
    }

    #[test]
    fn the_reply_s_own_record_is_kept() {
        let mut table = NicTx::new(8);
        table.sent(1);
        table.sent(2);
        assert_eq!(table.replied(1, &with_nic_tx()), None);
        counted(&table, 2, 1, 0, 1);
        table.stamped(2, TIME);
        assert_eq!(table.replied(2, &with_nic_tx()), None);
        table.stamped(1, TIME);
        counted(&table, 2, 2, 0, 0);
    }

    #[test]
    fn what_comes_behind_its_reply_is_late_and_counts_once() {
        let mut table = NicTx::new(8);
        for seq in 1..=3 {
            table.sent(seq);
            assert_eq!(table.replied(seq, &reply()), None);
        }
        counted(&table, 3, 0, 0, 3);
        table.stamped(1, TIME);
        table.stamped(1, TIME);
        assert_eq!(table.replied(1, &reply()), None, "late, whatever comes then");
        // In a second reply.
        assert_eq!(table.replied(2, &with_nic_tx()), None);
        assert_eq!(table.replied(2, &with_nic_tx()), None);
        counted(&table, 3, 0, 2, 1);
    }

    #[test]
    fn without_a_stamp_of_the_request_there_is_no_place_for_it() {
        let mut table = NicTx::new(8);
        table.sent(1);
        table.stamped(1, TIME);
        assert_eq!(table.replied(1, &[]), None);
        assert_eq!(table.replied(1, &reply()[2..]), None);
        counted(&table, 1, 1, 0, 0);
    }

    #[test]
    fn forgotten_probes_are_missing() {
        let mut table = NicTx::new(4);
        for seq in 1..=6 {
            table.sent(seq);
        }
        table.stamped(1, TIME);
        table.stamped(2, TIME);
        table.stamped(9, TIME);
        assert_eq!(table.replied(1, &with_nic_tx()), None);
        counted(&table, 6, 0, 0, 6);
        table.stamped(3, TIME);
        counted(&table, 6, 1, 0, 5);
    }
}
