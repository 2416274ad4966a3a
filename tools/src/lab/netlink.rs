//! Devices, addresses and routes of the calling thread's network namespace, over rtnetlink.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use nix::net::if_::if_nametoindex;
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, MulticastGroup, RouteMessageBuilder, new_connection,
    new_multicast_connection,
    packet_core::NetlinkPayload,
    packet_route::{
        RouteNetlinkMessage,
        address::AddressHeaderFlags,
        link::{InfoData, InfoVeth, LinkAttribute, LinkFlags, LinkMessage},
        route::{RouteAddress, RouteAttribute, RouteType},
    },
};

/// Nothing in the kernel takes nearly as long; without a limit a lab that can never be usable would be waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the kernel tells unasked.
type Events = BoxStream<'static, NetlinkPayload<RouteNetlinkMessage>>;

/// A connection to the kernel.
pub(super) struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// Connects to the calling thread's namespace and runs `task`.
    pub(super) fn run(task: impl AsyncFnOnce(&Self) -> Result<()>) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("tokio")?;
        runtime.block_on(async {
            let (connection, handle, _) = new_connection().context("rtnetlink")?;
            tokio::spawn(connection);
            task(&Self { handle }).await
        })
    }

    /// Makes a bridge, down.
    pub(super) async fn add_bridge(&self, name: &str, mtu: u16) -> Result<()> {
        let message = LinkBridge::new(name).down().mtu(mtu.into()).build();
        self.handle.link().add(message).execute().await.with_context(|| format!("cannot make bridge `{name}`"))
    }

    /// Makes a veth, up, whose other end `peer` is in the namespace `peer_namespace`, down. With a bridge, `name` becomes
    /// a port of it.
    pub(super) async fn add_veth(
        &self,
        name: &str,
        bridge: Option<&str>,
        peer: &str,
        peer_namespace: BorrowedFd<'_>,
        mtu: u16,
    ) -> Result<()> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(peer)
            .mtu(mtu.into())
            .setns_by_fd(peer_namespace.as_raw_fd())
            .build();
        let mut message =
            LinkVeth::new(name, "").set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).mtu(mtu.into()).up();
        if let Some(bridge) = bridge {
            message = message.controller(index(bridge)?);
        }
        let message = message.build();
        self.handle.link().add(message).execute().await.with_context(|| format!("cannot make veth `{name}`"))
    }

    pub(super) async fn set_up(&self, name: &str) -> Result<()> {
        let message = LinkUnspec::new_with_name(name).up().build();
        self.handle.link().set(message).execute().await.with_context(|| format!("cannot set `{name}` up"))
    }

    /// Waits until the devices carry packets: carrier is there, and queue and bridge port are active. That happens in a
    /// work queue, after the request to set a device up has been answered.
    pub(super) async fn wait_until_up(&self) -> Result<()> {
        let mut events = subscribe(MulticastGroup::Link)?;
        let mut waiting = self.names_of_links_not_up().await?;
        while !waiting.is_empty() {
            let event = next(&mut events, &format!("{waiting:?} to come up")).await?;
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = &event {
                if is_up(link) {
                    waiting.remove(name(link));
                }
            } else if let NetlinkPayload::Overrun(_) = event {
                waiting = self.names_of_links_not_up().await?;
            }
        }
        Ok(())
    }

    async fn names_of_links_not_up(&self) -> Result<BTreeSet<String>> {
        let links = self.handle.link().get().execute();
        let names = links.try_filter_map(async |link| Ok((!is_up(&link)).then(|| name(&link).to_owned())));
        names.try_collect().await.context("cannot list devices")
    }

    /// Gives a device addresses, and waits until they can be used.
    pub(super) async fn add_addresses(&self, device: &str, addresses: &[(IpAddr, u8)]) -> Result<()> {
        let mut events = subscribe(MulticastGroup::Ipv6Route)?;
        let index = index(device)?;
        for &(address, prefix_length) in addresses {
            let mut request = self.handle.address().add(index, address, prefix_length);
            // There is no one here to have the same address, and asking takes a second.
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
            request.execute().await.with_context(|| format!("cannot add address {address} to `{device}`"))?;
        }
        // IPv4 is ready now; the kernel begins to accept packets to an IPv6 address in a work queue.
        let mut waiting: BTreeSet<Ipv6Addr> = addresses
            .iter()
            .filter_map(|(address, _)| if let IpAddr::V6(v6) = address { Some(*v6) } else { None })
            .collect();
        while !waiting.is_empty() {
            let event = next(&mut events, &format!("{waiting:?} to be usable")).await?;
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) = &event
                && route.header.kind == RouteType::Local
            {
                for attribute in &route.attributes {
                    if let RouteAttribute::Destination(RouteAddress::Inet6(address)) = attribute {
                        waiting.remove(address);
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends what has no route of its own through `gateway`.
    pub(super) async fn add_default_route(&self, gateway: IpAddr) -> Result<()> {
        let route = match gateway {
            IpAddr::V4(gateway) => RouteMessageBuilder::<std::net::Ipv4Addr>::new().gateway(gateway).build(),
            IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).build(),
        };
        self.handle.route().add(route).execute().await.with_context(|| format!("cannot add a route through {gateway}"))
    }
}

/// What the kernel tells from now on, on a connection of its own: where it tells more than is read in time, messages are
/// lost, and those must not be the answers to requests.
fn subscribe(group: MulticastGroup) -> Result<Events> {
    let (connection, _, messages) = new_multicast_connection(&[group]).context("rtnetlink")?;
    tokio::spawn(connection);
    Ok(messages.map(|(message, _)| message.payload).boxed())
}

async fn next(events: &mut Events, what: &str) -> Result<NetlinkPayload<RouteNetlinkMessage>> {
    let Ok(event) = tokio::time::timeout(PATIENCE, events.next()).await else {
        bail!("waited {PATIENCE:?} in vain for {what}");
    };
    event.context("the rtnetlink connection ended")
}

fn index(device: &str) -> Result<u32> {
    if_nametoindex(device).with_context(|| format!("device `{device}`"))
}

fn name<'a>(link: &'a LinkMessage) -> &'a str {
    let name = |attribute: &'a LinkAttribute| {
        if let LinkAttribute::IfName(name) = attribute { Some(name.as_str()) } else { None }
    };
    link.attributes.iter().find_map(name).unwrap_or_default()
}

fn is_up(link: &LinkMessage) -> bool {
    link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running)
}
