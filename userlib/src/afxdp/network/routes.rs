//! The routes of a network namespace: which of them a packet of this host takes.
//!
//! The tables local, main and default, in this order, which is that of the rules a host starts with. Rules of policy
//! routing that were added, other tables, routes for one type of service or one source only are not looked at.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use prefix_trie::PrefixMap;

/// A routing table that is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TableId {
    Local,
    Main,
    Default,
}

impl TableId {
    /// In the order in which the kernel asks them.
    #[cfg(test)]
    pub(super) const ALL: [Self; 3] = [Self::Local, Self::Main, Self::Default];

    pub(super) fn from_number(number: u32) -> Option<Self> {
        match number {
            255 => Some(Self::Local),
            254 => Some(Self::Main),
            253 => Some(Self::Default),
            _ => None,
        }
    }
}

/// The addresses that a route is for. Bits behind the length mean nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Prefix {
    pub(super) address: IpAddr,
    pub(super) length: u8,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Kind {
    Unicast,
    /// To this host.
    Local,
    Broadcast,
    Multicast,
    /// Dropped, with or without a message.
    Unreachable,
    /// The next table is asked.
    Throw,
}

/// One way of a route out of this host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Path {
    pub(super) device: u32,
    /// `None` where the target itself is the next hop.
    pub(super) gateway: Option<IpAddr>,
    /// Packets get a header of another protocol here, which only the kernel can give them.
    pub(super) encapsulated: bool,
}

/// What a route says, which many have in common.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Action {
    pub(super) kind: Kind,
    pub(super) source: Option<IpAddr>,
    /// Several where the route has several next hops.
    pub(super) paths: Vec<Path>,
}

/// A route as it is added and removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Route {
    pub(super) table: TableId,
    pub(super) prefix: Prefix,
    pub(super) metric: u32,
    /// Of a router by its own word: 0 high, 1 medium, 2 low. IPv6 only.
    pub(super) preference: u8,
    pub(super) action: Action,
}

/// Where a new route stands among those of the same prefix and metric, of which the first is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Placement {
    First,
    Last,
    /// In the place of the first.
    Replace,
}

/// Which way a packet takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Local,
    Broadcast,
    Multicast,
    /// No route, one that says so, or one by other devices.
    NotByThisDevice,
    /// By the device that was asked about.
    Via {
        gateway: Option<IpAddr>,
        source: Option<IpAddr>,
    },
}

#[derive(Clone, Debug)]
struct Choice {
    metric: u32,
    preference: u8,
    action: Arc<Action>,
}

/// All routes of a prefix, best first. Almost always there is one, which then needs no allocation.
#[derive(Debug)]
struct Choices {
    best: Choice,
    others: Vec<Choice>,
}

impl Choices {
    fn from_sorted(mut all: Vec<Choice>) -> Option<Self> {
        if all.is_empty() {
            return None;
        }
        let best = all.remove(0);
        Some(Self { best, others: all })
    }

    fn into_vec(self) -> Vec<Choice> {
        let mut all = Vec::with_capacity(1 + self.others.len());
        all.push(self.best);
        all.extend(self.others);
        all
    }

    fn iter(&self) -> impl Iterator<Item = &Choice> {
        std::iter::once(&self.best).chain(&self.others)
    }
}

/// One table.
#[derive(Default, Debug)]
struct Table {
    v4: PrefixMap<(u32, u8), Choices>,
    v6: PrefixMap<(u128, u8), Choices>,
}

impl Table {
    fn best(&self, target: IpAddr) -> Option<&Action> {
        let found = match target {
            IpAddr::V4(target) => self.v4.get_lpm(&(target.to_bits(), 32)).map(|(_, choices)| choices),
            IpAddr::V6(target) => self.v6.get_lpm(&(target.to_bits(), 128)).map(|(_, choices)| choices),
        };
        found.map(|choices| &*choices.best.action)
    }

    fn remove(&mut self, prefix: Prefix) -> Option<Choices> {
        match prefix.address {
            IpAddr::V4(address) => self.v4.remove(&(address.to_bits(), prefix.length)),
            IpAddr::V6(address) => self.v6.remove(&(address.to_bits(), prefix.length)),
        }
    }

    fn insert(&mut self, prefix: Prefix, choices: Choices) {
        match prefix.address {
            IpAddr::V4(address) => drop(self.v4.insert((address.to_bits(), prefix.length), choices)),
            IpAddr::V6(address) => drop(self.v6.insert((address.to_bits(), prefix.length), choices)),
        }
    }

