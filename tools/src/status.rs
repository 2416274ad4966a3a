//! `instamp status`.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    process::ExitCode,
};

use instamp_hooks::{
    Attachment, Clock, Holder, HookedContainer, LoneReflector, Prefix, ReflectCounts, Reflecting, SentCounts, Standing,
};
use instamp_trailer::Bound;
use serde::Serialize;

use crate::{json_lines, reflect::Counted};

/// Shows what is attached, and what it has counted.
///
/// Acts in the network namespace that it runs in.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// Print JSON Lines: one object for each device.
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Why packets are not stamped:
  not-echo    no ICMP or ICMPv6 echo message: all other traffic
  fragment    a fragment of an ICMP message
  truncated   ends before its headers or its IP length say
  no-trailer  somebody else's ping
  version     a trailer of another version
  odd-length  a message of odd length
  counts      a trailer that contradicts itself
  policy      neither from (request) nor to (reply) one of the host's own
              addresses or a --source, and no --respond allows it
  full        no free record: a larger --cap of `instamp ping` has more
  unwritable  the kernel had no memory to copy the packet

driver-tx, nic-tx and nic-rx are written into replies, besides the stamps of
the ingress hook. Why they are not:
  full        as above
  absent      driver-tx: nothing is known of the request, as of one that was
              answered already, or was evicted; nic-tx: the card had not told
              its time when the reply came; nic-rx: it told none
  mismatch    what was kept under the nonce is of another message; nic-tx: or
              the card that sent it is not the one that received the reply
Where tc-ingress counts besides xdp-ingress, the driver has not carried over
what the XDP program told. Where nic-rx is by xdp-metadata, replies that go to
the AF_XDP sockets of a prober are stamped there, and not counted here.

Requests that left, and whose times wait for their replies:
  kept        those whose time was kept
  in flight   of these, those that no reply has taken: lost ones, too
  evicted     of these, those whose room newer requests took
  repeated    not kept, as one of the same nonce was there: it was used twice,
              or the driver was busy and got the request again
  refused     not kept, as somebody else was at that place of the table
Of the kept ones, the card was asked for its time, told it, told it late, when
the reply had come, or has skipped it: some cards time one packet at once.

A reflector answers probes in the place of the stack. Of requests to this host
it has stamped the answer, or left the request to the stack:
  full         answered without stamps, as there were no free records for both
  not-allowed  its sender is in none of the networks that are allowed
  limited      its source had sent more than it may
  unfit        it takes more than to swap addresses: IP options, addresses of
               groups, packets in several buffers";

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let hooks = crate::hooks()?;
    let (attachments, reflectors) = (hooks.status()?, hooks.lone_reflectors()?);
    let mut out = io::stdout().lock();
    for attachment in &attachments {
        if options.json {
            json_lines::write(&mut out, &Device::of(attachment, &attachments))?;
        } else {
            write_text(&mut out, attachment, &attachments)?;
        }
    }
    for reflector in &reflectors {
        if options.json {
            json_lines::write(&mut out, &Unattached::from(reflector))?;
        } else {
            writeln!(out, "{}: not attached", reflector.device)?;
            write_reflector(&mut out, &reflector.reflecting)?;
        }
    }
    if attachments.is_empty() && reflectors.is_empty() && !options.json {
        writeln!(out, "nothing is attached in this network namespace")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_text(out: &mut impl io::Write, attachment: &Attachment, all: &[Attachment]) -> io::Result<()> {
    let site = attachment.site;
    let bound = Bound::from_exponent(site.bound).nanoseconds();
    let bound = bound.map_or_else(|| "unknown".to_owned(), |nanoseconds| format!("{nanoseconds} ns"));
    let for_containers = if attachment.for_containers { ", for containers" } else { "" };
    writeln!(out, "{}: point {}, node {}, bound {bound}{for_containers}", attachment.device, site.point, site.node)?;
    for hook in &attachment.hooks {
        let mechanism = hook.mechanism.map_or_else(|| "off".to_owned(), |mechanism| mechanism.to_string());
        write!(out, "  {:<11}  {mechanism:<12}  stamped {:<8}", hook.hook, hook.counters.stamped)?;
        let refused: Vec<_> = hook
            .counters
            .refused
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(refusal, count)| format!("{refusal} {count}"))
            .collect();
        if !refused.is_empty() {
            write!(out, "  not stamped: {}", refused.join(", "))?;
        }
        writeln!(out)?;
    }
    if let Some(sent) = &attachment.sent {
        write_sent(out, sent)?;
    }
    if let Some(reflecting) = &attachment.reflector {
        write_reflector(out, reflecting)?;
    }
    if let Some(of) = &attachment.container {
        let mut stages = vec![of.container.interface.clone()];
        let hooked = stages_of(of, attachment, all);
        stages.extend(hooked.map(|stage| format!("{} (point {})", stage.device, stage.site.point)));
        writeln!(out, "  {:<11}  {}: {}", "container", of.container, stages.join(" - "))?;
    }
    let Attachment { own, containers, sources, respond, .. } = attachment;
    write_prefixes(out, "own", own)?;
    write_prefixes(out, "containers", containers)?;
    write_prefixes(out, "source", sources)?;
    write_prefixes(out, "respond", respond)
}

