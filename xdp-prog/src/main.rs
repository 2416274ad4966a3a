//! instamp on the XDP hook: stamps probes as they enter, before the kernel makes socket buffers of them.
#![no_std]
#![no_main]

mod packet;

use aya_ebpf::{bindings::xdp_action::XDP_PASS, macros::xdp, programs::XdpContext};
use instamp_bpf_common::{Kernel, count};
use instamp_trailer::{Hook, Refusal, stamp};

use packet::{Direct, Fragmented};

/// Stamps probes, and passes every packet.
#[xdp(frags)]
pub(crate) fn xdp_ingress(context: XdpContext) -> u32 {
    let outcome = match stamp(&mut Direct(&context), &Kernel, Hook::XDP_INGRESS) {
        Err(Refusal::Truncated) if packet::is_fragmented(&context) => stamp_fragmented(&context),
        outcome => outcome,
    };
    count(Hook::XDP_INGRESS, outcome);
    XDP_PASS
}

/// A function of its own, so that the common case does not share its stack.
#[inline(never)]
fn stamp_fragmented(context: &XdpContext) -> Result<(), Refusal> {
    stamp(&mut Fragmented(context), &Kernel, Hook::XDP_INGRESS)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel offers some helpers to programs under its own licence alone.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
