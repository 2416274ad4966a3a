//! Why a prober cannot start.

use std::{io, net::IpAddr};

use thiserror::Error;

use crate::{ReserveError, time_namespace::TimeNamespaceError};

/// Why a prober cannot start, and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProberError {
    /// Neither kind of ICMP socket is allowed to this process, or not the one that was asked for.
    #[error(
        "no permission for an ICMP socket: allow datagram ones with `sysctl net.ipv4.ping_group_range='0 2147483647'` \
         (it governs IPv6 too, and each network namespace has its own), or raw ones by running as root or with CAP_NET_RAW"
    )]
    Permission(#[source] io::Error),
    /// There is no such interface in this network namespace.
    #[error("no interface {name} in this network namespace; `ip link` lists those that there are")]
    UnknownInterface {
        /// Its name.
        name: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// The payload cannot have this size, or not with this cap.
    #[error(transparent)]
    Payload(#[from] ReserveError),
    /// The payload does not fit into a packet.
    #[error("a payload of {size} bytes does not fit into a packet: use at most {most}")]
    PayloadTooBig {
        /// In bytes.
        size: usize,
        /// The largest possible for the target's IP version, in bytes.
        most: usize,
    },
    /// Source and target are of different IP versions.
    #[error("source {from} and target {target} are of different IP versions")]
    Family {
        /// The source asked for.
        from: IpAddr,
        /// The target.
        target: IpAddr,
    },
    /// The target is a group of hosts.
    #[error("{0} is a multicast address, and an RTT belongs to one host: name a host of the group")]
    Multicast(IpAddr),
    /// The source address is not this host's.
    #[error(
        "cannot send from {address}: is it an address of this host? `ip address` lists them; a link-local one needs an interface"
    )]
    Source {
        /// The address.
        address: IpAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// There is no way to the target.
    #[error("no route to {target}: see `ip route get {target}`; a link-local address needs an interface")]
    Route {
        /// The target.
        target: IpAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// A socket could not be set up.
    #[error("cannot {action} the ICMP socket")]
    Socket {
        /// What was tried: a verb.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The way past the stack could not be set up.
    #[cfg(feature = "afxdp")]
    #[error(transparent)]
    AfXdp(#[from] crate::afxdp::AfXdpError),
    /// The timer could not be set up.
    #[error("cannot make a timer (is the limit of open files reached?)")]
    Timer(#[source] io::Error),
    /// The application's clock cannot be related to the host's.
    #[error(transparent)]
    TimeNamespace(#[from] TimeNamespaceError),
}
