//! Errors that users make: exit codes, and messages that name the cause and the remedy.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    process::{Command, Output},
};

use instamp_tests::{
    lab::{Lab, instamp},
    privilege::{root, tool},
    unprivileged::Unprivileged,
};

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// Ends as it should, and says each of `parts` on standard error.
#[track_caller]
fn ends(command: &mut Command, code: i32, parts: &[&str]) -> Output {
    let output = command.output().unwrap();
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is missing: {message}");
    }
    output
}

/// Fails with one line that says each of `parts`, and does nothing else.
#[track_caller]
fn fails(command: &mut Command, parts: &[&str]) {
    let output = ends(command, 2, parts);
    // Other tests run commands too.
    let lines = text(&output.stderr).lines().filter(|line| !line.contains("waiting for another command"));
    assert_eq!((lines.count(), text(&output.stdout)), (1, ""), "{output:?}");
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

#[test]
fn without_permission_for_a_socket() {
    let (Some(()), Some(())) = (root(), tool("setpriv")) else { return };
    let lab = Lab::up(&[]);
    let nobody = Unprivileged::new();
    let ping = |options: &[&str]| nobody.command(&lab, "c1", &[&["ping", "-c", "1", "-W", "5"], options].concat());
    // An ordinary container allows all groups what is needed.
    for destination in [Lab::REMOTE, Lab::REMOTE6] {
        ends(&mut ping(&[destination]), 0, &[]);
        fails(&mut ping(&["--socket", "raw", destination]), &["no permission for an ICMP socket", "CAP_NET_RAW"]);
    }
    lab.enter("c1", || fs::write("/proc/sys/net/ipv4/ping_group_range", "1 0").unwrap());
    for destination in [Lab::REMOTE, Lab::REMOTE6] {
        for socket in ["auto", "dgram"] {
            fails(
                &mut ping(&["--socket", socket, destination]),
                &["no permission for an ICMP socket", "sysctl net.ipv4.ping_group_range=", "CAP_NET_RAW"],
            );
        }
    }
}

#[test]
fn without_the_right_to_attach() {
    let (Some(()), Some(())) = (root(), tool("setpriv")) else { return };
    let lab = Lab::up(&[]);
    let nobody = Unprivileged::new();
    fails(
        &mut nobody.command(&lab, "host", &["attach", "--dev", Lab::NIC]),
        &["not permitted", "run as root", "CAP_SYS_ADMIN"],
    );
}

#[test]
fn without_a_bpf_file_system() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for arguments in [&["attach", "--dev", Lab::NIC][..], &["detach", "--all"], &["status"]] {
        fails(
            with(lab.instamp("host"), arguments).env("INSTAMP_BPFFS", path),
            &["no BPF file system", &format!("mount -t bpf -o mode=700 bpf {path}"), "INSTAMP_BPFFS"],
        );
    }
}

/// Which has a /sys of its own, without the mounts on the other.
#[test]
fn inside_of_ip_netns_exec() {
    let (Some(()), Some(()), Some(())) = (root(), tool("ip"), tool("nsenter")) else { return };
    let lab = Lab::up(&[]);
    let namespace = lab.namespace("host");
    let program = instamp();
    let status = |mut command: Command, arguments: &[&str]| {
        command.args(arguments).arg(program.get_program()).arg("status").env_remove("INSTAMP_BPFFS");
        command
    };
    let remedy = &["no BPF file system", "ip netns exec", "nsenter --net=/run/netns/NAME"];
    fails(&mut status(Command::new("ip"), &["netns", "exec", &namespace]), remedy);
    ends(&mut status(Command::new("nsenter"), &[&format!("--net=/run/netns/{namespace}")]), 0, &[]);
}

