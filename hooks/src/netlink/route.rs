//! Devices, addresses, routes and traffic control.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd as _,
};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage, LinkXdp, XdpAttached},
    nsid::{NsidAttribute, NsidMessage},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType},
    tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use super::Netlink;

/// A device as the kernel describes it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) ifindex: u32,
    pub(crate) name: String,
    /// The kind of a software device (`veth`, `bridge`, …); `None` for what has hardware, or claims to.
    pub(crate) kind: Option<String>,
    /// The name of the link layer: `Ether` for Ethernet.
    pub(crate) layer: String,
    /// The address of the link layer; empty where there is none.
    pub(crate) address: Vec<u8>,
    /// Bus and name of the hardware.
    pub(crate) parent: Option<(String, String)>,
    pub(crate) xdp: Option<XdpProgram>,
    /// The other end of a veth that reaches into another network namespace.
    pub(crate) peer: Option<Peer>,
    /// The number of the device of which it is a port: of a bridge, say.
    pub(crate) controller: Option<u32>,
    /// The number of the device that it lies upon, in the same network namespace: of a VLAN, say.
    pub(crate) lower: Option<u32>,
}

/// A device in another network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The number by which this network namespace knows the other.
    pub(crate) namespace: i32,
    pub(crate) ifindex: u32,
}

/// The XDP program of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct XdpProgram {
    pub(crate) id: u32,
    /// Run by the kernel instead of the driver.
    pub(crate) generic: bool,
}

/// A BPF program that is a filter of a `clsact` queueing discipline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) ingress: bool,
    pub(crate) priority: u16,
    pub(crate) handle: u32,
    /// The kernel's number of the program; `None` for filters that are not BPF programs.
    pub(crate) program: Option<u32>,
}

