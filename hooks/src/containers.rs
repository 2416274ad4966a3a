//! Containers: what is attached to for them, and goes with them.
//!
//! A container has its end of a veth, whose other end is a device of the host; its probes leave the host by the uplink. Both are
//! attached to, in one step. The attachment of the veth notes whose it is, and which device the uplink is; that of an uplink that
//! was attached to for containers notes that. What an uplink allows for containers follows from the notes that name it:
//! [`settle`] makes it so, whoever has died meanwhile.

use std::{collections::BTreeSet, fmt, fs::File, io};

use aya::maps::{Array, Map, MapData, MapError};
use instamp_trailer::Site;
use nix::errno::Errno;

use crate::{
    Attachment, Error, IngressChoice, Notice, Objects, Prefix, Request, Settings, TcChoice, XdpMode,
    attach::{UPLINK as UPLINK_POINT, attach},
    device::Here,
    error::{Context as _, cause, errno, failed},
    inside::Inside,
    maps::open,
    netlink::route::{Link, is_link_local},
    pins::{Directory, NOTE, Pins, REFLECT, State},
    policy::{Named, Policy},
    steering::is_joined,
    sweep::dismantle,
};

/// The last of the points.
const LAST_POINT: u8 = 7;

/// Whose devices are attached to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Container {
    /// Who runs it: `podman`, `docker`, `cni/<network>`; or how it was named: `netns`, `pid`.
    pub engine: String,
    /// Its identifier there.
    pub id: String,
    /// Its name there; empty where it has none.
    pub name: String,
    /// The device in the container, which [`Hooks::attach_container`](crate::Hooks::attach_container) finds where it is empty:
    /// that of the default route.
    pub interface: String,
}

impl fmt::Display for Container {
    /// Name, engine, and as much of the identifier as engines show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        let Self { engine, id, name, .. } = self;
        let is_hash = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = id.get(..SHOWN).filter(|_| is_hash).unwrap_or(id);
        if name.is_empty() { write!(f, "{engine} {id}") } else { write!(f, "{name} ({engine} {id})") }
    }
}

/// A container that is attached to.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HookedContainer {
    /// Which one.
    pub container: Container,
    /// The device by which its probes leave the host; `None` where that is gone.
    pub uplink: Option<String>,
}

/// For which container to attach, and how.
#[derive(Debug)]
pub struct ContainerRequest {
    /// Which one.
    pub container: Container,
    /// Its network namespace, open.
    pub namespace: File,
    /// The device by which its probes leave the host; by default that of the host's route to the outside for it.
    pub uplink: Option<String>,
    /// As of [`Request`], for the uplink. The other end of the container's veth gets what is best there.
    pub ingress: IngressChoice,
    /// Likewise.
    pub xdp_mode: XdpMode,
    /// Likewise, of both.
    pub tc: TcChoice,
    /// Likewise.
    pub hardware: bool,
    /// What the programs of both write, and for whom; `point` is that of the veth, by default the first that no other
    /// attachment than those of containers has, and `respond` and its clock are those of the uplink.
    pub settings: Settings,
}

impl ContainerRequest {
    /// A request with everything else left to choose.
    pub fn new(container: Container, namespace: File) -> Self {
        Self {
            container,
            namespace,
            uplink: None,
            ingress: IngressChoice::default(),
            xdp_mode: XdpMode::default(),
            tc: TcChoice::default(),
            hardware: false,
            settings: Settings::default(),
        }
    }

    fn uplink(&self, device: &str) -> Request {
        Request {
            device: device.to_owned(),
            ingress: self.ingress,
            xdp_mode: self.xdp_mode,
            tc: self.tc,
            hardware: self.hardware,
            settings: Settings { point: Some(0), ..self.settings.clone() },
        }
    }

    fn veth(&self, device: &str, point: u8, node: Option<u16>) -> Request {
        let settings =
            Settings { point: Some(point), node, respond: None, respond_clock: None, ..self.settings.clone() };
        Request { tc: self.tc, settings, ..Request::new(device) }
    }
}

/// What was attached to for a container.
#[derive(Debug)]
#[non_exhaustive]
pub struct ContainerHooks {
    /// The host's end of the container's veth.
    pub veth: Attachment,
    /// The device by which its probes leave the host.
    pub uplink: Attachment,
    /// Whether that one was attached already, and was left as it was, but for the addresses of the container.
    pub uplink_was_attached: bool,
}

