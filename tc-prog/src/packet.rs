//! A packet behind a TC context.

use aya_ebpf::{
    helpers::generated::{bpf_skb_load_bytes, bpf_skb_store_bytes},
    programs::TcContext,
};
use instamp_bpf_common::{Copied, Stored, linear};
use instamp_trailer::{Packet, View};
use zerocopy::{Immutable, IntoBytes};

/// Reads the linear part directly.
pub(crate) struct Direct<'a>(pub(crate) &'a TcContext);

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
        store(self.0, offset, value)
    }
}

/// Reads packets of several buffers through a helper.
pub(crate) struct Fragmented<'a>(pub(crate) &'a TcContext);

impl Packet for Fragmented<'_> {
    type View<'b, T: View + 'b>
        = Copied<T>
    where
        Self: 'b;

    #[inline(always)]
    fn view<T: View>(&self, offset: u32) -> Option<Copied<T>> {
        // SAFETY: the helper fills all of the value, or fails.
        Copied::load(|to, length| unsafe { bpf_skb_load_bytes(self.0.skb.skb.cast(), offset, to, length) } == 0)
    }

    #[inline(always)]
    fn write<T: IntoBytes + Immutable>(&mut self, offset: u32, value: T) -> Option<()> {
        store(self.0, offset, value)
    }
}

/// Writes through the helper, which copies the packet only where it is shared. No flags: the sum of the message stays
/// what it was, and with it every checksum that the kernel has computed of the packet.
#[inline(always)]
fn store<T: IntoBytes + Immutable>(context: &TcContext, offset: u32, value: T) -> Option<()> {
    let value = Stored::new(value);
    // SAFETY: the helper reads the value, whose size it is told.
    let result =
        unsafe { bpf_skb_store_bytes(context.skb.skb, offset, value.as_ptr().cast(), size_of::<T>() as u32, 0) };
    (result == 0).then_some(())
}

/// Whether the packet has bytes outside the linear part.
#[inline(always)]
pub(crate) fn is_fragmented(context: &TcContext) -> bool {
    context.len() as usize > context.data_end() - context.data()
}
