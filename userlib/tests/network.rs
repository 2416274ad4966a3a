//! Where packets go that pass the kernel's stack by: against the kernel's own tables, in network namespaces.

mod common;

use std::{
    fs::File,
    net::IpAddr,
    path::Path,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use common::skip;
use instamp::afxdp::network::{Hop, Network, NetworkError, NoHop};
use nix::{
    sched::{CloneFlags, setns},
    unistd::geteuid,
};

/// The device under test, and the one that is not.
const NIC: &str = "nic";
const OTHER: &str = "other";
/// Their other ends, in the peer's namespace.
const FAR: &str = "far";
const FAR_OTHER: &str = "farother";

/// A host with two devices, whose other ends are a peer's.
struct World {
    host: Namespace,
    peer: Namespace,
}

impl World {
    /// `None`, said loudly, without the privilege to make one.
    fn new() -> Option<Self> {
        if !geteuid().is_root() {
            skip("needs root");
            return None;
        }
        let world = Self { host: Namespace::new(), peer: Namespace::new() };
        for (device, far, number) in [(NIC, FAR, "78"), (OTHER, FAR_OTHER, "79")] {
            world.host.ip(&format!("link add {device} type veth peer name {far} netns {}", world.peer.name));
            for (namespace, device, last) in [(&world.host, device, 1), (&world.peer, far, 2)] {
                // No addresses of the kernel's own, which come when they come.
                namespace.ip(&format!("link set {device} addrgenmode none"));
                namespace.ip(&format!("addr add 10.{number}.0.{last}/24 dev {device}"));
                namespace.ip(&format!("addr add fd{number}::{last}/64 dev {device} nodad"));
                namespace.ip(&format!("addr add fe80::{last}/64 dev {device} nodad"));
                namespace.ip(&format!("link set {device} up"));
            }
        }
        for namespace in [&world.host, &world.peer] {
            while !namespace.ip("-6 addr show tentative").is_empty() {
                thread::yield_now();
            }
        }
        Some(world)
    }

    fn network(&self) -> Network {
        self.host.enter(|| Network::open(NIC)).expect("a network")
    }

    /// The MAC address of a device, by the word of others than us.
    fn mac(namespace: &Namespace, device: &str) -> [u8; 6] {
        let text = namespace.ip(&format!("-oneline link show {device}"));
        let mut words = text.split_whitespace().skip_while(|word| *word != "link/ether");
        let bytes = words.nth(1).expect("a MAC address").split(':');
        let bytes: Vec<u8> = bytes.map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect();
        bytes.try_into().expect("six bytes")
    }

    /// From the device under test to the peer's.
    fn hop(&self, source: &str) -> Hop {
        Hop {
            source: address(source),
            source_mac: Self::mac(&self.host, NIC),
            destination_mac: Self::mac(&self.peer, FAR),
        }
    }
}

/// A network namespace.
struct Namespace {
    name: String,
}

impl Namespace {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("inw-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name]);
        Self { name }
    }

    /// Runs `act` in the namespace, on a thread of its own.
    fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let file = File::open(Path::new("/run/netns").join(&self.name)).expect("the namespace has a name");
        let inside = || {
            setns(&file, CloneFlags::CLONE_NEWNET).expect("root may enter a network namespace");
            act()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    #[track_caller]
    fn ip(&self, arguments: &str) -> String {
        self.enter(|| run("ip", &arguments.split_whitespace().collect::<Vec<_>>()))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("a program");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// What has been told so far.
fn now(network: &mut Network, target: &str) -> Result<Hop, NoHop> {
    network.poll().expect("the kernel tells");
    network.resolve(address(target))
}

/// Waits until the decision is one that `is_it` awaits.
fn until(network: &mut Network, target: &str, is_it: impl Fn(&Result<Hop, NoHop>) -> bool) -> Result<Hop, NoHop> {
    loop {
        let decision = now(network, target);
        if is_it(&decision) {
            return decision;
        }
        thread::yield_now();
    }
}

/// The decision once the next hop has answered.
fn resolved(network: &mut Network, target: &str) -> Result<Hop, NoHop> {
    until(network, target, |decision| !matches!(decision, Err(NoHop::Unresolved { .. })))
}

#[test]
fn resolves_on_the_link_and_through_a_gateway() {
    let Some(world) = World::new() else { return };
    world.host.ip("route add default via 10.78.0.2 dev nic");
    world.host.ip("-6 route add default via fe80::2 dev nic");
    let mut network = world.network();
    assert_eq!(network.device().name, NIC);
    assert_eq!(network.device().mtu, 1500);
    assert_eq!(network.device().mac, World::mac(&world.host, NIC));
    for (target, next_hop, source) in [
        ("10.78.0.2", "10.78.0.2", "10.78.0.1"),
        ("192.0.2.9", "10.78.0.2", "10.78.0.1"),
        ("fd78::2", "fd78::2", "fd78::1"),
        ("2001:db8::9", "fe80::2", "fd78::1"),
        ("fe80::2", "fe80::2", "fe80::1"),
    ] {
        let first = now(&mut network, target);
        let known = first == Ok(world.hop(source));
        assert!(known || first == Err(NoHop::Unresolved { next_hop: address(next_hop) }), "{target}: {first:?}");
        assert_eq!(resolved(&mut network, target), Ok(world.hop(source)), "{target}");
    }
}

#[test]
fn knows_what_is_resolved_already() {
    let Some(world) = World::new() else { return };
    world.host.ip("neigh add 10.78.0.2 lladdr 02:00:00:00:00:99 dev nic nud permanent");
    let mut network = world.network();
    let hop = network.resolve(address("10.78.0.2")).expect("known");
    assert_eq!(hop.destination_mac, [2, 0, 0, 0, 0, 0x99]);
    assert!(world.host.ip("neigh show dev nic").contains("PERMANENT"), "and stays so");
}

#[test]
fn refuses_what_does_not_leave_by_the_device() {
    let Some(world) = World::new() else { return };
    world.host.ip("link set lo up");
    world.host.ip("route add 198.51.100.0/24 via 10.78.0.2");
    world.host.ip("route add 198.51.100.128/25 via 10.79.0.2");
    world.host.ip("route add unreachable 198.51.100.7");
    let mut network = world.network();
    for (target, reason) in [
        ("10.79.0.2", NoHop::NoRoute),
        ("fd79::2", NoHop::NoRoute),
        ("8.8.8.8", NoHop::NoRoute),
        ("198.51.100.129", NoHop::NoRoute),
        ("198.51.100.7", NoHop::NoRoute),
        ("10.78.0.1", NoHop::Local),
        ("10.79.0.1", NoHop::Local),
        ("127.0.0.1", NoHop::Local),
        ("::1", NoHop::Local),
        ("fd78::1", NoHop::Local),
        ("fe80::1", NoHop::Local),
        ("10.78.0.255", NoHop::Broadcast),
        ("224.0.0.1", NoHop::Multicast),
        ("ff02::1", NoHop::Multicast),
    ] {
        assert_eq!(now(&mut network, target), Err(reason), "{target}");
    }
    assert_eq!(resolved(&mut network, "198.51.100.1"), Ok(world.hop("10.78.0.1")));
}

#[test]
fn takes_the_source_that_the_route_or_the_user_wants() {
    let Some(world) = World::new() else { return };
    world.host.ip("addr add 10.78.0.77/32 dev nic");
    world.host.ip("route add 192.0.2.0/24 via 10.78.0.2 src 10.78.0.77");
    let mut network = world.network();
    assert_eq!(resolved(&mut network, "192.0.2.1"), Ok(world.hop("10.78.0.77")));
    assert_eq!(resolved(&mut network, "10.78.0.2"), Ok(world.hop("10.78.0.1")));
    network.set_source(address("10.79.0.1"));
    assert_eq!(resolved(&mut network, "192.0.2.1"), Ok(world.hop("10.79.0.1")));
}

#[test]
fn follows_routes() {
    let Some(world) = World::new() else { return };
    let mut network = world.network();
    assert_eq!(now(&mut network, "192.0.2.1"), Err(NoHop::NoRoute));
    // What `ip` has done has been told when it returns.
    world.host.ip("route add default via 10.78.0.2");
    assert_eq!(resolved(&mut network, "192.0.2.1"), Ok(world.hop("10.78.0.1")));
    world.host.ip("route add 192.0.2.0/24 via 10.79.0.2");
    assert_eq!(now(&mut network, "192.0.2.1"), Err(NoHop::NoRoute));
    world.host.ip("route replace 192.0.2.0/24 via 10.78.0.2");
    assert_eq!(now(&mut network, "192.0.2.1"), Ok(world.hop("10.78.0.1")));
    world.host.ip("route add 192.0.2.0/24 via 10.79.0.2 metric 7");
    assert_eq!(now(&mut network, "192.0.2.1"), Ok(world.hop("10.78.0.1")), "the other metric is worse");
    world.host.ip("route del 192.0.2.0/24 via 10.78.0.2");
    assert_eq!(now(&mut network, "192.0.2.1"), Err(NoHop::NoRoute));
    world.host.ip("route replace 192.0.2.0/24 metric 7 nexthop via 10.79.0.2 nexthop via 10.78.0.2");
    assert_eq!(now(&mut network, "192.0.2.1"), Ok(world.hop("10.78.0.1")));
    world.host.ip("link set other down");
    assert_eq!(now(&mut network, "192.0.2.1"), Ok(world.hop("10.78.0.1")));
    assert_eq!(now(&mut network, "10.79.0.9"), Ok(world.hop("10.78.0.1")), "by the default route");
}

#[test]
fn follows_next_hops_of_ipv6() {
    let Some(world) = World::new() else { return };
    let mut network = world.network();
    assert_eq!(now(&mut network, "2001:db8::1"), Err(NoHop::NoRoute));
    world.host.ip("-6 route add 2001:db8::/32 via fe80::2 dev other");
    assert_eq!(now(&mut network, "2001:db8::1"), Err(NoHop::NoRoute));
    world.host.ip("-6 route append 2001:db8::/32 via fe80::2 dev nic");
    assert_eq!(resolved(&mut network, "2001:db8::1"), Ok(world.hop("fd78::1")));
    world.host.ip("-6 route del 2001:db8::/32 via fe80::2 dev nic");
    assert_eq!(now(&mut network, "2001:db8::1"), Err(NoHop::NoRoute));
    world.host.ip("-6 route replace 2001:db8::/32 nexthop via fe80::2 dev nic nexthop via fe80::2 dev other");
    assert_eq!(now(&mut network, "2001:db8::1"), Ok(world.hop("fd78::1")));
}

#[test]
fn follows_next_hops_as_objects() {
    let Some(world) = World::new() else { return };
    let mut network = world.network();
    world.host.ip("nexthop add id 7 via 10.78.0.2 dev nic");
    world.host.ip("route add 192.0.2.0/24 nhid 7");
    assert_eq!(resolved(&mut network, "192.0.2.1"), Ok(world.hop("10.78.0.1")));
    world.host.ip("nexthop replace id 7 via 10.79.0.2 dev other");
    assert_eq!(now(&mut network, "192.0.2.1"), Err(NoHop::NoRoute));
    world.host.ip("nexthop del id 7");
    assert_eq!(now(&mut network, "192.0.2.1"), Err(NoHop::NoRoute));
}

#[test]
fn routes_over_the_other_family() {
    let Some(world) = World::new() else { return };
    world.host.ip("route add 192.0.2.0/24 via inet6 fe80::2 dev nic");
    let mut network = world.network();
    assert_eq!(resolved(&mut network, "192.0.2.1"), Ok(world.hop("10.78.0.1")));
}

#[test]
fn follows_the_neighbour() {
    let Some(world) = World::new() else { return };
    let mut network = world.network();
    assert_eq!(resolved(&mut network, "10.78.0.2"), Ok(world.hop("10.78.0.1")));
    world.peer.ip("link set far address 02:00:00:00:00:42");
    world.host.ip("neigh replace 10.78.0.2 lladdr 02:00:00:00:00:42 dev nic nud reachable");
    let changed = now(&mut network, "10.78.0.2").expect("a hop");
    assert_eq!(changed.destination_mac, [2, 0, 0, 0, 0, 0x42]);
    // What is deleted is asked for again.
    world.host.ip("neigh del 10.78.0.2 dev nic");
    assert_eq!(now(&mut network, "10.78.0.2"), Err(NoHop::Unresolved { next_hop: address("10.78.0.2") }));
    assert_eq!(resolved(&mut network, "10.78.0.2"), Ok(world.hop("10.78.0.1")));
}

#[test]
fn a_neighbour_that_does_not_answer_fails() {
    let Some(world) = World::new() else { return };
    // One question, answered or not at once.
    world.host.ip("ntable change name arp_cache dev nic mcast_probes 1 retrans 10");
    let mut network = world.network();
    assert_eq!(resolved(&mut network, "10.78.0.99"), Err(NoHop::Failed { next_hop: address("10.78.0.99") }));
    world.peer.ip("addr add 10.78.0.99/24 dev far");
    assert_eq!(until(&mut network, "10.78.0.99", Result::is_ok), Ok(world.hop("10.78.0.1")), "asked again");
}

#[test]
fn has_stale_neighbours_confirmed() {
    let Some(world) = World::new() else { return };
    world.host.ip("ntable change name arp_cache dev nic delay_probe 10 retrans 10 ucast_probes 1 mcast_probes 1");
    world.host.ip("neigh add 10.78.0.2 lladdr 02:00:00:00:00:42 dev nic nud stale");
    let mut network = world.network();
    let stale = now(&mut network, "10.78.0.2").expect("stale ones are used");
    assert_eq!(stale.destination_mac, [2, 0, 0, 0, 0, 0x42]);
    // Nobody has that MAC address any more: the kernel finds out once it is made to look.
    assert_ne!(until(&mut network, "10.78.0.2", |decision| *decision != Ok(stale)), Ok(stale));
    assert_eq!(until(&mut network, "10.78.0.2", Result::is_ok), Ok(world.hop("10.78.0.1")));
}

#[test]
fn follows_addresses() {
    let Some(world) = World::new() else { return };
    world.host.ip("-6 route add default via fe80::2 dev nic");
    let mut network = world.network();
    assert_eq!(resolved(&mut network, "2001:db8::1"), Ok(world.hop("fd78::1")));
    world.host.ip("addr add 2001:db8:78::1/64 dev nic nodad");
    // Which the kernel lets be used a little later.
    let same_label = Ok(world.hop("2001:db8:78::1"));
    assert_eq!(until(&mut network, "2001:db8::1", |decision| *decision == same_label), same_label);
    world.host.ip("addr change 2001:db8:78::1/64 dev nic preferred_lft 0");
    assert_eq!(now(&mut network, "2001:db8::1"), Ok(world.hop("fd78::1")), "not a deprecated one");
    world.host.ip("addr del fd78::1/64 dev nic");
    world.host.ip("addr del 2001:db8:78::1/64 dev nic");
    assert_eq!(now(&mut network, "2001:db8::1"), Err(NoHop::NoSource));
    // Its subnet goes with the address.
    world.host.ip("addr del 10.78.0.1/24 dev nic");
    assert_eq!(now(&mut network, "10.78.0.2"), Err(NoHop::NoRoute));
}

#[test]
fn a_route_goes_with_its_preferred_source() {
    let Some(world) = World::new() else { return };
    world.host.ip("addr add 10.80.0.1/32 dev other");
    world.host.ip("route add 192.0.2.0/24 via 10.78.0.2 src 10.80.0.1");
    let mut network = world.network();
    assert_eq!(resolved(&mut network, "192.0.2.1"), Ok(world.hop("10.80.0.1")));
    world.host.ip("addr del 10.80.0.1/32 dev other");
    assert!(!world.host.ip("route show").contains("192.0.2.0"), "which the kernel does not tell");
    assert_eq!(now(&mut network, "192.0.2.1"), Err(NoHop::NoRoute));
}

#[test]
fn follows_the_device() {
    let Some(world) = World::new() else { return };
    let mut network = world.network();
    assert_eq!(resolved(&mut network, "10.78.0.2"), Ok(world.hop("10.78.0.1")));
    world.host.ip("link set nic address 02:00:00:00:00:43 mtu 1400");
    assert_eq!(resolved(&mut network, "10.78.0.2"), Ok(world.hop("10.78.0.1")));
    assert_eq!((network.device().mac, network.device().mtu), ([2, 0, 0, 0, 0, 0x43], 1400));
    world.host.ip("link set nic down");
    assert_eq!(now(&mut network, "10.78.0.2"), Err(NoHop::Down));
    world.host.ip("link set nic up");
    assert_eq!(until(&mut network, "10.78.0.2", Result::is_ok), Ok(world.hop("10.78.0.1")));
    world.host.ip("link del nic");
    assert_eq!(now(&mut network, "10.78.0.2"), Err(NoHop::Down));
}

#[test]
fn reads_everything_again_where_news_were_lost() {
    let Some(world) = World::new() else { return };
    let mut network = world.network();
    assert_eq!(resolved(&mut network, "10.78.0.2"), Ok(world.hop("10.78.0.1")));
    // More than any buffer holds, and a change that was among the lost.
    let mut batch = String::new();
    for round in 0..20 {
        let verb = if round % 2 == 0 { "add" } else { "del" };
        for number in 0..2_000 {
            batch.push_str(&format!("route {verb} 172.{}.{}.0/24 via 10.78.0.2\n", 16 + number / 256, number % 256));
        }
    }
    batch.push_str("route add 192.0.2.0/24 via 10.78.0.2\n");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("batch");
    std::fs::write(&file, batch).expect("a file");
    world.host.enter(|| run("ip", &["-batch", file.to_str().expect("a name")]));
    assert_eq!(resolved(&mut network, "192.0.2.1"), Ok(world.hop("10.78.0.1")));
    assert_eq!(now(&mut network, "172.16.1.1"), Err(NoHop::NoRoute));
}

#[test]
fn says_what_cannot_be_opened() {
    let Some(world) = World::new() else { return };
    let open = |device| world.host.enter(|| Network::open(device)).expect_err("no network");
    assert!(matches!(open("nothere"), NetworkError::NoDevice(name) if name == "nothere"));
    assert!(matches!(open("lo"), NetworkError::NotEthernet(name) if name == "lo"));
}
