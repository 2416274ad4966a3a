//! What can go wrong, each with its cause and its remedy.

use std::{error::Error as StdError, io, path::PathBuf};

use aya::programs::ProgramError;
use nix::errno::Errno;

use crate::hooks::BPFFS_VARIABLE;

/// The error that a kernel interface or a library returned.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Why an operation on the hooks of a device failed. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel lacks what the programs need.
    #[error("Linux {release} is too old: the programs need 6.1 or later")]
    KernelTooOld {
        /// The release of the running kernel.
        release: String,
    },
    /// There is nothing to pin to.
    #[error(
        "no BPF file system is mounted at {path}: run `mount -t bpf -o mode=700 bpf {path}`, or name another mount in {BPFFS_VARIABLE}. `ip netns exec` hides it, and forgets what is mounted inside: use `nsenter --net=/run/netns/NAME` instead"
    )]
    NoBpffs {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Pins are only safe below directories that nobody else can change.
    #[error(
        "{path} belongs to user {owner}, who could exchange what is pinned there: look what it is, remove it, and keep others out with `chmod 700` on the BPF file system; or name another mount in {BPFFS_VARIABLE}"
    )]
    ForeignPins {
        /// The directory.
        path: PathBuf,
        /// The number of its owner.
        owner: u32,
    },
    /// Likewise, where the directory is one's own, but open to others.
    #[error("everybody may write to {path}, and so exchange what is pinned there: run `chmod 700 {path}`")]
    WritablePins {
        /// The directory.
        path: PathBuf,
    },
    /// The kernel did not permit the operation.
    #[error(
        "{operation} {object}: not permitted: run as root, or with CAP_NET_ADMIN, CAP_SYS_ADMIN and access to the BPF file system"
    )]
    Privilege {
        /// What was tried.
        operation: &'static str,
        /// On what.
        object: String,
        /// What the kernel said.
        source: Cause,
    },
    /// This network namespace has no such device.
    #[error("no device {device} in this network namespace, which has {}", list(present))]
    UnknownDevice {
        /// The name that was asked for.
        device: String,
        /// The devices of this network namespace.
        present: Vec<String>,
    },
    /// The programs expect Ethernet headers.
    #[error(
        "{device} is not an Ethernet device (its link layer: {layer}): its packets lack the Ethernet header that the programs read; attach to the Ethernet device that carries them"
    )]
    NotEthernet {
        /// The device.
        device: String,
        /// Its link layer.
        layer: String,
    },
    /// The device is stamped already.
    #[error(
        "{device} is attached already ({existing}): change it with `instamp attach --update --dev {device}` and what is to be different, or remove it with `instamp detach --dev {device}`"
    )]
    AlreadyAttached {
        /// The device.
        device: String,
        /// The existing attachment.
        existing: String,
    },
    /// The device is not stamped.
    #[error("{device} is not attached in this network namespace; attached: {}", list(attached))]
    NotAttached {
        /// The device.
        device: String,
        /// The devices that are.
        attached: Vec<String>,
    },
    /// Another program sits on the XDP hook, and is not replaced.
    #[error(
        "{device} has the XDP program {name} (id {id}) of somebody else: detach that one (`ip link set dev {device} xdp off`), or use `--ingress tc`, which leaves it alone"
    )]
    ForeignXdp {
        /// The device.
        device: String,
        /// The kernel's number of the program.
        id: u32,
        /// Its name, as far as the kernel keeps it.
        name: String,
    },
    /// A prober of ours has an XDP program of its own on the device.
    #[error(
        "a prober on AF_XDP sockets, such as `instamp probe`, has put its own XDP program on {device}: wait for its end; several at once need a device that was attached before with `instamp attach --ingress xdp --dev {device}`"
    )]
    Occupied {
        /// The device.
        device: String,
    },
    /// Another process reflects on the device.
    #[error(
        "process {process}{} answers probes on {device} already: stop that one first (`kill {process}`)",
        named(command)
    )]
    Reflecting {
        /// The device.
        device: String,
        /// The number of the process.
        process: u32,
        /// What it runs; empty where that is not known.
        command: String,
    },
    /// The program that reflects is not on its device any more.
    #[error(
        "probes on {device} are not answered any more: its XDP program was taken off or exchanged, as by `instamp detach`, or after this process had slept for more than three seconds: start it anew"
    )]
    NotReflecting {
        /// The device.
        device: String,
    },
    /// Nobody's probes are to be answered.
    #[error("nobody is allowed to have probes answered: name networks, as `--allow 192.0.2.0/24`")]
    NothingAllowed,
    /// The XDP program of the attachment is the one that asks the card for its receive times. It is bound to its device, and the one that
    /// answers probes, which is not, cannot take its place and keep those times.
    #[error(
        "the XDP program on {device} hands on the card's receive times (`--hw`), and does not answer probes: attach without them (`instamp detach --dev {device}`, then `instamp attach --ingress xdp --dev {device}`)"
    )]
    HandsOn {
        /// The device.
        device: String,
    },
    /// The attachment lacks what this version needs of it.
    #[error(
        "{device} was attached by an older version, whose XDP program neither gives replies to AF_XDP sockets nor answers probes: attach it anew (`instamp detach --dev {device}`, then `instamp attach --ingress xdp{} --dev {device}`)",
        if *hands_on { " --hw" } else { "" }
    )]
    OlderAttachment {
        /// The device.
        device: String,
        /// Whether its XDP program hands on the card's receive times.
        hands_on: bool,
    },
    /// The driver refused native XDP.
    #[error(
        "the driver of {device} refuses native XDP: use `--xdp-mode generic`, or with `instamp attach` also `--ingress tc`"
    )]
    NativeXdp {
        /// The device.
        device: String,
        /// What the driver said.
        source: Cause,
    },
    /// A receive queue for which the XDP program has no room.
    #[error(
        "{device} has more receive queues than the {most} whose replies can go to AF_XDP sockets: run `ethtool -L {device} combined {most}`"
    )]
    TooManyQueues {
        /// The device.
        device: String,
        /// For how many there is room.
        most: u32,
    },
    /// This kernel has no TCX.
    #[error("this kernel has no TCX (Linux 6.6) for {device}: use `--tc clsact`")]
    NoTcx {
        /// The device.
        device: String,
    },
    /// A point that does not fit into a record.
    #[error("point {point} is not one of 0 to 7")]
    Point {
        /// The number that was asked for.
        point: u8,
    },
    /// A container's probes have been at a point of its veth before they are at the uplink's.
    #[error("point 0 is the uplink's: that of a container's veth is 1 to 7")]
    ContainerPoint,
    /// All points are taken.
    #[error(
        "points 1 to 7 are all taken by other attachments (`instamp status`): name one that a container's probes do not pass with `--point`"
    )]
    NoPoint,
    /// A container whose devices cannot be found, or are not such that can be attached to.
    #[error("container {container}: {words}")]
    UnfitContainer {
        /// Its name, or its identifier.
        container: String,
        /// What is missing, and what to do.
        words: String,
    },
    /// Nothing says by which device probes leave.
    #[error("no default route in this network namespace: name the device by which probes leave with `--dev`")]
    NoDefaultRoute,
    /// There is no way outside.
    #[error("this host has no route by which the container's probes would leave it: name the device with `--uplink`")]
    NoUplink,
    /// The way outside is the way to the container.
    #[error(
        "{device} leads to the container itself: name the device by which its probes leave this host with `--uplink`"
    )]
    UplinkIsVeth {
        /// The device.
        device: String,
    },
    /// The way outside is attached to as something else.
    #[error(
        "{device}, by which the container's probes leave this host, is attached at point {point}: there the addresses of containers do not count; make it the uplink with `instamp attach --update --dev {device} --point 0`, or name another device with `--uplink`"
    )]
    UplinkPoint {
        /// The device.
        device: String,
        /// Its point.
        point: u8,
    },
    /// The stamps of both devices are to tell the same host.
    #[error(
        "{device}, by which the container's probes leave this host, has the node {node} in its stamps: with {asked} at the container's veth the reader would take them for two hosts; leave `--node` out, or change it with `instamp attach --update --dev {device} --node {asked}` first"
    )]
    UplinkNode {
        /// The uplink.
        device: String,
        /// Its node.
        node: u16,
        /// The one that was asked for.
        asked: u16,
    },
    /// Nothing is attached for a container.
    #[error("nothing is attached for this container in this network namespace: `instamp status` shows what is")]
    NoContainer,
    /// More prefixes than the programs' map holds.
    #[error(
        "{prefixes} prefixes, own addresses included, are more than the {most} that the policy holds: use shorter prefixes"
    )]
    PolicyTooLarge {
        /// How many there are.
        prefixes: usize,
        /// How many fit.
        most: usize,
    },
    /// There is one publisher of a clock.
    #[error("{device} is already published to {path} by another process: stop that one first")]
    AlreadyPublished {
        /// The clock.
        device: instamp_clockmap::Device,
        /// The pin of its map.
        path: PathBuf,
    },
    /// Programs that convert would see models that are torn.
    #[error(
        "no program can convert with {device} here: processors other than x86-64 may load the words of a model in another order"
    )]
    WeakOrder {
        /// The clock.
        device: instamp_clockmap::Device,
    },
    /// Anything else, told by the interface that failed.
    #[error("{operation} {object}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// On what.
        object: String,
        /// What came of it.
        source: Cause,
    },
}

