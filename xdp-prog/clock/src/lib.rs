//! The published model of a network card's clock, as programs in the kernel convert with it.
#![no_std]

use aya_ebpf::{bindings::BPF_F_MMAPABLE, btf_maps::Array, macros::btf_map};
use instamp_clockmap::{
    Converted, Refusal,
    layout::{self, WORDS, Words},
};

/// The memory of a model, which its publisher has mapped.
#[btf_map]
static CLOCK: Array<[u64; WORDS], 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// A program may have interrupted the publisher on its own CPU, where waiting is of no use. On another one a write is over
/// before the second attempt, or has lost its processor.
const ATTEMPTS: u32 = 3;

/// Converts a time of the card. `now_ns` is what `bpf_ktime_get_ns` reads.
///
/// # Errors
///
/// Why it cannot be converted.
#[inline(always)]
pub fn convert(device_ns: u64, now_ns: u64) -> Result<Converted, Refusal> {
    let words = CLOCK.get_ptr(0).ok_or(Refusal::Foreign)?;
    layout::read(&Published(words), ATTEMPTS)?.convert(device_ns, now_ns)
}

/// What the publisher writes while programs read.
struct Published(*const [u64; WORDS]);

impl Words for Published {
    #[inline(always)]
    fn load(&self, index: usize) -> u64 {
        let word = self.0.cast::<u64>().wrapping_add(index);
        // SAFETY: the entry has that many words, aligned, and lives as long as the program. The verifier checks it again.
        unsafe { word.read_volatile() }
    }

    /// The compiler keeps volatile loads in their order, and so does x86-64, as every machine that orders its stores and its
    /// loads. Elsewhere a load must follow that acquires (`BPF_LOAD_ACQ`, Linux 6.15), so no map is published there.
    #[inline(always)]
    fn fence(&self) {}
}
