//! instamp on the TC hooks: stamps probes behind routing and NAT on the way out, and behind the packet taps on the way in.
//!
//! The programs read packets directly and write through helpers. A program that writes directly gets a prologue from the
//! verifier that copies every cloned packet, all of TCP's among them, and drops it where memory is short
//! (`bpf_unclone_prologue` in net/core/filter.c).
#![no_std]
#![no_main]

mod packet;

use aya_ebpf::{bindings::TC_ACT_UNSPEC, macros::classifier, programs::TcContext};
use instamp_bpf_common::{Kernel, count};
use instamp_trailer::{Hook, Refusal, stamp};

use packet::{Direct, Fragmented};

/// Stamps probes, and leaves every packet to the programs behind this one.
#[classifier]
pub(crate) fn tc_egress(context: TcContext) -> i32 {
    run(&context, Hook::TC_EGRESS)
}

/// Stamps probes, and leaves every packet to the programs behind this one.
#[classifier]
pub(crate) fn tc_ingress(context: TcContext) -> i32 {
    run(&context, Hook::TC_INGRESS)
}

#[inline(always)]
fn run(context: &TcContext, hook: Hook) -> i32 {
    let outcome = match stamp(&mut Direct(context), &Kernel, hook) {
        Err(Refusal::Truncated) if packet::is_fragmented(context) => stamp_fragmented(context, hook),
        outcome => outcome,
    };
    count(hook, outcome);
    TC_ACT_UNSPEC
}

/// A function of its own, so that the common case does not share its stack.
#[inline(never)]
fn stamp_fragmented(context: &TcContext, hook: Hook) -> Result<(), Refusal> {
    stamp(&mut Fragmented(context), &Kernel, hook)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel offers some helpers to programs under its own licence alone.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
