//! The devices by which this network namespace reaches the rest of the world.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, bail};
use futures_util::TryStreamExt as _;
use nix::net::if_::if_indextoname;
use rtnetlink::{RouteMessageBuilder, new_connection, packet_route::route::RouteAttribute};

/// Those that were named; else those of the default routes. Needs a runtime with I/O.
///
/// # Errors
///
/// There are none.
pub(crate) async fn named_or_default(named: &[String]) -> anyhow::Result<Vec<String>> {
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let found = of_default_routes().await?;
    if found.is_empty() {
        bail!("no default route in this network namespace: name the device by which probes leave with --dev");
    }
    Ok(found)
}

async fn of_default_routes() -> anyhow::Result<Vec<String>> {
    let (connection, handle, _) = new_connection().context("cannot ask the kernel for routes")?;
    let connection = tokio::spawn(connection);
    let mut found = Vec::new();
    // Without a destination it asks for all routes.
    for question in [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()] {
        let mut routes = handle.route().get(question).execute();
        while let Some(route) = routes.try_next().await.context("cannot list the routes")? {
            if route.header.destination_prefix_length != 0 {
                continue;
            }
            let device = |attribute: &RouteAttribute| {
                if let RouteAttribute::Oif(index) = attribute { Some(*index) } else { None }
            };
            let Some(index) = route.attributes.iter().find_map(device) else { continue };
            let name = if_indextoname(index).context("cannot name the device of the default route")?;
            let name = name.to_string_lossy().into_owned();
            if name != "lo" && !found.contains(&name) {
                found.push(name);
            }
        }
    }
    connection.abort();
    Ok(found)
}
