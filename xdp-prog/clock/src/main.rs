//! Converts the times in a packet: a program that tests and times what other programs do with their stamps.
#![no_std]
#![no_main]

use aya_ebpf::{btf_maps::Array, macros::btf_map, macros::classifier, programs::TcContext};
use instamp_bpf_clock::convert;

/// The time and the bound of the last conversion.
#[btf_map]
static CONVERTED: Array<[u64; 2], 1> = Array::new();

/// Where a test run leaves the payload alone: behind the Ethernet header.
const TIMES: usize = 14;

/// Converts the first 8 bytes of the packet behind its Ethernet header, as a time of the device, at the time in the 8 bytes
/// behind them, both in the machine's byte order. Returns 0, or the number of the refusal; -1 where the packet is too short.
#[classifier]
pub(crate) fn convert_time(context: TcContext) -> i32 {
    let times = context.data() + TIMES;
    if times + size_of::<[u64; 2]>() > context.data_end() {
        return -1;
    }
    // SAFETY: both lie inside the packet, which is the program's alone while it runs.
    let [device_ns, now_ns] = unsafe { (times as *const [u64; 2]).read_unaligned() };
    match convert(device_ns, now_ns) {
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
