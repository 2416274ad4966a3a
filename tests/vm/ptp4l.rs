//! linuxptp's ptp4l, which has a card stamp PTP's packets.

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

/// One that runs. Dropping it kills it; the card keeps its setting.
pub(crate) struct Ptp4l {
    child: Child,
    /// It would end where nobody can read what it writes.
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Ptp4l {
    /// Listens for a master at a card, where `command` would be run, and returns when the card is set.
    pub(crate) fn start(mut command: Command, card: &str) -> Self {
        fs::create_dir_all("/var/run").expect("a folder for its sockets");
        command.args(["-i", card, "-2", "-s", "-m", "-q"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("start ptp4l");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut said = lines.by_ref().map(|line| line.expect("text")).inspect(|line| println!("guest: {line}"));
        assert!(said.any(|line| line.contains("LISTENING")), "ptp4l ends: {:?}", child.wait());
        Self { child, _lines: lines }
    }
}

impl Drop for Ptp4l {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