    /// Changes every route: `None` removes it.
    fn map(&mut self, change: impl Fn(Choice) -> Option<Choice>, touches: impl Fn(&Action) -> bool) {
        let touched = |choices: &Choices| choices.iter().any(|choice| touches(&choice.action));
        let v4 = self.v4.iter().filter(|(_, choices)| touched(choices));
        let v4 = v4.map(|((bits, length), _)| Prefix { address: IpAddr::V4(bits.into()), length });
        let v6 = self.v6.iter().filter(|(_, choices)| touched(choices));
        let v6 = v6.map(|((bits, length), _)| Prefix { address: IpAddr::V6(bits.into()), length });
        for prefix in v4.chain(v6).collect::<Vec<_>>() {
            let Some(choices) = self.remove(prefix) else { continue };
            let changed = choices.into_vec().into_iter().filter_map(&change).collect();
            if let Some(choices) = Choices::from_sorted(changed) {
                self.insert(prefix, choices);
            }
        }
    }
}

/// Longest prefix match over the tables, and what the kernel changes in them without telling.
#[derive(Default, Debug)]
pub(super) struct Routes {
    local: Table,
    main: Table,
    default: Table,
    /// One copy of each: a full table has a million routes and a handful of next hops.
    actions: HashSet<Arc<Action>>,
    /// Which devices are up, as far as told.
    up: HashMap<u32, bool>,
}

impl Routes {
    /// The way to `target`, seen by `device`.
    pub(super) fn way(&self, target: IpAddr, device: u32) -> Way {
        for table in [&self.local, &self.main, &self.default] {
            let Some(action) = table.best(target) else { continue };
            match action.kind {
                Kind::Throw => {}
                Kind::Local => return Way::Local,
                Kind::Broadcast => return Way::Broadcast,
                Kind::Multicast => return Way::Multicast,
                Kind::Unreachable => return Way::NotByThisDevice,
                Kind::Unicast => {
                    let path = action.paths.iter().find(|path| path.device == device && !path.encapsulated);
                    return path.map_or(Way::NotByThisDevice, |path| Way::Via {
                        gateway: path.gateway,
                        source: action.source,
                    });
                }
            }
        }
        Way::NotByThisDevice
    }

    pub(super) fn add(&mut self, route: Route, placement: Placement) {
        let Route { table, prefix, metric, preference, action } = route;
        let mut all = self.table_mut(table).remove(prefix).map(Choices::into_vec).unwrap_or_default();
        let action = match (placement, prefix.address) {
            // Next hops of IPv6 are added one by one, and told alone or together with those that were there.
            (Placement::First | Placement::Last, IpAddr::V6(_)) if has_gateways(&action) => {
                self.joined(&mut all, metric, preference, action)
            }
            _ => action,
        };
        let same = |choice: &Choice| choice.metric == metric && choice.preference == preference;
        if placement == Placement::Replace {
            let replaced = all.iter().position(|choice| {
                choice.metric == metric
                    && (prefix.address.is_ipv4() || has_gateways(&choice.action) == has_gateways(&action))
            });
            if let Some(index) = replaced.or_else(|| all.iter().position(|choice| choice.metric == metric)) {
                self.forget(all.remove(index));
            }
        }
        // Told again what is there already: by a dump that ran while the change was under way.
        if !all.iter().any(|choice| same(choice) && *choice.action == action) {
            let action = self.shared(action);
            let rank = |choice: &Choice| (choice.metric, choice.preference);
            let index = match placement {
                Placement::Last => all.partition_point(|choice| rank(choice) <= (metric, preference)),
                Placement::First | Placement::Replace => {
                    all.partition_point(|choice| rank(choice) < (metric, preference))
                }
            };
            all.insert(index, Choice { metric, preference, action });
        }
        self.put(table, prefix, all);
    }

    pub(super) fn remove(&mut self, route: &Route) {
        let Some(choices) = self.table_mut(route.table).remove(route.prefix) else { return };
        let mut all = choices.into_vec();
        let is_same = |choice: &Choice| choice.metric == route.metric && *choice.action == route.action;
        if let Some(index) = all.iter().position(is_same) {
            self.forget(all.remove(index));
        } else if route.prefix.address.is_ipv6() && has_gateways(&route.action) {
            // Some of several next hops.
            if let Some(index) =
                all.iter().position(|choice| choice.metric == route.metric && has_gateways(&choice.action))
            {
                let choice = all.remove(index);
                let mut rest = (*choice.action).clone();
                rest.paths.retain(|path| !route.action.paths.contains(path));
                if !rest.paths.is_empty() {
                    let action = self.shared(rest);
                    all.insert(index, Choice { action, ..choice });
                }
                self.forget(choice);
            }
        } else if let Some(index) = all.iter().position(|choice| choice.metric == route.metric) {
            // The kernel may have changed it silently since it was told.
            self.forget(all.remove(index));
        }
        self.put(route.table, route.prefix, all);
    }

