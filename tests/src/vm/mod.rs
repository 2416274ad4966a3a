//! A virtual machine that boots another kernel and runs one program in it, by software emulation alone.
//!
//! The emulator and the kernels are where `cargo xtask setup` puts them.

mod initramfs;
mod modules;

pub use initramfs::Initramfs;

use std::{
    env,
    ffi::OsStr,
    fmt, fs,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::privilege;

/// The first line of the program in the machine: the kernel is up.
pub const STARTED: &str = "guest: started";
/// The last line of the program in the machine, if it has done all it should.
pub const PASSED: &str = "guest: passed";

/// Ends a line with something that was measured. It is shown also where the test passes.
const FIGURE: &str = "[under emulation]";

/// Writes what the program in the machine has measured: how the emulator is, not how network cards are.
pub fn figure(text: fmt::Arguments<'_>) {
    println!("guest: {text} {FIGURE}");
}

/// How long a kernel may take to start its first program, which is a matter of seconds.
const BOOT: Duration = Duration::from_secs(45);

/// A kernel with its modules.
#[derive(Debug)]
pub struct Kernel {
    /// Its release, such as `6.1.0-50-amd64`.
    pub release: String,
    image: PathBuf,
    modules: PathBuf,
}

/// The emulator, and programs for what runs in it.
#[derive(Debug)]
pub struct Emulator {
    folder: PathBuf,
    linuxptp: PathBuf,
}

/// The emulator, and the kernel of a suite of Debian. Where they are missing, the test is skipped.
///
/// # Panics
///
/// They are not complete.
pub fn machine(suite: &str) -> Option<(Emulator, Kernel)> {
    let folder = target().join("vm");
    let emulator = folder.join("qemu");
    let linuxptp = folder.join("linuxptp");
    let kernel = folder.join(format!("linux-{suite}"));
    if let Some(missing) = [&emulator, &linuxptp, &kernel].into_iter().find(|path| !path.exists()) {
        privilege::skip(&format!("needs {}, which `cargo xtask setup` fetches", missing.display()));
        return None;
    }
    let modules = the_only_entry(&kernel.join("lib/modules"));
    let release = modules.file_name().and_then(|name| name.to_str()).expect("a release").to_owned();
    let image = kernel.join(format!("boot/vmlinuz-{release}"));
    Some((Emulator { folder: emulator, linuxptp }, Kernel { release, image, modules }))
}

/// The target folder, in which this test was built.
fn target() -> PathBuf {
    // <target>/<profile>/deps/<test>
    env::current_exe().expect("the path of this test").ancestors().nth(3).expect("the target folder").to_owned()
}

fn the_only_entry(folder: &Path) -> PathBuf {
    let mut entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.next().expect("an entry").expect("readable").path()
}

impl Kernel {
    /// Whether it has TCX, which came with Linux 6.6.
    pub fn has_tcx(&self) -> bool {
        let mut numbers = self.release.split(['.', '-', '+']).map(|number| number.parse::<u32>().expect("a number"));
        (numbers.next(), numbers.next()) >= (Some(6), Some(6))
    }
}

impl Emulator {
    /// A program of linuxptp.
    pub fn linuxptp(&self, name: &str) -> PathBuf {
        self.linuxptp.join("usr/sbin").join(name)
    }

    /// Boots `kernel`, lets it run `/init` with these variables, and returns when the machine is off. Two network cards
    /// that have hardware clocks, driven by igb, are on one wire.
    ///
    /// A kernel under emulation can hang before it starts `/init`, one time in some fifty: then it is booted once more,
    /// and this says so.
    ///
    /// # Panics
    ///
    /// It takes longer than `limit`, or `/init` does not write [`PASSED`].
    pub fn run(&self, kernel: &Kernel, initramfs: &Path, variables: &[(&str, &str)], limit: Duration) {
        let deadline = Instant::now() + limit;
        let boot = || Run::start(self.command(kernel, initramfs, variables), &kernel.release);
        let mut machine = boot();
        if !machine.writes(STARTED, Instant::now() + BOOT) {
            drop(machine);
            // Past the harness, which shows what a test prints only where it fails.
            let _ = writeln!(io::stderr(), "RETRIED: Linux {} did not start /init within {BOOT:?}", kernel.release);
            machine = boot();
            assert!(machine.writes(STARTED, Instant::now() + BOOT), "Linux {} does not start /init", kernel.release);
        }
        assert!(machine.writes(PASSED, deadline), "not done on Linux {} within {limit:?}", kernel.release);
        machine.wait(deadline);
    }

    fn command(&self, kernel: &Kernel, initramfs: &Path, variables: &[(&str, &str)]) -> Command {
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|name| self.folder.join(name));
        let firmware = ["usr/share/qemu", "usr/share/seabios"].map(|name| self.folder.join(name));
        // Some boots would take the emulated counter of cycles for unstable, and read time from a device instead, which
        // takes longer. What the kernel does not know itself, it hands to /init.
        let variables = variables.iter().map(|(name, value)| format!(" {name}={value}"));
        let line: String =
            ["console=ttyS0 quiet panic=-1 tsc=reliable".to_owned()].into_iter().chain(variables).collect();
        let mut command = Command::new(self.folder.join("usr/bin/qemu-system-x86_64"));
        command
            .env("LD_LIBRARY_PATH", env::join_paths(libraries).expect("no colon in a path"))
            .args(["-accel", "tcg", "-cpu", "max", "-machine", "q35", "-smp", "2", "-m", "1024"])
            .args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"])
            .args(firmware.iter().flat_map(|folder| [OsStr::new("-L"), folder.as_os_str()]))
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(initramfs)
            .args(["-append", &line]);
        for card in ["1", "2"] {
            command
                .args(["-device", &format!("pcie-root-port,id=port{card},chassis={card},slot={card}")])
                .args(["-netdev", &format!("hubport,id=wire{card},hubid=0")])
                .args([
                    "-device",
                    &format!("igb,bus=port{card},netdev=wire{card},mac=52:54:00:00:00:0{card},romfile="),
                ]);
        }
        command
    }
}

/// A machine that runs. Dropping it takes its power.
struct Run {
    child: Child,
    /// What it writes to its serial line, and the emulator's messages.
    lines: Receiver<String>,
    release: String,
}

impl Run {
    fn start(mut command: Command, release: &str) -> Self {
        let (serial, end) = io::pipe().expect("a pipe");
        // With the emulator's own messages.
        command.stdin(Stdio::null()).stderr(end.try_clone().expect("a pipe")).stdout(end);
        let child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        // It ends with the machine, when this process has let go of the other end.
        drop(command);
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(serial).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, release: release.to_owned() }
    }

    /// Shows what it writes, up to this line. False where that does not come in time; a panic where it never will.
    fn writes(&mut self, end: &str, deadline: Instant) -> bool {
        loop {
            match self.line(deadline) {
                // The firmware's control sequences precede the first one.
                Ok(line) if line.ends_with(end) => return true,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("Linux {} is off before it wrote `{end}`: {:?}", self.release, self.child.wait())
                }
            }
        }
    }

    /// Waits until it is off.
    fn wait(&mut self, deadline: Instant) {
        loop {
            match self.line(deadline) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("Linux {} does not power off", self.release),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn line(&mut self, deadline: Instant) -> Result<String, RecvTimeoutError> {
        let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))?;
        if line.ends_with(FIGURE) {
            // Past the harness.
            let _ = writeln!(io::stdout(), "{} | {line}", self.release);
        } else {
            println!("{} | {line}", self.release);
        }
        Ok(line)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may be off already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
