//! The kernel's tables as they are, all at once.

#![expect(clippy::wildcard_enum_match_arm, reason = "of what the kernel tells, most is not asked for")]

use std::io;

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::AddressMessage,
    link::{LinkAttribute, LinkExtentMask, LinkLayerType, LinkMessage},
    neighbour::NeighbourMessage,
    route::RouteMessage,
};

use super::{
    NetworkError,
    decision::{Decider, Device},
    message,
    netlink::Tables,
};

/// How often tables are read that change while they are.
const ATTEMPTS: usize = 10;

/// The device of this name.
pub(super) fn find(tables: &mut Tables, name: &str) -> Result<Device, NetworkError> {
    let mut found = None;
    for _ in 0..ATTEMPTS {
        let each = |answer: RouteNetlinkMessage| {
            if let RouteNetlinkMessage::NewLink(message) = answer
                && message
                    .attributes
                    .iter()
                    .any(|attribute| matches!(attribute, LinkAttribute::IfName(own) if own == name))
            {
                found = Some(message);
            }
        };
        let listed = tables.dump(links(), each).map_err(|source| NetworkError::Read { what: "devices", source })?;
        if found.is_some() || listed {
            break;
        }
    }
    let message = found.ok_or_else(|| NetworkError::NoDevice(name.to_owned()))?;
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    });
    match (message.header.link_layer_type, mac) {
        (LinkLayerType::Ether, Some(mac)) => {
            Ok(Device { index: message.header.index, name: name.to_owned(), mac, mtu: 0, up: false })
        }
        _ => Err(NetworkError::NotEthernet(name.to_owned())),
    }
}

fn links() -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    RouteNetlinkMessage::GetLink(message)
}

fn routes(family: AddressFamily) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    RouteNetlinkMessage::GetRoute(message)
}

/// Reads everything.
pub(super) fn read(tables: &mut Tables, decider: &mut Decider) -> Result<(), NetworkError> {
    for _ in 0..ATTEMPTS {
        decider.forget_all();
        let requests = [
            ("devices", links()),
            ("addresses", RouteNetlinkMessage::GetAddress(AddressMessage::default())),
            ("IPv4 routes", routes(AddressFamily::Inet)),
            ("IPv6 routes", routes(AddressFamily::Inet6)),
            ("neighbours", RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default())),
        ];
        let mut complete = true;
        for (what, request) in requests {
            let each = |answer: RouteNetlinkMessage| {
                if let Some(change) = message::dumped(&answer) {
                    decider.apply(change);
                }
            };
            let listed = tables.dump(request, each).map_err(|source| NetworkError::Read { what, source })?;
            complete &= listed;
        }
        if complete {
            return Ok(());
        }
    }
    let source = io::Error::new(io::ErrorKind::ResourceBusy, "they change all the time");
    Err(NetworkError::Read { what: "tables", source })
}