    /// A device is up or not, or gone. The kernel removes the routes by a device that goes down, those of IPv4 without telling.
    pub(super) fn set_up(&mut self, device: u32, up: bool) {
        let before = self.up.insert(device, up);
        if up || before == Some(false) {
            return;
        }
        let is_up = |path: &Path| self.up.get(&path.device).copied().unwrap_or(true);
        let dead: HashSet<Action> = self
            .actions
            .iter()
            .filter(|action| !action.paths.is_empty() && !action.paths.iter().any(is_up))
            .map(|action| (**action).clone())
            .collect();
        // An address stays this host's while its device is down.
        self.map_all(&dead, |choice| (choice.action.kind == Kind::Local).then_some(choice));
    }

    /// A device is gone, and its number may come again.
    pub(super) fn forget_device(&mut self, device: u32) {
        self.set_up(device, false);
        self.up.remove(&device);
    }

    /// An address is none of this host's any more. The kernel removes the IPv4 routes that give it to packets, and
    /// clears it in those of IPv6, without telling.
    pub(super) fn forget_source(&mut self, address: IpAddr) {
        if self.local.best(address).is_some_and(|action| action.kind == Kind::Local) {
            return;
        }
        let with_source = |action: &&Arc<Action>| action.source == Some(address);
        let affected: HashSet<Action> =
            self.actions.iter().filter(with_source).map(|action| (**action).clone()).collect();
        self.map_all(&affected, |choice| {
            let cleared = Action { source: None, ..(*choice.action).clone() };
            address.is_ipv6().then(|| Choice { action: Arc::new(cleared), ..choice })
        });
    }

    fn map_all(&mut self, actions: &HashSet<Action>, change: impl Fn(Choice) -> Option<Choice>) {
        if actions.is_empty() {
            return;
        }
        let change = |choice: Choice| if actions.contains(&*choice.action) { change(choice) } else { Some(choice) };
        for table in [&mut self.local, &mut self.main, &mut self.default] {
            table.map(change, |action| actions.contains(action));
        }
        self.actions.retain(|action| Arc::strong_count(action) > 1);
    }

    fn table_mut(&mut self, table: TableId) -> &mut Table {
        match table {
            TableId::Local => &mut self.local,
            TableId::Main => &mut self.main,
            TableId::Default => &mut self.default,
        }
    }

    fn put(&mut self, table: TableId, prefix: Prefix, sorted: Vec<Choice>) {
        if let Some(choices) = Choices::from_sorted(sorted) {
            self.table_mut(table).insert(prefix, choices);
        }
    }

    fn shared(&mut self, action: Action) -> Arc<Action> {
        if let Some(shared) = self.actions.get(&action) {
            return Arc::clone(shared);
        }
        let shared = Arc::new(action);
        self.actions.insert(Arc::clone(&shared));
        shared
    }

    fn forget(&mut self, choice: Choice) {
        // This one and the set's.
        if Arc::strong_count(&choice.action) <= 2 {
            self.actions.remove(&choice.action);
        }
    }

