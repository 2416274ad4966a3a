//! Why a channel cannot be opened, and what to do about it.

use std::io;

use nix::errno::Errno;

/// Why a channel cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration contradicts itself, or the kernel's limits.
    #[error("AF_XDP: {0}")]
    Config(&'static str),
    /// Another socket has the queue. One that is closed has it until its last frame is sent, and a moment more: as long as that is
    /// short, opening waits.
    #[error(
        "AF_XDP: queue {queue} of interface {ifindex} is in use by another socket: end its program, or choose another queue"
    )]
    Busy {
        /// The number of the interface.
        ifindex: u32,
        /// The queue.
        queue: u32,
    },
    /// A privilege is missing.
    #[error("AF_XDP: {call} needs {needs}: run it as root, or give the program this capability")]
    Permission {
        /// The call that was refused.
        call: &'static str,
        /// The capability.
        needs: &'static str,
    },
    /// The interface has no such queue.
    #[error("AF_XDP: interface {ifindex} has no queue {queue}: `ethtool --show-channels` tells how many it has")]
    NoQueue {
        /// The number of the interface.
        ifindex: u32,
        /// The queue.
        queue: u32,
    },
    /// The network namespace has no such interface.
    #[error("AF_XDP: this network namespace has no interface {ifindex}")]
    NoDevice {
        /// The number of the interface.
        ifindex: u32,
    },
    /// The driver cannot do without copying.
    #[error("AF_XDP: the driver of interface {ifindex} has no zero copy on queue {queue}: use copy mode ({source})")]
    ZeroCopy {
        /// The number of the interface.
        ifindex: u32,
        /// The queue.
        queue: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else that the kernel refused.
    #[error("AF_XDP: {call}: {source}{}", remedy(call, source))]
    System {
        /// The call that was refused.
        call: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

pub(crate) const SOCKET: &str = "socket(AF_XDP)";
pub(crate) const UMEM: &str = "XDP_UMEM_REG";
pub(crate) const BUSY_POLL: &str = "SO_BUSY_POLL";

fn remedy(call: &str, source: &io::Error) -> &'static str {
    match (call, source.raw_os_error().map(Errno::from_raw)) {
        (SOCKET, Some(Errno::EAFNOSUPPORT)) => ": the kernel is built without CONFIG_XDP_SOCKETS",
        (UMEM, Some(Errno::ENOBUFS)) => ": raise the limit of locked memory (`ulimit -l`), or ask for fewer frames",
        _ => "",
    }
}

impl Error {
    pub(crate) fn system(call: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| match (call, errno) {
            (SOCKET, Errno::EPERM | Errno::EACCES) => Self::Permission { call, needs: "CAP_NET_RAW" },
            (BUSY_POLL, Errno::EPERM) => Self::Permission { call, needs: "CAP_NET_ADMIN" },
            _ => Self::System { call, source: errno.into() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let error = Error::system(UMEM)(Errno::ENOBUFS).to_string();
        assert!(error.starts_with("AF_XDP: XDP_UMEM_REG: ") && error.contains("ulimit -l"), "{error}");
        let error = Error::system(SOCKET)(Errno::EPERM);
        assert!(matches!(error, Error::Permission { needs: "CAP_NET_RAW", .. }), "{error}");
        let error = Error::system("mmap")(Errno::EPERM);
        assert!(matches!(error, Error::System { call: "mmap", .. }), "{error}");
    }
}
