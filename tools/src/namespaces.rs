//! Network namespaces of others: by path or by process, and what to call them.

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use nix::{
    sched::{CloneFlags, setns},
    sys::statfs::fstatfs,
};

use crate::engines;

/// `NSFS_MAGIC` of `include/uapi/linux/magic.h`.
const NSFS_MAGIC: i64 = 0x6e73_6673;
/// Where `ip netns` and container engines keep them by name.
const FOLDERS: [&str; 3] = ["/run/netns", "/run/docker/netns", "/var/run/netns"];
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
        Self::open(path, name)
    }

    /// That of a process.
    pub(crate) fn of_process(pid: u32) -> anyhow::Result<Self> {
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        Self::open(&path, of_process(pid))
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
        ensure!(
            kind.filesystem_type().0 == NSFS_MAGIC,
            "{} is no network namespace: name a file such as /run/netns/NAME or /proc/PID/ns/net",
            path.display()
        );
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

/// The names of network namespaces, by their inodes: they come and go meanwhile.
#[derive(Debug)]
pub(crate) struct Names {
    known: HashMap<u64, String>,
    looked: Option<Instant>,
}

impl Names {
    /// Where those that were asked for have the names by which they were.
    pub(crate) fn new<'a>(asked_for: impl IntoIterator<Item = &'a Namespace>) -> Self {
        let known = asked_for.into_iter().map(|namespace| (namespace.inode, namespace.name.clone())).collect();
        Self { known, looked: None }
    }

    /// Gives one a name.
    pub(crate) fn insert(&mut self, inode: u64, name: &str) {
        self.known.insert(inode, name.to_owned());
    }

    pub(crate) fn of(&mut self, inode: u64) -> String {
        if !self.known.contains_key(&inode) && self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_AGAIN) {
            self.look();
        }
        self.known.get(&inode).cloned().unwrap_or_else(|| format!("net:[{inode}]"))
    }

    /// Looks at names first, then at processes: the first of a container is the one with the least number.
    fn look(&mut self) {
        self.looked = Some(Instant::now());
        for entry in FOLDERS.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten()) {
            if let Ok(file) = fs::metadata(entry.path()) {
                let name = || entry.file_name().to_string_lossy().into_owned();
                self.known.entry(file.ino()).or_insert_with(name);
            }
        }
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut processes: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        processes.sort_unstable();
        for pid in processes {
            if let Ok(file) = fs::metadata(format!("/proc/{pid}/ns/net")) {
                self.known.entry(file.ino()).or_insert_with(|| of_process(pid));
            }
        }
    }
}

/// What to call the namespace of a process: by its container, if it is in one.
fn of_process(pid: u32) -> String {
    let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    match container(&read("cgroup")) {
        Some(id) => id.to_owned(),
        None => format!("{}[{pid}]", read("comm").trim_end()),
    }
}

/// The short form of a container's number, which engines write into the name of its control group: 64 hexadecimal digits.
fn container(cgroup: &str) -> Option<&str> {
    const LENGTH: usize = 64;
    const SHORT: usize = 12;
    let is_digit = |character: char| matches!(character, '0'..='9' | 'a'..='f');
    let words = cgroup.split(|character| !is_digit(character));
    words.filter(|word| word.len() == LENGTH).find_map(|word| word.get(..SHORT))
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
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
    fn the_own_one_is_found_and_files_are_none() {
        let own = Namespace::own().expect("this one");
        assert_eq!(Namespace::of_process(std::process::id()).expect("this process").inode(), own.inode());
        assert!(!Names::new([]).of(own.inode()).starts_with("net:["), "somebody is here");
        let error = Namespace::at(Path::new("/etc/passwd")).expect_err("a file");
        assert!(error.to_string().contains("no network namespace"), "{error}");
    }
}
