//! The same, with what becomes known of a request only after it has left, and with the card's receive time.

use std::{collections::HashMap, net::IpAddr};

use hwtstamp::{Monotonic, SystemClock as _};
use instamp_clockmap::{Model, State};
use instamp_hooks::Objects;
use instamp_trailer::{
    Allowed, Hook, Passage, Refusal, RunKey, Sent, SentKey, Site, is_steered, locate, stamp, stamp_nic_rx,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::{Twin, keeps_sum, lengths, next_record, passed, policy, with_policy};
use crate::{
    packets::{Generator, PROBER4, PROBER6, TARGET4, TARGET6},
    programs::{Loaded, site},
};

/// A program that may meet replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LateProgram {
    /// `tc_egress`: replies on their way to a container, which get no late stamps.
    Egress,
    /// `xdp_ingress`.
    Xdp,
    /// `xdp_steer`, which stamps steered replies alone, and counts nothing else.
    Steer,
    /// `tc_ingress`.
    Tc,
    /// `tc_ingress_handed`, to which nothing was handed: it takes the card's time from the socket buffer.
    Handed,
    /// `tc_ingress_nic_rx`, which adds the card's time to what another has stamped.
    NicRx,
}

impl LateProgram {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Egress, Self::Xdp, Self::Steer, Self::Tc, Self::Handed, Self::NicRx];

    /// The hook whose stamp it writes first.
    pub const fn hook(self) -> Hook {
        match self {
            Self::Egress => Hook::TC_EGRESS,
            Self::Xdp | Self::Steer => Hook::XDP_INGRESS,
            Self::Tc | Self::Handed => Hook::TC_INGRESS,
            Self::NicRx => Hook::NIC_RX,
        }
    }

    /// Its name in the object.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Egress => "tc_egress",
            Self::Xdp => "xdp_ingress",
            Self::Steer => "xdp_steer",
            Self::Tc => "tc_ingress",
            Self::Handed => "tc_ingress_handed",
            Self::NicRx => "tc_ingress_nic_rx",
        }
    }

    /// Whether some replies are steered. In this test none has a socket to go to.
    const fn steers(self) -> bool {
        matches!(self, Self::Xdp | Self::Steer)
    }

    const fn reads_nic_rx(self) -> bool {
        matches!(self, Self::Handed | Self::NicRx)
    }

    /// What of late stamps can happen here. `Unwritable` cannot: these packets can be written to.
    fn is_possible(self, hook: Hook, outcome: Result<(), Refusal>) -> bool {
        match (self, hook) {
            (Self::NicRx, Hook::NIC_RX) => !matches!(outcome, Err(Refusal::Unwritable | Refusal::Mismatch)),
            (Self::Handed, Hook::NIC_RX) => matches!(outcome, Ok(()) | Err(Refusal::Full | Refusal::Absent)),
            (Self::Xdp | Self::Tc | Self::Handed, Hook::DRIVER_TX | Hook::NIC_TX) => {
                matches!(outcome, Ok(()) | Err(Refusal::Full | Refusal::Absent | Refusal::Mismatch))
            }
            _ => false,
        }
    }
}

/// A time of the card, and the system's time then.
const DEVICE_NS: u64 = 1_700_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// The run whose replies are steered.
fn run() -> RunKey {
    RunKey::new(0x00c0_ffee).expect("a key")
}

/// A model of the card's clock around this time.
fn model(now_ns: u64) -> Model {
    Model {
        state: State::LOCKED,
        device_ref_ns: DEVICE_NS,
        system_ref_ns: now_ns,
        rate: 687_195,
        error_ns: 150,
        growth: 687,
        valid_from_ns: DEVICE_NS - 10 * SECOND,
        valid_until_ns: DEVICE_NS + 3_600 * SECOND,
        void_after_ns: now_ns + 3_600 * SECOND,
        ..Model::NONE
    }
}

fn now_ns() -> u64 {
    Monotonic::now().as_ns().cast_unsigned()
}

