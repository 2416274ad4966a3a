//! linuxptp's phc2sys, which makes one clock follow another and says by how much they differed.

use std::{
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

/// One that runs. Dropping it kills it; the clock keeps the frequency that it had last.
pub(crate) struct Phc2sys {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// One line of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    /// By how much the clock that follows was ahead, in ns.
    pub(crate) offset: i64,
    /// Whether it steers by small changes of the rate: its state `s2`.
    pub(crate) locked: bool,
}

impl Phc2sys {
    /// Has `CLOCK_REALTIME` follow a card's clock. Each update takes the shortest of the `readings`.
    pub(crate) fn start(phc: &str, updates_per_second: u32, readings: u32) -> Self {
        Self::steering("CLOCK_REALTIME", phc, updates_per_second, readings, &[])
    }

    /// Has the clock `sink` follow another, with more `options`.
    pub(crate) fn steering(sink: &str, source: &str, updates_per_second: u32, readings: u32, options: &[&str]) -> Self {
        let mut child = Command::new("phc2sys")
            .args(["-s", source, "-c", sink, "-O", "0", "-m", "-q"])
            .args(["-R", &updates_per_second.to_string(), "-N", &readings.to_string()])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("start phc2sys");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }
}

impl Iterator for Phc2sys {
    type Item = Update;

    fn next(&mut self) -> Option<Update> {
        self.lines.next().map(|line| parse(&line.expect("text")))
    }
}

impl Drop for Phc2sys {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `phc2sys[35.123]: CLOCK_REALTIME phc offset        12 s2 freq    +100 delay    800`
fn parse(line: &str) -> Update {
    let offset = line.split_whitespace().skip_while(|word| *word != "offset").nth(1);
    let offset = offset.and_then(|offset| offset.parse().ok()).unwrap_or_else(|| panic!("no offset in {line:?}"));
    Update { offset, locked: line.contains(" s2 ") }
}
