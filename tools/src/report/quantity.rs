//! What is measured of a reply.

/// A part of a round trip, or all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Quantity {
    Rtt,
    Net,
    Tx,
    Rx,
    Remote,
}

impl Quantity {
    pub(super) const ALL: [Self; 5] = [Self::Rtt, Self::Net, Self::Tx, Self::Rx, Self::Remote];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rtt => "rtt",
            Self::Net => "net",
            Self::Tx => "tx",
            Self::Rx => "rx",
            Self::Remote => "remote",
        }
    }

    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::Rtt => "the round trip, from the application’s send call to its receive call",
            Self::Net => "of that the network: outside of this host, less remote",
            Self::Tx => "this host on the way out, to the last stamp there",
            Self::Rx => "this host on the way in, from the first stamp there",
            Self::Remote => "the far end, where it stamps",
        }
    }
}
