//! `instamp watch` beside pings that know nothing of it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{HashMap, HashSet},
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use instamp_tests::{
    capture::{Capture, ECHOES, echoes},
    kernel_stamps::{Exchange, exchanges},
    lab::{Lab, instamp},
    ping::{Run, number},
    privilege::{root, tool},
    prober::now_ns,
    quantiles::median,
    responder::{Answer, Responder},
    watching::{Watching, adds_up, by_number, net_at_capture, network_number, text},
};
use instamp_trailer::checksum::sum_bytes;
use nix::sys::signal::Signal;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

/// How many probes each of several containers sends.
const PROBES: u16 = 40;
/// The length of the payloads of each.
const LENGTHS: [usize; 6] = [40, 42, 44, 46, 48, 50];

/// Who watches sees all pings of the machine: more of them than its table has room for are sent while nobody else watches.
static MACHINE: RwLock<()> = RwLock::new(());

/// What is needed besides root, and the machine, on which others may watch.
fn tools() -> Option<RwLockReadGuard<'static, ()>> {
    needed()?;
    Some(MACHINE.read().unwrap_or_else(PoisonError::into_inner))
}

/// The same, and nobody else.
fn tools_alone() -> Option<RwLockWriteGuard<'static, ()>> {
    needed()?;
    Some(MACHINE.write().unwrap_or_else(PoisonError::into_inner))
}

fn needed() -> Option<()> {
    root()?;
    ["ping", "busybox", "fping", "tcpdump", "nft", "unshare"].iter().try_for_each(|name| tool(name))
}

fn names(lab: &Lab, role: &str) -> String {
    lab.namespace(role)
}

