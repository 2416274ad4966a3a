//! From stamps to an answer: how much of the RTT was network.

use std::fmt;

use instamp_trailer::{Clock, Hook, Phase, Record};
use thiserror::Error;

use crate::StripError;

/// Where the time of one probe went, in nanoseconds. `rtt_ns = tx_stack_ns + net_ns + remote_ns + rx_stack_ns`, exactly,
/// with 0 for an unknown `remote_ns`.
///
/// Nothing is clamped: a far end that lies about its times can make `net_ns` or `remote_ns` negative.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Correction {
    /// Application receive minus application send.
    pub rtt_ns: i64,
    /// First local reply-phase stamp minus last local request-phase stamp, minus `remote_ns`.
    pub net_ns: i64,
    /// The residence on the remote node: its last reply-phase stamp minus its first request-phase stamp.
    ///
    /// 0 where no remote stamped. `None` where one stamped but the residence does not follow: in one phase only, in two
    /// clocks, or in none that counts time like the application's. It is then part of `net_ns`. Where several remote
    /// nodes stamped it is that of the first on the way, which spans the others.
    pub remote_ns: Option<i64>,
    /// Last local request-phase stamp minus application send.
    pub tx_stack_ns: i64,
    /// Application receive minus first local reply-phase stamp.
    pub rx_stack_ns: i64,
    /// The largest error of the clock readings and conversions behind `net_ns`: the sum of the bounds of the stamps
    /// used, or `None` where one of them is unknown.
    pub bound_ns: Option<u64>,
    /// The hooks whose stamps `net_ns` was made from: the places it was measured between.
    pub net_source: NetSource,
    /// Whether one of the components is negative.
    pub negative: bool,
}

/// The hooks between which the network was measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct NetSource {
    /// Of the last local stamp on the request.
    pub request: Hook,
    /// Of the first local stamp on the reply.
    pub reply: Hook,
}

impl fmt::Display for NetSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.request, self.reply)
    }
}

/// Why a reply has an RTT only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Error)]
pub enum Uncorrected {
    /// No hook has stamped the probe, or it was too short for a trailer.
    #[error("no stamps; is `instamp attach` active on the egress device?")]
    NoStamps,
    /// No local stamp on the way out that could be compared with the application's clock.
    #[error("no stamp on the request; is the egress of this host stamped?")]
    NoRequestStamp,
    /// No local stamp on the way back that could be compared with the application's clock.
    #[error("no stamp on the reply; is the ingress of this host stamped?")]
    NoReplyStamp,
    /// The reply is shorter than the request: the far end cut the trailer.
    #[error("the reply is shorter than the request; a smaller payload may come back whole")]
    Truncated,
    /// A local stamp lies outside of application send and receive, or is in a clock that the application cannot read.
    #[error(
        "a stamp lies outside of send and receive; is `instamp attach` active on this host, or only on the far end?"
    )]
    ClockMismatch,
    /// The number of the local node appears where only another host can have stamped, or with two host clocks: two hosts use
    /// one number, or one host is both ends.
    #[error(
        "one node number is in places or clocks of two hosts; either two hosts share it (`instamp attach --node` sets another), \
         or this host also stamps for the echoing end, as `instamp attach --respond` has it do for its containers"
    )]
    NodeConflict,
    /// The reply does not carry the trailer of this probe.
    #[error("the reply does not carry the nonce of this probe")]
    ForeignNonce,
}

impl Uncorrected {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NoStamps,
        Self::NoRequestStamp,
        Self::NoReplyStamp,
        Self::Truncated,
        Self::ClockMismatch,
        Self::NodeConflict,
        Self::ForeignNonce,
    ];

    /// The name for machines: lower case, words joined by hyphens.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoStamps => "no-stamps",
            Self::NoRequestStamp => "no-request-stamp",
            Self::NoReplyStamp => "no-reply-stamp",
            Self::Truncated => "truncated",
            Self::ClockMismatch => "clock-mismatch",
            Self::NodeConflict => "node-conflict",
            Self::ForeignNonce => "foreign-nonce",
        }
    }
}

impl From<StripError> for Uncorrected {
    /// A payload that came back at full length without the trailer that was sent in it is somebody else's.
    fn from(_: StripError) -> Self {
        Self::ForeignNonce
    }
}

