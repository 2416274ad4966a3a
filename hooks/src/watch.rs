//! Watches the echo messages of any program, on their way from its network namespace through this host and back.
//!
//! The programs are tracing programs of `trace-prog/watch.bpf.c`, which the kernel lets read packets and refuses to let change them. They
//! are attached to no device, and not pinned: they go with the [`Watcher`], or with its process.

use std::{
    cell::RefCell,
    fmt, fs,
    mem::{self, MaybeUninit},
    net::{IpAddr, Ipv6Addr},
    os::unix::fs::MetadataExt as _,
    path::Path,
    rc::Rc,
};

use libbpf_rs::{
    MapCore as _, MapFlags, MapHandle, RingBuffer, RingBufferBuilder,
    btf::{
        Btf,
        types::{Struct, Typedef},
    },
    skel::{OpenSkel as _, SkelBuilder as _},
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::{
    Error,
    device::{Here, namespace_number},
    error::{Context as _, failed},
    kernel,
    netlink::route::Link,
    skeletons::{WatchSkelBuilder, quiet},
};

/// As many uplinks can be watched at once.
pub const UPLINKS_MAX: usize = 8;

/// What is to be watched.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct WatchRequest {
    /// The devices by which probes leave this host, in the network namespace of the calling thread; those of its default routes where
    /// there are none. Those that a VLAN, a bond or the
    /// like lies upon are watched in its place.
    pub uplinks: Vec<String>,
    /// The network namespaces whose probes are told of, by their inodes; of all where there are none.
    pub namespaces: Vec<u64>,
    /// The process whose descendants are to be known ([`Watcher::descends`]): those that it starts from now on. Processes are then known by
    /// their sockets, too, where this kernel tells (Linux 6.3): that of a request that waits for the address of its next hop, and leaves
    /// while another process is running. That looks at each process that is made, and all that is sent by any socket.
    pub ancestor: Option<u32>,
}

impl WatchRequest {
    /// The probes of all network namespaces that leave by one device.
    pub fn new(uplink: impl Into<String>) -> Self {
        Self { uplinks: vec![uplink.into()], ..Self::default() }
    }
}

/// A probe and its reply, as they passed through this host. Times are `CLOCK_MONOTONIC` in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Observed {
    /// When the network namespace of the sender handed it to its device; `None` where the sender is the uplink's own namespace, or was
    /// not seen.
    pub sender_tx_ns: Option<u64>,
    /// When the uplink got it, behind TC and before its queueing discipline.
    pub uplink_queue_ns: Option<u64>,
    /// When the driver of the uplink got it.
    pub uplink_tx_ns: Option<u64>,
    /// When the driver of the uplink handed the reply to the kernel.
    pub uplink_rx_ns: u64,
    /// When the device in the sender's network namespace did; `None` as above.
    pub sender_rx_ns: Option<u64>,
    /// The probe as its sender has it.
    pub sender: Flow,
    /// The probe as it is on the network: this host may have translated it.
    pub network: Flow,
    /// Whose it is.
    pub origin: Origin,
    /// The number of the device by which the reply came.
    pub uplink_rx: u32,
    /// The process that has sent by its socket, with [`WatchRequest::ancestor`] on Linux 6.3 or later, or else that was running when the
    /// sender's namespace handed it on, in the machine's own numbers: its sender, but where a queue lay before that. 0 where it was forwarded.
    pub process: u32,
    /// Several requests with the same addresses, identifier, sequence number and payload were under way, and nobody can tell to which of them
    /// this is the reply: the times may be another one's.
    pub is_ambiguous: bool,
}

/// What tells a probe from others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// The address of the request's sender.
    pub source: IpAddr,
    /// The address that is probed.
    pub destination: IpAddr,
    /// The ICMP identifier.
    pub identifier: u16,
    /// The ICMP sequence number.
    pub sequence: u16,
}

