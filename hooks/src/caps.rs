//! What devices can do, and what attaching to them would choose.

use std::fmt;

use hwtstamp::{Discovery, Holders, Interface};
use nix::errno::Errno;

use crate::{
    Choice, Error, IngressChoice, TcChoice, Tracing, XdpMode,
    card::Offer,
    device::{Here, XDP_BASIC},
    error::Context as _,
    kernel,
    maps::require_listing,
    netlink::{
        generic::{Generic, Netdev},
        route::Link,
    },
    sent,
};

/// What a device can do.
#[derive(Debug)]
#[non_exhaustive]
pub struct Capabilities {
    /// The name of the device.
    pub device: String,
    /// Its number in this network namespace.
    pub ifindex: u32,
    /// Its link layer: `ether` for Ethernet.
    pub layer: String,
    /// The kind of a software device; `None` for network cards.
    pub kind: Option<String>,
    /// The driver; of a software device its kind. `None` where neither is known.
    pub driver: Option<String>,
    /// Its XDP; `None` where the kernel (before 6.3) does not tell.
    pub xdp: Option<XdpCapabilities>,
    /// The kernel's number of the XDP program that it has, ours or another.
    pub xdp_program_id: Option<u32>,
    /// Whether TC programs attach by TCX; `None` where asking is not permitted.
    pub tcx: Option<bool>,
    /// Its hardware clock and timestamps; `None` where the driver has no such interface.
    pub timestamping: Option<Timestamping>,
    /// What attaching would choose, or why it would fail.
    pub choice: Result<Choice, Error>,
    /// From where the times of the driver and of the card would come.
    pub sources: Sources,
}

/// From where the times of the driver and of the card come, when asked for; else why they do not.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Sources {
    /// When requests are handed to the driver; `None` where asking is not permitted.
    pub driver_tx: Option<Result<Tracing, String>>,
    /// When the card has sent requests; `None` where asking is not permitted.
    pub nic_tx: Option<Result<NicTxSource, String>>,
    /// When the card has received replies.
    pub nic_rx: Result<NicRxSource, String>,
}

/// From where the card's transmit times come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NicTxSource {
    /// A program takes them where the driver reports them, and they travel in the reply, into containers too.
    InBand(Tracing),
    /// A prober's own socket, in the network namespace of the card, since the kernel refuses the program, with these words.
    Socket(String),
}

/// From where the card's receive times come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NicRxSource {
    /// The driver tells an XDP program that is bound to the device.
    XdpMetadata,
    /// The socket buffer has them.
    SocketBuffer,
}

impl fmt::Display for NicTxSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InBand(tracing) => write!(f, "in band ({tracing})"),
            Self::Socket(words) => {
                write!(f, "the prober's socket, outside of containers: no program may take it ({words})")
            }
        }
    }
}

impl fmt::Display for NicRxSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::XdpMetadata => "in band (XDP metadata)",
            Self::SocketBuffer => "in band (socket buffer)",
        })
    }
}

/// What the driver says of XDP and `AF_XDP`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct XdpCapabilities {
    /// Runs XDP programs itself.
    pub native: bool,
    /// Frames of several buffers, as programs with `frags` take them.
    pub multi_buffer: bool,
    /// `AF_XDP` without copies.
    pub zero_copy: bool,
    /// The metadata of received frames that programs can read: `timestamp`, `hash`, `vlan-tag`.
    pub rx_metadata: Vec<&'static str>,
    /// What `AF_XDP` can ask of transmission: `tx-timestamp`, `tx-checksum`, `tx-launch-time`.
    pub xsk_features: Vec<&'static str>,
}

/// The hardware clock of a device, and which packets get its time.
#[derive(Debug)]
#[non_exhaustive]
pub struct Timestamping {
    /// The N of `/dev/ptpN`.
    pub phc: Option<u32>,
    /// The capabilities by their kernel names, such as `hardware-transmit`.
    pub modes: Vec<String>,
    /// The transmit modes, such as `off` and `on`.
    pub tx_types: Vec<String>,
    /// The receive filters, such as `none` and `all`.
    pub rx_filters: Vec<String>,
    /// The transmit mode and the receive filter in force; `None` without hardware stamps, or where the driver never tells.
    pub setting: Result<Option<(String, String)>, Error>,
    /// The processes that have the clock open.
    pub holders: Holders,
}

/// The capabilities of `device`, or of all devices of this network namespace.
///
/// # Errors
///
/// [`Error::KernelTooOld`], [`Error::UnknownDevice`], and [`Error::System`] where the kernel does not answer.
pub fn capabilities(device: Option<&str>) -> Result<Vec<Capabilities>, Error> {
    kernel::check_version()?;
    let here = Here::look()?;
    let generic = Generic::open().context("open", "generic netlink")?;
    let watching = Watching::try_out();
    match device {
        Some(name) => Ok(vec![of_link(&generic, &watching, here.device(name)?)?]),
        None => {
            let found = here.links.iter().map(|link| (link, of_link(&generic, &watching, link)));
            found.filter(|(link, found)| found.is_ok() || !is_gone(link)).map(|(_, found)| found).collect()
        }
    }
}

