//! The attachments of a BPF file system.

use std::{
    env, fmt,
    fs::File,
    path::{Path, PathBuf},
};

use crate::{
    Attachment, Container, ContainerHooks, ContainerRequest, Error, LoneReflector, Notice, Objects, ReflectRequest,
    Reflector, Request, Settings, Steering, XdpMode,
    attach::{attach, update},
    containers::{attach_container, attached_end, detach_containers, detach_ends, settle},
    device::Here,
    kernel,
    netlink::route::Link,
    pins::{Directory, Pins, State},
    reflector::reflecting_alone,
    sweep::{dismantle, sweep},
};

/// Where the BPF file system is mounted, if nothing else is said.
pub const BPFFS: &str = "/sys/fs/bpf";
/// The environment variable that names another mount.
pub const BPFFS_VARIABLE: &str = "INSTAMP_BPFFS";

/// The attachments that are pinned to a BPF file system.
///
/// One command at a time: the others wait. Each call first removes what is dead or half made.
///
/// # Errors
///
/// Every method fails with [`Error::NoBpffs`], [`Error::ForeignPins`], [`Error::WritablePins`] and [`Error::Privilege`]
/// where they apply, and with [`Error::System`] where the kernel fails otherwise.
pub struct Hooks {
    bpffs: PathBuf,
    announce: Box<dyn Fn(Notice) + Send + Sync>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("bpffs", &self.bpffs).finish_non_exhaustive()
    }
}

impl Hooks {
    /// Those at `bpffs`; by default at the mount that [`BPFFS_VARIABLE`] names, else at [`BPFFS`]. `announce` is told what
    /// is about to be done.
    ///
    /// # Errors
    ///
    /// [`Error::KernelTooOld`].
    pub fn open(bpffs: Option<&Path>, announce: impl Fn(Notice) + Send + Sync + 'static) -> Result<Self, Error> {
        kernel::check_version()?;
        let bpffs = bpffs
            .map(Path::to_owned)
            .or_else(|| env::var_os(BPFFS_VARIABLE).map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from(BPFFS));
        Ok(Self { bpffs, announce: Box::new(announce) })
    }

    /// Attaches to a device, all or nothing. An uplink that was [attached to for containers](Self::attach_container) is updated with the
    /// settings, and stays from then on.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownDevice`], [`Error::NotEthernet`], [`Error::AlreadyAttached`], [`Error::ForeignXdp`],
    /// [`Error::Occupied`], [`Error::NativeXdp`], [`Error::NoTcx`], [`Error::Point`] and [`Error::PolicyTooLarge`].
    pub fn attach(&self, objects: &Objects, request: &Request) -> Result<Attachment, Error> {
        let (pins, here) = self.enter()?;
        attach(&pins, &here, objects, request, None, &self.announce)
    }

    /// Attaches to both devices that a container's probes pass: the host's end of the container's veth, and the uplink, which is left as
    /// it is where it is attached already. Both or none. The addresses of the container count as own on both.
    ///
    /// What was attached to for a container goes with it: with the next call of any method, where it was not detached before.
    ///
    /// # Errors
    ///
    /// Those of [`attach`](Self::attach), for either device; [`Error::UnfitContainer`], [`Error::NoUplink`],
    /// [`Error::UplinkIsVeth`], [`Error::UplinkPoint`], [`Error::UplinkNode`], [`Error::ContainerPoint`] and [`Error::NoPoint`].
    pub fn attach_container(&self, objects: &Objects, request: &ContainerRequest) -> Result<ContainerHooks, Error> {
        let (pins, here) = self.enter()?;
        attach_container(&pins, &here, objects, request, &self.announce)
    }

    /// Detaches from the devices of the containers that `which` chooses, and from an uplink that was attached to for containers and
    /// has none left. Returns the names of the devices in this network namespace. To find none is no error.
    ///
    /// # Errors
    ///
    /// Those of every method.
    pub fn detach_containers(&self, which: impl Fn(&Container) -> bool) -> Result<Vec<String>, Error> {
        let (pins, here) = self.enter()?;
        detach_containers(&pins, &here, &which, &self.announce)
    }

    /// Likewise from the device of the container with this network namespace.
    ///
    /// # Errors
    ///
    /// [`Error::UnfitContainer`], and [`Error::NoContainer`] where nothing is attached for it.
    pub fn detach_namespace(&self, namespace: &File) -> Result<Vec<String>, Error> {
        let (pins, here) = self.enter()?;
        let end = attached_end(&pins, &here, namespace)?;
        detach_ends(&pins, &here, vec![end], &self.announce)
    }

    /// Changes what the programs of a device write, and for whom, while they run. What `settings` do not give stays as it
    /// is, but for the addresses of the host, which are read anew.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownDevice`], [`Error::NotAttached`], [`Error::Point`] and [`Error::PolicyTooLarge`].
    pub fn update(&self, device: &str, settings: &Settings) -> Result<Attachment, Error> {
        let (pins, here) = self.enter()?;
        let directory = attached(&pins, &here, device)?;
        let link = here.device(device)?;
        update(&pins, &here, link, &directory, settings, &self.announce)?;
        settle(&pins, &here, &self.announce)?;
        Attachment::read(&pins, &here, link, &directory)
    }

