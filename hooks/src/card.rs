//! What a network card can stamp, and switching it on.

use hwtstamp::{Cause, Change, Interface, RxFilter, Setting, TxMode};

use crate::{
    Error, NicRxSource, Notice,
    device::Here,
    error::Context as _,
    netlink::{generic::Generic, route::Link},
    pins::Directory,
};

/// `NETDEV_XDP_RX_METADATA_TIMESTAMP` of `include/uapi/linux/netdev.h`.
const RX_METADATA_TIMESTAMP: u64 = 1;

/// What a card offers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    /// The number of its clock.
    pub(crate) phc: Option<u32>,
    /// It stamps packets that are sent, where their sender asks for it.
    pub(crate) tx: bool,
    /// It stamps all packets that are received.
    pub(crate) rx: bool,
    /// What comes of its receive times by way of XDP programs.
    pub(crate) xdp_rx: XdpRx,
}

/// Whether XDP programs can hand on to TC when packets were received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum XdpRx {
    /// The driver tells them, and what they put in front of a packet comes to TC.
    Handed,
    /// The driver tells them, and forgets what they put there.
    Dropped,
    Untold,
}

impl XdpRx {
    /// For a driver with these features of `NETDEV_A_DEV_XDP_RX_METADATA_FEATURES`.
    fn of(metadata: u64, driver: Option<&str>) -> Self {
        match (metadata & RX_METADATA_TIMESTAMP != 0, driver) {
            (false, _) => Self::Untold,
            // mlx4's receive path has no `skb_metadata_set` ([en_rx.c]).
            //
            // [en_rx.c]: https://git.kernel.org/pub/scm/linux/kernel/git/stable/linux.git/tree/drivers/net/ethernet/mellanox/mlx4/en_rx.c?h=v6.12.117
            (true, Some("mlx4_core")) => Self::Dropped,
            (true, _) => Self::Handed,
        }
    }
}

impl Offer {
    /// Software devices have no card: a VLAN's or a bond's ports do, to which to attach.
    pub(crate) fn of(link: &Link) -> Result<Self, Error> {
        let interface = if link.kind.is_none() { Some(interface(link)?) } else { None };
        let timestamping = interface.map_or(Ok(None), |it| it.timestamping()).context("find out about", &link.name)?;
        let netdev = Generic::open().and_then(|generic| generic.netdev(link.ifindex));
        let netdev = netdev.context("ask for the XDP features of", &link.name)?;
        let metadata = netdev.and_then(|netdev| netdev.rx_metadata_features).unwrap_or_default();
        Ok(Self {
            phc: timestamping.and_then(|timestamping| timestamping.phc),
            tx: timestamping.is_some_and(|timestamping| timestamping.tx_modes.contains(TxMode::ON)),
            rx: timestamping.is_some_and(|timestamping| timestamping.rx_filters.contains(RxFilter::ALL)),
            xdp_rx: XdpRx::of(metadata, link.driver().as_deref()),
        })
    }

    /// From where its receive times come, or why from nowhere. A driver without a card (veth) has no setting that could keep it
    /// from telling.
    pub(crate) fn nic_rx(self) -> Result<NicRxSource, String> {
        match self {
            Self { xdp_rx: XdpRx::Handed, rx, phc, .. } if rx || phc.is_none() => Ok(NicRxSource::XdpMetadata),
            Self { rx: true, .. } => Ok(NicRxSource::SocketBuffer),
            Self { rx: false, .. } => Err("the card does not stamp all that it receives".to_owned()),
        }
    }

    /// Why XDP programs do not hand them on, where they do not.
    pub(crate) fn not_handed(self) -> &'static str {
        match self.xdp_rx {
            XdpRx::Handed => "only native XDP is told earlier",
            XdpRx::Dropped => "the driver forgets what XDP programs hand on",
            XdpRx::Untold => "the driver does not tell XDP programs",
        }
    }

    fn wanted(self) -> Setting {
        Setting {
            tx: if self.tx { TxMode::ON } else { TxMode::OFF },
            rx: if self.rx { RxFilter::ALL } else { RxFilter::NONE },
        }
    }
}

