//! Which process steers a clock: two that steer one clock work against each other, and neither can tell.

use std::{
    fmt, fs, io,
    path::PathBuf,
    process,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use hwtstamp::{Holder, Holders};

use super::options::Steer;

/// Looking at the names of all processes takes milliseconds on a large machine; a daemon that starts is found this late at most.
const LOOK: Duration = Duration::from_secs(1);

/// Looking at all that they have open takes far longer. Who adjusts the card shows sooner by its frequency.
const LOOK_AT_FILES: Duration = Duration::from_secs(10);

/// Daemons that steer the system's clock, as the kernel names their processes: it keeps 15 characters.
const OF_SYSTEM: [&str; 7] = ["chronyd", "ntpd", "ntp-daemon", "systemd-timesyn", "phc2sys", "ptpd", "ptpd2"];

/// Daemons that steer a card's clock where the card has one, and else the system's.
const OF_CARD_OR_SYSTEM: [&str; 4] = ["ptp4l", "sptp", "statime", "statime-linux"];

/// Looks now and then whether a process steers the clock that is to be steered.
pub(super) struct Guard {
    which: Steer,
    /// The card's clock.
    phc: Option<u32>,
    processes: Processes,
    looked: Option<Instant>,
}

impl Guard {
    pub(super) fn new(which: Steer, phc: Option<u32>) -> Self {
        Self { which, phc, processes: Processes::new(), looked: None }
    }

    /// # Errors
    ///
    /// A process does.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        let pause = if self.which == Steer::System { LOOK } else { LOOK_AT_FILES };
        if self.looked.is_some_and(|looked| looked.elapsed() < pause) {
            return Ok(());
        }
        let is_first = self.looked.replace(Instant::now()).is_none();
        match (self.which, self.phc) {
            (Steer::System, _) => {
                let owner = self.processes.steering_system().context("cannot tell who steers the system's clock")?;
                owner.map_or(Ok(()), |owner| bail!("{owner} steers the system's clock: stop it, or leave out --steer"))
            }
            (Steer::Phc, Some(phc)) => check_holders(phc, &hwtstamp::holders(phc), process::id(), is_first),
            (Steer::Phc, None) => Ok(()),
        }
    }
}

/// Whether nobody else steers a card, or follows it: to steer a card after what follows it makes a circle. Who cannot be looked
/// into might.
///
/// # Errors
///
/// Somebody does; at first also where that cannot be told.
fn check_holders(phc: u32, holders: &Holders, own: u32, is_first: bool) -> anyhow::Result<()> {
    let is_daemon = |name: &str| OF_SYSTEM.contains(&name) || OF_CARD_OR_SYSTEM.contains(&name);
    let disturbs = |holder: &&Holder| holder.pid != own && (holder.may_steer || is_daemon(&holder.command));
    if let Some(holder) = holders.seen.iter().find(disturbs) {
        let why = if holder.may_steer { "for writing, and may steer it" } else { "and follows it" };
        bail!("{holder} has /dev/ptp{phc} open {why}: stop it, or leave out --steer");
    }
    if is_first && holders.hidden > 0 {
        bail!(
            "cannot tell who steers /dev/ptp{phc}: {} processes hide what they have open. It needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
            holders.hidden
        );
    }
    Ok(())
}

/// A process that steers the system's clock.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Owner {
    name: String,
    pid: u32,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// What can be known of processes: `/proc`, or a likeness of it in tests.
struct Processes {
    proc: PathBuf,
}

impl Processes {
    fn new() -> Self {
        Self { proc: "/proc".into() }
    }

    /// Who steers the system's clock, as far as names and command lines tell.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read.
    fn steering_system(&self) -> io::Result<Option<Owner>> {
        for entry in fs::read_dir(&self.proc)? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let process = Process(entry.path());
            // A process that has ended meanwhile steers nothing.
            let Ok(name) = fs::read_to_string(process.0.join("comm")) else { continue };
            let name = name.trim_end();
            let is_daemon = OF_SYSTEM.contains(&name) || OF_CARD_OR_SYSTEM.contains(&name) && !process.holds_phc();
            if is_daemon && process.arguments().is_some_and(|arguments| !leaves_alone(name, &arguments)) {
                return Ok(Some(Owner { name: name.to_owned(), pid }));
            }
        }
        Ok(None)
    }
}

struct Process(PathBuf);

impl Process {
    /// Its command line after the program. `None` where it has ended: its name alone is left until its parent has asked.
    fn arguments(&self) -> Option<Vec<String>> {
        let line = fs::read(self.0.join("cmdline")).ok()?;
        let words = line.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        (!line.is_empty()).then(|| words.skip(1).collect())
    }

