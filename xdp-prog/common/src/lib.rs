//! What the instamp programs share: the run of a hook, the host that it runs on, and checked access to packets.
#![no_std]
#![feature(asm_experimental_arch)]

mod buffer;
mod host;
mod in_flight;
mod packet;

pub use buffer::Buffer;

use host::{Kernel, count};
use instamp_trailer::{Allowed, Hook, Passage, Phase, Refusal, RunKey, is_steered, locate, stamp, stamp_nic_rx};
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

/// Likewise, and says whether the packet, in one piece, is a steered reply of a run, which is looked for where that can be.
#[inline(always)]
pub fn run_steering<B: Buffer>(buffer: &B, hook: Hook, run: impl FnOnce() -> Option<RunKey>) -> bool {
    let (outcome, is_steered) = match steering(buffer, hook, run) {
        Err(Refusal::Truncated) if buffer.is_fragmented() => (run_copying(buffer, hook), false),
        Err(refusal) => (Err(refusal), false),
        Ok(steered) => steered,
    };
    count(hook, outcome);
    is_steered && is_seen(outcome)
}

/// Stamps and counts such a reply, and no other packet. Says whether it is one.
#[inline(always)]
pub fn run_steered<B: Buffer>(buffer: &B, hook: Hook, run: RunKey) -> bool {
    let packet = &mut InPlace(buffer);
    let Ok(probe) = locate(packet) else { return false };
    if !is_steered(packet, &probe, run) || buffer.is_fragmented() {
        return false;
    }
    let Ok(allowed) = Allowed::by(packet, &Kernel, &probe, hook) else { return false };
    if !allowed.is_own() {
        return false;
    }
    let outcome = allowed.stamp(packet, &Kernel, Passage { is_steered: true, ..hook.into() });
    if is_seen(outcome) {
        count(hook, outcome);
    }
    is_seen(outcome)
}

/// What comes of stamping the packet, and whether it is steered; or why it is no probe that may be stamped.
#[inline(always)]
fn steering<B: Buffer>(
    buffer: &B,
    hook: Hook,
    run: impl FnOnce() -> Option<RunKey>,
) -> Result<(Result<(), Refusal>, bool), Refusal> {
    let packet = &mut InPlace(buffer);
    let probe = locate(packet)?;
    let allowed = Allowed::by(packet, &Kernel, &probe, hook)?;
    let is_steered = probe.phase == Phase::Reply
        && allowed.is_own()
        && run().is_some_and(|run| is_steered(packet, &probe, run))
        && !buffer.is_fragmented();
    Ok((allowed.stamp(packet, &Kernel, Passage { is_steered, ..hook.into() }), is_steered))
}

/// Whether it has passed the hook, though there may have been no room to tell so.
#[inline(always)]
fn is_seen(outcome: Result<(), Refusal>) -> bool {
    matches!(outcome, Ok(()) | Err(Refusal::Full))
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
