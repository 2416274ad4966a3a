//! Real containers: podman with runc, its own bridge and address translation, the privileges that it gives by default.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use instamp_tests::{
    bpffs::Bpffs,
    capture::ECHOES,
    commands::text,
    comparison::Medians,
    lab::Lab,
    ping::{Run, number},
    podman::{Backend, Content, IMAGE, Podman, podman},
    privilege::{root, tool},
    unmodified::Pinging,
    watching::Watching,
};
use nix::{
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

const PROBES: u64 = 500;
/// How far apart what a container and the host are told of the network may be at most: it is what instamp is for.
const AGREEMENT_NS: i64 = 2_000;
/// How many containers come and go with the plugin.
const TIMES: usize = 20;

/// What is needed to ping by other people's tools.
fn pings() -> Option<()> {
    podman()?;
    ["ping", "fping"].iter().try_for_each(|name| tool(name))
}

/// The attachments of the lab's host.
#[track_caller]
fn status(mut instamp: Command) -> Vec<Value> {
    let lines = text(instamp.args(["status", "--json"]));
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs a pinger that is to be corrected throughout, beside a capture.
fn beside_a_capture(lab: &Lab, pinger: &mut Command) -> Medians {
    let (run, medians) = Medians::beside_a_capture(lab, pinger, ECHOES);
    run.all_corrected(PROBES);
    for reply in run.replies() {
        assert_eq!(reply["net_source"], "driver-tx/xdp-ingress", "{reply}");
    }
    medians
}

#[test]
fn a_container_with_default_privileges_measures_what_a_capture_sees() {
    let (Some(()), Some(())) = (podman(), tool("tcpdump")) else { return };
    let lab = Lab::up(&[]);
    let podman = Podman::new(&lab, Backend::Netavark, Content::Instamp);
    podman.start("web");
    let has = || {
        let script =
            "cat /proc/self/mounts; find /dev /run /sys/fs; grep -e Cap -e NoNewPrivs -e Seccomp /proc/self/status";
        podman.run(&["exec", "web", "/bin/busybox", "sh", "-c", script])
    };
    let had = has();
    let said = text(podman.instamp().args(["attach", "--container", "web", "--ingress", "xdp"]));
    assert_eq!(has(), had, "nothing is mounted into it, and it may do no more than before");
    assert!(said.contains(", for eth0 of web (podman ") && said.contains("nic0: point 0"), "{said}");

    // Of CAP_NET_ADMIN (12), CAP_NET_RAW (13), CAP_SYS_ADMIN (21) and CAP_BPF (39) it has none.
    let capabilities = podman.run(&["exec", "web", "/bin/busybox", "grep", "CapEff", "/proc/self/status"]);
    let (_, mask) = capabilities.split_once('\t').unwrap();
    let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
    assert_eq!(mask & (1 << 12 | 1 << 13 | 1 << 21 | 1 << 39), 0, "{capabilities}");

    let count = PROBES.to_string();
    let options = ["ping", "--json", "-c", &count, "-i", "2ms", "--cap", "6", "-s", "88", Lab::REMOTE];
    let inside = [&["exec", "web", "/bin/instamp"], &options[..]].concat();
    let inside = beside_a_capture(&lab, &mut podman.command(&inside));
    let outside = beside_a_capture(&lab, lab.instamp("host").args(options));
    println!("medians in ns: from the container {inside:?}, from the host {outside:?}");
    for medians in [&inside, &outside] {
        medians.are_near();
        assert!((inside.net - outside.net).abs() < medians.rtt - medians.net, "{inside:?} {outside:?}");
    }
    // Wherever in this host the prober is, the network is the same: as far as it has not changed in between, which the captures tell.
    assert!(inside.at_capture + outside.at_capture <= AGREEMENT_NS, "{inside:?} {outside:?}");
    let stages = status(podman.instamp());
    let veth = stages.iter().find(|device| !device["container"].is_null()).unwrap();
    let container = &veth["container"];
    assert_eq!((&container["name"], &container["interface"]), (&json!("web"), &json!("eth0")));
    assert_eq!(
        container["stages"],
        json!([{ "device": veth["device"], "point": 1 }, { "device": "nic0", "point": 0 }])
    );
    for hook in veth["hooks"].as_array().unwrap().iter().filter(|hook| hook["hook"] != "driver-tx") {
        assert_eq!(hook["stamped"], PROBES, "{hook}");
    }

    let said = text(podman.instamp().args(["detach", "--container", "web"]));
    assert!(said.contains("nic0: detached"), "{said}");
    assert_eq!(status(podman.instamp()), Vec::<Value>::new());
}

/// Two containers have the same tool ping the same address at the same time; one of them is watched.
#[test]
fn the_pings_of_an_unmodified_tool_are_told_by_the_name_of_its_container() {
    const PINGS: u64 = 3;
    let Some(()) = podman() else { return };
    let lab = Lab::up(&[]);
    let podman = Podman::new(&lab, Backend::Netavark, Content::Busybox);
    let names = ["web", "db"];
    for name in names {
        // As Docker's defaults are: without, busybox cannot ping.
        let run = ["run", "--detach", "--cap-add", "NET_RAW", "--name", name, IMAGE];
        podman.run(&[&run[..], &["/bin/busybox", "sleep", "1000"]].concat());
    }
    let watching = Watching::of(podman.instamp(), &["--container", "web"]);
    let count = PINGS.to_string();
    let pings = names.map(|name| {
        let ping = ["exec", name, "/bin/busybox", "ping", "-c", &count, Lab::REMOTE];
        podman.command(&ping).stdout(Stdio::piped()).spawn().unwrap()
    });
    for ping in pings {
        let output = ping.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(" 0% packet loss"), "{said}");
    }
    let watched = watching.stop();
    let replies = watched.replies();
    let numbers: Vec<_> =
        replies.iter().map(|reply| (reply["sender"].as_str().unwrap(), number(reply, "seq"))).collect();
    assert_eq!(numbers, [("web", 0), ("web", 1), ("web", 2)]);
    for reply in replies {
        // Translated, and seen at both ends of this host.
        assert_ne!(reply["source"], reply["network_source"], "{reply}");
        let parts = ["net_ns", "tx_host_ns", "rx_host_ns"].map(|part| number(reply, part));
        assert!(parts.iter().all(|ns| *ns > 0) && parts.iter().sum::<i64>() == number(reply, "total_ns"), "{reply}");
    }
}

/// Six containers at once, two with each tool, which is in all of them the same process: the same identifiers behind one address.
#[test]
fn unmodified_tools_in_containers_are_told_apart() {
    let (Some(()), Some(())) = (pings(), tool("tcpdump")) else { return };
    let lab = Lab::up(&[]);
    let podman = Podman::new(&lab, Backend::Netavark, Content::Pings);
    Pinging::new(&podman, 100, 10).watched(&lab).is_near();
}

/// The tools of the host in the network of a container, all at once.
#[test]
fn tools_are_run_in_the_network_of_a_container() {
    const PINGS: usize = 20;
    let Some(()) = pings() else { return };
    let lab = Lab::up(&[]);
    let podman = Podman::new(&lab, Backend::Netavark, Content::Busybox);
    podman.start("web");
    let count = PINGS.to_string();
    let iputils: &[&str] = &["ping", "-n", "-i", "0.01", "-c", &count, Lab::REMOTE];
    let busybox: &[&str] = &["busybox", "ping", "-i", "0.01", "-c", &count, Lab::REMOTE];
    let fping: &[&str] = &["fping", "-p", "10", "-t", "2000", "-c", &count, Lab::REMOTE];
    let running = [iputils, busybox, fping].map(|words| {
        let mut command = podman.instamp();
        command.args(["run", "--dev", Lab::NIC, "--container", "web", "--"]).args(words);
        (words, command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    });
    for (words, child) in running {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {text}");
        let whole =
            text.lines().filter(|line| [" net=", " host=", " tx=", " rx="].iter().all(|part| line.contains(part)));
        assert_eq!((whole.count(), text.contains("net=?")), (PINGS, false), "{words:?}: {text}");
        assert!(text.contains(&format!("told in {PINGS} of {PINGS} lines")), "{words:?}: {text}");
    }
}

#[test]
fn engines_are_asked_at_their_sockets() {
    let Some(()) = podman() else { return };
    let lab = Lab::up(&[]);
    let podman = Podman::new(&lab, Backend::Netavark, Content::Busybox);
    podman.start("web");
    let id = podman.inspect("web", "{{.Id}}");
    let service = podman.service();
    // Podman speaks Docker's language.
    for (variable, engine) in [("DOCKER_HOST", "docker"), ("CONTAINER_HOST", "podman")] {
        // As if there was no podman to ask otherwise.
        let ask = |arguments: &[&str]| {
            let mut command = podman.instamp();
            command.env("PATH", "").env(variable, &service.address).args(arguments);
            command
        };
        let said = text(&mut ask(&["attach", "--container", &id[..12]]));
        assert!(said.contains(&format!("of web ({engine} {})", &id[..12])), "{said}");
        let output = ask(&["attach", "--container", "nobody"]).output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(words.contains("no container `nobody`") && words.contains("no such container"), "{words}");
        text(&mut ask(&["detach", "--container", &id[..12]]));
        assert_eq!(status(podman.instamp()), Vec::<Value>::new());
    }
    podman.run(&["stop", "--time", "0", "web"]);
    let output = podman.instamp().args(["attach", "--container", "web"]).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("does not run"));
}

/// With the plugin in the chain every container of the network is attached to, and leaves nothing.
#[test]
fn containers_come_and_go_with_the_plugin() {
    let Some(()) = podman() else { return };
    if !Path::new("/usr/lib/cni/bridge").exists() {
        return instamp_tests::privilege::skip(
            "needs the plugins of containernetworking, which `cargo xtask setup` installs",
        );
    }
    let lab = Lab::up(&[]);
    let bpffs = Bpffs::mount();
    let plugin = json!({ "type": "instamp-cni", "ingress": "xdp", "bpffs": bpffs.path() });
    let podman = Podman::new(&lab, Backend::Cni(&[plugin]), Content::Instamp);
    let instamp = || {
        let mut command = podman.instamp();
        command.env("INSTAMP_BPFFS", bpffs.path());
        command
    };
    let mut namespaces = Vec::new();
    for time in 0..TIMES {
        let name = format!("n{time}");
        podman.start(&name);
        namespaces.push(podman.inspect(&name, "{{.NetworkSettings.SandboxKey}}"));
        if time == 0 {
            let ping = ["exec", "n0", "/bin/instamp", "ping", "--json", "-c", "20", "-i", "2ms", Lab::REMOTE];
            Run::of(&mut podman.command(&ping)).all_corrected(20);
            let status = status(instamp());
            assert_eq!(status.len(), 2, "{status:?}");
            let container = &status.iter().find(|device| !device["container"].is_null()).unwrap()["container"];
            assert_eq!(
                (&container["engine"], container["stages"].as_array().unwrap().len()),
                (&json!("cni/podman"), 2)
            );
        }
        podman.remove(&name);
        // Nobody has to run a command for that.
        assert_eq!(bpffs.pins(), Vec::<String>::new(), "after {name}");
    }
    assert!(namespaces.iter().all(|path| !path.is_empty() && !Path::new(path).exists()), "{namespaces:?}");
    assert_eq!(lab.run("host", "ip", &["-d", "link", "show", Lab::NIC]).matches("xdp").count(), 0);
}

/// A process with a network of its own, behind a veth of the lab's host. Dropping it ends it.
struct Contained(Child);

impl Contained {
    const VETH: &str = "veth-x";

    fn start(lab: &Lab) -> Self {
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(Stdio::null());
        #[expect(unsafe_code, reason = "the namespace is to be the process' alone")]
        // SAFETY: the closure makes one system call, and neither allocates nor locks.
        unsafe {
            command.pre_exec(|| Ok(unshare(CloneFlags::CLONE_NEWNET)?));
        }
        // When this returns, the program has been started in its namespace.
        let contained = Self(command.spawn().unwrap());
        let pid = contained.pid();
        lab.run("host", "ip", &["link", "add", Self::VETH, "type", "veth", "peer", "name", "eth0", "netns", &pid]);
        lab.run("host", "ip", &["link", "set", Self::VETH, "up"]);
        let net = format!("--net=/proc/{pid}/ns/net");
        for arguments in
            ["addr add 10.66.0.2/24 dev eth0", "link set eth0 up", "route add default via 10.66.0.1 dev eth0 onlink"]
        {
            let status = Command::new("nsenter").arg(&net).arg("ip").args(arguments.split(' ')).status().unwrap();
            assert!(status.success(), "{arguments}");
        }
        contained
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    fn die(&mut self) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), Signal::SIGKILL).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whatever the command has come to, its next one finds nothing.
#[test]
fn a_container_that_dies_while_it_is_attached_to_leaves_nothing() {
    const MOMENTS: u32 = 12;
    let (Some(()), Some(()), Some(())) = (root(), tool("ip"), tool("nsenter")) else { return };
    let lab = Lab::up(&[]);
    lab.run("host", "ip", &["route", "add", "default", "via", Lab::REMOTE]);
    let bpffs = Bpffs::mount();
    let instamp = || {
        let mut command = lab.instamp("host");
        command.env("INSTAMP_BPFFS", bpffs.path());
        command
    };
    let attach = |contained: &Contained| {
        let mut command = instamp();
        command.args(["attach", "--pid", &contained.pid(), "--ingress", "xdp"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let gone = |contained: &mut Contained, engine_cleans_up: bool| {
        contained.die();
        if engine_cleans_up {
            // There may be none any more.
            lab.command("host", "ip").args(["link", "delete", Contained::VETH]).output().unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        // The kernel takes a namespace apart after its last process has ended, and nobody has it open.
        while lab.command("host", "ip").args(["link", "show", Contained::VETH]).output().unwrap().status.success() {
            assert!(Instant::now() < deadline, "the veth stays");
        }
    };
    let nothing = lab.run("host", "bpftool", &["--json", "net", "show", "dev", Lab::NIC]).trim().to_owned();
    let nothing_is_left = || {
        assert_eq!(status(instamp()), Vec::<Value>::new());
        assert_eq!(bpffs.pins(), Vec::<String>::new());
        assert_eq!(lab.run("host", "bpftool", &["--json", "net", "show", "dev", Lab::NIC]).trim(), nothing);
    };
    let mut contained = Contained::start(&lab);
    let begin = Instant::now();
    assert!(attach(&contained).wait().unwrap().success(), "unharmed it succeeds");
    let duration = begin.elapsed();
    assert_eq!(status(instamp()).len(), 2);
    gone(&mut contained, false);
    nothing_is_left();

    let mut failures = Vec::new();
    for moment in 0..MOMENTS {
        let mut contained = Contained::start(&lab);
        let attaching = attach(&contained);
        thread::sleep(duration * moment / MOMENTS);
        gone(&mut contained, moment % 2 == 1);
        let output = attaching.wait_with_output().unwrap();
        if !output.status.success() {
            failures.push(String::from_utf8(output.stderr).unwrap());
        }
        nothing_is_left();
    }
    println!("{} of {MOMENTS} attempts failed: {failures:#?}", failures.len());
    assert!(failures.iter().any(|said| said.contains("No such device")), "none has come to its device");
}
