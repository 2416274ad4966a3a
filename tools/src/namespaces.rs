//! Network namespaces of others: by path or by process, and what to call them.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
    sys::statfs::fstatfs,
};

use crate::engines;

/// `NSFS_MAGIC` of `include/uapi/linux/magic.h`.
const NSFS_MAGIC: i64 = 0x6e73_6673;
/// Where `ip netns` keeps them by name. Container engines do so, too, by names that nobody knows.
const FOLDER: &str = "/run/netns";
/// How long an unknown one stays so: to look for it is to look at every process.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A network namespace that was asked for.
#[derive(Debug)]
pub(crate) struct Namespace {
    file: File,
    inode: u64,
    name: String,
}

impl Namespace {
    /// The one that is mounted at, or linked from, a path.
    pub(crate) fn at(path: &Path) -> anyhow::Result<Self> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let namespace = Self::open(path, name)?;
        // Namespaces of other kinds are files of the same kind; who may not enter any learns that elsewhere.
        let entered = thread::scope(|scope| scope.spawn(|| setns(&namespace.file, CloneFlags::CLONE_NEWNET)).join());
        ensure!(!matches!(entered, Ok(Err(Errno::EINVAL))), "{}", no_network_namespace(path));
        Ok(namespace)
    }

    /// That of a process.
    pub(crate) fn of_process(pid: u32) -> anyhow::Result<Self> {
        let [cgroup, comm] = [read(pid, "cgroup"), read(pid, "comm")];
        let process = Process { pid, cgroup: &cgroup, comm: &comm };
        Self::open(&path_of_process(pid), name(Some(process), None, None).unwrap_or_default())
    }

    /// That of the container which an engine knows by this name or identifier.
    pub(crate) fn of_container(name: &str) -> anyhow::Result<Self> {
        let (container, file) = engines::find(name)?;
        let inode = file.metadata().with_context(|| format!("cannot look at the network namespace of {name}"))?.ino();
        Ok(Self { file, inode, name: container.name })
    }

    /// That of the calling thread.
    pub(crate) fn own() -> anyhow::Result<Self> {
        Self::open(Path::new("/proc/thread-self/ns/net"), "this".to_owned())
    }

    fn open(path: &Path, name: String) -> anyhow::Result<Self> {
        let open = || {
            let file = File::open(path)?;
            let inode = file.metadata()?.ino();
            Ok::<_, io::Error>((file, inode))
        };
        let (file, inode) = open().with_context(|| format!("cannot open the network namespace {}", path.display()))?;
        let kind = fstatfs(&file).with_context(|| format!("cannot look at {}", path.display()))?;
        ensure!(kind.filesystem_type().0 == NSFS_MAGIC, "{}", no_network_namespace(path));
        Ok(Self { file, inode, name })
    }

    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Moves the calling thread there for good.
    pub(crate) fn enter(&self) -> anyhow::Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter the network namespace {}: run as root", self.name))
    }
}

/// The names of network namespaces, which come and go meanwhile: an inode is given to the next one, a cookie never.
#[derive(Debug)]
pub(crate) struct Names {
    /// Those that are held open or lived in, by their inodes: these stay theirs.
    given: HashMap<u64, String>,
    /// Those that were found, by their cookies.
    known: HashMap<u64, String>,
    /// Cookies of those for which somebody has looked in vain.
    missed: HashSet<u64>,
    looked: Option<Instant>,
    places: Places,
}

impl Names {
    /// Where those that were asked for have the names by which they were.
    pub(crate) fn new<'a>(asked_for: impl IntoIterator<Item = &'a Namespace>) -> Self {
        let given = asked_for.into_iter().map(|namespace| (namespace.inode, namespace.name.clone())).collect();
        Self { given, known: HashMap::new(), missed: HashSet::new(), looked: None, places: Places::default() }
    }

    /// Gives one a name that lives as long as this.
    pub(crate) fn insert(&mut self, inode: u64, name: &str) {
        self.given.insert(inode, name.to_owned());
    }

    /// The name of one that is there.
    pub(crate) fn of(&mut self, cookie: u64, inode: u64) -> String {
        if let Some(name) = self.given.get(&inode).or_else(|| self.known.get(&cookie)) {
            return name.clone();
        }
        // What was seen before it had a process would give it the name of its file, which engines choose by chance.
        let is_lived_in = self.places.process(inode).is_some();
        let name = is_lived_in.then(|| self.places.name_of(inode)).flatten().or_else(|| {
            let is_due = self.missed.insert(cookie) || self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_AGAIN);
            if is_due {
                self.looked = Some(Instant::now());
                self.places = Places::look();
            }
            self.places.name_of(inode)
        });
        let Some(name) = name else { return format!("net:[{inode}]") };
        self.missed.remove(&cookie);
        self.known.insert(cookie, name.clone());
        name
    }
}

/// Where network namespaces can be found, by their inodes.
#[derive(Default, Debug)]
struct Places {
    /// Processes of each: the first of a container is the one with the least number.
    processes: HashMap<u64, u32>,
    /// Files of `ip netns`.
    files: HashMap<u64, PathBuf>,
}

