//! Steering: the way of replies past the stack, to the AF_XDP socket of the stateless prober that has sent the requests.
//!
//! The names, keys and values of the maps are the interface to the loader.

use aya_ebpf::{
    bindings::xdp_action::XDP_PASS,
    btf_maps::{Array, XskMap},
    macros::btf_map,
    programs::XdpContext,
};
use instamp_trailer::{Run, RunKey};

/// How many receive queues can have a socket.
const QUEUES: usize = 256;

/// The sockets, by the receive queue that they are bound to.
#[btf_map]
static SOCKETS: XskMap<QUEUES> = XskMap::new();

/// Whose replies go there, likewise.
#[btf_map]
static RUNS: Array<Run, QUEUES> = Array::new();

/// The run whose replies go to the socket of the queue by which the frame has come in.
#[inline(always)]
pub(crate) fn run(context: &XdpContext) -> Option<RunKey> {
    RunKey::new(RUNS.get(context.rx_queue_index())?.key)
}

/// Sends the frame to the socket of its queue: to the stack where there is none.
#[inline(always)]
pub(crate) fn redirect(context: &XdpContext) -> u32 {
    match SOCKETS.redirect(context.rx_queue_index(), XDP_PASS.into()) {
        Ok(verdict) | Err(verdict) => verdict,
    }
}
