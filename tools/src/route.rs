//! By which device the kernel would send.

use std::net::IpAddr;

use anyhow::{Context as _, bail};
use futures_util::TryStreamExt as _;
use nix::net::if_::if_indextoname;
use rtnetlink::{RouteMessageBuilder, new_connection, packet_route::route::RouteAttribute};

/// The name of the device of the best route to an address. Needs a runtime with I/O.
///
/// # Errors
///
/// Why there is none, and what to do.
pub(crate) async fn device_towards(target: IpAddr) -> anyhow::Result<String> {
    let (connection, handle, _) = new_connection().context("cannot ask the kernel for routes")?;
    let connection = tokio::spawn(connection);
    let length = if target.is_ipv4() { 32 } else { 128 };
    let question = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(target, length)
        .with_context(|| format!("cannot ask for a route to {target}"))?
        .build();
    let route = handle.route().get(question).execute().try_next().await;
    connection.abort();
    let remedy = || format!("no route to {target}: see `ip route get {target}`, or name the device with --dev");
    let route = route.with_context(remedy)?.with_context(remedy)?;
    let device =
        |attribute: &RouteAttribute| if let RouteAttribute::Oif(index) = attribute { Some(*index) } else { None };
    let index = route.attributes.iter().find_map(device);
    let name = if_indextoname(index.with_context(remedy)?).with_context(remedy)?;
    let name = name.to_string_lossy().into_owned();
    if name == "lo" {
        bail!("{target} is an address of this host: no device sends to it");
    }
    Ok(name)
}