/// What an attachment notes of containers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Note {
    /// It is there for containers, and goes with the last of them.
    Uplink,
    /// It is the one of a container, whose probes leave by the device of this number.
    Container { container: Container, uplink: u32 },
    /// Another version has noted it, or somebody else. It can be detached as any other.
    Unknown,
}

const NOTE_LENGTH: usize = 1024;
type NoteBytes = [u8; NOTE_LENGTH];
const SEPARATOR: char = '\0';
const UPLINK: &str = "uplink";
const CONTAINER: &str = "container";

impl Note {
    /// `Err` of what could not be read back, or would steer the terminals that it is shown on: names are others' words.
    fn to_bytes(&self) -> Result<NoteBytes, Errno> {
        let text = match self {
            Self::Uplink => UPLINK.to_owned(),
            Self::Container { container: Container { engine, id, name, interface }, uplink } => {
                let uplink = uplink.to_string();
                let fields = [CONTAINER, engine, id, name, interface, &uplink];
                if fields.iter().any(|field| field.contains(char::is_control)) {
                    return Err(Errno::EINVAL);
                }
                fields.join(&SEPARATOR.to_string())
            }
            Self::Unknown => return Err(Errno::EINVAL),
        };
        let mut bytes = [0; NOTE_LENGTH];
        // One byte stays zero behind it.
        let room = bytes.get_mut(..text.len()).filter(|_| text.len() < NOTE_LENGTH);
        room.ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(text.as_bytes());
        Ok(bytes)
    }

    fn from_bytes(bytes: &NoteBytes) -> Self {
        Self::understand(bytes).unwrap_or(Self::Unknown)
    }

    fn understand(bytes: &NoteBytes) -> Option<Self> {
        let mut fields = str::from_utf8(bytes).ok()?.split(SEPARATOR);
        let mut field = || fields.next().map(str::to_owned);
        match field()?.as_str() {
            UPLINK => Some(Self::Uplink),
            CONTAINER => {
                let container = Container { engine: field()?, id: field()?, name: field()?, interface: field()? };
                Some(Self::Container { container, uplink: field()?.parse().ok()? })
            }
            _ => None,
        }
    }
}

impl Directory {
    /// Notes for what the attachment is.
    pub(crate) fn set_note(&self, note: &Note) -> Result<(), Error> {
        let path = self.pin(NOTE);
        let bytes = note.to_bytes().context("note the container in", path.display())?;
        let written = || {
            let mut map = Array::<MapData, NoteBytes>::create(1, 0)?;
            map.set(0, bytes, 0)?;
            Ok::<_, MapError>(map)
        };
        let map = written().context("note the container in", path.display())?;
        map.pin(&path).context("note the container in", path.display())
    }

    /// What was noted, of most attachments nothing.
    pub(crate) fn note(&self) -> Result<Option<Note>, Error> {
        if !self.has(NOTE) {
            return Ok(None);
        }
        let path = self.pin(NOTE);
        let read = || {
            let map: Array<MapData, NoteBytes> = open(&path, Map::Array)?;
            map.get(&0, 0)
        };
        match read() {
            Ok(bytes) => Ok(Some(Note::from_bytes(&bytes))),
            // The map has another form.
            Err(error) if errno(&error).is_none() => Ok(Some(Note::Unknown)),
            Err(error) => Err(error).context("read", path.display()),
        }
    }
}