/// Where a probe comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Origin {
    /// A network namespace; and the number of the device there, of the uplink's own namespace 0.
    Namespace {
        /// What no other one has had since the machine was started: `SO_NETNS_COOKIE`. An inode is given to a later one.
        cookie: u64,
        /// The inode.
        inode: u32,
        /// The device.
        ifindex: u32,
    },
    /// It came by a device of this network namespace, and no other has handed it there that was seen to: of a virtual machine, of another
    /// host, or translated by other means than the kernel's connection tracking.
    Forwarded {
        /// The number of the device.
        ifindex: u32,
    },
}

/// What was counted of the probes of a network namespace, or of those that were forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WatchCounts {
    /// The cookie of the network namespace, as of [`Origin::Namespace`]; 0 of what was forwarded.
    pub cookie: u64,
    /// Its inode; likewise.
    pub inode: u32,
    /// Requests that got to an uplink.
    pub sent: u64,
}

/// What could not be told.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct WatchFailures {
    /// Requests whose room in the table newer ones took, within ten seconds.
    pub evicted: u64,
    /// Requests that were not kept, or not found for a reply, as somebody else was at that place of the table.
    pub refused: u64,
    /// Replies that were not told, as those before had not been read.
    pub untold: u64,
}

/// `struct flow` of `trace-prog/passing.h`.
#[derive(FromBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawFlow {
    source: [u8; 16],
    destination: [u8; 16],
    number: [u8; 4],
}

/// `struct observed`.
#[derive(FromBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawObserved {
    sender_tx_ns: u64,
    uplink_queue_ns: u64,
    uplink_tx_ns: u64,
    uplink_rx_ns: u64,
    sender_rx_ns: u64,
    cookie: u64,
    sender: RawFlow,
    network: RawFlow,
    namespace: u32,
    sender_ifindex: u32,
    _uplink_tx_ifindex: u32,
    uplink_rx_ifindex: u32,
    process: u32,
    flags: u32,
}

/// `AMBIGUOUS`.
const AMBIGUOUS: u32 = 2;

/// In `DESCENDANTS`.
const ANCESTOR: u32 = 0;
const DESCENDANT: u32 = 1;

/// `struct counts`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RawCounts {
    left: u64,
    namespace: u64,
}

/// `struct failures`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RawFailures {
    evicted: u64,
    refused: u64,
    untold: u64,
}

impl From<RawFlow> for Flow {
    fn from(RawFlow { source, destination, number: [a, b, c, d] }: RawFlow) -> Self {
        Self {
            source: Ipv6Addr::from(source).to_canonical(),
            destination: Ipv6Addr::from(destination).to_canonical(),
            identifier: u16::from_be_bytes([a, b]),
            sequence: u16::from_be_bytes([c, d]),
        }
    }
}

impl From<RawObserved> for Observed {
    fn from(raw: RawObserved) -> Self {
        let time = |ns: u64| (ns != 0).then_some(ns);
        let (cookie, inode, ifindex) = (raw.cookie, raw.namespace, raw.sender_ifindex);
        Self {
            sender_tx_ns: time(raw.sender_tx_ns),
            uplink_queue_ns: time(raw.uplink_queue_ns),
            uplink_tx_ns: time(raw.uplink_tx_ns),
            uplink_rx_ns: raw.uplink_rx_ns,
            sender_rx_ns: time(raw.sender_rx_ns),
            sender: raw.sender.into(),
            network: raw.network.into(),
            origin: match cookie {
                0 => Origin::Forwarded { ifindex },
                _ => Origin::Namespace { cookie, inode, ifindex },
            },
            uplink_rx: raw.uplink_rx_ifindex,
            process: raw.process,
            is_ambiguous: raw.flags & AMBIGUOUS != 0,
        }
    }
}

impl Observed {
    /// How long the probe was beyond the driver of the uplink, both ways; `None` where that is not known: a time is missing or may be
    /// another probe's.
    pub fn net_ns(&self) -> Option<i64> {
        self.between(self.uplink_tx_ns, Some(self.uplink_rx_ns))
    }

