//! Converts the times in a packet's context: a program that tests and times what other programs do with their stamps.
#![no_std]
#![no_main]

use aya_ebpf::{btf_maps::Array, macros::btf_map, macros::classifier, programs::TcContext};
use instamp_bpf_clock::convert;

/// The time and the bound of the last conversion.
#[btf_map]
static CONVERTED: Array<[u64; 2], 1> = Array::new();

/// Converts the hardware timestamp in the packet's context, at the time in the first two words of its control block, the low
/// one first. Returns 0, or the number of the refusal.
#[classifier]
pub(crate) fn convert_time(context: TcContext) -> i32 {
    let packet = context.skb.skb;
    // SAFETY: the context is the program's while it runs, and the verifier checks what is read of it.
    let device_ns = unsafe { (*packet).hwtstamp };
    // SAFETY: as above.
    let [low, high, ..] = unsafe { (*packet).cb };
    match convert(device_ns, u64::from(high) << 32 | u64::from(low)) {
        Ok(converted) => {
            if let Some(result) = CONVERTED.get_ptr_mut(0) {
                // SAFETY: the entry is there, and its only reader waits for the end of the program.
                unsafe { *result = [converted.time_ns, converted.bound_ns] };
            }
            0
        }
        Err(refusal) => refusal as i32,
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel offers some helpers to programs under its own licence alone.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
