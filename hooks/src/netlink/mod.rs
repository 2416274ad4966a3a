//! Questions to the kernel over netlink, answered before the call returns.
//!
//! A socket belongs to the network namespace in which it was opened: that of the calling thread.

#![expect(clippy::wildcard_enum_match_arm, reason = "of what the kernel tells, most is not asked for")]

pub(crate) mod generic;
pub(crate) mod route;

use std::{fmt::Debug, io};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};

/// The length of a netlink message's header in bytes.
const HEADER: usize = 16;

/// A connection to one of the kernel's netlink protocols.
pub(crate) struct Netlink {
    socket: Socket,
}

impl Netlink {
    fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// A connection over which the kernel heeds every part of a request, and refuses what it does not know.
    fn open_strict(protocol: isize) -> io::Result<Self> {
        let netlink = Self::open(protocol)?;
        netlink.socket.set_netlink_get_strict_chk(true)?;
        Ok(netlink)
    }

    /// All objects that match `message`.
    fn dump<M: Payload>(&self, message: M) -> io::Result<Vec<M>> {
        self.exchange(message, NLM_F_DUMP)
    }

    /// The answer to `message`, or an empty one from requests that change something.
    fn request<M: Payload>(&self, message: M, flags: u16) -> io::Result<Vec<M>> {
        self.exchange(message, NLM_F_ACK | flags)
    }

    fn exchange<M: Payload>(&self, message: M, flags: u16) -> io::Result<Vec<M>> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;

        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while rest.len() >= HEADER {
                let message = NetlinkMessage::<M>::deserialize(rest).map_err(io::Error::other)?;
                let length = usize::try_from(message.header.length).map_err(io::Error::other)?;
                rest = rest.get(length.next_multiple_of(4).max(HEADER)..).unwrap_or_default();
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::Overrun(_) => return Err(io::Error::other("the answer was cut off")),
                    _ => {}
                }
            }
        }
    }
}

/// A message of one of the protocols.
trait Payload: NetlinkSerializable + NetlinkDeserializable + Debug + Into<NetlinkPayload<Self>> {}
impl<M: NetlinkSerializable + NetlinkDeserializable + Debug + Into<NetlinkPayload<Self>>> Payload for M {}
