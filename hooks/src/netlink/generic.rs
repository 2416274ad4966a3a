//! What drivers can do: the generic netlink families `netdev` and `ethtool`.

use std::{fmt::Debug, io};

use ethtool::{EthtoolAttr, EthtoolMessage, EthtoolTsInfoAttr};
use netlink_packet_core::{DecodeError, Emitable, NlasIterator, ParseableParametrized, emit_u32, parse_u32, parse_u64};
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
    ifindex: u32,
    pub(crate) xdp_features: Option<u64>,
    pub(crate) rx_metadata_features: Option<u64>,
    pub(crate) xsk_features: Option<u64>,
}

/// What the `ethtool` family says of a device's timestamping.
#[derive(Clone, Debug, Default)]
pub(crate) struct TsInfo {
    pub(crate) phc: Option<u32>,
    pub(crate) modes: Vec<String>,
    pub(crate) tx_types: Vec<String>,
    pub(crate) rx_filters: Vec<String>,
}

impl Generic {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open(NETLINK_GENERIC)? })
    }

    /// `None` where the kernel (before 6.3) or the device does not take part.
    pub(crate) fn netdev(&self, ifindex: u32) -> io::Result<Option<Netdev>> {
        let answers = self.ask(Netdev { ifindex, ..Netdev::default() })?;
        Ok(answers.into_iter().next())
    }

    /// `None` where the kernel or the device does not take part.
    pub(crate) fn timestamping(&self, device: &str) -> io::Result<Option<TsInfo>> {
        let answers = self.ask(EthtoolMessage::new_tsinfo_get(Some(device)))?;
        Ok(answers.into_iter().next().map(|answer| ts_info(answer.nlas)))
    }

    /// The answers to a request of a family; none where there is no such family, or no support for the request.
    fn ask<F>(&self, payload: F) -> io::Result<Vec<F>>
    where
        F: GenlFamily + Emitable + ParseableParametrized<[u8], GenlHeader> + Debug,
    {
        let Some(family) = self.family(F::family_name())? else { return Ok(Vec::new()) };
        let mut message = GenlMessage::from_payload(payload);
        message.set_resolved_family_id(family);
        match self.netlink.request(message, 0) {
            Ok(answers) => Ok(answers.into_iter().map(|answer| answer.payload).collect()),
            Err(error) if is_unsupported(&error) => Ok(Vec::new()),
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

fn is_unsupported(error: &io::Error) -> bool {
    error.raw_os_error().map(Errno::from_raw).is_some_and(|number| matches!(number, Errno::EOPNOTSUPP | Errno::ENODEV))
}

fn ts_info(attributes: Vec<EthtoolAttr>) -> TsInfo {
    let mut info = TsInfo::default();
    for attribute in attributes {
        if let EthtoolAttr::TsInfo(attribute) = attribute {
            match attribute {
                EthtoolTsInfoAttr::Timestamping(names) => info.modes = names,
                EthtoolTsInfoAttr::TxTypes(names) => info.tx_types = names,
                EthtoolTsInfoAttr::RxFilters(names) => info.rx_filters = names,
                EthtoolTsInfoAttr::PhcIndex(index) => info.phc = Some(index),
                EthtoolTsInfoAttr::Header(_) | EthtoolTsInfoAttr::Other(_) => {}
            }
        }
    }
    info
}

/// The numbers of the `netdev` family: `include/uapi/linux/netdev.h`.
mod netdev {
    pub(super) const DEV_GET: u8 = 1;
    pub(super) const IFINDEX: u16 = 1;
    pub(super) const XDP_FEATURES: u16 = 3;
    pub(super) const XDP_RX_METADATA_FEATURES: u16 = 5;
    pub(super) const XSK_FEATURES: u16 = 6;
}

impl GenlFamily for Netdev {
    fn family_name() -> &'static str {
        "netdev"
    }

    fn command(&self) -> u8 {
        netdev::DEV_GET
    }

    fn version(&self) -> u8 {
        1
    }
}

/// The request's one attribute.
struct Ifindex(u32);

impl netlink_packet_core::Nla for Ifindex {
    fn value_len(&self) -> usize {
        size_of::<u32>()
    }

    fn kind(&self) -> u16 {
        netdev::IFINDEX
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        // The buffer has the length that `value_len` asks for.
        let _: Result<(), DecodeError> = emit_u32(buffer, self.0);
    }
}

impl Emitable for Netdev {
    fn buffer_len(&self) -> usize {
        Ifindex(self.ifindex).buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        Ifindex(self.ifindex).emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Netdev {
    fn parse_with_param(buffer: &[u8], _: GenlHeader) -> Result<Self, DecodeError> {
        let mut device = Self::default();
        for attribute in NlasIterator::new(buffer) {
            let attribute = attribute?;
            let value = attribute.value();
            match attribute.kind() {
                netdev::IFINDEX => device.ifindex = parse_u32(value)?,
                netdev::XDP_FEATURES => device.xdp_features = Some(parse_u64(value)?),
                netdev::XDP_RX_METADATA_FEATURES => device.rx_metadata_features = Some(parse_u64(value)?),
                netdev::XSK_FEATURES => device.xsk_features = Some(parse_u64(value)?),
                _ => {}
            }
        }
        Ok(device)
    }
}
