//! What is attached to a device, as the kernel tells it.

use std::{collections::BTreeMap, fmt};

use instamp_trailer::{Hook, Refusal, Site, Standing};

use crate::{
    Error, HookedContainer, Prefix, Reflecting, SentCounts, TcMode, Tracing, XdpMode,
    containers::Note,
    device::Here,
    error::Context as _,
    netlink::route::{Filter, Link},
    pins::{Directory, PROGRAMS, Pins, REFLECT, TC_EGRESS, TC_INGRESS, XDP_INGRESS},
    policy::Named,
    reflector::{reflecting, reflecting_alone},
    sys,
};

/// A device whose probes are stamped.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attachment {
    /// The name of the device.
    pub device: String,
    /// Its number in this network namespace.
    pub ifindex: u32,
    /// What goes into its stamps.
    pub site: Site,
    /// Its hooks: egress, then ingress, then those of the driver and of the card.
    pub hooks: Vec<HookState>,
    /// Whose probes are stamped. A prefix inside another has the standing of both.
    pub policy: BTreeMap<Prefix, Standing>,
    /// The addresses of this host.
    pub own: Vec<Prefix>,
    /// The addresses of containers: of the one at the other end of a veth; at an uplink, of those that were [attached
    /// with it](crate::Hooks::attach_container).
    pub containers: Vec<Prefix>,
    /// The prefixes that count as own by [`Settings::sources`](crate::Settings::sources).
    pub sources: Vec<Prefix>,
    /// The prefixes of [`Settings::respond`](crate::Settings::respond).
    pub respond: Vec<Prefix>,
    /// What became of its requests on their way out; `None` where the kernel does not tell.
    pub sent: Option<SentCounts>,
    /// Who answers probes at this device in the place of the stack; `None` where nobody does.
    pub reflector: Option<Reflecting>,
    /// The container for which the device was attached to; `None` of an uplink, and where nobody named one.
    pub container: Option<HookedContainer>,
    /// Whether it is an uplink that was attached to for containers, and goes with the last of them.
    pub for_containers: bool,
}

/// A program on a hook.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HookState {
    /// The hook.
    pub hook: Hook,
    /// What holds the program there; `None` where somebody has taken it off.
    pub mechanism: Option<Mechanism>,
    /// The kernel's number of the link; `None` for filters, which have none.
    pub link_id: Option<u32>,
    /// What the program has done since it was attached.
    pub counters: Counters,
}

/// What holds a program on its hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mechanism {
    /// An XDP link.
    Xdp(XdpMode),
    /// A TCX link, or a filter.
    Tc(TcMode),
    /// A program that watches the kernel's functions.
    Tracing(Tracing),
    /// The driver tells an XDP program, which hands it to a TC program.
    XdpMetadata,
    /// The socket buffer has it.
    SocketBuffer,
}

/// How many packets a program has stamped, and left as they were, on all processors together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Probes that got a stamp.
    pub stamped: u64,
    /// Packets that did not, by the reason.
    pub refused: Vec<(Refusal, u64)>,
}