#[test]
fn without_hooks_the_ping_works_and_says_so_once() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    let hint = "uncorrected: no stamps; is `instamp attach` active on the egress device?";
    let output = ends(&mut with(lab.instamp("c1"), &["ping", "-c", "3", "-i", "10ms", Lab::REMOTE]), 0, &[hint]);
    assert_eq!(text(&output.stderr).matches(hint).count(), 1);
    assert_eq!(text(&output.stdout).matches("uncorrected=no-stamps").count(), 3, "{output:?}");
    assert!(text(&output.stdout).contains("corrected 0 of 3"), "{output:?}");
}

/// Somebody takes hooks off behind our back.
#[test]
fn with_half_of_the_hooks_the_ping_says_which_is_missing() {
    let (Some(()), Some(())) = (root(), tool("tc")) else { return };
    for (lost, uncorrected, hint) in [
        ("tc-egress", "no-request-stamp", "no stamp on the request; is the egress of this host stamped?"),
        ("tc-ingress", "no-reply-stamp", "no stamp on the reply; is the ingress of this host stamped?"),
    ] {
        let lab = Lab::up(&[]);
        lab.attach("host", &["--dev", Lab::NIC, "--ingress", "tc", "--tc", "clsact"]);
        let direction = lost.trim_start_matches("tc-");
        lab.run("host", "tc", &["filter", "delete", "dev", Lab::NIC, direction]);

        let mut ping = with(lab.instamp("c1"), &["ping", "-c", "2", "-i", "10ms", Lab::REMOTE]);
        let output = ends(&mut ping, 0, &[hint]);
        assert_eq!(text(&output.stdout).matches(&format!("uncorrected={uncorrected}")).count(), 2, "{output:?}");
        let status = with(lab.instamp("host"), &["status"]).output().unwrap();
        let line = text(&status.stdout).lines().find(|line| line.contains(lost)).unwrap();
        assert!(line.contains("off"), "{line}");
    }
}

#[test]
fn devices_that_are_not_there_or_not_attached() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    let host = |arguments: &[&str]| with(lab.instamp("host"), arguments);
    fails(&mut host(&["attach", "--dev", "nope"]), &["no device nope", "nic0", "veth-c1"]);
    fails(&mut host(&["attach", "--dev", "lo"]), &["lo is not an Ethernet device", "attach to the Ethernet device"]);
    fails(&mut host(&["detach", "--dev", Lab::NIC]), &["nic0 is not attached"]);
    fails(&mut host(&["attach", "--dev", Lab::NIC, "--update"]), &["nic0 is not attached"]);
    fails(&mut host(&["ping", "-I", "nope", Lab::REMOTE]), &["no interface nope", "ip link"]);
    ends(&mut host(&["detach", "--all"]), 0, &[]);

    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    fails(
        &mut host(&["attach", "--dev", Lab::NIC]),
        &[
            "nic0 is attached already",
            "xdp-ingress",
            "instamp attach --update",
            "to be different",
            "instamp detach --dev nic0",
        ],
    );
    fails(&mut host(&["detach", "--dev", "nope"]), &["nope", "nic0"]);
}

#[test]
fn destinations_that_cannot_be_reached() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    let remote = |arguments: &[&str]| with(lab.instamp("remote"), &[&["ping", "-c", "1"], arguments].concat());
    // The name is reserved for names that do not exist: RFC 6761.
    fails(&mut remote(&["host.invalid"]), &["cannot resolve host.invalid", "/etc/resolv.conf", "use an address"]);
    fails(&mut remote(&["-6", "10.99.0.1"]), &["10.99.0.1 has no IPv6 address", "-4 and -6"]);
    fails(&mut remote(&["192.0.2.1"]), &["no route to 192.0.2.1", "ip route get 192.0.2.1"]);
    fails(&mut remote(&["2001:db8::1"]), &["no route to 2001:db8::1"]);
    fails(&mut remote(&["-I", "192.0.2.1", "10.99.0.1"]), &["cannot send from 192.0.2.1", "ip address"]);
    // An address that nobody has: errors or silence, but no reply.
    ends(&mut remote(&["-W", "100ms", "10.99.0.77"]), 1, &[]);
    ends(&mut remote(&["10.99.0.1"]), 0, &[]);
}