/// Compares a program with the native routine, as [`compare`](super::compare()) does, on hosts that know of some of the
/// requests after they have left, and with models of the card's clock: none, a valid one, and one that is stale.
///
/// # Panics
///
/// They differ, or something that can become of a late stamp became of none.
pub fn compare_late(origin: &str, objects: &Objects, program: LateProgram, packets: usize, seed: u64) {
    let hook = program.hook();
    let mut loaded = with_policy(Loaded::named(objects, hook, program.name()));
    if program.steers() {
        loaded.set_run(0, run());
    }
    // What is never converted needs no model.
    let mut writer = (program != LateProgram::Steer).then(|| loaded.clock_writer());
    let mut comparison = Comparison::new(program, seed);
    let valid = model(now_ns());
    let models = [None, Some(valid), Some(Model { void_after_ns: valid.system_ref_ns - SECOND, ..valid })];
    for model in models {
        if let (Some(model), Some(writer)) = (model, &mut writer) {
            writer.publish(&model).expect("well formed");
        }
        comparison.twin.model.set(model.unwrap_or(Model::NONE));
        // The uplink has a rule of its own.
        for point in [0, site().point] {
            comparison.twin.site = Site { point, keeps_sent: 1, namespace: NAMESPACE, phc: PHC, ..site() };
            loaded.set_site(comparison.twin.site);
            for _ in 0..packets / 6 {
                comparison.one_packet(&mut loaded);
            }
        }
    }
    let conversions = comparison.twin.conversions.get();
    let converts = !matches!(program, LateProgram::Egress | LateProgram::Steer);
    assert!(conversions.iter().all(|count| (*count > 0) == converts), "{origin}: converted, and not: {conversions:?}");
    let counts = comparison.twin.counts.take();
    for hook in [hook, Hook::DRIVER_TX, Hook::NIC_TX, Hook::NIC_RX] {
        for (outcome, count) in loaded.counts_of(hook) {
            let context = format!("{origin}, {}: {hook} {outcome:?}", program.name());
            assert_eq!(counts.get(&(hook, outcome)).copied().unwrap_or(0), count, "{context}");
            if hook != program.hook() || program == LateProgram::NicRx {
                assert_eq!(count > 0, program.is_possible(hook, outcome), "{context}: {count}");
            }
        }
    }
}

const NAMESPACE: u32 = 4_026_531_840;
/// The clock of the hosts' card.
const PHC: u32 = 1;
/// The hosts' own.
const PROBERS: [IpAddr; 2] = [PROBER4, PROBER6];

struct Comparison {
    program: LateProgram,
    twin: Twin,
    generator: Generator<SmallRng>,
    random: SmallRng,
}

impl Comparison {
    fn new(program: LateProgram, seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut addresses: Vec<_> = policy().into_iter().map(|(address, _)| address).collect();
        addresses.extend([TARGET4, TARGET6]);
        let lengths = lengths(program.hook());
        let run = program.steers().then(run);
        let generator = Generator { random: SmallRng::from_rng(&mut random), addresses, lengths, run };
        Self { program, twin: Twin::new(site()), generator, random }
    }

    /// Runs both on a packet, and compares what they make of it.
    fn one_packet(&mut self, loaded: &mut Loaded) {
        let frame = if self.random.random_bool(0.7) { self.generator.reply(&PROBERS) } else { self.generator.frame() };
        let known = self.requests(&frame);
        let mut table = loaded.in_flight();
        for (key, sent) in &known {
            table.keep(*key, *sent);
        }
        let keys: Vec<SentKey> = known.keys().copied().collect();
        self.twin.sent.borrow_mut().extend(known);
        let nic_rx_ns = if self.program.reads_nic_rx() { self.card_ns() } else { 0 };

        let behind = passed(loaded, &frame, nic_rx_ns);
        self.twin.time_ns.set(next_record(&frame, &behind).map_or(0, |record| record.time_ns()));
        self.twin.now_ns.set(now_ns());
        let mut native = frame.clone();
        let outcome = self.native(&mut native, nic_rx_ns);
        assert_eq!(native, behind, "{} on {frame:02x?}: {outcome:?}", self.program.name());
        keeps_sum(&frame, &behind);
        let left = loaded.in_flight().take(keys.into_iter());
        assert_eq!(left, self.twin.sent.take(), "{}: what is still in flight", self.program.name());
    }

