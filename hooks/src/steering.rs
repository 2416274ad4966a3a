//! Steering: the way of replies past the stack, to the `AF_XDP` sockets of a stateless prober.

use std::{fmt, mem, net::IpAddr, os::fd::BorrowedFd, process};

use aya::{
    maps::{
        Array, Map, MapData, MapError, XskMap,
        lpm_trie::{Key as TrieKey, LpmTrie},
    },
    programs::links::FdLink,
};
use instamp_trailer::{Run, RunKey, Site, Standing};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::{
    Attachment, Error, Notice, Objects, Prefix, Settings, XdpMode,
    attach::{attach_xdp, refuse_foreign_xdp},
    attachment::stamps_by_xdp,
    device::Here,
    error::Context as _,
    holders::{Holder, afxdp_holders, has_fill_ring, holder},
    loader::{alone, without_sources},
    maps::{open, taken, write_own},
    netlink::route::Link,
    pins::{Directory, POLICY, Pins, RUNS, SOCKETS, State},
    policy::Key,
};

/// The program that looks at steered replies alone, where probes are not stamped by XDP.
pub(crate) const XDP_STEER: &str = "xdp_steer";

const RUN: usize = size_of::<Run>();

/// How replies come to the sockets of this process: by the XDP program of the device's attachment, or by one of its own, which the
/// kernel takes off when this is dropped or the process ends, however it does.
///
/// Drop it before the sockets are closed: then nobody else has the queues when it says that they have no run any more.
pub struct Steering {
    device: String,
    ifindex: u32,
    site: Site,
    sockets: XskMap<MapData>,
    runs: Array<MapData, [u8; RUN]>,
    policy: LpmTrie<MapData, [u8; 16], u32>,
    /// The link of a program of its own.
    program: Option<FdLink>,
    added: Vec<(u32, RunKey)>,
}

impl Steering {
    /// Takes part in the attachment of the device where that has an XDP program, else puts one there.
    pub(crate) fn start(
        pins: &Pins,
        here: &Here,
        objects: &Objects,
        (device, mode): (&str, XdpMode),
        settings: &Settings,
        announce: &dyn Fn(Notice),
    ) -> Result<Self, Error> {
        let link = here.device(device)?;
        link.require_ethernet()?;
        let directory = pins.directory(here.namespace, link.ifindex, State::Whole);
        if directory.exists() {
            if stamps_by_xdp(here, &directory)? {
                return Self::join(link, &directory);
            }
            // Its probes are then the same host's, at the same point.
            let settings = settings.over(&Attachment::read(pins, here, link, &directory)?);
            return Self::alone(here, link, objects, mode, &settings, announce);
        }
        Self::alone(here, link, objects, mode, settings, announce)
    }

    fn join(link: &Link, directory: &Directory) -> Result<Self, Error> {
        let site = directory.site()?;
        if !directory.has(SOCKETS) || !directory.has(RUNS) {
            return Err(Error::OlderAttachment { device: link.name.clone(), hands_on: Attachment::hands_on(site) });
        }
        let [sockets, runs, policy] = [SOCKETS, RUNS, POLICY].map(|name| directory.pin(name));
        Ok(Self {
            device: link.name.clone(),
            ifindex: link.ifindex,
            site,
            sockets: open(&sockets, Map::XskMap).context("open", sockets.display())?,
            runs: open(&runs, Map::Array).context("open", runs.display())?,
            policy: open(&policy, Map::LpmTrie).context("open", policy.display())?,
            program: None,
            added: Vec::new(),
        })
    }

    fn alone(
        here: &Here,
        link: &Link,
        objects: &Objects,
        mode: XdpMode,
        settings: &Settings,
        announce: &dyn Fn(Notice),
    ) -> Result<Self, Error> {
        refuse_foreign_xdp(link)?;
        let (site, standings) = settings.resolve(here, link, announce)?;
        let mut loader = alone();
        without_sources(&mut loader);
        let mut ebpf = loader.load(&objects.xdp).context("load the XDP program for", &link.name)?;
        write_own(&mut ebpf, site, &standings, &link.name)?;
        let program = attach_xdp(&mut ebpf, XDP_STEER, link, mode)?;
        let sockets = taken(&mut ebpf, SOCKETS).context("open", SOCKETS)?;
        let runs = taken(&mut ebpf, RUNS).context("open", RUNS)?;
        let policy = taken(&mut ebpf, POLICY).context("open", POLICY)?;
        let (device, ifindex) = (link.name.clone(), link.ifindex);
        Ok(Self { device, ifindex, site, sockets, runs, policy, program: Some(program), added: Vec::new() })
    }

