//! Reflecting: an XDP program that answers probes in the place of the stack, for as long as a process asks for that.
//!
//! On a device with an attachment by XDP the program takes the place of the attachment's, in its link and with its maps. What it
//! needs besides is pinned in the directory of the attachment while it is there, so that the next command can tell of it, and put
//! the attachment's own program back if the process did not. Elsewhere the program has a link of its own, which goes with the process.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    process,
    sync::{Mutex, PoisonError},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData, MapError, PerCpuArray, lpm_trie::LpmTrie},
    programs::{Xdp, links::FdLink, loaded_programs},
};
use instamp_trailer::{Clock, Reflect, Reflection, Site, Standing};
use nix::errno::Errno;
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::{
    Attachment, Error, Holder, Notice, Objects, Policy, Prefix, Settings, XdpMode,
    attach::{attach_xdp, load_xdp, refuse_foreign_xdp},
    attachment::{link, stamps_by_xdp},
    device::Here,
    error::{Context as _, failed},
    holders::holder,
    lease,
    loader::{alone, convert, sharing},
    maps::{found, open, set_policy, taken, write_own},
    netlink::route::{Link, Route},
    pins::{ALLOW, Directory, Pins, REFLECT, REFLECT_MAPS, REFLECTED, SOCKETS, State, XDP_INGRESS},
    policy::Key,
    sys,
};

/// The program that reflects.
pub(crate) const XDP_REFLECT: &str = "xdp_reflect";

const REFLECT_LENGTH: usize = size_of::<Reflect>();
type ReflectMap = Array<MapData, [u8; REFLECT_LENGTH]>;
type Reflected = PerCpuArray<MapData, u64>;

const SECOND_NS: u64 = 1_000_000_000;

/// Whose probes are answered, and how often.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReflectRequest {
    /// Networks whose requests are answered: at least one.
    pub allow: Vec<Prefix>,
    /// How many requests a second each source may send on average: an IPv4 address, or an IPv6 network of 64 bits. More than 10^9 are
    /// no limit.
    pub rate: NonZeroU32,
    /// How many of them may come at once.
    pub burst: NonZeroU32,
    /// The clock of the stamps: [`Clock::TAI`] or [`Clock::MONOTONIC`].
    pub clock: Clock,
    /// The number of this host in the stamps; by default that of the attachment, else a hash of its boot. An attachment by XDP has
    /// its own, whatever this says.
    pub node: Option<u16>,
}

impl ReflectRequest {
    /// For these networks, a thousand probes a second of each source, a hundred at once, in [`Clock::TAI`].
    pub fn new(allow: Vec<Prefix>) -> Self {
        let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self { allow, rate: number(1000), burst: number(100), clock: Clock::TAI, node: None }
    }

    fn reflect(&self, address: [u8; 6], stamps: bool) -> Result<Reflect, Error> {
        let interval_ns = SECOND_NS / u64::from(self.rate.get());
        Ok(Reflect {
            until_ns: lease::end_ns()?,
            interval_ns,
            burst_ns: interval_ns * u64::from(self.burst.get() - 1),
            process: process::id(),
            clock: self.clock.number(),
            stamps: stamps.into(),
            address,
            reserved: [0; 4],
        })
    }

    /// As the map holds it: IPv4 is not what an IPv6 network reaches around.
    fn allowed(&self) -> Policy {
        let mut policy = Policy::default();
        self.allow.iter().for_each(|&prefix| policy.add(prefix, Standing::RESPOND));
        policy
    }
}

/// What became of requests to this host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ReflectCounts {
    /// Answered, with both stamps.
    pub stamped: u64,
    /// Answered without stamps, for which there was no room.
    pub full: u64,
    /// Left to the stack, as nobody has allowed the sender.
    pub not_allowed: u64,
    /// Left to the stack, as the source had sent more than it may.
    pub limited: u64,
    /// Left to the stack, as there was more to do than to swap addresses: [`Reflection::Unfit`].
    pub unfit: u64,
}

/// A reflector, as other processes see it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Reflecting {
    /// The process that reflects.
    pub holder: Holder,
    /// Whose probes it answers.
    pub allow: Vec<Prefix>,
    /// The clock of its stamps.
    pub clock: Clock,
    /// What became of requests.
    pub counts: ReflectCounts,
}

