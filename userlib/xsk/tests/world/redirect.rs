//! An XDP program that redirects all frames to the sockets of their queues.

#![expect(unsafe_code, reason = "bpf(2)")]

use std::{
    os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr,
};

use nix::errno::Errno;

/// What the program puts in front of each frame, as metadata.
pub(crate) const METADATA: u64 = 0x5eed_c0de;

/// The program on a device, as long as this lives.
pub(crate) struct Redirect {
    map: OwnedFd,
    _link: OwnedFd,
}

impl Redirect {
    /// Attaches to the device of this network namespace, natively.
    pub(crate) fn attach(device: u32) -> Self {
        let map = map(2);
        let descriptor = map.as_raw_fd();
        let program = program(&[
            instruction(0xbf, 6, 1, 0, 0),  // r6 = the context
            instruction(0xb7, 2, 0, 0, -8), // r2 = -8
            instruction(0x85, 0, 0, 0, 54), // bpf_xdp_adjust_meta
            instruction(0x55, 0, 0, 7, 0),  // if r0 != 0, redirect without metadata
            instruction(0x61, 2, 6, 8, 0),  // r2 = data_meta
            instruction(0x61, 3, 6, 0, 0),  // r3 = data
            instruction(0xbf, 4, 2, 0, 0),  // r4 = data_meta + 8
            instruction(0x07, 4, 0, 0, 8),
            instruction(0x2d, 4, 3, 2, 0), // if r4 > data, redirect without metadata
            instruction(0xb7, 5, 0, 0, i32::try_from(METADATA).expect("a small number")),
            instruction(0x7b, 2, 5, 0, 0),          // *data_meta = METADATA
            instruction(0x61, 2, 6, 16, 0),         // r2 = rx_queue_index
            instruction(0x18, 1, 1, 0, descriptor), // r1 = the map
            instruction(0, 0, 0, 0, 0),
            instruction(0xb7, 3, 0, 0, 2),  // r3 = XDP_PASS, for a queue without a socket
            instruction(0x85, 0, 0, 0, 51), // bpf_redirect_map
            instruction(0x95, 0, 0, 0, 0),  // return its result
        ]);
        const BPF_LINK_CREATE: libc::c_int = 28;
        const BPF_XDP: u32 = 37;
        const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
        let attributes = [pair(number(&program), device), pair(BPF_XDP, XDP_FLAGS_DRV_MODE)];
        Self { map, _link: opened(BPF_LINK_CREATE, &attributes) }
    }

    /// Frames of the queue go to this socket.
    pub(crate) fn to(&self, queue: u32, socket: impl AsFd) {
        const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
        let value = number(&socket);
        let (key, value) = (ptr::from_ref(&queue) as u64, ptr::from_ref(&value) as u64);
        bpf(BPF_MAP_UPDATE_ELEM, &[number(&self.map).into(), key, value, 0]).expect("the map has the queue");
    }
}

fn map(queues: u32) -> OwnedFd {
    const BPF_MAP_CREATE: libc::c_int = 0;
    const BPF_MAP_TYPE_XSKMAP: u32 = 17;
    opened(BPF_MAP_CREATE, &[pair(BPF_MAP_TYPE_XSKMAP, 4), pair(4, queues)])
}

fn program(instructions: &[u64]) -> OwnedFd {
    const BPF_PROG_LOAD: libc::c_int = 5;
    const BPF_PROG_TYPE_XDP: u32 = 6;
    let count = u32::try_from(instructions.len()).expect("a few");
    let (start, license) = (instructions.as_ptr() as u64, c"GPL".as_ptr() as u64);
    opened(BPF_PROG_LOAD, &[pair(BPF_PROG_TYPE_XDP, count), start, license])
}

fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    let registers = if cfg!(target_endian = "little") { source << 4 | destination } else { destination << 4 | source };
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    u64::from_ne_bytes([code, registers, o0, o1, i0, i1, i2, i3])
}

/// Two fields of 32 bits, one behind the other.
fn pair(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

fn number(descriptor: &impl AsFd) -> u32 {
    descriptor.as_fd().as_raw_fd().try_into().expect("descriptors are positive")
}

fn opened(command: libc::c_int, attributes: &[u64]) -> OwnedFd {
    let descriptor = bpf(command, attributes).unwrap_or_else(|errno| panic!("bpf({command}): {errno}"));
    // SAFETY: the call has just opened it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

fn bpf(command: libc::c_int, attributes: &[u64]) -> nix::Result<i32> {
    // SAFETY: the attributes are live, of this size, and point to what lives in the callers above.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(attributes)) };
    Errno::result(result).map(|result| i32::try_from(result).expect("a descriptor"))
}
