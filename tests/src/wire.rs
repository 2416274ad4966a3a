//! Whole frames, sent as they are.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, bind, send, socket},
};

/// A device of the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    address: LinkAddr,
}

impl Wire {
    /// Opens a device.
    ///
    /// # Panics
    ///
    /// There is none of this name, or the process may not.
    pub fn open(device: &str) -> Self {
        let mut addresses = getifaddrs().expect("the addresses of devices");
        let address = addresses.find_map(|of| {
            let address = *of.address?.as_link_addr()?;
            (of.interface_name == device).then_some(address)
        });
        let address = address.unwrap_or_else(|| panic!("no device {device}"));
        // It receives nothing.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        bind(socket.as_raw_fd(), &address).expect("bind to a device");
        Self { socket, address }
    }

    /// The number of the device.
    ///
    /// # Panics
    ///
    /// Never.
    pub fn ifindex(&self) -> u32 {
        self.address.ifindex().try_into().expect("positive")
    }

    /// Its hardware address.
    ///
    /// # Panics
    ///
    /// It has none of six bytes.
    pub fn address(&self) -> [u8; 6] {
        self.address.addr().expect("an Ethernet device")
    }

    /// Sends a frame: through the queueing discipline and the hooks on the way out.
    ///
    /// # Panics
    ///
    /// The device does not take it.
    pub fn send(&self, frame: &[u8]) {
        let sent = send(self.socket.as_fd().as_raw_fd(), frame, MsgFlags::empty());
        assert_eq!(sent, Ok(frame.len()), "send a frame of {} bytes", frame.len());
    }
}
