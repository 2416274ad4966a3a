//! The tool: started where it is to run, and told what this command is told.

use std::{
    io,
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, anyhow};
use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};

use crate::namespaces::Namespace;

/// The signals that are passed on.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];

/// Has the signals wait until they are passed on. Before any thread is started, which inherits that; processes do not.
pub(super) fn hold_signals() -> anyhow::Result<SigSet> {
    let signals: SigSet = PASSED_ON.into_iter().collect();
    signals.thread_block().context("cannot block signals")?;
    Ok(signals)
}

/// Starts the tool in a network namespace, with its output to be read if `is_read`.
pub(super) fn start(command: &[String], namespace: Option<&Namespace>, is_read: bool) -> anyhow::Result<Child> {
    let (program, arguments) = command.split_first().context("no command")?;
    let start = || {
        let mut command = Command::new(program);
        command.args(arguments).stdout(if is_read { Stdio::piped() } else { Stdio::inherit() });
        command.spawn().with_context(|| format!("cannot start {program}"))
    };
    let Some(namespace) = namespace else { return start() };
    // What changes the namespace of a thread gets a thread of its own.
    let on_a_thread = || {
        namespace.enter()?;
        start()
    };
    thread::scope(|scope| scope.spawn(on_a_thread).join()).unwrap_or_else(|_| Err(anyhow!("a thread panicked")))
}

/// Passes signals on to the tool, from a thread that goes with the process. Those that a terminal sends reach the tool without help, as it
/// is in the same group of processes: they are not sent a second time.
pub(super) fn pass_signals_on(signals: &SigSet, tool: &Child) -> anyhow::Result<()> {
    let tool = Pid::from_raw(i32::try_from(tool.id()).context("a process")?);
    let waiting = SignalFd::with_flags(signals, SfdFlags::SFD_CLOEXEC).context("cannot wait for signals")?;
    let pass_on = move || {
        loop {
            match waiting.read_signal() {
                Ok(Some(signal)) if is_by_process(signal.ssi_code) => {
                    let number = i32::try_from(signal.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
                    // It may have ended.
                    let _ = kill(tool, number);
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    };
    thread::Builder::new().spawn(pass_on).map(drop).context("cannot start a thread")
}

/// Whether a process has sent a signal: `SI_USER` and less. The kernel's own codes are more.
fn is_by_process(code: i32) -> bool {
    code <= 0
}

/// What a shell would say: the tool's exit code, or 128 and the signal that has ended it.
pub(super) fn exit_code(tool: &mut Child) -> io::Result<u8> {
    use std::os::unix::process::ExitStatusExt as _;
    let status = tool.wait()?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}
