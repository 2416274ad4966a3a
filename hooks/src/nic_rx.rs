//! The program that hands on when the card received a packet. It is bound to its device, whose driver alone knows.

use std::mem::MaybeUninit;

use libbpf_rs::{
    Link as BpfLink, OpenMapMut,
    skel::{OpenSkel as _, SkelBuilder as _},
};

use crate::{
    netlink::route::Link,
    pins::{Directory, POLICY, RUNS, SOCKETS, XDP_INGRESS},
    skeletons::{NicRxSkelBuilder, quiet},
};

/// `BPF_F_XDP_DEV_BOUND_ONLY` of `include/uapi/linux/bpf.h`: Linux 6.3.
const BOUND_TO_DEVICE: u32 = 1 << 6;

/// Attaches the program to a device, in its driver, and pins the link. It shares the maps of the directory: makes and pins those that
/// are not there.
pub(crate) fn attach(link: &Link, directory: &Directory) -> libbpf_rs::Result<()> {
    quiet();
    let mut storage = MaybeUninit::uninit();
    let mut open = NicRxSkelBuilder::default().open(&mut storage)?;
    open.progs.nic_rx.set_ifindex(link.ifindex);
    open.progs.nic_rx.set_flags(BOUND_TO_DEVICE);
    let pin = |map: &mut OpenMapMut<'_>, name| map.set_pin_path(directory.pin(name));
    pin(&mut open.maps.POLICY, POLICY)?;
    pin(&mut open.maps.SOCKETS, SOCKETS)?;
    pin(&mut open.maps.RUNS, RUNS)?;
    let loaded = open.load()?;
    let ifindex = i32::try_from(link.ifindex).map_err(std::io::Error::other)?;
    let mut attached: BpfLink = loaded.progs.nic_rx.attach_xdp(ifindex)?;
    attached.pin(directory.pin(XDP_INGRESS))
}
