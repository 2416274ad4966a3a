//! Which hooks a device gets, and why.

use std::fmt;

/// The hook that is asked for on the way in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IngressChoice {
    /// XDP on network cards, TC on software devices.
    #[default]
    Auto,
    /// XDP.
    Xdp,
    /// TC.
    Tc,
}

/// Who runs an XDP program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum XdpMode {
    /// The driver, before the kernel has made a socket buffer of the frame.
    #[default]
    Native,
    /// The kernel, on any device: with the cost of XDP and the place of TC.
    Generic,
}

/// The way of attaching to the TC hooks that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TcChoice {
    /// TCX where the kernel has it, else `clsact`.
    #[default]
    Auto,
    /// TCX links: Linux 6.6 and later.
    Tcx,
    /// Filters of a `clsact` queueing discipline.
    Clsact,
}

/// A way of attaching to the TC hooks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcMode {
    /// TCX links.
    Tcx,
    /// Filters of a `clsact` queueing discipline.
    Clsact,
}

/// The hook on the way in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ingress {
    /// XDP.
    Xdp(XdpMode),
    /// TC.
    Tc,
}

/// Why it is that hook.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// It was asked for.
    Asked,
    /// The device is a network card.
    NetworkCard,
    /// The device is made of software, of this kind.
    Software(String),
    /// The driver of the network card says that it has no native XDP.
    NoNativeXdp,
    /// The driver of the network card has refused native XDP, with these words.
    NativeXdpRefused(String),
}

/// The hooks that a device gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// On the way in.
    pub ingress: Ingress,
    /// How TC programs are attached: on the way out, and on the way in where `ingress` says so.
    pub tc: TcMode,
    /// Why `ingress` is what it is.
    pub reason: Reason,
}

/// The hook on the way in for a device of this `kind` (`None` is a network card), whose driver says that it has `native`
/// XDP (`None`: it does not say).
pub(crate) fn ingress(
    asked: IngressChoice,
    mode: XdpMode,
    kind: Option<&str>,
    native: Option<bool>,
) -> (Ingress, Reason) {
    match (asked, kind, mode, native) {
        (IngressChoice::Xdp, ..) => (Ingress::Xdp(mode), Reason::Asked),
        (IngressChoice::Tc, ..) => (Ingress::Tc, Reason::Asked),
        (IngressChoice::Auto, Some(kind), ..) => (Ingress::Tc, Reason::Software(kind.to_owned())),
        (IngressChoice::Auto, None, XdpMode::Native, Some(false)) => (Ingress::Tc, Reason::NoNativeXdp),
        (IngressChoice::Auto, None, ..) => (Ingress::Xdp(mode), Reason::NetworkCard),
    }
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

impl fmt::Display for TcMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        })
    }
}

impl fmt::Display for Ingress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xdp(mode) => write!(f, "xdp ({mode})"),
            Self::Tc => f.write_str("tc"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("as asked for"),
            Self::NetworkCard => f.write_str("a network card: XDP is its earliest software point"),
            Self::Software(kind) => {
                write!(
                    f,
                    "on a {kind} device, which is software, native XDP makes every packet's way longer, and generic XDP is as late as TC"
                )
            }
            Self::NoNativeXdp => f.write_str("the driver has no native XDP"),
            Self::NativeXdpRefused(words) => write!(f, "the driver refuses native XDP: {words}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_cards_get_xdp_and_software_devices_tc() {
        use IngressChoice::{Auto, Tc, Xdp};
        use XdpMode::{Generic, Native};

        let chosen = |asked, mode, kind, native| ingress(asked, mode, kind, native).0;
        assert_eq!(chosen(Auto, Native, None, Some(true)), Ingress::Xdp(Native));
        assert_eq!(chosen(Auto, Native, None, None), Ingress::Xdp(Native));
        assert_eq!(chosen(Auto, Native, None, Some(false)), Ingress::Tc);
        assert_eq!(chosen(Auto, Generic, None, Some(false)), Ingress::Xdp(Generic));
        assert_eq!(chosen(Auto, Native, Some("veth"), Some(true)), Ingress::Tc);
        assert_eq!(chosen(Xdp, Native, Some("veth"), Some(true)), Ingress::Xdp(Native));
        assert_eq!(chosen(Xdp, Native, None, Some(false)), Ingress::Xdp(Native));
        assert_eq!(chosen(Tc, Native, None, Some(true)), Ingress::Tc);
    }
}
