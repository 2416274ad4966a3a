//! Network namespaces with a name, as `ip netns` has them: files in `/run/netns` that namespaces are mounted on.
//!
//! Only the network namespace of a thread is ever changed. `ip netns exec` also makes a mount namespace, in which the
//! pinned programs of the BPF file system cannot be seen.

use std::{
    fs::{self, File},
    io,
    os::{linux::fs::MetadataExt, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, anyhow};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

const FOLDER: &str = "/run/netns";
/// What the names of all labs' namespaces start with.
pub(super) const PREFIX: &str = "instamp-";

/// The name of the namespace of `role` (`host`, `remote`, `c1` and so on) in a lab.
pub(super) fn name(lab: &str, role: &str) -> String {
    format!("{PREFIX}{lab}-{role}")
}

/// A network namespace of a lab. Dropping it changes nothing.
#[derive(Debug)]
pub(super) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace. What is left of one that cannot be made is removed.
    ///
    /// # Errors
    ///
    /// One of that name exists, or this process lacks the right to make one.
    pub(super) fn create(name: String) -> Result<Self> {
        let namespace = Self { name };
        let path = namespace.path();
        prepare_folder()?;
        // Made by one process only: this is also the lock against a second `lab up`.
        File::create_new(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let made = on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .with_context(|| format!("cannot mount a network namespace on {}", path.display()))
        });
        if made.is_err() {
            // The first error is the one to tell.
            let _ = namespace.remove();
        }
        made.map(|()| namespace)
    }

    /// The namespace of this name, if it exists.
    pub(super) fn find(name: &str) -> Option<Self> {
        let namespace = Self { name: name.to_owned() };
        (!name.contains('/') && namespace.path().exists()).then_some(namespace)
    }

    /// The namespaces of all labs, also those that were left half made, by name.
    pub(super) fn list() -> Result<Vec<Self>> {
        let entries = match fs::read_dir(FOLDER) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(FOLDER),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.context(FOLDER)?.file_name();
            names.extend(name.to_str().filter(|name| is_of_a_lab(name)).map(str::to_owned));
        }
        names.sort_by_key(|name| (name.len(), name.clone()));
        Ok(names.into_iter().map(|name| Self { name }).collect())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The lab's name.
    pub(super) fn lab(&self) -> &str {
        self.split().0
    }

    /// `host`, `remote`, `c1` and so on.
    pub(super) fn role(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        split(&self.name).unwrap_or((&self.name, ""))
    }

    /// Whether the namespace is there: of one that was left half made only the name is.
    pub(super) fn is_whole(&self) -> bool {
        let file_system = |path: &Path| fs::metadata(path).map(|file| file.st_dev()).ok();
        file_system(&self.path()) == file_system(Path::new("/proc/self/ns/net"))
    }

    fn path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }

    /// The open namespace: devices can be made in it.
    pub(super) fn open(&self) -> Result<File> {
        File::open(self.path()).with_context(|| format!("cannot open {}", self.path().display()))
    }

    /// Runs `task` on a thread in this namespace.
    pub(super) fn enter<T: Send>(&self, task: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            self.enter_for_good()?;
            task().with_context(|| format!("in namespace `{}`", self.name))
        })
    }

    /// Moves the calling thread into this namespace.
    pub(super) fn enter_for_good(&self) -> Result<()> {
        setns(self.open()?, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter namespace `{}`", self.name))
    }

    /// The processes that have a thread in this namespace: number and command.
    pub(super) fn inhabitants(&self) -> Vec<(u32, String)> {
        let Ok(own) = fs::metadata(self.path()) else {
            return Vec::new();
        };
        let is_here = |task: &Path| {
            fs::metadata(task.join("ns/net"))
                .is_ok_and(|its| (its.st_dev(), its.st_ino()) == (own.st_dev(), own.st_ino()))
        };
        // Processes end while they are looked at: what cannot be read is no longer there.
        let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
        entries(Path::new("/proc"))
            .filter_map(|process| {
                let pid = process.file_name().to_str()?.parse().ok()?;
                entries(&process.path().join("task")).any(|task| is_here(&task.path())).then_some(())?;
                let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                Some((pid, command.trim_end().to_owned()))
            })
            .collect()
    }

    /// Removes the name. The namespace and its devices go with it, once no process is left in it.
    pub(super) fn remove(&self) -> Result<()> {
        let path = self.path();
        match umount2(&path, MntFlags::MNT_DETACH) {
            // Not mounted: left half made.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot unmount {}", path.display())),
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

/// Makes the folder as `ip netns add` does: a mount of its own, shared with other mount namespaces. Whoever comes first
/// must do that, since the other's mounting would cover the namespaces that are there.
fn prepare_folder() -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(FOLDER).context(FOLDER)?;
    let folder = File::open(FOLDER).context(FOLDER)?;
    folder.lock().with_context(|| format!("cannot lock {FOLDER}"))?;
    let nothing = None::<&str>;
    let share = || mount(Some(""), FOLDER, Some("none"), MsFlags::MS_SHARED | MsFlags::MS_REC, nothing);
    match share() {
        // Not a mount yet.
        Err(Errno::EINVAL) => mount(Some(FOLDER), FOLDER, Some("none"), MsFlags::MS_BIND | MsFlags::MS_REC, nothing)
            .and_then(|()| share()),
        result => result,
    }
    .with_context(|| format!("cannot make {FOLDER} a shared mount"))
}

/// Lab and role of a namespace with this name.
fn split(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(PREFIX)?.rsplit_once('-')
}

fn is_of_a_lab(name: &str) -> bool {
    let is_container = |role: &str| role.strip_prefix('c').is_some_and(|number| number.parse::<u8>().is_ok());
    split(name).is_some_and(|(_, role)| role == "host" || role == "remote" || is_container(role))
}

/// Namespaces belong to threads: what changes one gets a thread of its own.
fn on_a_thread<T: Send>(task: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(task).join()).unwrap_or_else(|_| Err(anyhow!("a thread panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_lab_and_role() {
        for (lab, role) in [("lab", "host"), ("a-b", "c12"), ("a-host", "remote"), ("x", "c1")] {
            let namespace = Namespace { name: name(lab, role) };
            assert!(is_of_a_lab(namespace.name()));
            assert_eq!((namespace.lab(), namespace.role()), (lab, role));
        }
    }

    #[test]
    fn strangers_are_left_alone() {
        for name in [
            "host",
            "instamp-host",
            "instamp-lab-",
            "instamp-lab-cx",
            "instamp-lab-c",
            "cni-lab-host",
            "instamp-lab-c256",
        ] {
            assert!(!is_of_a_lab(name), "{name}");
        }
    }
}
