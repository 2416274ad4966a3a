//! From a target to what its frame has to say: routes, addresses and neighbours put together. No I/O.

use std::{net::IpAddr, time::Duration};

use thiserror::Error;

use super::{
    addresses::{Address, Addresses, Class},
    neighbours::{Knowledge, Mac, Neighbours},
    routes::{Kind, Placement, Route, Routes, Way},
};

/// Where the frame of a packet goes, and as what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The packet's source address.
    pub source: IpAddr,
    /// The MAC address of the device.
    pub source_mac: [u8; 6],
    /// The MAC address of the target, or of the gateway to it.
    pub destination_mac: [u8; 6],
}

/// Why a packet cannot be sent by the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NoHop {
    /// The device is down, or gone.
    #[error("the device is down: `ip link set DEVICE up`")]
    Down,
    /// No route leads to the target, or the best one leaves by another device.
    #[error("the best route to it does not leave by this device: choose the device that `ip route get ADDRESS` names")]
    NoRoute,
    /// The device has no address that the packet could have as its source.
    #[error("the device has no address for packets to it: choose a source address")]
    NoSource,
    /// The MAC address of the next hop is not known yet. It has been asked for, or will be once fewer questions are under
    /// way: try again.
    #[error("the MAC address of {next_hop} is not known yet")]
    Unresolved {
        /// The target or its gateway.
        next_hop: IpAddr,
    },
    /// The next hop did not say what its MAC address is. It is asked for again from time to time.
    #[error("{next_hop} does not answer on the link")]
    Failed {
        /// The target or its gateway.
        next_hop: IpAddr,
    },
    /// The target is an address of this host.
    #[error("it is an address of this host")]
    Local,
    /// The target is all hosts of a subnet.
    #[error("it is a broadcast address")]
    Broadcast,
    /// The target is a group of hosts.
    #[error("it is a multicast address")]
    Multicast,
}

/// What changed, by the kernel's word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    RouteAdded(Route, Placement),
    RouteRemoved(Route),
    AddressPut {
        device: u32,
        address: Address,
    },
    AddressRemoved {
        device: u32,
        address: Address,
    },
    Link {
        device: u32,
        up: bool,
        mac: Option<Mac>,
        mtu: Option<u32>,
        name: Option<String>,
    },
    LinkGone {
        device: u32,
    },
    Neighbour {
        device: u32,
        next_hop: IpAddr,
        knowledge: Knowledge,
    },
    /// Told in a way from which the change itself cannot be seen.
    Unclear,
}

/// The device that packets leave by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Its number in the network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// The most bytes of a packet, without the link layer's header.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
}

/// A decision that stays until something changes.
#[derive(Clone, Copy, Debug)]
struct Remembered {
    class: Class,
    next_hop: IpAddr,
    preferred: Option<IpAddr>,
    generation: u64,
    place: usize,
    hop: Hop,
}

/// The decision for a target that stays until anything changes.
#[derive(Clone, Copy, Debug)]
struct Last {
    target: IpAddr,
    next_hop: IpAddr,
    place: usize,
    hop: Hop,
}

/// How many decisions are remembered: one for each gateway, and for a few on-link targets.
const REMEMBERED: usize = 64;

/// All that decides.
#[derive(Debug)]
pub(super) struct Decider {
    device: Device,
    pub(super) routes: Routes,
    pub(super) addresses: Addresses,
    pub(super) neighbours: Neighbours,
    /// Counts changes of what was remembered.
    generation: u64,
    remembered: Box<[Option<Remembered>; REMEMBERED]>,
    /// Of the last target: one alone is probed again and again, and the longest of three tables' prefixes takes a while to find.
    last: Option<Last>,
}