/// An address that is nobody's ([RFC 5737], [RFC 3849]): what is to be sent to it takes the way of what goes outside. Nothing is.
///
/// [RFC 5737]: https://www.rfc-editor.org/rfc/rfc5737#section-3
/// [RFC 3849]: https://www.rfc-editor.org/rfc/rfc3849#section-2
fn outside(from: IpAddr) -> IpAddr {
    match from {
        IpAddr::V4(_) => Ipv4Addr::new(203, 0, 113, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// The devices, addresses, routes and traffic control of the network namespace of this thread.
pub(crate) struct Route {
    netlink: Netlink,
}

impl Route {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open(NETLINK_ROUTE)? })
    }

    pub(crate) fn links(&self) -> io::Result<Vec<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let answers = self.netlink.dump(RouteNetlinkMessage::GetLink(message))?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(message) => Some(Link::from(message)),
                _ => None,
            })
            .collect())
    }

    /// The addresses of all devices. Of a point-to-point device its own end.
    pub(crate) fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(own_addresses(self.all_addresses()?))
    }

    /// Whether a device has an address in a network of several, as hosts have on the devices by which they reach others.
    pub(crate) fn has_network(&self, ifindex: u32) -> io::Result<bool> {
        Ok(self.all_addresses()?.iter().any(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => {
                message.header.index == ifindex && is_in_network(message.header.prefix_len, &message.attributes)
            }
            _ => false,
        }))
    }

    fn all_addresses(&self) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.netlink.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))
    }

    /// The addresses of a device.
    pub(crate) fn addresses_at(&self, ifindex: u32) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.all_addresses()?;
        answers.retain(
            |answer| matches!(answer, RouteNetlinkMessage::NewAddress(message) if message.header.index == ifindex),
        );
        Ok(own_addresses(answers))
    }

    /// The devices of the default routes of the main table, the preferred one first: those of IPv4 before those of IPv6, and
    /// in each route the next hops in their order.
    pub(crate) fn default_devices(&self) -> io::Result<Vec<u32>> {
        let mut devices = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let answers = self.netlink.dump(RouteNetlinkMessage::GetRoute(message))?;
            let mut of_family: Vec<_> = answers.iter().filter_map(default_route).collect();
            of_family.sort_by_key(|(metric, _)| *metric);
            devices.extend(of_family.into_iter().flat_map(|(_, devices)| devices));
        }
        Ok(devices)
    }

    /// The device by which the kernel would forward what comes from an address, by the device `by`, and goes outside. `None` where it
    /// would not.
    pub(crate) fn forwards(&self, from: IpAddr, by: u32) -> io::Result<Option<u32>> {
        let mut message = route_to(outside(from));
        message.header.source_prefix_length = message.header.destination_prefix_length;
        message.attributes.extend([RouteAttribute::Source(RouteAddress::from(from)), RouteAttribute::Iif(by)]);
        self.way(message)
    }

    /// The device by which this host sends to an address, in the VRF of this device if there is one. `None` where it does not: where
    /// the address is its own.
    pub(crate) fn sends(&self, to: IpAddr, vrf: Option<u32>) -> io::Result<Option<u32>> {
        let mut message = route_to(to);
        message.attributes.extend(vrf.map(RouteAttribute::Oif));
        self.way(message)
    }

    fn way(&self, message: RouteMessage) -> io::Result<Option<u32>> {
        let answers = match self.netlink.request(RouteNetlinkMessage::GetRoute(message), 0) {
            // There is no route, or none for such: it says so in many ways.
            Err(error) if error.raw_os_error().is_some() => return Ok(None),
            answers => answers?,
        };
        Ok(answers.iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(route) if route.header.kind == RouteType::Unicast => {
                out_devices(route).first().copied()
            }
            _ => None,
        }))
    }

    /// The number by which this network namespace knows another; `None` where it does not.
    pub(crate) fn number_of(&self, namespace: &File) -> io::Result<Option<i32>> {
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(u32::try_from(namespace.as_raw_fd()).map_err(io::Error::other)?));
        let answers = self.netlink.request(RouteNetlinkMessage::GetNsId(message), 0)?;
        let number = answers.iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewNsId(message) => message.attributes.iter().find_map(|attribute| match attribute {
                NsidAttribute::Id(number) => Some(*number),
                _ => None,
            }),
            _ => None,
        });
        Ok(number.filter(|number| *number >= 0))
    }

    /// The addresses of a device in another network namespace; none where that one is out of reach.
    pub(crate) fn addresses_of(peer: Peer) -> io::Result<Vec<IpAddr>> {
        let netlink = Netlink::open_strict(NETLINK_ROUTE)?;
        let mut message = AddressMessage::default();
        message.header.index = peer.ifindex;
        message.attributes.push(AddressAttribute::TargetNetNsId(peer.namespace));
        match netlink.dump(RouteNetlinkMessage::GetAddress(message)) {
            Ok(answers) => Ok(own_addresses(answers)),
            Err(error) if is_out_of_reach(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The XDP program of a device in another network namespace.
    pub(crate) fn xdp_of(peer: Peer) -> io::Result<Option<XdpProgram>> {
        let netlink = Netlink::open(NETLINK_ROUTE)?;
        let mut message = LinkMessage::default();
        message.header.index = peer.ifindex;
        message.attributes.push(LinkAttribute::IfNetnsId(peer.namespace));
        let answers = netlink.request(RouteNetlinkMessage::GetLink(message), 0)?;
        Ok(answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(message) => Link::from(message).xdp,
            _ => None,
        }))
    }

    /// Whether the device has a `clsact` queueing discipline.
    pub(crate) fn has_clsact(&self, ifindex: u32) -> io::Result<bool> {
        let answers = self.netlink.dump(RouteNetlinkMessage::GetQueueDiscipline(tc_message(ifindex)?))?;
        Ok(answers.iter().any(|answer| match answer {
            RouteNetlinkMessage::NewQueueDiscipline(message) => {
                i64::from(message.header.index) == i64::from(ifindex) && message.attributes.iter().any(is_clsact)
            }
            _ => false,
        }))
    }

    /// Removes the `clsact` queueing discipline and all filters on it.
    pub(crate) fn remove_clsact(&self, ifindex: u32) -> io::Result<()> {
        let mut message = tc_message(ifindex)?;
        message.header.parent = TcHandle::CLSACT;
        message.attributes.push(TcAttribute::Kind("clsact".to_owned()));
        self.netlink.request(RouteNetlinkMessage::DelQueueDiscipline(message), 0)?;
        Ok(())
    }

    /// The filters of the device's `clsact` queueing discipline, none where it has no such.
    pub(crate) fn filters(&self, ifindex: u32) -> io::Result<Vec<Filter>> {
        if !self.has_clsact(ifindex)? {
            return Ok(Vec::new());
        }
        let mut filters = Vec::new();
        for ingress in [true, false] {
            let mut message = tc_message(ifindex)?;
            message.header.parent = hook(ingress);
            for answer in self.netlink.dump(RouteNetlinkMessage::GetTrafficFilter(message))? {
                // A priority without a filter has a message of its own, with handle 0.
                if let RouteNetlinkMessage::NewTrafficFilter(message) = answer
                    && u32::from(message.header.handle) != 0
                {
                    filters.push(filter(ingress, &message));
                }
            }
        }
        Ok(filters)
    }

    pub(crate) fn remove_filter(&self, ifindex: u32, filter: Filter) -> io::Result<()> {
        let mut message = tc_message(ifindex)?;
        message.header.parent = hook(filter.ingress);
        message.header.handle = filter.handle.into();
        message.header.info = u32::from(filter.priority) << 16;
        message.attributes.push(TcAttribute::Kind("bpf".to_owned()));
        self.netlink.request(RouteNetlinkMessage::DelTrafficFilter(message), 0)?;
        Ok(())
    }
}

