//! linuxptp's phc2sys: steers the system's clock by a card's, and says by how much they differed.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

/// One line of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    /// What the system's clock was ahead, in ns.
    pub(crate) offset: i64,
    /// Whether it steers by small changes of the rate: its state `s2`.
    pub(crate) locked: bool,
}

/// Runs it until it has written `count` lines. `CLOCK_REALTIME` follows the card's clock.
pub(crate) fn steer_system(phc: &Path, rate: u32, readings: u32, count: usize) -> Vec<Update> {
    let mut child = Command::new("phc2sys")
        .arg("-s")
        .arg(phc)
        .args(["-c", "CLOCK_REALTIME", "-O", "0", "-R", &rate.to_string(), "-N", &readings.to_string(), "-m", "-q"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("start phc2sys");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let updates: Vec<_> = lines.map(|line| parse(&line.expect("text"))).take(count).collect();
    child.kill().expect("still running");
    child.wait().expect("a child");
    assert_eq!(updates.len(), count, "phc2sys ended early");
    updates
}

/// `phc2sys[35.123]: CLOCK_REALTIME phc offset        12 s2 freq    +100 delay    800`
fn parse(line: &str) -> Update {
    let offset = line.split_whitespace().skip_while(|word| *word != "offset").nth(1);
    let offset = offset.and_then(|offset| offset.parse().ok()).unwrap_or_else(|| panic!("no offset in {line:?}"));
    Update { offset, locked: line.contains(" s2 ") }
}
