//! Attaching: all of it or nothing.

use std::net::IpAddr;

use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, ProgramError, SchedClassifier, Xdp, XdpMode as AyaXdpMode, links::FdLink, loaded_programs},
};
use instamp_trailer::{Clock, Site};
use nix::errno::Errno;

use crate::{
    Attachment, Choice, Error, Ingress, IngressChoice, NicRxSource, Notice, Objects, Policy, Prefix, Reason,
    Reflecting, TcChoice, XdpMode,
    card::{self, Offer},
    containers::{Note, served},
    device::{Here, namespace_number},
    error::{Context as _, cause, errno, failed},
    loader,
    maps::require_listing,
    netlink::route::{Link, Peer, Route, is_link_local},
    nic_rx,
    pins::{Directory, NOTE, Pins, State, TC_EGRESS, TC_INGRESS, XDP_INGRESS},
    policy::Named,
    reflector::{XDP_REFLECT, reflecting_alone},
    sent::Requests,
    site,
    steering::XDP_STEER,
    sweep::dismantle,
    tc,
};

/// TC programs that take the place of that for the way in, where the card's times are taken.
const TC_INGRESS_HANDED: &str = "tc_ingress_handed";
const TC_INGRESS_NIC_RX: &str = "tc_ingress_nic_rx";

/// How many addresses of a container count as own. It chooses them itself, and an uplink has room for [`Policy::CAPACITY`] of all.
const MOST_INSIDE: usize = 16;

/// The point at which the probes of a host leave it.
pub(crate) const UPLINK: u8 = 0;

/// What to attach to, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The name of the device.
    pub device: String,
    /// The hook on the way in.
    pub ingress: IngressChoice,
    /// Who runs the XDP program, if there is one.
    pub xdp_mode: XdpMode,
    /// How TC programs are attached.
    pub tc: TcChoice,
    /// Whether the card is set to stamp what it can, and its times are taken.
    pub hardware: bool,
    /// What the programs write, and for whom.
    pub settings: Settings,
}

impl Request {
    /// A request with everything else left to choose.
    pub fn new(device: &str) -> Self {
        Self {
            device: device.to_owned(),
            ingress: IngressChoice::default(),
            xdp_mode: XdpMode::default(),
            tc: TcChoice::default(),
            hardware: false,
            settings: Settings::default(),
        }
    }

    /// What is asked of how to attach, which cannot be changed later, as options of `instamp attach`.
    pub(crate) fn ways(&self) -> impl Iterator<Item = &'static str> + use<> {
        let ways = [
            ("--ingress", self.ingress != IngressChoice::default()),
            ("--xdp-mode", self.xdp_mode != XdpMode::default()),
            ("--tc", self.tc != TcChoice::default()),
            ("--hw", self.hardware),
        ];
        ways.into_iter().filter(|(_, is_given)| *is_given).map(|(option, _)| option)
    }
}

/// What the programs of a device write, and for whom. What is not given is a default, or in an update what it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Which attachment of this host it is: 0 the uplink, others up to 7. At a point other than the uplink, what is at the
    /// other end of a veth is part of the host: the addresses of a container count as own. By default 0.
    pub point: Option<u8>,
    /// The number of this host; by default a hash of its boot, the same in all its namespaces.
    pub node: Option<u16>,
    /// Networks whose probes are stamped as the host's own, besides its own addresses; by default none.
    pub sources: Option<Vec<Prefix>>,
    /// Networks whose requests to this host are stamped, and the replies to them; by default none.
    pub respond: Option<Vec<Prefix>>,
    /// The clock of the stamps that `respond` allows; by default [`Clock::TAI`].
    pub respond_clock: Option<Clock>,
}

impl Settings {
    /// These, and where they say nothing those of an attachment.
    pub(crate) fn over(&self, attachment: &Attachment) -> Self {
        let Attachment { site, sources, respond, .. } = attachment;
        Self {
            point: self.point.or(Some(site.point)),
            node: self.node.or(Some(site.node)),
            sources: self.sources.clone().or_else(|| Some(sources.clone())),
            respond: self.respond.clone().or_else(|| Some(respond.clone())),
            respond_clock: self.respond_clock.or(Some(Clock::from_number(site.respond_clock))),
        }
    }

