//! What to do about stamps that are missing. Each hint is given once.

use instamp::{
    MIN_PAYLOAD_LENGTH, Uncorrected, local_node,
    prober::Reply,
    trailer::wire::{MAX_CAP, trailer_length},
};

/// The point of the device through which probes leave the host.
const UPLINK: u8 = 0;

/// What to do where hooks are attached.
const NOT_STAMPED: &str = "If it is, `instamp status` there counts why probes were not stamped; `policy`: their source \
                           address is neither one of the host's own nor in a `--source`";

/// What a hint is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Uncorrected(Uncorrected),
    /// A hook found no free record.
    Full,
    /// No stamp of this host is of its uplink.
    NoUplink,
    /// The network card's stamps are in its own clock.
    NicLeftOut,
}

impl Subject {
    fn of(reply: &Reply) -> impl Iterator<Item = Self> {
        let subjects = match reply.correction {
            Err(reason) => [Some(Self::Uncorrected(reason)), None, None],
            Ok(correction) => [
                reply.full.then_some(Self::Full),
                is_without_uplink(reply).then_some(Self::NoUplink),
                correction.nic_left_out.then_some(Self::NicLeftOut),
            ],
        };
        subjects.into_iter().flatten()
    }
}

fn is_without_uplink(reply: &Reply) -> bool {
    let local = local_node(&reply.stamps);
    reply.stamps.iter().filter(|stamp| Some(stamp.node()) == local).all(|stamp| stamp.point() != UPLINK)
}

pub(super) struct Hints {
    payload_bytes: usize,
    given: Vec<Subject>,
}

impl Hints {
    /// For probes with a payload of this length.
    pub(super) fn new(payload_bytes: usize) -> Self {
        Self { payload_bytes, given: Vec::new() }
    }

    /// The first hint that this reply calls for and that was not given.
    pub(super) fn after(&mut self, reply: &Reply) -> Option<String> {
        let subject = Subject::of(reply).find(|subject| !self.given.contains(subject))?;
        self.given.push(subject);
        Some(match subject {
            Subject::Uncorrected(Uncorrected::NoStamps) if self.payload_bytes < MIN_PAYLOAD_LENGTH => format!(
                "uncorrected: a payload of {} bytes has no room for stamps; use -s {MIN_PAYLOAD_LENGTH} or more",
                self.payload_bytes
            ),
            Subject::Uncorrected(reason @ Uncorrected::NoStamps) => format!("uncorrected: {reason} {NOT_STAMPED}"),
            Subject::Uncorrected(reason) => format!("uncorrected: {reason}"),
            Subject::Full => {
                let cap = u8::try_from(reply.stamps.len() + 4).unwrap_or(MAX_CAP).min(MAX_CAP);
                let size = trailer_length(cap);
                format!("a hook had no room for its stamp: the stages are not complete, and `net` may include part of this host; use --cap {cap} -s {size}")
            }
            Subject::NoUplink => {
                "no stamp of the uplink (point 0), only of inner devices such as a container's veth: `net` includes the way \
                 through the host behind them; attach to the uplink too"
                    .to_owned()
            }
            Subject::NicLeftOut => {
                "the network card's stamps are in its own clock, and left out of `net` and the stages; run `instamp sync --dev IF` \
                 on the host to have them converted"
                    .to_owned()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use instamp::{Clock, Hook, Phase};

    use super::*;
    use crate::ping::samples;

    #[test]
    fn each_is_given_once() {
        let mut hints = Hints::new(64);
        assert_eq!(hints.after(&samples::reply(1)), None);
        let unstamped = samples::uncorrected(2, Uncorrected::NoStamps);
        let hint = "uncorrected: no stamps; is `instamp attach` active on the egress device? If it is, `instamp status` \
                    there counts why probes were not stamped; `policy`: their source address is neither one of the \
                    host's own nor in a `--source`";
        assert_eq!(hints.after(&unstamped).as_deref(), Some(hint));
        assert_eq!(hints.after(&unstamped), None);
        let truncated = samples::uncorrected(3, Uncorrected::Truncated);
        assert!(hints.after(&truncated).is_some_and(|hint| hint.starts_with("uncorrected: ")));
    }

    #[test]
    fn a_payload_without_room_is_told_apart_from_hooks_that_are_missing() {
        let hint = "uncorrected: a payload of 30 bytes has no room for stamps; use -s 40 or more";
        let unstamped = samples::uncorrected(1, Uncorrected::NoStamps);
        assert_eq!(Hints::new(30).after(&unstamped).as_deref(), Some(hint));
    }

    #[test]
    fn stamps_of_inner_devices_alone_leave_the_host_in_the_network() {
        let of = |points: [u8; 2]| {
            let hooks = [(Phase::Request, Hook::TC_INGRESS, 10), (Phase::Reply, Hook::TC_EGRESS, 90)];
            let inner = hooks.map(|(phase, hook, after_ns)| samples::stamp(phase, 1, hook, after_ns));
            let [out, back] = [(Phase::Request, Hook::TC_EGRESS, 20), (Phase::Reply, Hook::XDP_INGRESS, 80)];
            let [out, back] = [(points[0], out), (points[1], back)]
                .map(|(point, (phase, hook, after_ns))| samples::stamp(phase, point, hook, after_ns));
            samples::stamped(1, 100, &[inner[0], out, back, inner[1]])
        };
        let mut hints = Hints::new(64);
        for points in [[0, 0], [0, 1], [1, 0]] {
            assert_eq!(hints.after(&of(points)), None);
        }
        // Two hints that one reply calls for come one after the other.
        let full = Reply { full: true, ..of([1, 2]) };
        assert!(hints.after(&full).is_some_and(|hint| hint.contains("--cap")));
        assert!(hints.after(&full).is_some_and(|hint| hint.contains("point 0")));
        assert_eq!(hints.after(&full), None);
    }

    #[test]
    fn stamps_in_the_card_s_clock_call_for_a_model_of_it() {
        let mut hints = Hints::new(88);
        assert_eq!(hints.after(&samples::with_card(1, Clock::MONOTONIC)), None);
        let hint = "the network card's stamps are in its own clock, and left out of `net` and the stages; run `instamp sync \
                    --dev IF` on the host to have them converted";
        assert_eq!(hints.after(&samples::with_card(2, Clock::PHC)).as_deref(), Some(hint));
        assert_eq!(hints.after(&samples::with_card(3, Clock::PHC)), None);
    }

    #[test]
    fn a_full_trailer_calls_for_a_larger_one() {
        let full = Reply { full: true, ..samples::reply(1) };
        let hint = "a hook had no room for its stamp: the stages are not complete, and `net` may include part of this host; use --cap 6 -s 88";
        assert_eq!(Hints::new(64).after(&full).as_deref(), Some(hint));
    }
}
