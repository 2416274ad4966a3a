//! instamp on the TC hooks: stamps probes behind routing and NAT on the way out, and behind the packet taps on the way in.
#![no_std]
#![no_main]

use core::ffi::c_void;

use aya_ebpf::{
    bindings::TC_ACT_UNSPEC,
    helpers::generated::{bpf_skb_load_bytes, bpf_skb_store_bytes},
    macros::classifier,
    programs::TcContext,
};
use instamp_bpf_common::{Buffer, run};
use instamp_trailer::Hook;

/// Stamps probes, and leaves every packet to the programs behind this one.
#[classifier]
pub(crate) fn tc_egress(context: TcContext) -> i32 {
    run(&SocketBuffer(context), Hook::TC_EGRESS);
    TC_ACT_UNSPEC
}

/// Stamps probes, and leaves every packet to the programs behind this one.
#[classifier]
pub(crate) fn tc_ingress(context: TcContext) -> i32 {
    run(&SocketBuffer(context), Hook::TC_INGRESS);
    TC_ACT_UNSPEC
}

/// The socket buffer behind a TC context.
struct SocketBuffer(TcContext);

impl Buffer for SocketBuffer {
    /// A program that writes directly gets a prologue from the verifier that copies every cloned packet, all of TCP's
    /// among them, and drops it where memory is short (`bpf_unclone_prologue` in the kernel's net/core/filter.c).
    const WRITES_IN_PLACE: bool = false;

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
        self.0.len()
    }

    #[inline(always)]
    unsafe fn load(&self, offset: u32, to: *mut c_void, length: u32) -> bool {
        // SAFETY: the caller has room for what the helper fills.
        unsafe { bpf_skb_load_bytes(self.0.skb.skb.cast(), offset, to, length) == 0 }
    }

    /// The helper copies the packet where it is shared. No flags: the sum of the message stays what it was, and with it
    /// every checksum that the kernel has computed of the packet.
    #[inline(always)]
    unsafe fn store(&self, offset: u32, from: *const c_void, length: u32) -> bool {
        // SAFETY: the caller has what the helper reads.
        unsafe { bpf_skb_store_bytes(self.0.skb.skb, offset, from, length, 0) == 0 }
    }
}

/// The kernel offers some helpers to programs under its own licence alone.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
