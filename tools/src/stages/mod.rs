//! Where the time of corrected replies went, stage by stage.

mod names;
mod waterfall;

use std::cmp::Reverse;

use instamp::{Clock, Correction, Hook, NetSource, Phase, Record, local_node, prober::Reply};

pub(crate) use self::waterfall::Waterfall;
use crate::distribution::Distribution;

/// Replies whose stamps differ from this many others are counted, not kept: the far end can send any stamps.
const MAX_GROUPS: usize = 4;

/// A place where the time is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// A hook on this host.
    Local(Hook, u8),
    /// A hook on the far host.
    Remote(Hook, u8),
    /// The application, right after its receive call.
    Receive,
}

/// Who spends the time between two places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Domain {
    /// Kernel and application.
    Host,
    /// The queueing discipline.
    Queue,
    /// The driver and the network card: from where the kernel hands the packet over, or to where it gets it back.
    Card,
    /// Both: nothing tells where the packet was handed over.
    QueueAndCard,
    /// The network, both ways.
    Network,
    Remote,
    /// Both: the far host has stamped, but its share does not follow from its stamps.
    NetworkAndRemote,
}

/// A part of the way from application to application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stage {
    pub(crate) domain: Domain,
    /// Where it ends. It begins where the one before ends, the first with the application's send call.
    pub(crate) end: Place,
}

/// A corrected reply: what its way is told from.
pub(crate) struct Trip<'a> {
    /// Of the clock of this host's stamps, as `received_ns`.
    pub(crate) sent_ns: u64,
    pub(crate) received_ns: u64,
    pub(crate) stamps: &'a [Record],
    pub(crate) correction: &'a Correction,
}

impl<'a> Trip<'a> {
    /// `None` where the reply is not corrected, or not the first answer to its probe.
    fn of(reply: &'a Reply) -> Option<Self> {
        let correction = reply.correction.as_ref().ok().filter(|_| reply.is_first_answer())?;
        Some(Self { sent_ns: reply.sent_ns, received_ns: reply.received_ns, stamps: &reply.stamps, correction })
    }
}

/// The replies that came the same way.
struct Group {
    /// With the time of each, `None` where it is part of another's.
    stages: Vec<(Stage, Option<Distribution>)>,
    rtt: Distribution,
}

impl Group {
    fn new(way: &[(Stage, Option<i64>)]) -> Self {
        let stages = way.iter().map(|(stage, time)| (*stage, time.map(|_| Distribution::new()))).collect();
        Self { stages, rtt: Distribution::new() }
    }

    fn has_way(&self, way: &[(Stage, Option<i64>)]) -> bool {
        self.stages.iter().map(|(stage, time)| (stage, time.is_some())).eq(way.iter().map(|(s, t)| (s, t.is_some())))
    }

    fn record(&mut self, rtt: i64, way: &[(Stage, Option<i64>)]) {
        self.rtt.record(rtt);
        for ((_, distribution), (_, time)) in self.stages.iter_mut().zip(way) {
            if let Some((distribution, time)) = distribution.as_mut().zip(*time) {
                distribution.record(time);
            }
        }
    }
}

/// Replies, grouped by their way.
#[derive(Default)]
pub(crate) struct Stages {
    groups: Vec<Group>,
    /// Replies beyond the groups that are kept.
    pub(crate) others: u64,
}

impl Stages {
    /// Takes a reply into account if it is corrected and the first answer to its probe.
    pub(crate) fn count(&mut self, reply: &Reply) {
        if let Some(trip) = Trip::of(reply) {
            self.record(&trip);
        }
    }

    pub(crate) fn record(&mut self, trip: &Trip<'_>) {
        let way = way(trip);
        let rtt = trip.correction.rtt_ns;
        if let Some(group) = self.groups.iter_mut().find(|group| group.has_way(&way)) {
            group.record(rtt, &way);
        } else if self.groups.len() < MAX_GROUPS {
            let mut group = Group::new(&way);
            group.record(rtt, &way);
            self.groups.push(group);
        } else {
            self.others += 1;
        }
    }