impl Places {
    fn look() -> Self {
        let mut places = Self::default();
        for entry in fs::read_dir(FOLDER).into_iter().flatten().flatten() {
            if let Ok(file) = fs::metadata(entry.path()) {
                places.files.insert(file.ino(), entry.path());
            }
        }
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut processes: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        processes.sort_unstable();
        for pid in processes {
            if let Ok(file) = fs::metadata(path_of_process(pid)) {
                places.processes.entry(file.ino()).or_insert(pid);
            }
        }
        places
    }

    /// A process that is in it now.
    fn process(&self, inode: u64) -> Option<u32> {
        self.processes.get(&inode).copied().filter(|pid| is_at(&path_of_process(*pid), inode))
    }

    /// What to call the one that has this inode now.
    fn name_of(&self, inode: u64) -> Option<String> {
        let file = self.files.get(&inode).filter(|path| is_at(path, inode));
        let described = |pid| [read(pid, "cgroup"), read(pid, "comm")];
        let process = self.process(inode).map(|pid| (pid, described(pid)));
        let process = process.as_ref().map(|(pid, [cgroup, comm])| Process { pid: *pid, cgroup, comm });
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        name(process, file.map(PathBuf::as_path), container(&own))
    }
}

fn is_at(path: &Path, inode: u64) -> bool {
    fs::metadata(path).is_ok_and(|file| file.ino() == inode)
}

fn no_network_namespace(path: &Path) -> String {
    format!("{} is no network namespace: name a file such as /run/netns/NAME or /proc/PID/ns/net", path.display())
}

/// What is known of a process.
#[derive(Clone, Copy)]
struct Process<'a> {
    pid: u32,
    cgroup: &'a str,
    comm: &'a str,
}

/// The name by the container of its process, by its file, or by its process, in this order. The container that this process is in says
/// nothing of others that are in it, too.
fn name(process: Option<Process<'_>>, file: Option<&Path>, own_container: Option<&str>) -> Option<String> {
    let of_container = process.and_then(|process| container(process.cgroup)).filter(|id| own_container != Some(id));
    let of_file = || Some(printable(&file?.file_name()?.to_string_lossy()));
    let of_process = || process.map(|Process { pid, comm, .. }| format!("{}[{pid}]", printable(comm.trim_end())));
    of_container.map(str::to_owned).or_else(of_file).or_else(of_process)
}

/// Without what a terminal would obey: processes choose their names.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

pub(crate) fn path_of_process(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/net"))
}

fn read(pid: u32, file: &str) -> String {
    // A process may have any bytes for its name.
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The short form of a container's number, which engines write into the name of its control group: 64 hexadecimal digits.
fn container(cgroup: &str) -> Option<&str> {
    const LENGTH: usize = 64;
    const SHORT: usize = 12;
    let is_digit = |character: char| matches!(character, '0'..='9' | 'a'..='f');
    let words = cgroup.split(|character| !is_digit(character));
    words.filter(|word| word.len() == LENGTH).find_map(|word| word.get(..SHORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f2a9c0d1b4e28ba2fa111d2883f0016d3cca4273f2a9c0d1b4e28ba2fa111d2";

    #[test]
    fn containers_are_found_in_control_groups() {
        for cgroup in [
            format!("0::/machine.slice/libpod-{ID}.scope/container\n"),
            format!("0::/system.slice/docker-{ID}.scope\n"),
            format!("12:pids:/docker/{ID}\n1:name=systemd:/docker/{ID}\n"),
            format!("0::/kubepods.slice/kubepods-pod1234.slice/cri-containerd-{ID}.scope"),
        ] {
            assert_eq!(container(&cgroup), Some("3f2a9c0d1b4e"), "{cgroup}");
        }
        for cgroup in ["", "0::/init.scope\n", "0::/user.slice/user-0.slice/session-3.scope\n", &format!("0::/{ID}0")] {
            assert_eq!(container(cgroup), None, "{cgroup}");
        }
    }

    #[test]
    fn containers_come_before_files_and_files_before_processes() {
        let cgroup = format!("0::/machine.slice/libpod-{ID}.scope/container\n");
        let in_container = Some(Process { pid: 7, cgroup: &cgroup, comm: "web\n" });
        let outside = Some(Process { pid: 7, cgroup: "0::/init.scope\n", comm: "w\x1b[2Jb\n" });
        let file = Some(Path::new("/run/netns/netns-2c3b7a0e-7a55-8d1e-6ab7-2f5d1c2e4b6a"));
        let lab = Some(Path::new("/run/netns/lab"));
        assert_eq!(name(in_container, file, None).as_deref(), Some("3f2a9c0d1b4e"));
        assert_eq!(name(in_container, lab, Some("3f2a9c0d1b4e")).as_deref(), Some("lab"), "all are in this one");
        assert_eq!(name(outside, lab, None).as_deref(), Some("lab"));
        assert_eq!(name(None, lab, None).as_deref(), Some("lab"));
        assert_eq!(name(outside, None, None).as_deref(), Some("w?[2Jb[7]"), "nothing that a terminal obeys");
        assert_eq!(name(None, None, None), None);
    }

    #[test]
    fn the_own_one_is_found_and_files_are_none() {
        let own = Namespace::own().expect("this one");
        assert_eq!(Namespace::of_process(std::process::id()).expect("this process").inode(), own.inode());
        assert!(!Names::new([]).of(1, own.inode()).starts_with("net:["), "somebody is here");
        let error = Namespace::at(Path::new("/etc/passwd")).expect_err("a file");
        assert!(error.to_string().contains("no network namespace"), "{error}");
    }
}
