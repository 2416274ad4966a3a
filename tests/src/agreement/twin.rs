//! The native host that a loaded program is compared with.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, hash_map::Entry},
};

use instamp_clockmap::Model;
use instamp_trailer::{Address, Bound, Clock, Hook, Host, Refusal, Sent, SentKey, Site, Standing};

/// How many packets, or late stamps, by hook and outcome.
type Counts = HashMap<(Hook, Result<(), Refusal>), u64>;

/// A host on which the time is the one that the kernel read.
pub(super) struct Twin {
    pub(super) site: Site,
    policy: HashMap<Address, Standing>,
    /// When a packet is stamped.
    pub(super) time_ns: Cell<u64>,
    /// When a time of the card is converted.
    pub(super) now_ns: Cell<u64>,
    /// The model that it is converted with.
    pub(super) model: Cell<Model>,
    /// How many times of the card were converted, and how many were not.
    pub(super) conversions: Cell<[u64; 2]>,
    /// Requests that have left.
    pub(super) sent: RefCell<HashMap<SentKey, Sent>>,
    /// What became of packets and of late stamps.
    pub(super) counts: RefCell<Counts>,
}

impl Twin {
    pub(super) fn new(site: Site) -> Self {
        Self {
            site,
            policy: super::policy().into_iter().map(|(address, standing)| (address.into(), standing)).collect(),
            time_ns: Cell::new(0),
            now_ns: Cell::new(0),
            model: Cell::new(Model::NONE),
            conversions: Cell::default(),
            sent: RefCell::default(),
            counts: RefCell::default(),
        }
    }
}

impl Host for Twin {
    fn site(&self) -> Option<Site> {
        Some(self.site)
    }

    fn standing(&self, address: Address) -> Standing {
        self.policy.get(&address).copied().unwrap_or(Standing::STRANGER)
    }

    fn now_ns(&self, _: Clock) -> Option<u64> {
        Some(self.time_ns.get())
    }

    fn take_sent(&self, key: &SentKey, echo: [u8; 4]) -> Result<Sent, Refusal> {
        match self.sent.borrow_mut().entry(*key) {
            Entry::Occupied(entry) if entry.get().echo == echo => Ok(entry.remove()),
            Entry::Occupied(_) => Err(Refusal::Mismatch),
            Entry::Vacant(_) => Err(Refusal::Absent),
        }
    }

    fn convert(&self, device_ns: u64) -> Option<(u64, Bound)> {
        let converted = self.model.get().convert(device_ns, self.now_ns.get()).ok();
        let mut conversions = self.conversions.get();
        conversions[usize::from(converted.is_none())] += 1;
        self.conversions.set(conversions);
        converted.map(|converted| (converted.time_ns, Bound::at_least(converted.bound_ns)))
    }

    fn count(&self, hook: Hook, outcome: Result<(), Refusal>) {
        *self.counts.borrow_mut().entry((hook, outcome)).or_default() += 1;
    }
}
