//! Floods of probes: the load beside which others measure.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::ping::Run;

/// What `instamp` is given for a flood, before the destination. The end is for tests that fail, which stop nothing.
pub const OPTIONS: &[&str] = &["ping", "--json", "-q", "-i", "0", "-w", "120"];

/// A flood that was started. Dropping it ends it.
#[derive(Debug)]
pub struct Flood {
    ping: Child,
    output: BufReader<ChildStdout>,
}

impl Flood {
    /// Starts a command that is, or becomes, `instamp` with [`OPTIONS`].
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let mut ping = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a flood");
        let output = BufReader::new(ping.stdout.take().expect("a pipe"));
        Self { ping, output }
    }

    /// Returns when it has written its next line, which has this word.
    ///
    /// # Panics
    ///
    /// It has not.
    #[track_caller]
    pub fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        assert!(line.contains(word), "{word}: {line}");
    }

    /// Returns when it has begun to ping.
    ///
    /// # Panics
    ///
    /// It does not.
    #[track_caller]
    pub fn wait(&mut self) {
        self.wait_for("start");
    }

    /// Gives it the line that it waits for.
    ///
    /// # Panics
    ///
    /// It does not.
    pub fn go(&mut self) {
        let stdin = self.ping.stdin.as_mut().expect("a pipe");
        stdin.write_all(b"\n").expect("a flood that reads");
    }

    /// Ends it, and returns what it has counted.
    ///
    /// # Panics
    ///
    /// It has failed.
    pub fn stop(mut self) -> Run {
        kill(Pid::from_raw(self.ping.id().try_into().expect("a process")), Signal::SIGINT).expect("a flood");
        let mut stdout = Vec::new();
        self.output.read_to_end(&mut stdout).expect("its output");
        Run::from(Output { status: self.ping.wait().expect("its end"), stdout, stderr: Vec::new() })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        // Has no effect on one that was awaited.
        let _ = self.ping.kill();
        let _ = self.ping.wait();
    }
}