    /// The site and the policy for the addresses that the network namespace, and at the other end of a veth the container, have now.
    pub(crate) fn resolve(&self, here: &Here, link: &Link, announce: &dyn Fn(Notice)) -> Result<(Site, Policy), Error> {
        let point = self.point.unwrap_or(UPLINK);
        if point > 7 {
            return Err(Error::Point { point });
        }
        let own = here.route.addresses().context("list", "the addresses of the devices")?;
        let inside = match link.peer {
            Some(peer) if point != UPLINK => inside(here, link, peer, &own, announce)?,
            _ => Vec::new(),
        };
        let site = Site {
            node: self.node.map_or_else(site::node, Ok)?,
            point,
            bound: site::bound(),
            own_clock: Clock::MONOTONIC.number(),
            respond_clock: self.respond_clock.unwrap_or(Clock::TAI).number(),
            keeps_sent: 0,
            nic_rx: 0,
            namespace: namespace_number(here.namespace),
            phc: 0,
        };
        Ok((site, self.policy(&own, &inside)))
    }

    /// For the addresses of this host, and those of a container. Loopback addresses never cross a device. Others of the loopback
    /// device do: hosts with several uplinks keep theirs there.
    fn policy(&self, own: &[IpAddr], container: &[IpAddr]) -> Policy {
        let mut policy = Policy::default();
        for (addresses, named) in [(own, Named::Own), (container, Named::Container)] {
            let crossing = addresses.iter().filter(|address| !address.is_loopback());
            crossing.for_each(|&address| policy.name(address.into(), named));
        }
        self.sources.iter().flatten().for_each(|&prefix| policy.name(prefix, Named::Source));
        self.respond.iter().flatten().for_each(|&prefix| policy.name(prefix, Named::Respond));
        policy
    }

    /// Writes the maps of an attachment, policy first: what is stamped is never stamped for too many. Returns the site.
    pub(crate) fn write(
        &self,
        pins: &Pins,
        here: &Here,
        link: &Link,
        directory: &Directory,
        announce: &dyn Fn(Notice),
    ) -> Result<Site, Error> {
        let Site { keeps_sent, nic_rx, phc, .. } = directory.site()?;
        let (site, mut policy) = self.resolve(here, link, announce)?;
        served(pins, directory)?.into_iter().for_each(|prefix| policy.name(prefix, Named::Container));
        let site = Site { keeps_sent, nic_rx, phc, ..site };
        directory.set_policy(&policy)?;
        directory.set_site(site)?;
        Ok(site)
    }
}

/// The addresses at the other end of a veth that are there by this host's word too: its routes say so. A container with
/// `CAP_NET_ADMIN` has whichever it likes, the host's and strangers' among them.
fn inside(
    here: &Here,
    link: &Link,
    peer: Peer,
    own: &[IpAddr],
    announce: &dyn Fn(Notice),
) -> Result<Vec<IpAddr>, Error> {
    let claimed = Route::addresses_of(peer).context("list the addresses at the other end of", &link.name)?;
    let (mut taken, mut ignored) = (Vec::new(), Vec::new());
    // Those of the link alone have no route that would tell, and are never forwarded: they count at this device only, behind the others.
    let (of_link, others): (Vec<_>, Vec<_>) = claimed.into_iter().partition(|address| is_link_local(*address));
    for address in others.into_iter().chain(of_link).filter(|address| !address.is_loopback()) {
        let is_routed = || Ok::<_, Error>(is_link_local(address) || here.leads_to(address, link)?);
        let counts = taken.len() < MOST_INSIDE && !own.contains(&address) && is_routed()?;
        if counts { &mut taken } else { &mut ignored }.push(address);
    }
    if !ignored.is_empty() {
        announce(Notice::AddressesIgnored { device: link.name.clone(), most: MOST_INSIDE, addresses: ignored });
    }
    Ok(taken)
}

