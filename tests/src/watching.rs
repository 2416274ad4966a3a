//! `instamp watch`, as it runs beside what is watched.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::lab::Lab;

/// A watcher of the lab's card that is running. Dropping it ends it.
#[derive(Debug)]
pub struct Watching {
    child: Child,
    output: BufReader<ChildStdout>,
    /// What it has told so far, as far as it was read.
    lines: Vec<Value>,
}

/// What it has told.
#[derive(Debug)]
pub struct Watched {
    lines: Vec<Value>,
}

impl Watching {
    /// Watches from now on, with these options.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn start(lab: &Lab, options: &[&str]) -> Self {
        Self::of(lab.instamp("host"), options)
    }

    /// Likewise, at another device of the lab's host.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn at(lab: &Lab, device: &str, options: &[&str]) -> Self {
        Self::by(lab.instamp("host"), device, options)
    }

    /// Likewise, where the `instamp` command would be run.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn of(command: Command, options: &[&str]) -> Self {
        Self::by(command, Lab::NIC, options)
    }

    fn by(mut command: Command, device: &str, options: &[&str]) -> Self {
        command.args(["watch", "--json", "--dev", device]).args(options).stdout(Stdio::piped());
        let mut child = command.spawn().expect("instamp watch");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("its first line");
        assert!(line.contains(r#""type":"start""#), "{line}");
        Self { child, output, lines: Vec::new() }
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// It is not there any more.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process");
        kill(Pid::from_raw(pid), signal).expect("instamp watch");
    }

    /// Awaits so many more replies.
    ///
    /// # Panics
    ///
    /// It ends before.
    pub fn await_replies(&mut self, count: usize) -> &[Value] {
        let (mut awaited, known) = (count, self.lines.len());
        while awaited > 0 {
            let mut line = String::new();
            self.output.read_line(&mut line).expect("text");
            let line = parsed(&line);
            awaited -= usize::from(line["type"] == "reply");
            self.lines.push(line);
        }
        &self.lines[known..]
    }

    /// Ends it, and returns what it has told.
    ///
    /// # Panics
    ///
    /// It has failed.
    pub fn stop(self) -> Watched {
        self.signal(Signal::SIGINT);
        self.wait()
    }

    /// Awaits its end, and returns what it has told.
    ///
    /// # Panics
    ///
    /// It has failed.
    pub fn wait(mut self) -> Watched {
        let mut lines = std::mem::take(&mut self.lines);
        lines.extend(self.output.by_ref().lines().map(|line| parsed(&line.expect("text"))));
        let status = self.child.wait().expect("its end");
        assert!(matches!(status.code(), Some(0 | 1)), "instamp watch: {status}");
        Watched { lines }
    }
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))
}

impl Drop for Watching {
    fn drop(&mut self) {
        // Has no effect on one that was awaited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watched {
    /// The replies, in the order in which they came.
    pub fn replies(&self) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["type"] == "reply").collect()
    }

    /// Those of a sender, by the name of its network namespace.
    pub fn of(&self, sender: &str) -> Vec<&Value> {
        self.replies().into_iter().filter(|reply| reply["sender"] == sender).collect()
    }

    /// What was told of the senders at the end.
    pub fn senders(&self) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["type"] == "sender").collect()
    }

    /// The last line.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn summary(&self) -> &Value {
        self.lines.last().filter(|line| line["type"] == "summary").unwrap_or_else(|| panic!("no summary: {self:?}"))
    }
}