/// A ping in a container, by the words of its command; it has the first number of a process, as in a container of an engine.
fn start(lab: &Lab, role: &str, words: &[&str]) -> Child {
    let mut command = lab.command(role, "unshare");
    command.args(["--pid", "--fork", "--kill-child", "--"]).args(words);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Six containers with three kinds of tools, each kind under one identifier: the host has to translate them. Whose a message of the network
/// is, the capture tells by the length of its payload, which no two share.
fn each_reply_is_its_container_s(target: &str, family: &[&str]) {
    let lab = Lab::up(&["--containers", "6"]);
    let count = PROBES.to_string();
    let sizes = LENGTHS.map(|length| length.to_string());
    let iputils =
        |size| [&["ping", "-n", "-q", "-e", "77", "-i", "0.01", "-c", &count, "-s", size], family, &[target]].concat();
    let busybox =
        |size| [&["busybox", "ping", "-q", "-i", "0.01", "-c", &count, "-s", size], family, &[target]].concat();
    let fping = |size| [&["fping", "-q", "-p", "10", "-c", &count, "-b", size], family, &[target]].concat();
    let commands = [
        iputils(&sizes[0]),
        iputils(&sizes[1]),
        busybox(&sizes[2]),
        busybox(&sizes[3]),
        fping(&sizes[4]),
        fping(&sizes[5]),
    ];

    let watching = Watching::start(&lab, &[]);
    let capture = Capture::start(&lab, "host", Lab::NIC, ECHOES);
    let roles: Vec<String> = (1..=6).map(|container| format!("c{container}")).collect();
    let pings: Vec<Child> = roles.iter().zip(&commands).map(|(role, words)| start(&lab, role, words)).collect();
    for (mut ping, words) in pings.into_iter().zip(&commands) {
        assert!(ping.wait().unwrap().success(), "{words:?}");
    }
    let frames = capture.stop();
    let watched = watching.stop();

    let names: Vec<String> = roles.iter().map(|role| names(&lab, role)).collect();
    let senders: Vec<(&str, usize)> = names.iter().map(String::as_str).zip(LENGTHS).collect();
    let agreement = watched.each_is_its_sender_s(&senders, PROBES, &echoes(&frames));
    agreement.is_near();
    let mut identifiers: HashMap<&str, HashSet<i64>> = HashMap::new();
    for (words, told) in commands.iter().zip(&agreement.told) {
        identifiers.entry(words[0]).or_default().insert(told.identifier);
    }
    assert!(identifiers.values().all(|of| of.len() == 1), "each kind of tool under one: {identifiers:?}");
    let translated: HashSet<i64> = agreement.told.iter().map(|told| told.network_identifier).collect();
    assert_eq!(translated.len(), 6, "each container under its own: {translated:?}");
}

/// Of the host's own pings, as the kernel tells nobody when those of a container pass its uplink.
#[test]
fn net_is_what_the_kernel_tells_a_socket() {
    const PINGS: u16 = 500;
    let Some(_machine) = tools_alone() else { return };
    let lab = Lab::up(&[]);
    let watching = Watching::start(&lab, &[]);
    let exchanges = lab.enter("host", || exchanges(Lab::REMOTE, PINGS));
    let watched = watching.stop();
    let (mut transmits, mut differences, mut nets) = (Vec::new(), Vec::new(), Vec::new());
    for reply in watched.replies() {
        let Some(exchange) = Exchange::of(&exchanges, reply) else { continue };
        let [tx_ns, rx_ns] = ["uplink_tx_ns", "uplink_rx_ns"].map(|name| number(reply, name));
        // The kernel stamps a request behind the program, and a reply before it.
        assert!(tx_ns <= exchange.transmitted_ns + exchange.error_ns, "{reply}: {exchange:?}");
        assert!(exchange.received_ns <= rx_ns + exchange.error_ns, "{reply}: {exchange:?}");
        transmits.push(exchange.transmitted_ns - tx_ns);
        differences.push(number(reply, "net_ns") - exchange.net_ns());
        nets.push(number(reply, "net_ns"));
    }
    assert_eq!(nets.len(), exchanges.len(), "{}", watched.summary());
    let [transmit, difference, net] = [transmits, differences, nets].map(|of| median(&of));
    println!("medians: net is {net} ns, {difference} more than the kernel's, {transmit} of these on the way out");
    assert!(difference * 3 <= net, "net is {net} ns, {difference} ns more than the kernel's");
}

#[test]
fn the_same_identifiers_in_several_containers() {
    let Some(_machine) = tools() else { return };
    each_reply_is_its_container_s(Lab::REMOTE, &["-4"]);
}

#[test]
fn the_same_identifiers_in_several_containers_of_ipv6() {
    let Some(_machine) = tools() else { return };
    each_reply_is_its_container_s(Lab::REMOTE6, &["-6"]);
}

/// How near it is, is for benchmarks to measure.
#[test]
fn net_is_what_a_capture_sees() {
    let Some(_machine) = tools() else { return };
    let lab = Lab::up(&[]);
    let watching = Watching::start(&lab, &[]);
    let capture = Capture::start(&lab, "host", Lab::NIC, ECHOES);
    lab.run("c1", "ping", &["-n", "-q", "-i", "0.002", "-c", "500", Lab::REMOTE]);
    let frames = capture.stop();
    let watched = watching.stop();
    let echoes = echoes(&frames);
    let [requests, replies] = by_number(&echoes);
    let mut differences = Vec::new();
    for reply in watched.replies() {
        let number = network_number(reply);
        let seen = i64::try_from(replies[&number].time_ns - requests[&number].time_ns).unwrap();
        differences.push((net_at_capture(reply) - seen).abs());
    }
    assert_eq!(differences.len(), 500);
    differences.sort_unstable();
    let totals: Vec<i64> = watched.replies().into_iter().map(|reply| number(reply, "total_ns")).collect();
    let totals = median(&totals);
    println!(
        "differences from the capture: p50 {} ns, p95 {} ns; round trip {totals} ns",
        differences[250], differences[475]
    );
    assert!(differences[250] * 5 <= totals, "{differences:?}");
}

#[test]
fn histograms_count_the_replies() {
    const PINGS: usize = 100;
    let Some(_machine) = tools() else { return };
    let lab = Lab::up(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("watch.hlog");
    let watching = Watching::start(&lab, &["--hdr", file.to_str().unwrap()]);
    lab.run("c1", "ping", &["-n", "-q", "-i", "0.01", "-c", &PINGS.to_string(), Lab::REMOTE]);
    let watched = watching.stop();
    let net: Vec<i64> = watched.replies().into_iter().map(|reply| number(reply, "net_ns")).collect();
    assert_eq!(net.len(), PINGS);
    let mut counted = 0;
    for class in watched.summary()["net_histogram"].as_array().unwrap() {
        let [from, below, count] = ["from_ns", "below_ns", "count"].map(|name| number(class, name));
        let inside = net.iter().filter(|net| (from..below).contains(net)).count();
        assert_eq!(i64::try_from(inside), Ok(count), "{class}: {net:?}");
        counted += inside;
    }
    assert_eq!(counted, PINGS);
    // The greatest value is before the histogram itself, to three digits.
    let log = fs::read_to_string(&file).unwrap();
    for name in ["net", "tx_host", "rx_host", "queue", "total"] {
        let line = log.lines().find(|line| line.starts_with(&format!("Tag={name},")));
        let greatest: f64 =
            line.unwrap_or_else(|| panic!("no {name}: {log}")).split(',').nth(3).unwrap().parse().unwrap();
        let told = watched.summary()[format!("{name}_ns")]["max"].as_f64().unwrap();
        assert!((greatest - told).abs() <= told / 1_000.0, "{name}: {greatest} {told}");
    }
}

/// With XDP on the card packets come another way into the kernel, and the hooks write into probes while they are watched.
#[test]
fn beside_hooks() {
    let Some(_machine) = tools() else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    let watching = Watching::start(&lab, &[]);
    let run = Run::new(&lab, "c1", &["-c", "50", "-i", "2ms", Lab::REMOTE]);
    run.all_corrected(50);
    lab.run("c1", "ping", &["-n", "-q", "-i", "0.002", "-c", "50", Lab::REMOTE]);
    let watched = watching.stop();
    assert_eq!(watched.replies().len(), 100, "{watched:?}");
    for (reply, watched) in run.replies().iter().zip(watched.replies()) {
        adds_up(watched);
        assert_eq!(number(reply, "seq"), number(watched, "seq"));
        assert!(number(watched, "total_ns") < number(reply, "rtt_ns"), "inside of what the prober sees: {watched}");
        let driver_tx = reply["stamps"].as_array().unwrap().iter().find(|stamp| stamp["hook"] == "driver-tx").unwrap();
        let times = [number(watched, "uplink_queue_ns"), number(driver_tx, "time_ns"), number(watched, "uplink_rx_ns")];
        assert!(times.is_sorted(), "the same probe: {reply} {watched}");
    }
}

/// What is handed out of one container has nothing of the others' in it, nor of the host's own.
#[test]
fn one_container_alone() {
    let Some(_machine) = tools() else { return };
    let lab = Lab::up(&["--containers", "2"]);
    let namespace = format!("/run/netns/{}", lab.namespace("c1"));
    let watching = Watching::start(&lab, &["--netns", &namespace]);
    for role in ["c2", "host", "c1"] {
        lab.run(role, "ping", &["-n", "-q", "-i", "0.01", "-c", "5", Lab::REMOTE]);
    }
    let watched = watching.stop();
    assert_eq!((watched.of(&names(&lab, "c1")).len(), watched.replies().len()), (5, 5), "{watched:?}");
    assert_eq!(watched.summary()["sent"], 5, "{watched:?}");
}

#[test]
fn the_host_s_own_and_what_it_forwards() {
    let Some(_machine) = tools() else { return };
    let lab = Lab::up(&[]);
    // Translated without the kernel's connection tracking: nobody can tell whose they are.
    lab.run("host", "nft", &["delete", "table", "inet", "lab"]);
    let stateless = "add table ip raw; \
        add chain ip raw early { type filter hook prerouting priority -400; }; \
        add rule ip raw early ip daddr 10.99.0.1 icmp type echo-reply icmp id 78 ip daddr set 172.29.0.2 notrack; \
        add chain ip raw late { type filter hook postrouting priority 300; }; \
        add rule ip raw late ip saddr 172.29.0.2 ip saddr set 10.99.0.1 notrack;";
    lab.run("host", "nft", &[stateless]);
    let watching = Watching::start(&lab, &[]);
    lab.run("host", "ping", &["-n", "-q", "-e", "77", "-i", "0.01", "-c", "3", Lab::REMOTE]);
    lab.run("c1", "ping", &["-n", "-q", "-e", "78", "-i", "0.01", "-c", "3", Lab::REMOTE]);
    let watched = watching.stop();
    for (sender, identifier) in [("host", 77), ("forwarded", 78)] {
        let of = watched.of(sender);
        assert_eq!(of.len(), 3, "{watched:?}");
        for reply in of {
            assert_eq!((number(reply, "identifier"), &reply["tx_host_ns"]), (identifier, &Value::Null), "{reply}");
            assert!(number(reply, "net_ns") > 0, "{reply}");
        }
    }
}

/// Replies are seen at what a macvlan, a VLAN or a bond lies upon.
#[test]
fn uplinks_that_lie_upon_others() {
    let Some(_machine) = tools() else { return };
    let lab = Lab::up(&[]);
    lab.run("host", "ip", &["link", "add", "link", Lab::NIC, "name", "over", "type", "macvlan", "mode", "bridge"]);
    lab.run("host", "ip", &["address", "add", "10.98.0.1/24", "dev", "over"]);
    lab.run("host", "ip", &["link", "set", "over", "up"]);
    let route = lab.run("remote", "ip", &["-o", "route", "get", "10.99.0.1"]);
    let card = route.split(" dev ").nth(1).and_then(|rest| rest.split(' ').next()).expect("the card");
    lab.run("remote", "ip", &["address", "add", "10.98.0.2/24", "dev", card]);
    let watching = Watching::at(&lab, "over", &[]);
    lab.run("host", "ping", &["-n", "-q", "-i", "0.01", "-c", "5", "10.98.0.2"]);
    let watched = watching.stop();
    let of = watched.of("host");
    assert_eq!(of.len(), 5, "{watched:?}");
    assert!(of.iter().all(|reply| reply["device"] == Lab::NIC && number(reply, "net_ns") > 0), "{watched:?}");
}

/// A network namespace behind that of a container, which translates addresses, too.
struct Inner(String);

impl Inner {
    const ADDRESS: &str = "172.31.0.2";

    fn make(lab: &Lab, name: &str) -> Self {
        let inner = Self(format!("{}-{name}", lab.namespace("c1")));
        let ip = |arguments: &str| lab.run("c1", "ip", &arguments.split(' ').collect::<Vec<_>>());
        ip(&format!("netns add {inner}"));
        ip(&format!("link add in0 type veth peer name eth0 netns {inner}"));
        ip("address add 172.31.0.1/24 dev in0");
        ip("link set in0 up");
        ip(&format!("-n {inner} address add {}/24 dev eth0", Self::ADDRESS));
        ip(&format!("-n {inner} link set eth0 up"));
        ip(&format!("-n {inner} route add default via 172.31.0.1"));
        lab.enter("c1", || fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
        let masquerade = "add table ip inner; \
            add chain ip inner late { type nat hook postrouting priority srcnat; }; \
            add rule ip inner late oifname eth0 masquerade;";
        lab.run("c1", "nft", &[masquerade]);
        inner
    }
}

impl std::fmt::Display for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let status = Command::new("ip").args(["netns", "delete", &self.0]).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("{self} is not removed");
        }
    }
}