/// Attaches, or leaves everything as it was. With a `note` of the container for which this is, if it is for one.
pub(crate) fn attach(
    pins: &Pins,
    here: &Here,
    objects: &Objects,
    request: &Request,
    note: Option<&Note>,
    announce: &dyn Fn(Notice),
) -> Result<Attachment, Error> {
    let link = here.device(&request.device)?;
    link.require_ethernet()?;
    let whole = pins.directory(here.namespace, link.ifindex, State::Whole);
    if whole.exists() {
        let is_uplink = request.settings.point.is_none_or(|point| point == UPLINK);
        if note.is_none() && is_uplink && whole.note()? == Some(Note::Uplink) {
            return adopt(pins, here, link, &whole, request, announce);
        }
        let existing = Attachment::read(pins, here, link, &whole)?.to_string();
        return Err(Error::AlreadyAttached { device: link.name.clone(), existing });
    }
    // Before anything is there that could not be taken off.
    require_listing()?;
    let choice = link.choose(request.ingress, request.xdp_mode, request.tc)?;
    if matches!(choice.ingress, Ingress::Xdp(_)) {
        refuse_foreign_xdp(link)?;
    }

    if request.settings.point.is_none() && leads_to_container(here, link)? {
        announce(Notice::ContainerAtUplink { device: link.name.clone() });
    }

    let partial = pins.directory(here.namespace, link.ifindex, State::Partial);
    let build = Build { pins, here, link, directory: &partial, objects, request, note, announce };
    let directory = match build.run(choice).and_then(|()| partial.become_state(State::Whole)) {
        Ok(directory) => directory,
        Err(error) => {
            // The first error tells the cause. If this fails too, the next command sweeps.
            let _: Result<(), Error> = dismantle(here, partial, announce).and_then(|()| pins.prune());
            return Err(error);
        }
    };
    let read = || {
        // The device as it is now, with its program.
        let here = Here::look()?;
        Attachment::read(pins, &here, here.device(&request.device)?, &directory)
    };
    read().inspect_err(|_| {
        let _: Result<(), Error> = dismantle(here, directory.clone(), announce).and_then(|()| pins.prune());
    })
}

/// Has an uplink that was attached to for containers stay when the last of them goes.
fn adopt(
    pins: &Pins,
    here: &Here,
    link: &Link,
    directory: &Directory,
    request: &Request,
    announce: &dyn Fn(Notice),
) -> Result<Attachment, Error> {
    let options: Vec<_> = request.ways().collect();
    if !options.is_empty() {
        announce(Notice::Kept { device: link.name.clone(), options });
    }
    update(pins, here, link, directory, &request.settings, announce)?;
    directory.unpin(NOTE)?;
    Attachment::read(pins, here, link, directory)
}

/// Changes what the programs of an attachment write, and for whom.
pub(crate) fn update(
    pins: &Pins,
    here: &Here,
    link: &Link,
    directory: &Directory,
    settings: &Settings,
    announce: &dyn Fn(Notice),
) -> Result<(), Error> {
    let settings = settings.over(&Attachment::read(pins, here, link, directory)?);
    let site = settings.write(pins, here, link, directory, announce)?;
    pins.sent().update(directory.key(), site)
}

/// Whether the device looks like the host's end of a container's veth. The uplink may be a veth too, where the host is a
/// container itself, but then it has an address by which others reach it.
fn leads_to_container(here: &Here, link: &Link) -> Result<bool, Error> {
    let has_network = || here.route.has_network(link.ifindex).context("list the addresses of", &link.name);
    Ok(link.peer.is_some() && !has_network()?)
}

/// From where the card's receive times come, as [`Site::nic_rx`] has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NicRx {
    Nowhere = 0,
    /// The driver tells an XDP program, which hands it on.
    Handed = 1,
    /// The socket buffer has it.
    SocketBuffer = 2,
}