impl Attachment {
    /// Reads the attachment to `link` from its directory.
    pub(crate) fn read(pins: &Pins, here: &Here, link: &Link, directory: &Directory) -> Result<Self, Error> {
        let site = directory.site()?;
        let found = hooks(here, directory)?.into_iter().map(|found| {
            let hook = found.hook();
            Ok(HookState {
                hook,
                mechanism: found.mechanism,
                link_id: found.link.map(|link| link.link),
                counters: directory.counters(hook)?,
            })
        });
        let mut hooks = found.collect::<Result<Vec<_>, Error>>()?;
        let watched = pins.sent().watched(directory.key())?;
        let tracing = watched
            .iter()
            .flat_map(|watched| [(Hook::DRIVER_TX, Some(watched.driver_tx)), (Hook::NIC_TX, watched.nic_tx)]);
        for (hook, found) in tracing {
            if let Some((tracing, link)) = found {
                let mechanism = Some(Mechanism::Tracing(tracing));
                hooks.push(HookState { hook, mechanism, link_id: Some(link), counters: directory.counters(hook)? });
            }
        }
        if let Some(mechanism) = nic_rx(site) {
            let counters = directory.counters(Hook::NIC_RX)?;
            hooks.push(HookState { hook: Hook::NIC_RX, mechanism: Some(mechanism), link_id: None, counters });
        }
        let has_xdp = hooks.iter().any(|hook| matches!(hook.mechanism, Some(Mechanism::Xdp(_))));
        let reflector = match link.xdp {
            _ if directory.has(REFLECT) => Some(reflecting(directory)?),
            Some(xdp) if !has_xdp => reflecting_alone(xdp.id),
            _ => None,
        };
        let policy = directory.policy()?;
        let named =
            |named: Named| policy.iter().filter(|(_, value)| named.is_in(**value)).map(|(&prefix, _)| prefix).collect();
        let note = directory.note()?;
        Ok(Self {
            device: link.name.clone(),
            ifindex: link.ifindex,
            site,
            sent: watched.map(|watched| watched.counts.with_replies(&hooks)),
            hooks,
            reflector,
            own: named(Named::Own),
            containers: named(Named::Container),
            sources: named(Named::Source),
            respond: named(Named::Respond),
            policy: policy.iter().map(|(&prefix, &value)| (prefix, Standing::from_bits(value))).collect(),
            for_containers: note == Some(Note::Uplink),
            container: match note {
                Some(Note::Container { container, uplink }) => {
                    let uplink = here.by_index(uplink).map(|uplink| uplink.name.clone());
                    Some(HookedContainer { container, uplink })
                }
                _ => None,
            },
        })
    }
}

impl SentCounts {
    /// With what the replies tell.
    fn with_replies(self, hooks: &[HookState]) -> Self {
        let nic_tx = hooks.iter().find(|state| state.hook == Hook::NIC_TX);
        let absent = nic_tx.map_or(0, |nic_tx| nic_tx.counters.refused(Refusal::Absent));
        Self { nic_skipped: absent.saturating_sub(self.nic_late), ..self }
    }
}

impl Counters {
    /// How many packets were left as they were for this reason.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused.iter().filter(|(reason, _)| *reason == refusal).map(|(_, count)| count).sum()
    }
}

impl Attachment {
    /// Whether the XDP program hands on the card's receive times, and stamps nothing.
    pub(crate) fn hands_on(site: Site) -> bool {
        nic_rx(site) == Some(Mechanism::XdpMetadata)
    }
}

/// How the card's receive times come.
fn nic_rx(site: Site) -> Option<Mechanism> {
    match site.nic_rx {
        1 => Some(Mechanism::XdpMetadata),
        2 => Some(Mechanism::SocketBuffer),
        _ => None,
    }
}

/// A hook of an attachment in this network namespace.
pub(crate) struct Found {
    pub(crate) program: &'static str,
    pub(crate) link: Option<sys::Attached>,
    pub(crate) mechanism: Option<Mechanism>,
}

impl Found {
    fn hook(&self) -> Hook {
        match self.program {
            XDP_INGRESS => Hook::XDP_INGRESS,
            TC_INGRESS => Hook::TC_INGRESS,
            _ => Hook::TC_EGRESS,
        }
    }
}

