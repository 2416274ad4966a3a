//! How long a probe took there, and how long back, where both ends stamp by clocks that agree.

use instamp_trailer::{Clock, Phase, Record};

use crate::known::{Known, local_node, sum_of_bounds};

/// How far `CLOCK_TAI` of this host is ahead of its `CLOCK_MONOTONIC`.
///
/// It changes: whoever steers or sets the system's time moves `CLOCK_TAI`, and `CLOCK_MONOTONIC` follows rates alone. So it is to be
/// measured anew beside the replies that it is used for. The kernel's TAI clock is often that of UTC, since nobody has told it the
/// leap seconds: hosts agree only if both have been told, or neither.
///
/// ```
/// use instamp::TaiOffset;
/// // CLOCK_MONOTONIC, CLOCK_TAI, CLOCK_MONOTONIC, read one after another.
/// assert_eq!(TaiOffset::from_readings(1_000, 9_010, 1_020), Some(TaiOffset { ahead_ns: 8_000, bound_ns: 10 }));
/// assert_eq!(TaiOffset::from_readings(1_020, 9_010, 1_000), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaiOffset {
    /// `CLOCK_TAI` less `CLOCK_MONOTONIC` in nanoseconds.
    pub ahead_ns: i64,
    /// The largest error of that, in nanoseconds.
    pub bound_ns: u64,
}

impl TaiOffset {
    /// From a reading of `CLOCK_TAI` between two of `CLOCK_MONOTONIC` (in the host's time, see
    /// [`time_namespace`](crate::time_namespace)): it is taken for the middle of them, and is wrong by at most half of the time
    /// between. `None` where the readings are not in order.
    pub fn from_readings(before_ns: u64, tai_ns: u64, after_ns: u64) -> Option<Self> {
        let between_ns = after_ns.checked_sub(before_ns)?;
        let ahead_ns = tai_ns.checked_signed_diff(before_ns.checked_add(between_ns / 2)?)?;
        Some(Self { ahead_ns, bound_ns: between_ns.div_ceil(2) })
    }
}

/// The two ways of a probe, in nanoseconds. Either is negative where the clocks disagree by more than it took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OneWay {
    /// First request-phase stamp of the remote minus last request-phase stamp of this host.
    pub forward_ns: i64,
    /// First reply-phase stamp of this host minus last reply-phase stamp of the remote.
    pub backward_ns: i64,
    /// The largest error of either that comes of reading clocks and of [`TaiOffset`], or `None` where a stamp has no known bound.
    /// How far the two hosts' `CLOCK_TAI` disagree is not in it: nobody but who synchronizes them knows.
    pub bound_ns: Option<u64>,
}

/// The ways of a probe whose remote has stamped in `CLOCK_TAI`, by the stamps in `records`, which are in the order in which they were
/// written. Those of this host are in `CLOCK_MONOTONIC`, and `offset` brings them into its `CLOCK_TAI`.
///
/// `None` where the stamps do not tell: where the remote has stamped in one phase only, or by another clock; or where
/// [`correct`](crate::correct()) tells of no network time.
pub fn one_way(records: &[Record], offset: TaiOffset) -> Option<OneWay> {
    let stamps = Known(records);
    let local = local_node(records)?;
    stamps.check_order(local).ok()?;
    let sent = stamps.nearest_wire(local, Phase::Request, Some(Clock::MONOTONIC))?;
    let received = stamps.nearest_wire(local, Phase::Reply, Some(Clock::MONOTONIC))?;
    let (arrived, left) = stamps.remote_pair(local).filter(|(arrived, _)| arrived.clock() == Clock::TAI)?;
    let tai = |own: &Record| own.time_ns().checked_add_signed(offset.ahead_ns);
    let bounds = sum_of_bounds(sent, arrived).zip(sum_of_bounds(left, received));
    let bound_ns = bounds.map(|(there, back)| there.max(back));
    Some(OneWay {
        forward_ns: arrived.time_ns().checked_signed_diff(tai(sent)?)?,
        backward_ns: tai(received)?.checked_signed_diff(left.time_ns())?,
        bound_ns: bound_ns.and_then(|ns| ns.checked_add(offset.bound_ns)),
    })
}

