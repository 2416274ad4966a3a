//! The ICMP socket.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, TimestampingFlag, recvmsg, setsockopt, sockopt},
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::{
    Config, ProberError, SocketKind,
    message::{Echo, HEADER_LENGTH, Version, parse_ipv4},
};

/// The longest IPv4 header in bytes.
const MAX_IPV4_HEADER: usize = 60;
/// Room for the control messages of a reply or an error: hop limit, time stamps, extended error and the address of its sender.
const CONTROL_LENGTH: usize = 256;
/// The longest Ethernet header of a probe in bytes: with two VLAN tags.
const MAX_LINK_HEADER: usize = 22;
/// What the socket queues, as far as the host allows: about a thousand replies of the default size.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A connected, non-blocking socket for echo messages of one identifier.
pub(crate) struct EchoSocket {
    socket: Socket,
    pub(super) version: Version,
    kind: SocketKind,
    identifier: u16,
    target: IpAddr,
}

/// Room for one message and its control messages.
pub(crate) struct Buffer {
    pub(super) message: Box<[u8]>,
    pub(super) control: Box<[u8]>,
}

impl Buffer {
    /// For the longest message about a request with this payload: the frame in which it left.
    pub(crate) fn new(payload_bytes: usize) -> Self {
        let length = MAX_LINK_HEADER + MAX_IPV4_HEADER + HEADER_LENGTH + payload_bytes;
        Self { message: vec![0; length].into(), control: vec![0; CONTROL_LENGTH].into() }
    }
}

/// A socket with its buffers: what is read from one of its queues stays while the other is read.
pub(crate) struct SocketEndpoint {
    pub(crate) socket: EchoSocket,
    pub(crate) replies: Buffer,
    pub(crate) errors: Buffer,
}

/// An echo reply.
pub(crate) struct ReceivedReply<'a> {
    pub(crate) echo: Echo<'a>,
    pub(crate) from: IpAddr,
    pub(crate) ttl: Option<u8>,
}

impl EchoSocket {
    /// Opens and connects a socket. `identifier` is that of a raw one; the kernel chooses that of a datagram socket.
    pub(crate) fn open(config: &Config, identifier: u16) -> Result<Self, ProberError> {
        let version = Version::of(config.target);
        let (socket, kind) = match config.socket {
            SocketKind::Auto => match create(version, Type::DGRAM) {
                Ok(socket) => (socket, SocketKind::Datagram),
                Err(_) => (create(version, Type::RAW)?, SocketKind::Raw),
            },
            SocketKind::Raw => (create(version, Type::RAW)?, SocketKind::Raw),
            SocketKind::Datagram => (create(version, Type::DGRAM)?, SocketKind::Datagram),
        };
        if kind == SocketKind::Raw {
            socket.attach_filter(&reply_filter(version, identifier)).map_err(failed("filter"))?;
        }
        set_options(&socket, version, config).map_err(failed("configure"))?;
        let scope = bind_to_interface(&socket, config.interface.as_deref())?;
        bind_to_source(&socket, config, scope)?;
        let target = socket_address(config.target, scope);
        socket.connect(&target.into()).map_err(|source| ProberError::Route { target: config.target, source })?;
        let identifier = match kind {
            SocketKind::Datagram => port(&socket).map_err(failed("read the identifier of"))?,
            SocketKind::Raw | SocketKind::Auto => identifier,
        };
        Ok(Self { socket, version, kind, identifier, target: config.target })
    }

    pub(crate) const fn kind(&self) -> SocketKind {
        self.kind
    }

    pub(crate) const fn identifier(&self) -> u16 {
        self.identifier
    }

    /// Has the network card tell through the error queue when each request leaves it, where it can. The packet is looped back with the
    /// time, so that its nonce tells whose it is: a counter would count what the kernel dropped, too.
    pub(crate) fn ask_for_nic_tx(&self) -> Result<(), ProberError> {
        let flags = TimestampingFlag::SOF_TIMESTAMPING_TX_HARDWARE | TimestampingFlag::SOF_TIMESTAMPING_RAW_HARDWARE;
        setsockopt(&self.socket, sockopt::Timestamping, &flags).map_err(|errno| ProberError::Socket {
            action: "ask for the card's transmit times of",
            source: errno.into(),
        })
    }

    /// The address from which requests leave, with its scope where it is a link-local one.
    pub(crate) fn local_address(&self) -> io::Result<Option<SocketAddr>> {
        Ok(self.socket.local_addr()?.as_socket())
    }

    /// Sends a whole echo message.
    pub(crate) fn send(&self, message: &[u8]) -> Result<(), Errno> {
        self.socket.send(message).map(drop).map_err(errno)
    }

