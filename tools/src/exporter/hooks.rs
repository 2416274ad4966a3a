//! What the hooks of this network namespace have counted: `instamp status` as metrics.

use std::{
    fmt,
    sync::{
        Mutex,
        mpsc::{self, Receiver, RecvTimeoutError, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use instamp_hooks::{Attachment, HookState, LoneReflector, ReflectCounts, Reflecting, SentCounts};
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::{
    problem::Problem,
    read::{counters, gauges},
};

/// What a scrape waits for another command that has locked the pins: less than Prometheus waits for the scrape.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads them at each scrape.
#[derive(Debug, Default)]
pub(super) struct Hooks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    problem: Problem,
    /// A reading that a scrape did not wait for to the end.
    pending: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    /// Later scrapes wait no longer than the first, or they would wait one after another.
    until: Instant,
    found: Receiver<anyhow::Result<Found>>,
}

type Found = (Vec<Attachment>, Vec<LoneReflector>);

impl Collector for Hooks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let mut state = self.0.lock().map_err(|_| fmt::Error)?;
        let found = state.read();
        let found = state.problem.note("no counters of hooks", found);
        drop(state);
        let help = "Whether the counters of hooks can be read: the metrics of hooks are absent where they cannot";
        gauges(encoder, "hooks_readable", help, None, [(NO_LABELS, i64::from(found.is_some()))])?;
        let Some((attachments, reflectors)) = found else { return Ok(()) };
        write_hooks(encoder, &attachments)?;
        write_sent(encoder, &attachments)?;
        write_reflectors(encoder, &attachments, &reflectors)
    }
}

const NO_LABELS: [(&str, &str); 0] = [];

impl State {
    /// One reading is under way at a time. What has come when nobody was waiting any more is out of date.
    fn read(&mut self) -> anyhow::Result<Found> {
        let under_way =
            self.pending.take().filter(|pending| matches!(pending.found.try_recv(), Err(TryRecvError::Empty)));
        let reading = match under_way {
            Some(reading) => reading,
            None => start().context("cannot start a thread")?,
        };
        match reading.found.recv_timeout(reading.until.saturating_duration_since(Instant::now())) {
            Ok(found) => found,
            Err(RecvTimeoutError::Disconnected) => Err(anyhow!("a panic")),
            Err(RecvTimeoutError::Timeout) => {
                self.pending = Some(reading);
                bail!("another command has them locked for more than {} s", PATIENCE.as_secs())
            }
        }
    }
}

/// Whatever waits for the lock is no scrape.
fn start() -> std::io::Result<Reading> {
    let (sender, found) = mpsc::channel();
    thread::Builder::new().name("hooks".into()).spawn(move || _ = sender.send(read()))?;
    Ok(Reading { until: Instant::now() + PATIENCE, found })
}

fn read() -> anyhow::Result<Found> {
    let hooks = crate::hooks()?;
    Ok((hooks.status()?, hooks.lone_reflectors()?))
}

fn write_hooks(encoder: &mut DescriptorEncoder<'_>, attachments: &[Attachment]) -> fmt::Result {
    let hooks =
        || attachments.iter().flat_map(|attachment| attachment.hooks.iter().map(move |hook| (attachment, hook)));
    let labels = |attachment: &Attachment, hook: &HookState| {
        [("device", attachment.device.clone()), ("hook", hook.hook.to_string())]
    };
    let attached = hooks().map(|(of, hook)| (labels(of, hook), i64::from(hook.mechanism.is_some())));
    gauges(encoder, "hook_attached", "0 where somebody has taken the hook off its device", None, attached)?;
    let stamped = hooks().map(|(of, hook)| (labels(of, hook), hook.counters.stamped));
    counters(encoder, "hook_stamped", "Probes that the hook has stamped", stamped)?;
    let refused = hooks().flat_map(|(of, hook)| {
        let reasons = hook.counters.refused.iter();
        reasons.map(move |(refusal, count)| ((labels(of, hook), [("reason", refusal.name())]), *count))
    });
    counters(encoder, "hook_refused", "Packets that the hook has not stamped, and why", refused)
}

type Count = fn(&SentCounts) -> u64;

/// What became of requests whose times wait for their replies.
fn write_sent(encoder: &mut DescriptorEncoder<'_>, attachments: &[Attachment]) -> fmt::Result {
    let of_each = |value: Count| {
        attachments.iter().filter_map(move |of| Some(([("device", of.device.clone())], value(of.sent.as_ref()?))))
    };
    let all: [(_, _, Count); _] = [
        ("requests_kept", "Requests whose times of leaving were kept for their replies", |sent| sent.kept),
        ("requests_repeated", "Requests not kept, as one of the same nonce was there", |sent| sent.repeated),
        ("requests_refused", "Requests not kept, as somebody else was at that place of the table", |sent| sent.refused),
        ("requests_evicted", "Of the kept ones, those whose room newer ones took", |sent| sent.evicted),
        ("nic_tx_asked", "Kept requests for whose time the network card was asked", |sent| sent.nic_asked),
        ("nic_tx_kept", "Those whose time the card told before their replies came", |sent| sent.nic_kept),
        ("nic_tx_late", "Those whose time the card told later", |sent| sent.nic_late),
    ];
    for (name, help, value) in all {
        counters(encoder, name, help, of_each(value))?;
    }
    let help = "Kept requests that no reply and no newer request has taken: lost ones, too";
    gauges(encoder, "requests_in_flight", help, None, of_each(|sent| sent.in_flight))?;
    let help = "Requests whose time the card seems to have skipped: an estimate, which can fall";
    gauges(encoder, "nic_tx_skipped", help, None, of_each(|sent| sent.nic_skipped))
}

fn write_reflectors(
    encoder: &mut DescriptorEncoder<'_>,
    attachments: &[Attachment],
    reflectors: &[LoneReflector],
) -> fmt::Result {
    let attached = attachments.iter().filter_map(|of| Some((&of.device, of.reflector.as_ref()?)));
    let all = attached.chain(reflectors.iter().map(|lone| (&lone.device, &lone.reflecting)));
    let samples = all.flat_map(|(device, Reflecting { counts, .. })| {
        let ReflectCounts { stamped, full, not_allowed, limited, unfit, .. } = *counts;
        let outcomes = [
            ("stamped", stamped),
            ("full", full),
            ("not-allowed", not_allowed),
            ("limited", limited),
            ("unfit", unfit),
        ];
        outcomes.map(|(outcome, count)| ([("device", device.as_str()), ("outcome", outcome)], count))
    });
    counters(encoder, "reflector_requests", "Requests to a reflector, by what became of them", samples)
}
