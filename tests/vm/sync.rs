//! `instamp sync` while it runs.

use std::{
    io::{self, BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

use instamp_tests::lab::instamp;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// Lines within which it comes to what is waited for.
const PATIENCE: usize = 200;

/// One daemon. Dropping it kills it.
pub(crate) struct Sync {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Sync {
    /// Starts it with these options.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::of(instamp(), options)
    }

    /// Starts it with these options, where the `instamp` command would be run.
    pub(crate) fn of(mut command: Command, options: &[&str]) -> Self {
        command.args(["sync", "--json"]).args(options).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start instamp");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the first model.
    pub(crate) fn locked(&mut self) {
        self.reaches(|line| line["state"] == "locked");
    }

    /// Waits for a line that is wanted, but not for long.
    pub(crate) fn reaches(&mut self, is_wanted: impl Fn(&Value) -> bool) {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line| !is_wanted(line)) {
            lines.push(self.next().expect("it runs until it is ended"));
            assert!(lines.len() < PATIENCE, "not what was waited for: {lines:#?}");
        }
    }

    /// Ends it as Ctrl-C does, and returns the lines that are left, a summary for each clock among them.
    pub(crate) fn end(self) -> Vec<Value> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT).expect("it runs");
        self.rest()
    }

    /// Waits until it ends by itself: all lines.
    pub(crate) fn rest(mut self) -> Vec<Value> {
        let lines: Vec<_> = self.by_ref().collect();
        let status = self.child.wait().expect("a child");
        assert!(status.success(), "{status}: {:?}", lines.last());
        lines
    }

    /// Waits until it ends with an error: what it says of it.
    pub(crate) fn fails(mut self) -> String {
        let lines: Vec<_> = self.by_ref().collect();
        let message = io::read_to_string(self.child.stderr.take().expect("piped")).expect("text");
        let status = self.child.wait().expect("a child");
        assert_eq!(status.code(), Some(2), "{message}, {:?}", lines.last());
        message
    }
}

impl Iterator for Sync {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let line = self.lines.next()?.expect("text");
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}")))
    }
}

impl Drop for Sync {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What it had to say, unless that was asked for.
        let _ = self.child.stderr.take().map(|mut messages| io::copy(&mut messages, &mut io::stderr()));
    }
}
