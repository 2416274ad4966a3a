//! The tool: started where it is to run, and told what this command is told.

use std::{
    io,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, anyhow};
use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
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

/// A tool that was started. Dropping it ends it.
pub(super) struct Tool {
    child: Child,
    /// Until it is awaited: then its number may be another's.
    number: Arc<Mutex<Option<Pid>>>,
}

impl Tool {
    /// Starts it in a network namespace, with its output to be read if `is_read`.
    pub(super) fn start(command: &[String], namespace: Option<&Namespace>, is_read: bool) -> anyhow::Result<Self> {
        let child = start(command, namespace, is_read)?;
        let number = Pid::from_raw(child.id().cast_signed());
        Ok(Self { child, number: Arc::new(Mutex::new(Some(number))) })
    }

    /// What it prints, if that is to be read.
    pub(super) fn take_output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Passes signals on to it, from a thread that goes with the process. Those that a terminal sends reach the tool without help, as it
    /// is in the same group of processes: they are not sent a second time.
    pub(super) fn pass_signals_on(&self, signals: &SigSet) -> anyhow::Result<()> {
        let number = Arc::clone(&self.number);
        let waiting = SignalFd::with_flags(signals, SfdFlags::SFD_CLOEXEC).context("cannot wait for signals")?;
        let pass_on = move || {
            loop {
                match waiting.read_signal() {
                    Ok(Some(signal)) if is_by_process(signal.ssi_code) => {
                        let signal = i32::try_from(signal.ssi_signo).ok().and_then(|it| Signal::try_from(it).ok());
                        if let Some(tool) = *number.lock().unwrap_or_else(PoisonError::into_inner) {
                            // It may have ended.
                            let _ = kill(tool, signal);
                        }
                    }
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(_) => return,
                }
            }
        };
        thread::Builder::new().spawn(pass_on).map(drop).context("cannot start a thread")
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> io::Result<bool> {
        self.look(WaitPidFlag::WNOHANG)
    }

    /// Awaits its end. What a shell would say: its exit code, or 128 and the signal that has ended it.
    pub(super) fn exit_code(mut self) -> io::Result<u8> {
        use std::os::unix::process::ExitStatusExt as _;
        while !self.look(WaitPidFlag::empty())? {}
        let status = self.release()?;
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
    }

    /// Whether it has ended, without letting go of its number.
    fn look(&self, how: WaitPidFlag) -> io::Result<bool> {
        let number = Pid::from_raw(self.child.id().cast_signed());
        match waitid(Id::Pid(number), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | how) {
            Ok(status) => Ok(status != WaitStatus::StillAlive),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets go of the number, of which nobody makes use any more.
    fn release(&mut self) -> io::Result<std::process::ExitStatus> {
        *self.number.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.child.wait()
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // Has no effect on one that was awaited.
        let _ = self.child.kill();
        let _ = self.release();
    }
}

fn start(command: &[String], namespace: Option<&Namespace>, is_read: bool) -> anyhow::Result<Child> {
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

/// Whether a process has sent a signal: `SI_USER` and less. The kernel's own codes are more.
fn is_by_process(code: i32) -> bool {
    code <= 0
}
