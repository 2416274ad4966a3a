//! Loads, attaches, pins, detaches and counts the instamp programs.
//!
//! An attachment is a set of pins under a BPF file system: `instamp/<inode of the network namespace>/<ifindex>/`. The
//! kernel keeps stamping for as long as they are there; no process of ours has to stay. [`Hooks`] is the way to them:
//!
//! ```no_run
//! use instamp_hooks::{Hooks, Objects, Request};
//!
//! let hooks = Hooks::open(None, |notice| eprintln!("{notice}"))?;
//! let attachment = hooks.attach(&Objects::built_in(), &Request::new("eth0"))?;
//! println!("{} is stamped at point {}", attachment.device, attachment.site.point);
//! hooks.detach("eth0")?;
//! # Ok::<(), instamp_hooks::Error>(())
//! ```
//!
//! Everything acts on the network namespace of the calling thread, and asks for devices over netlink.
//!
//! The BPF maps of published clocks lie beside them, in `instamp/clock/`: [`Hooks::clock_writer`].
//!
//! # What a crash leaves
//!
//! An attachment is made in a directory `<ifindex>_partial` and becomes `<ifindex>` by one rename; it is taken apart
//! under the first name again. Whoever holds the lock and finds a partial directory therefore knows that its maker is
//! dead, and takes it apart. Every call of [`Hooks`] does that first, and the same for attachments whose hooks the
//! kernel has let go: because their device or their namespace is gone.
//!
//! # Minimum kernel version
//!
//! Linux 6.1. TCX needs 6.6; before that, and on demand, TC programs are filters of a `clsact` queueing discipline.

mod attach;
mod attachment;
mod caps;
mod card;
mod choice;
mod clock;
mod containers;
mod device;
mod error;
mod holders;
mod hooks;
mod inside;
mod kernel;
mod lease;
mod loader;
mod maps;
mod netlink;
mod nic_rx;
mod notice;
mod objects;
mod pins;
mod policy;
mod reflector;
mod sent;
mod site;
mod skeletons;
mod steering;
mod sweep;
mod sys;
mod tc;
mod watch;

pub use attach::{Request, Settings};
pub use attachment::{Attachment, Counters, HookState, Mechanism};
pub use caps::{Capabilities, NicRxSource, NicTxSource, Sources, Timestamping, XdpCapabilities, capabilities};
pub use choice::{Choice, Ingress, IngressChoice, Reason, TcChoice, TcMode, XdpMode};
pub use containers::{Container, ContainerHooks, ContainerRequest, HookedContainer};
pub use error::{Cause, Error};
pub use holders::{Holder, afxdp_holders};
pub use hooks::{BPFFS, BPFFS_VARIABLE, Hooks};
pub use instamp_trailer::{Clock, Hook, Refusal, RunKey, Site, Standing};
pub use notice::Notice;
pub use objects::Objects;
pub use policy::{Policy, Prefix, PrefixError};
pub use reflector::{LoneReflector, ReflectCounts, ReflectRequest, Reflecting, Reflector};
pub use sent::{SentCounts, Tracing};
pub use steering::Steering;
pub use watch::{Flow, Observed, Origin, UPLINKS_MAX, WatchCounts, WatchFailures, WatchRequest, Watcher};
