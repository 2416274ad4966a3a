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
use instamp_bpf_common::{Buffer, run, run_nic_rx, run_passed};
use instamp_trailer::{Handed, Hook, Passage};

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

/// Likewise, with the card's receive time, behind `xdp-prog/hw/nic_rx.bpf.c`: a probe is stamped with the times that came with
/// it. Where the driver has not carried them over, the stamp is of this place, and the card's time that of the socket buffer.
#[classifier]
pub(crate) fn tc_ingress_handed(context: TcContext) -> i32 {
    let passage = match handed(&context) {
        Some(handed) => handed.into(),
        None => Passage { nic_rx_ns: Some(hardware_ns(&context)), ..Hook::TC_INGRESS.into() },
    };
    run_passed(&SocketBuffer(context), &passage);
    TC_ACT_UNSPEC
}

/// Adds the card's receive time, as it is in the socket buffer, to replies that the XDP program has stamped.
#[classifier]
pub(crate) fn tc_ingress_nic_rx(context: TcContext) -> i32 {
    let nic_rx_ns = hardware_ns(&context);
    run_nic_rx(&SocketBuffer(context), nic_rx_ns);
    TC_ACT_UNSPEC
}

/// What came with the packet, if that is ours.
#[inline(always)]
fn handed(context: &TcContext) -> Option<Handed> {
    let packet = context.skb.skb;
    // SAFETY: the context is the program's while it runs.
    let (start, end) = unsafe { ((*packet).data_meta as usize, (*packet).data as usize) };
    if start + size_of::<Handed>() > end {
        return None;
    }
    // SAFETY: the bytes lie inside the metadata, which only programs before this one have written.
    let handed = unsafe { *(start as *const Handed) };
    handed.is_ours().then_some(handed)
}

/// When the card received the packet, by its own clock; 0 where it does not tell.
///
/// Some drivers (igc, tsnep) put there the address of what they convert only for sockets: `netdev_data` of `struct
/// skb_shared_hwtstamps`. The kernel's addresses are negative numbers, its times are not until 2262.
#[inline(always)]
fn hardware_ns(context: &TcContext) -> u64 {
    // SAFETY: the context is the program's while it runs.
    let time = unsafe { (*context.skb.skb).hwtstamp };
    if time.cast_signed() < 0 { 0 } else { time }
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