/// Where a container's requests are stamped, in this order: at its veth, then at the uplink.
fn stages_of<'a>(
    of: &'a HookedContainer,
    veth: &'a Attachment,
    all: &'a [Attachment],
) -> impl Iterator<Item = &'a Attachment> {
    let uplink = all.iter().filter(|attachment| of.uplink.as_ref() == Some(&attachment.device));
    std::iter::once(veth).chain(uplink)
}

fn write_sent(out: &mut impl io::Write, sent: &SentCounts) -> io::Result<()> {
    let SentCounts { kept, in_flight, .. } = sent;
    write!(out, "  {:<11}  kept {kept}, in flight {in_flight}", "requests")?;
    for (count, name) in [(sent.repeated, "repeated"), (sent.evicted, "evicted"), (sent.refused, "refused")] {
        if count > 0 {
            write!(out, ", {name} {count}")?;
        }
    }
    writeln!(out)?;
    let SentCounts { nic_asked, nic_kept, nic_late, nic_skipped, .. } = sent;
    if *nic_asked > 0 {
        writeln!(out, "  {:<11}  asked {nic_asked}, told {nic_kept}, late {nic_late}, skipped {nic_skipped}", "card")?;
    }
    Ok(())
}

fn write_reflector(out: &mut impl io::Write, reflecting: &Reflecting) -> io::Result<()> {
    let Reflecting { holder, allow, clock, counts, .. } = reflecting;
    let Holder { process, command, .. } = holder;
    writeln!(out, "  {:<11}  process {process} ({command}), in {clock}: {}", "reflector", Counted(*counts))?;
    write_prefixes(out, "allow", allow)
}

fn write_prefixes<'a>(
    out: &mut impl io::Write,
    label: &str,
    prefixes: impl IntoIterator<Item = &'a Prefix>,
) -> io::Result<()> {
    let prefixes: Vec<_> = prefixes.into_iter().map(Prefix::to_string).collect();
    if !prefixes.is_empty() {
        writeln!(out, "  {label:<11}  {}", prefixes.join(", "))?;
    }
    Ok(())
}

fn has(held: Standing, standing: Standing) -> bool {
    held.bits() & standing.bits() != 0
}

#[derive(Serialize)]
struct Device {
    device: String,
    ifindex: u32,
    point: u8,
    node: u16,
    bound_ns: Option<u64>,
    own_clock: Option<&'static str>,
    respond_clock: Option<&'static str>,
    hooks: Vec<Hook>,
    /// `null` where the kernel does not tell when requests leave.
    sent: Option<Sent>,
    /// `null` where nobody answers probes in the place of the stack.
    reflector: Option<Reflector>,
    /// `null` where the device was not attached to for a container.
    container: Option<Container>,
    /// Whether it is an uplink that goes with the last container.
    for_containers: bool,
    policy: Vec<Network>,
}

#[derive(Serialize)]
struct Container {
    engine: String,
    id: String,
    name: String,
    /// The device in the container.
    interface: String,
    /// The devices of this host at which its probes are stamped, by the order of a request's way.
    stages: Vec<Stage>,
}