/// An attachment that is being made.
struct Build<'a> {
    pins: &'a Pins,
    here: &'a Here,
    link: &'a Link,
    directory: &'a Directory,
    objects: &'a Objects,
    request: &'a Request,
    note: Option<&'a Note>,
    announce: &'a dyn Fn(Notice),
}

impl Build<'_> {
    fn run(&self, mut choice: Choice) -> Result<(), Error> {
        let Self { here, link, directory, .. } = *self;
        directory.create()?;
        self.note.map_or(Ok(()), |note| directory.set_note(note))?;
        let offer = if self.request.hardware { Some(Offer::of(link)?) } else { None };
        let sent = self.pins.sent();
        self.watch(&sent, offer)?;
        let mut loader = self.loader(&sent, offer)?;
        let mut tc = loader.load(&self.objects.tc).context("load the TC programs for", &link.name)?;
        let site = self.request.settings.write(self.pins, here, link, directory, self.announce)?;

        let mut nic_rx = self.nic_rx(choice.ingress, offer);
        if let Ingress::Xdp(mode) = choice.ingress {
            self.announce_choice(&choice);
            if mode == XdpMode::Native && link.kind.is_none() {
                (self.announce)(Notice::LinkReset { device: self.device() });
            }
            if nic_rx == NicRx::Handed
                && let Err(error) = nic_rx::attach(link, directory)
            {
                let why = format!("this kernel refuses the program that asks the driver ({error})");
                nic_rx = offer.map_or(NicRx::Nowhere, |offer| self.without_handing(offer, &why));
            }
            if nic_rx != NicRx::Handed {
                self.attach_xdp(&mut loader, mode, &mut choice)?;
            }
        }
        if choice.ingress == Ingress::Tc {
            self.announce_choice(&choice);
        }
        if let Some(program) = ingress_program(choice.ingress, nic_rx) {
            self.attach_tc(&choice, &mut tc, program, TC_INGRESS)?;
        }
        self.attach_tc(&choice, &mut tc, TC_EGRESS, TC_EGRESS)?;
        let phc = offer.and_then(|offer| offer.phc).map_or(0, |phc| phc + 1);
        self.keep_sent(&sent, offer, Site { nic_rx: nic_rx as u8, phc, ..site })
    }

    fn device(&self) -> String {
        self.link.name.clone()
    }

    /// Has the kernel tell when requests leave, as far as it does.
    fn watch(&self, sent: &Requests, offer: Option<Offer>) -> Result<(), Error> {
        let watched = sent.watch_driver();
        let is_watched = watched.is_ok();
        if let Err(error) = watched {
            (self.announce)(Notice::NoDriverTx { device: self.device(), words: cause(&error) });
            // What could not be attached has left its maps.
            sent.prune(|_| true)?;
        }
        if offer.is_some_and(|offer| offer.tx) {
            // Its times wait for the reply beside those of the driver.
            let watched = if is_watched {
                sent.watch_cards().map_err(|error| format!("skb_tstamp_tx cannot be watched: {}", cause(&error)))
            } else {
                Err("they wait for the reply beside driver-tx, which there is not".to_owned())
            };
            if let Err(words) = watched {
                (self.announce)(Notice::NoNicTx { device: self.device(), words });
            }
        }
        Ok(())
    }

    fn loader(&self, sent: &Requests, offer: Option<Offer>) -> Result<EbpfLoader<'static>, Error> {
        let mut loader = loader::sharing(self.directory, Some(sent));
        loader::without_sources(&mut loader);
        if let Some(phc) = offer.and_then(|offer| offer.phc)
            && let Err(words) = loader::convert(&mut loader, self.pins, phc)?
        {
            (self.announce)(Notice::NoConversion { device: self.device(), words });
        }
        Ok(loader)
    }

    /// From where the card's receive times would come.
    fn nic_rx(&self, ingress: Ingress, offer: Option<Offer>) -> NicRx {
        let Some(offer) = offer else { return NicRx::Nowhere };
        match offer.nic_rx() {
            Ok(NicRxSource::XdpMetadata) if ingress == Ingress::Xdp(XdpMode::Native) => NicRx::Handed,
            Ok(_) => self.without_handing(offer, offer.not_handed()),
            Err(words) => {
                (self.announce)(Notice::NoNicRx { device: self.device(), words: format!("none: {words}") });
                NicRx::Nowhere
            }
        }
    }

    fn without_handing(&self, offer: Offer, why: &str) -> NicRx {
        if !offer.rx {
            (self.announce)(Notice::NoNicRx { device: self.device(), words: format!("none: {why}") });
            return NicRx::Nowhere;
        }
        (self.announce)(Notice::NoNicRx { device: self.device(), words: format!("from the socket buffer: {why}") });
        NicRx::SocketBuffer
    }

    fn attach_xdp(&self, loader: &mut EbpfLoader<'static>, mode: XdpMode, choice: &mut Choice) -> Result<(), Error> {
        let Self { link, directory, .. } = *self;
        let mut xdp = loader.load(&self.objects.xdp).context("load the XDP program for", &link.name)?;
        let pin = directory.pin(XDP_INGRESS);
        let attached = attach_xdp(&mut xdp, XDP_INGRESS, link, mode)
            .and_then(|attached| attached.pin(&pin).context("pin", pin.display()));
        match attached {
            Err(Error::NativeXdp { source, .. }) if self.request.ingress == IngressChoice::Auto => {
                choice.ingress = Ingress::Tc;
                let words =
                    errno(source.as_ref()).map_or_else(|| source.to_string(), |number| number.desc().to_owned());
                choice.reason = Reason::NativeXdpRefused(words);
                Ok(())
            }
            result => result.map(drop),
        }
    }

    fn attach_tc(&self, choice: &Choice, object: &mut Ebpf, name: &str, pin: &'static str) -> Result<(), Error> {
        let Self { here, link, directory, .. } = *self;
        let program: &mut SchedClassifier = program(object, name).context("load a TC program for", &link.name)?;
        verified(|| program.load()).context("load a TC program for", &link.name)?;
        tc::attach(here, link, directory, choice.tc, pin, program)
    }

    /// Switches the card on, and has requests watched as they leave.
    fn keep_sent(&self, sent: &Requests, offer: Option<Offer>, site: Site) -> Result<(), Error> {
        let Self { link, directory, announce, .. } = *self;
        if let Some(offer) = offer {
            card::switch_on(link, offer, directory, announce)?;
        }
        if !sent.is_watched() {
            return directory.set_site(site);
        }
        let takes_nic_tx = sent.are_cards_watched() && offer.is_some_and(|offer| offer.tx);
        match sent.add(directory.key(), site, if takes_nic_tx { site.phc } else { 0 }) {
            Ok(()) => directory.set_site(Site { keeps_sent: 1, ..site }),
            Err(error) => {
                announce(Notice::NoDriverTx { device: self.device(), words: cause(&error) });
                directory.set_site(site)
            }
        }
    }

    fn announce_choice(&self, choice: &Choice) {
        if choice.reason != Reason::Asked {
            (self.announce)(Notice::Chosen { device: self.device(), choice: choice.clone() });
        }
    }
}

