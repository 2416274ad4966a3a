//! The stages as a picture for the terminal: from top to bottom the way, from left to right the time.

use std::{
    fmt::{self, Write as _},
    io::IsTerminal as _,
};

use crate::{
    stages::{Domain, Stages, Waterfall},
    units::Nanoseconds,
};

/// The width of the bars in characters: all columns together are 79.
const BAR: usize = 40;

/// What the terminal can show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Terminal {
    pub(super) unicode: bool,
    pub(super) color: bool,
}

impl Terminal {
    /// That of the standard output.
    pub(super) fn of_stdout() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            unicode: is_utf8_locale(variable),
            color: std::io::stdout().is_terminal() && variable("NO_COLOR").is_none(),
        }
    }

    /// The characters of a domain: the bar, the line beside it, and the mark of a time too short for a bar.
    fn characters(self, domain: Domain) -> (char, char, char) {
        match (domain, self.unicode) {
            (Domain::Host, true) => ('█', '│', '▏'),
            (Domain::Queue, true) => ('▒', '╎', '▏'),
            (Domain::Card, true) => ('▚', '┃', '▏'),
            (Domain::QueueAndCard, true) => ('▞', '╏', '▏'),
            (Domain::Network | Domain::NetworkAndRemote, true) => ('░', '┊', '▏'),
            (Domain::Remote, true) => ('▓', '║', '▏'),
            (Domain::Host, false) => ('#', '|', '|'),
            (Domain::Queue, false) => ('-', '|', '|'),
            (Domain::Card, false) => ('+', '|', '|'),
            (Domain::QueueAndCard, false) => ('*', '|', '|'),
            (Domain::Network | Domain::NetworkAndRemote, false) => ('.', ':', '|'),
            (Domain::Remote, false) => ('=', '|', '|'),
        }
    }

    fn color(self, domain: Domain) -> (&'static str, &'static str) {
        match (self.color, domain) {
            (false, _) => ("", ""),
            (true, Domain::Host) => ("\x1b[33m", "\x1b[0m"),
            (true, Domain::Queue) => ("\x1b[31m", "\x1b[0m"),
            (true, Domain::Card) => ("\x1b[32m", "\x1b[0m"),
            (true, Domain::QueueAndCard) => ("\x1b[34m", "\x1b[0m"),
            (true, Domain::Network | Domain::NetworkAndRemote) => ("\x1b[36m", "\x1b[0m"),
            (true, Domain::Remote) => ("\x1b[35m", "\x1b[0m"),
        }
    }
}

/// Whether the locale's characters are UTF-8: the first of these variables that is set decides.
fn is_utf8_locale(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable).unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Draws all groups. Ends with a new line.
pub(super) fn draw(stages: &Stages, terminal: Terminal) -> String {
    let waterfalls = stages.waterfalls();
    if waterfalls.is_empty() {
        return "\nNo stages: no reply was corrected.\n".into();
    }
    let mut picture = String::new();
    for waterfall in waterfalls {
        write!(picture, "\n{}", Picture { waterfall, terminal }).expect("a string");
    }
    if stages.others > 0 {
        writeln!(picture, "\n{} more replies carried other stamps.", stages.others).expect("a string");
    }
    picture
}

struct Picture {
    waterfall: Waterfall,
    terminal: Terminal,
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Waterfall { replies: count, rtt, total, ref spans } = self.waterfall;
        let (replies, medians) = if count == 1 { ("reply", "") } else { ("replies", ", medians") };
        let title = format!("Where the time of {count} {replies} went{medians}");
        writeln!(f, "{title:<55}{:>12}{:>12}", "p50", "p90")?;
        writeln!(f, "  application sends")?;

        for span in spans {
            let domain = span.stage.domain;
            let (_, line, _) = self.terminal.characters(domain);
            let (color, plain) = self.terminal.color(domain);
            write!(f, "  {color}{line}{plain} {:<11}", domain.to_string())?;
            match span.time {
                Some(time) => {
                    let bar = self.bar(domain, position(time.from, total), position(time.to, total));
                    let blank = " ".repeat(BAR - bar.chars().count());
                    let [p50, p90] = [time.p50, time.p90].map(Nanoseconds);
                    writeln!(f, "{color}{bar}{plain}{blank}{p50:>12}{p90:>12}")?;
                }
                None => writeln!(f, "(the way back, counted above)")?,
            }
            writeln!(f, "  {}", span.stage.end)?;
        }
        writeln!(f)?;
        self.legend(f)?;
        writeln!(f, "  round trip {}; medians need not add up", Nanoseconds(rtt))
    }
}

impl Picture {
    /// From column `from` to column `to`, with the blanks before.
    fn bar(&self, domain: Domain, from: usize, to: usize) -> String {
        let (full, _, mark) = self.terminal.characters(domain);
        let blank = " ".repeat(from.min(BAR - 1));
        match to.saturating_sub(from) {
            0 => format!("{blank}{mark}"),
            width => format!("{blank}{}", full.to_string().repeat(width)),
        }
    }

    /// What the bars stand for, each with its share.
    fn legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for share in self.waterfall.shares() {
            let (bar, ..) = self.terminal.characters(share.domain);
            let (color, plain) = self.terminal.color(share.domain);
            writeln!(
                f,
                "  {color}{bar}{plain} {:<11}{:>12} {:>3} %  {}",
                share.domain.to_string(),
                Nanoseconds(share.time),
                share.percent,
                share.domain.meaning()
            )?;
        }
        Ok(())
    }
}