/// Metric and devices of a default route of the main table.
fn default_route(answer: &RouteNetlinkMessage) -> Option<(u32, Vec<u32>)> {
    let RouteNetlinkMessage::NewRoute(route) = answer else { return None };
    let RouteHeader { destination_prefix_length, table, kind, .. } = route.header;
    if (destination_prefix_length, table, kind) != (0, RouteHeader::RT_TABLE_MAIN, RouteType::Unicast) {
        return None;
    }
    let metric = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    });
    Some((metric.unwrap_or(0), out_devices(route)))
}

/// The question for the route to an address.
fn route_to(address: IpAddr) -> RouteMessage {
    let (address_family, destination_prefix_length) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    let mut message = RouteMessage::default();
    message.header = RouteHeader { address_family, destination_prefix_length, ..RouteHeader::default() };
    message.attributes.push(RouteAttribute::Destination(address.into()));
    message
}

/// By which a route leaves: one device for each next hop.
fn out_devices(route: &RouteMessage) -> Vec<u32> {
    let of = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Oif(device) => vec![*device],
        RouteAttribute::MultiPath(hops) => hops.iter().map(|hop| hop.interface_index).collect(),
        _ => Vec::new(),
    };
    route.attributes.iter().flat_map(of).collect()
}

fn tc_message(ifindex: u32) -> io::Result<TcMessage> {
    Ok(TcMessage::with_index(i32::try_from(ifindex).map_err(io::Error::other)?))
}

fn hook(ingress: bool) -> TcHandle {
    let minor = if ingress { TcHandle::MIN_INGRESS } else { TcHandle::MIN_EGRESS };
    TcHandle { major: TcHandle::CLSACT.major, minor }
}

fn is_clsact(attribute: &TcAttribute) -> bool {
    matches!(attribute, TcAttribute::Kind(kind) if kind == "clsact")
}

fn filter(ingress: bool, message: &TcMessage) -> Filter {
    let options = message.attributes.iter().filter_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    let program = options.flatten().find_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(*id),
        _ => None,
    });
    let [high, low, ..] = message.header.info.to_be_bytes();
    Filter { ingress, priority: u16::from_be_bytes([high, low]), handle: message.header.handle.into(), program }
}

fn own_addresses(answers: Vec<RouteNetlinkMessage>) -> Vec<IpAddr> {
    let addresses = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewAddress(message) => own_address(&message.attributes),
        _ => None,
    });
    addresses.collect()
}

/// Every device has link-local addresses; container engines give the host's ends of veths addresses without a network.
fn is_in_network(length: u8, attributes: &[AddressAttribute]) -> bool {
    own_address(attributes).is_some_and(|address| {
        let is_alone = length == if address.is_ipv4() { 32 } else { 128 };
        !is_alone && !is_link_local(address)
    })
}

/// Whether packets with the address are never forwarded.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Not ours to look into, or gone.
fn is_out_of_reach(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw);
    number.is_some_and(|number| matches!(number, Errno::EPERM | Errno::EACCES | Errno::EINVAL | Errno::ENODEV))
}

/// `IFA_LOCAL` is the own end of a point-to-point device, whose `IFA_ADDRESS` is the peer; IPv6 often has the latter only.
fn own_address(attributes: &[AddressAttribute]) -> Option<IpAddr> {
    let local = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self {
            ifindex: message.header.index,
            name: String::new(),
            kind: None,
            layer: format!("{:?}", message.header.link_layer_type),
            address: Vec::new(),
            parent: None,
            xdp: None,
            peer: None,
            controller: None,
            lower: None,
        };
        let (mut bus, mut parent) = (None, None);
        let (mut namespace, mut other_end) = (None, None);
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(address) => link.address = address,
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = infos.into_iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                }
                LinkAttribute::ParentDevBusName(name) => bus = Some(name),
                LinkAttribute::ParentDevName(name) => parent = Some(name),
                LinkAttribute::LinkNetNsId(id) => namespace = Some(id),
                LinkAttribute::Link(ifindex) => other_end = Some(ifindex),
                LinkAttribute::Controller(ifindex) => link.controller = Some(ifindex),
                LinkAttribute::Xdp(attributes) => link.xdp = xdp_program(&attributes),
                _ => {}
            }
        }
        link.parent = bus.zip(parent);
        // Other kinds of devices use the attribute for what they lie upon.
        if link.kind.as_deref() == Some("veth") {
            link.peer = namespace.zip(other_end).map(|(namespace, ifindex)| Peer { namespace, ifindex });
        } else if namespace.is_none() {
            link.lower = other_end;
        }
        link
    }
}

fn xdp_program(attributes: &[LinkXdp]) -> Option<XdpProgram> {
    let generic = attributes.iter().any(|attribute| matches!(attribute, LinkXdp::Attached(XdpAttached::SocketBuffer)));
    attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => {
            Some(XdpProgram { id: *id, generic })
        }
        _ => None,
    })
}