    /// How long this host took from the sender's device to the driver of the uplink.
    pub fn tx_host_ns(&self) -> Option<i64> {
        self.between(self.sender_tx_ns, self.uplink_tx_ns)
    }

    /// How long of that the queueing discipline of the uplink took.
    pub fn queue_ns(&self) -> Option<i64> {
        self.between(self.uplink_queue_ns, self.uplink_tx_ns)
    }

    /// How long this host took from the driver of the uplink to the sender's device.
    pub fn rx_host_ns(&self) -> Option<i64> {
        self.between(Some(self.uplink_rx_ns), self.sender_rx_ns)
    }

    /// The sum: from the sender's device and back to it.
    pub fn total_ns(&self) -> Option<i64> {
        self.between(self.sender_tx_ns, self.sender_rx_ns)
    }

    fn between(&self, from: Option<u64>, to: Option<u64>) -> Option<i64> {
        let (from, to) = (i64::try_from(from?).ok()?, i64::try_from(to?).ok()?);
        if self.is_ambiguous { None } else { Some(to - from) }
    }
}

/// The programs, attached. They belong to the thread, and go when this is dropped.
pub struct Watcher {
    ring: RingBuffer<'static>,
    /// What was read and not taken.
    read: Rc<RefCell<Vec<Observed>>>,
    counts: MapHandle,
    failures: MapHandle,
    descendants: MapHandle,
    uplinks: Vec<(u32, String)>,
    namespace: u32,
    follows_translation: bool,
    _links: Vec<libbpf_rs::Link>,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("uplinks", &self.uplinks).finish_non_exhaustive()
    }
}

impl Watcher {
    /// Attaches the programs: from now on, probes are followed.
    ///
    /// # Errors
    ///
    /// An uplink is not there, or the kernel does not allow the programs; or an ancestor is named where processes have other numbers than
    /// the machine's own.
    pub fn start(request: &WatchRequest) -> Result<Self, Error> {
        kernel::check_version()?;
        if let Some(process) = request.ancestor {
            has_the_machine_s_number(process)?;
        }
        let here = Here::look()?;
        let mut uplinks = Vec::new();
        for link in named_or_default(&here, &request.uplinks)?.into_iter().flat_map(|link| watched(&here, link)) {
            let uplink = (link.ifindex, link.name.clone());
            if !uplinks.contains(&uplink) {
                uplinks.push(uplink);
            }
        }
        if uplinks.len() > UPLINKS_MAX {
            let names: Vec<_> = uplinks.iter().map(|(_, name)| &**name).collect();
            return Err(failed("watch", names.join(", "), format!("{UPLINKS_MAX} devices at most")));
        }
        let namespace = namespace_number(here.namespace);
        let selected: Vec<u32> = request.namespaces.iter().copied().map(namespace_number).collect();
        attach(namespace, uplinks, &selected, request.ancestor).context("attach", "the programs that watch")
    }

    /// The devices by which probes leave, with their numbers.
    pub fn uplinks(&self) -> &[(u32, String)] {
        &self.uplinks
    }

    /// The network namespace of these, by its inode.
    pub fn namespace(&self) -> u32 {
        self.namespace
    }

    /// Whether the kernel's connection tracking is there to tell what is translated. It can be loaded later, but is not found then.
    pub fn follows_translation(&self) -> bool {
        self.follows_translation
    }

    /// What was observed since the last call, in the order in which the replies came.
    ///
    /// Nobody is woken for a single reply: call this from time to time, every tenth of a second, say.
    ///
    /// # Errors
    ///
    /// The ring buffer cannot be read.
    pub fn observed(&self) -> Result<Vec<Observed>, Error> {
        self.ring.consume().context("read", "what was observed")?;
        Ok(mem::take(&mut *self.read.borrow_mut()))
    }

