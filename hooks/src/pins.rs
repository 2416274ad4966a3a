//! The pins of attachments under a BPF file system, and who may touch them.
//!
//! ```text
//! instamp/<inode of the network namespace>/<ifindex>           an attachment
//! instamp/<inode of the network namespace>/<ifindex>_partial   one that is being made or taken apart
//!     SITE, POLICY, COUNTERS              the maps, shared by the programs
//!     SOCKETS, RUNS                       likewise, of the XDP program: where replies go that pass the stack by
//!     REFLECT, REFLECTED, ALLOW           likewise, while xdp_ingress runs the program that reflects: see `reflector.rs`
//!     NOTE                                a map: for which container the attachment is there: see `containers.rs`
//!     xdp_ingress, tc_ingress, tc_egress  the links; none for filters of `clsact`, which need no pins to stay
//!     clsact                              a directory: the queueing discipline is ours to remove
//!     setting_<tx>_<rx>_<tx>_<rx>         a directory: what the card stamped before, and what it was set to
//! instamp/clock                                the maps of published clocks: see `clock.rs`
//! instamp/sent                                 what sees requests leave: see `sent.rs`
//! ```
//!
//! A BPF file system refuses names with a dot.
//!
//! Whoever could rename pins here could make a command detach the wrong hooks, or find none; whoever could lock them could
//! keep all commands waiting. Both are for the owner of the file system alone, also where it is open to everybody, as it is
//! by default: what commands lock and look at is `instamp`, which is made so that nobody else may even open it.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use hwtstamp::{Numbered as _, RxFilter, Setting, TxMode};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statfs::{BPF_FS_MAGIC, statfs},
    unistd::geteuid,
};

use crate::{
    Error, Notice,
    clock::Clocks,
    device::namespace_number,
    error::{Context as _, failed},
    sent::{DeviceKey, Requests},
};

const DIRECTORY: &str = "instamp";
const PARTIAL: &str = "_partial";
const CLSACT: &str = "clsact";
const CLOCK: &str = "clock";
const SENT: &str = "sent";
const SETTING: &str = "setting";

/// Bits of the mode of a directory.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// The names of the maps, in the objects and as pins.
pub(crate) const SITE: &str = "SITE";
pub(crate) const POLICY: &str = "POLICY";
pub(crate) const COUNTERS: &str = "COUNTERS";
pub(crate) const SOCKETS: &str = "SOCKETS";
pub(crate) const RUNS: &str = "RUNS";
pub(crate) const MAPS: [&str; 5] = [SITE, POLICY, COUNTERS, SOCKETS, RUNS];

pub(crate) const NOTE: &str = "NOTE";

pub(crate) const REFLECT: &str = "REFLECT";
pub(crate) const REFLECTED: &str = "REFLECTED";
pub(crate) const ALLOW: &str = "ALLOW";
/// The last tells who reflects: it goes last.
pub(crate) const REFLECT_MAPS: [&str; 3] = [REFLECTED, ALLOW, REFLECT];

/// The names of the programs, in the objects and as pins of their links.
pub(crate) const XDP_INGRESS: &str = "xdp_ingress";
pub(crate) const TC_INGRESS: &str = "tc_ingress";
pub(crate) const TC_EGRESS: &str = "tc_egress";
pub(crate) const PROGRAMS: [&str; 3] = [XDP_INGRESS, TC_INGRESS, TC_EGRESS];

/// All pins on one BPF file system, for one command at a time.
pub(crate) struct Pins {
    root: PathBuf,
    _lock: Flock<File>,
}

/// Whether an attachment is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Whole,
    Partial,
}

/// The directory of an attachment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    pub(crate) namespace: u64,
    pub(crate) ifindex: u32,
    pub(crate) state: State,
}