fn named(command: &str) -> String {
    if command.is_empty() { String::new() } else { format!(" ({command})") }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Says what failed, and on what.
pub(crate) trait Context<T> {
    fn context(self, operation: &'static str, object: impl ToString) -> Result<T, Error>;
}

impl<T, E: Into<Cause>> Context<T> for Result<T, E> {
    fn context(self, operation: &'static str, object: impl ToString) -> Result<T, Error> {
        self.map_err(|source| failed(operation, object, source))
    }
}

/// That `operation` failed on `object`, or was not permitted.
pub(crate) fn failed(operation: &'static str, object: impl ToString, source: impl Into<Cause>) -> Error {
    let (object, source) = (object.to_string(), source.into());
    match errno(source.as_ref()) {
        Some(Errno::EPERM | Errno::EACCES) if !is_verdict(source.as_ref()) => {
            Error::Privilege { operation, object, source }
        }
        _ => Error::System { operation, object, source },
    }
}

/// Whether the verifier has refused a program, which it says in the error number of a lack of privilege, too. Who has not the
/// privilege to load programs never gets to its words.
fn is_verdict(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(ProgramError::LoadError { verifier_log, .. }) = error.downcast_ref() {
            return !verifier_log.to_string().is_empty();
        }
        next = error.source();
    }
    false
}

/// The error number at the bottom of a chain of errors.
pub(crate) fn errno(error: &(dyn StdError + 'static)) -> Option<Errno> {
    let mut next = Some(error);
    while let Some(error) = next {
        let number = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
            .or_else(|| error.downcast_ref::<aya::sys::NetlinkError>().and_then(aya::sys::NetlinkError::raw_os_error))
            .map(Errno::from_raw)
            .or_else(|| error.downcast_ref::<Errno>().copied());
        if number.is_some() {
            return number;
        }
        next = error.source();
    }
    None
}

/// What the kernel, or a library, said at the bottom of an error.
pub(crate) fn cause(error: &Error) -> String {
    let mut last: &dyn StdError = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use aya_obj::VerifierLog;

    use super::*;

    #[test]
    fn a_refused_program_is_no_lack_of_privilege() {
        let refused = |number: Errno, log: &str| {
            let verifier_log = VerifierLog::new(log.to_owned());
            failed("load", "it", ProgramError::LoadError { io_error: io::Error::from(number), verifier_log })
        };
        for number in [Errno::EACCES, Errno::EPERM] {
            let error = refused(number, "R1 invalid mem access 'scalar'");
            assert!(matches!(error, Error::System { .. }), "{error:?}");
            assert!(
                error.source().is_some_and(|source| source.to_string().contains("invalid mem access")),
                "{error:?}"
            );
            assert!(matches!(refused(number, ""), Error::Privilege { .. }));
        }
    }
}