    /// Receives a message into `buffer` and calls `now_ns` right after it. `Ok(None)` is one that is not for this socket;
    /// [`Errno::EAGAIN`] says that there is none.
    pub(crate) fn receive<'a>(
        &self,
        buffer: &'a mut Buffer,
        now_ns: impl Fn() -> u64,
    ) -> Result<Option<(u64, ReceivedReply<'a>)>, Errno> {
        let mut parts = [IoSliceMut::new(&mut buffer.message)];
        let received = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut buffer.control),
            MsgFlags::MSG_DONTWAIT,
        );
        let received_ns = now_ns();
        let received = received?;
        let from = received.address.as_ref().and_then(ip_address).unwrap_or(self.target);
        let hop_limit = received.cmsgs().ok().and_then(|mut messages| messages.find_map(hop_limit));
        let length = received.bytes;
        let bytes = buffer.message.get(..length).unwrap_or_default();
        let (ttl, message) = match (self.kind, self.version) {
            (SocketKind::Raw, Version::V4) => match parse_ipv4(bytes) {
                Some((ttl, message)) => (Some(ttl), message),
                None => return Ok(None),
            },
            _ => (hop_limit, bytes),
        };
        let echo = Echo::parse(message, self.version.reply()).filter(|echo| echo.identifier == self.identifier);
        Ok(echo.map(|echo| (received_ns, ReceivedReply { echo, from, ttl })))
    }
}

impl AsRawFd for EchoSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for EchoSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn create(version: Version, kind: Type) -> Result<Socket, ProberError> {
    let (domain, protocol) = match version {
        Version::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Version::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, kind.nonblocking(), Some(protocol));
    socket.map_err(|source| {
        if source.kind() == io::ErrorKind::PermissionDenied {
            ProberError::Permission(source)
        } else {
            ProberError::Socket { action: "open", source }
        }
    })
}

/// A classic BPF program that passes echo replies with this identifier: other programs' messages do not wake this one up,
/// nor do they fill its queue.
fn reply_filter(version: Version, identifier: u16) -> [SockFilter; 7] {
    const LOAD_INDEX_IPV4_HEADER: u16 = 0xb1;
    const LOAD_INDEX: u16 = 0x01;
    const LOAD_BYTE: u16 = 0x50;
    const LOAD_HALF_WORD: u16 = 0x48;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    // Raw IPv4 sockets see the IP header, raw IPv6 sockets do not.
    let load_start = match version {
        Version::V4 => LOAD_INDEX_IPV4_HEADER,
        Version::V6 => LOAD_INDEX,
    };
    [
        SockFilter::new(load_start, 0, 0, 0),
        SockFilter::new(LOAD_BYTE, 0, 0, 0),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, version.reply().into()),
        SockFilter::new(LOAD_HALF_WORD, 0, 0, 4),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, identifier.into()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

fn set_options(socket: &Socket, version: Version, config: &Config) -> io::Result<()> {
    match version {
        Version::V4 => {
            setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
            setsockopt(socket, sockopt::Ipv4RecvTtl, &true)?;
            if let Some(ttl) = config.ttl {
                setsockopt(socket, sockopt::Ipv4Ttl, &ttl.into())?;
            }
        }
        Version::V6 => {
            setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
            setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true)?;
            if let Some(ttl) = config.ttl {
                setsockopt(socket, sockopt::Ipv6Ttl, &ttl.into())?;
            }
        }
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER)
}

/// The interface's index, 0 without one.
fn bind_to_interface(socket: &Socket, interface: Option<&str>) -> Result<u32, ProberError> {
    let Some(name) = interface else { return Ok(0) };
    let unknown = |source| ProberError::UnknownInterface { name: name.to_owned(), source };
    let index = if_nametoindex(name).map_err(|errno| unknown(errno.into()))?;
    socket.bind_device(Some(name.as_bytes())).map_err(failed("bind to the interface"))?;
    Ok(index)
}

/// A datagram socket gets its identifier by this.
fn bind_to_source(socket: &Socket, config: &Config, scope: u32) -> Result<(), ProberError> {
    let any: IpAddr = match config.target {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let address = config.source.unwrap_or(any);
    let bound = socket.bind(&socket_address(address, scope).into());
    bound.map_err(|source| ProberError::Source { address, source })
}

/// `scope` is that of a link-local address; the kernel ignores it for others.
fn socket_address(address: IpAddr, scope: u32) -> SocketAddr {
    match address {
        IpAddr::V4(address) => SocketAddrV4::new(address, 0).into(),
        IpAddr::V6(address) => SocketAddrV6::new(address, 0, 0, scope).into(),
    }
}

fn port(socket: &Socket) -> io::Result<u16> {
    let address = socket.local_addr()?.as_socket();
    Ok(address.map_or(0, |address| address.port()))
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> ProberError {
    move |source| ProberError::Socket { action, source }
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn ip_address(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

fn hop_limit(message: ControlMessageOwned) -> Option<u8> {
    let (ControlMessageOwned::Ipv4Ttl(limit) | ControlMessageOwned::Ipv6HopLimit(limit)) = message else { return None };
    limit.try_into().ok()
}
