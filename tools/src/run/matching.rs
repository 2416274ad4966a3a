//! Which of the replies that were observed a tool's line tells of.

use std::{
    collections::{HashSet, VecDeque},
    net::IpAddr,
};

use instamp_hooks::Observed;

use super::{
    lines::{Number, ReplyLine, Rtt},
    rounds::Rounds,
};

/// As many replies are kept that no line has told of: as those of others, or of a tool that prints none.
const KEPT: usize = 4_096;

/// Replies that wait for their lines.
#[derive(Default)]
pub(super) struct Matching {
    waiting: VecDeque<Observed>,
    /// The identifiers under which the tool sends.
    identifiers: HashSet<u16>,
    /// Of a tool that sends to several targets in turn.
    rounds: Rounds,
}

/// Why a line has no times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unmatched {
    /// Nothing was observed that fits.
    Missing,
    /// More than one reply fits.
    Ambiguous,
}

impl Matching {
    /// Adds a reply, and says whether it is the tool's: since a process of the tool has sent its request (`by_process`), or one of these has
    /// sent another under the same identifier.
    pub(super) fn add(&mut self, observed: Observed, by_process: bool) -> bool {
        if by_process {
            self.identifiers.insert(observed.sender.identifier);
        }
        let is_own = self.identifiers.contains(&observed.sender.identifier);
        if is_own {
            if self.waiting.len() == KEPT {
                self.waiting.pop_front();
            }
            if by_process {
                self.rounds.add(observed.sender.destination, observed.sender.sequence);
            }
            self.waiting.push_back(observed);
        }
        is_own
    }

    /// Takes the reply that a line tells of, from one of these addresses.
    ///
    /// With a number there is one; of several that which took no longer than the tool has seen. A single one can seem to have taken
    /// longer, as whoever reads a clock can be interrupted before. Without a number, lines come in the order of their replies, as the
    /// tool prints each when it comes.
    pub(super) fn claim(&mut self, line: &ReplyLine<'_>, from: &[IpAddr]) -> Result<Observed, Unmatched> {
        if let Number::Before(round) = line.number
            && from.iter().filter(|&&target| self.rounds.is_repeated(target, round)).count() > 0
        {
            return Err(Unmatched::Ambiguous);
        }
        let fits = |observed: &Observed| {
            let sequence = observed.sender.sequence;
            from.contains(&observed.sender.destination)
                && match line.number {
                    Number::Sequence(number) => number == sequence,
                    Number::Before(round) => self.rounds.can_be_of(round, sequence),
                    Number::Missing => true,
                }
        };
        let mut places: Vec<usize> = (0..self.waiting.len()).filter(|&place| fits(&self.waiting[place])).collect();
        let is_numbered = line.number != Number::Missing;
        if !is_numbered || places.len() > 1 {
            places.retain(|&place| is_within(&self.waiting[place], line.rtt));
        }
        let &place = places.first().ok_or(Unmatched::Missing)?;
        if is_numbered && places.len() > 1 {
            // The other one's line comes, too, and is as ambiguous.
            return Err(Unmatched::Ambiguous);
        }
        self.waiting.remove(place).ok_or(Unmatched::Missing)
    }
}

