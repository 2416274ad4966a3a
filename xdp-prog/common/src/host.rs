//! The host as the programs see it: its configuration, its policy, its clocks and its counters.
//!
//! The names, keys and values of the maps are the interface to the loader.

use aya_ebpf::{
    btf_maps::{Array, LpmTrie, PerCpuArray, lpm_trie::Key},
    helpers::generated::{bpf_ktime_get_ns, bpf_ktime_get_tai_ns},
    macros::btf_map,
};
use instamp_trailer::{Address, Bound, Clock, Hook, Host, Refusal, Sent, SentKey, Site, Standing};

use crate::in_flight;

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
    fn answers_for(&self, address: Address) -> bool {
        let Some(bits) = POLICY.get(&Key::new(128, address.words())) else { return false };
        bits & (Standing::OWN.bits() | Standing::MEASURED_FOR) == Standing::OWN.bits()
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
    fn take_sent(&self, key: &SentKey, echo: [u8; 4]) -> Result<Sent, Refusal> {
        in_flight::take(key, echo)
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