/// The TC program on the way in, if there is one.
fn ingress_program(ingress: Ingress, nic_rx: NicRx) -> Option<&'static str> {
    match (ingress, nic_rx) {
        (Ingress::Tc, NicRx::Nowhere) => Some(TC_INGRESS),
        (Ingress::Tc, NicRx::SocketBuffer) | (_, NicRx::Handed) => Some(TC_INGRESS_HANDED),
        (Ingress::Xdp(_), NicRx::SocketBuffer) => Some(TC_INGRESS_NIC_RX),
        (Ingress::Xdp(_), NicRx::Nowhere) => None,
    }
}

/// Attaches the XDP program `name` of an object, for as long as there is the link.
pub(crate) fn attach_xdp(object: &mut Ebpf, name: &str, link: &Link, mode: XdpMode) -> Result<FdLink, Error> {
    let program = load_xdp(object, name).context("load the XDP program for", &link.name)?;
    let aya_mode = match mode {
        XdpMode::Native => AyaXdpMode::Driver,
        XdpMode::Generic => AyaXdpMode::Skb,
    };
    let attached = program
        .attach_to_if_index(link.ifindex, aya_mode)
        .and_then(|id| program.take_link(id))
        .map_err(|error| xdp_error(error, link, mode))?;
    FdLink::try_from(attached).context("attach the XDP program to", &link.name)
}