/// The column of the time `time` of `total`.
fn position(time: i64, total: i64) -> usize {
    let column = (i128::from(time) * BAR as i128 + i128::from(total / 2)) / i128::from(total);
    usize::try_from(column).unwrap_or(0).min(BAR)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use instamp::{Bound, Clock, Hook, Phase, Record, prober::Reply};

    use super::*;
    use crate::ping::samples::{self, stamp};

    const ASCII: Terminal = Terminal { unicode: false, color: false };
    const UNICODE: Terminal = Terminal { unicode: true, color: false };

    fn drawn(replies: &[Reply], terminal: Terminal) -> String {
        let mut stages = Stages::default();
        replies.iter().for_each(|reply| stages.count(reply));
        let picture = draw(&stages, terminal);
        for line in picture.lines() {
            assert!(line.chars().count() < 80, "{line}");
        }
        picture
    }

    /// From a container: through the host's end of its veth (point 1) and the uplink (point 0). `scale` stretches the time.
    fn from_container(scale: u64) -> Reply {
        let stamps = [
            stamp(Phase::Request, 1, Hook::TC_INGRESS, 9_100 * scale),
            stamp(Phase::Request, 0, Hook::TC_EGRESS, 15_400 * scale),
            stamp(Phase::Reply, 0, Hook::XDP_INGRESS, 26_800 * scale),
            stamp(Phase::Reply, 1, Hook::TC_EGRESS, 31_200 * scale),
        ];
        samples::stamped(1, 42_100 * scale, &stamps)
    }

    fn with_far_end() -> Reply {
        let far = |phase, hook, time_ns| Record::new(phase, 0, hook, 9, Clock::TAI, Bound::at_least(64), time_ns);
        let stamps = [
            stamp(Phase::Request, 0, Hook::TC_EGRESS, 12_000),
            far(Phase::Request, Hook::XDP_INGRESS, 77_000_000_000),
            far(Phase::Reply, Hook::TC_EGRESS, 77_000_008_000),
            stamp(Phase::Reply, 0, Hook::XDP_INGRESS, 3_030_000),
        ];
        samples::stamped(1, 3_040_000, &stamps)
    }

    #[test]
    fn a_container_behind_the_uplink() {
        let replies: Vec<Reply> = [1, 1, 1, 2].map(from_container).to_vec();
        insta::assert_snapshot!(drawn(&replies, UNICODE));
    }

    #[test]
    fn the_same_in_ascii() {
        insta::assert_snapshot!(drawn(&[from_container(1)], ASCII));
    }

    #[test]
    fn a_far_end_that_stamps() {
        insta::assert_snapshot!(drawn(&[with_far_end()], UNICODE));
    }

    #[test]
    fn several_ways() {
        insta::assert_snapshot!(drawn(&[samples::reply(1), from_container(3), samples::reply(2)], UNICODE));
    }

    #[test]
    fn every_stage_from_application_to_wire() {
        insta::assert_snapshot!(drawn(&[samples::with_card(1, Clock::MONOTONIC)], UNICODE));
    }

    #[test]
    fn every_stage_but_where_the_driver_begins() {
        let mut stamps = samples::with_card(1, Clock::MONOTONIC).stamps.to_vec();
        stamps.retain(|stamp| stamp.hook() != Hook::DRIVER_TX);
        insta::assert_snapshot!(drawn(&[samples::stamped(1, 42_000, &stamps)], ASCII));
    }

    #[test]
    fn domains_are_told_apart_by_their_bars() {
        for terminal in [ASCII, UNICODE] {
            let bars: BTreeSet<char> = Domain::ALL.map(|domain| terminal.characters(domain).0).into();
            // What is partly network looks like network.
            assert_eq!(bars.len(), Domain::ALL.len() - 1);
        }
    }

    #[test]
    fn nothing_to_draw() {
        assert_eq!(drawn(&[], UNICODE), "\nNo stages: no reply was corrected.\n");
    }

    #[test]
    fn a_negative_time_has_no_bar() {
        let mut reply = with_far_end();
        reply.correction.as_mut().expect("corrected").net_ns = -5_000;
        let picture = drawn(&[reply], ASCII);
        assert!(picture.lines().any(|line| line.contains("network") && line.contains("-5.000us")), "{picture}");
    }

    #[test]
    fn colors_are_only_added() {
        let replies = [from_container(1)];
        let mut colored = draw(
            &{
                let mut stages = Stages::default();
                stages.count(&replies[0]);
                stages
            },
            Terminal { color: true, ..UNICODE },
        );
        assert!(colored.contains("\x1b[36m"));
        for escape in ["\x1b[33m", "\x1b[35m", "\x1b[36m", "\x1b[0m"] {
            colored = colored.replace(escape, "");
        }
        assert_eq!(colored, drawn(&replies, UNICODE));
    }

    #[test]
    fn the_locale_decides_on_the_characters() {
        let with = |pairs: &'static [(&str, &str)]| {
            is_utf8_locale(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into()))
        };
        assert!(with(&[("LANG", "de_DE.UTF-8")]));
        assert!(with(&[("LANG", "C"), ("LC_ALL", "C.utf8")]));
        assert!(!with(&[("LANG", "en_US.UTF-8"), ("LC_CTYPE", "C")]));
        assert!(!with(&[]));
    }
}
