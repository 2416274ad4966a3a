//! What a lab looks like, and how it is made: all of it, or nothing.
//!
//! ```text
//!  c1  eth0 ---- veth-c1 .                                        host: masquerades the
//!  c2  eth0 ---- veth-c2 .- br0  172.29.0.1    nic0  10.99.0.1    containers' packets, as
//!  ...                         fd17:29::1            fd10:99::1   container engines do
//!      172.29.0.2 ...                           |
//!      fd17:29::2 ...                          eth0  10.99.0.2
//!                                    remote          fd10:99::2
//! ```

use std::{
    fmt, fs,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Deref,
    os::fd::AsFd,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{
    namespace::{self, Namespace},
    netlink::Netlink,
};

/// As many as a network of 8 bits has addresses for, less the host's.
pub(super) const MAX_CONTAINERS: u8 = 253;

const NIC: &str = "nic0";
const BRIDGE: &str = "br0";
/// The one device of the containers and of the remote.
const UPLINK: &str = "eth0";

const LENGTH: u8 = 24;
const LENGTH6: u8 = 64;
/// The host's number in every network.
const HOST: u8 = 1;
const REMOTE: u8 = 2;

/// The wire between host and remote.
fn wire(number: u8) -> (Ipv4Addr, Ipv6Addr) {
    (Ipv4Addr::new(10, 99, 0, number), Ipv6Addr::new(0xfd10, 0x99, 0, 0, 0, 0, 0, number.into()))
}

/// The bridge between host and containers.
fn bridge(number: u8) -> (Ipv4Addr, Ipv6Addr) {
    (Ipv4Addr::new(172, 29, 0, number), Ipv6Addr::new(0xfd17, 0x29, 0, 0, 0, 0, 0, number.into()))
}

/// A station's addresses with the lengths of their prefixes. The link-local one, which neighbour discovery asks from,
/// is set by hand: the kernel's own would be usable only later.
fn addresses((v4, v6): (Ipv4Addr, Ipv6Addr)) -> [(IpAddr, u8); 3] {
    let [.., number] = v6.segments();
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number);
    [(v4.into(), LENGTH), (v6.into(), LENGTH6), (link_local.into(), LENGTH6)]
}

/// A lab to be made.
pub(super) struct Topology<'a> {
    lab: &'a str,
    containers: u8,
    mtu: u16,
}

/// A lab that is there, as `lab up --json` prints it.
#[derive(Serialize)]
pub(super) struct Description {
    host: String,
    remote: String,
    containers: Vec<String>,
    nic: &'static str,
    remote_dev: &'static str,
    remote_address: Ipv4Addr,
    remote_address6: Ipv6Addr,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, remote, containers, nic, remote_dev, remote_address, remote_address6 } = self;
        writeln!(f, "  host    {nic} and the bridge {BRIDGE}, namespace {host}")?;
        writeln!(f, "  remote  {remote_dev} {remote_address} {remote_address6}, namespace {remote}")?;
        for (number, container) in (HOST + 1..).zip(containers) {
            let (v4, v6) = bridge(number);
            writeln!(f, "  {:7} {UPLINK} {v4} {v6}, namespace {container}", self::container(number - HOST))?;
        }
        Ok(())
    }
}

impl<'a> Topology<'a> {
    /// At most [`MAX_CONTAINERS`]; the MTU in bytes, of every device.
    pub(super) fn new(lab: &'a str, containers: u8, mtu: u16) -> Self {
        Self { lab, containers, mtu }
    }

    /// Makes the lab. Every address is usable when this returns; where it fails, nothing is left.
    pub(super) fn build(&self) -> Result<Description> {
        // The host first: its name is the lock against a second `lab up`.
        let host = self.create("host")?;
        let remote = self.create("remote")?;
        let containers =
            (1..=self.containers).map(|number| self.create(&container(number))).collect::<Result<Vec<_>>>()?;

        self.make_devices(&host, &remote, &containers)?;
        configure_remote(&remote)?;
        for (number, container) in (HOST + 1..).zip(&containers) {
            configure_container(container, number)?;
        }
        configure_host(&host)?;

        let (remote_address, remote_address6) = wire(REMOTE);
        Ok(Description {
            host: host.keep(),
            remote: remote.keep(),
            containers: containers.into_iter().map(Unfinished::keep).collect(),
            nic: NIC,
            remote_dev: UPLINK,
            remote_address,
            remote_address6,
        })
    }

    /// An empty namespace, with the settings that devices take over when they are made.
    fn create(&self, role: &str) -> Result<Unfinished> {
        let namespace = Unfinished { namespace: Namespace::create(namespace::name(self.lab, role))?, is_kept: false };
        namespace.enter(|| {
            // Every group may open datagram sockets for ICMP, as in common distributions and container engines.
            set("net/ipv4/ping_group_range", "0 2147483647")?;
            for scope in ["all", "default"] {
                set(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "0")?;
            }
            // No addresses and no packets but the lab's own: see `addresses`.
            set("net/ipv6/conf/default/addr_gen_mode", "1")?;
            set("net/ipv6/conf/default/accept_ra", "0")?;
            Netlink::run(async |netlink| netlink.set_up("lo").await)
        })?;
        Ok(namespace)
    }

