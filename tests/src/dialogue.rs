//! Processes that are talked to by lines.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write as _},
    os::fd::AsFd as _,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A process that was started. Dropping it kills it.
#[derive(Debug)]
pub struct Dialogue {
    child: Child,
    output: BufReader<Patient>,
}

/// The output of a process that is waited for much longer than any is silent, for tests that fail.
#[derive(Debug)]
struct Patient(ChildStdout);

impl Patient {
    const MS: u16 = 60_000;
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut awaited = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut awaited, PollTimeout::from(Self::MS))? {
            0 => Err(io::Error::new(io::ErrorKind::TimedOut, format!("silent for {} ms", Self::MS))),
            _ => self.0.read(buffer),
        }
    }
}

impl Dialogue {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let output = BufReader::new(Patient(child.stdout.take().expect("a pipe")));
        Self { child, output }
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it writes up to, and with, the next line that has this word.
    ///
    /// # Panics
    ///
    /// It ends before, or is silent for a minute.
    #[track_caller]
    pub fn wait_for(&mut self, word: &str) -> String {
        let mut text = String::new();
        let mut begin = 0;
        while !text[begin..].contains(word) {
            begin = text.len();
            let length =
                self.output.read_line(&mut text).unwrap_or_else(|error| panic!("{error}, no {word:?}: {text}"));
            assert!(length > 0, "it has ended, no {word:?}: {text}");
        }
        text
    }

    /// Gives it the line that it waits for.
    ///
    /// # Panics
    ///
    /// It does not wait any more.
    #[track_caller]
    pub fn go(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        stdin.write_all(b"\n").expect("a process that reads");
    }

    /// Interrupts it.
    ///
    /// # Panics
    ///
    /// It has ended.
    #[track_caller]
    pub fn interrupt(&mut self) {
        self.signal(Signal::SIGINT);
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// It has ended.
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) {
        let end = self.child.try_wait().expect("a process");
        assert!(end.is_none(), "it has ended by itself: {end:?}");
        let process = self.child.id().try_into().expect("a process");
        kill(Pid::from_raw(process), signal).expect("a process that runs");
    }

    /// Awaits its end, and returns what it has written that was not waited for.
    ///
    /// # Panics
    ///
    /// It cannot be read from, or is silent for a minute.
    pub fn wait(mut self) -> Output {
        let mut stdout = Vec::new();
        if let Err(error) = self.output.read_to_end(&mut stdout) {
            panic!("{error}, no end: {}", String::from_utf8_lossy(&stdout));
        }
        Output { status: self.child.wait().expect("its end"), stdout, stderr: Vec::new() }
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        // Has no effect on one that was awaited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
