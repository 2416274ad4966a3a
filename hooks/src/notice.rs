//! What is told while a command runs.

use std::{fmt, net::IpAddr, path::PathBuf};

use crate::Choice;

/// Something the user should know, told at the moment at which it is about to be so.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// Another command is at work, and this one waits until that has ended.
    Waiting {
        /// The directory that the other has locked.
        path: PathBuf,
    },
    /// The hook on the way in was chosen, since none was asked for.
    Chosen {
        /// The device.
        device: String,
        /// The choice and its reason.
        choice: Choice,
    },
    /// The device seems to lead to a container, but has the point of the uplink, since no other was asked for.
    ContainerAtUplink {
        /// The device.
        device: String,
    },
    /// The other end of a veth has addresses that do not count as this host's.
    AddressesIgnored {
        /// The device.
        device: String,
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// How many are taken of one other end.
        most: usize,
    },
    /// A device is attached already, and stays as it is.
    Kept {
        /// The device.
        device: String,
        /// The options that do not count for it.
        options: Vec<&'static str>,
    },
    /// What a device is attached to for, or whom it allows for containers, could not be made what it should be.
    Unsettled {
        /// The device.
        device: String,
        /// What failed.
        words: String,
    },
    /// The driver will reset the link, as network cards do when native XDP is attached.
    LinkReset {
        /// The device.
        device: String,
    },
    /// The device is a veth whose other end may drop what an XDP program sends back.
    PeerWithoutNapi {
        /// The device.
        device: String,
    },
    /// This kernel does not tell when it hands packets to drivers.
    NoDriverTx {
        /// The device.
        device: String,
        /// What it said.
        words: String,
    },
    /// The card has been set to stamp.
    CardSet {
        /// The device.
        device: String,
        /// What it stamps.
        setting: String,
    },
    /// The card stamps what is wanted already.
    CardIsSet {
        /// The device.
        device: String,
        /// What it stamps.
        setting: String,
    },
    /// The setting of the card is somebody else's, and stays what it is.
    CardLeft {
        /// The device.
        device: String,
        /// Whose, and what to do.
        words: String,
    },
    /// What a card stamped before could not be put back.
    CardNotRestored {
        /// Which one, and why.
        words: String,
    },
    /// The card cannot stamp what is measured.
    CardStampsNothing {
        /// The device.
        device: String,
    },
    /// This kernel does not tell when cards have sent packets.
    NoNicTx {
        /// The device.
        device: String,
        /// Why.
        words: String,
    },
    /// There are no receive times of the card, or not from where they would be first.
    NoNicRx {
        /// The device.
        device: String,
        /// Why.
        words: String,
    },
    /// Times of the card cannot be brought into the time of the host.
    NoConversion {
        /// The device.
        device: String,
        /// Why.
        words: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { path } => {
                write!(f, "waiting for another command, which has locked {}", path.display())
            }
            Self::Chosen { device, choice: Choice { ingress, reason, .. } } => {
                write!(f, "{device}: ingress by {ingress}: {reason}")
            }
            Self::ContainerAtUplink { device } => write!(
                f,
                "{device} leads into another network namespace, whose probes are not stamped at point 0, the uplink: \
                 for a container's veth use `--point 1` to 7, for an uplink `--point 0`"
            ),
            Self::AddressesIgnored { device, addresses, most } => {
                const SHOWN: usize = 4;
                let shown: Vec<_> = addresses.iter().take(SHOWN).map(IpAddr::to_string).collect();
                let rest = addresses.len().saturating_sub(SHOWN);
                let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
                write!(
                    f,
                    "{device}: probes of {}{rest} are not stamped as this host's: of the other end's addresses those count, {most} at \
                     most, that are not this host's own, and to which it has a route by {device}, or by the bridge whose port that is; \
                     `--source` names others",
                    shown.join(", ")
                )
            }
            Self::Kept { device, options } => write!(
                f,
                "{device} is attached already, and stays as it is: {} do not count for it",
                options.join(", ")
            ),
            Self::Unsettled { device, words } => write!(
                f,
                "{device}: what it allows for containers is left as it was: {words}; where this stays so, `instamp detach --dev` \
                 takes it off"
            ),
            Self::LinkReset { device } => {
                write!(f, "{device}: attaching native XDP, for which many drivers take the link down for some seconds")
            }
            Self::PeerWithoutNapi { device } => write!(
                f,
                "{device} is a veth: its other end takes what is sent back only with an XDP program of its own, or with GRO: where no \
                 replies arrive, run `ethtool -K DEVICE gro on` there"
            ),
            Self::NoDriverTx { device, words } => write!(
                f,
                "{device}: no driver-tx: the times at net_dev_start_xmit cannot be had ({words}): the queueing discipline's stays \
                 in `net`"
            ),
            Self::CardSet { device, setting } => write!(f, "{device}: the card is set to stamp: {setting}"),
            Self::CardIsSet { device, setting } => {
                write!(f, "{device}: somebody else has set the card to stamp, which is left as it is: {setting}")
            }
            Self::CardLeft { device, words } => write!(f, "{device}: the setting of the card is left alone: {words}"),
            Self::CardNotRestored { words } => write!(f, "{words}: the next command tries again"),
            Self::CardStampsNothing { device } => {
                write!(
                    f,
                    "{device} has no hardware that stamps pings (of a VLAN or a bond its port has): `instamp caps` shows what there is"
                )
            }
            Self::NoNicTx { device, words } => write!(
                f,
                "{device}: no nic-tx in replies ({words}): a prober in the network namespace of {device} gets the times from its own \
                 socket: `instamp ping --hw`"
            ),
            Self::NoNicRx { device, words } => write!(f, "{device}: nic-rx: {words}"),
            Self::NoConversion { device, words } => {
                write!(f, "{device}: times of the card are not converted: {words}")
            }
        }
    }
}
