//! A packet behind an XDP context.

use aya_ebpf::{
    helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes, bpf_xdp_store_bytes},
    programs::XdpContext,
};
use instamp_bpf_common::{Copied, Stored, linear};
use instamp_trailer::{Packet, View};
use zerocopy::{Immutable, IntoBytes};

/// Reads and writes the linear part.
pub(crate) struct Direct<'a>(pub(crate) &'a XdpContext);

impl Packet for Direct<'_> {
    type View<'b, T: View + 'b>
        = &'b T
    where
        Self: 'b;

    #[inline(always)]
    fn view<T: View>(&self, offset: u32) -> Option<&T> {
        linear::view(self.0, offset)
    }

    #[inline(always)]
    fn write<T: IntoBytes + Immutable>(&mut self, offset: u32, value: T) -> Option<()> {
        linear::write(self.0, offset, value)
    }
}

/// Reads and writes packets of several buffers through helpers (Linux 5.18).
pub(crate) struct Fragmented<'a>(pub(crate) &'a XdpContext);

impl Packet for Fragmented<'_> {
    type View<'b, T: View + 'b>
        = Copied<T>
    where
        Self: 'b;

    #[inline(always)]
    fn view<T: View>(&self, offset: u32) -> Option<Copied<T>> {
        // SAFETY: the helper fills all of the value, or fails.
        Copied::load(|to, length| unsafe { bpf_xdp_load_bytes(self.0.ctx, offset, to, length) } == 0)
    }

    #[inline(always)]
    fn write<T: IntoBytes + Immutable>(&mut self, offset: u32, value: T) -> Option<()> {
        let value = Stored::new(value);
        // SAFETY: the helper reads the value, whose size it is told.
        let result =
            unsafe { bpf_xdp_store_bytes(self.0.ctx, offset, value.as_ptr().cast_mut().cast(), size_of::<T>() as u32) };
        (result == 0).then_some(())
    }
}

/// Whether the packet has bytes outside the linear part.
#[inline(always)]
pub(crate) fn is_fragmented(context: &XdpContext) -> bool {
    // SAFETY: the helper reads the context.
    let length = unsafe { bpf_xdp_get_buff_len(context.ctx) };
    length as usize > context.data_end() - context.data()
}
