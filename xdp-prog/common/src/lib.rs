//! What the instamp programs share: the run of a hook, the host that it runs on, and checked access to packets.
#![no_std]
#![feature(asm_experimental_arch)]

mod buffer;
mod host;
mod packet;

pub use buffer::Buffer;

use host::{Kernel, count};
use instamp_trailer::{Hook, Refusal, stamp};
use packet::{Copying, InPlace};

/// Stamps the packet if it is a probe that may be, and counts what came of it.
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

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
