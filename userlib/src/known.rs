//! The records that this version understands: whose they are, in which order, and which are nearest the wire.

use instamp_trailer::{Clock, Hook, Phase, Record};

use crate::Uncorrected;

/// The node of the host that sent the probe, or `None` where no stamp is of the request.
///
/// It is that of the first late stamp, since late stamps are only ever written by the host that awaits the reply; else that of
/// the first request-phase record. `records` are in the order in which they were written.
///
/// ```
/// use instamp::{Bound, Clock, Hook, Phase, Record, local_node};
/// let stamp = |hook, node| Record::new(Phase::Request, 0, hook, node, Clock::MONOTONIC, Bound::UNKNOWN, 1_020);
/// assert_eq!(local_node(&[stamp(Hook::TC_EGRESS, 7), stamp(Hook::XDP_INGRESS, 9)]), Some(7));
/// assert_eq!(local_node(&[stamp(Hook::XDP_INGRESS, 9), stamp(Hook::DRIVER_TX, 7)]), Some(7));
/// assert_eq!(local_node(&[]), None);
/// ```
pub fn local_node(records: &[Record]) -> Option<u16> {
    let requests = || Known(records).iter().filter(|record| record.phase() == Phase::Request);
    requests().find(|record| is_late(record)).or_else(|| requests().next()).map(Record::node)
}

/// The time that a probe spent on the remote node.
pub(crate) enum Residence {
    /// No remote stamped.
    Nowhere,
    /// One did, but its stamps do not tell.
    Unknown,
    /// As its stamps say, with the sum of their bounds.
    Known { ns: i64, bound_ns: Option<u64> },
}

/// The records of which the hook is known. The others may mean anything.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a>(pub(crate) &'a [Record]);

