//! Why a packet is not stamped.

use core::fmt;

/// The reason why a hook left a packet as it was. Each has a counter of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// Not an ICMP or ICMPv6 echo request or reply.
    NotEcho = 1,
    /// A fragment of an ICMP message. An IPv6 fragment header makes a fragment, even one that says there are no others.
    Fragment,
    /// The packet ends before its headers do, or before its IP length says.
    Truncated,
    /// An echo message that does not end in a trailer: somebody else's ping.
    NoTrailer,
    /// A trailer of a version that this code does not know.
    Version,
    /// A message of odd length, in which records would not lie on 16-bit words.
    OddLength,
    /// More records used than there are, fewer than two, or more than the message has room for.
    Counts,
    /// The policy of this host does not allow it: a stranger's probe.
    Policy,
    /// No free record. The footer's flag says so from then on.
    Full,
    /// The packet could not be written to.
    Unwritable,
    /// Of the driver's and the card's times: none was known when the reply came.
    Absent,
    /// Likewise: what was kept under the nonce is of another message, as nonces that are used twice have it, or the time is of
    /// another card's clock than that of the hook.
    Mismatch,
}

impl Refusal {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::NotEcho,
        Self::Fragment,
        Self::Truncated,
        Self::NoTrailer,
        Self::Version,
        Self::OddLength,
        Self::Counts,
        Self::Policy,
        Self::Full,
        Self::Unwritable,
        Self::Absent,
        Self::Mismatch,
    ];

    /// The name under which the refusal is counted and printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotEcho => "not-echo",
            Self::Fragment => "fragment",
            Self::Truncated => "truncated",
            Self::NoTrailer => "no-trailer",
            Self::Version => "version",
            Self::OddLength => "odd-length",
            Self::Counts => "counts",
            Self::Policy => "policy",
            Self::Full => "full",
            Self::Unwritable => "unwritable",
            Self::Absent => "absent",
            Self::Mismatch => "mismatch",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl core::error::Error for Refusal {}