fn interface(link: &Link) -> Result<Interface, Error> {
    Interface::open_index(link.ifindex).context("open", &link.name)
}

/// Has the card stamp what it can, and notes in the directory how to undo that. What somebody else has set is left as it is, and
/// what a driver refuses is done without.
pub(crate) fn switch_on(
    link: &Link,
    offer: Offer,
    directory: &Directory,
    announce: &dyn Fn(Notice),
) -> Result<(), Error> {
    let wanted = offer.wanted();
    let device = || link.name.clone();
    if wanted == Setting::OFF {
        announce(Notice::CardStampsNothing { device: device() });
        return Ok(());
    }
    let interface = interface(link)?;
    let found = match interface.setting() {
        Ok(found) => found,
        Err(error) => {
            announce(Notice::CardLeft { device: device(), words: error.to_string() });
            return Ok(());
        }
    };
    if found.covers(wanted) {
        announce(Notice::CardIsSet { device: device(), setting: found.to_string() });
        return Ok(());
    }
    // Before it is so: whoever dies in between leaves the way back.
    directory.note_setting(found, wanted)?;
    let made = Change::make(&interface, wanted).or_else(|error| match error.raw_os_error() {
        // Of what was asked for it cannot do all, whatever it says: receive times of everything are what cards lack.
        Some(libc::ERANGE) if wanted.tx == TxMode::ON => {
            Change::make(&interface, Setting { rx: RxFilter::NONE, ..wanted })
        }
        _ => Err(error),
    });
    match made {
        Ok(change) => {
            directory.note_setting(found, change.made)?;
            announce(Notice::CardSet { device: device(), setting: change.made.to_string() });
        }
        Err(error) => {
            directory.forget_setting()?;
            announce(Notice::CardLeft { device: device(), words: error.to_string() });
        }
    }
    Ok(())
}

/// Puts back what was found, where the device is still here.
pub(crate) fn restore(here: &Here, directory: &Directory, announce: &dyn Fn(Notice)) -> Result<(), Error> {
    let Some(link) = here.by_index(directory.ifindex).filter(|_| directory.namespace == here.namespace) else {
        return directory.forget_setting();
    };
    let Some((found, made)) = directory.setting()? else { return Ok(()) };
    match (Change { index: link.ifindex, interface: link.name.clone(), found, made }).undo() {
        Ok(()) => {}
        Err(error) if matches!(error.cause(), Cause::Owned(_)) => {
            announce(Notice::CardLeft { device: link.name.clone(), words: error.to_string() });
        }
        Err(error) => return Err(error).context("restore the timestamps of", &link.name),
    }
    directory.forget_setting()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_tells_and_forgets_is_not_called_one_that_does_not_tell() {
        let mut said = Vec::new();
        for (metadata, driver) in [(1, "mlx5_core"), (1, "mlx4_core"), (0, "igb"), (2, "mlx4_core")] {
            let xdp_rx = XdpRx::of(metadata, Some(driver));
            let offer = Offer { phc: Some(0), tx: true, rx: true, xdp_rx };
            said.push((driver, offer.nic_rx(), offer.not_handed()));
        }
        let untold = "the driver does not tell XDP programs";
        let expected = [
            ("mlx5_core", Ok(NicRxSource::XdpMetadata), "only native XDP is told earlier"),
            ("mlx4_core", Ok(NicRxSource::SocketBuffer), "the driver forgets what XDP programs hand on"),
            ("igb", Ok(NicRxSource::SocketBuffer), untold),
            ("mlx4_core", Ok(NicRxSource::SocketBuffer), untold),
        ];
        assert_eq!(said, expected);
    }
}