/// Loads the XDP program `name` of an object, unless it is.
pub(crate) fn load_xdp<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, ProgramError> {
    let program: &mut Xdp = program(object, name)?;
    match verified(|| program.load()) {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(program),
        Err(error) => Err(error),
    }
}

/// How often a program is handed to the verifier.
const VERIFICATIONS: u32 = 5;

/// Loads a program. A signal to this thread makes the verifier give up with `EAGAIN` ([commit c3494801cd17]), and whoever
/// loads is to try again; libbpf does so as often.
///
/// [commit c3494801cd17]: https://github.com/torvalds/linux/commit/c3494801cd1785e2
fn verified(mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    for _ in 1..VERIFICATIONS {
        match load() {
            Err(error) if errno(&error) == Some(Errno::EAGAIN) => {}
            result => return result,
        }
    }
    load()
}

fn xdp_error(error: ProgramError, link: &Link, mode: XdpMode) -> Error {
    let number = errno(&error);
    let is_refusal =
        !matches!(number, Some(Errno::EPERM | Errno::EACCES | Errno::EBUSY | Errno::EEXIST | Errno::ENODEV));
    match mode {
        XdpMode::Native if is_refusal => Error::NativeXdp { device: link.name.clone(), source: error.into() },
        XdpMode::Native | XdpMode::Generic => failed("attach the XDP program to", &link.name, error),
    }
}

/// The program `name` of an object, in its type.
fn program<'a, P>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut P, ProgramError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    object.program_mut(name).ok_or_else(|| ProgramError::InvalidName { name: name.to_owned() })?.try_into()
}

/// Refuses a device that has an XDP program: such a program is never replaced.
pub(crate) fn refuse_foreign_xdp(link: &Link) -> Result<(), Error> {
    let Some(xdp) = link.xdp else { return Ok(()) };
    let device = link.name.clone();
    let info = loaded_programs().filter_map(Result::ok).find(|info| info.id() == xdp.id);
    let name = info.and_then(|info| info.name_as_str().map(str::to_owned)).unwrap_or_default();
    Err(match name.as_str() {
        XDP_STEER => Error::Occupied { device },
        XDP_REFLECT if let Some(Reflecting { holder, .. }) = reflecting_alone(xdp.id) => {
            Error::Reflecting { device, process: holder.process, command: holder.command }
        }
        _ => Error::ForeignXdp { device, id: xdp.id, name },
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use instamp_trailer::Standing;

    use super::*;

    #[test]
    fn own_addresses_and_sources_are_own_and_loopback_is_not() {
        let settings = Settings {
            sources: Some(vec!["172.17.0.0/16".parse().unwrap()]),
            respond: Some(vec!["0.0.0.0/0".parse().unwrap()]),
            ..Settings::default()
        };
        let addresses = ["127.0.0.1", "192.0.2.1", "::1", "fe80::1"].map(|text| text.parse().unwrap());
        let networks: Vec<_> = settings
            .policy(&addresses, &[])
            .networks()
            .map(|(prefix, standing)| (prefix.to_string(), standing))
            .collect();
        let both = Standing::OWN.and(Standing::RESPOND);
        assert_eq!(
            networks,
            [
                ("0.0.0.0/0".to_owned(), Standing::RESPOND),
                ("172.17.0.0/16".to_owned(), both),
                ("192.0.2.1/32".to_owned(), both),
                ("fe80::1/128".to_owned(), Standing::OWN),
            ]
        );
    }
}