impl Decider {
    pub(super) fn new(device: Device) -> Self {
        Self {
            device,
            routes: Routes::default(),
            addresses: Addresses::default(),
            neighbours: Neighbours::default(),
            generation: 0,
            remembered: Box::new([None; REMEMBERED]),
            last: None,
        }
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn fix_source(&mut self, source: IpAddr) {
        self.addresses.fix(source);
        self.generation += 1;
        self.last = None;
    }

    /// Everything is about to be told again.
    pub(super) fn forget_all(&mut self) {
        self.routes = Routes::default();
        self.addresses.clear();
        self.neighbours.forget_all();
        self.device.up = false;
        self.generation += 1;
        self.last = None;
    }

    #[inline]
    pub(super) fn resolve(&mut self, target: IpAddr, now: Duration) -> Result<Hop, NoHop> {
        if let Some(last) = &self.last
            && last.target == target
            && self.neighbours.use_again(last.next_hop, last.place)
        {
            return Ok(last.hop);
        }
        self.decide(target, now)
    }

    fn decide(&mut self, target: IpAddr, now: Duration) -> Result<Hop, NoHop> {
        if !self.device.up {
            return Err(NoHop::Down);
        }
        let (next_hop, preferred) = self.next_hop(target)?;
        let class = Class::of(target);
        let slot = slot(next_hop);
        if let Some(Some(known)) = self.remembered.get(slot)
            && known.generation == self.generation
            && known.next_hop == next_hop
            && known.class == class
            && known.preferred == preferred
            && self.neighbours.use_again(next_hop, known.place)
        {
            self.last = Some(Last { target, next_hop, place: known.place, hop: known.hop });
            return Ok(known.hop);
        }
        let source = self.addresses.source(class, next_hop, preferred).ok_or(NoHop::NoSource)?;
        let (knowledge, place) = self.neighbours.find(next_hop, now);
        let destination_mac = match knowledge {
            Knowledge::Known { mac, .. } => mac,
            Knowledge::Nothing | Knowledge::Asked => return Err(NoHop::Unresolved { next_hop }),
            Knowledge::Failed => return Err(NoHop::Failed { next_hop }),
        };
        let hop = Hop { source, source_mac: self.device.mac, destination_mac };
        if let Some(free) = self.remembered.get_mut(slot) {
            *free = Some(Remembered { class, next_hop, preferred, generation: self.generation, place, hop });
        }
        Ok(hop)
    }

    /// The next hop of a target, and the source that its route wants.
    fn next_hop(&self, target: IpAddr) -> Result<(IpAddr, Option<IpAddr>), NoHop> {
        match target {
            IpAddr::V4(address) if address.is_broadcast() => return Err(NoHop::Broadcast),
            _ if target.is_multicast() => return Err(NoHop::Multicast),
            // The kernel takes it for this host.
            _ if target.is_unspecified() => return Err(NoHop::Local),
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
        match self.routes.way(target, self.device.index) {
            Way::Local => Err(NoHop::Local),
            Way::Broadcast => Err(NoHop::Broadcast),
            Way::Multicast => Err(NoHop::Multicast),
            // On the device's own link, whatever routes other links have for the same addresses.
            _ if Class::of(target) == Class::V6Link => Ok((target, None)),
            Way::Via { gateway, source } => Ok((gateway.unwrap_or(target), source)),
            Way::NotByThisDevice => Err(NoHop::NoRoute),
        }
    }

    /// Whether something of this device or its routes changed; `None` where all must be read again.
    pub(super) fn apply(&mut self, change: Change) -> Option<bool> {
        self.last = None;
        let changed = match change {
            Change::RouteAdded(route, placement) => {
                self.routes.add(route, placement);
                // The way is looked up each time.
                return Some(true);
            }
            Change::RouteRemoved(route) => {
                let address = (route.action.kind == Kind::Local).then_some(route.prefix.address);
                self.routes.remove(&route);
                if let Some(address) = address {
                    self.routes.forget_source(address);
                }
                return Some(true);
            }
            Change::AddressPut { device, address } if device == self.device.index => {
                self.addresses.put(address);
                true
            }
            Change::AddressRemoved { device, address } if device == self.device.index => {
                self.addresses.remove(&address);
                true
            }
            Change::Neighbour { device, next_hop, knowledge } if device == self.device.index => {
                self.neighbours.tell(next_hop, knowledge)
            }
            Change::Link { device, up, mac, mtu, name } => {
                self.routes.set_up(device, up);
                device == self.device.index && self.set_link(up, mac, mtu, name)
            }
            Change::LinkGone { device } => {
                self.routes.forget_device(device);
                if device == self.device.index {
                    self.device.up = false;
                }
                device == self.device.index
            }
            Change::AddressPut { .. } | Change::AddressRemoved { .. } | Change::Neighbour { .. } => false,
            Change::Unclear => return None,
        };
        self.generation += u64::from(changed);
        Some(changed)
    }

    fn set_link(&mut self, up: bool, mac: Option<Mac>, mtu: Option<u32>, name: Option<String>) -> bool {
        let before = self.device.clone();
        self.device.up = up;
        self.device.mac = mac.unwrap_or(before.mac);
        self.device.mtu = mtu.unwrap_or(before.mtu);
        if let Some(name) = name {
            self.device.name = name;
        }
        self.device != before
    }

    /// At `now`: confirms what is in use, and gives up what got no answer.
    pub(super) fn refresh(&mut self, now: Duration) {
        self.neighbours.refresh(now);
    }
}

/// The place of a next hop among the remembered.
fn slot(next_hop: IpAddr) -> usize {
    let folded = match next_hop {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let [high, low] = [address.to_bits() >> 64, address.to_bits() & u128::from(u64::MAX)];
            u64::try_from(high ^ low).unwrap_or_default()
        }
    };
    // The upper bits of the product depend on all of the factor's.
    let mixed = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - REMEMBERED.trailing_zeros());
    usize::try_from(mixed).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::afxdp::network::{
        addresses::Scope,
        routes::{Action, Path, Prefix, TableId},
    };

