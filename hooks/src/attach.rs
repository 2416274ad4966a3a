//! Attaching: all of it or nothing.

use std::net::IpAddr;

use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, ProgramError, SchedClassifier, Xdp, XdpMode as AyaXdpMode, links::FdLink, loaded_programs},
};
use instamp_trailer::{Clock, Site, Standing};
use nix::errno::Errno;

use crate::{
    Attachment, Choice, Error, Ingress, IngressChoice, Notice, Objects, Policy, Prefix, Reason, TcChoice, XdpMode,
    device::Here,
    error::{Context as _, errno, failed},
    maps::require_listing,
    netlink::route::{Link, Route},
    pins::{Directory, MAPS, Pins, State, TC_EGRESS, TC_INGRESS, XDP_INGRESS},
    policy::Named,
    site,
    sweep::dismantle,
    tc,
};

/// The point at which the probes of a host leave it.
const UPLINK: u8 = 0;

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
            settings: Settings::default(),
        }
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

    /// The site and the policy for the addresses that the network namespace has now.
    fn resolve(&self, here: &Here, link: &Link) -> Result<(Site, Policy), Error> {
        let point = self.point.unwrap_or(UPLINK);
        if point > 7 {
            return Err(Error::Point { point });
        }
        let mut addresses = here.route.addresses().context("list", "the addresses of the devices")?;
        if point != UPLINK
            && let Some(peer) = link.peer
        {
            addresses.extend(Route::addresses_of(peer).context("list the addresses at the other end of", &link.name)?);
        }
        let site = Site {
            node: self.node.map_or_else(site::node, Ok)?,
            point,
            bound: site::bound(),
            own_clock: Clock::MONOTONIC.number(),
            respond_clock: self.respond_clock.unwrap_or(Clock::TAI).number(),
            keeps_sent: 0,
            reserved: 0,
            namespace: 0,
        };
        Ok((site, self.policy(&addresses)))
    }

    /// Loopback addresses never cross a device. Others of the loopback device do: hosts with several uplinks keep theirs there.
    fn policy(&self, addresses: &[IpAddr]) -> Policy {
        let mut policy = Policy::default();
        let own = addresses.iter().filter(|address| !address.is_loopback());
        own.for_each(|&address| policy.add(address.into(), Standing::OWN));
        self.sources.iter().flatten().for_each(|&prefix| policy.name(prefix, Named::Source));
        self.respond.iter().flatten().for_each(|&prefix| policy.name(prefix, Named::Respond));
        policy
    }

    /// Writes the maps of an attachment, policy first: what is stamped is never stamped for too many.
    pub(crate) fn write(&self, here: &Here, link: &Link, directory: &Directory) -> Result<(), Error> {
        let (site, policy) = self.resolve(here, link)?;
        directory.set_policy(&policy)?;
        directory.set_site(site)
    }
}