impl Pins {
    /// Waits until no other command uses the pins at `bpffs`.
    ///
    /// The lock is on their root. The kernel gives it back when its holder dies.
    pub(crate) fn lock(bpffs: &Path, announce: &dyn Fn(Notice)) -> Result<Self, Error> {
        let kind = statfs(bpffs).map(|statfs| statfs.filesystem_type());
        if kind != Ok(BPF_FS_MAGIC) {
            return Err(Error::NoBpffs { path: bpffs.to_owned() });
        }
        let metadata = fs::metadata(bpffs).context("look at", bpffs.display())?;
        require_owner(bpffs, &metadata)?;
        // Where it is sticky, others may have names there too, but cannot change ours.
        if metadata.mode() & STICKY == 0 {
            require_unwritable(bpffs, &metadata)?;
        }
        let root = bpffs.join(DIRECTORY);
        loop {
            // The command that was waited for may have removed the directory.
            if let Some(lock) = try_lock(&root, announce)? {
                return Ok(Self { root, _lock: lock });
            }
        }
    }

    pub(crate) fn directory(&self, namespace: u64, ifindex: u32, state: State) -> Directory {
        let path = self.root.join(namespace.to_string()).join(directory_name(ifindex, state));
        Directory { path, namespace, ifindex, state }
    }

    /// Those of whole attachments, in all network namespaces.
    pub(crate) fn whole(&self) -> Result<Vec<Directory>, Error> {
        let mut directories = self.directories()?;
        directories.retain(|directory| directory.state == State::Whole);
        Ok(directories)
    }

    /// Likewise, in one.
    pub(crate) fn whole_of(&self, namespace: u64) -> Result<Vec<Directory>, Error> {
        let mut directories = self.whole()?;
        directories.retain(|directory| directory.namespace == namespace);
        Ok(directories)
    }

    /// All directories of attachments. What has another name is not ours, and is left alone.
    pub(crate) fn directories(&self) -> Result<Vec<Directory>, Error> {
        let mut directories = Vec::new();
        for namespace in names(&self.root)?.iter().filter_map(|name| number::<u64>(name)) {
            for name in names(&self.root.join(namespace.to_string()))? {
                if let Some((ifindex, state)) = parse_directory_name(&name) {
                    directories.push(self.directory(namespace, ifindex, state));
                }
            }
        }
        directories.sort_by_key(|directory| (directory.namespace, directory.ifindex));
        Ok(directories)
    }

    /// The maps of published clocks.
    pub(crate) fn clocks(&self) -> Clocks {
        Clocks::new(self.root.join(CLOCK))
    }

    /// What sees requests leave.
    pub(crate) fn sent(&self) -> Requests {
        Requests::new(self.root.join(SENT))
    }

    /// Removes empty directories, which a command leaves that ends between making one and filling it, what no attachment needs
    /// any more, and the maps of clocks that nobody publishes and no program uses.
    pub(crate) fn prune(&self) -> Result<(), Error> {
        let attached: Vec<_> = self.directories()?.iter().map(Directory::key).collect();
        self.sent().prune(|key| attached.contains(&key))?;
        for namespace in names(&self.root)?.iter().filter_map(|name| number::<u64>(name)) {
            remove_if_empty(&self.root.join(namespace.to_string()))?;
        }
        self.clocks().remove_unused()
    }
}

impl Drop for Pins {
    /// Removes the root if it is empty, last of all, since the lock is on it. Else it stays, as it does when this fails.
    fn drop(&mut self) {
        let _: io::Result<()> = fs::remove_dir(&self.root);
    }
}

/// Makes the root of the pins if there is none, and locks it. `None` if it was removed meanwhile.
fn try_lock(root: &Path, announce: &dyn Fn(Notice)) -> Result<Option<Flock<File>>, Error> {
    match DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        result => result.context("create", root.display())?,
    }
    let Some(found) = present(fs::symlink_metadata(root)).context("look at", root.display())? else { return Ok(None) };
    require_owner(root, &found)?;
    require_unwritable(root, &found)?;
    let Some(directory) = present(open_directory(root)).context("open", root.display())? else { return Ok(None) };
    let lock = match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
        Err((directory, Errno::EWOULDBLOCK)) => {
            announce(Notice::Waiting { path: root.to_owned() });
            Flock::lock(directory, FlockArg::LockExclusive)
        }
        result => result,
    };
    let lock = lock.map_err(|(_, number)| number).context("lock", root.display())?;
    let locked = lock.metadata().context("look at", root.display())?;
    let in_place = present(fs::symlink_metadata(root)).context("look at", root.display())?;
    let is_found = |metadata: Metadata| (metadata.dev(), metadata.ino()) == (found.dev(), found.ino());
    Ok((is_found(locked) && in_place.is_some_and(is_found)).then_some(lock))
}