/// The hooks of an attachment in this network namespace: egress, then ingress. A hook counts as held only if the device
/// says so too, since the numbers of devices and namespaces are used again.
pub(crate) fn hooks(here: &Here, directory: &Directory) -> Result<Vec<Found>, Error> {
    let device = here.by_index(directory.ifindex);
    let has_xdp = directory.has(XDP_INGRESS);
    // To look for filters is to ask for every program of the system.
    let is_pinned = directory.has(TC_EGRESS) && (has_xdp || directory.has(TC_INGRESS));
    let filters = if is_pinned { Vec::new() } else { own_filters(here, directory)? };
    let has_tc = directory.has(TC_INGRESS) || filters.iter().any(|filter| filter.ingress);
    let mut programs = vec![TC_EGRESS];
    programs.extend(has_xdp.then_some(XDP_INGRESS));
    programs.extend((has_tc || !has_xdp).then_some(TC_INGRESS));
    programs
        .into_iter()
        .map(|program| {
            let link = link(directory, program)?;
            let mechanism = match (device, link) {
                (None, _) => None,
                (Some(device), Some(link)) => held_by_link(device, program, link)?,
                (Some(_), None) => filters
                    .iter()
                    .any(|filter| filter.ingress == (program == TC_INGRESS))
                    .then_some(Mechanism::Tc(TcMode::Clsact)),
            };
            Ok(Found { program, link, mechanism })
        })
        .collect()
}

/// Whether the attachment's XDP program is on the device.
pub(crate) fn stamps_by_xdp(here: &Here, directory: &Directory) -> Result<bool, Error> {
    let is_it = |found: &Found| found.program == XDP_INGRESS && found.mechanism.is_some();
    Ok(hooks(here, directory)?.iter().any(is_it))
}

fn held_by_link(device: &Link, program: &str, link: sys::Attached) -> Result<Option<Mechanism>, Error> {
    if link.ifindex != device.ifindex {
        return Ok(None);
    }
    if program == XDP_INGRESS {
        let here = device.xdp.filter(|xdp| xdp.id == link.program);
        let mode = here.map(|xdp| if xdp.generic { XdpMode::Generic } else { XdpMode::Native });
        return Ok(mode.map(Mechanism::Xdp));
    }
    Ok(device.has_tcx_program(link.program)?.then_some(Mechanism::Tc(TcMode::Tcx)))
}

/// The link that is pinned under the name of `program`.
pub(crate) fn link(directory: &Directory, program: &str) -> Result<Option<sys::Attached>, Error> {
    if !directory.has(program) {
        return Ok(None);
    }
    let pin = directory.pin(program);
    sys::Link::open(&pin).and_then(|link| link.info()).map(Some).context("read", pin.display())
}

/// The links of a directory, whichever there are.
pub(crate) fn links(directory: &Directory) -> Result<Vec<sys::Attached>, Error> {
    PROGRAMS.iter().filter_map(|program| link(directory, program).transpose()).collect()
}

/// The filters of a device in this network namespace that run programs of the attachment.
pub(crate) fn own_filters(here: &Here, directory: &Directory) -> Result<Vec<Filter>, Error> {
    let Some(device) = here.by_index(directory.ifindex) else { return Ok(Vec::new()) };
    let filters = here.route.filters(device.ifindex).context("list the TC filters of", &device.name)?;
    // Filters can be listed with less privilege than programs.
    let programs = if filters.is_empty() { Vec::new() } else { directory.programs()? };
    let own = |filter: &Filter| filter.program.is_some_and(|program| programs.contains(&program));
    Ok(filters.into_iter().filter(own).collect())
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xdp(mode) => mode.fmt(f),
            Self::Tc(mode) => mode.fmt(f),
            Self::Tracing(tracing) => tracing.fmt(f),
            Self::XdpMetadata => f.pad("xdp-metadata"),
            Self::SocketBuffer => f.pad("skb"),
        }
    }
}

impl fmt::Display for Attachment {
    /// On one line: the point and the hooks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "point {}", self.site.point)?;
        for HookState { hook, mechanism, .. } in &self.hooks {
            match mechanism {
                Some(mechanism) => write!(f, ", {hook} ({mechanism})")?,
                None => write!(f, ", {hook} (taken off by somebody)")?,
            }
        }
        Ok(())
    }
}