/// A reflector on a device that is not attached to, as other processes see it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LoneReflector {
    /// The name of the device.
    pub device: String,
    /// Its number in this network namespace.
    pub ifindex: u32,
    /// Who answers whom.
    pub reflecting: Reflecting,
}

/// What keeps the program on the device.
enum Held {
    /// A link of its own.
    Alone { _link: FdLink },
    /// The attachment's, which then gets its program back from here.
    Attachment(Objects),
}

/// A reflector of this process. It ends when it is dropped; or three seconds after it was [renewed](Self::renew) last, however the
/// process has ended.
pub struct Reflector {
    bpffs: PathBuf,
    device: String,
    ifindex: u32,
    namespace: u64,
    site: Site,
    program: u32,
    reflect: Mutex<ReflectMap>,
    reflected: Reflected,
    route: Route,
    held: Option<Held>,
}

impl Reflector {
    pub(crate) fn start(
        pins: &Pins,
        here: &Here,
        bpffs: &Path,
        objects: &Objects,
        (device, mode): (&str, XdpMode),
        request: &ReflectRequest,
        announce: &dyn Fn(Notice),
    ) -> Result<Self, Error> {
        let link = here.device(device)?;
        link.require_ethernet()?;
        if request.allow.is_empty() {
            return Err(Error::NothingAllowed);
        }
        if ![Clock::TAI, Clock::MONOTONIC].contains(&request.clock) {
            return Err(failed("stamp by", request.clock, Errno::EINVAL));
        }
        let route = Route::open().context("open", "route netlink")?;
        let may_drop = may_drop_what_it_gets_back(link);
        let directory = pins.directory(here.namespace, link.ifindex, State::Whole);
        let joins = directory.exists() && stamps_by_xdp(here, &directory)?;
        let started = if joins {
            join(pins, link, &directory, objects, request)
        } else {
            let attachment = directory.exists().then(|| Attachment::read(pins, here, link, &directory)).transpose()?;
            let settings = Settings { node: request.node, ..Settings::default() };
            let settings = attachment.map_or_else(|| settings.clone(), |attachment| settings.over(&attachment));
            start_alone(here, link, objects, mode, &settings, request, announce)
        };
        let Started { site, program, reflect, reflected, held } = started?;
        if may_drop {
            announce(Notice::PeerWithoutNapi { device: link.name.clone() });
        }
        let mut reflector = Self {
            bpffs: bpffs.to_owned(),
            device: link.name.clone(),
            ifindex: link.ifindex,
            namespace: here.namespace,
            site,
            program,
            reflect: Mutex::new(reflect),
            reflected,
            route,
            held: Some(held),
        };
        // Its lease began before the kernel had verified and attached the program, which may take as long.
        if let Err(error) = reflector.renew() {
            // Its end would wait for the pins, which are locked.
            if let Some(Held::Attachment(objects)) = reflector.held.take() {
                // If this fails too, the next command sweeps.
                let _: Result<(), Error> = restore(pins, &directory, &objects);
            }
            return Err(error);
        }
        Ok(reflector)
    }

    /// What goes into its stamps, but for the clock.
    pub const fn site(&self) -> Site {
        self.site
    }

    /// Whether its program is in the place of the attachment's.
    pub const fn joins(&self) -> bool {
        matches!(self.held, Some(Held::Attachment(_)))
    }

    /// Goes on for three seconds from now on: to be called each second. In the network namespace of the device.
    ///
    /// # Errors
    ///
    /// [`Error::NotReflecting`] where the program is not on the device any more, and [`Error::System`].
    pub fn renew(&self) -> Result<(), Error> {
        let links = self.route.links().context("list", "the devices")?;
        let is_there = |link: &Link| link.ifindex == self.ifindex && link.xdp.is_some_and(|xdp| xdp.id == self.program);
        let Some(link) = links.iter().find(|&link| is_there(link)) else {
            return Err(Error::NotReflecting { device: self.device.clone() });
        };
        // The device may have been given another address.
        let (until_ns, address) = (lease::end_ns()?, address(link)?);
        self.change(|reflect| Reflect { until_ns, address, ..reflect })
    }