/// Refuses a directory of somebody else, who can change everything in it.
fn require_owner(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    let (owner, user) = (metadata.uid(), geteuid());
    match owner == user.as_raw() {
        true => Ok(()),
        false if user.is_root() => Err(Error::ForeignPins { path: path.to_owned(), owner }),
        false => Err(failed("use", path.display(), Errno::EPERM)),
    }
}

/// Refuses a directory in which others can make, rename and remove.
fn require_unwritable(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    if metadata.mode() & WRITABLE_BY_OTHERS == 0 {
        return Ok(());
    }
    Err(Error::WritablePins { path: path.to_owned() })
}

/// `None` for what is not there.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

impl Directory {
    /// Under which the device is known where requests leave.
    pub(crate) fn key(&self) -> DeviceKey {
        DeviceKey::new(namespace_number(self.namespace), self.ifindex)
    }

    pub(crate) fn pin(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        // The target of a pin is not looked at, so that permission to read the directory is enough.
        fs::symlink_metadata(self.pin(name)).is_ok()
    }

    /// Whether it can be taken apart from everywhere: it is held by links alone, and no card has to be set back.
    pub(crate) fn is_linked(&self) -> Result<bool, Error> {
        let by_links = self.has(TC_EGRESS) && (self.has(TC_INGRESS) || self.has(XDP_INGRESS));
        Ok(by_links && self.setting()?.is_none())
    }

    pub(crate) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    pub(crate) fn create(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.path).context("create", self.path.display())
    }

    /// Moves the directory to the name of another state, in one step.
    pub(crate) fn become_state(&self, state: State) -> Result<Self, Error> {
        if self.state == state {
            return Ok(self.clone());
        }
        let path = self.path.with_file_name(directory_name(self.ifindex, state));
        fs::rename(&self.path, &path).context("rename", self.path.display())?;
        Ok(Self { path, state, ..self.clone() })
    }

    /// Says, before it is so, that the queueing discipline is ours.
    pub(crate) fn own_clsact(&self) -> Result<(), Error> {
        fs::create_dir(self.pin(CLSACT)).context("create", self.pin(CLSACT).display())
    }

    pub(crate) fn owns_clsact(&self) -> bool {
        self.has(CLSACT)
    }

    pub(crate) fn disown_clsact(&self) -> Result<(), Error> {
        gone(fs::remove_dir(self.pin(CLSACT))).context("remove", self.pin(CLSACT).display())
    }

    /// Notes what the card stamped before, and what it was, or is about to be, set to.
    pub(crate) fn note_setting(&self, found: Setting, made: Setting) -> Result<(), Error> {
        let new = self.pin(&setting_name(found, made));
        let noted = match self.setting()? {
            Some((found, made)) => fs::rename(self.pin(&setting_name(found, made)), &new),
            None => fs::create_dir(&new),
        };
        noted.context("note the card's setting in", new.display())
    }

    /// What was noted.
    pub(crate) fn setting(&self) -> Result<Option<(Setting, Setting)>, Error> {
        Ok(names(&self.path)?.iter().find_map(|name| parse_setting_name(name)))
    }

    pub(crate) fn forget_setting(&self) -> Result<(), Error> {
        let Some((found, made)) = self.setting()? else { return Ok(()) };
        let path = self.pin(&setting_name(found, made));
        gone(fs::remove_dir(&path)).context("remove", path.display())
    }

    /// Removes one pin.
    pub(crate) fn unpin(&self, name: &str) -> Result<(), Error> {
        gone(fs::remove_file(self.pin(name))).context("remove", self.pin(name).display())
    }

    /// Removes the pins of what reflects.
    pub(crate) fn unpin_reflector(&self) -> Result<(), Error> {
        REFLECT_MAPS.iter().try_for_each(|name| self.unpin(name))
    }

    /// Removes the pins of the maps, and what says that the queueing discipline is ours.
    pub(crate) fn unpin_maps(&self) -> Result<(), Error> {
        self.unpin_reflector()?;
        MAPS.iter().try_for_each(|name| self.unpin(name))?;
        self.unpin(NOTE)?;
        self.disown_clsact()
    }

    /// Removes what is left, and the directory of the network namespace if that leaves it empty.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        self.unpin_maps()?;
        self.forget_setting()?;
        gone(fs::remove_dir(&self.path)).context("remove", self.path.display())?;
        self.path.parent().map_or(Ok(()), remove_if_empty)
    }
}

