//! What the instamp programs share: the run of a hook, the host that it runs on, and checked access to packets.
#![no_std]
#![feature(asm_experimental_arch)]

mod buffer;
mod host;
mod in_flight;
mod packet;

pub use buffer::Buffer;

use host::{Kernel, count};
use instamp_trailer::{Hook, Passage, Refusal, stamp, stamp_nic_rx};
use packet::{Copying, InPlace};

/// Stamps the packet with this place and time if it is a probe that may be, and counts what came of it.
#[inline(always)]
pub fn run<B: Buffer>(buffer: &B, hook: Hook) {
    let outcome = match stamp(&mut InPlace(buffer), &Kernel, hook) {
        Err(Refusal::Truncated) if buffer.is_fragmented() => run_copying(buffer, hook),
        outcome => outcome,
    };
    count(hook, outcome);
}

/// A function of its own, so that the common case does not share its stack.
#[inline(never)]
fn run_copying<B: Buffer>(buffer: &B, hook: Hook) -> Result<(), Refusal> {
    stamp(&mut Copying(buffer), &Kernel, hook)
}

/// Likewise, with what is known of the packet's passage. It takes more stack, so all of it is apart from the program's.
#[inline(always)]
pub fn run_passed<B: Buffer>(buffer: &B, passage: &Passage) {
    let outcome = match run_passed_in_place(buffer, passage) {
        Err(Refusal::Truncated) if buffer.is_fragmented() => run_passed_copying(buffer, passage),
        outcome => outcome,
    };
    count(passage.hook, outcome);
}

#[inline(never)]
fn run_passed_in_place<B: Buffer>(buffer: &B, passage: &Passage) -> Result<(), Refusal> {
    stamp(&mut InPlace(buffer), &Kernel, *passage)
}

#[inline(never)]
fn run_passed_copying<B: Buffer>(buffer: &B, passage: &Passage) -> Result<(), Refusal> {
    stamp(&mut Copying(buffer), &Kernel, *passage)
}

/// Adds the card's receive time to a reply that another hook has stamped, and counts what came of it.
#[inline(always)]
pub fn run_nic_rx<B: Buffer>(buffer: &B, nic_rx_ns: u64) {
    let outcome = match stamp_nic_rx(&mut InPlace(buffer), &Kernel, nic_rx_ns) {
        Err(Refusal::Truncated) if buffer.is_fragmented() => run_nic_rx_copying(buffer, nic_rx_ns),
        outcome => outcome,
    };
    count(Hook::NIC_RX, outcome);
}

#[inline(never)]
fn run_nic_rx_copying<B: Buffer>(buffer: &B, nic_rx_ns: u64) -> Result<(), Refusal> {
    stamp_nic_rx(&mut Copying(buffer), &Kernel, nic_rx_ns)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