    fn change(&self, change: impl FnOnce(Reflect) -> Reflect) -> Result<(), Error> {
        let mut map = self.reflect.lock().unwrap_or_else(PoisonError::into_inner);
        let renewed = read(&map).and_then(|reflect| write(&mut map, change(reflect)));
        renewed.context("renew the reflector on", &self.device)
    }

    /// What became of requests since it was started.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn counts(&self) -> Result<ReflectCounts, Error> {
        counts(&self.reflected).context("read the counters of the reflector on", &self.device)
    }

    /// Ends it, and tells what became of requests.
    ///
    /// # Errors
    ///
    /// [`Error::System`], with which the next command does what this one has not.
    pub fn stop(mut self) -> Result<ReflectCounts, Error> {
        self.end()?;
        self.counts()
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(Held::Attachment(objects)) = self.held.take() else { return Ok(()) };
        // From here on it answers nobody, whatever fails.
        self.change(|reflect| Reflect { until_ns: 0, ..reflect })?;
        let pins = Pins::lock(&self.bpffs, &|_| {})?;
        let directory = pins.directory(self.namespace, self.ifindex, State::Whole);
        // Another may have swept it, and even have reflected since.
        let is_ours = |attached: sys::Attached| attached.program == self.program;
        if directory.exists() && link(&directory, XDP_INGRESS)?.is_some_and(is_ours) {
            restore(&pins, &directory, &objects)?;
        }
        Ok(())
    }
}

impl Drop for Reflector {
    fn drop(&mut self) {
        // Where this fails the lease ends, and the next command does it.
        let _: Result<(), Error> = self.end();
    }
}

impl std::fmt::Debug for Reflector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, ifindex, site, program, .. } = self;
        let mut fields = f.debug_struct("Reflector");
        fields.field("device", device).field("ifindex", ifindex).field("site", site).field("program", program);
        fields.field("joins", &self.joins()).finish_non_exhaustive()
    }
}

struct Started {
    site: Site,
    program: u32,
    reflect: ReflectMap,
    reflected: Reflected,
    held: Held,
}

/// Puts the program in the place of that of the attachment.
fn join(
    pins: &Pins,
    link: &Link,
    directory: &Directory,
    objects: &Objects,
    request: &ReflectRequest,
) -> Result<Started, Error> {
    let device = || link.name.clone();
    let site = directory.site()?;
    if Attachment::hands_on(site) {
        return Err(Error::HandsOn { device: device() });
    }
    if !directory.has(SOCKETS) {
        return Err(Error::OlderAttachment { device: device(), hands_on: false });
    }
    // One whose lease is over was swept.
    if directory.has(REFLECT) {
        let other = reflecting(directory)?.holder;
        return Err(Error::Reflecting { device: device(), process: other.process, command: other.command });
    }
    let made = || {
        let mut ebpf = load(pins, directory, site, &objects.xdp, &REFLECT_MAPS)?;
        configure(&mut ebpf, request, true, link)?;
        let [reflect, reflected] = [REFLECT, REFLECTED].map(|name| directory.pin(name));
        let reflect = open(&reflect, Map::Array).context("open", reflect.display())?;
        let reflected = open(&reflected, Map::PerCpuArray).context("open", reflected.display())?;
        let program = exchange(&mut ebpf, XDP_REFLECT, directory)?;
        Ok(Started { site, program, reflect, reflected, held: Held::Attachment(objects.clone()) })
    };
    made().inspect_err(|_| {
        // The first error tells the cause. If this fails too, the next command sweeps.
        let _: Result<(), Error> = directory.unpin_reflector();
    })
}

