//! `instamp watch` on a terminal: the table that is written anew, as wide as that is.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    borrow::Cow,
    fs::File,
    io::Read as _,
    num::NonZero,
    process::{Child, Command, Stdio},
};

use instamp_tests::{
    lab::Lab,
    privilege::{root, tool},
};
use nix::{
    pty::{OpenptyResult, Winsize, openpty},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use vt100::Parser;

const ROWS: u16 = 24;
const PINGS: &str = "7";

/// A command on a terminal. Dropping it ends it.
struct Terminal {
    child: Child,
    output: File,
    /// What somebody sees who looks at it.
    parser: Parser,
    written: Vec<u8>,
}

impl Terminal {
    /// Starts it on one of so many columns.
    fn start(command: &mut Command, columns: u16) -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let [rows, width] = [ROWS, columns].map(|number| NonZero::new(number).unwrap());
        let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
        let child = command.stdout(slave).spawn().unwrap();
        // Its end of the terminal is the command's alone.
        command.stdout(Stdio::null());
        Self { child, output: File::from(master), parser: Parser::new(rows, width, 0), written: Vec::new() }
    }

    /// Takes what is written until it is as wanted, or the end.
    fn take_until(&mut self, is_wanted: impl Fn(&Self) -> bool) {
        let mut buffer = [0; 4_096];
        while !is_wanted(self) {
            // An error is how a terminal ends.
            let Ok(length @ 1..) = self.output.read(&mut buffer) else { return };
            self.parser.process(&buffer[..length]);
            self.written.extend(&buffer[..length]);
        }
    }

    /// All that was written: a read can end within a character.
    fn written(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.written)
    }

    fn lines(&self) -> Vec<String> {
        self.parser.screen().contents().lines().map(str::to_owned).collect()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Has no effect on one that was awaited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines that are too long for a terminal go on in the next one, and of those nobody knows when they are to be removed.
fn fits(columns: u16, heads: &[&str]) {
    let lab = Lab::up(&[]);
    let mut command = lab.instamp("host");
    command.args(["watch", "--dev", Lab::NIC]);
    let mut terminal = Terminal::start(&mut command, columns);
    terminal.take_until(|terminal| terminal.written().contains("SENDER"));
    for role in ["c1", "host"] {
        lab.run(role, "ping", &["-n", "-q", "-i", "0.01", "-c", PINGS, Lab::REMOTE]);
    }
    let has_both = |terminal: &Terminal| {
        let whole = |line: &String| line.split_whitespace().nth(1) == Some(PINGS);
        terminal.lines().iter().filter(|line| whole(line)).count() == 2
    };
    terminal.take_until(has_both);
    let drawn = |terminal: &Terminal| terminal.written().matches("SENDER").count();
    let before = drawn(&terminal);
    // Two more times, and the third one has not begun.
    terminal.take_until(|terminal| drawn(terminal) >= before + 2 && has_both(terminal));

    let lines = terminal.lines();
    assert_eq!(lines[0], "WATCH nic0 for the pings of all");
    assert!(lines[1].starts_with("SENDER "), "{lines:?}");
    assert!(heads.iter().all(|head| lines[1].contains(head)), "{lines:?}");
    assert_eq!(lines.len(), 4, "the head, two senders, and nothing of what was there before: {lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("host ")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("instamp-te") && line.contains('…')), "{lines:?}");
    let wrapped = (0..ROWS).find(|row| terminal.parser.screen().row_wrapped(*row));
    assert_eq!(wrapped, None, "{lines:?}");

    kill(Pid::from_raw(terminal.child.id().cast_signed()), Signal::SIGINT).unwrap();
    terminal.take_until(|_| false);
    assert!(terminal.child.wait().unwrap().success());
    let lines = terminal.lines();
    assert!(!lines.iter().any(|line| line.contains("SENDER")), "the table is gone: {lines:?}");
    // The last line, of the programs that see all pings of the machine: beside others' floods something may have been.
    let is_whole = ["nothing was missed\r\n", " evicted\r\n", " refused\r\n", " untold\r\n"]
        .iter()
        .any(|end| terminal.written().ends_with(end));
    assert!(is_whole, "{}", terminal.written());
}

#[test]
fn the_table_fits_80_columns() {
    let (Some(()), Some(())) = (root(), tool("ping")) else { return };
    fits(80, &["REQUESTS", "ANSWERED", "LOST", "NET p50", "NET p99", "TX p50", "RX p50"]);
}

#[test]
fn the_table_fits_40_columns() {
    let (Some(()), Some(())) = (root(), tool("ping")) else { return };
    fits(40, &["REQUESTS", "LOST", "NET p50"]);
}