#[derive(Serialize)]
struct Stage {
    device: String,
    point: u8,
}

/// A device on which somebody reflects, and that is not attached.
#[derive(Serialize)]
struct Unattached {
    device: String,
    ifindex: u32,
    /// None.
    hooks: [Hook; 0],
    reflector: Reflector,
}

impl From<&LoneReflector> for Unattached {
    fn from(lone: &LoneReflector) -> Self {
        let LoneReflector { device, ifindex, reflecting, .. } = lone;
        Self { device: device.clone(), ifindex: *ifindex, hooks: [], reflector: reflecting.into() }
    }
}

#[derive(Serialize)]
struct Reflector {
    process: u32,
    command: String,
    clock: Option<&'static str>,
    allow: Vec<String>,
    stamped: u64,
    full: u64,
    not_allowed: u64,
    limited: u64,
    unfit: u64,
}

impl From<&Reflecting> for Reflector {
    fn from(reflecting: &Reflecting) -> Self {
        let ReflectCounts { stamped, full, not_allowed, limited, unfit, .. } = reflecting.counts;
        Self {
            process: reflecting.holder.process,
            command: reflecting.holder.command.clone(),
            clock: reflecting.clock.name(),
            allow: reflecting.allow.iter().map(Prefix::to_string).collect(),
            stamped,
            full,
            not_allowed,
            limited,
            unfit,
        }
    }
}

#[derive(Serialize)]
struct Sent {
    kept: u64,
    repeated: u64,
    refused: u64,
    in_flight: u64,
    evicted: u64,
    nic_asked: u64,
    nic_kept: u64,
    nic_late: u64,
    nic_skipped: u64,
}

impl From<SentCounts> for Sent {
    fn from(counts: SentCounts) -> Self {
        Self {
            kept: counts.kept,
            repeated: counts.repeated,
            refused: counts.refused,
            in_flight: counts.in_flight,
            evicted: counts.evicted,
            nic_asked: counts.nic_asked,
            nic_kept: counts.nic_kept,
            nic_late: counts.nic_late,
            nic_skipped: counts.nic_skipped,
        }
    }
}

#[derive(Serialize)]
struct Hook {
    hook: String,
    /// How it is attached; `null` where somebody has taken it off.
    mechanism: Option<String>,
    link_id: Option<u32>,
    stamped: u64,
    refused: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Network {
    prefix: String,
    own: bool,
    respond: bool,
}

impl Device {
    fn of(attachment: &Attachment, all: &[Attachment]) -> Self {
        let site = attachment.site;
        let hooks = attachment.hooks.iter().map(|hook| Hook {
            hook: hook.hook.to_string(),
            mechanism: hook.mechanism.map(|mechanism| mechanism.to_string()),
            link_id: hook.link_id,
            stamped: hook.counters.stamped,
            refused: hook.counters.refused.iter().map(|(refusal, count)| (refusal.name(), *count)).collect(),
        });
        Self {
            device: attachment.device.clone(),
            ifindex: attachment.ifindex,
            point: site.point,
            node: site.node,
            bound_ns: Bound::from_exponent(site.bound).nanoseconds(),
            own_clock: Clock::from_number(site.own_clock).name(),
            respond_clock: Clock::from_number(site.respond_clock).name(),
            hooks: hooks.collect(),
            sent: attachment.sent.map(Sent::from),
            reflector: attachment.reflector.as_ref().map(Reflector::from),
            container: attachment.container.as_ref().map(|of| Container {
                engine: of.container.engine.clone(),
                id: of.container.id.clone(),
                name: of.container.name.clone(),
                interface: of.container.interface.clone(),
                stages: stages_of(of, attachment, all)
                    .map(|stage| Stage { device: stage.device.clone(), point: stage.site.point })
                    .collect(),
            }),
            for_containers: attachment.for_containers,
            policy: attachment.policy.iter().map(Network::from).collect(),
        }
    }
}

impl From<(&Prefix, &Standing)> for Network {
    fn from((prefix, standing): (&Prefix, &Standing)) -> Self {
        Self {
            prefix: prefix.to_string(),
            own: has(*standing, Standing::OWN),
            respond: has(*standing, Standing::RESPOND),
        }
    }
}
