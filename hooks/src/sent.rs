//! What sees requests leave: programs and maps that all attachments share, `instamp/sent`.
//!
//! ```text
//! instamp/sent/DEVICES            the devices that are attached, in all network namespaces
//! instamp/sent/IN_FLIGHT          requests that have left, and what became known of them
//! instamp/sent/SENT_COUNTERS      what became of them, by device
//! instamp/sent/driver_tx, nic_tx  the links of the programs of trace-prog/
//! ```
//!
//! They go with the last device. The user holds the lock on all pins.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, DirBuilder},
    io::ErrorKind,
    mem::MaybeUninit,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use aya::maps::{Array, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use instamp_trailer::{
    Site,
    in_flight::{Device, SentCounters},
};
use libbpf_rs::{
    Link, MapCore as _, MapFlags, MapHandle, OpenMapMut,
    skel::{OpenSkel as _, SkelBuilder as _},
};
use nix::errno::Errno;
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::{
    Error,
    error::{Context as _, failed},
    pins::{gone, remove_if_empty},
    skeletons::{DriverTxSkelBuilder, NicTxSkelBuilder, quiet},
    sys,
};

/// The names of the maps, in the objects and as pins.
const DEVICES: &str = "DEVICES";
const IN_FLIGHT: &str = "IN_FLIGHT";
const SENT_COUNTERS: &str = "SENT_COUNTERS";
const MAPS: [&str; 3] = [DEVICES, IN_FLIGHT, SENT_COUNTERS];
/// Those that ingress hooks use.
pub(crate) const SHARED: [&str; 2] = [IN_FLIGHT, SENT_COUNTERS];

/// The names of the programs, as pins of their links.
const DRIVER_TX: &str = "driver_tx";
const NIC_TX: &str = "nic_tx";

/// How a program that watches the kernel's functions is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tracing {
    /// A tracepoint, with the types of its arguments.
    Tracepoint,
    /// The entry of a function, by a trampoline.
    Fentry,
    /// The entry of a function, by a breakpoint or what the kernel makes of it.
    Kprobe,
}

impl fmt::Display for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tracepoint => "tp_btf",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
        })
    }
}

/// What became of the requests of one device on their way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SentCounts {
    /// Times of requests that were kept for their replies.
    pub kept: u64,
    /// Those that were not kept, since one of the same nonce was waiting: the prober used it twice, or the driver was busy and
    /// got the request again.
    pub repeated: u64,
    /// Those that were not kept, since somebody else was at that place of the table.
    pub refused: u64,
    /// Those of the kept that no reply has taken and no newer one evicted: lost ones are among them.
    pub in_flight: u64,
    /// Those of the kept whose room a newer one took before their reply came: some 65,000 requests later.
    pub evicted: u64,
    /// Of those that were kept, whose sender asked for the card's time.
    pub nic_asked: u64,
    /// Those for which the card told it while they were waiting for their reply.
    pub nic_kept: u64,
    /// Those for which it told it when the reply had come already, or the request was not kept any more.
    pub nic_late: u64,
    /// Those whose reply came before the card's time, which has not come since: the card has skipped them. An estimate.
    pub nic_skipped: u64,
}

/// A device of a network namespace, by the kernel's numbers of both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DeviceKey {
    namespace: u32,
    ifindex: u32,
}

const DEVICE: usize = size_of::<Device>();
const COUNTERS: usize = size_of::<SentCounters>();

impl DeviceKey {
    pub(crate) fn new(namespace: u32, ifindex: u32) -> Self {
        Self { namespace, ifindex }
    }

    fn of(device: &Device) -> Self {
        Self::new(device.namespace, device.ifindex)
    }
}

/// How a device is watched: each by what, with the kernel's number of the link.
pub(crate) struct Watched {
    pub(crate) driver_tx: (Tracing, u32),
    /// `None` where the card's times are not taken.
    pub(crate) nic_tx: Option<(Tracing, u32)>,
    pub(crate) counts: SentCounts,
}

/// The programs and maps below one directory.
pub(crate) struct Requests(PathBuf);