/// Attaches to both devices of a container, or to none.
pub(crate) fn attach_container(
    pins: &Pins,
    here: &Here,
    objects: &Objects,
    request: &ContainerRequest,
    announce: &dyn Fn(Notice),
) -> Result<ContainerHooks, Error> {
    let inside = Inside::look(here, &request.namespace, &request.container)?;
    let veth = inside.host_end(here, &request.namespace)?;
    let uplink = match &request.uplink {
        Some(name) => here.device(name)?,
        None => inside.uplink(here, veth)?,
    };
    if uplink.ifindex == veth.ifindex {
        return Err(Error::UplinkIsVeth { device: veth.name.clone() });
    }
    let point = match request.settings.point {
        Some(0) => return Err(Error::ContainerPoint),
        Some(point) => point,
        None => free_point(pins, here)?,
    };
    let note = Note::Container { container: inside.container.clone(), uplink: uplink.ifindex };
    let attached = pins.directory(here.namespace, uplink.ifindex, State::Whole);
    let node = match attached.exists() {
        true => Some(keep(&attached, uplink, request, announce)?),
        false => request.settings.node,
    };
    let uplink = End { link: uplink, request: request.uplink(&uplink.name), note: Note::Uplink };
    let veth = End { link: veth, request: request.veth(&veth.name, point, node), note };
    attach_both(pins, here, objects, [&uplink, &veth], announce).inspect_err(|_| {
        // The first error tells the cause. If this fails too, the next command sweeps.
        let _: Result<(), Error> = settle(pins, here, announce).and_then(|_| pins.prune());
    })
}

/// Whether an uplink that is attached already can be that of a container. Returns its node: both ends are of one host.
fn keep(
    attached: &Directory,
    uplink: &Link,
    request: &ContainerRequest,
    announce: &dyn Fn(Notice),
) -> Result<u16, Error> {
    let Site { point, node, .. } = attached.site()?;
    let device = uplink.name.clone();
    if point != UPLINK_POINT {
        return Err(Error::UplinkPoint { device, point });
    }
    if let Some(asked) = request.settings.node.filter(|asked| *asked != node) {
        return Err(Error::UplinkNode { device, node, asked });
    }
    let request = request.uplink(&uplink.name);
    let Settings { sources, respond, respond_clock, .. } = &request.settings;
    let said =
        [("--source", sources.is_some()), ("--respond", respond.is_some()), ("--clock", respond_clock.is_some())];
    let said = said.into_iter().filter(|(_, is_given)| *is_given).map(|(option, _)| option);
    let options: Vec<_> = request.ways().chain(said).collect();
    if !options.is_empty() {
        announce(Notice::Kept { device, options });
    }
    Ok(node)
}

/// A device of a container's way.
struct End<'a> {
    link: &'a Link,
    request: Request,
    note: Note,
}

