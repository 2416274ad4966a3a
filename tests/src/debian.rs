//! A clean Debian in a folder, and the packages of this build.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    lab::Lab,
    privilege::{root, skip, tool},
};

/// The packages, by their paths.
///
/// They are in the folder that the environment variable `INSTAMP_DIST` names.
///
/// # Panics
///
/// The folder cannot be read.
pub fn packages() -> Option<Vec<PathBuf>> {
    let folder = named("INSTAMP_DIST")?;
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let packages: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect();
    assert!(!packages.is_empty(), "no package in {}", folder.display());
    Some(packages)
}

/// A folder with what is in the packages.
///
/// # Panics
///
/// They cannot be unpacked.
pub fn unpacked() -> Option<TempDir> {
    let packages = packages()?;
    tool("dpkg-deb")?;
    let folder = tempfile::tempdir().expect("a folder");
    for package in packages {
        run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(folder.path()));
    }
    Some(folder)
}

fn named(variable: &str) -> Option<PathBuf> {
    let path = env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        skip(&format!("needs what {variable} names, which `cargo xtask test` makes"));
    }
    path
}

/// Runs a command and returns what it wrote on both of its streams.
///
/// # Panics
///
/// It fails.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("text");
    assert!(output.status.success(), "{command:?}: {}: {text}", output.status);
    text
}

/// A copy of the clean Debian, without a network. Dropping it removes it.
#[derive(Debug)]
pub struct Debian {
    folder: TempDir,
}

impl Debian {
    /// Where the packages are in it.
    const PACKAGES: &str = "root/packages";
    /// What tells or remembers what is and was installed, below the folder.
    const BOOKS: [&str; 6] = ["var/lib/dpkg", "var/lib/apt", "var/cache", "var/log", "run/systemd", Self::PACKAGES];

    /// With the packages beside, to be installed.
    ///
    /// It is the one in the folder that the environment variable `INSTAMP_DEBIAN` names.
    ///
    /// # Panics
    ///
    /// It cannot be copied.
    pub fn new() -> Option<Self> {
        root()?;
        let (clean, packages) = (named("INSTAMP_DEBIAN")?, packages()?);
        if !clean.exists() {
            skip(&format!("needs {}, which `cargo xtask setup` makes", clean.display()));
            return None;
        }
        let folder = tempfile::tempdir_in(clean.parent().expect("a folder")).expect("a folder");
        run(Command::new("cp").args(["--archive", "--reflink=auto"]).arg(clean.join(".")).arg(folder.path()));
        let beside = folder.path().join(Self::PACKAGES);
        fs::create_dir(&beside).expect("a folder");
        for package in packages {
            fs::copy(&package, beside.join(package.file_name().expect("a name"))).expect("a copy");
        }
        Some(Self { folder })
    }

    /// The path in this system of one in it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    /// Runs a command line in it, and returns what it wrote.
    ///
    /// # Panics
    ///
    /// It fails.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        let mut command = Command::new("unshare");
        command.args(["--net", "chroot"]).arg(self.folder.path()).args(["/bin/sh", "-ec", line]);
        run(command.env_clear().envs(ENVIRONMENT))
    }

    /// Installs the packages, with what they depend on.
    ///
    /// # Panics
    ///
    /// They cannot be installed.
    pub fn install(&self) -> String {
        self.run(&format!("apt-get install --yes --no-install-recommends /{}/*.deb", Self::PACKAGES))
    }

    /// All files and folders, but those that tell what is installed.
    ///
    /// # Panics
    ///
    /// They cannot be listed.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        let mut find = Command::new("find");
        find.arg(self.folder.path()).args(["-xdev", "-printf", "%P\\n"]);
        let names = run(&mut find);
        let is_book = |path: &Path| Self::BOOKS.iter().any(|book| path.starts_with(book));
        names.lines().map(PathBuf::from).filter(|path| !is_book(path)).collect()
    }

    /// Boots it as the host of a lab, runs a script, ends, and returns what the script wrote.
    ///
    /// # Panics
    ///
    /// It does not boot, or the script fails.
    pub fn boot(&self, lab: &Lab, script: &str) -> String {
        fs::write(self.path("script"), script).expect("a script");
        fs::write(self.path("etc/systemd/system/script.service"), SCRIPT).expect("a unit");
        let mut nspawn = Command::new("systemd-nspawn");
        nspawn
            .args(["--boot", "--quiet", "--register=no", "--keep-unit", "--console=pipe", "--capability=all"])
            // Of which it allows but few.
            .args(["--system-call-filter=bpf perf_event_open", "--bind=/sys/fs/bpf"])
            .arg(format!("--network-namespace-path=/run/netns/{}", lab.namespace("host")))
            .arg(format!("--machine={}", lab.name()))
            .arg("--directory")
            .arg(self.folder.path())
            .arg("systemd.unit=script.service");
        let output = nspawn.output().expect("systemd-nspawn");
        remove_control_groups();
        let text = fs::read_to_string(self.path("script.log")).unwrap_or_default();
        assert!(output.status.success(), "{}: {text}\n{}", output.status, String::from_utf8_lossy(&output.stdout));
        text
    }
}

/// Removes what systemd-nspawn has left in this process' control groups: both kinds of groups of systemd have it.
fn remove_control_groups() {
    let groups = fs::read_to_string("/proc/self/cgroup").expect("control groups");
    for group in
        groups.lines().filter_map(|line| line.strip_prefix("0::").or(line.split_once(":name=systemd:").map(|it| it.1)))
    {
        for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"] {
            for left in ["payload/init.scope", "payload", "supervisor"] {
                // Most are not there.
                let _ = fs::remove_dir(Path::new(mount).join(group.trim_start_matches('/')).join(left));
            }
        }
    }
}

/// What commands find in it.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("LC_ALL", "C.UTF-8"),
    ("HOME", "/root"),
    ("DEBIAN_FRONTEND", "noninteractive"),
];

/// Runs the script, and then ends the system with the script's exit code.
const SCRIPT: &str = "\
[Unit]
SuccessAction=exit
FailureAction=exit

[Service]
Type=oneshot
TimeoutStartSec=300
Environment=DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
ExecStart=/bin/sh -ex /script
StandardOutput=truncate:/script.log
StandardError=inherit
";
