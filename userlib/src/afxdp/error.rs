//! What can go wrong on the way past the stack, each with its cause and its remedy.

use std::{io, net::IpAddr};

use instamp_hooks::Holder;
use thiserror::Error;

use super::{frame::FrameError, network::NetworkError};
use crate::{ReserveError, time_namespace::TimeNamespaceError};

/// Why a device cannot be used past the kernel's stack.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AfXdpError {
    /// The program that steers replies could not be put on the device, or not be told of the sockets.
    #[error(transparent)]
    Hooks(#[from] instamp_hooks::Error),
    /// How many receive queues there are is not known.
    #[error("cannot count the receive queues of {device}")]
    Queues {
        /// The device.
        device: String,
        /// Why.
        source: io::Error,
    },
    /// One AF_XDP process at a time has a queue.
    #[error("queue {queue} of {device} serves another AF_XDP process already: {holder}; end that one, or wait for it")]
    Busy {
        /// The device.
        device: String,
        /// The number of the queue.
        queue: u32,
        /// Who has it.
        holder: String,
    },
    /// The socket could not be made.
    #[error("cannot open an AF_XDP socket on queue {queue} of {device}")]
    Socket {
        /// The device.
        device: String,
        /// The number of the queue.
        queue: u32,
        /// Why.
        source: instamp_xsk::Error,
    },
    /// Routes and neighbours are not known.
    #[error("cannot follow the routes and neighbours of {device}")]
    Network {
        /// The device.
        device: String,
        /// Why.
        source: NetworkError,
    },
    /// The probes cannot be made.
    #[error(transparent)]
    Reserve(#[from] ReserveError),
    /// Likewise.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Replies to packets from this address do not come here.
    #[error(
        "{address} is no address of this host for which probes are stamped at {device}: choose one of the host's, or name it with `instamp attach --update --dev {device} --source`"
    )]
    Source {
        /// The address asked for.
        address: IpAddr,
        /// The device.
        device: String,
    },
    /// The packets are longer than the device takes.
    #[error("packets of {packet} bytes are longer than {device} takes, {mtu}: use a smaller payload")]
    TooLong {
        /// The device.
        device: String,
        /// The length of the packets in bytes, the IP header included.
        packet: usize,
        /// The device's MTU in bytes.
        mtu: u32,
    },
    /// The host's clock is not known.
    #[error(transparent)]
    TimeNamespace(#[from] TimeNamespaceError),
    /// A thread could not be started.
    #[error("cannot start a thread for queue {queue} of {device}")]
    Thread {
        /// The device.
        device: String,
        /// The number of the queue.
        queue: u32,
        /// Why.
        source: io::Error,
    },
    /// The device failed while it was used.
    #[error("{device} failed; is it still there, and up?")]
    Device {
        /// The device.
        device: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl AfXdpError {
    /// Of a socket on a queue of `device`, which `holders` may have.
    pub(super) fn of_socket(source: instamp_xsk::Error, device: &str, queue: u32, holders: &[Holder]) -> Self {
        let device = device.to_owned();
        if !matches!(source, instamp_xsk::Error::Busy { .. }) {
            return Self::Socket { device, queue, source };
        }
        let name = |Holder { process, command, .. }: &Holder| format!("process {process} ({command})");
        let holder = match holders {
            [] => "which one, this process may not see".to_owned(),
            [one] => name(one),
            several => format!("one of {}", several.iter().map(name).collect::<Vec<_>>().join(", ")),
        };
        Self::Busy { device, queue, holder }
    }
}
