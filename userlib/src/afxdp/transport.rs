//! The way past the kernel's stack: a socket for each receive queue of a device, and the program that steers replies to them.

use std::{net::IpAddr, os::fd::AsFd as _};

use instamp_hooks::{Hooks, Objects, Settings, Site, Steering, XdpMode};
use instamp_trailer::RunKey;
use instamp_xsk::{BusyPoll, Channel, Config, Mode};
use pnet_packet::ethernet::EthernetPacket;
use rand::{Rng as _, rngs::StdRng};

use super::{AfXdpError, Facts, handed::Stamper, network::Network};

/// How a device is used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransportOptions {
    /// Its name.
    pub device: String,
    /// Who runs the XDP program, where none of ours is on the device: by default the driver.
    pub xdp_mode: XdpMode,
    /// Whether frames are copied: by default only where the driver cannot do without.
    pub mode: Mode,
    /// Have system calls look for packets instead of waiting for interrupts; not by default.
    pub busy_poll: Option<BusyPoll>,
    /// Ask the network card when each frame leaves it; not by default.
    pub nic_tx: bool,
}

impl TransportOptions {
    /// With everything else left to choose.
    pub fn new(device: &str) -> Self {
        Self {
            device: device.to_owned(),
            xdp_mode: XdpMode::default(),
            mode: Mode::Auto,
            busy_poll: None,
            nic_tx: false,
        }
    }
}

/// An open transport. When it goes, replies go to the stack again; where the program on the device was its own, so does that.
#[derive(Debug)]
pub struct Transport {
    // Before the sockets, so that nothing is steered to what is being closed.
    steering: Steering,
    channels: Vec<Channel>,
    run: RunKey,
}

impl Transport {
    /// Opens a socket for each receive queue of the device, and has replies to probes of this run steered to them.
    ///
    /// # Errors
    ///
    /// [`AfXdpError`] names the cause and the remedy.
    pub fn open(hooks: &Hooks, options: &TransportOptions, run: RunKey) -> Result<Self, AfXdpError> {
        let TransportOptions { device, xdp_mode, mode, busy_poll, nic_tx } = options;
        let mut steering = hooks.steer(&Objects::built_in(), device, *xdp_mode, &Settings::default())?;
        let config = Config { mode: *mode, busy_poll: *busy_poll, tx_timestamps: *nic_tx, ..Config::default() };
        let queues =
            instamp_xsk::queues(device).map_err(|source| AfXdpError::Queues { device: device.clone(), source })?;
        let mut channels = Vec::new();
        for queue in 0..queues {
            let channel = Channel::open(steering.ifindex(), queue, &config)
                .map_err(|source| AfXdpError::of_socket(source, device, queue, &steering.holders(queue)))?;
            steering.add(queue, channel.as_fd(), run)?;
            channels.push(channel);
        }
        Ok(Self { steering, channels, run })
    }

    /// What the host writes into its stamps at this device.
    pub fn site(&self) -> Site {
        self.steering.site()
    }

    /// What the device turned out to offer.
    pub fn facts(&self) -> Facts {
        Facts {
            queues: self.channels.len(),
            zero_copy: self.channels.iter().all(Channel::is_zero_copy),
            nic_tx: self.channels.iter().all(Channel::has_tx_timestamps),
            joins: self.steering.joins(),
        }
    }

    /// What stamps the replies that come to a socket, where the program on the device leaves that to whoever takes them.
    pub(super) fn stamper(&self) -> Option<Stamper> {
        self.steering.hands_on().then(|| Stamper::new(self.site()))
    }

    /// Refuses an address to which no replies would be steered.
    pub(crate) fn check_source(&self, source: Option<IpAddr>, device: &str) -> Result<(), AfXdpError> {
        match source {
            Some(address) if !self.steering.has_own(address)? => {
                Err(AfXdpError::Source { address, device: device.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// The key by which replies are steered.
    pub fn run(&self) -> RunKey {
        self.run
    }

    pub(crate) fn into_parts(self) -> (Steering, Vec<Channel>) {
        (self.steering, self.channels)
    }
}

/// What is known of the network of a device, for packets from `source`, if that is given, in frames of these lengths.
pub(super) fn network(
    device: &str,
    source: Option<IpAddr>,
    lengths: impl IntoIterator<Item = usize>,
) -> Result<Network, AfXdpError> {
    let mut network =
        Network::open(device).map_err(|source| AfXdpError::Network { device: device.to_owned(), source })?;
    if let Some(source) = source {
        network.set_source(source);
    }
    let mtu = network.device().mtu;
    for length in lengths {
        let packet = length - EthernetPacket::minimum_packet_size();
        if u64::from(mtu) < packet as u64 {
            return Err(AfXdpError::TooLong { device: device.to_owned(), packet, mtu });
        }
    }
    Ok(network)
}

/// A key that no other run has, most likely.
pub(crate) fn run_key(random: &mut StdRng) -> RunKey {
    loop {
        if let Some(key) = RunKey::new(random.random_range(..1 << 24)) {
            return key;
        }
    }
}