    /// Makes every device. Those of the host are up then, but for the bridge.
    fn make_devices(&self, host: &Namespace, remote: &Namespace, containers: &[Unfinished]) -> Result<()> {
        let remote = remote.open()?;
        let containers = containers.iter().map(|container| container.open()).collect::<Result<Vec<_>>>()?;
        host.enter(|| {
            Netlink::run(async |netlink| {
                // The bridge first: the kernel takes up to a second to see a veth's carrier where both ends have the
                // same index, and the other ends are all the first device of their namespaces.
                netlink.add_bridge(BRIDGE, self.mtu).await?;
                netlink.add_veth(NIC, None, UPLINK, remote.as_fd(), self.mtu).await?;
                for (number, namespace) in (1..).zip(&containers) {
                    let port = format!("veth-{}", container(number));
                    netlink.add_veth(&port, Some(BRIDGE), UPLINK, namespace.as_fd(), self.mtu).await?;
                }
                Ok(())
            })
        })
    }
}

fn container(number: u8) -> String {
    format!("c{number}")
}

fn configure_remote(remote: &Namespace) -> Result<()> {
    remote.enter(|| {
        // Puts the receive path of this end into NAPI mode: without it a veth takes nothing from XDP_TX of the other.
        tool("ethtool", "ethtool", &["-K", UPLINK, "gro", "on"], "")?;
        configure_uplink(&addresses(wire(REMOTE)), &[])
    })
}

fn configure_container(container: &Namespace, number: u8) -> Result<()> {
    let (gateway, gateway6) = bridge(HOST);
    container.enter(|| configure_uplink(&addresses(bridge(number)), &[gateway.into(), gateway6.into()]))
}

fn configure_uplink(addresses: &[(IpAddr, u8)], gateways: &[IpAddr]) -> Result<()> {
    Netlink::run(async |netlink| {
        netlink.set_up(UPLINK).await?;
        netlink.wait_until_up().await?;
        netlink.add_addresses(UPLINK, addresses).await?;
        for &gateway in gateways {
            netlink.add_default_route(gateway).await?;
        }
        Ok(())
    })
}

fn configure_host(host: &Namespace) -> Result<()> {
    host.enter(|| {
        set("net/ipv4/ip_forward", "1")?;
        set("net/ipv6/conf/all/forwarding", "1")?;
        tool("nftables", "nft", &["-f", "-"], &masquerading())?;
        Netlink::run(async |netlink| {
            // Not before its ports: a bridge without a live one loses its carrier, and gets it back up to a second later.
            netlink.set_up(BRIDGE).await?;
            netlink.wait_until_up().await?;
            netlink.add_addresses(NIC, &addresses(wire(HOST))).await?;
            netlink.add_addresses(BRIDGE, &addresses(bridge(HOST))).await
        })
    })
}

/// The rules of nftables that container engines make: containers reach everything, under the host's address, and are
/// reached only by replies.
fn masquerading() -> String {
    let (network, network6) = bridge(0);
    format!(
        "table inet lab {{
            chain postrouting {{
                type nat hook postrouting priority srcnat
                oifname != {BRIDGE} ip saddr {network}/{LENGTH} masquerade
                oifname != {BRIDGE} ip6 saddr {network6}/{LENGTH6} masquerade
            }}
            chain forward {{
                type filter hook forward priority filter; policy drop
                ct state established,related accept
                iifname {BRIDGE} accept
            }}
        }}"
    )
}

/// Sets a parameter of the calling thread's network namespace.
fn set(parameter: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{parameter}");
    fs::write(&path, value).with_context(|| format!("cannot write `{value}` to {path}"))
}

/// Runs a tool of this Debian package in the calling thread's network namespace.
fn tool(package: &str, program: &str, arguments: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{program}`; on Debian, `apt-get install {package}` brings it"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that ends without reading says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| format!("cannot wait for `{program}`"))?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{program} {}`: {}: {}", arguments.join(" "), output.status, message.trim());
    Ok(())
}

/// A namespace that is removed when it is dropped, unless it is kept.
struct Unfinished {
    namespace: Namespace,
    is_kept: bool,
}

impl Unfinished {
    /// Keeps the namespace, and returns its name.
    fn keep(mut self) -> String {
        self.is_kept = true;
        self.namespace.name().to_owned()
    }
}

impl Deref for Unfinished {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = self.namespace.remove()
        {
            eprintln!("instamp: {error:#}");
        }
    }
}