impl Requests {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    fn pin(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.pin(name)).is_ok()
    }

    /// The pin of a map that ingress hooks use, if something fills it.
    pub(crate) fn shared(&self, name: &str) -> Option<PathBuf> {
        self.is_watched().then(|| self.pin(name))
    }

    /// Whether the times of requests are kept.
    pub(crate) fn is_watched(&self) -> bool {
        self.has(DRIVER_TX)
    }

    /// Whether those of cards are.
    pub(crate) fn are_cards_watched(&self) -> bool {
        self.has(NIC_TX)
    }

    /// Attaches what tells the times at which the driver gets requests, unless it is there.
    pub(crate) fn watch_driver(&self) -> Result<(), Error> {
        if self.has(DRIVER_TX) {
            return Ok(());
        }
        self.create()?;
        self.keep(attach_driver_tx(&|map| self.set_pin(map)), DRIVER_TX)
    }

    /// Attaches what tells the times at which cards have sent requests, unless it is there.
    pub(crate) fn watch_cards(&self) -> Result<(), Error> {
        if self.has(NIC_TX) {
            return Ok(());
        }
        self.keep(attach_nic_tx(&|map| self.set_pin(map)).map(|(_, link)| link), NIC_TX)
    }

    fn create(&self) -> Result<(), Error> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            result => result.context("create", self.0.display()),
        }
    }

    /// A map of ours, and not of the program's own data, is made and pinned here, or the one that is pinned is used.
    fn set_pin(&self, mut map: OpenMapMut<'_>) -> libbpf_rs::Result<()> {
        let pin = MAPS.iter().find(|name| map.name() == **name).map(|name| self.pin(name));
        pin.map_or(Ok(()), |pin| map.set_pin_path(pin))
    }

    fn keep(&self, link: libbpf_rs::Result<Link>, name: &'static str) -> Result<(), Error> {
        let pin = self.pin(name);
        link.and_then(|mut link| link.pin(&pin)).context("attach the tracing program", name)
    }

    /// Has the requests of an attached device recognized: those that its tc-egress hook has stamped with this site. Of `phc`, which
    /// is as in [`Site`], the card's times are taken.
    pub(crate) fn add(&self, key: DeviceKey, site: Site, phc: u32) -> Result<(), Error> {
        let path = self.pin(DEVICES);
        let DeviceKey { namespace, ifindex } = key;
        let known = self.devices()?;
        let numbers = || Device::numbers(namespace, ifindex);
        let is_its = |number: &u32| known.get(number).is_some_and(|device| DeviceKey::of(device) == key);
        let found = numbers().find(is_its);
        let number = found.or_else(|| numbers().find(|number| !known.contains_key(number)));
        let number = number.ok_or_else(|| failed("find room for another device in", path.display(), Errno::ENOSPC))?;
        let generation = match known.get(&number) {
            Some(device) => device.generation,
            None => self.begin_generation(number).context("write", self.pin(SENT_COUNTERS).display())?,
        };
        let (node, point) = (site.node, site.point);
        self.set_device(number, Device { namespace, ifindex, node, point, phc, generation, ..Device::NONE })
    }

    fn set_device(&self, number: u32, device: Device) -> Result<(), Error> {
        let path = self.pin(DEVICES);
        let mut bytes = [0; DEVICE];
        bytes.copy_from_slice(device.as_bytes());
        let set = || {
            let mut devices: Array<MapData, [u8; DEVICE]> = Map::Array(MapData::from_pin(&path)?).try_into()?;
            devices.set(number, bytes, 0)
        };
        set().context("write", path.display())
    }

    /// The devices, by their numbers.
    fn devices(&self) -> Result<BTreeMap<u32, Device>, Error> {
        if !self.has(DEVICES) {
            return Ok(BTreeMap::new());
        }
        let path = self.pin(DEVICES);
        let read = || {
            let map = MapHandle::from_pinned_path(&path)?;
            let entries = map.lookup_batch(map.max_entries(), MapFlags::ANY, MapFlags::ANY)?;
            let entry = |(number, device): (Vec<u8>, Vec<u8>)| {
                let number = u32::from_ne_bytes(number.try_into().ok()?);
                Device::read_from_bytes(&device).ok().filter(|device| *device != Device::NONE).map(|it| (number, it))
            };
            Ok::<_, libbpf_rs::Error>(entries.filter_map(entry).collect())
        };
        read().context("read", path.display())
    }

    /// Changes what the device's requests are recognized by, if they are.
    pub(crate) fn update(&self, key: DeviceKey, site: Site) -> Result<(), Error> {
        match self.device(key)? {
            Some((_, device)) => self.add(key, site, device.phc),
            None => Ok(()),
        }
    }

    /// A device and its number.
    fn device(&self, key: DeviceKey) -> Result<Option<(u32, Device)>, Error> {
        Ok(self.devices()?.into_iter().find(|(_, device)| DeviceKey::of(device) == key))
    }

    /// Counts from zero for the next device of this number, and tells which one that is.
    fn begin_generation(&self, number: u32) -> Result<u32, MapError> {
        let mut map = open_counters(&self.pin(SENT_COUNTERS))?;
        let all = map.get(&number, 0)?;
        let before =
            all.iter().filter_map(|one| SentCounters::read_from_bytes(one).ok()).map(|one| one.generation).max();
        let generation = (before.unwrap_or(0) + 1) % Device::GENERATIONS;
        let mut bytes = [0; COUNTERS];
        bytes.copy_from_slice(SentCounters { generation, ..SentCounters::default() }.as_bytes());
        map.set(number, PerCpuValues::try_from(vec![bytes; all.len()]).map_err(MapError::IoError)?, 0)?;
        Ok(u32::try_from(generation).unwrap_or(0))
    }

    /// Forgets the devices for which `is_attached` says no, and removes what is not needed any more.
    pub(crate) fn prune(&self, is_attached: impl Fn(DeviceKey) -> bool) -> Result<(), Error> {
        let mut known = self.devices()?;
        for number in known.extract_if(.., |_, device| !is_attached(DeviceKey::of(device))).map(|(number, _)| number) {
            self.set_device(number, Device::NONE)?;
        }
        if known.values().all(|device| device.phc == 0) {
            self.unpin(NIC_TX)?;
        }
        if known.is_empty() {
            self.unpin(DRIVER_TX)?;
            MAPS.iter().try_for_each(|name| self.unpin(name))?;
            remove_if_empty(&self.0)?;
        }
        Ok(())
    }

    fn unpin(&self, name: &str) -> Result<(), Error> {
        let pin = self.pin(name);
        gone(fs::remove_file(&pin)).context("remove", pin.display())
    }

    /// How a device is watched, and what became of its requests; `None` where it is not.
    pub(crate) fn watched(&self, key: DeviceKey) -> Result<Option<Watched>, Error> {
        let Some((number, device)) = self.device(key)? else { return Ok(None) };
        let nic_tx = if device.phc != 0 && self.are_cards_watched() {
            let link = self.link(NIC_TX)?;
            Some((if link.kind == sys::LINK_TRACING { Tracing::Fentry } else { Tracing::Kprobe }, link.link))
        } else {
            None
        };
        let driver_tx = (Tracing::Tracepoint, self.link(DRIVER_TX)?.link);
        Ok(Some(Watched { driver_tx, nic_tx, counts: self.counts(number)? }))
    }

    fn link(&self, name: &str) -> Result<sys::Attached, Error> {
        let pin = self.pin(name);
        sys::Link::open(&pin).and_then(|link| link.info()).context("read", pin.display())
    }

    /// What became of the requests of the device of this number. What the card has skipped, replies tell.
    fn counts(&self, number: u32) -> Result<SentCounts, Error> {
        let path = self.pin(SENT_COUNTERS);
        let read = || open_counters(&path)?.get(&number, 0);
        let all = read().context("read", path.display())?;
        let sum = |field: fn(&SentCounters) -> u64| -> u64 {
            all.iter().filter_map(|one| SentCounters::read_from_bytes(one).ok()).map(|one| field(&one)).sum()
        };
        let (kept, evicted) = (sum(|counters| counters.kept), sum(|counters| counters.evicted));
        Ok(SentCounts {
            kept,
            repeated: sum(|counters| counters.repeated),
            refused: sum(|counters| counters.refused),
            in_flight: kept.saturating_sub(evicted).saturating_sub(sum(|counters| counters.taken)),
            evicted,
            nic_asked: sum(|counters| counters.asked),
            nic_kept: sum(|counters| counters.nic_kept),
            nic_late: sum(|counters| counters.nic_late),
            nic_skipped: 0,
        })
    }
}

