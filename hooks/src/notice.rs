//! What is told while a command runs.

use std::{fmt, path::PathBuf};

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
    /// The driver will reset the link, as network cards do when native XDP is attached.
    LinkReset {
        /// The device.
        device: String,
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
            Self::LinkReset { device } => {
                write!(f, "{device}: attaching native XDP, for which many drivers take the link down for some seconds")
            }
        }
    }
}
