//! The commands of bpf(2) on pinned links, which aya keeps to itself.
//!
//! A pin is removed by unlinking its file, but the kernel then detaches the link some time later. A command that says
//! "detached" must be able to say it truthfully, hence [`Link::detach`].

#![expect(
    unsafe_code,
    reason = "bpf(2) has no safe interface for detaching a pinned link, or for exchanging its program"
)]

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_LINK_DETACH: libc::c_long = 34;

/// The kind of the links of programs that watch the kernel's functions by trampolines.
pub(crate) const LINK_TRACING: u32 = 2;

/// The members of `union bpf_attr` that are used here, each zero-filled to the same size.
#[repr(C)]
#[derive(Default)]
struct ObjectGet {
    path: u64,
    descriptor: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct ObjectInfo {
    descriptor: u32,
    length: u32,
    info: u64,
}

#[repr(C)]
#[derive(Default)]
struct LinkDetach {
    descriptor: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkUpdate {
    descriptor: u32,
    new_program: u32,
    flags: u32,
    old_program: u32,
}

/// The beginning of `struct bpf_link_info`: what XDP and TCX links have in common.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    padding: u32,
    ifindex: u32,
    rest: [u32; 3],
}

/// The kernel's attribute structures: plain numbers, for which any bytes are valid.
trait Attributes {}
impl Attributes for ObjectGet {}
impl Attributes for ObjectInfo {}
impl Attributes for LinkDetach {}
impl Attributes for LinkUpdate {}

fn bpf<A: Attributes>(command: libc::c_long, attributes: &mut A) -> io::Result<libc::c_long> {
    let attributes: *mut A = attributes;
    // SAFETY: the kernel reads and writes at most `size_of::<A>()` bytes of `attributes`, which is a plain structure of
    // that size; the pointers inside it are to live memory of the caller.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// An open link of a program to a device.
#[derive(Debug)]
pub(crate) struct Link {
    descriptor: OwnedFd,
}

/// What the kernel says of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attached {
    /// Its kind, by the kernel's number.
    pub(crate) kind: u32,
    /// The kernel's number of the link.
    pub(crate) link: u32,
    /// The kernel's number of the program.
    pub(crate) program: u32,
    /// The device of links to devices, by its number in its own namespace; 0 when it is gone.
    pub(crate) ifindex: u32,
}

impl Link {
    /// Opens the link that is pinned at `path`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut attributes = ObjectGet { path: path.as_ptr() as u64, ..ObjectGet::default() };
        let descriptor = bpf(BPF_OBJ_GET, &mut attributes)?;
        let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self { descriptor })
    }

    pub(crate) fn info(&self) -> io::Result<Attached> {
        let mut info = LinkInfo::default();
        let mut attributes = ObjectInfo {
            descriptor: self.number(),
            length: size_of::<LinkInfo>().try_into().map_err(io::Error::other)?,
            info: (&raw mut info) as u64,
        };
        bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes)?;
        Ok(Attached { kind: info.kind, link: info.id, program: info.program, ifindex: info.ifindex })
    }

    /// Takes the program off its device. When this returns, it is off.
    pub(crate) fn detach(&self) -> io::Result<()> {
        bpf(BPF_LINK_DETACH, &mut LinkDetach { descriptor: self.number() })?;
        Ok(())
    }

    /// Has the link run another program, from one packet to the next.
    pub(crate) fn update(&self, program: impl AsFd) -> io::Result<()> {
        let new_program = program.as_fd().as_raw_fd().unsigned_abs();
        bpf(BPF_LINK_UPDATE, &mut LinkUpdate { descriptor: self.number(), new_program, ..LinkUpdate::default() })?;
        Ok(())
    }

    fn number(&self) -> u32 {
        self.descriptor.as_raw_fd().unsigned_abs()
    }
}
