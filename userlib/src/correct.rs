//! From stamps to an answer: how much of the RTT was network.

use std::fmt;

use instamp_trailer::{Clock, Hook, Phase, Record};
use thiserror::Error;

use crate::{
    StripError,
    known::{Known, Residence, is_nic, local_node, sum_of_bounds},
};

/// Where the time of one probe went, in nanoseconds. `rtt_ns = tx_stack_ns + net_ns + remote_ns + rx_stack_ns`, exactly,
/// with 0 for an unknown `remote_ns`.
///
/// Nothing is clamped: a far end that lies about its times can make `net_ns` or `remote_ns` negative, and so can the error of a
/// converted stamp of the network card with any time that it bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Correction {
    /// Application receive minus application send.
    pub rtt_ns: i64,
    /// First local reply-phase stamp minus last local request-phase stamp, minus `remote_ns`. A stamp of the network card, converted
    /// to the host's clock, takes the place of the stamp by software before it on the request, or behind it on the reply.
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
    /// The same by the network card alone: its receive time minus its transmit time, minus `remote_ns`. It is no part of the sum.
    ///
    /// Both are of one device of this host and in one clock, be it the card's own: then no model of that clock is needed,
    /// and none adds an error. `None` without such a pair, or where it does not fit into `rtt_ns`: somebody has made it up, or the
    /// clock was set meanwhile.
    pub nic_net_ns: Option<i64>,
    /// The same for `nic_net_ns` as `bound_ns` for `net_ns`. Stamps in the card's own clock have no known bound.
    pub nic_net_bound_ns: Option<u64>,
    /// A stamp of this host's network card is in the card's own clock, and so took no part in `net_ns`: there was no valid model of
    /// that clock to convert it by.
    pub nic_left_out: bool,
    /// Whether one of these times is negative.
    pub negative: bool,
}

/// The hooks between which the network was measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct NetSource {
    /// Of the last local stamp on the request.
    pub request: Hook,
    /// The point of that stamp.
    pub request_point: u8,
    /// Of the first local stamp on the reply.
    pub reply: Hook,
    /// The point of that stamp.
    pub reply_point: u8,
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
    /// A local stamp lies outside of application send and receive, a converted one of the network card by more than its bound; or
    /// is in a clock that the application cannot read.
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
/// those of a network card's own clock, or of an unknown one, tell whose they are but take no part in sums with others.
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

    let request = stamps.nearest_wire(local, Phase::Request, clock).ok_or(Uncorrected::NoRequestStamp)?;
    let reply = stamps.nearest_wire(local, Phase::Reply, clock).ok_or(Uncorrected::NoReplyStamp)?;

    let inside = |record: &Record| {
        let slack_ns = if is_nic(record) { record.bound().nanoseconds().unwrap_or(0) } else { 0 };
        (sent_ns.saturating_sub(slack_ns)..=received_ns.saturating_add(slack_ns)).contains(&record.time_ns())
    };
    let mut comparable = stamps.iter().filter(|record| record.node() == local && Some(record.clock()) == clock);
    if clock != Some(Clock::MONOTONIC) || !comparable.all(inside) {
        return Err(Uncorrected::ClockMismatch);
    }
    let span = |from: u64, to: u64| to.checked_signed_diff(from).ok_or(Uncorrected::ClockMismatch);
    let rtt_ns = span(sent_ns, received_ns)?;
    let tx_stack_ns = span(sent_ns, request.time_ns())?;
    let rx_stack_ns = span(reply.time_ns(), received_ns)?;
    let between_ns = span(request.time_ns(), reply.time_ns())?;

    // Times of the far end may be anything. A residence that overflows is none.
    let (remote_ns, remote_bound) = match stamps.residence(local) {
        Residence::Known { ns, bound_ns } if between_ns.checked_sub(ns).is_some() => (Some(ns), bound_ns),
        Residence::Known { .. } | Residence::Unknown => (None, Some(0)),
        Residence::Nowhere => (Some(0), Some(0)),
    };
    let less_remote = |ns: i64| ns.checked_sub(remote_ns.unwrap_or(0));
    let bound_of = |from, to| sum_of_bounds(from, to).zip(remote_bound).map(|(own, remote)| own + remote);
    let net_ns = less_remote(between_ns).ok_or(Uncorrected::ClockMismatch)?;
    let nic_net = stamps.nic_pair(local).and_then(|(sent, received)| {
        let ns = received.time_ns().checked_signed_diff(sent.time_ns())?;
        is_inside(ns, rtt_ns, sum_of_bounds(sent, received)).then_some((less_remote(ns)?, bound_of(sent, received)))
    });
    let nic_net_ns = nic_net.map(|(ns, _)| ns);
    let times = [net_ns, remote_ns.unwrap_or(0), tx_stack_ns, rx_stack_ns, nic_net_ns.unwrap_or(0)];
    Ok(Correction {
        rtt_ns,
        net_ns,
        remote_ns,
        tx_stack_ns,
        rx_stack_ns,
        bound_ns: bound_of(request, reply),
        net_source: NetSource {
            request: request.hook(),
            request_point: request.point(),
            reply: reply.hook(),
            reply_point: reply.point(),
        },
        nic_net_ns,
        nic_net_bound_ns: nic_net.and_then(|(_, bound_ns)| bound_ns),
        nic_left_out: stamps.iter().any(|r| r.node() == local && is_nic(r) && r.clock() == Clock::PHC),
        negative: times.iter().any(|time| *time < 0),
    })
}

/// Whether a time between two of a card's stamps, which are right to within `bound_ns`, fits into the RTT. The card's clock may
/// run faster than the host's, by no more than the models of such clocks allow.
fn is_inside(ns: i64, rtt_ns: i64, bound_ns: Option<u64>) -> bool {
    let slack_ns = i64::try_from(bound_ns.unwrap_or(0)).unwrap_or(i64::MAX);
    let most_ns = rtt_ns.saturating_add(rtt_ns >> FASTEST).saturating_add(slack_ns);
    (-slack_ns..=most_ns).contains(&ns)
}

/// 2^-10, 976 ppm.
const FASTEST: u32 = 10;
