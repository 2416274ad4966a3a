//! The lab itself: everything reaches what it should, and nothing is left.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader, Read},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Output, Stdio},
};

use instamp_tests::{
    lab::{Lab, instamp},
    privilege::{root, tool},
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}: {}{}", output.status, text(&output.stdout), text(&output.stderr));
}

/// Pings once, and waits no longer than a first packet may take.
#[track_caller]
fn reaches(lab: &Lab, role: &str, address: &str, size: &str) {
    let output =
        lab.command(role, "ping").args(["-n", "-c", "1", "-W", "5", "-M", "do", "-s", size, address]).output().unwrap();
    assert!(output.status.success(), "{role} to {address}: {}{}", text(&output.stdout), text(&output.stderr));
}

/// The namespaces of the lab that are there, by name.
fn namespaces(lab: &Lab) -> Vec<String> {
    let prefix = lab.namespace("");
    let entries = fs::read_dir("/run/netns").into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(&prefix))
        .collect()
}

/// Settings of this test's own namespace that a lab sets in others.
fn own_settings() -> Vec<String> {
    const SETTINGS: [&str; 7] = [
        "ipv4/ip_forward",
        "ipv4/ping_group_range",
        "ipv6/conf/all/forwarding",
        "ipv6/conf/all/disable_ipv6",
        "ipv6/conf/default/disable_ipv6",
        "ipv6/conf/default/addr_gen_mode",
        "ipv6/conf/default/accept_ra",
    ];
    SETTINGS.iter().map(|setting| fs::read_to_string(Path::new("/proc/sys/net").join(setting)).unwrap()).collect()
}

fn own_devices() -> Vec<String> {
    let devices = fs::read_to_string("/proc/self/net/dev").unwrap();
    devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

fn own_rules() -> String {
    let output = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    succeeded(&output);
    text(&output.stdout)
}

#[test]
fn every_address_answers_at_once() {
    let (Some(()), Some(())) = (root(), tool("ping")) else { return };
    let lab = Lab::up(&["--containers", "3"]);
    for container in ["c1", "c2", "c3"] {
        let own = [
            "172.29.0.1",
            "fd17:29::1",
            "172.29.0.2",
            "172.29.0.3",
            "172.29.0.4",
            "fd17:29::2",
            "fd17:29::3",
            "fd17:29::4",
        ];
        let wire = ["10.99.0.1", "fd10:99::1", Lab::REMOTE, Lab::REMOTE6];
        for address in own.iter().chain(&wire) {
            reaches(&lab, container, address, "56");
        }
    }
    for address in ["10.99.0.1", "fd10:99::1"] {
        reaches(&lab, "remote", address, "56");
    }
    for address in ["172.29.0.2", "fd17:29::4", Lab::REMOTE, Lab::REMOTE6] {
        reaches(&lab, "host", address, "56");
    }
}

#[test]
fn the_first_packet_into_the_lab_arrives() {
    let (Some(()), Some(())) = (root(), tool("ping")) else { return };
    for (role, address) in [("c1", Lab::REMOTE6), ("c1", Lab::REMOTE), ("remote", "fd10:99::1")] {
        let lab = Lab::up(&[]);
        reaches(&lab, role, address, "56");
    }
}

#[test]
fn jumbo_packets_pass() {
    let (Some(()), Some(())) = (root(), tool("ping")) else { return };
    let lab = Lab::up(&["--mtu", "9000"]);
    reaches(&lab, "c1", Lab::REMOTE, "8972");
    reaches(&lab, "c1", Lab::REMOTE6, "8952");
}

/// The addresses that containers have are not seen on the wire.
#[test]
fn the_host_translates_addresses() {
    let (Some(()), Some(()), Some(())) = (root(), tool("ping"), tool("tcpdump")) else { return };
    let lab = Lab::up(&[]);
    for (destination, filter, source) in
        [(Lab::REMOTE, "icmp", "10.99.0.1 >"), (Lab::REMOTE6, "icmp6 and ip6[40] == 128", "fd10:99::1 >")]
    {
        let mut capture = lab
            .command("remote", "tcpdump")
            .args(["-n", "-l", "-c", "1", "-i", "eth0", filter])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It says when it listens.
        let mut messages = BufReader::new(capture.stderr.take().unwrap());
        let mut message = String::new();
        while !message.contains("listening on") {
            message.clear();
            assert!(messages.read_line(&mut message).unwrap() > 0, "tcpdump ended");
        }
        reaches(&lab, "c1", destination, "56");
        let mut packet = String::new();
        capture.stdout.take().unwrap().read_to_string(&mut packet).unwrap();
        // What it has to say at its end must find a reader.
        messages.read_to_string(&mut message).unwrap();
        assert!(capture.wait().unwrap().success());
        assert!(packet.contains(source), "{packet}");
    }
}

#[test]
fn datagram_sockets_for_icmp_need_no_privilege() {
    let (Some(()), Some(())) = (root(), tool("ping")) else { return };
    let lab = Lab::up(&[]);
    for role in ["host", "remote", "c1"] {
        let range = lab.command(role, "cat").arg("/proc/sys/net/ipv4/ping_group_range").output().unwrap();
        assert_eq!(text(&range.stdout).split_whitespace().collect::<Vec<_>>(), ["0", "2147483647"]);
    }
}

/// `XDP_TX` on `nic0` arrives only where the other end receives through NAPI.
#[test]
fn the_remote_receives_through_napi() {
    let (Some(()), Some(())) = (root(), tool("ethtool")) else { return };
    let lab = Lab::up(&[]);
    let features = lab.command("remote", "ethtool").args(["-k", "eth0"]).output().unwrap();
    assert!(text(&features.stdout).contains("generic-receive-offload: on"), "{features:?}");
}

#[test]
fn json_names_what_can_be_used() {
    let Some(()) = root() else { return };
    let lab = Lab::of_name(&Lab::unique_name());
    let output = instamp().args(["lab", "up", "--json", "--containers", "2", "--name", lab.name()]).output().unwrap();
    succeeded(&output);
    let description: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!({
        "host": lab.namespace("host"),
        "remote": lab.namespace("remote"),
        "containers": [lab.namespace("c1"), lab.namespace("c2")],
        "nic": "nic0",
        "remote_dev": "eth0",
        "remote_address": "10.99.0.2",
        "remote_address6": "fd10:99::2",
    });
    assert_eq!(description, expected);
    // Whole names are understood without the lab's.
    let whole = instamp().args(["lab", "exec", &lab.namespace("c2"), "--", "true"]).output().unwrap();
    succeeded(&whole);
}

#[test]
fn exec_becomes_the_command() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    let output = lab.command("c1", "sh").args(["-c", "readlink /proc/self/ns/net; exit 7"]).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(text(&output.stdout).trim(), own.to_str().unwrap());

    let mut child = lab.command("c1", "cat").arg("/proc/self/stat").stdout(Stdio::piped()).spawn().unwrap();
    let mut stat = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stat).unwrap();
    child.wait().unwrap();
    assert_eq!(stat.split(' ').next().unwrap(), child.id().to_string(), "one process, from instamp to the command");

    // The mounts stay those of the caller: the pinned programs are seen.
    let mounts = lab.command("c1", "readlink").arg("/proc/self/ns/mnt").output().unwrap();
    assert_eq!(text(&mounts.stdout).trim(), fs::read_link("/proc/self/ns/mnt").unwrap().to_str().unwrap());
}

