//! From where to send: what `-I` names.

use std::{convert::Infallible, net::IpAddr, str::FromStr};

use instamp::prober::Config;
use serde::Deserialize;

use crate::resolve::{Family, split_interface};

/// From where to send.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(from = "String")]
pub(crate) enum Source {
    Interface(String),
    /// With the interface that was named after a `%`.
    Address(IpAddr, Option<String>),
}

impl Source {
    /// The addresses that can be reached from it.
    pub(crate) fn family(&self) -> Family {
        match self {
            Self::Interface(_) => Family::Any,
            Self::Address(IpAddr::V4(_), _) => Family::V4,
            Self::Address(IpAddr::V6(_), _) => Family::V6,
        }
    }

    /// Has a prober send from it.
    pub(crate) fn apply(&self, config: &mut Config) {
        match self {
            Self::Interface(name) => config.interface = Some(name.clone()),
            Self::Address(address, interface) => {
                config.source = Some(*address);
                if interface.is_some() {
                    config.interface.clone_from(interface);
                }
            }
        }
    }
}

impl From<String> for Source {
    fn from(text: String) -> Self {
        let Ok(source) = text.parse();
        source
    }
}

impl FromStr for Source {
    type Err = Infallible;

    /// What is no address is the name of an interface.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let (address, interface) = split_interface(text);
        Ok(match address.parse() {
            Ok(address) => Self::Address(address, interface),
            Err(_) => Self::Interface(text.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_interfaces_are_told_apart() {
        let address = |text: &str, interface: Option<&str>| {
            Source::Address(text.parse().expect("an address"), interface.map(str::to_owned))
        };
        for (text, source, family) in [
            ("eth0", Source::Interface("eth0".into()), Family::Any),
            ("odd%name", Source::Interface("odd%name".into()), Family::Any),
            ("192.0.2.1", address("192.0.2.1", None), Family::V4),
            ("2001:db8::1", address("2001:db8::1", None), Family::V6),
            ("fe80::2%eth0", address("fe80::2", Some("eth0")), Family::V6),
        ] {
            let Ok(parsed) = text.parse::<Source>();
            assert_eq!((parsed.family(), &parsed), (family, &source), "{text}");
        }
    }
}