impl<'a> Known<'a> {
    pub(crate) fn iter(self) -> impl Iterator<Item = &'a Record> + Clone {
        self.0.iter().filter(|record| record.hook().number() != 0 && record.hook().name().is_some())
    }

    fn of(self, node: u16, phase: Phase) -> impl Iterator<Item = &'a Record> + Clone {
        self.iter().filter(move |record| record.node() == node && record.phase() == phase)
    }

    /// A probe is stamped by the local node, by remote ones, again by remote ones and again by the local one. Late stamps
    /// of the request are written when the reply arrives, and only by the local node.
    pub(crate) fn check_order(self, local: u16) -> Result<(), Uncorrected> {
        let stage = |record: &Record| match (record.phase(), record.node() == local) {
            (Phase::Request, true) => 0,
            (Phase::Request, false) => 1,
            (Phase::Reply, false) => 2,
            (Phase::Reply, true) => 3,
        };
        let in_order = self.iter().filter(|record| !is_late(record)).map(stage).is_sorted();
        let own_late = self.iter().filter(|record| is_late(record)).all(|record| record.node() == local);
        if in_order && own_late { Ok(()) } else { Err(Uncorrected::NodeConflict) }
    }

    /// The host clock in which the local node stamped, if it did in any. One host uses one.
    pub(crate) fn local_clock(self, local: u16) -> Result<Option<Clock>, Uncorrected> {
        let mut clocks = self.iter().filter(|record| record.node() == local).filter_map(host_clock);
        let first = clocks.next();
        if clocks.all(|clock| Some(clock) == first) { Ok(first) } else { Err(Uncorrected::NodeConflict) }
    }

    /// The stamp of one phase that is nearest the wire: the last of the request, the first of the reply, by time. Software's stamp
    /// gives way to one of the network card at the same point, whose place is nearer whatever its error.
    pub(crate) fn nearest_wire(self, local: u16, phase: Phase, clock: Option<Clock>) -> Option<&'a Record> {
        let comparable = || self.of(local, phase).filter(move |record| Some(record.clock()) == clock);
        let software = self.nearest_wire_by_software(local, phase, clock);
        let at_its_point = |record: &&Record| software.is_none_or(|software| software.point() == record.point());
        let nic = outermost(phase, comparable().filter(|record| record.hook() == nic_hook(phase)).filter(at_its_point));
        nic.or(software)
    }

    /// The same of software's stamps alone.
    pub(crate) fn nearest_wire_by_software(self, local: u16, phase: Phase, clock: Option<Clock>) -> Option<&'a Record> {
        outermost(phase, self.of(local, phase).filter(|record| Some(record.clock()) == clock && !is_nic(record)))
    }

    /// Whether the local node's network card has told when the request left it.
    #[cfg(feature = "prober")]
    pub(crate) fn has_nic_tx(self, local: u16) -> bool {
        self.of(local, Phase::Request).any(|record| record.hook() == Hook::NIC_TX)
    }

    /// The transmit and the receive time that one network card of the local node took, in one clock: the first such pair
    /// in written order.
    pub(crate) fn nic_pair(self, local: u16) -> Option<(&'a Record, &'a Record)> {
        let of = |phase| self.of(local, phase).filter(move |record| record.hook() == nic_hook(phase));
        let is_pair = |sent: &Record, received: &Record| {
            sent.point() == received.point()
                && sent.clock() == received.clock()
                && matches!(sent.clock(), Clock::MONOTONIC | Clock::PHC)
        };
        of(Phase::Request).find_map(|sent| of(Phase::Reply).find(|received| is_pair(sent, received)).map(|r| (sent, r)))
    }

    pub(crate) fn residence(self, local: u16) -> Residence {
        if self.remote(local).is_none() {
            return Residence::Nowhere;
        }
        let Some((first, last)) = self.remote_pair(local) else { return Residence::Unknown };
        match last.time_ns().checked_signed_diff(first.time_ns()) {
            Some(ns) => Residence::Known { ns, bound_ns: sum_of_bounds(first, last) },
            None => Residence::Unknown,
        }
    }

    /// The first remote node on the way.
    fn remote(self, local: u16) -> Option<u16> {
        self.iter().map(Record::node).find(|node| *node != local)
    }

    /// The first request-phase stamp of the first remote node and its last reply-phase stamp, by time, if it has stamped in both
    /// phases and by one clock.
    pub(crate) fn remote_pair(self, local: u16) -> Option<(&'a Record, &'a Record)> {
        let remote = self.remote(local)?;
        let comparable = |record: &&Record| host_clock(record).is_some();
        let first = self.of(remote, Phase::Request).filter(comparable).min_by_key(|record| record.time_ns())?;
        let last = self.of(remote, Phase::Reply).filter(comparable).max_by_key(|record| record.time_ns())?;
        let mut all = self.iter().filter(|record| record.node() == remote).filter(comparable);
        all.all(|record| record.clock() == first.clock()).then_some((first, last))
    }
}

/// Whether the time of the request became known only after it had left, and was written into the reply.
fn is_late(record: &Record) -> bool {
    record.phase() == Phase::Request && matches!(record.hook(), Hook::DRIVER_TX | Hook::NIC_TX)
}

/// Whether the time is one that a network card took.
pub(crate) fn is_nic(record: &Record) -> bool {
    matches!(record.hook(), Hook::NIC_TX | Hook::NIC_RX)
}

/// The network card's hook on the way that messages of a phase take at their prober's host.
const fn nic_hook(phase: Phase) -> Hook {
    match phase {
        Phase::Request => Hook::NIC_TX,
        Phase::Reply => Hook::NIC_RX,
    }
}

/// The last stamp of the request, or the first of the reply, by time.
fn outermost<'a>(phase: Phase, stamps: impl Iterator<Item = &'a Record>) -> Option<&'a Record> {
    match phase {
        Phase::Request => stamps.max_by_key(|record| record.time_ns()),
        Phase::Reply => stamps.min_by_key(|record| record.time_ns()),
    }
}

/// The clock of a record, if it is one that counts a host's time.
fn host_clock(record: &Record) -> Option<Clock> {
    Some(record.clock()).filter(|clock| matches!(*clock, Clock::MONOTONIC | Clock::TAI))
}

pub(crate) fn sum_of_bounds(first: &Record, second: &Record) -> Option<u64> {
    Some(first.bound().nanoseconds()? + second.bound().nanoseconds()?)
}
