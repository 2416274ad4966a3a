//! Real containers: podman with runc, on the host of a lab, with everything that it keeps in a folder of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::{
    commands,
    exporter::looks,
    installed,
    lab::Lab,
    privilege::{root, tool},
};

/// The image with a static busybox, and what was asked for besides.
pub const IMAGE: &str = "instamp-test";

/// What makes the networks of containers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend<'a> {
    /// Podman's own bridge and address translation.
    Netavark,
    /// Plugins after the CNI specification, in this order behind `bridge`: as JSON objects.
    Cni(&'a [serde_json::Value]),
}

/// What the image has besides busybox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Nothing.
    Busybox,
    /// A static `instamp`.
    Instamp,
    /// This machine's `ping`, of iputils, and `fping`, with their libraries.
    Pings,
}

/// Podman on the host of a lab. Dropping it removes its containers and what it has stored.
#[derive(Debug)]
pub struct Podman<'a> {
    lab: &'a Lab,
    folder: TempDir,
}

/// `Some` where containers can be run.
pub fn podman() -> Option<()> {
    root()?;
    for name in ["podman", "runc", "conmon", "nft", "iptables", "busybox"] {
        tool(name)?;
    }
    Some(())
}

impl<'a> Podman<'a> {
    /// Sets it up, with an image of this content. The lab's host gets a default route, and lets containers out.
    ///
    /// # Panics
    ///
    /// It cannot be set up.
    pub fn new(lab: &'a Lab, backend: Backend<'_>, content: Content) -> Self {
        let podman = Self { lab, folder: tempfile::tempdir().expect("a folder") };
        podman.configure(backend);
        lab.run("host", "ip", &["route", "replace", "default", "via", Lab::REMOTE]);
        for bridge in ["podman0", "cni0"] {
            lab.run("host", "nft", &["insert", "rule", "inet", "lab", "forward", "iifname", bridge, "accept"]);
        }
        podman.import(content);
        podman
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, backend: Backend<'_>) {
        let at = |name: &str| self.path(name).display().to_string();
        fs::create_dir(self.path("networks")).expect("a folder");
        let storage = format!("[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n", at("root"), at("run"));
        fs::write(self.path("storage.conf"), storage).expect("a file");
        let networks = match backend {
            Backend::Netavark => "network_backend = \"netavark\"".to_owned(),
            Backend::Cni(plugins) => {
                fs::write(self.path("networks/podman.conflist"), self.chain(plugins)).expect("a file");
                let plugin = commands::plugin();
                let own = plugin.parent().expect("a folder").display().to_string();
                format!("network_backend = \"cni\"\ncni_plugin_dirs = [\"/usr/lib/cni\", {own:?}]")
            }
        };
        // What podman's own configuration gives, which has no CAP_NET_RAW: this file takes its place.
        let capabilities =
            ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID"];
        let configuration = format!(
            "[containers]\n\
             default_capabilities = {capabilities:?}\n\
             default_sysctls = [\"net.ipv4.ping_group_range=0 0\"]\n\
             default_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\n\
             log_driver = \"k8s-file\"\n\
             [engine]\n\
             runtime = \"runc\"\n\
             cgroup_manager = \"cgroupfs\"\n\
             events_logger = \"none\"\n\
             tmp_dir = {:?}\n\
             [network]\n\
             network_config_dir = {:?}\n\
             {networks}\n",
            at("tmp"),
            at("networks"),
        );
        fs::write(self.path("containers.conf"), configuration).expect("a file");
    }

    /// The network that containers get: podman's own, with these plugins behind.
    fn chain(&self, plugins: &[serde_json::Value]) -> String {
        let bridge = serde_json::json!({
            "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
            "ipam": {
                "type": "host-local", "dataDir": self.path("addresses"),
                "ranges": [[{ "subnet": "10.87.0.0/16" }]], "routes": [{ "dst": "0.0.0.0/0" }],
            },
        });
        let plugins: Vec<_> = std::iter::once(bridge).chain(plugins.iter().cloned()).collect();
        serde_json::json!({ "cniVersion": "0.4.0", "name": "podman", "plugins": plugins }).to_string()
    }