/// Puts the program on a device that has none.
fn start_alone(
    here: &Here,
    link: &Link,
    objects: &Objects,
    mode: XdpMode,
    settings: &Settings,
    request: &ReflectRequest,
    announce: &dyn Fn(Notice),
) -> Result<Started, Error> {
    refuse_foreign_xdp(link)?;
    let (site, policy) = settings.resolve(here, link, announce)?;
    let mut ebpf = alone().load(&objects.xdp).context("load the XDP program for", &link.name)?;
    write_own(&mut ebpf, site, &policy, &link.name)?;
    configure(&mut ebpf, request, false, link)?;
    let attached = attach_xdp(&mut ebpf, XDP_REFLECT, link, mode)?;
    let program =
        load_xdp(&mut ebpf, XDP_REFLECT).and_then(|program| program.info()).context("read", XDP_REFLECT)?.id();
    Ok(Started {
        site,
        program,
        reflect: taken(&mut ebpf, REFLECT).context("open", REFLECT)?,
        reflected: taken(&mut ebpf, REFLECTED).context("open", REFLECTED)?,
        held: Held::Alone { _link: attached },
    })
}

/// Writes for whom the program reflects, before it does.
fn configure(ebpf: &mut Ebpf, request: &ReflectRequest, stamps: bool, link: &Link) -> Result<(), Error> {
    let maps = format!("the maps of the reflector on {}", link.name);
    let allow = found(ebpf, ALLOW).and_then(|map| map.try_into()).context("open", &maps)?;
    set_policy(allow, &request.allowed(), &maps)?;
    let reflect = request.reflect(address(link)?, stamps)?;
    let map: Result<Array<&mut MapData, [u8; REFLECT_LENGTH]>, MapError> =
        found(ebpf, REFLECT).and_then(|map| map.try_into());
    map.and_then(|mut map| map.set(0, bytes(reflect), 0)).context("write", maps)
}

