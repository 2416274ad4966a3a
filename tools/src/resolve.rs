//! From the name of a host to its address.

use std::net::IpAddr;

use anyhow::{Context as _, bail};

/// Which addresses will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    Any,
    V4,
    V6,
}

impl Family {
    fn allows(self, address: &IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Any => "IP",
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// The first address of `destination` that `family` allows, and the interface that was named after a `%`.
///
/// # Errors
///
/// Why there is none, and what to do.
pub(crate) async fn resolve(destination: &str, family: Family) -> anyhow::Result<(IpAddr, Option<String>)> {
    resolve_again(destination, family, None).await
}

/// Likewise, but `present`, if that is still an address of it: name servers change the order of many.
///
/// # Errors
///
/// Why there is none, and what to do.
pub(crate) async fn resolve_again(
    destination: &str,
    family: Family,
    present: Option<IpAddr>,
) -> anyhow::Result<(IpAddr, Option<String>)> {
    let (host, interface) = split_interface(destination);
    let addresses: Vec<IpAddr> = match host.parse() {
        Ok(address) => vec![address],
        Err(_) => tokio::net::lookup_host((host, 0))
            .await
            .with_context(|| {
                format!("cannot resolve {host}: check its spelling and the name servers in /etc/resolv.conf, or use an address")
            })?
            .map(|address| address.ip())
            .collect(),
    };
    let kept = present.filter(|present| addresses.contains(present));
    let Some(address) = kept.or_else(|| addresses.into_iter().find(|address| family.allows(address))) else {
        bail!("{host} has no {} address: leave out -4 and -6, and an address in -I, to use any", family.name());
    };
    Ok((address, interface))
}

/// A host and the interface that is named after a `%`, as in `fe80::1%eth0`.
pub(crate) fn split_interface(text: &str) -> (&str, Option<String>) {
    match text.split_once('%') {
        Some((host, interface)) => (host, Some(interface.to_owned())),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(destination: &str, family: Family) -> Result<(String, Option<String>), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let result = runtime.block_on(resolve(destination, family));
        result.map(|(address, interface)| (address.to_string(), interface)).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_need_no_name_server() {
        assert_eq!(resolved("192.0.2.1", Family::Any), Ok(("192.0.2.1".into(), None)));
        assert_eq!(resolved("fe80::1%eth0", Family::V6), Ok(("fe80::1".into(), Some("eth0".into()))));
    }

    #[test]
    fn an_address_of_the_other_family_is_refused() {
        let refused =
            Err("192.0.2.1 has no IPv6 address: leave out -4 and -6, and an address in -I, to use any".into());
        assert_eq!(resolved("192.0.2.1", Family::V6), refused);
    }
}