/// Attaches, or leaves everything as it was.
pub(crate) fn attach(
    pins: &Pins,
    here: &Here,
    objects: &Objects,
    request: &Request,
    announce: &dyn Fn(Notice),
) -> Result<Attachment, Error> {
    let link = here.device(&request.device)?;
    link.require_ethernet()?;
    let whole = pins.directory(here.namespace, link.ifindex, State::Whole);
    if whole.exists() {
        let existing = Attachment::read(here, link, &whole)?.to_string();
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
    let made = build(here, link, &partial, objects, request, choice, announce)
        .and_then(|()| partial.become_state(State::Whole));
    let directory = match made {
        Ok(directory) => directory,
        Err(error) => {
            // The first error tells the cause. If this fails too, the next command sweeps.
            let _: Result<(), Error> = dismantle(here, partial);
            return Err(error);
        }
    };
    // The device as it is now, with its program.
    let here = Here::look()?;
    Attachment::read(&here, here.device(&request.device)?, &directory)
}

/// Whether the device looks like the host's end of a container's veth. The uplink may be a veth too, where the host is a
/// container itself, but then it has an address by which others reach it.
fn leads_to_container(here: &Here, link: &Link) -> Result<bool, Error> {
    let has_network = || here.route.has_network(link.ifindex).context("list the addresses of", &link.name);
    Ok(link.peer.is_some() && !has_network()?)
}

fn build(
    here: &Here,
    link: &Link,
    directory: &Directory,
    objects: &Objects,
    request: &Request,
    mut choice: Choice,
    announce: &dyn Fn(Notice),
) -> Result<(), Error> {
    directory.create()?;
    let mut loader = loader(directory);
    let mut tc = loader.load(&objects.tc).context("load the TC programs for", &link.name)?;
    request.settings.write(here, link, directory)?;

    if let Ingress::Xdp(mode) = choice.ingress {
        let mut xdp = loader.load(&objects.xdp).context("load the XDP program for", &link.name)?;
        announce_choice(link, &choice, announce);
        if mode == XdpMode::Native && link.kind.is_none() {
            announce(Notice::LinkReset { device: link.name.clone() });
        }
        match attach_xdp(&mut xdp, link, mode, directory) {
            Err(Error::NativeXdp { source, .. }) if request.ingress == IngressChoice::Auto => {
                choice.ingress = Ingress::Tc;
                let words =
                    errno(source.as_ref()).map_or_else(|| source.to_string(), |number| number.desc().to_owned());
                choice.reason = Reason::NativeXdpRefused(words);
            }
            result => result?,
        }
    }
    if choice.ingress == Ingress::Tc {
        announce_choice(link, &choice, announce);
        attach_tc(here, link, directory, &choice, &mut tc, TC_INGRESS)?;
    }
    attach_tc(here, link, directory, &choice, &mut tc, TC_EGRESS)
}

fn announce_choice(link: &Link, choice: &Choice, announce: &dyn Fn(Notice)) {
    if choice.reason != Reason::Asked {
        announce(Notice::Chosen { device: link.name.clone(), choice: choice.clone() });
    }
}

/// Loads objects: the first one makes the maps in the directory, the next one shares them.
fn loader(directory: &Directory) -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    for name in MAPS {
        loader.map_pin_path(name, directory.pin(name));
    }
    loader
}

fn attach_tc(
    here: &Here,
    link: &Link,
    directory: &Directory,
    choice: &Choice,
    object: &mut Ebpf,
    name: &'static str,
) -> Result<(), Error> {
    let program: &mut SchedClassifier = program(object, name).context("load a TC program for", &link.name)?;
    verified(|| program.load()).context("load a TC program for", &link.name)?;
    tc::attach(here, link, directory, choice.tc, name, program)
}

fn attach_xdp(object: &mut Ebpf, link: &Link, mode: XdpMode, directory: &Directory) -> Result<(), Error> {
    let program: &mut Xdp = program(object, XDP_INGRESS).context("load the XDP program for", &link.name)?;
    verified(|| program.load()).context("load the XDP program for", &link.name)?;
    let aya_mode = match mode {
        XdpMode::Native => AyaXdpMode::Driver,
        XdpMode::Generic => AyaXdpMode::Skb,
    };
    let attached = program
        .attach_to_if_index(link.ifindex, aya_mode)
        .and_then(|id| program.take_link(id))
        .map_err(|error| xdp_error(error, link, mode))?;
    let pin = directory.pin(XDP_INGRESS);
    FdLink::try_from(attached).context("pin", pin.display())?.pin(&pin).context("pin", pin.display())?;
    Ok(())
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

fn refuse_foreign_xdp(link: &Link) -> Result<(), Error> {
    let Some(xdp) = link.xdp else { return Ok(()) };
    let info = loaded_programs().filter_map(Result::ok).find(|info| info.id() == xdp.id);
    let name = info.and_then(|info| info.name_as_str().map(str::to_owned)).unwrap_or_default();
    Err(Error::ForeignXdp { device: link.name.clone(), id: xdp.id, name })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_and_sources_are_own_and_loopback_is_not() {
        let settings = Settings {
            sources: Some(vec!["172.17.0.0/16".parse().unwrap()]),
            respond: Some(vec!["0.0.0.0/0".parse().unwrap()]),
            ..Settings::default()
        };
        let addresses = ["127.0.0.1", "192.0.2.1", "::1", "fe80::1"].map(|text| text.parse().unwrap());
        let networks: Vec<_> =
            settings.policy(&addresses).networks().map(|(prefix, standing)| (prefix.to_string(), standing)).collect();
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