    /// Makes the image of a folder.
    fn import(&self, content: Content) {
        let folder = self.path("image");
        let put = |from: &Path, to: &str| {
            let to = folder.join(to.trim_start_matches('/'));
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::copy(from, to).expect("a file");
        };
        put(&installed::path("busybox"), "bin/busybox");
        fs::create_dir(folder.join("tmp")).expect("a folder");
        match content {
            Content::Busybox => {}
            Content::Instamp => {
                let stripped = folder.join("bin/instamp");
                let status = Command::new("strip").arg("-o").arg(stripped).arg(commands::static_instamp()).status();
                assert!(status.expect("strip").success());
            }
            Content::Pings => {
                // fping looks up there what ICMP is.
                put(Path::new("/etc/protocols"), "etc/protocols");
                for program in ["ping", "fping"] {
                    let path = installed::path(program);
                    put(&path, &format!("bin/{program}"));
                    installed::libraries(&path).iter().for_each(|library| put(library, &library.to_string_lossy()));
                }
            }
        }
        let archive = self.path("image.tar");
        let status = Command::new("tar").arg("-C").arg(&folder).arg("-cf").arg(&archive).arg(".").status();
        assert!(status.expect("tar").success());
        self.run(&["import", &archive.display().to_string(), IMAGE]);
    }

    /// Has a command use what this podman uses.
    pub fn equip(&self, command: &mut Command) {
        command
            .env("CONTAINERS_STORAGE_CONF", self.path("storage.conf"))
            .env("CONTAINERS_CONF", self.path("containers.conf"))
            // Another engine has other containers.
            .env("DOCKER_HOST", format!("unix://{}", self.path("none").display()));
    }

    /// The `instamp` command on the lab's host, which finds this podman.
    pub fn instamp(&self) -> Command {
        let mut command = self.lab.instamp("host");
        self.equip(&mut command);
        command
    }

    /// `podman`, to be run on the lab's host.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.command("host", "podman");
        self.equip(&mut command);
        command.args(arguments);
        command
    }

    /// What it does.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("podman")
    }

    /// What it writes.
    ///
    /// # Panics
    ///
    /// It fails.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "podman {arguments:?}: {words}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Starts a container that does nothing, with the privileges that podman gives by default.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    #[track_caller]
    pub fn start(&self, name: &str) {
        self.run(&["run", "--detach", "--name", name, IMAGE, "/bin/busybox", "sleep", "1000"]);
    }

    /// Removes a container.
    ///
    /// # Panics
    ///
    /// It cannot be removed.
    #[track_caller]
    pub fn remove(&self, name: &str) {
        self.run(&["rm", "--force", "--time", "0", name]);
    }

    /// What podman knows of a container, in its template language.
    ///
    /// # Panics
    ///
    /// There is none.
    #[track_caller]
    pub fn inspect(&self, name: &str, what: &str) -> String {
        self.run(&["container", "inspect", "--format", what, name])
    }

    /// Podman's service, with Docker's interface, at a socket, which is told.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn service(&self) -> Service {
        let socket = self.path("service.sock");
        let address = format!("unix://{}", socket.display());
        let process = self.command(&["system", "service", "--time", "0", &address]).stderr(Stdio::null()).spawn();
        let service = Service { process: process.expect("podman"), address: address.clone() };
        // It says nothing when it listens, but does so from the moment on at which the socket is there.
        assert!(looks().any(|()| socket.exists()), "podman does not listen at {address}");
        service
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        let output = self.output(&["rm", "--all", "--force", "--time", "0"]);
        if !output.status.success() {
            eprintln!("podman rm: {output:?}");
        }
    }
}

/// A service. Dropping it ends it.
#[derive(Debug)]
pub struct Service {
    process: std::process::Child,
    /// Its address, as `DOCKER_HOST` has them.
    pub address: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
