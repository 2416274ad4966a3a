//! The host as the programs see it: its configuration, its policy, its clocks and its counters.
//!
//! The names, keys and values of the maps are the interface to the loader.

use aya_ebpf::{
    btf_maps::{Array, LpmTrie, LruHashMap, PerCpuArray, lpm_trie::Key},
    helpers::generated::{bpf_ktime_get_ns, bpf_ktime_get_tai_ns},
    macros::btf_map,
};
use instamp_trailer::{Address, Bound, Clock, Hook, Host, NicTx, Refusal, Sent, SentKey, Site, Standing};

/// One entry: what this attachment writes into its stamps. Until the loader has written it there is no clock in it, and
/// nothing is stamped.
#[btf_map]
static SITE: Array<Site, 1> = Array::new();

/// Prefixes of IPv6 addresses, IPv4 ones mapped, and the bits of their [`Standing`].
#[btf_map]
static POLICY: LpmTrie<[u32; 4], u32, 1024> = LpmTrie::new();

/// Packets by hook and outcome: the hook's number times [`OUTCOMES`], plus 0 for stamped or the [`Refusal`]'s number.
#[btf_map]
static COUNTERS: PerCpuArray<u64, { (HOOKS * OUTCOMES) as usize }> = PerCpuArray::new();

/// The hooks whose packets are counted have numbers below this.
const HOOKS: u32 = 7;
const OUTCOMES: u32 = 16;

/// Requests that have left, of all attachments: `trace-prog/` writes it, and says how.
#[btf_map]
static IN_FLIGHT: LruHashMap<SentKey, Sent, 65536> = LruHashMap::new();

/// When cards sent them, where that has become known: likewise.
#[btf_map]
static NIC_TX: LruHashMap<SentKey, NicTx, 65536> = LruHashMap::new();

/// The host that the kernel runs the program on.
pub(crate) struct Kernel;

impl Host for Kernel {
    #[inline(always)]
    fn site(&self) -> Option<Site> {
        SITE.get(0).copied()
    }

    #[inline(always)]
    fn standing(&self, address: Address) -> Standing {
        match POLICY.get(&Key::new(128, address.words())) {
            Some(bits) => Standing::from_bits(*bits),
            None => Standing::STRANGER,
        }
    }

    #[inline(always)]
    fn now_ns(&self, clock: Clock) -> Option<u64> {
        match clock {
            // SAFETY: the helper takes nothing and touches no memory.
            Clock::MONOTONIC => Some(unsafe { bpf_ktime_get_ns() }),
            // SAFETY: as above.
            Clock::TAI => Some(unsafe { bpf_ktime_get_tai_ns() }),
            _ => None,
        }
    }

    #[inline(always)]
    fn sent(&self, key: &SentKey) -> Option<Sent> {
        // SAFETY: the entry may become another's while it is copied: the caller uses the copy only where `forget_sent` then
        // finds the key still there, which it is not if so.
        unsafe { IN_FLIGHT.get(key) }.copied()
    }

    #[inline(always)]
    fn forget_sent(&self, key: &SentKey) -> bool {
        IN_FLIGHT.remove(key).is_ok()
    }

    #[inline(always)]
    fn nic_tx(&self, key: &SentKey) -> Option<NicTx> {
        // SAFETY: as above.
        unsafe { NIC_TX.get(key) }.copied()
    }

    #[inline(always)]
    fn forget_nic_tx(&self, key: &SentKey) -> bool {
        NIC_TX.remove(key).is_ok()
    }

    #[inline(always)]
    fn convert(&self, device_ns: u64) -> Option<(u64, Bound)> {
        let now_ns = self.now_ns(Clock::MONOTONIC)?;
        let converted = instamp_bpf_clock::convert(device_ns, now_ns).ok()?;
        Some((converted.time_ns, Bound::at_least(converted.bound_ns)))
    }

    #[inline(always)]
    fn count(&self, hook: Hook, outcome: Result<(), Refusal>) {
        count(hook, outcome);
    }
}

/// Counts the outcome of one packet at `hook`.
#[inline(always)]
pub(crate) fn count(hook: Hook, outcome: Result<(), Refusal>) {
    let outcome = match outcome {
        Ok(()) => 0,
        Err(refusal) => refusal as u32,
    };
    if let Some(counter) = COUNTERS.get_ptr_mut(hook.number() as u32 * OUTCOMES + outcome) {
        // SAFETY: the entry is this CPU's own, and belongs to this hook, which runs with softirqs off.
        unsafe { *counter += 1 };
    }
}