    /// The action with the next hops of one that is there, which it takes the place of.
    fn joined(&mut self, all: &mut Vec<Choice>, metric: u32, preference: u8, action: Action) -> Action {
        let is_sibling = |choice: &Choice| {
            choice.metric == metric && choice.preference == preference && has_gateways(&choice.action)
        };
        let Some(index) = all.iter().position(is_sibling) else { return action };
        let sibling = all.remove(index);
        let mut paths = sibling.action.paths.clone();
        self.forget(sibling);
        for path in action.paths {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        Action { paths, ..action }
    }
}

fn has_gateways(action: &Action) -> bool {
    action.kind == Kind::Unicast && !action.paths.is_empty() && action.paths.iter().all(|path| path.gateway.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*, sample::select};

    const DEVICES: [u32; 3] = [1, 2, 3];

    fn path(device: u32, gateway: Option<&str>) -> Path {
        Path { device, gateway: gateway.map(|text| text.parse().expect("an address")), encapsulated: false }
    }

    fn route(to: &str, metric: u32, paths: &[Path]) -> Route {
        let (address, length) = to.split_once('/').expect("a prefix");
        let prefix =
            Prefix { address: address.parse().expect("an address"), length: length.parse().expect("a length") };
        let action = Action { kind: Kind::Unicast, source: None, paths: paths.to_vec() };
        Route { table: TableId::Main, prefix, metric, preference: 1, action }
    }

    fn way(routes: &Routes, target: &str, device: u32) -> Way {
        routes.way(target.parse().expect("an address"), device)
    }

    fn via(gateway: &str) -> Way {
        Way::Via { gateway: Some(gateway.parse().expect("an address")), source: None }
    }

    #[test]
    fn the_lower_metric_wins_and_then_the_first() {
        let mut routes = Routes::default();
        routes.add(route("0.0.0.0/0", 200, &[path(1, Some("10.0.0.200"))]), Placement::First);
        routes.add(route("0.0.0.0/0", 100, &[path(1, Some("10.0.0.100"))]), Placement::First);
        assert_eq!(way(&routes, "8.8.8.8", 1), via("10.0.0.100"));
        routes.add(route("0.0.0.0/0", 100, &[path(1, Some("10.0.0.101"))]), Placement::Last);
        assert_eq!(way(&routes, "8.8.8.8", 1), via("10.0.0.100"));
        routes.add(route("0.0.0.0/0", 100, &[path(1, Some("10.0.0.102"))]), Placement::First);
        assert_eq!(way(&routes, "8.8.8.8", 1), via("10.0.0.102"));
        routes.add(route("0.0.0.0/0", 100, &[path(1, Some("10.0.0.103"))]), Placement::Replace);
        assert_eq!(way(&routes, "8.8.8.8", 1), via("10.0.0.103"));
        routes.remove(&route("0.0.0.0/0", 100, &[path(1, Some("10.0.0.103"))]));
        assert_eq!(way(&routes, "8.8.8.8", 1), via("10.0.0.100"));
    }

    #[test]
    fn a_better_route_by_another_device_counts() {
        let mut routes = Routes::default();
        routes.add(route("10.0.0.0/8", 0, &[path(1, None)]), Placement::First);
        routes.add(route("10.1.0.0/16", 0, &[path(2, None)]), Placement::First);
        assert_eq!(way(&routes, "10.1.0.1", 1), Way::NotByThisDevice);
        assert_eq!(way(&routes, "10.2.0.1", 1), Way::Via { gateway: None, source: None });
        assert_eq!(way(&routes, "10.2.0.1", 2), Way::NotByThisDevice);
    }

    #[test]
    fn tables_are_asked_in_order_and_throw_goes_on() {
        let mut routes = Routes::default();
        let of = |table, kind| {
            let mut route = route("10.0.0.0/8", 0, &[path(1, None)]);
            route.table = table;
            route.action.kind = kind;
            route
        };
        routes.add(of(TableId::Default, Kind::Unicast), Placement::First);
        assert_eq!(way(&routes, "10.0.0.1", 1), Way::Via { gateway: None, source: None });
        routes.add(of(TableId::Main, Kind::Unreachable), Placement::First);
        assert_eq!(way(&routes, "10.0.0.1", 1), Way::NotByThisDevice);
        routes.add(of(TableId::Main, Kind::Throw), Placement::Replace);
        assert_eq!(way(&routes, "10.0.0.1", 1), Way::Via { gateway: None, source: None });
        routes.add(of(TableId::Local, Kind::Local), Placement::First);
        assert_eq!(way(&routes, "10.0.0.1", 1), Way::Local);
    }

    #[test]
    fn next_hops_of_ipv6_come_and_go_one_by_one() {
        let mut routes = Routes::default();
        let (one, two, three) = (path(1, Some("fe80::1")), path(2, Some("fe80::2")), path(3, Some("fe80::3")));
        routes.add(route("::/0", 1024, &[one]), Placement::First);
        routes.add(route("::/0", 1024, &[one, two]), Placement::Last);
        routes.add(route("::/0", 1024, &[three]), Placement::Last);
        for (device, gateway) in [(1, "fe80::1"), (2, "fe80::2"), (3, "fe80::3")] {
            assert_eq!(way(&routes, "2001:db8::1", device), via(gateway));
        }
        routes.remove(&route("::/0", 1024, &[two]));
        assert_eq!(way(&routes, "2001:db8::1", 2), Way::NotByThisDevice);
        assert_eq!(way(&routes, "2001:db8::1", 3), via("fe80::3"));
        routes.remove(&route("::/0", 1024, &[one, three]));
        assert_eq!(way(&routes, "2001:db8::1", 3), Way::NotByThisDevice);
        assert!(routes.actions.is_empty());
    }

    #[test]
    fn a_device_that_goes_down_takes_its_routes_and_leaves_others_hops() {
        let mut routes = Routes::default();
        for device in DEVICES {
            routes.set_up(device, true);
        }
        let both = [path(1, Some("10.0.0.1")), path(2, Some("10.1.0.1"))];
        routes.add(route("0.0.0.0/0", 0, &both), Placement::First);
        routes.add(route("10.0.0.0/24", 0, &both[..1]), Placement::First);
        routes.set_up(1, false);
        assert_eq!(way(&routes, "8.8.8.8", 2), via("10.1.0.1"));
        assert_eq!(way(&routes, "10.0.0.9", 2), via("10.1.0.1"));
        routes.set_up(2, false);
        assert_eq!(way(&routes, "8.8.8.8", 2), Way::NotByThisDevice);
        assert!(routes.actions.is_empty());
    }

    #[test]
    fn encapsulated_paths_are_the_kernels() {
        let mut routes = Routes::default();
        let path = Path { encapsulated: true, ..path(1, Some("10.0.0.1")) };
        routes.add(route("0.0.0.0/0", 0, &[path]), Placement::First);
        assert_eq!(way(&routes, "8.8.8.8", 1), Way::NotByThisDevice);
    }

    /// Few bits, so that prefixes cover each other.
    fn address(v6: bool) -> impl Strategy<Value = IpAddr> {
        any::<u8>().prop_map(move |bits| {
            if v6 { IpAddr::V6((u128::from(bits) << 120).into()) } else { IpAddr::V4((u32::from(bits) << 24).into()) }
        })
    }

    fn any_route(v6: bool) -> impl Strategy<Value = Route> {
        let kind = prop_oneof![
            8 => Just(Kind::Unicast), 1 => Just(Kind::Unreachable), 1 => Just(Kind::Throw), 1 => Just(Kind::Local)
        ];
        let head = (select(TableId::ALL.to_vec()), address(v6), 0_u8..=9, 0_u32..3);
        (head, kind, select(DEVICES.to_vec())).prop_map(|((table, address, length, metric), kind, device)| Route {
            table,
            prefix: Prefix { address: masked(address, length), length },
            metric,
            preference: 1,
            action: Action { kind, source: None, paths: vec![path(device, None)] },
        })
    }

    fn masked(address: IpAddr, length: u8) -> IpAddr {
        match address {
            IpAddr::V4(address) => {
                IpAddr::V4((address.to_bits() & !u32::MAX.checked_shr(length.into()).unwrap_or(0)).into())
            }
            IpAddr::V6(address) => {
                IpAddr::V6((address.to_bits() & !u128::MAX.checked_shr(length.into()).unwrap_or(0)).into())
            }
        }
    }

    /// The same by looking at every route.
    fn naive(routes: &[(Route, usize)], target: IpAddr, device: u32) -> Way {
        for table in TableId::ALL {
            let matching = routes.iter().filter(|(route, _)| {
                route.table == table && masked(target, route.prefix.length) == route.prefix.address
            });
            let best = matching.min_by_key(|(route, order)| (255 - route.prefix.length, route.metric, *order));
            let Some((route, _)) = best else { continue };
            return match route.action.kind {
                Kind::Throw => continue,
                Kind::Local => Way::Local,
                Kind::Unicast if route.action.paths[0].device == device => Way::Via { gateway: None, source: None },
                Kind::Unicast | Kind::Broadcast | Kind::Multicast | Kind::Unreachable => Way::NotByThisDevice,
            };
        }
        Way::NotByThisDevice
    }

    proptest! {
        #[test]
        fn agrees_with_looking_at_every_route(
            v6: bool,
            steps in vec((any_route(false), any_route(true), any::<bool>(), any::<prop::sample::Index>()), 0..40),
            targets in vec((address(false), address(true)), 20),
        ) {
            let mut routes = Routes::default();
            let mut all: Vec<(Route, usize)> = Vec::new();
            for (order, (v4_route, v6_route, removes, which)) in steps.into_iter().enumerate() {
                let route = if v6 { v6_route } else { v4_route };
                if removes && !all.is_empty() {
                    let (removed, _) = all.remove(which.index(all.len()));
                    routes.remove(&removed);
                } else if !all.iter().any(|(other, _)| *other == route) {
                    routes.add(route.clone(), Placement::Last);
                    all.push((route, order));
                }
            }
            for (v4_target, v6_target) in targets {
                for device in DEVICES {
                    let target = if v6 { v6_target } else { v4_target };
                    prop_assert_eq!(routes.way(target, device), naive(&all, target, device));
                }
            }
            for (route, _) in all {
                routes.remove(&route);
            }
            prop_assert!(routes.actions.is_empty());
        }
    }
}
