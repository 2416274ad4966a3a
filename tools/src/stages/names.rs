//! What stages are called.

use std::fmt;

use super::{Domain, Place};

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "this host",
            Self::Queue => "queue",
            Self::Card => "card",
            Self::QueueAndCard => "queue, card",
            Self::Network => "network",
            Self::Remote => "far host",
            Self::NetworkAndRemote => "net + far",
        })
    }
}

impl Domain {
    /// In the order of the legend.
    pub(crate) const ALL: [Self; 7] =
        [Self::Host, Self::Queue, Self::QueueAndCard, Self::Card, Self::Network, Self::NetworkAndRemote, Self::Remote];

    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Host => "kernel and application here",
            Self::Queue => "queueing discipline here",
            Self::Card => "driver and network card here",
            Self::QueueAndCard => "from queue to wire here",
            Self::Network => "beyond the outermost stamps, both ways",
            Self::Remote => "between the stamps of the far end",
            Self::NetworkAndRemote => "outside of this host",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Receive => f.write_str("application receives"),
            Self::Local(hook, 0) => write!(f, "{hook} of the uplink"),
            Self::Local(hook, point) => write!(f, "{hook} of point {point}"),
            Self::Remote(hook, 0) => write!(f, "{hook} of the far end"),
            Self::Remote(hook, point) => write!(f, "{hook} of the far end, point {point}"),
        }
    }
}
