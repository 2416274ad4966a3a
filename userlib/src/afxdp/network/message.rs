//! From the kernel's messages to changes.

#![expect(clippy::wildcard_enum_match_arm, reason = "of what the kernel tells, most is not asked for")]

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope},
    link::{LinkAttribute, LinkFlags, LinkMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RoutePreference, RouteType, RouteVia,
    },
};

use super::{
    addresses::{Address, Scope, scope_v6},
    decision::Change,
    neighbours::Knowledge,
    routes::{Action, Kind, Path, Placement, Prefix, Route, TableId},
};

/// The change that a message with these flags tells of; `None` where it does not matter here.
pub(super) fn change(message: &RouteNetlinkMessage, flags: u16) -> Option<Change> {
    match message {
        RouteNetlinkMessage::NewRoute(message) => Some(Change::RouteAdded(route(message)?, placement(flags))),
        RouteNetlinkMessage::DelRoute(message) => Some(Change::RouteRemoved(route(message)?)),
        RouteNetlinkMessage::NewAddress(message) => {
            Some(Change::AddressPut { device: message.header.index, address: address(message)? })
        }
        RouteNetlinkMessage::DelAddress(message) => {
            Some(Change::AddressRemoved { device: message.header.index, address: address(message)? })
        }
        RouteNetlinkMessage::NewLink(message) => link(message),
        RouteNetlinkMessage::DelLink(message) if is_device(message) => {
            Some(Change::LinkGone { device: message.header.index })
        }
        RouteNetlinkMessage::NewNeighbour(message) => neighbour(message, knowledge(message)),
        RouteNetlinkMessage::DelNeighbour(message) => neighbour(message, Knowledge::Nothing),
        _ => None,
    }
}

/// A dump has routes in their order: each is the last so far.
pub(super) fn dumped(message: &RouteNetlinkMessage) -> Option<Change> {
    change(message, NLM_F_APPEND)
}

fn placement(flags: u16) -> Placement {
    if flags & NLM_F_REPLACE != 0 {
        Placement::Replace
    } else if flags & NLM_F_APPEND != 0 {
        Placement::Last
    } else {
        Placement::First
    }
}

fn route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    // Entries of caches, and routes for some packets only.
    if header.flags.contains(RouteFlags::Cloned) || header.tos != 0 || header.source_prefix_length != 0 {
        return None;
    }
    let mut destination = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let mut table = u32::from(header.table);
    let (mut metric, mut preference, mut source) = (0, 1, None);
    let mut hops = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(address) => destination = ip(address)?,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::PrefSource(address) => source = ip(address),
            RouteAttribute::Preference(RoutePreference::High) => preference = 0,
            RouteAttribute::Preference(RoutePreference::Low) => preference = 2,
            RouteAttribute::MultiPath(several) => hops = Some(several),
            _ => {}
        }
    }
    let kind = kind(header.kind)?;
    let paths = match hops {
        Some(hops) => hops.iter().map(path_of_several).collect(),
        None => path(&message.attributes).into_iter().collect(),
    };
    Some(Route {
        table: TableId::from_number(table)?,
        prefix: Prefix { address: destination, length: header.destination_prefix_length },
        metric,
        preference,
        action: Action { kind, source, paths },
    })
}

fn kind(kind: RouteType) -> Option<Kind> {
    match kind {
        RouteType::Unicast => Some(Kind::Unicast),
        // An anycast address is one of this host's, too.
        RouteType::Local | RouteType::Anycast => Some(Kind::Local),
        RouteType::Broadcast => Some(Kind::Broadcast),
        RouteType::Multicast => Some(Kind::Multicast),
        RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => Some(Kind::Unreachable),
        RouteType::Throw => Some(Kind::Throw),
        _ => None,
    }
}

fn path(attributes: &[RouteAttribute]) -> Option<Path> {
    let device = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(device) => Some(*device),
        _ => None,
    });
    Some(path_by(device?, attributes))
}

fn path_of_several(hop: &RouteNextHop) -> Path {
    path_by(hop.interface_index, &hop.attributes)
}

fn path_by(device: u32, attributes: &[RouteAttribute]) -> Path {
    let gateway = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    });
    let encapsulated =
        attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::EncapType(_) | RouteAttribute::Encap(_)));
    Path { device, gateway, encapsulated }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

fn address(message: &AddressMessage) -> Option<Address> {
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    // IFA_LOCAL is the own end of a point-to-point device, whose IFA_ADDRESS is the peer; IPv6 often has the latter only.
    let (mut local, mut other) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => other = Some(*address),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    let address = local.or(other)?;
    let scope = match (address, message.header.scope) {
        (IpAddr::V6(address), _) => scope_v6(address),
        (IpAddr::V4(_), AddressScope::Universe | AddressScope::Site) => Scope::Global,
        (IpAddr::V4(_), AddressScope::Link) => Scope::Link,
        // Further scopes of the user's own lie between site and link.
        (IpAddr::V4(_), AddressScope::Other(_)) => Scope::Global,
        (IpAddr::V4(_), _) => Scope::Host,
    };
    let tentative = flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic);
    Some(Address {
        address,
        prefix_length: message.header.prefix_len,
        scope,
        secondary: flags.contains(AddressFlags::Secondary),
        deprecated: flags.contains(AddressFlags::Deprecated),
        unusable: tentative || flags.contains(AddressFlags::Dadfailed),
    })
}

/// Not news of a bridge about one of its ports.
fn is_device(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

fn link(message: &LinkMessage) -> Option<Change> {
    if !is_device(message) {
        return None;
    }
    let (mut mac, mut mtu, mut name) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => mac = bytes.as_slice().try_into().ok(),
            LinkAttribute::Mtu(bytes) => mtu = Some(*bytes),
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            _ => {}
        }
    }
    let up = message.header.flags.contains(LinkFlags::Up);
    Some(Change::Link { device: message.header.index, up, mac, mtu, name })
}

fn neighbour(message: &NeighbourMessage, knowledge: Knowledge) -> Option<Change> {
    let next_hop = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })?;
    Some(Change::Neighbour { device: message.header.ifindex, next_hop, knowledge })
}

fn knowledge(message: &NeighbourMessage) -> Knowledge {
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    });
    match (message.header.state, mac) {
        (NeighbourState::Permanent | NeighbourState::Noarp, Some(mac)) => Knowledge::Known { mac, fixed: true },
        (
            NeighbourState::Reachable | NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe,
            Some(mac),
        ) => Knowledge::Known { mac, fixed: false },
        (NeighbourState::Failed, _) => Knowledge::Failed,
        (NeighbourState::Incomplete, _) => Knowledge::Asked,
        _ => Knowledge::Nothing,
    }
}
