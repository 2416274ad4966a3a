//! The network namespace of a container, looked at from inside, and what of it is outside.

use std::{fs::File, io, net::IpAddr, os::unix::fs::MetadataExt as _, thread};

use nix::sched::{CloneFlags, setns};

use crate::{
    Container, Error,
    containers::{failed_in, unfit},
    device::Here,
    error::Context as _,
    netlink::route::{Link, Peer, Route, is_link_local},
};

/// A device of a container.
pub(crate) struct Inside {
    /// With the name of the device.
    pub(crate) container: Container,
    ifindex: u32,
    /// Its other end, as the container knows it.
    peer: Peer,
    addresses: Vec<IpAddr>,
}

/// What a thread in the namespace reads.
struct Seen {
    links: Vec<Link>,
    defaults: Vec<u32>,
    addresses: Vec<IpAddr>,
}

impl Inside {
    /// Looks at the device that the container's `interface` names, or at that of its default route.
    pub(crate) fn look(here: &Here, namespace: &File, container: &Container) -> Result<Self, Error> {
        let number = namespace.metadata().map_err(|error| failed_in("look at", container, error))?.ino();
        if number == here.namespace {
            let words = "it has no network of its own, but this one: what it sends is stamped as this host's, by `instamp \
                         attach --dev` and the uplink";
            return Err(unfit(container, words));
        }
        let interface = Some(container.interface.as_str()).filter(|name| !name.is_empty());
        let Seen { links, defaults, addresses } =
            see(namespace, interface).map_err(|error| failed_in("enter", container, error))?;
        let found = match interface {
            Some(name) => links.iter().find(|link| link.name == name),
            None => links.iter().find(|link| defaults.first() == Some(&link.ifindex)),
        };
        let link = found.ok_or_else(|| {
            let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
            let missing = interface.map_or_else(|| "no default route".to_owned(), |name| format!("no device {name}"));
            unfit(container, format!("it has {missing}; its devices: {}", names.join(", ")))
        })?;
        let peer = link.peer.ok_or_else(|| {
            let kind = link.kind.as_deref().unwrap_or("hardware");
            let words = format!(
                "its device {} is no veth to another network namespace (but: {kind}), so it has no other end to attach to: \
                 attach to the device below it with `instamp attach --dev`",
                link.name
            );
            unfit(container, words)
        })?;
        let container = Container { interface: link.name.clone(), ..container.clone() };
        Ok(Self { container, ifindex: link.ifindex, peer, addresses })
    }

    /// The other end, of which both sides say that it is.
    pub(crate) fn host_end<'a>(&self, here: &'a Here, namespace: &File) -> Result<&'a Link, Error> {
        let number = here.route.number_of(namespace).context("ask for the number of", "the container's namespace")?;
        let back = number.map(|namespace| Peer { namespace, ifindex: self.ifindex });
        let link = here.by_index(self.peer.ifindex).filter(|link| back.is_some() && link.peer == back);
        link.ok_or_else(|| {
            let words = format!(
                "the other end of its {} is no device of this network namespace: run this in that one, with `nsenter --net=`",
                self.container.interface
            );
            unfit(&self.container, words)
        })
    }

    /// By which device the host forwards what the container sends outside: by the rules that hold for it, else by the default
    /// route.
    pub(crate) fn uplink<'a>(&self, here: &'a Here, host_end: &Link) -> Result<&'a Link, Error> {
        // What comes from a port comes from its bridge.
        let by = host_end.controller.unwrap_or(host_end.ifindex);
        for &address in self.addresses.iter().filter(|address| !is_link_local(**address)) {
            let device = here.route.forwards(address, by).context("ask for the route of", address)?;
            if let Some(link) = device.and_then(|device| here.by_index(device)) {
                return Ok(link);
            }
        }
        let defaults = here.route.default_devices().context("list", "the default routes")?;
        defaults.first().and_then(|device| here.by_index(*device)).ok_or(Error::NoUplink)
    }
}

/// Namespaces belong to threads.
fn see(namespace: &File, interface: Option<&str>) -> io::Result<Seen> {
    let see = || {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        let route = Route::open()?;
        let (links, defaults) = (route.links()?, route.default_devices()?);
        let chosen = match interface {
            Some(name) => links.iter().find(|link| link.name == name).map(|link| link.ifindex),
            None => defaults.first().copied(),
        };
        let addresses = chosen.map_or_else(|| Ok(Vec::new()), |ifindex| route.addresses_at(ifindex))?;
        Ok(Seen { links, defaults, addresses })
    };
    thread::scope(|scope| scope.spawn(see).join()).unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
}
