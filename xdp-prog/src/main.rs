//! instamp on the XDP hook: stamps probes as they enter, before the kernel makes socket buffers of them.
#![no_std]
#![no_main]

mod reflect;
mod steer;

use core::ffi::c_void;

use aya_ebpf::{
    bindings::xdp_action::{XDP_PASS, XDP_TX},
    helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes, bpf_xdp_store_bytes},
    macros::xdp,
    programs::XdpContext,
};
use instamp_bpf_common::{Buffer, Way, run_reflecting, run_steered, run_steering};
use instamp_trailer::Hook;
use reflect::Lease;

/// Stamps probes, and passes every packet but the replies that are steered to a socket.
#[xdp(frags)]
pub(crate) fn xdp_ingress(context: XdpContext) -> u32 {
    let frame = Frame(context);
    if run_steering(&frame, Hook::XDP_INGRESS, || steer::run(&frame.0)) { steer::redirect(&frame.0) } else { XDP_PASS }
}

/// Stamps the replies that are steered to a socket, and passes every other packet as it is: on devices that are not stamped here.
#[xdp(frags)]
pub(crate) fn xdp_steer(context: XdpContext) -> u32 {
    let frame = Frame(context);
    match steer::run(&frame.0) {
        Some(run) if run_steered(&frame, Hook::XDP_INGRESS, run) => steer::redirect(&frame.0),
        _ => XDP_PASS,
    }
}

/// Turns requests to this host round while a process asks for that. What it does not, it treats as `xdp_ingress` does; or passes, where it
/// is not in the place of that.
#[xdp(frags)]
pub(crate) fn xdp_reflect(context: XdpContext) -> u32 {
    let frame = Frame(context);
    let run = || steer::run(&frame.0);
    match run_reflecting(&frame, Hook::XDP_INGRESS, run, Lease::now, reflect::count, reflect::stamps()) {
        Way::Stack => XDP_PASS,
        Way::Socket => steer::redirect(&frame.0),
        Way::Back => XDP_TX,
    }
}

/// A frame behind an XDP context: of several fragments where a driver's buffers are smaller than it (Linux 5.18).
struct Frame(XdpContext);

impl Buffer for Frame {
    const WRITES_IN_PLACE: bool = true;

    #[inline(always)]
    fn data(&self) -> usize {
        self.0.data()
    }

    #[inline(always)]
    fn data_end(&self) -> usize {
        self.0.data_end()
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: the helper reads the context.
        let length = unsafe { bpf_xdp_get_buff_len(self.0.ctx) };
        length as u32
    }

    #[inline(always)]
    unsafe fn load(&self, offset: u32, to: *mut c_void, length: u32) -> bool {
        // SAFETY: the caller has room for what the helper fills.
        unsafe { bpf_xdp_load_bytes(self.0.ctx, offset, to, length) == 0 }
    }

    #[inline(always)]
    unsafe fn store(&self, offset: u32, from: *const c_void, length: u32) -> bool {
        // SAFETY: the caller has what the helper reads; it does not write there.
        unsafe { bpf_xdp_store_bytes(self.0.ctx, offset, from.cast_mut(), length) == 0 }
    }
}

/// The kernel offers some helpers to programs under its own licence alone.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
