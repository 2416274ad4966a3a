//! The tool's output, and what is added to it.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{IpAddr, ToSocketAddrs as _},
    process::Child,
    thread,
    time::Duration,
};

use instamp_hooks::{Observed, Watcher};

use super::{
    lines::{Format, ReplyLine, Rtt},
    matching::{Matching, Unmatched},
};
use crate::watch::{Tally, Times, times};

/// As often is looked what there is, where no line says when.
const LOOK: Duration = Duration::from_millis(50);
/// Longer lines than this are passed on without a look at them.
const LONGEST_LINE: usize = 4_096;

pub(super) struct Output<'a, F> {
    watcher: &'a Watcher,
    matching: Matching<F>,
    /// What names were found to be, where lines have no addresses.
    resolved: HashMap<String, Vec<IpAddr>>,
    tally: Tally,
    /// Lines of replies, and those of them that got times; `None` where lines are not looked at.
    lines: Option<(u64, u64)>,
}

impl<'a, F: FnMut(u32) -> bool> Output<'a, F> {
    pub(super) fn new(watcher: &'a Watcher, matching: Matching<F>) -> Self {
        Self { watcher, matching, resolved: HashMap::new(), tally: Tally::new(), lines: None }
    }

    /// Passes the tool's output on until it ends. What is no whole line yet is passed on at once, too, as dots and questions are.
    pub(super) fn follow(&mut self, mut from: impl Read, format: Format) -> anyhow::Result<()> {
        self.lines = Some((0, 0));
        let mut line = Vec::new();
        let mut buffer = [0; 8_192];
        loop {
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
                if line.len() + text.len() <= LONGEST_LINE {
                    line.extend_from_slice(text);
                }
                if !end.is_empty() {
                    if let Some(added) = str::from_utf8(&line).ok().and_then(|line| self.added(format.read(line)?)) {
                        out.write_all(added.as_bytes())?;
                    }
                    out.write_all(end)?;
                    line.clear();
                }
            }
            out.flush()?;
        }
    }

    /// Watches until the tool ends.
    pub(super) fn follow_until_end(&mut self, tool: &mut Child) -> anyhow::Result<()> {
        while tool.try_wait()?.is_none() {
            self.take()?;
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn take(&mut self) -> anyhow::Result<()> {
        for observed in self.watcher.observed()? {
            if self.matching.add(observed) {
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
        Ok(out.flush()?)
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
    fn the_host_s_share_is_as_exact_as_the_tool_s_time() {
        let coarse = Rtt { ns: 12_300_000, unit_ns: 100_000 };
        assert_eq!(added(Ok(of_host(1)), coarse), " net=11.342us host=12.3ms");
        let less = Rtt { ns: 11_000, unit_ns: 1_000 };
        assert_eq!(added(Ok(of_host(1)), less), " net=11.342us host=0.000ms");
    }
}