    /// The groups as they are drawn, that of the most replies first.
    pub(crate) fn waterfalls(&self) -> Vec<Waterfall> {
        let mut groups: Vec<&Group> = self.groups.iter().collect();
        groups.sort_by_key(|group| Reverse(group.rtt.count()));
        groups.into_iter().map(Waterfall::of).collect()
    }
}

/// The stages of a corrected reply, and the time of each.
fn way(trip: &Trip<'_>) -> Vec<(Stage, Option<i64>)> {
    let Trip { sent_ns, received_ns, stamps, correction } = *trip;
    let known = || stamps.iter().filter(|r| r.hook().number() != 0 && r.hook().name().is_some());
    let Some(local) = local_node(stamps) else { return Vec::new() };
    let of = |node, phase| {
        let mut records: Vec<&Record> =
            known().filter(|r| r.node() == node && r.phase() == phase && is_host_clock(r.clock())).collect();
        records.retain(|record| node != local || !matches!(record.hook(), Hook::NIC_TX | Hook::NIC_RX));
        records.sort_by_key(|record| record.time_ns());
        records
    };
    let mut way = Vec::new();
    let mut add = |domain, time, end| way.push((Stage { domain, end }, time));

    // The card's stamp that the network is measured from lies beyond software's, whatever its time. Its others are not shown.
    let NetSource { request, request_point, reply: arrival, reply_point } = correction.net_source;
    let mut here = None;
    let mut before = sent_ns;
    for record in of(local, Phase::Request) {
        let end = Place::Local(record.hook(), record.point());
        add(on_request(here, end), Some(difference(before, record.time_ns())), end);
        (here, before) = (Some(end), record.time_ns());
    }
    if request == Hook::NIC_TX {
        let end = Place::Local(request, request_point);
        add(on_request(here, end), Some(correction.tx_stack_ns - difference(sent_ns, before)), end);
    }

    // The network's time: to the far end and back. Without stamps of the far end both lead to the first local one.
    let remote = known().map(Record::node).find(|node| *node != local);
    let (mut domain, mut time) = (Domain::Network, Some(correction.net_ns));
    match (remote, correction.remote_ns) {
        (None, _) => {}
        (Some(_), None) => domain = Domain::NetworkAndRemote,
        (Some(remote), Some(_)) => {
            let mut before = None;
            for record in of(remote, Phase::Request).into_iter().chain(of(remote, Phase::Reply)) {
                let end = Place::Remote(record.hook(), record.point());
                match before {
                    None => add(Domain::Network, time.take(), end),
                    Some(before) => add(Domain::Remote, Some(difference(before, record.time_ns())), end),
                }
                before = Some(record.time_ns());
            }
        }
    }
    // On this host again, each stage shortens what is left until the application receives.
    let mut left = correction.rx_stack_ns;
    let mut within = None;
    if arrival == Hook::NIC_RX {
        add(domain, time, Place::Local(arrival, reply_point));
        within = Some(Domain::Card);
    }
    for record in of(local, Phase::Reply) {
        let end = Place::Local(record.hook(), record.point());
        let then_left = difference(record.time_ns(), received_ns);
        match within {
            None => add(domain, time, end),
            Some(domain) => add(domain, Some(left - then_left), end),
        }
        (within, left) = (Some(Domain::Host), then_left);
    }
    add(Domain::Host, Some(left), Place::Receive);
    way
}

/// Who spends the time of the request between two places on this host; the first of them is `None` for the application.
fn on_request(from: Option<Place>, to: Place) -> Domain {
    let (Some(Place::Local(from, from_point)), Place::Local(to, to_point)) = (from, to) else { return Domain::Host };
    match (from, to) {
        _ if from_point != to_point => Domain::Host,
        (Hook::TC_EGRESS, Hook::DRIVER_TX) => Domain::Queue,
        (Hook::TC_EGRESS, Hook::NIC_TX) => Domain::QueueAndCard,
        (Hook::DRIVER_TX | Hook::XDP_TX | Hook::APP_TX, Hook::NIC_TX) => Domain::Card,
        _ => Domain::Host,
    }
}