/// Splits an RTT by the stamps in `records`, which are in the order in which they were written.
///
/// `sent_ns` and `received_ns` are the application's `CLOCK_MONOTONIC` readings beside its send and receive calls, in the
/// host's time (see [`time_namespace`](crate::time_namespace)).
///
/// Which node is local, [`local_node`] tells. Stamps of hooks that this version does not know are ignored;
/// those of a network card's own clock, or of an unknown one, tell whose they are but take no part in sums.
///
/// # Errors
///
/// Why the stamps do not tell. Of several reasons it is the first of: no stamps, no request stamp at all, node conflict, no
/// comparable local stamp on the request, none on the reply, clock mismatch.
///
/// ```
/// use instamp::{Bound, Clock, Hook, Phase, Record, correct};
/// # fn main() -> Result<(), instamp::Uncorrected> {
/// let stamp = |phase, hook, time_ns| Record::new(phase, 0, hook, 7, Clock::MONOTONIC, Bound::at_least(64), time_ns);
/// let records = [stamp(Phase::Request, Hook::TC_EGRESS, 1_020), stamp(Phase::Reply, Hook::XDP_INGRESS, 1_090)];
/// let correction = correct(&records, 1_000, 1_100)?;
/// assert_eq!((correction.tx_stack_ns, correction.net_ns, correction.rx_stack_ns), (20, 70, 10));
/// assert_eq!((correction.rtt_ns, correction.remote_ns, correction.bound_ns), (100, Some(0), Some(128)));
/// assert_eq!(correction.net_source.to_string(), "tc-egress/xdp-ingress");
/// # Ok(())
/// # }
/// ```
pub fn correct(records: &[Record], sent_ns: u64, received_ns: u64) -> Result<Correction, Uncorrected> {
    let stamps = Known(records);
    stamps.iter().next().ok_or(Uncorrected::NoStamps)?;
    let local = local_node(records).ok_or(Uncorrected::NoRequestStamp)?;
    stamps.check_order(local)?;
    let clock = stamps.local_clock(local)?;

    let requests = stamps.of(local, Phase::Request).filter(|record| Some(record.clock()) == clock);
    let replies = stamps.of(local, Phase::Reply).filter(|record| Some(record.clock()) == clock);
    let request = requests.clone().max_by_key(|record| record.time_ns()).ok_or(Uncorrected::NoRequestStamp)?;
    let reply = replies.clone().min_by_key(|record| record.time_ns()).ok_or(Uncorrected::NoReplyStamp)?;

    let inside = |record: &Record| (sent_ns..=received_ns).contains(&record.time_ns());
    if clock != Some(Clock::MONOTONIC) || !requests.chain(replies).all(inside) {
        return Err(Uncorrected::ClockMismatch);
    }
    // All of these lie between send and receive: where the RTT fits, they fit.
    let span = |from: u64, to: u64| to.checked_signed_diff(from).ok_or(Uncorrected::ClockMismatch);
    let rtt_ns = span(sent_ns, received_ns)?;
    let tx_stack_ns = span(sent_ns, request.time_ns())?;
    let rx_stack_ns = span(reply.time_ns(), received_ns)?;
    let between_ns = span(request.time_ns(), reply.time_ns())?;

    // Times of the far end may be anything. A residence that overflows is none.
    let own_bound = sum_of_bounds(request, reply);
    let (net_ns, remote_ns, bound_ns) = match stamps.residence(local) {
        Residence::Nowhere => (between_ns, Some(0), own_bound),
        Residence::Unknown => (between_ns, None, own_bound),
        Residence::Known { ns, bound_ns } => match between_ns.checked_sub(ns) {
            Some(net_ns) => (net_ns, Some(ns), own_bound.zip(bound_ns).map(|(own, remote)| own + remote)),
            None => (between_ns, None, own_bound),
        },
    };
    let negative = [net_ns, remote_ns.unwrap_or(0), tx_stack_ns, rx_stack_ns].iter().any(|component| *component < 0);
    let net_source = NetSource { request: request.hook(), reply: reply.hook() };
    Ok(Correction { rtt_ns, net_ns, remote_ns, tx_stack_ns, rx_stack_ns, bound_ns, net_source, negative })
}

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
enum Residence {
    /// No remote stamped.
    Nowhere,
    /// One did, but its stamps do not tell.
    Unknown,
    /// As its stamps say, with the sum of their bounds.
    Known { ns: i64, bound_ns: Option<u64> },
}

/// The records of which the hook is known. The others may mean anything.
#[derive(Clone, Copy)]
struct Known<'a>(&'a [Record]);

impl<'a> Known<'a> {
    fn iter(self) -> impl Iterator<Item = &'a Record> + Clone {
        self.0.iter().filter(|record| record.hook().number() != 0 && record.hook().name().is_some())
    }

    fn of(self, node: u16, phase: Phase) -> impl Iterator<Item = &'a Record> + Clone {
        self.iter().filter(move |record| record.node() == node && record.phase() == phase)
    }

    /// A probe is stamped by the local node, by remote ones, again by remote ones and again by the local one. Late stamps
    /// of the request are written when the reply arrives, and only by the local node.
    fn check_order(self, local: u16) -> Result<(), Uncorrected> {
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
    fn local_clock(self, local: u16) -> Result<Option<Clock>, Uncorrected> {
        let mut clocks = self.iter().filter(|record| record.node() == local).filter_map(host_clock);
        let first = clocks.next();
        if clocks.all(|clock| Some(clock) == first) { Ok(first) } else { Err(Uncorrected::NodeConflict) }
    }

    fn residence(self, local: u16) -> Residence {
        let Some(remote) = self.iter().map(Record::node).find(|node| *node != local) else {
            return Residence::Nowhere;
        };
        let comparable = |record: &&Record| host_clock(record).is_some();
        let first = self.of(remote, Phase::Request).filter(comparable).min_by_key(|record| record.time_ns());
        let last = self.of(remote, Phase::Reply).filter(comparable).max_by_key(|record| record.time_ns());
        let (Some(first), Some(last)) = (first, last) else { return Residence::Unknown };
        let mut all = self.iter().filter(|record| record.node() == remote).filter(comparable);
        if !all.all(|record| record.clock() == first.clock()) {
            return Residence::Unknown;
        }
        match last.time_ns().checked_signed_diff(first.time_ns()) {
            Some(ns) => Residence::Known { ns, bound_ns: sum_of_bounds(first, last) },
            None => Residence::Unknown,
        }
    }
}

/// Whether the time of the request became known only after it had left, and was written into the reply.
fn is_late(record: &Record) -> bool {
    record.phase() == Phase::Request && matches!(record.hook(), Hook::DRIVER_TX | Hook::NIC_TX)
}

/// The clock of a record, if it is one that counts a host's time.
fn host_clock(record: &Record) -> Option<Clock> {
    Some(record.clock()).filter(|clock| matches!(*clock, Clock::MONOTONIC | Clock::TAI))
}

fn sum_of_bounds(first: &Record, second: &Record) -> Option<u64> {
    Some(first.bound().nanoseconds()? + second.bound().nanoseconds()?)
}
