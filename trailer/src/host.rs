//! The host that a hook runs on: what it writes into its stamps, whom it stamps, and what it knows of requests that have left.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Address, Bound, Clock, Hook, Refusal, Sent, SentKey};

/// What a host writes into its stamps, and by which clocks. This is also the layout of the programs' configuration map.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Site {
    /// The number of this host.
    pub node: u16,
    /// Which attachment of this host: 0 is the uplink, others up to 7.
    pub point: u8,
    /// The exponent of the bound of a software stamp (see [`Bound`]).
    pub bound: u8,
    /// The number of the [`Clock`] in which the host stamps its own probes.
    pub own_clock: u8,
    /// The number of the [`Clock`] in which it stamps the probes of others.
    pub respond_clock: u8,
    /// Whether the times of requests that have left are [kept](Host::take_sent): 1, else 0.
    pub keeps_sent: u8,
    /// From where the card's receive times come: 0 from nowhere, 1 from an XDP program, 2 from the socket buffer alone. For people,
    /// and for probers to whose sockets replies go: hooks do not look at it.
    pub nic_rx: u8,
    /// The number of the network namespace of the attachment: the inode of its file in `/proc`.
    pub namespace: u32,
    /// The clock of the card, whose times are taken: the N of `/dev/ptpN`, plus 1; 0 where none are.
    pub phc: u32,
}

/// What the policy of a host says about an address: bits that may be combined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing(u32);

impl Standing {
    /// Nothing is known of it.
    pub const STRANGER: Self = Self(0);
    /// It is one of this host's own, or of those for which this host measures.
    pub const OWN: Self = Self(1);
    /// Its requests to this host, and the replies to them, may be stamped.
    pub const RESPOND: Self = Self(2);

    /// The bit by which the programs' policy map tells the networks for which this host only measures.
    pub const MEASURED_FOR: u32 = 1 << 8;

    /// The standing that the programs' policy map holds as this number.
    #[inline(always)]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 3)
    }

    /// The number that the programs' policy map holds.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline(always)]
    pub(crate) const fn is(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The host on which a hook runs.
pub trait Host {
    /// What goes into its stamps, or `None` before it was configured.
    fn site(&self) -> Option<Site>;

    /// What its policy says about `address`.
    fn standing(&self, address: Address) -> Standing;

    /// Whether `address` is the host's own, so that it answers for it: not one of those for which it only measures. By default all of
    /// [`Standing::OWN`] are.
    fn answers_for(&self, address: Address) -> bool {
        self.standing(address).is(Standing::OWN)
    }

    /// The time by `clock` in nanoseconds, or `None` where the host does not have that clock.
    fn now_ns(&self, clock: Clock) -> Option<u64>;

    /// Takes out what is known of a request that has left, if it had this identifier and sequence number. By default nothing is known.
    ///
    /// # Errors
    ///
    /// [`Refusal::Absent`], and [`Refusal::Mismatch`] where it had others: then it stays.
    fn take_sent(&self, key: &SentKey, echo: [u8; 4]) -> Result<Sent, Refusal> {
        let _ = (key, echo);
        Err(Refusal::Absent)
    }

    /// A time of the card in [`Clock::MONOTONIC`], or `None` where there is no valid model of its clock: by default.
    fn convert(&self, device_ns: u64) -> Option<(u64, Bound)> {
        let _ = device_ns;
        None
    }

    /// Counts what became of a stamp that goes into a packet besides that of the hook itself. By default nothing is counted.
    fn count(&self, hook: Hook, outcome: Result<(), Refusal>) {
        let _ = (hook, outcome);
    }
}
