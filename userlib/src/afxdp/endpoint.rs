//! One target by AF_XDP: what the prober on sockets sends and receives by instead of one.

use std::{
    net::IpAddr,
    os::fd::{AsFd as _, AsRawFd, RawFd},
};

use instamp_hooks::{Hooks, Steering};
use instamp_trailer::{Bound, Clock, Handed, Hook, Phase, Record, RunKey, Site};
use instamp_xsk::Channel;
use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
};

use super::{
    AfXdpError, Transport, TransportOptions,
    frame::{EchoReply, FrameError, Probe, Template, Version, parse},
    handed::Stamper,
    network::{Network, NoHop},
    transport::network,
};
use crate::{Run, prober::looped::Looped};

/// The time to live of requests where none is asked for.
const TTL: u8 = 64;
/// As many frames are taken from a queue at once.
const BATCH: usize = 64;

/// The sockets of a device, for requests to one target.
pub(crate) struct AfXdpEndpoint {
    // Before the sockets, so that nothing is steered to what is being closed.
    _steering: Steering,
    channels: Vec<Channel>,
    /// Readable when one of them is.
    readable: Epoll,
    network: Network,
    template: Template,
    target: IpAddr,
    ttl: u8,
    identifier: u16,
    site: Site,
    run: RunKey,
    nic_tx: bool,
    /// Where the program on the device does not stamp replies.
    stamper: Option<Stamper>,
}

impl AfXdpEndpoint {
    /// Opens the device. All requests are of `probes` and have this identifier; replies are told by `run`.
    pub(crate) fn open(
        options: &TransportOptions,
        target: IpAddr,
        source: Option<IpAddr>,
        ttl: Option<u8>,
        probes: Run,
        identifier: u16,
        run: RunKey,
    ) -> Result<Self, AfXdpError> {
        let device = &options.device;
        let template = Template::new(Version::of(target), probes)?;
        // What hooks would say of the attachment, those who attached were told.
        let hooks = Hooks::open(None, |_| {})?;
        let transport = Transport::open(&hooks, options, run)?;
        transport.check_source(source, device)?;
        let (site, nic_tx) = (transport.site(), transport.facts().nic_tx);
        let stamper = transport.stamper();
        let (steering, channels) = transport.into_parts();
        let network = network(device, source, [template.length()])?;
        let room = channels.iter().map(Channel::capacity).min().unwrap_or_default();
        if template.length() > room {
            return Err(FrameError::Room { needed: template.length(), found: room }.into());
        }
        let failed = |errno: Errno| AfXdpError::Device { device: device.clone(), source: errno.into() };
        let readable = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        for channel in &channels {
            readable.add(channel, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(failed)?;
        }
        let ttl = ttl.unwrap_or(TTL);
        Ok(Self {
            _steering: steering,
            channels,
            readable,
            network,
            template,
            target,
            ttl,
            identifier,
            site,
            run,
            nic_tx,
            stamper,
        })
    }

    pub(crate) const fn identifier(&self) -> u16 {
        self.identifier
    }

    /// Whether the card tells when requests leave it.
    pub(crate) const fn has_nic_tx(&self) -> bool {
        self.nic_tx
    }

    /// The nonce of a request, by which its reply is steered here.
    pub(crate) const fn nonce(&self, random: u64) -> u64 {
        self.run.nonce(random)
    }

    /// Sends a request, stamped with this time. [`Errno::EAGAIN`] where the next hop is being looked for, or there is no room.
    pub(crate) fn send(&mut self, sequence: u16, nonce: u64, sent_ns: u64) -> Result<(), Errno> {
        self.network.poll().map_err(errno)?;
        let hop = self.network.resolve(self.target).map_err(|reason| match reason {
            NoHop::Unresolved { .. } => Errno::EAGAIN,
            NoHop::Failed { .. } => Errno::EHOSTUNREACH,
            NoHop::Down => Errno::ENETDOWN,
            NoHop::NoRoute | NoHop::NoSource | NoHop::Local | NoHop::Broadcast | NoHop::Multicast => Errno::ENETUNREACH,
        })?;
        let Self { channels, template, target, ttl, identifier, site, .. } = self;
        let bound = Bound::from_exponent(site.bound);
        let record = Record::new(Phase::Request, 0, Hook::APP_TX, site.node, Clock::MONOTONIC, bound, sent_ns);
        let probe =
            Probe { hop: &hop, target: *target, ttl: *ttl, identifier: *identifier, sequence, nonce, record: &record };
        let channel = channels.first_mut().ok_or(Errno::ENODEV)?;
        let mut written = Ok(0);
        if !channel.write(template.length(), |frame| written = template.write(frame, &probe)) {
            return Err(Errno::EAGAIN);
        }
        // What could not be written is not of one version of IP, which the target and its hop are.
        debug_assert!(written.is_ok(), "{written:?}");
        // A probe that the device drops is lost, as on any way.
        channel.submit().map(drop).map_err(errno)
    }

    /// Takes the replies that have come, each with the time at which it was found. Whether there are no more.
    pub(crate) fn receive(&mut self, now_ns: impl Fn() -> u64, mut take: impl FnMut(u64, EchoReply<'_>)) -> bool {
        let (target, identifier) = (self.target, self.identifier);
        let is_ours = |echo: &EchoReply<'_>| echo.identifier == identifier && echo.source == target;
        let mut is_empty = true;
        let Self { channels, stamper, .. } = self;
        for channel in channels {
            let mut received_ns = None;
            let count = channel.receive(BATCH, |received| {
                let received_ns = *received_ns.get_or_insert_with(&now_ns);
                if let Some((stamper, handed)) = stamper.as_mut().zip(Handed::in_front(received.before)) {
                    stamper.stamp(received.frame, handed, received_ns);
                }
                if let Some(echo) = parse(received.frame).filter(is_ours) {
                    take(received_ns, echo);
                }
            });
            is_empty &= count < BATCH;
        }
        is_empty
    }

    /// Takes the card's times of requests that have left.
    pub(crate) fn take_sent(&mut self, mut take: impl FnMut(Looped, u64)) {
        for channel in &mut self.channels {
            channel.completed(|frame, phc_ns| {
                if let Some((phc_ns, request)) = phc_ns.zip(Looped::find(frame)) {
                    take(request, phc_ns);
                }
            });
        }
    }
}

/// Readable when a reply has come.
impl AsRawFd for AfXdpEndpoint {
    fn as_raw_fd(&self) -> RawFd {
        self.readable.0.as_fd().as_raw_fd()
    }
}

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