/// Opens a directory, and nothing that a link leads to.
pub(crate) fn open_directory(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
}

pub(crate) fn remove_if_empty(directory: &Path) -> Result<(), Error> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        result => gone(result).context("remove", directory.display()),
    }
}

/// To remove what is not there is no failure.
pub(crate) fn gone(result: io::Result<()>) -> io::Result<()> {
    present(result).map(|_| ())
}

pub(crate) fn names(directory: &Path) -> Result<Vec<String>, Error> {
    let entries = present(fs::read_dir(directory)).context("list", directory.display())?;
    let names = entries.into_iter().flatten().map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
    names.collect::<io::Result<_>>().context("list", directory.display())
}

fn directory_name(ifindex: u32, state: State) -> String {
    match state {
        State::Whole => ifindex.to_string(),
        State::Partial => format!("{ifindex}{PARTIAL}"),
    }
}

fn parse_directory_name(name: &str) -> Option<(u32, State)> {
    let (ifindex, state) = match name.strip_suffix(PARTIAL) {
        Some(ifindex) => (ifindex, State::Partial),
        None => (name, State::Whole),
    };
    Some((number(ifindex)?, state))
}

fn setting_name(found: Setting, made: Setting) -> String {
    let [before_tx, before_rx, tx, rx] = [found.tx.number(), found.rx.number(), made.tx.number(), made.rx.number()];
    format!("{SETTING}_{before_tx}_{before_rx}_{tx}_{rx}")
}

fn parse_setting_name(name: &str) -> Option<(Setting, Setting)> {
    let mut numbers = name.strip_prefix(SETTING)?.strip_prefix('_')?.split('_').map(number::<u32>);
    let mut setting =
        || Some(Setting { tx: TxMode::from_number(numbers.next()??), rx: RxFilter::from_number(numbers.next()??) });
    let settings = (setting()?, setting()?);
    numbers.next().is_none().then_some(settings)
}

/// A number in the one form in which it is written.
fn number<N: std::str::FromStr + ToString>(text: &str) -> Option<N> {
    text.parse().ok().filter(|number: &N| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_directories_are_read_as_they_are_written() {
        for (ifindex, state) in [(1, State::Whole), (u32::MAX, State::Whole), (7, State::Partial)] {
            let name = directory_name(ifindex, state);
            assert!(!name.contains('.'));
            assert_eq!(parse_directory_name(&name), Some((ifindex, state)));
        }
    }

    #[test]
    fn other_names_are_not_ours() {
        for name in ["", "_partial", "07", "+7", "-1", "7_part", "7_partial_partial", "4294967296", "eth0"] {
            assert_eq!(parse_directory_name(name), None, "{name}");
        }
    }

    #[test]
    fn settings_are_read_as_they_are_noted() {
        let made = Setting { tx: TxMode::ON, rx: RxFilter::ALL };
        let name = setting_name(Setting::OFF, made);
        assert_eq!((name.as_str(), parse_setting_name(&name)), ("setting_0_0_1_1", Some((Setting::OFF, made))));
        for name in ["setting", "setting_0_0_1", "setting_0_0_1_1_1", "setting_0_0_1_01", "setting0_0_1_1", "SITE"] {
            assert_eq!(parse_setting_name(name), None, "{name}");
        }
    }
}