#[test]
fn a_container_in_a_container() {
    let Some(_machine) = tools() else { return };
    let lab = Lab::up(&[]);
    let inner = Inner::make(&lab, "inner");
    let watching = Watching::start(&lab, &[]);
    let ping = ["netns", "exec", &inner.0, "ping", "-n", "-q", "-i", "0.01", "-c", "5", Lab::REMOTE];
    lab.run("c1", "ip", &ping);
    lab.run("c1", "ping", &["-n", "-q", "-i", "0.01", "-c", "5", Lab::REMOTE]);
    let watched = watching.stop();
    for (sender, source) in [(inner.0.clone(), Inner::ADDRESS), (names(&lab, "c1"), "172.29.0.2")] {
        let of = watched.of(&sender);
        assert_eq!(of.len(), 5, "{sender}: {watched:?}");
        for reply in of {
            adds_up(reply);
            assert_eq!((text(reply, "source"), text(reply, "network_source")), (source, "10.99.0.1"), "{reply}");
        }
    }
}

/// Sends a request by a raw socket and awaits the reply of its number, if there is to be one. Says when it was sent.
fn send(lab: &Lab, role: &str, [identifier, sequence]: [u16; 2], payload: &[u8], is_answered: bool) -> u64 {
    let mut message = [&[8, 0, 0, 0], &identifier.to_be_bytes()[..], &sequence.to_be_bytes(), payload].concat();
    let checksum = !sum_bytes(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    lab.enter(role, || {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
        let socket = std::net::UdpSocket::from(socket);
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let sent_ns = now_ns();
        socket.send_to(&message, SocketAddr::new(Lab::REMOTE.parse().unwrap(), 0)).unwrap();
        let mut buffer = [0; 2_048];
        let number = [identifier.to_be_bytes(), sequence.to_be_bytes()].concat();
        let mut is_awaited = is_answered;
        while is_awaited {
            let length = socket.recv(&mut buffer).expect("a reply");
            let message = &buffer[usize::from(buffer[0] & 0xf) * 4..length];
            is_awaited = message[0] != 0 || message[4..8] != number;
        }
        sent_ns
    })
}

/// A request is lost, and another one of its number is answered.
#[test]
fn what_cannot_be_told_apart_is_called_ambiguous() {
    let Some(_machine) = tools() else { return };
    let lab = Lab::up(&["--containers", "2"]);
    lab.run(
        "remote",
        "nft",
        &["add table ip silence; add chain ip silence input { type filter hook input priority 0; };"],
    );
    let silent = |is_silent: bool| {
        let rule = if is_silent { "add rule ip silence input drop" } else { "flush chain ip silence input" };
        lab.run("remote", "nft", &[rule]);
    };
    let watching = Watching::start(&lab, &[]);
    let lost = |role, number, payload| {
        silent(true);
        send(&lab, role, number, payload, false);
        silent(false);
    };
    let (some, other) = ([1; 32], [2; 32]);
    lost("c1", [77, 1], &some);
    send(&lab, "c1", [77, 1], &some, true);
    // Their payloads tell them apart.
    lost("c1", [77, 2], &some);
    let sent_ns = send(&lab, "c1", [77, 2], &other, true);
    // And so do their containers.
    lost("c1", [77, 3], &some);
    send(&lab, "c2", [77, 3], &some, true);
    let watched = watching.stop();

    let told = |reply: &&Value| (text(reply, "sender").to_owned(), number(reply, "seq"), reply["ambiguous"] == true);
    let expected = [(names(&lab, "c1"), 1, true), (names(&lab, "c1"), 2, false), (names(&lab, "c2"), 3, false)];
    assert_eq!(watched.replies().iter().map(told).collect::<Vec<_>>(), expected);
    let [first, second, _] = watched.replies().try_into().unwrap();
    assert_eq!((&first["net_ns"], &first["total_ns"]), (&Value::Null, &Value::Null), "{first}");
    assert!(number(second, "sender_tx_ns").cast_unsigned() >= sent_ns, "the times are the second one's: {second}");
    assert_eq!(watched.summary()["ambiguous"], 1, "{watched:?}");
}

/// Two requests of one flow are answered the other way round: the times of the older one are gone, and the newer one's are its own.
#[test]
fn a_late_reply_to_the_older_one_takes_not_the_newer_one_s() {
    const DELAY: Duration = Duration::from_millis(300);
    let Some(_machine) = tools() else { return };
    let lab = Lab::up(&[]);
    let asked = AtomicU16::new(0);
    // Each first one is answered before each second one, which is sent before that.
    let responder = Responder::start(&lab, Lab::REMOTE, move |_| {
        let is_first = asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        Answer { delay: if is_first { DELAY } else { DELAY * 2 }, ..Answer::PLAIN }
    });
    let watching = Watching::start(&lab, &[]);
    for (role, sequence) in [("host", 1), ("c1", 2)] {
        send(&lab, role, [77, sequence], &[1; 32], false);
        send(&lab, role, [77, sequence], &[2; 32], true);
        // The first reply has this number, too.
        send(&lab, role, [77, sequence + 10], &[3; 32], true);
        send(&lab, role, [77, sequence + 20], &[3; 32], true);
    }
    let watched = watching.stop();
    drop(responder);
    for (sender, sequence) in [("host".to_owned(), 1), (names(&lab, "c1"), 2)] {
        let of = watched.of(&sender);
        let of: Vec<_> = of.iter().filter(|reply| number(reply, "seq") == sequence).collect();
        let ambiguous: Vec<_> = of.iter().map(|reply| reply["ambiguous"] == true).collect();
        assert_eq!(ambiguous, [true, false], "{watched:?}");
        assert_eq!(of[0]["net_ns"], Value::Null, "{}", of[0]);
        assert!(number(of[1], "net_ns") >= i64::try_from((DELAY * 2).as_nanos()).unwrap(), "{}", of[1]);
    }
}

/// A later network namespace may get the inode of one that is gone.
#[test]
fn a_container_that_follows_another_is_another() {
    let Some(_machine) = tools() else { return };
    let lab = Lab::up(&[]);
    let mut watching = Watching::start(&lab, &[]);
    let mut expected = Vec::new();
    for name in ["first", "second", "third"] {
        let inner = Inner::make(&lab, name);
        let ping = ["netns", "exec", &inner.0, "ping", "-n", "-q", "-i", "0.01", "-c", "2", Lab::REMOTE];
        lab.run("c1", "ip", &ping);
        // Names are looked for while they are there.
        let output = watching.await_replies(2);
        assert!(output.iter().all(|reply| reply["sender"] == *inner.0), "{output:?}");
        expected.push(inner.0.clone());
        // With its namespace it would go a moment later.
        lab.run("c1", "ip", &["link", "delete", "in0"]);
    }
    let watched = watching.stop();
    let senders = watched.senders().into_iter();
    let mut counted: Vec<_> = senders.map(|sender| (text(sender, "sender"), number(sender, "sent"))).collect();
    counted.sort_unstable();
    assert_eq!(counted, expected.iter().map(|name| (&**name, 2)).collect::<Vec<_>>(), "{watched:?}");
}

/// What is answered makes room: requests that wait keep theirs as long as there is some.
#[test]
fn free_room_is_used_first() {
    const ANSWERED: u16 = 60_000;
    const WAITING: u16 = 200;
    let Some(_machine) = tools_alone() else { return };
    let lab = Lab::up(&[]);
    lab.run(
        "remote",
        "nft",
        &["add table ip silence; add chain ip silence input { type filter hook input priority 0; };"],
    );
    lab.run("remote", "nft", &["add rule ip silence input icmp id 79 drop"]);
    let watching = Watching::start(&lab, &["-q"]);
    send_all(&lab, 79, WAITING);
    send_all(&lab, 80, ANSWERED);
    send_all(&lab, 81, ANSWERED);
    let watched = watching.stop();
    assert_eq!(watched.summary()["sent"], u64::from(WAITING) + 2 * u64::from(ANSWERED), "{watched:?}");
    assert_eq!(watched.summary()["evicted"], 0, "{watched:?}");
}

/// Sends that many requests of the host under one identifier, as fast as can be.
fn send_all(lab: &Lab, identifier: u16, count: u16) {
    lab.enter("host", || {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
        let to = SocketAddr::new(Lab::REMOTE.parse().unwrap(), 0).into();
        for sequence in 0..count {
            let mut message = [0; 40];
            message[0] = 8;
            message[4..6].copy_from_slice(&identifier.to_be_bytes());
            message[6..8].copy_from_slice(&sequence.to_be_bytes());
            let checksum = !sum_bytes(&message);
            message[2..4].copy_from_slice(&checksum.to_be_bytes());
            socket.send_to(&message, &to).unwrap();
        }
    });
}

/// More requests than the table holds are never answered, and what is answered then is told nevertheless.
#[test]
fn the_table_is_bounded() {
    const UNANSWERED: u32 = 100_000;
    const TABLE: u64 = 65_536;
    let Some(_machine) = tools_alone() else { return };
    let lab = Lab::up(&[]);
    lab.run(
        "remote",
        "nft",
        &["add table ip silence; add chain ip silence input { type filter hook input priority 0; };"],
    );
    lab.run("remote", "nft", &["add rule ip silence input icmp id 79-82 drop"]);
    let watching = Watching::start(&lab, &[]);
    lab.enter("host", || {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
        let to = SocketAddr::new(Lab::REMOTE.parse().unwrap(), 0).into();
        for number in 0..UNANSWERED {
            let mut message = [0; 40];
            message[0] = 8;
            let [_, high, sequence @ ..] = number.to_be_bytes();
            message[5] = 79 + high;
            message[6..8].copy_from_slice(&sequence);
            let checksum = !sum_bytes(&message);
            message[2..4].copy_from_slice(&checksum.to_be_bytes());
            socket.send_to(&message, &to).unwrap();
        }
    });
    lab.run("c1", "ping", &["-n", "-q", "-i", "0.002", "-c", "100", Lab::REMOTE]);
    let watched = watching.stop();
    let of_container = watched.of(&names(&lab, "c1"));
    assert_eq!(of_container.len(), 100, "{:?}", watched.summary());
    assert!(of_container.iter().all(|reply| number(reply, "net_ns") > 0 && reply["ambiguous"] == false));
    let summary = watched.summary();
    assert_eq!(summary["sent"], UNANSWERED + 100, "{summary}");
    let evicted = summary["evicted"].as_u64().unwrap();
    assert!((u64::from(UNANSWERED) - TABLE..=UNANSWERED.into()).contains(&evicted), "{summary}");
}

/// Each reply comes so late as its number says, and behind others.
#[test]
fn replies_out_of_order() {
    let Some(_machine) = tools() else { return };
    let lab = Lab::up(&[]);
    let delay = |sequence: u16| Duration::from_millis(u64::from(sequence * 7 % 11) * 4);
    let responder =
        Responder::start(&lab, Lab::REMOTE, move |sequence| Answer { delay: delay(sequence), ..Answer::PLAIN });
    let watching = Watching::start(&lab, &["-c", "50"]);
    lab.run("c1", "ping", &["-n", "-q", "-i", "0.005", "-c", "50", Lab::REMOTE]);
    let watched = watching.wait();
    drop(responder);
    let sequences: Vec<i64> = watched.replies().into_iter().map(|reply| number(reply, "seq")).collect();
    assert!(!sequences.is_sorted() && sequences.len() == 50, "{sequences:?}");
    for reply in watched.replies() {
        let delay = delay(u16::try_from(number(reply, "seq")).unwrap());
        assert!(number(reply, "net_ns") >= i64::try_from(delay.as_nanos()).unwrap(), "{delay:?}: {reply}");
    }
}

/// The numbers of the kernel's objects that a process holds, of this kind.
fn held(pid: u32, kind: &str) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let infos = entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap_or_default());
    infos.filter_map(|info| Some(info.lines().find_map(|line| line.strip_prefix(kind))?.trim().to_owned())).collect()
}