    /// What the native routine makes of it.
    fn native(&self, frame: &mut Vec<u8>, nic_rx_ns: u64) -> Result<(), Refusal> {
        let hook = self.program.hook();
        // The kernel's addresses, which some drivers have in the place of a time, are negative.
        let nic_rx_ns = if nic_rx_ns.cast_signed() < 0 { 0 } else { nic_rx_ns };
        let outcome = match self.program {
            LateProgram::NicRx => stamp_nic_rx(frame.as_mut_slice(), &self.twin, nic_rx_ns),
            LateProgram::Xdp => self.native_steering(frame),
            LateProgram::Steer => match self.native_steered(frame) {
                Some(outcome) => outcome,
                None => return Ok(()),
            },
            LateProgram::Egress | LateProgram::Tc | LateProgram::Handed => {
                let nic_rx_ns = self.program.reads_nic_rx().then_some(nic_rx_ns);
                stamp(frame.as_mut_slice(), &self.twin, Passage { nic_rx_ns, ..hook.into() })
            }
        };
        *self.twin.counts.borrow_mut().entry((hook, outcome)).or_default() += 1;
        outcome
    }

    /// Where steered replies look for no request.
    fn native_steering(&self, frame: &mut [u8]) -> Result<(), Refusal> {
        let probe = locate(frame)?;
        let allowed = Allowed::by(frame, &self.twin, &probe, Hook::XDP_INGRESS)?;
        let is_steered = |frame: &[u8]| is_steered(frame, &probe, run());
        allowed.stamp_and_steer(frame, &self.twin, Hook::XDP_INGRESS, is_steered).0
    }

    /// Where all others are passed.
    fn native_steered(&self, frame: &mut [u8]) -> Option<Result<(), Refusal>> {
        let probe = locate(frame).ok().filter(|probe| is_steered(frame, probe, run()))?;
        let allowed = Allowed::by(frame, &self.twin, &probe, Hook::XDP_INGRESS).ok().filter(Allowed::is_own)?;
        Some(allowed.stamp_and_steer(frame, &self.twin, Hook::XDP_INGRESS, |_| true).0)
    }

    /// Requests that have left, to some of which this frame may be the reply.
    fn requests(&mut self, frame: &[u8]) -> HashMap<SentKey, Sent> {
        let Ok(probe) = locate(frame) else { return HashMap::new() };
        let bytes = |offset: u32| &frame[usize::try_from(offset).expect("in the frame")..];
        let nonce = *bytes(probe.footer_offset).first_chunk().expect("a footer");
        let echo = *bytes(probe.message_offset + 4).first_chunk().expect("a header");
        let key = SentKey { nonce, namespace: NAMESPACE, point: self.twin.site.point.into() };
        let elsewhere = [
            SentKey { namespace: NAMESPACE + 1, ..key },
            SentKey { point: key.point ^ 1, ..key },
            SentKey { nonce: key.nonce.map(|byte| byte ^ 1), ..key },
        ];
        let mut known = HashMap::new();
        if self.random.random_bool(0.8) {
            known.insert(key, self.sent(echo));
        }
        for key in elsewhere {
            if self.random.random_bool(0.05) {
                known.insert(key, self.sent(echo));
            }
        }
        known
    }

    fn sent(&mut self, mut echo: [u8; 4]) -> Sent {
        if self.random.random_bool(0.1) {
            echo[self.random.random_range(0..4_usize)] ^= 1 << self.random.random_range(0..8);
        }
        Sent {
            driver_tx_ns: self.random.random(),
            nic_tx_ns: self.card_ns(),
            echo,
            phc: PHC + u32::from(self.random.random_bool(0.1)),
            nic_tx_asked: self.random.random_bool(0.5).into(),
            device: 0,
        }
    }

    /// A time of the card: none, one that the model holds for, one that has not come yet or lies far from it, or any.
    fn card_ns(&mut self) -> u64 {
        match self.random.random_range(0..8) {
            0 | 1 => 0,
            2 => self.random.random(),
            3 => DEVICE_NS + 1_000 * SECOND,
            4 => DEVICE_NS - 100 * SECOND,
            _ => DEVICE_NS - self.random.random_range(0..9 * SECOND),
        }
    }
}