/// Where it fails, the veth has been attached to by others, or is not any more; the uplink is there still, for no container.
fn attach_both(
    pins: &Pins,
    here: &Here,
    objects: &Objects,
    [uplink, veth]: [&End<'_>; 2],
    announce: &dyn Fn(Notice),
) -> Result<ContainerHooks, Error> {
    let directory = |end: &End<'_>| pins.directory(here.namespace, end.link.ifindex, State::Whole);
    let attach = |end: &End<'_>| attach(pins, here, objects, &end.request, Some(&end.note), announce);
    let uplink_was_attached = directory(uplink).exists();
    if !uplink_was_attached {
        attach(uplink)?;
    }
    attach(veth)?;
    let finish = || {
        settle_one(&pins.whole()?, &directory(uplink), here, announce)?;
        settle(pins, here, announce)?;
        // As they are now, with their programs.
        let here = Here::look()?;
        let read = |end: &End<'_>| Attachment::read(pins, &here, here.device(&end.link.name)?, &directory(end));
        Ok(ContainerHooks { veth: read(veth)?, uplink: read(uplink)?, uplink_was_attached })
    };
    finish().inspect_err(|_| {
        let _: Result<(), Error> = dismantle(here, directory(veth), announce);
    })
}

/// The first point that no probe of a container passes yet: those of other containers it does not pass.
fn free_point(pins: &Pins, here: &Here) -> Result<u8, Error> {
    let mut taken = BTreeSet::from([0]);
    for directory in pins.whole_of(here.namespace)? {
        if !matches!(directory.note()?, Some(Note::Container { .. })) {
            taken.insert(directory.site()?.point);
        }
    }
    (1..=LAST_POINT).find(|point| !taken.contains(point)).ok_or(Error::NoPoint)
}

/// The attachment of the device in this network namespace that is the other end of a container's.
pub(crate) fn attached_end(pins: &Pins, here: &Here, namespace: &File) -> Result<Directory, Error> {
    let inside = Inside::look(here, namespace, &Container::default())?;
    let veth = inside.host_end(here, namespace)?;
    let directory = pins.directory(here.namespace, veth.ifindex, State::Whole);
    if directory.exists() {
        return Ok(directory);
    }
    Err(Error::NoContainer)
}

/// Those of containers whose probes leave by the device of an attachment.
fn served_by(directories: &[Directory], uplink: &Directory) -> Result<Vec<Directory>, Error> {
    let mut served = Vec::new();
    for directory in directories {
        if let Some(Note::Container { uplink: number, .. }) = directory.note()?
            && number == uplink.ifindex
            && directory.namespace == uplink.namespace
        {
            served.push(directory.clone());
        }
    }
    Ok(served)
}

/// Those of their addresses with which packets are forwarded.
fn addresses(served: &[Directory]) -> Result<BTreeSet<Prefix>, Error> {
    let mut addresses = BTreeSet::new();
    for directory in served {
        let policy = Policy::of_map(&directory.policy()?);
        addresses.extend(policy.named(Named::Container).filter(|prefix| !is_link_local(prefix.network())));
    }
    Ok(addresses)
}

/// The addresses of the containers whose probes leave by the device of an attachment.
pub(crate) fn served(pins: &Pins, uplink: &Directory) -> Result<BTreeSet<Prefix>, Error> {
    addresses(&served_by(&pins.whole_of(uplink.namespace)?, uplink)?)
}

/// Has uplinks allow the addresses of the containers that there are, and no others; and takes apart those that were there for
/// containers alone, and have none left. Returns whether devices have other programs since, by the names that they have here.
///
/// What fails for one attachment is announced, and keeps nobody from working with the others, nor from detaching this one.
pub(crate) fn settle(pins: &Pins, here: &Here, announce: &dyn Fn(Notice)) -> Result<Vec<String>, Error> {
    let directories = pins.whole()?;
    let mut gone = Vec::new();
    for directory in &directories {
        match settle_one(&directories, directory, here, announce) {
            Ok(true) if directory.namespace == here.namespace => {
                gone.extend(here.by_index(directory.ifindex).map(|link| link.name.clone()));
            }
            // Whoever may not look does not know what there is to be done.
            Ok(_) | Err(Error::Privilege { .. }) => {}
            Err(error) => announce(Notice::Unsettled { device: name(here, directory), words: words(&error) }),
        }
    }
    Ok(gone)
}

/// As people would look for it.
fn name(here: &Here, directory: &Directory) -> String {
    let link = here.by_index(directory.ifindex).filter(|_| directory.namespace == here.namespace);
    let number = || format!("device {} of network namespace {}", directory.ifindex, directory.namespace);
    link.map_or_else(number, |link| link.name.clone())
}

fn words(error: &Error) -> String {
    let (all, cause) = (error.to_string(), cause(error));
    if all == cause { all } else { format!("{all}: {cause}") }
}

/// Returns whether the attachment was taken apart.
fn settle_one(
    directories: &[Directory],
    directory: &Directory,
    here: &Here,
    announce: &dyn Fn(Notice),
) -> Result<bool, Error> {
    let note = directory.note()?;
    if matches!(note, Some(Note::Container { .. } | Note::Unknown)) {
        return Ok(false);
    }
    let served = served_by(directories, directory)?;
    if note == Some(Note::Uplink)
        && served.is_empty()
        && !is_needed(directories, directory)?
        && (directory.namespace == here.namespace || directory.is_linked()?)
    {
        dismantle(here, directory.clone(), announce)?;
        return Ok(true);
    }
    let policy = Policy::of_map(&directory.policy()?);
    let allowed: BTreeSet<Prefix> = policy.named(Named::Container).collect();
    let wanted = addresses(&served)?;
    // At points other than the uplink a veth allows its own container.
    if directory.site()?.point == 0 && allowed != wanted {
        let mut policy = policy.without(Named::Container);
        wanted.into_iter().for_each(|prefix| policy.name(prefix, Named::Container));
        directory.set_policy(&policy)?;
    }
    Ok(false)
}

/// Whether an uplink has others than containers that are known: who gets replies by its program, or reflects in its place; and what
/// may be a container's.
fn is_needed(directories: &[Directory], uplink: &Directory) -> Result<bool, Error> {
    if uplink.has(REFLECT) || is_joined(uplink)? {
        return Ok(true);
    }
    for directory in directories.iter().filter(|directory| directory.namespace == uplink.namespace) {
        if directory.note()? == Some(Note::Unknown) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes apart the attachments of this network namespace for containers that `which` chooses, and returns the names of the devices.
pub(crate) fn detach_containers(
    pins: &Pins,
    here: &Here,
    which: &dyn Fn(&Container) -> bool,
    announce: &dyn Fn(Notice),
) -> Result<Vec<String>, Error> {
    let mut chosen = Vec::new();
    for directory in pins.whole_of(here.namespace)? {
        if matches!(directory.note()?, Some(Note::Container { container, .. }) if which(&container)) {
            chosen.push(directory);
        }
    }
    detach_ends(pins, here, chosen, announce)
}

/// Takes these apart, and what was there for them alone.
pub(crate) fn detach_ends(
    pins: &Pins,
    here: &Here,
    directories: Vec<Directory>,
    announce: &dyn Fn(Notice),
) -> Result<Vec<String>, Error> {
    let mut detached = Vec::new();
    for directory in directories {
        let name = here.by_index(directory.ifindex).map(|link| link.name.clone());
        dismantle(here, directory, announce)?;
        detached.extend(name);
    }
    detached.extend(settle(pins, here, announce)?);
    pins.prune()?;
    Ok(detached)
}

/// That a container cannot be attached to, told in the words of what was found.
pub(crate) fn unfit(container: &Container, words: impl Into<String>) -> Error {
    // Devices of a container are called what it likes.
    let printable = |text: String| text.replace(char::is_control, "\u{fffd}");
    Error::UnfitContainer { container: printable(container.to_string()), words: printable(words.into()) }
}

/// That something failed in a container.
pub(crate) fn failed_in(operation: &'static str, container: &Container, error: io::Error) -> Error {
    failed(operation, format!("the network namespace of container {container}"), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_written() {
        let container = Container {
            engine: "cni/pods".to_owned(),
            id: "0123456789abcdef".repeat(4),
            name: "default/web-7d4b.x".to_owned(),
            interface: "eth0".to_owned(),
        };
        let nameless = Container { name: String::new(), ..container.clone() };
        let containers = [container, nameless].map(|container| Note::Container { container, uplink: 17 });
        for note in [Note::Uplink].into_iter().chain(containers) {
            assert_eq!(note.to_bytes().as_ref().map(Note::from_bytes), Ok(note));
        }
    }

    #[test]
    fn containers_are_shown_as_engines_show_them() {
        let container = |name: &str, id: &str| {
            let (engine, id, name) = ("podman".to_owned(), id.to_owned(), name.to_owned());
            Container { engine, id, name, interface: String::new() }.to_string()
        };
        assert_eq!(container("web", &"0123456789abcdef".repeat(4)), "web (podman 0123456789ab)");
        assert_eq!(container("", "/run/netns/a-name-of-many-letters"), "podman /run/netns/a-name-of-many-letters");
    }

    #[test]
    fn what_is_too_long_or_no_note_is_refused() {
        let noted = |name: &str| {
            let container = Container { name: name.to_owned(), ..Container::default() };
            Note::Container { container, uplink: 1 }.to_bytes().err()
        };
        assert_eq!(noted(&"x".repeat(NOTE_LENGTH)), Some(Errno::ENAMETOOLONG));
        assert_eq!(noted("a\0b"), Some(Errno::EINVAL));
        assert_eq!(noted("a\u{1b}[1mb"), Some(Errno::EINVAL));
        assert_eq!(noted("web"), None);
        assert_eq!(Note::Unknown.to_bytes(), Err(Errno::EINVAL));
        assert_eq!(Note::from_bytes(&[0; NOTE_LENGTH]), Note::Unknown);
        assert_eq!(Note::from_bytes(&[0xff; NOTE_LENGTH]), Note::Unknown);
    }

    #[test]
    fn others_words_steer_no_terminal() {
        let error =
            unfit(&Container { name: "a\u{7}".to_owned(), ..Container::default() }, "its devices: \u{1b}c").to_string();
        assert!(!error.contains(char::is_control) && error.contains("its devices: \u{fffd}c"), "{error}");
    }
}
