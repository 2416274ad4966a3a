//! Messages with their control data, and the option that asks for timestamps.

#![expect(
    unsafe_code,
    reason = "nix does not know all the control messages of timestamps, and keeps their bytes to itself"
)]

use std::{
    mem::zeroed,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use nix::errno::Errno;

/// What the kernel wrote for one message.
pub(crate) struct Message {
    /// The length of the message, which may be more than the buffer held.
    pub(crate) length: usize,
    /// `MSG_TRUNC` and others.
    pub(crate) flags: libc::c_int,
    /// How many bytes of control messages there are.
    pub(crate) control_length: usize,
    /// The address of the sender: the bytes of a `sockaddr`, as many as the kernel wrote.
    pub(crate) source: Vec<u8>,
}

/// Receives one message into `buffer`, and its control messages into `control`.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    control: &mut [u8],
    flags: libc::c_int,
) -> nix::Result<Message> {
    let mut source = [0_u8; size_of::<libc::sockaddr_storage>()];
    let mut parts = [libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() }];
    // SAFETY: the structure is made of integers and pointers, for which zero is a value.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = source.as_mut_ptr().cast();
    header.msg_namelen = libc::socklen_t::try_from(source.len()).map_err(|_| Errno::EINVAL)?;
    header.msg_iov = parts.as_mut_ptr();
    header.msg_iovlen = parts.len() as _;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = control.len() as _;
    // SAFETY: the header points to live memory with its lengths, all of which nobody else refers to during the call.
    let length = Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) })?;
    let named = usize::try_from(header.msg_namelen).map_err(|_| Errno::EINVAL)?;
    Ok(Message {
        length: usize::try_from(length).map_err(|_| Errno::EINVAL)?,
        flags: header.msg_flags,
        control_length: control.len().min(header.msg_controllen as usize),
        source: source.into_iter().take(named).collect(),
    })
}

/// Sets `SO_TIMESTAMPING_NEW`, whose times have 64 bits everywhere.
pub(crate) fn timestamping(socket: BorrowedFd<'_>, flags: u32) -> nix::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&flags)).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the kernel reads `length` bytes of the live `flags`.
    Errno::result(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPING_NEW,
            (&raw const flags).cast(),
            length,
        )
    })?;
    Ok(())
}