    /// Detaches from a device, and leaves nothing.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownDevice`] and [`Error::NotAttached`].
    pub fn detach(&self, device: &str) -> Result<(), Error> {
        let (pins, here) = self.enter()?;
        dismantle(&here, attached(&pins, &here, device)?, &self.announce)?;
        settle(&pins, &here, &self.announce)?;
        pins.prune()
    }

    /// Detaches from all devices of this network namespace, and tells their names.
    ///
    /// # Errors
    ///
    /// Those of every method.
    pub fn detach_all(&self) -> Result<Vec<String>, Error> {
        let (pins, here) = self.enter()?;
        let mut detached = Vec::new();
        for directory in pins.whole_of(here.namespace)? {
            let name = here.by_index(directory.ifindex).map(|link| link.name.clone());
            dismantle(&here, directory, &self.announce)?;
            detached.extend(name);
        }
        pins.prune()?;
        Ok(detached)
    }

    /// The attachments of this network namespace.
    ///
    /// # Errors
    ///
    /// Those of every method.
    pub fn status(&self) -> Result<Vec<Attachment>, Error> {
        let (pins, here) = self.enter()?;
        let attached = pins.whole_of(here.namespace)?;
        let attached = attached.iter().filter_map(|directory| here.by_index(directory.ifindex).zip(Some(directory)));
        attached.map(|(link, directory)| Attachment::read(&pins, &here, link, directory)).collect()
    }

    /// The reflectors on devices of this network namespace that are not attached to. Those on others are in their [status](Self::status).
    ///
    /// # Errors
    ///
    /// Those of every method.
    pub fn lone_reflectors(&self) -> Result<Vec<LoneReflector>, Error> {
        let (pins, here) = self.enter()?;
        let attached = pins.whole_of(here.namespace)?;
        let is_alone = |link: &&Link| attached.iter().all(|directory| directory.ifindex != link.ifindex);
        let reflector = |link: &Link| {
            let reflecting = reflecting_alone(link.xdp?.id)?;
            Some(LoneReflector { device: link.name.clone(), ifindex: link.ifindex, reflecting })
        };
        Ok(here.links.iter().filter(is_alone).filter_map(reflector).collect())
    }

    /// Has replies that come in by a device go past the stack, to `AF_XDP` sockets of this process, as [`Steering::add`] says. On a
    /// device whose attachment has an XDP program that program does it; on others one of its own, in this `mode`, with
    /// `settings`, and what these do not give as the attachment has it, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownDevice`], [`Error::NotEthernet`], [`Error::ForeignXdp`], [`Error::Occupied`], [`Error::NativeXdp`],
    /// [`Error::OlderAttachment`], [`Error::Point`] and [`Error::PolicyTooLarge`].
    pub fn steer(
        &self,
        objects: &Objects,
        device: &str,
        mode: XdpMode,
        settings: &Settings,
    ) -> Result<Steering, Error> {
        let (pins, here) = self.enter()?;
        Steering::start(&pins, &here, objects, (device, mode), settings, &self.announce)
    }

    /// Answers probes at a device in the place of the stack, for as long as the process does [renew](Reflector::renew) that: by the XDP
    /// program of the device's attachment, if it has one; else by one of its own, in this `mode`, which stamps no replies.
    ///
    /// # Errors
    ///
    /// [`Error::NothingAllowed`], [`Error::UnknownDevice`], [`Error::NotEthernet`], [`Error::Reflecting`], [`Error::ForeignXdp`],
    /// [`Error::Occupied`], [`Error::NativeXdp`], [`Error::HandsOn`], [`Error::OlderAttachment`] and [`Error::PolicyTooLarge`].
    pub fn reflect(
        &self,
        objects: &Objects,
        device: &str,
        mode: XdpMode,
        request: &ReflectRequest,
    ) -> Result<Reflector, Error> {
        let (pins, here) = self.enter()?;
        Reflector::start(&pins, &here, &self.bpffs, objects, (device, mode), request, &self.announce)
    }

    /// Becomes the publisher of a clock's model to the BPF map that programs convert with. The map is made where there is none,
    /// and stays as long as it is published to or a program uses it.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyPublished`], and [`Error::WeakOrder`] where programs could not read it.
    pub fn clock_writer(&self, device: instamp_clockmap::Device) -> Result<instamp_clockmap::Writer, Error> {
        let (pins, _) = self.enter()?;
        pins.clocks().writer(device)
    }

    /// Removes what is dead or half made, as every other method does first.
    ///
    /// # Errors
    ///
    /// Those of every method.
    pub fn sweep(&self) -> Result<(), Error> {
        self.enter().map(|_| ())
    }

    fn enter(&self) -> Result<(Pins, Here), Error> {
        let pins = Pins::lock(&self.bpffs, &self.announce)?;
        let here = Here::look()?;
        let here = if sweep(&pins, &here, &self.announce)? { Here::look()? } else { here };
        Ok((pins, here))
    }
}

fn attached(pins: &Pins, here: &Here, device: &str) -> Result<Directory, Error> {
    let ifindex = here.device(device)?.ifindex;
    let directory = pins.directory(here.namespace, ifindex, State::Whole);
    if directory.exists() {
        return Ok(directory);
    }
    let attached = pins.whole_of(here.namespace)?;
    let attached = attached.iter().filter_map(|directory| here.by_index(directory.ifindex));
    Err(Error::NotAttached { device: device.to_owned(), attached: attached.map(|link| link.name.clone()).collect() })
}