    const OURS: u32 = 2;
    const OTHER: u32 = 3;
    const MAC: Mac = [2, 0, 0, 0, 0, 1];
    const NOW: Duration = Duration::from_secs(7);

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn prefix(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').expect("a prefix");
        Prefix { address: ip(address), length: length.parse().expect("a length") }
    }

    fn route(table: TableId, to: &str, kind: Kind, device: u32, gateway: Option<&str>) -> Route {
        let paths = vec![Path { device, gateway: gateway.map(ip), encapsulated: false }];
        Route { table, prefix: prefix(to), metric: 0, preference: 1, action: Action { kind, source: None, paths } }
    }

    fn own(text: &str) -> Address {
        let Prefix { address, length } = prefix(text);
        let scope = if Class::of(address) == Class::V6Link { Scope::Link } else { Scope::Global };
        Address { address, prefix_length: length, scope, secondary: false, deprecated: false, unusable: false }
    }

    fn known(next_hop: &str, last: u8) -> Change {
        let knowledge = Knowledge::Known { mac: [2, 0, 0, 0, 1, last], fixed: false };
        Change::Neighbour { device: OURS, next_hop: ip(next_hop), knowledge }
    }

    fn link(device: u32, up: bool) -> Change {
        Change::Link { device, up, mac: None, mtu: Some(1500), name: None }
    }

    /// A host in `10.0.0.0/24` and `fd00::/64`, with gateways at their first addresses.
    fn host() -> Decider {
        let mut decider = Decider::new(Device { index: OURS, name: "nic".to_owned(), mac: MAC, mtu: 0, up: false });
        let last = |route| Change::RouteAdded(route, Placement::Last);
        for change in [
            link(OURS, true),
            link(OTHER, true),
            Change::AddressPut { device: OURS, address: own("10.0.0.5/24") },
            Change::AddressPut { device: OURS, address: own("fd00::5/64") },
            Change::AddressPut { device: OURS, address: own("fe80::5/64") },
            Change::AddressPut { device: OTHER, address: own("10.1.0.5/24") },
            last(route(TableId::Local, "10.0.0.5/32", Kind::Local, OURS, None)),
            last(route(TableId::Local, "10.0.0.255/32", Kind::Broadcast, OURS, None)),
            last(route(TableId::Main, "10.0.0.0/24", Kind::Unicast, OURS, None)),
            last(route(TableId::Main, "fd00::/64", Kind::Unicast, OURS, None)),
            last(route(TableId::Main, "0.0.0.0/0", Kind::Unicast, OURS, Some("10.0.0.1"))),
            last(route(TableId::Main, "::/0", Kind::Unicast, OURS, Some("fe80::1"))),
            last(route(TableId::Main, "10.1.0.0/24", Kind::Unicast, OTHER, None)),
            known("10.0.0.1", 1),
            known("fe80::1", 6),
        ] {
            assert!(decider.apply(change).is_some());
        }
        decider
    }

    fn resolve(decider: &mut Decider, target: &str) -> Result<(IpAddr, u8), NoHop> {
        let once = decider.resolve(ip(target), NOW);
        assert_eq!(decider.resolve(ip(target), NOW), once, "from memory");
        once.map(|hop| {
            assert_eq!(hop.source_mac, MAC);
            (hop.source, hop.destination_mac[5])
        })
    }

    #[test]
    fn decides_by_route() {
        let mut host = host();
        assert_eq!(resolve(&mut host, "8.8.8.8"), Ok((ip("10.0.0.5"), 1)));
        assert_eq!(resolve(&mut host, "fd00:8::8"), Ok((ip("fd00::5"), 6)));
        assert_eq!(resolve(&mut host, "10.1.0.9"), Err(NoHop::NoRoute));
        assert_eq!(resolve(&mut host, "10.0.0.9"), Err(NoHop::Unresolved { next_hop: ip("10.0.0.9") }));
        assert_eq!(resolve(&mut host, "fe80::9"), Err(NoHop::Unresolved { next_hop: ip("fe80::9") }));
        assert_eq!(resolve(&mut host, "10.0.0.5"), Err(NoHop::Local));
        assert_eq!(resolve(&mut host, "0.0.0.0"), Err(NoHop::Local));
        assert_eq!(resolve(&mut host, "10.0.0.255"), Err(NoHop::Broadcast));
        assert_eq!(resolve(&mut host, "255.255.255.255"), Err(NoHop::Broadcast));
        assert_eq!(resolve(&mut host, "224.0.0.1"), Err(NoHop::Multicast));
        assert_eq!(resolve(&mut host, "ff02::1"), Err(NoHop::Multicast));
    }

