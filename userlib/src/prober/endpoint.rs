//! By what requests leave, and replies come in.

use std::os::fd::{AsRawFd, RawFd};

use super::socket::SocketEndpoint;
#[cfg(feature = "afxdp")]
use crate::afxdp::AfXdpEndpoint;

pub(crate) enum Endpoint {
    Socket(SocketEndpoint),
    #[cfg(feature = "afxdp")]
    AfXdp(Box<AfXdpEndpoint>),
}

impl Endpoint {
    /// Of the requests, as this host sends them.
    pub(crate) const fn identifier(&self) -> u16 {
        match self {
            Self::Socket(endpoint) => endpoint.socket.identifier(),
            #[cfg(feature = "afxdp")]
            Self::AfXdp(endpoint) => endpoint.identifier(),
        }
    }

    /// The nonce of a request.
    pub(crate) const fn nonce(&self, random: u64) -> u64 {
        match self {
            Self::Socket(_) => random,
            #[cfg(feature = "afxdp")]
            Self::AfXdp(endpoint) => endpoint.nonce(random),
        }
    }
}

impl AsRawFd for Endpoint {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Socket(endpoint) => endpoint.socket.as_raw_fd(),
            #[cfg(feature = "afxdp")]
            Self::AfXdp(endpoint) => endpoint.as_raw_fd(),
        }
    }
}