    /// What was counted: of network namespaces that have sent something, and of what was forwarded.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn counts(&self) -> Result<Vec<WatchCounts>, Error> {
        let read = || {
            let mut all = Vec::new();
            for key in self.counts.keys() {
                let Some(value) = self.counts.lookup(&key, MapFlags::ANY)? else { continue };
                let parsed = RawCounts::read_from_bytes(&value).ok().zip(<[u8; 8]>::try_from(key).ok());
                if let Some((RawCounts { left, namespace }, key)) = parsed {
                    let cookie = u64::from_ne_bytes(key);
                    all.push(WatchCounts { cookie, inode: namespace_number(namespace), sent: left });
                }
            }
            Ok::<_, libbpf_rs::Error>(all)
        };
        read().context("read", "what was counted")
    }

    /// Whether a process has descended from [`WatchRequest::ancestor`] since this has started: it may have ended, and be known until another
    /// gets its number. The last 65,536 are known.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn descends(&self, process: u32) -> Result<bool, Error> {
        let found = self.descendants.lookup(&process.to_ne_bytes(), MapFlags::ANY);
        Ok(found
            .context("read", "which processes have descended")?
            .is_some_and(|value| value == DESCENDANT.to_ne_bytes()))
    }

    /// What could not be told.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn failures(&self) -> Result<WatchFailures, Error> {
        let values = self.failures.lookup_percpu(&0_u32.to_ne_bytes(), MapFlags::ANY).context("read", "what failed")?;
        let mut sum = WatchFailures::default();
        let parsed = values.iter().flatten().filter_map(|value| RawFailures::read_from_bytes(value).ok());
        for RawFailures { evicted, refused, untold } in parsed {
            sum.evicted += evicted;
            sum.refused += refused;
            sum.untold += untold;
        }
        Ok(sum)
    }
}

/// The programs know processes by the numbers of the first PID namespace, which has an inode of its own ([`PID_NS_INIT_INO`]).
///
/// [`PID_NS_INIT_INO`]: https://github.com/torvalds/linux/blob/v6.18/include/uapi/linux/nsfs.h
fn has_the_machine_s_number(process: u32) -> Result<(), Error> {
    const NAMESPACE: &str = "/proc/self/ns/pid";
    const INITIAL: u64 = 0xefff_fffc;
    let inode = fs::metadata(NAMESPACE).context("look at", NAMESPACE)?.ino();
    if inode == INITIAL {
        return Ok(());
    }
    let reason =
        "it has another number for the machine: start this in the machine's own PID namespace, as with `--pid host`";
    Err(failed("know the descendants of", format!("process {process}"), reason))
}

fn named_or_default<'a>(here: &'a Here, names: &[String]) -> Result<Vec<&'a Link>, Error> {
    if !names.is_empty() {
        return names.iter().map(|name| here.device(name)).collect();
    }
    let defaults = here.route.default_devices().context("list", "the default routes")?;
    let links: Vec<_> = defaults.into_iter().filter_map(|device| here.by_index(device)).collect();
    if links.is_empty() { Err(Error::NoDefaultRoute) } else { Ok(links) }
}

/// The devices at which replies to an uplink are seen. No tracepoint is where the kernel hands a packet on from one device to another
/// that lies upon it ([`another_round`]).
///
/// [`another_round`]: https://github.com/torvalds/linux/blob/v6.18/net/core/dev.c
fn watched<'a>(here: &'a Here, uplink: &'a Link) -> Vec<&'a Link> {
    let lower: Vec<&Link> = match uplink.kind.as_deref() {
        Some("vlan" | "macvlan" | "ipvlan") => {
            uplink.lower.and_then(|lower| here.by_index(lower)).into_iter().collect()
        }
        Some("bond" | "team") => here.links.iter().filter(|link| link.controller == Some(uplink.ifindex)).collect(),
        _ => Vec::new(),
    };
    if lower.is_empty() {
        return vec![uplink];
    }
    // The kernel lets no device lie upon itself.
    lower.into_iter().flat_map(|link| watched(here, link)).collect()
}