    #[test]
    fn follows_neighbours() {
        let mut host = host();
        assert_eq!(host.apply(known("10.0.0.1", 9)), Some(true));
        assert_eq!(resolve(&mut host, "8.8.8.8"), Ok((ip("10.0.0.5"), 9)));
        assert_eq!(host.apply(known("10.0.0.1", 9)), Some(false));
        let failed = Change::Neighbour { device: OURS, next_hop: ip("10.0.0.1"), knowledge: Knowledge::Failed };
        host.apply(failed.clone());
        let gateway = ip("10.0.0.1");
        assert_eq!(
            resolve(&mut host, "8.8.8.8"),
            Err(NoHop::Unresolved { next_hop: gateway }),
            "asked for by this one"
        );
        host.apply(failed);
        assert_eq!(resolve(&mut host, "8.8.8.8"), Err(NoHop::Failed { next_hop: gateway }));
        let elsewhere = Change::Neighbour { device: OTHER, next_hop: ip("10.0.0.1"), knowledge: Knowledge::Asked };
        assert_eq!(host.apply(elsewhere), Some(false));
    }

    #[test]
    fn follows_addresses() {
        let mut host = host();
        assert!(resolve(&mut host, "8.8.8.8").is_ok());
        host.apply(Change::AddressRemoved { device: OURS, address: own("10.0.0.5/24") });
        assert_eq!(resolve(&mut host, "8.8.8.8"), Err(NoHop::NoSource));
        host.fix_source(ip("10.0.0.77"));
        assert_eq!(resolve(&mut host, "8.8.8.8"), Ok((ip("10.0.0.77"), 1)));
    }

    #[test]
    fn a_fixed_source_is_that_of_the_last_target_too() {
        let mut host = host();
        assert_eq!(resolve(&mut host, "8.8.8.8"), Ok((ip("10.0.0.5"), 1)));
        assert!(host.last.is_some());
        host.fix_source(ip("10.0.0.77"));
        assert_eq!(resolve(&mut host, "8.8.8.8"), Ok((ip("10.0.0.77"), 1)));
    }

    #[test]
    fn what_is_forgotten_is_not_known_of_the_last_target_either() {
        let mut host = host();
        assert!(resolve(&mut host, "8.8.8.8").is_ok());
        assert!(host.last.is_some());
        host.forget_all();
        assert_eq!(resolve(&mut host, "8.8.8.8"), Err(NoHop::Down));
    }

    #[test]
    fn follows_the_link() {
        let mut host = host();
        assert!(resolve(&mut host, "8.8.8.8").is_ok());
        let mac = [2, 9, 9, 9, 9, 9];
        host.apply(Change::Link { device: OURS, up: true, mac: Some(mac), mtu: None, name: None });
        assert_eq!(host.resolve(ip("8.8.8.8"), NOW).map(|hop| hop.source_mac), Ok(mac));
        assert_eq!(host.device().mtu, 1500);
        host.apply(link(OURS, false));
        assert_eq!(resolve(&mut host, "8.8.8.8"), Err(NoHop::Down));
        host.apply(link(OURS, true));
        assert_eq!(resolve(&mut host, "8.8.8.8"), Err(NoHop::NoRoute), "routes go with the link");
        host.apply(Change::LinkGone { device: OURS });
        assert_eq!(resolve(&mut host, "8.8.8.8"), Err(NoHop::Down));
    }

    #[test]
    fn routes_go_with_the_address_that_they_prefer() {
        let mut host = host();
        let mut preferring = route(TableId::Main, "9.0.0.0/8", Kind::Unicast, OURS, Some("10.0.0.1"));
        preferring.action.source = Some(ip("10.7.7.7"));
        let address = route(TableId::Local, "10.7.7.7/32", Kind::Local, OTHER, None);
        host.apply(Change::RouteAdded(address.clone(), Placement::First));
        host.apply(Change::RouteAdded(preferring, Placement::First));
        assert_eq!(resolve(&mut host, "9.9.9.9"), Ok((ip("10.7.7.7"), 1)));
        host.apply(Change::RouteRemoved(address));
        assert_eq!(resolve(&mut host, "9.9.9.9"), Ok((ip("10.0.0.5"), 1)), "by the default route");
    }

    #[test]
    fn an_evicted_next_hop_is_not_used_from_memory() {
        let mut host = host();
        assert!(resolve(&mut host, "8.8.8.8").is_ok());
        for number in 0..20_000_u32 {
            let next_hop = IpAddr::V4((0x0b00_0000 + number).into());
            let _ = host.neighbours.find(next_hop, NOW);
            host.neighbours.tell(next_hop, Knowledge::Known { mac: [4; 6], fixed: false });
        }
        assert_eq!(resolve(&mut host, "8.8.8.8"), Err(NoHop::Unresolved { next_hop: ip("10.0.0.1") }));
    }
}