#[cfg(test)]
mod tests {
    use instamp_trailer::{Bound, Hook};
    use proptest::prelude::*;

    use super::*;

    const OFFSET: TaiOffset = TaiOffset { ahead_ns: 37_000, bound_ns: 30 };
    const LOCAL: u16 = 7;
    const REMOTE: u16 = 9;

    fn stamp(phase: Phase, hook: Hook, node: u16, clock: Clock, time_ns: u64) -> Record {
        Record::new(phase, 0, hook, node, clock, Bound::at_least(64), time_ns)
    }

    fn probe(remote: Clock) -> [Record; 4] {
        [
            stamp(Phase::Request, Hook::APP_TX, LOCAL, Clock::MONOTONIC, 1_000),
            stamp(Phase::Request, Hook::XDP_INGRESS, REMOTE, remote, 38_400),
            stamp(Phase::Reply, Hook::XDP_TX, REMOTE, remote, 38_450),
            stamp(Phase::Reply, Hook::XDP_INGRESS, LOCAL, Clock::MONOTONIC, 1_750),
        ]
    }

    #[test]
    fn there_and_back() {
        let delays = one_way(&probe(Clock::TAI), OFFSET);
        assert_eq!(delays, Some(OneWay { forward_ns: 400, backward_ns: 300, bound_ns: Some(158) }));
    }

    #[test]
    fn clocks_that_are_not_comparable_tell_nothing() {
        for clock in [Clock::MONOTONIC, Clock::PHC, Clock::UNKNOWN] {
            assert_eq!(one_way(&probe(clock), OFFSET), None, "{clock}");
        }
        let [sent, arrived, _, received] = probe(Clock::TAI);
        assert_eq!(one_way(&[sent, received], OFFSET), None);
        assert_eq!(one_way(&[sent, arrived, received], OFFSET), None);
        assert_eq!(one_way(&[], OFFSET), None);
    }

    #[test]
    fn an_unknown_bound_stays_unknown() {
        let mut records = probe(Clock::TAI);
        records[1] = Record::new(Phase::Request, 0, Hook::XDP_INGRESS, REMOTE, Clock::TAI, Bound::UNKNOWN, 38_400);
        assert_eq!(one_way(&records, OFFSET).map(|delays| delays.bound_ns), Some(None));
    }

    proptest! {
        /// What the clocks of both ends differ by cancels: the ways and the residence are what lies between the host's stamps.
        #[test]
        fn the_ways_add_up(forward in 0..1_u64 << 40, stay in 0..1_u64 << 40, backward in 0..1_u64 << 40, ahead in -(1_i64 << 60)..1 << 60) {
            let sent = 1_u64 << 61;
            let tai = |ns: u64| ns.checked_add_signed(ahead).expect("in range");
            let records = [
                stamp(Phase::Request, Hook::TC_EGRESS, LOCAL, Clock::MONOTONIC, sent),
                stamp(Phase::Request, Hook::XDP_INGRESS, REMOTE, Clock::TAI, tai(sent + forward)),
                stamp(Phase::Reply, Hook::TC_EGRESS, REMOTE, Clock::TAI, tai(sent + forward + stay)),
                stamp(Phase::Reply, Hook::TC_INGRESS, LOCAL, Clock::MONOTONIC, sent + forward + stay + backward),
            ];
            let delays = one_way(&records, TaiOffset { ahead_ns: ahead, bound_ns: 0 }).expect("both stamped");
            prop_assert_eq!((delays.forward_ns, delays.backward_ns), (forward.cast_signed(), backward.cast_signed()));
        }

        #[test]
        fn no_readings_panic(before: u64, tai: u64, after: u64, bytes: [[u8; 12]; 5]) {
            use zerocopy::FromBytes as _;
            let records = bytes.map(|bytes| Record::read_from_bytes(&bytes).expect("any bytes are a record"));
            if let Some(offset) = TaiOffset::from_readings(before, tai, after) {
                let _ = one_way(&records, offset);
            }
        }
    }
}