    /// Whether it has a card's clock open. `false` where that is not for us to know.
    fn holds_phc(&self) -> bool {
        let Ok(open) = fs::read_dir(self.0.join("fd")) else { return false };
        let is_phc = |path: PathBuf| path.to_str().is_some_and(|path| path.starts_with("/dev/ptp"));
        open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).any(is_phc)
    }
}

/// Whether a daemon of this name leaves the system's clock as it is when it is started like this: chronyd measures with `-x`,
/// and something else steers, often phc2sys.
fn leaves_alone(name: &str, arguments: &[String]) -> bool {
    /// chronyd's options that take a value, in the same word or in the next one.
    const WITH_VALUE: &str = "fFlLPtu";
    if name != "chronyd" {
        return false;
    }
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.starts_with('-')) else { continue };
        let value = letters.find(|letter| WITH_VALUE.contains(letter));
        if letters[..value.unwrap_or(letters.len())].contains('x') {
            return true;
        }
        if value.is_some_and(|at| at + 1 == letters.len()) {
            words.next();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A `/proc` with these processes: number, command line and what they have open.
    fn processes(list: &[(u32, &str, &[&str])]) -> (Processes, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("uptime"), "1 1").expect("a file");
        for (pid, command, open) in list {
            let name = command.split(' ').next().expect("always one");
            let fds = folder.path().join(pid.to_string()).join("fd");
            fs::create_dir_all(&fds).expect("a folder");
            fs::write(fds.with_file_name("comm"), format!("{name}\n")).expect("a file");
            fs::write(fds.with_file_name("cmdline"), format!("{}\0", command.replace(' ', "\0"))).expect("a file");
            for (number, path) in open.iter().enumerate() {
                symlink(path, fds.join(number.to_string())).expect("a link");
            }
        }
        (Processes { proc: folder.path().to_owned() }, folder)
    }

    fn steering_system(list: &[(u32, &str, &[&str])]) -> Option<String> {
        let (processes, _folder) = processes(list);
        processes.steering_system().expect("readable").map(|owner| owner.to_string())
    }

    #[test]
    fn daemons_are_known_by_name() {
        for name in ["chronyd", "ntpd", "systemd-timesyn", "phc2sys"] {
            let found = steering_system(&[(3, "bash", &[]), (7, name, &[])]);
            assert_eq!(found, Some(format!("{name} (process 7)")));
        }
        assert_eq!(steering_system(&[(3, "bash", &["/dev/null"]), (4, "chronyc", &[])]), None);
    }

    #[test]
    fn chronyd_may_leave_the_clock_alone() {
        for alone in ["chronyd -x", "chronyd -n -x", "chronyd -dx", "chronyd -f /etc/chrony.conf -x", "chronyd -F1 -x"]
        {
            assert_eq!(steering_system(&[(7, alone, &[])]), None, "{alone}");
        }
        for steers in ["chronyd", "chronyd -f -x", "chronyd -fx", "chronyd -n -u x", "chronyd --x", "ntpd -x"] {
            assert!(steering_system(&[(7, steers, &[])]).is_some(), "{steers}");
        }
    }

    #[test]
    fn a_process_that_has_ended_steers_nothing() {
        let (processes, folder) = processes(&[(7, "chronyd", &[])]);
        assert!(processes.steering_system().expect("readable").is_some());
        // What is left of it until its parent has asked.
        fs::write(folder.path().join("7/cmdline"), "").expect("a file");
        assert_eq!(processes.steering_system().expect("readable"), None);
    }

    #[test]
    fn a_card_is_for_one_that_steers_it_and_for_any_that_read_it() {
        let check = |pid, command: &str, may_steer, hidden, is_first| {
            let mut holders = Holders::default();
            holders.hidden = hidden;
            holders.seen.push(Holder { pid, command: command.to_owned(), may_steer });
            check_holders(3, &holders, 7, is_first).err().map(|error| error.to_string()).unwrap_or_default()
        };
        for is_first in [true, false] {
            assert!(check(8, "unknown", true, 0, is_first).contains("unknown (pid 8) has /dev/ptp3 open for writing"));
            assert!(check(8, "chronyd", false, 0, is_first).contains("and follows it"));
            assert_eq!(check(8, "instamp", false, 0, is_first), "", "it reads");
            assert_eq!(check(7, "instamp", true, 0, is_first), "", "it is this process");
        }
        assert!(check(7, "instamp", true, 2, true).contains("2 processes hide"));
        assert_eq!(check(7, "instamp", true, 2, false), "");
    }

    #[test]
    fn ptp4l_steers_the_system_where_it_has_no_card() {
        assert_eq!(steering_system(&[(7, "ptp4l", &["/dev/null"])]), Some("ptp4l (process 7)".into()));
        assert_eq!(steering_system(&[(7, "ptp4l", &["/dev/null", "/dev/ptp0"])]), None);
    }
}