/// Loads the XDP object with the maps of an attachment, and those of `pinned` in its directory.
fn load(pins: &Pins, directory: &Directory, site: Site, object: &[u8], pinned: &[&'static str]) -> Result<Ebpf, Error> {
    let requests = pins.sent();
    let mut loader: EbpfLoader<'static> = sharing(directory, (site.keeps_sent != 0).then_some(&requests));
    if let Some(phc) = site.phc.checked_sub(1) {
        // Who attached was told where it cannot be.
        let _: Result<(), String> = convert(&mut loader, pins, phc)?;
    }
    if pinned.is_empty() {
        crate::loader::without_sources(&mut loader);
    }
    for name in pinned {
        loader.map_pin_path(name, directory.pin(name));
    }
    loader.load(object).context("load the XDP program with the maps of", directory.pin("").display())
}

/// Has the attachment's link run another program, from one packet to the next. Returns the number of the new one.
fn exchange(ebpf: &mut Ebpf, name: &str, directory: &Directory) -> Result<u32, Error> {
    let pin = directory.pin(XDP_INGRESS);
    let program: &Xdp = load_xdp(ebpf, name).context("load the XDP program", name)?;
    let number = program.info().context("read", name)?.id();
    let descriptor = program.fd().context("open the XDP program", name)?;
    // Last, so that whoever hears of a failure knows that the old one is there.
    sys::Link::open(&pin).and_then(|link| link.update(descriptor)).context("exchange the program of", pin.display())?;
    Ok(number)
}

/// Puts the attachment's program back, and removes what was pinned besides.
fn restore(pins: &Pins, directory: &Directory, objects: &Objects) -> Result<(), Error> {
    // A link whose device is gone, or that somebody has taken off, runs nothing.
    if link(directory, XDP_INGRESS)?.is_some_and(|link| link.ifindex != 0) {
        let mut ebpf = load(pins, directory, directory.site()?, &objects.xdp, &[])?;
        exchange(&mut ebpf, XDP_INGRESS, directory)?;
    }
    directory.unpin_reflector()
}

/// Ends what a process has left behind that reflects no more. Returns whether there was something.
pub(crate) fn sweep_reflector(pins: &Pins, directory: &Directory) -> Result<bool, Error> {
    if !REFLECT_MAPS.iter().any(|name| directory.has(name)) {
        return Ok(false);
    }
    if directory.has(REFLECT) && configured(directory)?.until_ns > lease::now_ns()? {
        return Ok(false);
    }
    restore(pins, directory, &Objects::built_in())?;
    Ok(true)
}

fn configured(directory: &Directory) -> Result<Reflect, Error> {
    let pin = directory.pin(REFLECT);
    open(&pin, Map::Array).and_then(|map: ReflectMap| read(&map)).context("read", pin.display())
}

/// What others read of a reflector.
struct Maps {
    reflect: ReflectMap,
    allow: LpmTrie<MapData, [u8; 16], u32>,
    reflected: Reflected,
}

impl Maps {
    fn read(&self) -> Result<Reflecting, MapError> {
        let reflect = read(&self.reflect)?;
        let networks: Vec<_> = self.allow.iter().collect::<Result<_, _>>()?;
        let mut allow: Vec<Prefix> = networks
            .into_iter()
            .filter(|&(_, value)| value != 0)
            .map(|(key, _)| Key { length: key.prefix_len(), address: key.data() }.into())
            .collect();
        allow.sort();
        let (holder, clock) = (holder(reflect.process), Clock::from_number(reflect.clock));
        Ok(Reflecting { holder, allow, clock, counts: counts(&self.reflected)? })
    }
}

/// The reflector of an attachment that has one.
pub(crate) fn reflecting(directory: &Directory) -> Result<Reflecting, Error> {
    let [reflect, allow, reflected] = [REFLECT, ALLOW, REFLECTED].map(|name| directory.pin(name));
    let maps = || {
        let reflect = open(&reflect, Map::Array)?;
        let allow = open(&allow, Map::LpmTrie)?;
        Maps { reflect, allow, reflected: open(&reflected, Map::PerCpuArray)? }.read()
    };
    maps().context("read the reflector at", directory.pin("").display())
}

/// The reflector whose program this is, by the kernel's number, if it is one: on a device without an attachment by XDP.
pub(crate) fn reflecting_alone(program: u32) -> Option<Reflecting> {
    let info = loaded_programs().filter_map(Result::ok).find(|info| info.id() == program)?;
    if info.name_as_str() != Some(XDP_REFLECT) {
        return None;
    }
    let ids = info.map_ids().ok()??;
    let named = |name| {
        let is_it = |map: &MapData| map.info().is_ok_and(|info| info.name_as_str() == Some(name));
        ids.iter().filter_map(|&id| MapData::from_id(id).ok()).find(is_it)
    };
    let reflect = Map::Array(named(REFLECT)?).try_into().ok()?;
    let allow = Map::LpmTrie(named(ALLOW)?).try_into().ok()?;
    let reflected = Map::PerCpuArray(named(REFLECTED)?).try_into().ok()?;
    Maps { reflect, allow, reflected }.read().ok()
}

fn address(link: &Link) -> Result<[u8; 6], Error> {
    link.address.as_slice().try_into().context("read the Ethernet address of", &link.name)
}

fn bytes(reflect: Reflect) -> [u8; REFLECT_LENGTH] {
    let mut bytes = [0; REFLECT_LENGTH];
    bytes.copy_from_slice(reflect.as_bytes());
    bytes
}

fn read(map: &ReflectMap) -> Result<Reflect, MapError> {
    let bytes = map.get(&0, 0)?;
    Reflect::read_from_bytes(&bytes).map_err(|_| MapError::InvalidName { name: REFLECT.to_owned() })
}

fn write(map: &mut ReflectMap, reflect: Reflect) -> Result<(), MapError> {
    map.set(0, bytes(reflect), 0)
}

fn counts(map: &Reflected) -> Result<ReflectCounts, MapError> {
    let count = |reflection: Reflection| Ok::<u64, MapError>(map.get(&(reflection as u32), 0)?.iter().sum());
    Ok(ReflectCounts {
        stamped: count(Reflection::Stamped)?,
        full: count(Reflection::Full)?,
        not_allowed: count(Reflection::NotAllowed)?,
        limited: count(Reflection::Limited)?,
        unfit: count(Reflection::Unfit)?,
    })
}

/// Whether the device is a veth whose other end is not known to take what an XDP program sends back: it does with an XDP program of its
/// own, or with GRO, of which only its own network namespace is told.
fn may_drop_what_it_gets_back(link: &Link) -> bool {
    // Whatever keeps it from being looked at, it is not known then.
    let peer_xdp = || Route::xdp_of(link.peer?).ok()?;
    link.kind.as_deref() == Some("veth") && peer_xdp().is_none_or(|xdp| xdp.generic)
}
