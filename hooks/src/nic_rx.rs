//! The program that hands on when the card received a packet. It is bound to its device, whose driver alone knows.

use std::{mem::MaybeUninit, path::Path};

use libbpf_rs::{
    Link as BpfLink,
    skel::{OpenSkel as _, SkelBuilder as _},
};

use crate::{
    netlink::route::Link,
    skeletons::{NicRxSkelBuilder, quiet},
};

/// `BPF_F_XDP_DEV_BOUND_ONLY` of `include/uapi/linux/bpf.h`: Linux 6.3.
const BOUND_TO_DEVICE: u32 = 1 << 6;

/// Attaches the program to a device, in its driver, and pins the link.
pub(crate) fn attach(link: &Link, pin: &Path) -> libbpf_rs::Result<()> {
    quiet();
    let mut storage = MaybeUninit::uninit();
    let mut open = NicRxSkelBuilder::default().open(&mut storage)?;
    open.progs.nic_rx.set_ifindex(link.ifindex);
    open.progs.nic_rx.set_flags(BOUND_TO_DEVICE);
    let loaded = open.load()?;
    let ifindex = i32::try_from(link.ifindex).map_err(std::io::Error::other)?;
    let mut attached: BpfLink = loaded.progs.nic_rx.attach_xdp(ifindex)?;
    attached.pin(pin)
}