/// Whether a device is not there any more since it was listed.
fn is_gone(link: &Link) -> bool {
    Interface::open_index(link.ifindex).is_err_and(|error| error.raw_os_error() == Some(Errno::ENODEV as i32))
}

/// What this kernel lets programs see of requests that leave. Without the privilege to attach, nothing is known.
struct Watching {
    driver_tx: Option<Result<Tracing, String>>,
    nic_tx: Option<Result<Tracing, String>>,
}

impl Watching {
    fn try_out() -> Self {
        let may_ask = require_listing().is_ok();
        let words = |error: libbpf_rs::Error| error.to_string();
        let driver_tx = may_ask.then(|| sent::try_driver_tx().map_err(words));
        // The card's times wait for the reply beside those of the driver.
        let nic_tx = driver_tx.clone().map(|found| found.and_then(|_| sent::try_nic_tx().map_err(words)));
        Self { driver_tx, nic_tx }
    }

    fn sources(&self, link: &Link) -> Result<Sources, Error> {
        let offer = Offer::of(link)?;
        let nic_tx = |tracing: &Result<Tracing, String>| match tracing {
            Ok(tracing) if offer.tx => Ok(NicTxSource::InBand(*tracing)),
            Err(words) if offer.tx => Ok(NicTxSource::Socket(words.clone())),
            Ok(_) => Err("the card does not stamp what it sends".to_owned()),
            Err(words) => Err(format!(
                "the card does not stamp what it sends, nor may a program take times of cards here ({words})"
            )),
        };
        Ok(Sources {
            driver_tx: self.driver_tx.clone(),
            nic_tx: self.nic_tx.as_ref().map(nic_tx),
            nic_rx: offer.nic_rx(),
        })
    }
}

fn of_link(generic: &Generic, watching: &Watching, link: &Link) -> Result<Capabilities, Error> {
    let netdev = generic.netdev(link.ifindex).context("ask for the XDP features of", &link.name)?;
    let discovery = Interface::open(&link.name).and_then(|interface| interface.discover());
    let discovery = discovery.context("find out about", &link.name)?;
    let choice =
        link.require_ethernet().and_then(|()| link.choose(IngressChoice::Auto, XdpMode::Native, TcChoice::Auto));
    Ok(Capabilities {
        device: link.name.clone(),
        ifindex: link.ifindex,
        layer: link.layer.to_lowercase(),
        kind: link.kind.clone(),
        driver: link.driver(),
        xdp: netdev.and_then(xdp),
        xdp_program_id: link.xdp.map(|program| program.id),
        tcx: link.has_tcx().ok(),
        timestamping: timestamping(discovery),
        choice,
        sources: watching.sources(link)?,
    })
}

/// The bits of `include/uapi/linux/netdev.h`.
const XSK_ZEROCOPY: u64 = 8;
const RX_SG: u64 = 32;
const RX_METADATA: [(u64, &str); 3] = [(1, "timestamp"), (2, "hash"), (4, "vlan-tag")];
const XSK_FEATURES: [(u64, &str); 3] = [(1, "tx-timestamp"), (2, "tx-checksum"), (4, "tx-launch-time")];

fn xdp(netdev: Netdev) -> Option<XdpCapabilities> {
    let features = netdev.xdp_features?;
    Some(XdpCapabilities {
        native: features & XDP_BASIC != 0,
        multi_buffer: features & RX_SG != 0,
        zero_copy: features & XSK_ZEROCOPY != 0,
        rx_metadata: names(netdev.rx_metadata_features, &RX_METADATA),
        xsk_features: names(netdev.xsk_features, &XSK_FEATURES),
    })
}

fn names(bits: Option<u64>, names: &[(u64, &'static str)]) -> Vec<&'static str> {
    let bits = bits.unwrap_or(0);
    names.iter().filter(|(bit, _)| bits & bit != 0).map(|&(_, name)| name).collect()
}

fn timestamping(discovery: Discovery) -> Option<Timestamping> {
    fn texts<T: ToString>(items: impl Iterator<Item = T>) -> Vec<String> {
        items.map(|item| item.to_string()).collect()
    }
    let Discovery { interface, timestamping, setting, holders, .. } = discovery;
    let found = timestamping?;
    let setting = setting.map(|setting| setting.map(|setting| (setting.tx.to_string(), setting.rx.to_string())));
    Some(Timestamping {
        phc: found.phc,
        modes: texts(found.flags.iter()),
        tx_types: texts(found.tx_modes.iter()),
        rx_filters: texts(found.rx_filters.iter()),
        setting: setting.context("find out about", interface),
        holders,
    })
}