    /// What goes into the stamps of the replies: the requests should have the same node and bound.
    pub const fn site(&self) -> Site {
        self.site
    }

    /// The number of the device in its network namespace.
    pub const fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Whether the program is that of the device's attachment.
    pub const fn joins(&self) -> bool {
        self.program.is_none()
    }

    /// Whether the program hands on times and stamps nothing: in front of each reply that comes to a socket lies its
    /// [`Handed`](instamp_trailer::Handed), with which whoever takes the reply stamps it, as the TC program does those that pass to the stack.
    pub fn hands_on(&self) -> bool {
        Attachment::hands_on(self.site)
    }

    /// Whether the address is one of the host's own, or of those for which it measures, by the policy of the program as it is now:
    /// replies to others are not steered.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn has_own(&self, address: IpAddr) -> Result<bool, Error> {
        let Key { length, address } = Prefix::from(address).into();
        match self.policy.get(&TrieKey::new(length, address), 0) {
            Ok(standing) => Ok(standing & Standing::OWN.bits() != 0),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(error).context("read the policy of", &self.device),
        }
    }

    /// Has the replies of `run` that come in by this receive queue go to this `AF_XDP` socket, which is bound to the queue, and has
    /// a receive ring. Of frames that lie in several buffers none go there, and none while there is no room in the fill ring.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyQueues`], and [`Error::System`]: of a socket that has no ring.
    pub fn add(&mut self, queue: u32, socket: BorrowedFd<'_>, run: RunKey) -> Result<(), Error> {
        let object = format!("receive queue {queue} of {}", self.device);
        let most = self.sockets.len();
        if queue >= most {
            return Err(Error::TooManyQueues { device: self.device.clone(), most });
        }
        self.sockets.set(queue, socket, 0).context("register an AF_XDP socket for", &object)?;
        self.added.push((queue, run));
        let entry = Run { key: run.number(), process: process::id() };
        self.set(queue, entry).context("register a run for", &object)
    }

    /// The process that has registered a run for the queue last, if that still has `AF_XDP` sockets, as far as it may be looked at.
    pub fn holder(&self, queue: u32) -> Option<u32> {
        let process = self.run(queue).filter(|run| run.key != 0)?.process;
        // After a crash the number may be another's.
        has_fill_ring(process).then_some(process)
    }

    /// The processes that may keep this one from binding a socket to the queue: the one that has a run there, else all others that
    /// have `AF_XDP` sockets in this network namespace, as far as they may be looked at.
    pub fn holders(&self, queue: u32) -> Vec<Holder> {
        match self.holder(queue) {
            Some(process) if process != process::id() => vec![holder(process)],
            _ => afxdp_holders(),
        }
    }

    fn run(&self, queue: u32) -> Option<Run> {
        Run::read_from_bytes(&self.runs.get(&queue, 0).ok()?).ok()
    }

    fn set(&mut self, queue: u32, run: Run) -> Result<(), MapError> {
        let mut bytes = [0; RUN];
        bytes.copy_from_slice(run.as_bytes());
        self.runs.set(queue, bytes, 0)
    }
}

/// Whether a process gets replies by the program of an attachment. After a crash its number may be another's.
pub(crate) fn is_joined(directory: &Directory) -> Result<bool, Error> {
    if !directory.has(RUNS) {
        return Ok(false);
    }
    let path = directory.pin(RUNS);
    let runs = || open::<Array<MapData, [u8; RUN]>>(&path, Map::Array)?.iter().collect::<Result<Vec<_>, _>>();
    let runs = runs().context("read", path.display())?;
    let mut runs = runs.iter().filter_map(|bytes| Run::read_from_bytes(bytes).ok());
    Ok(runs.any(|run| run.key != 0 && has_fill_ring(run.process)))
}

impl fmt::Debug for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, ifindex, site, program, added, .. } = self;
        let mut fields = f.debug_struct("Steering");
        fields.field("device", device).field("ifindex", ifindex).field("site", site).field("program", program);
        fields.field("added", added).finish_non_exhaustive()
    }
}

impl Drop for Steering {
    /// Takes out the runs that are still its own. The kernel takes sockets out when they are closed.
    fn drop(&mut self) {
        for (queue, run) in mem::take(&mut self.added) {
            if self.run(queue).is_some_and(|found| found.key == run.number()) {
                // Where this fails, replies of a run that has ended find no socket, and pass.
                let _: Result<(), MapError> = self.set(queue, Run::default());
            }
        }
    }
}
