//! What drivers can do with XDP: the generic netlink family `netdev`.

use std::io;

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLA_TYPE_MASK, Nla as _, NlasIterator, Parseable as _, ParseableParametrized,
    parse_u64,
};
use netlink_packet_generic::{
    GenlFamily, GenlHeader, GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use netlink_sys::protocols::NETLINK_GENERIC;
use nix::errno::Errno;

use super::Netlink;

/// The generic netlink families of the network namespace of this thread.
pub(crate) struct Generic {
    netlink: Netlink,
}

/// What the `netdev` family says of a device; `None` for what the kernel is too old to know.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Netdev {
    pub(crate) xdp_features: Option<u64>,
    pub(crate) rx_metadata_features: Option<u64>,
    pub(crate) xsk_features: Option<u64>,
}

/// The numbers of the `netdev` family: `include/uapi/linux/netdev.h`.
mod netdev {
    pub(super) const DEV_GET: u8 = 1;
    pub(super) const IFINDEX: u16 = 1;
    pub(super) const XDP_FEATURES: u16 = 3;
    pub(super) const XDP_RX_METADATA_FEATURES: u16 = 5;
    pub(super) const XSK_FEATURES: u16 = 6;
}

impl Generic {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open(NETLINK_GENERIC)? })
    }

    /// `None` where the kernel (before 6.3) or the device does not take part.
    pub(crate) fn netdev(&self, ifindex: u32) -> io::Result<Option<Netdev>> {
        let index = DefaultNla::new(netdev::IFINDEX, ifindex.to_ne_bytes().to_vec());
        let answer = self.ask(Message::new(netdev::DEV_GET, vec![index]))?;
        answer.map(|attributes| Netdev::parse(&attributes).map_err(io::Error::other)).transpose()
    }

    /// The attributes of the answer; `None` where there is no such family, or no support for the request.
    fn ask(&self, message: Message) -> io::Result<Option<Vec<DefaultNla>>> {
        let Some(family) = self.family(Message::family_name())? else { return Ok(None) };
        let mut message = GenlMessage::from_payload(message);
        message.set_resolved_family_id(family);
        match self.netlink.request(message, 0) {
            Ok(answers) => Ok(answers.into_iter().next().map(|answer| answer.payload.attributes)),
            Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The number of a family.
    fn family(&self, name: &str) -> io::Result<Option<u16>> {
        let request = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![GenlCtrlAttrs::FamilyName(name.to_owned())] };
        match self.netlink.request(GenlMessage::from_payload(request), 0) {
            Ok(answers) => Ok(answers.into_iter().flat_map(|answer| answer.payload.nlas).find_map(|nla| match nla {
                GenlCtrlAttrs::FamilyId(id) => Some(id),
                _ => None,
            })),
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Netdev {
    fn parse(attributes: &[DefaultNla]) -> Result<Self, DecodeError> {
        let mut device = Self::default();
        for attribute in attributes {
            let (kind, value) = parts(attribute);
            match kind {
                netdev::XDP_FEATURES => device.xdp_features = Some(parse_u64(&value)?),
                netdev::XDP_RX_METADATA_FEATURES => device.rx_metadata_features = Some(parse_u64(&value)?),
                netdev::XSK_FEATURES => device.xsk_features = Some(parse_u64(&value)?),
                _ => {}
            }
        }
        Ok(device)
    }
}

fn parts(attribute: &DefaultNla) -> (u16, Vec<u8>) {
    let mut value = vec![0; attribute.value_len()];
    attribute.emit_value(&mut value);
    (attribute.kind() & NLA_TYPE_MASK, value)
}

/// A request, or an answer, with its attributes as they are.
#[derive(Debug, Clone)]
struct Message {
    command: u8,
    attributes: Vec<DefaultNla>,
}

impl Message {
    fn new(command: u8, attributes: Vec<DefaultNla>) -> Self {
        Self { command, attributes }
    }
}

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        "netdev"
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(buffer: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        let attributes = NlasIterator::new(buffer).map(|attribute| DefaultNla::parse(&attribute?));
        Ok(Self::new(header.cmd, attributes.collect::<Result<_, _>>()?))
    }
}