/// What this kernel has of what the programs can do without.
#[derive(Clone, Copy)]
struct Optional {
    connection_tracking: bool,
    send_tracepoint: bool,
}

impl Optional {
    /// As the loader finds out, by the kernel's types, and those of its module.
    fn look() -> libbpf_rs::Result<Self> {
        const MODULE: &str = "/sys/kernel/btf/nf_conntrack";
        let kernel = Btf::from_vmlinux()?;
        Ok(Self {
            connection_tracking: kernel.type_by_name::<Struct<'_>>("nf_conn").is_some() || Path::new(MODULE).exists(),
            send_tracepoint: kernel.type_by_name::<Typedef<'_>>("btf_trace_sock_send_length").is_some(),
        })
    }
}

fn attach(
    namespace: u32,
    uplinks: Vec<(u32, String)>,
    selected: &[u32],
    ancestor: Option<u32>,
) -> libbpf_rs::Result<Watcher> {
    quiet();
    let there_is = Optional::look()?;
    let by_socket = ancestor.is_some() && there_is.send_tracepoint;
    let mut storage = MaybeUninit::uninit();
    let mut open = WatchSkelBuilder::default().open(&mut storage)?;
    let Some(constants) = open.maps.rodata_data.as_deref_mut() else {
        return Err(std::io::Error::other("the program has no constants").into());
    };
    constants.UPLINK_NAMESPACE = namespace;
    constants.IS_SELECTIVE = u32::from(!selected.is_empty());
    for (constant, (ifindex, _)) in constants.UPLINKS.iter_mut().zip(&uplinks) {
        *constant = *ifindex;
    }
    open.progs.watch_sockets.set_autoload(by_socket);
    open.progs.watch_forks.set_autoload(ancestor.is_some());
    if ancestor.is_none() {
        open.maps.DESCENDANTS.set_max_entries(1)?;
    }
    let loaded = open.load()?;
    for namespace in selected {
        loaded.maps.SELECTED.update(&namespace.to_ne_bytes(), &1_u32.to_ne_bytes(), MapFlags::ANY)?;
    }
    if let Some(process) = ancestor {
        loaded.maps.DESCENDANTS.update(&process.to_ne_bytes(), &ANCESTOR.to_ne_bytes(), MapFlags::ANY)?;
    }
    let read = Rc::new(RefCell::new(Vec::new()));
    let results = MapHandle::try_from(&loaded.maps.RESULTS)?;
    let mut ring = RingBufferBuilder::new();
    let reader = Rc::clone(&read);
    ring.add(&results, move |bytes| {
        if let Ok(observed) = RawObserved::read_from_bytes(bytes) {
            reader.borrow_mut().push(observed.into());
        }
        0
    })?;
    let ring = ring.build()?;
    let progs = &loaded.progs;
    // Those of the way back first: what is seen to leave is seen to come back.
    let links = [&progs.watch_backlog, &progs.watch_gro, &progs.watch_receive, &progs.watch_driver, &progs.watch_queue];
    let of_processes = [ancestor.map(|_| &progs.watch_forks), by_socket.then_some(&progs.watch_sockets)];
    let links = of_processes.into_iter().flatten().chain(links);
    let links = links.map(|program| program.attach()).collect::<libbpf_rs::Result<_>>()?;
    Ok(Watcher {
        ring,
        read,
        counts: MapHandle::try_from(&loaded.maps.COUNTS)?,
        failures: MapHandle::try_from(&loaded.maps.FAILURES)?,
        descendants: MapHandle::try_from(&loaded.maps.DESCENDANTS)?,
        uplinks,
        namespace,
        follows_translation: there_is.connection_tracking,
        _links: links,
    })
}