#[test]
fn errors_name_the_remedy() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    let again = instamp().args(["lab", "up", "--name", lab.name()]).output().unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains(&format!("`instamp lab down --name {}`", lab.name())), "{again:?}");
    reaches_nothing_new(&lab);

    let unknown = lab.command("c9", "true").output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("host, remote"), "{unknown:?}");

    let missing = lab.command("c1", "no-such-program").output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("no-such-program"), "{missing:?}");
}

/// The failed second `lab up` has not taken the first one's namespaces with it.
fn reaches_nothing_new(lab: &Lab) {
    let mut there = namespaces(lab);
    there.sort();
    assert_eq!(there, [lab.namespace("c1"), lab.namespace("host"), lab.namespace("remote")]);
    succeeded(&lab.command("c1", "true").output().unwrap());
}

#[test]
fn down_leaves_nothing() {
    let (Some(()), Some(())) = (root(), tool("nft")) else { return };
    let before = (own_settings(), own_devices(), own_rules());
    let lab = Lab::up(&["--containers", "2"]);
    assert_eq!(namespaces(&lab).len(), 4);
    assert_eq!(before, (own_settings(), own_devices(), own_rules()), "while it is up");
    succeeded(&lab.down());
    assert_eq!(namespaces(&lab), [""; 0]);
    assert_eq!(before, (own_settings(), own_devices(), own_rules()), "afterwards");
    // To remove nothing is no error.
    succeeded(&lab.down());
}

#[test]
fn down_says_who_is_still_there() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    let mut cat = lab.command("c1", "cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // What comes back shows that instamp has become cat.
    std::io::Write::write_all(cat.stdin.as_mut().unwrap(), b"!").unwrap();
    cat.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let down = lab.down();
    succeeded(&down);
    assert!(text(&down.stderr).contains(&format!("process {} (cat)", cat.id())), "{down:?}");
    assert_eq!(namespaces(&lab), [""; 0]);
    drop(cat.stdin.take());
    assert!(cat.wait().unwrap().success(), "it was left alone");
}

/// Where one namespace cannot be made, those before it go.
#[test]
fn up_is_all_or_nothing() {
    let Some(()) = root() else { return };
    let lab = Lab::of_name(&Lab::unique_name());
    // Without the tools that it runs, nothing can be completed.
    let output = instamp().args(["lab", "up", "--name", lab.name()]).env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("ethtool"), "{output:?}");
    assert_eq!(namespaces(&lab), [""; 0]);
}

/// Killed at any moment: what is left, `lab down` removes.
#[test]
fn half_made_labs_are_removed() {
    let Some(()) = root() else { return };
    let mut half_made = 0;
    for names in [1, 2, 5, 20, 52] {
        let lab = Lab::of_name(&Lab::unique_name());
        let mut up = instamp()
            .args(["lab", "up", "--containers", "50", "--name", lab.name()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Its own progress is the clock.
        while namespaces(&lab).len() < names && up.try_wait().unwrap().is_none() {}
        up.kill().unwrap();
        half_made += i32::from(!up.wait().unwrap().success());

        succeeded(&lab.down());
        assert_eq!(namespaces(&lab), [""; 0], "killed after {names} namespaces");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&lab.namespace("")), "{mounts}");
    }
    assert!(half_made > 0, "every lab was complete before it was killed");
}

#[test]
fn without_root_the_error_says_so() {
    let Some(()) = root() else { return };
    // Where the command lies, others may not be allowed to look.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("instamp");
    fs::copy(instamp().get_program(), &copy).unwrap();
    let output = Command::new(copy).args(["lab", "down"]).uid(65534).gid(65534).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("sudo"), "{output:?}");
}