#[test]
fn killed_it_leaves_nothing() {
    let (Some(_machine), Some(())) = (tools(), tool("bpftool")) else { return };
    let lab = Lab::up(&[]);
    let mut watching = Watching::start(&lab, &[]);
    let kinds = [("link", "link_id:"), ("map", "map_id:")];
    let held: Vec<(&str, String)> = kinds
        .iter()
        .flat_map(|(object, kind)| held(watching.pid(), kind).into_iter().map(move |number| (*object, number)))
        .collect();
    let count = |kind| held.iter().filter(|(object, _)| *object == kind).count();
    assert!(count("link") >= 5 && count("map") > 0, "{held:?}");
    watching.signal(Signal::SIGKILL);
    drop(watching);
    for (object, number) in held {
        let is_there =
            || Command::new("bpftool").args([object, "show", "id", &number]).output().unwrap().status.success();
        // The kernel lets go of them a moment later.
        let started = Instant::now();
        while is_there() {
            assert!(started.elapsed() < Duration::from_secs(60), "{object} {number} is left");
        }
    }
}

/// A kernel whose types do not have the record of a connection: its tracking is a module, and not loaded.
#[test]
fn what_is_translated_unseen_is_said_before() {
    const NOTICE: &str = "nf_conntrack is not loaded";
    let Some(_machine) = tools() else { return };
    let lab = Lab::up(&[]);
    let mut types = fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let (known, unknown) = (b"\0nf_conn\0", b"\0nf_none\0");
    let Some(place) = types.windows(known.len()).position(|bytes| bytes == known) else {
        // The lab's translation has loaded the module: there are no more types to hide. CI's kernels are not asked to be others.
        println!("nothing to hide: the types of connection tracking are a module's");
        return;
    };
    types[place..][..unknown.len()].copy_from_slice(unknown);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("types");
    fs::write(&file, types).unwrap();
    let mut without = lab.command("host", "unshare");
    let script = "mount --bind \"$0\" /sys/kernel/btf/vmlinux && exec \"$@\"";
    without.args(["--mount", "sh", "-c", script]).arg(&file).arg(instamp().get_program());
    for (mut command, sender) in [(without, "forwarded".to_owned()), (lab.instamp("host"), names(&lab, "c1"))] {
        let said = folder.path().join("said");
        command.stderr(fs::File::create(&said).unwrap());
        let watching = Watching::of(command, &[]);
        let is_said = fs::read_to_string(&said).unwrap().contains(NOTICE);
        lab.run("c1", "ping", &["-n", "-q", "-i", "0.01", "-c", "3", Lab::REMOTE]);
        let watched = watching.stop();
        assert_eq!((watched.of(&sender).len(), is_said), (3, sender == "forwarded"), "{sender}: {watched:?}");
    }
}

#[test]
fn mistakes_are_told() {
    let Some(_machine) = tools() else { return };
    let lab = Lab::up(&[]);
    for (options, expected) in [
        (&["--dev", "eth9"][..], "no device eth9 in this network namespace"),
        (&[], "no default route in this network namespace: name the device by which probes leave with `--dev`"),
        (&["--dev", Lab::NIC, "--netns", "/etc/passwd"], "is no network namespace"),
        (&["--dev", Lab::NIC, "--netns", "/proc/self/ns/mnt"], "is no network namespace"),
    ] {
        let output = lab.instamp("host").arg("watch").args(options).output().unwrap();
        let messages = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{messages}");
        assert!(messages.contains(expected), "{messages}");
    }
}