/// Whether the clock counts the time of a host, not that of a network card.
fn is_host_clock(clock: Clock) -> bool {
    clock == Clock::MONOTONIC || clock == Clock::TAI
}

/// `to - from`. Times of the far end may be anything.
fn difference(from: u64, to: u64) -> i64 {
    to.checked_signed_diff(from).unwrap_or(if to < from { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use instamp::{Bound, Uncorrected};
    use proptest::prelude::*;

    use super::*;
    use crate::ping::samples::{self, stamp};

    fn remote_stamp(phase: Phase, hook: Hook, time_ns: u64) -> Record {
        Record::new(phase, 0, hook, 9, Clock::TAI, Bound::at_least(64), time_ns)
    }

    fn way_of(reply: &Reply) -> Vec<(Domain, Place, Option<i64>)> {
        let way = way(&Trip::of(reply).expect("corrected"));
        let total: i64 = way.iter().filter_map(|(_, time)| *time).sum();
        assert_eq!(total, reply.rtt_ns, "the stages are the whole round trip");
        way.into_iter().map(|(stage, time)| (stage.domain, stage.end, time)).collect()
    }

    #[test]
    fn two_stamps_make_three_stages() {
        let expected = [
            (Domain::Host, Place::Local(Hook::TC_EGRESS, 0), Some(20_100)),
            (Domain::Network, Place::Local(Hook::XDP_INGRESS, 0), Some(11_342)),
            (Domain::Host, Place::Receive, Some(10_707)),
        ];
        assert_eq!(way_of(&samples::reply(1)), expected);
    }

    #[test]
    fn late_stamps_take_their_place_by_time() {
        let reply = samples::stamped(
            1,
            100,
            &[
                stamp(Phase::Request, 1, Hook::TC_INGRESS, 10),
                stamp(Phase::Request, 0, Hook::TC_EGRESS, 30),
                stamp(Phase::Reply, 0, Hook::XDP_INGRESS, 70),
                stamp(Phase::Request, 0, Hook::DRIVER_TX, 35),
                stamp(Phase::Reply, 1, Hook::TC_EGRESS, 90),
            ],
        );
        let expected = [
            (Domain::Host, Place::Local(Hook::TC_INGRESS, 1), Some(10)),
            (Domain::Host, Place::Local(Hook::TC_EGRESS, 0), Some(20)),
            (Domain::Queue, Place::Local(Hook::DRIVER_TX, 0), Some(5)),
            (Domain::Network, Place::Local(Hook::XDP_INGRESS, 0), Some(35)),
            (Domain::Host, Place::Local(Hook::TC_EGRESS, 1), Some(20)),
            (Domain::Host, Place::Receive, Some(10)),
        ];
        assert_eq!(way_of(&reply), expected);
    }

    #[test]
    fn every_stage_from_application_to_wire_and_back() {
        let expected = [
            (Domain::Host, Place::Local(Hook::TC_INGRESS, 1), Some(9_000)),
            (Domain::Host, Place::Local(Hook::TC_EGRESS, 0), Some(6_000)),
            (Domain::Queue, Place::Local(Hook::DRIVER_TX, 0), Some(2_000)),
            (Domain::Card, Place::Local(Hook::NIC_TX, 0), Some(1_500)),
            (Domain::Network, Place::Local(Hook::NIC_RX, 0), Some(9_000)),
            (Domain::Card, Place::Local(Hook::XDP_INGRESS, 0), Some(2_500)),
            (Domain::Host, Place::Receive, Some(12_000)),
        ];
        assert_eq!(way_of(&samples::with_card(1, Clock::MONOTONIC)), expected);
        // In its own clock the card's have no place beside the host's.
        let without = [
            expected[0],
            expected[1],
            expected[2],
            (Domain::Network, Place::Local(Hook::XDP_INGRESS, 0), Some(13_000)),
            expected[6],
        ];
        assert_eq!(way_of(&samples::with_card(1, Clock::PHC)), without);
    }

    #[test]
    fn the_card_s_stamps_keep_their_place_whatever_their_error() {
        let stamps = [
            stamp(Phase::Request, 0, Hook::TC_EGRESS, 10),
            stamp(Phase::Reply, 0, Hook::XDP_INGRESS, 90),
            stamp(Phase::Request, 0, Hook::NIC_TX, 7),
            stamp(Phase::Reply, 0, Hook::NIC_RX, 92),
            // Of another device, on which the network is not measured.
            stamp(Phase::Request, 2, Hook::NIC_TX, 50),
            stamp(Phase::Reply, 2, Hook::NIC_RX, 50),
        ];
        let expected = [
            (Domain::Host, Place::Local(Hook::TC_EGRESS, 0), Some(10)),
            (Domain::QueueAndCard, Place::Local(Hook::NIC_TX, 0), Some(-3)),
            (Domain::Network, Place::Local(Hook::NIC_RX, 0), Some(85)),
            (Domain::Card, Place::Local(Hook::XDP_INGRESS, 0), Some(-2)),
            (Domain::Host, Place::Receive, Some(10)),
        ];
        assert_eq!(way_of(&samples::stamped(1, 100, &stamps)), expected);
    }

    #[test]
    fn the_card_s_stamps_alone_bound_the_network() {
        let stamps = [stamp(Phase::Reply, 1, Hook::NIC_RX, 90), stamp(Phase::Request, 0, Hook::NIC_TX, 20)];
        let expected = [
            (Domain::Host, Place::Local(Hook::NIC_TX, 0), Some(20)),
            (Domain::Network, Place::Local(Hook::NIC_RX, 1), Some(70)),
            (Domain::Host, Place::Receive, Some(10)),
        ];
        assert_eq!(way_of(&samples::stamped(1, 100, &stamps)), expected);
    }

    #[test]
    fn the_card_and_a_far_host_that_stamps() {
        let mut stamps = samples::with_card(1, Clock::MONOTONIC).stamps.to_vec();
        stamps.splice(
            2..2,
            [
                remote_stamp(Phase::Request, Hook::XDP_INGRESS, 5_000_000),
                remote_stamp(Phase::Reply, Hook::TC_EGRESS, 5_004_000),
            ],
        );
        let way = way_of(&samples::stamped(1, 42_000, &stamps));
        let expected = [
            (Domain::Card, Place::Local(Hook::NIC_TX, 0), Some(1_500)),
            (Domain::Network, Place::Remote(Hook::XDP_INGRESS, 0), Some(5_000)),
            (Domain::Remote, Place::Remote(Hook::TC_EGRESS, 0), Some(4_000)),
            (Domain::Network, Place::Local(Hook::NIC_RX, 0), None),
            (Domain::Card, Place::Local(Hook::XDP_INGRESS, 0), Some(2_500)),
        ];
        assert_eq!(way[3..8], expected);
    }

    #[test]
    fn a_late_stamp_alone_is_of_this_host() {
        let reply = samples::stamped(
            1,
            100,
            &[
                remote_stamp(Phase::Request, Hook::XDP_INGRESS, 5_000_000),
                remote_stamp(Phase::Reply, Hook::TC_EGRESS, 5_000_025),
                stamp(Phase::Reply, 0, Hook::XDP_INGRESS, 90),
                stamp(Phase::Request, 0, Hook::DRIVER_TX, 10),
            ],
        );
        let ends: Vec<Place> = way_of(&reply).into_iter().map(|(_, end, _)| end).collect();
        let expected = [
            Place::Local(Hook::DRIVER_TX, 0),
            Place::Remote(Hook::XDP_INGRESS, 0),
            Place::Remote(Hook::TC_EGRESS, 0),
            Place::Local(Hook::XDP_INGRESS, 0),
            Place::Receive,
        ];
        assert_eq!(ends, expected);
    }

    #[test]
    fn the_far_host_has_stages_in_its_own_clock() {
        let reply = samples::stamped(
            1,
            100,
            &[
                stamp(Phase::Request, 0, Hook::TC_EGRESS, 10),
                remote_stamp(Phase::Request, Hook::XDP_INGRESS, 5_000_000),
                remote_stamp(Phase::Reply, Hook::TC_EGRESS, 5_000_025),
                stamp(Phase::Reply, 0, Hook::XDP_INGRESS, 90),
            ],
        );
        let expected = [
            (Domain::Host, Place::Local(Hook::TC_EGRESS, 0), Some(10)),
            (Domain::Network, Place::Remote(Hook::XDP_INGRESS, 0), Some(55)),
            (Domain::Remote, Place::Remote(Hook::TC_EGRESS, 0), Some(25)),
            (Domain::Network, Place::Local(Hook::XDP_INGRESS, 0), None),
            (Domain::Host, Place::Receive, Some(10)),
        ];
        assert_eq!(way_of(&reply), expected);
    }

    #[test]
    fn a_far_host_that_stamps_once_stays_in_the_network() {
        let reply = samples::stamped(
            1,
            100,
            &[
                stamp(Phase::Request, 0, Hook::TC_EGRESS, 10),
                remote_stamp(Phase::Request, Hook::XDP_INGRESS, 5_000_000),
                stamp(Phase::Reply, 0, Hook::XDP_INGRESS, 90),
            ],
        );
        assert_eq!(way_of(&reply)[1], (Domain::NetworkAndRemote, Place::Local(Hook::XDP_INGRESS, 0), Some(80)),);
    }

    proptest! {
        /// Whatever hooks have stamped, in whatever order of time: the helper above sees to the sum.
        #[test]
        fn the_network_is_between_the_stamps_of_its_source(
            stamps in prop::collection::vec(
                (any::<bool>(), 0_u8..2, 1_usize..=8, any::<bool>(), 0_u64..=100), 2..8,
            ),
        ) {
            const HOOKS: [Hook; 8] = [
                Hook::TC_EGRESS, Hook::TC_INGRESS, Hook::XDP_INGRESS, Hook::DRIVER_TX,
                Hook::NIC_TX, Hook::NIC_RX, Hook::XDP_TX, Hook::APP_TX,
            ];
            let mut stamps: Vec<Record> = stamps
                .into_iter()
                .map(|(reply, point, hook, raw, after_ns)| {
                    let phase = if reply { Phase::Reply } else { Phase::Request };
                    let hook = HOOKS[hook - 1];
                    let clock = if raw && matches!(hook, Hook::NIC_TX | Hook::NIC_RX) { Clock::PHC } else { Clock::MONOTONIC };
                    Record::new(phase, point, hook, 7, clock, Bound::at_least(64), samples::SENT_NS + after_ns)
                })
                .collect();
            stamps.sort_by_key(Record::phase);
            let reply = samples::stamped(1, 100, &stamps);
            prop_assume!(reply.correction.is_ok());
            let NetSource { request, request_point, reply: arrival, reply_point } = reply.correction?.net_source;
            let way = way_of(&reply);
            let at = way.iter().position(|(domain, ..)| *domain == Domain::Network).expect("a network");
            prop_assert_eq!(way[at - 1].1, Place::Local(request, request_point));
            prop_assert_eq!(way[at].1, Place::Local(arrival, reply_point));
            prop_assert_eq!(way[at].2, Some(reply.correction?.net_ns));
            let tx_stack: i64 = way[..at].iter().filter_map(|(.., time)| *time).sum();
            prop_assert_eq!(tx_stack, reply.correction?.tx_stack_ns);
        }
    }

    #[test]
    fn replies_are_grouped_by_their_way_in_bounded_memory() {
        let mut stages = Stages::default();
        stages.count(&samples::uncorrected(1, Uncorrected::NoStamps));
        stages.count(&Reply { duplicate: true, ..samples::reply(1) });
        assert!(stages.waterfalls().is_empty());
        for point in 0..7 {
            let stamps =
                [stamp(Phase::Request, point, Hook::TC_EGRESS, 10), stamp(Phase::Reply, 0, Hook::XDP_INGRESS, 90)];
            stages.count(&samples::stamped(1, 100, &stamps));
        }
        stages.count(&samples::reply(2));
        let counts: Vec<u64> = stages.waterfalls().iter().map(|group| group.replies).collect();
        assert_eq!((counts, stages.others), (vec![2, 1, 1, 1], 3));
    }
}
