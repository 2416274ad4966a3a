//! The tool's output, and what is added to it.

use std::{
    collections::HashMap,
    io::{self, Read as _, Write},
    mem,
    net::{IpAddr, ToSocketAddrs as _},
    os::fd::AsFd,
    process::ChildStdout,
    thread,
    time::Duration,
};

use instamp_hooks::{Observed, WatchFailures, Watcher};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{
    child::Tool,
    lines::{Format, ReplyLine, Rtt},
    matching::{Matching, Unmatched},
};
use crate::watch::{Failures, Tally, Times, times};

/// As often is looked what there is, where no line says when: the ring buffer is bounded.
const LOOK: Duration = Duration::from_millis(50);
/// Longer lines than this are passed on without a look at them.
const LONGEST_LINE: usize = 4_096;

pub(super) struct Output<'a> {
    watcher: &'a Watcher,
    matching: Matching,
    /// What names were found to be, where lines have no addresses.
    resolved: HashMap<String, Vec<IpAddr>>,
    tally: Tally,
    /// Lines of replies, and those of them that got times; `None` where lines are not looked at.
    lines: Option<(u64, u64)>,
}

impl<'a> Output<'a> {
    pub(super) fn new(watcher: &'a Watcher) -> Self {
        Self { watcher, matching: Matching::default(), resolved: HashMap::new(), tally: Tally::new(), lines: None }
    }

    /// Passes the tool's output on until it ends. What is no whole line yet is passed on at once, too, as dots and questions are.
    pub(super) fn follow(&mut self, mut from: ChildStdout, format: Format) -> anyhow::Result<()> {
        self.lines = Some((0, 0));
        let mut line = Line::default();
        let mut buffer = [0; 8_192];
        loop {
            if !is_readable_within(&from, LOOK)? {
                self.take()?;
                continue;
            }
            let length = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            // Before the tool has told of a reply, it was seen.
            self.take()?;
            let mut out = io::stdout().lock();
            for part in buffer[..length].split_inclusive(|byte| *byte == b'\n') {
                let (text, end) = part.strip_suffix(b"\n").map_or((part, &b""[..]), |text| (text, &b"\n"[..]));
                out.write_all(text)?;
                line.add(text);
                if !end.is_empty() {
                    if let Some(added) = line.end().and_then(|line| self.added(format.read(&line)?)) {
                        out.write_all(added.as_bytes())?;
                    }
                    out.write_all(end)?;
                }
            }
            out.flush()?;
        }
    }

    /// Watches until the tool ends.
    pub(super) fn follow_until_end(&mut self, tool: &Tool) -> anyhow::Result<()> {
        while !tool.has_ended()? {
            self.take()?;
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn take(&mut self) -> anyhow::Result<()> {
        for observed in self.watcher.observed()? {
            if self.matching.add(observed, self.watcher.descends(observed.process)?) {
                self.tally.count(&observed);
            }
        }
        Ok(())
    }

    /// What is added to a line of a reply.
    fn added(&mut self, line: ReplyLine<'_>) -> Option<String> {
        let from = self.addresses(&line);
        let claimed = self.matching.claim(&line, &from);
        let (all, told) = self.lines.as_mut()?;
        *all += 1;
        *told += u64::from(claimed.as_ref().is_ok_and(|observed| observed.net_ns().is_some()));
        Some(added(claimed, line.rtt))
    }

    fn addresses(&mut self, line: &ReplyLine<'_>) -> Vec<IpAddr> {
        if let Some(address) = line.address() {
            return vec![address];
        }
        let resolve = || {
            let found = (line.from, 0).to_socket_addrs().into_iter().flatten();
            found.map(|address| address.ip()).collect()
        };
        self.resolved.entry(line.from.to_owned()).or_insert_with(resolve).clone()
    }

    /// Prints the summary.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        self.take()?;
        let mut out = io::stdout().lock();
        writeln!(out, "\n--- where the time of {} replies went ---", self.tally.answered)?;
        times(&mut out, &self.tally)?;
        if let Some((all, told)) = self.lines {
            writeln!(out, "told in {told} of {all} lines")?;
        }
        let failures = self.watcher.failures()?;
        if failures != WatchFailures::default() {
            writeln!(out, "of all senders: {}", Failures(failures))?;
        }
        Ok(out.flush()?)
    }
}

/// A line, as far as it has come.
#[derive(Default)]
struct Line {
    text: Vec<u8>,
    is_too_long: bool,
}

impl Line {
    fn add(&mut self, part: &[u8]) {
        self.is_too_long |= self.text.len() + part.len() > LONGEST_LINE;
        if !self.is_too_long {
            self.text.extend_from_slice(part);
        }
    }

    /// All of it, if it is to be looked at. Then the next one begins.
    fn end(&mut self) -> Option<String> {
        let Self { text, is_too_long } = mem::take(self);
        if is_too_long { None } else { String::from_utf8(text).ok() }
    }
}

/// Whether there is something to read, or the end, before this time is over.
fn is_readable_within(from: &impl AsFd, time: Duration) -> anyhow::Result<bool> {
    let mut asked = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
    match poll(&mut asked, PollTimeout::try_from(time)?) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What is added to a line whose time is `rtt`.
fn added(claimed: Result<Observed, Unmatched>, rtt: Rtt) -> String {
    let observed = match claimed {
        Ok(observed) => observed,
        Err(Unmatched::Missing) => return " net=?".to_owned(),
        Err(Unmatched::Ambiguous) => return " net=? (ambiguous)".to_owned(),
    };
    let times = Times(&observed).to_string();
    let Some(net) = observed.net_ns() else { return times };
    // Where the tool's time has fewer digits than what it is made of, it may seem less.
    let host = Rtt { ns: (rtt.ns - net).max(0), ..rtt };
    let (net, others) = times.split_at(times[1..].find(' ').map_or(times.len(), |space| space + 1));
    format!("{net} host={host}{others}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::samples::{observed, of_host};

    const FINE: Rtt = Rtt { ns: 60_000, unit_ns: 1_000 };

    #[test]
    fn lines_get_the_network_s_share_and_the_host_s() {
        assert_eq!(added(Ok(observed(1)), FINE), " net=11.342us host=0.049ms tx=20.100us rx=10.707us");
        assert_eq!(added(Ok(of_host(1)), FINE), " net=11.342us host=0.049ms");
        assert_eq!(added(Ok(Observed { is_ambiguous: true, ..observed(1) }), FINE), " net=? (ambiguous)");
        assert_eq!(added(Err(Unmatched::Missing), FINE), " net=?");
        assert_eq!(added(Err(Unmatched::Ambiguous), FINE), " net=? (ambiguous)");
    }

    #[test]
    fn lines_that_are_too_long_are_not_looked_at_in_part() {
        let mut line = Line::default();
        line.add(b"64 bytes ");
        line.add(b"from");
        assert_eq!(line.end().as_deref(), Some("64 bytes from"));
        line.add(b"64 bytes ");
        line.add(&[b'x'; LONGEST_LINE]);
        line.add(b"from");
        assert_eq!(line.end(), None);
        line.add(b"next");
        assert_eq!(line.end().as_deref(), Some("next"));
    }

    #[test]
    fn the_host_s_share_is_as_exact_as_the_tool_s_time() {
        let coarse = Rtt { ns: 12_300_000, unit_ns: 100_000 };
        assert_eq!(added(Ok(of_host(1)), coarse), " net=11.342us host=12.3ms");
        let less = Rtt { ns: 11_000, unit_ns: 1_000 };
        assert_eq!(added(Ok(of_host(1)), less), " net=11.342us host=0.000ms");
    }
}