/// What is done with each map of an object before it is loaded.
type Prepare<'a> = &'a dyn Fn(OpenMapMut<'_>) -> libbpf_rs::Result<()>;

fn attach_driver_tx(prepare: Prepare<'_>) -> libbpf_rs::Result<Link> {
    quiet();
    let mut storage = MaybeUninit::uninit();
    let mut open = DriverTxSkelBuilder::default().open(&mut storage)?;
    open.open_object_mut().maps_mut().try_for_each(prepare)?;
    open.load()?.progs.driver_tx.attach()
}

/// Of two programs that do the same the first costs less. Where both fail, it says more.
fn attach_nic_tx(prepare: Prepare<'_>) -> libbpf_rs::Result<(Tracing, Link)> {
    quiet();
    let attach = |tracing| {
        let mut storage = MaybeUninit::uninit();
        let mut open = NicTxSkelBuilder::default().open(&mut storage)?;
        open.progs.nic_tx_fentry.set_autoload(tracing == Tracing::Fentry);
        open.progs.nic_tx_kprobe.set_autoload(tracing == Tracing::Kprobe);
        open.open_object_mut().maps_mut().try_for_each(prepare)?;
        let loaded = open.load()?;
        let program =
            if tracing == Tracing::Kprobe { &loaded.progs.nic_tx_kprobe } else { &loaded.progs.nic_tx_fentry };
        Ok((tracing, program.attach()?))
    };
    attach(Tracing::Fentry).or_else(|error| attach(Tracing::Kprobe).map_err(|_| error))
}

/// How this kernel lets programs see requests leave. They are attached for a moment, and to no device.
pub(crate) fn try_driver_tx() -> libbpf_rs::Result<Tracing> {
    attach_driver_tx(&make_small).map(|_| Tracing::Tracepoint)
}

/// How this kernel lets programs see when cards have sent requests, likewise.
pub(crate) fn try_nic_tx() -> libbpf_rs::Result<Tracing> {
    attach_nic_tx(&make_small).map(|(tracing, _)| tracing)
}

fn make_small(mut map: OpenMapMut<'_>) -> libbpf_rs::Result<()> {
    if MAPS.iter().any(|name| map.name() == *name) { map.set_max_entries(1) } else { Ok(()) }
}

fn open_counters(path: &Path) -> Result<PerCpuArray<MapData, [u8; COUNTERS]>, MapError> {
    Map::PerCpuArray(MapData::from_pin(path)?).try_into()
}