/// What was seen of a round trip lies inside of what the tool has seen.
fn is_within(observed: &Observed, rtt: Rtt) -> bool {
    let seen = observed.total_ns().or(observed.net_ns());
    seen.is_none_or(|seen| seen < rtt.ns + rtt.unit_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        run::lines::Format,
        watch::samples::{observed, of_host},
    };

    fn claim(matching: &mut Matching, format: Format, line: &str) -> Result<u16, Unmatched> {
        let line = format.read(line).expect("a line");
        let from = line.address().expect("an address");
        matching.claim(&line, &[from]).map(|observed| observed.sender.sequence)
    }

    fn ping(sequence: u16) -> String {
        format!("64 bytes from 10.99.0.2: icmp_seq={sequence} ttl=63 time=0.060 ms")
    }

    #[test]
    fn each_line_gets_its_own_reply_once() {
        let mut matching = Matching::default();
        for sequence in [1, 2, 3] {
            assert!(matching.add(observed(sequence), true));
        }
        for sequence in [2, 1, 3] {
            assert_eq!(claim(&mut matching, Format::Ping, &ping(sequence)), Ok(sequence));
        }
        assert_eq!(claim(&mut matching, Format::Ping, &ping(3)), Err(Unmatched::Missing));
    }

    fn fping(round: u16) -> String {
        format!("10.99.0.2 : [{round}], 64 bytes, 0.060 ms (0.060 avg, 0% loss)")
    }

    #[test]
    fn lines_without_a_number_are_in_the_order_of_replies() {
        let mut matching = Matching::default();
        for sequence in [4, 6, 8] {
            matching.add(observed(sequence), true);
        }
        for sequence in [4, 6, 8] {
            assert_eq!(claim(&mut matching, Format::Fping, "10.99.0.2 is alive (0.060 ms)"), Ok(sequence));
        }
    }

    #[test]
    fn lines_that_count_the_requests_of_a_target_are_matched_by_that() {
        let mut matching = Matching::default();
        for sequence in [0, 2, 3, 1, 5] {
            matching.add(observed(sequence), true);
        }
        // The second reply was too late for the tool, which prints nothing of it.
        for round in [0, 2, 3, 5] {
            assert_eq!(claim(&mut matching, Format::Fping, &fping(round)), Ok(round));
        }
        assert_eq!(claim(&mut matching, Format::Fping, &fping(4)), Err(Unmatched::Missing));
    }

    #[test]
    fn lines_of_a_target_that_was_given_twice_are_ambiguous() {
        let mut matching = Matching::default();
        for sequence in 0..4 {
            matching.add(observed(sequence), true);
        }
        let claimed = [0, 0, 1, 1].map(|round| claim(&mut matching, Format::Fping, &fping(round)));
        assert_eq!(claimed[1..], [Err(Unmatched::Ambiguous); 3]);
    }

    #[test]
    fn replies_of_others_are_not_taken() {
        let mut matching = Matching::default();
        let mut others = observed(1);
        others.sender.identifier = 78;
        assert!(!matching.add(others, false));
        assert_eq!(claim(&mut matching, Format::Ping, &ping(1)), Err(Unmatched::Missing));
        assert!(matching.add(observed(1), true));
        assert_eq!(claim(&mut matching, Format::Ping, &ping(1)), Ok(1));
        // Somebody else was running when the tool's next one was sent.
        assert!(matching.add(observed(2), false));
        assert_eq!(claim(&mut matching, Format::Ping, &ping(2)), Ok(2));
    }

    #[test]
    fn two_that_fit_are_ambiguous() {
        let mut matching = Matching::default();
        matching.add(observed(1), true);
        matching.add(observed(1), true);
        assert_eq!(claim(&mut matching, Format::Ping, &ping(1)), Err(Unmatched::Ambiguous));
        // One that took longer than the tool has seen is none that fits.
        let mut matching = Matching::default();
        matching.add(observed(1), true);
        let mut longer = observed(1);
        longer.sender_rx_ns = longer.sender_rx_ns.map(|ns| ns + 30_000);
        matching.add(longer, true);
        assert_eq!(claim(&mut matching, Format::Ping, &ping(1)), Ok(1));
    }

    #[test]
    fn the_host_s_own_have_the_network_alone_to_go_by() {
        let mut matching = Matching::default();
        matching.add(of_host(1), true);
        let line = "64 bytes from 10.99.0.2: icmp_seq=1 ttl=63 time=0.011 ms";
        assert_eq!(claim(&mut matching, Format::Ping, line), Ok(1));
        matching.add(of_host(2), true);
        // Whoever has read a clock was interrupted before: it is the only one.
        let line = "64 bytes from 10.99.0.2: icmp_seq=2 ttl=63 time=0.010 ms";
        assert_eq!(claim(&mut matching, Format::Ping, line), Ok(2));
    }

    #[test]
    fn memory_is_bounded() {
        let mut matching = Matching::default();
        for sequence in (0..=u16::MAX).cycle().take(100_000) {
            matching.add(observed(sequence), true);
        }
        assert_eq!(matching.waiting.len(), KEPT);
    }
}
