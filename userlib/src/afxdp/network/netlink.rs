//! The conversation with the kernel about its network.

#![expect(clippy::wildcard_enum_match_arm, reason = "of what the kernel tells, most is not asked for")]

use std::{
    io,
    net::IpAddr,
    os::fd::{AsRawFd, RawFd},
};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;

use super::{decision::Change, message, neighbours::Question};

/// The length of a netlink message's header in bytes.
const HEADER: usize = 16;

/// `RTM_NEWNEXTHOP` and `RTM_DELNEXTHOP`, which change routes without naming them.
const NEXTHOP_MESSAGES: [u16; 2] = [104, 105];

/// What happens to links, neighbours, addresses, routes and next hops (linux/rtnetlink.h).
const GROUPS: [u32; 7] = [1, 3, 5, 7, 9, 11, 32];

/// The objects changed while the kernel listed them (linux/netlink.h).
const NLM_F_DUMP_INTR: u16 = 0x10;

/// Longer than any datagram of news: the longest attribute has 64 KiB.
const DATAGRAM: usize = 128 * 1024;

/// What a burst of news may take before it is read. The system's limit may be lower.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// For questions about whole tables. A socket of its own, which stays in its network namespace when its thread leaves it.
pub(super) struct Tables {
    socket: Socket,
    sequence: u32,
}

impl Tables {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Lists all objects of the kind that `request` asks for: whether that is all of them, since none changed meanwhile.
    pub(super) fn dump(
        &mut self,
        request: RouteNetlinkMessage,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&serialized(request, NLM_F_DUMP, self.sequence), 0)?;
        let mut complete = true;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for bytes in Messages(&datagram) {
                let message = deserialize(bytes)?;
                // The rest of an answer that could not be read.
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                complete &= message.header.flags & NLM_F_DUMP_INTR == 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => each(answer),
                    NetlinkPayload::Done(_) => return Ok(complete),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::Overrun(_) => return Err(io::Error::other("the answer was cut off")),
                    _ => {}
                }
            }
        }
    }
}

/// The news, and questions about neighbours whose answers are among them.
pub(super) struct News {
    socket: Socket,
    datagram: Vec<u8>,
    refusal: Option<io::Error>,
}

impl News {
    pub(super) fn subscribe() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        socket.set_rx_buf_sz(libc_int(RECEIVE_BUFFER))?;
        for group in GROUPS {
            match socket.add_membership(group) {
                // Next hops as objects came with Linux 5.3.
                Err(error) if group == 32 && Errno::EINVAL as i32 == error.raw_os_error().unwrap_or_default() => {}
                other => other?,
            }
        }
        Ok(Self { socket, datagram: Vec::with_capacity(DATAGRAM), refusal: None })
    }

    /// What has arrived, without waiting: a datagram's changes, or `None` where nothing is left. After
    /// [`Change::Unclear`] everything has to be read again.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<Change>>> {
        self.datagram.clear();
        match self.socket.recv(&mut self.datagram, 0) {
            Ok(_) => {}
            Err(error) => {
                return match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EAGAIN) => Ok(None),
                    Some(Errno::EINTR) => Ok(Some(Vec::new())),
                    // News were lost.
                    Some(Errno::ENOBUFS) => Ok(Some(vec![Change::Unclear])),
                    _ => Err(error),
                };
            }
        }
        let mut changes = Vec::new();
        for bytes in Messages(&self.datagram) {
            if message_type(bytes).is_some_and(|kind| NEXTHOP_MESSAGES.contains(&kind)) {
                changes.push(Change::Unclear);
                continue;
            }
            let Ok(message) = deserialize(bytes) else {
                changes.push(Change::Unclear);
                continue;
            };
            match message.payload {
                NetlinkPayload::InnerMessage(news) => changes.extend(message::change(&news, message.header.flags)),
                NetlinkPayload::Error(error) => self.refusal = refusal(&error.to_io()).or(self.refusal.take()),
                _ => {}
            }
        }
        Ok(Some(changes))
    }

    /// Why the kernel answers no questions, if it has said so since the last call.
    pub(super) fn take_refusal(&mut self) -> Option<io::Error> {
        self.refusal.take()
    }

    /// Makes the kernel find out, or confirm, the MAC address of a next hop, and tell what it knows so far.
    pub(super) fn ask(&self, device: u32, question: Question) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = device;
        let destination = match question.next_hop {
            IpAddr::V4(address) => {
                message.header.family = AddressFamily::Inet;
                NeighbourAddress::Inet(address)
            }
            IpAddr::V6(address) => {
                message.header.family = AddressFamily::Inet6;
                NeighbourAddress::Inet6(address)
            }
        };
        message.attributes.push(NeighbourAttribute::Destination(destination));
        let state = serialized(RouteNetlinkMessage::GetNeighbour(message.clone()), 0, 0);
        message.header.flags = NeighbourFlags::Use;
        // What is there already is left alone the first time: it may be permanent, which this would end.
        let exclusive = if question.again { 0 } else { NLM_F_EXCL };
        let mut requests = serialized(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | exclusive, 0);
        requests.extend(state);
        self.socket.send(&requests, 0)?;
        Ok(())
    }
}

impl AsRawFd for News {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The error of a question. Others tell of what is there already, is not there, or has no room now.
fn refusal(error: &io::Error) -> Option<io::Error> {
    let number = error.raw_os_error().map(Errno::from_raw);
    let refused = number.is_some_and(|number| matches!(number, Errno::EPERM | Errno::EACCES));
    refused.then(|| {
        let advice = "the kernel resolves no neighbours for this process: give it CAP_NET_ADMIN";
        io::Error::new(io::ErrorKind::PermissionDenied, advice)
    })
}

fn serialized(message: RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | flags;
    request.header.sequence_number = sequence;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len().next_multiple_of(4)];
    request.serialize(&mut bytes);
    bytes
}

fn deserialize(bytes: &[u8]) -> io::Result<NetlinkMessage<RouteNetlinkMessage>> {
    NetlinkMessage::deserialize(bytes).map_err(|error| io::Error::other(format!("an answer of the kernel: {error}")))
}

fn message_type(bytes: &[u8]) -> Option<u16> {
    bytes.get(4..6)?.try_into().ok().map(u16::from_ne_bytes)
}

fn libc_int(size: usize) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}

/// The messages of a datagram.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = self.0.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))?;
        let length = usize::try_from(length).unwrap_or(usize::MAX).clamp(HEADER, self.0.len().max(HEADER));
        let message = self.0.get(..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}
