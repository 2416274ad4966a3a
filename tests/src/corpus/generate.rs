//! Replies from a generator: what hosts write, what they might write, and what nobody should.

use std::ops::RangeInclusive;

use instamp_trailer::{Bound, Clock, Hook, Phase, Record};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use zerocopy::IntoBytes as _;

use super::Reply;

/// Each run of the tests has the same corpus.
const SEED: u64 = 0x1570_11a3;

/// Both prober and far end in the way of writing of hosts: most replies are corrected.
const GENUINE: usize = 4_500;
/// Records with few nodes and likely times in any order: every reason not to correct.
const LIKELY: usize = 3_500;
/// Times at the borders between two answers.
const BORDER: usize = 1_500;
/// Any bytes in the records.
const ARBITRARY: usize = 500;
/// A genuine reply that something happened to, or no reply at all.
const HOSTILE: usize = 2_500;

/// The replies of the generator.
pub fn generated() -> Vec<Reply> {
    let mut random = StdRng::seed_from_u64(SEED);
    type Make = fn(&mut StdRng) -> Reply;
    let kinds: [(usize, Make); 5] =
        [(GENUINE, genuine), (LIKELY, likely), (BORDER, border), (ARBITRARY, arbitrary), (HOSTILE, hostile)];
    kinds.into_iter().flat_map(|(count, make)| std::iter::repeat_n(make, count)).map(|make| make(&mut random)).collect()
}

/// A reply of these records, with a payload before the trailer or none, and free records behind them while there is room.
fn reply(random: &mut StdRng, records: &[Record], sent_ns: u64, received_ns: u64) -> Reply {
    let wanted = records.len().clamp(2, 15);
    // Now and then a trailer that is too small for them.
    let least = if random.random_bool(0.1) { 2 } else { wanted };
    let cap = random.random_range(least..=15);
    let used = records.len().min(cap);
    let is_full = used < records.len() || random.random_bool(0.02);
    let application = *[0, 0, 0, 2, 4, 8, 56, 130, 1_200].choose(random).expect("a length");
    let mut payload = vec![0; application + (cap - used) * size_of::<Record>()];
    // Free records are as the prober left them. That they mean nothing is seen where they are something.
    let filled = if random.random_bool(0.9) { application } else { payload.len() };
    random.fill(&mut payload[..filled]);
    payload.splice(application..application, records[..used].as_bytes().iter().copied());
    let nonce = random.random::<u64>();
    payload.extend(nonce.to_be_bytes());
    payload.extend(random.random::<[u8; 2]>());
    payload.push(u8::try_from(used << 4 | cap).expect("two numbers of four bits"));
    payload.push(u8::from(is_full));
    payload.extend(*b"IST\x01");
    Reply { nonce, sent_ns, received_ns, payload }
}

/// Where and by which clock a stamp is taken.
#[derive(Clone, Copy)]
struct Stamp {
    phase: Phase,
    point: u8,
    hook: Hook,
    node: u16,
    clock: Clock,
    bound: Bound,
}

impl Stamp {
    fn at(self, time_ns: u64) -> Record {
        Record::new(self.phase, self.point, self.hook, self.node, self.clock, self.bound, time_ns)
    }
}

/// A time that goes on by up to so many nanoseconds with each step.
struct Passing<'a>(&'a mut StdRng, u64);

impl Passing<'_> {
    fn pass(&mut self, most_ns: u64) -> u64 {
        self.1 = self.1.saturating_add(self.0.random_range(0..=most_ns));
        self.1
    }
}

fn bound(random: &mut StdRng) -> Bound {
    if random.random_bool(0.1) { Bound::UNKNOWN } else { Bound::from_exponent(random.random_range(0..=16)) }
}

/// The card of a host: how its own stamps come to be.
struct Card {
    clock: Clock,
    bound: Bound,
    /// What its clock is ahead of the host's, for one that nobody converts.
    ahead_ns: u64,
}

impl Card {
    fn random(random: &mut StdRng) -> Self {
        if random.random_bool(0.6) {
            let bound = Bound::from_exponent(random.random_range(3..=14));
            Self { clock: Clock::MONOTONIC, bound, ahead_ns: 0 }
        } else {
            Self { clock: Clock::PHC, bound: Bound::UNKNOWN, ahead_ns: random.random_range(0..1 << 60) }
        }
    }

    /// What it says at a time of the host's clock: a conversion is wrong by up to its bound.
    fn reads(&self, random: &mut StdRng, time_ns: u64) -> u64 {
        let wrong_ns = self.bound.nanoseconds().unwrap_or(0);
        let late_ns = random.random_range(0..=2 * wrong_ns);
        time_ns.saturating_add(self.ahead_ns).saturating_add(late_ns).saturating_sub(wrong_ns)
    }
}

/// The node that a probe passes, out and in.
struct Local {
    node: u16,
    bound: Bound,
    container: Option<u8>,
    uplink: u8,
    card: Card,
}

impl Local {
    fn stamp(&self, phase: Phase, point: u8, hook: Hook) -> Stamp {
        Stamp { phase, point, hook, node: self.node, clock: Clock::MONOTONIC, bound: self.bound }
    }

    fn card_stamp(&self, phase: Phase, hook: Hook) -> Stamp {
        let Card { clock, bound, .. } = self.card;
        Stamp { clock, bound, ..self.stamp(phase, self.uplink, hook) }
    }
}

/// What hosts make of a probe, in the order in which they write it.
fn genuine(random: &mut StdRng) -> Reply {
    // Ends of what 64 bits, signed or not, can hold; else somewhere in the first twelve days of a host.
    let start = *[0, i64::MAX.cast_unsigned() - 300_000, u64::MAX - 10_000_000].choose(random).expect("a time");
    let sent_ns = if random.random_bool(0.06) { start } else { random.random_range(1_000_000..1 << 50) };
    let local = Local {
        node: random.random(),
        bound: bound(random),
        container: random.random_bool(0.4).then(|| random.random_range(1..8)),
        uplink: if random.random_bool(0.8) { 0 } else { random.random_range(0..8) },
        card: Card::random(random),
    };
    let (out, back) = (random.random_bool(0.96), random.random_bool(0.96));
    let way_out = *[Hook::TC_EGRESS, Hook::TC_EGRESS, Hook::XDP_TX, Hook::APP_TX].choose(random).expect("a hook");
    let way_in = *[Hook::XDP_INGRESS, Hook::TC_INGRESS].choose(random).expect("a hook");
    let [driver_tx, nic_tx, nic_rx] = [0.5, 0.3, 0.3].map(|share| random.random_bool(share));

    let mut now = Passing(random, sent_ns);
    let (mut records, mut late) = (Vec::new(), Vec::new());
    if let Some(point) = local.container {
        records.push(local.stamp(Phase::Request, point, Hook::TC_INGRESS).at(now.pass(20_000)));
    }
    if out {
        records.push(local.stamp(Phase::Request, local.uplink, way_out).at(now.pass(50_000)));
    }
    if driver_tx {
        late.push(local.stamp(Phase::Request, local.uplink, Hook::DRIVER_TX).at(now.pass(3_000)));
    }
    if nic_tx {
        let left_ns = now.pass(2_000);
        late.push(local.card_stamp(Phase::Request, Hook::NIC_TX).at(local.card.reads(now.0, left_ns)));
    }
    now.pass(30_000);
    far_ends(&mut now, local.node, &mut records);
    let arrived_ns = now.pass(30_000);
    if back {
        records.push(local.stamp(Phase::Reply, local.uplink, way_in).at(now.pass(3_000)));
        records.append(&mut late);
    }
    if nic_rx {
        let time_ns = local.card.reads(now.0, arrived_ns);
        records.push(local.card_stamp(Phase::Reply, Hook::NIC_RX).at(time_ns));
    }
    if let Some(point) = local.container {
        records.push(local.stamp(Phase::Reply, point, Hook::TC_EGRESS).at(now.pass(20_000)));
    }
    let received_ns = now.pass(50_000);
    reply(random, &records, sent_ns, received_ns)
}

/// None, one or several remote nodes on the way, the outermost stamping first and last.
fn far_ends(now: &mut Passing<'_>, local: u16, records: &mut Vec<Record>) {
    let count = now.0.random_range(0..6_usize).saturating_sub(2);
    let mut departures = Vec::new();
    for number in 0..u16::try_from(count).expect("few") {
        let random = &mut *now.0;
        let node = local.wrapping_add(1 + number);
        let clock = *[Clock::TAI, Clock::TAI, Clock::MONOTONIC, Clock::PHC].choose(random).expect("a clock");
        // One host has one clock, unless something is wrong with it.
        let other = if random.random_bool(0.9) { clock } else { Clock::from_number(random.random_range(0..8)) };
        let bound = bound(random);
        let point = random.random_range(0..3);
        let stamp = |phase, hook, clock| Stamp { phase, point, hook, node, clock, bound };
        let ahead_ns = random.random_range(0..1 << 61);
        let departs = random.random_bool(0.9).then(|| stamp(Phase::Reply, Hook::TC_EGRESS, other));
        let arrives = random.random_bool(0.9).then(|| stamp(Phase::Request, Hook::XDP_INGRESS, clock));
        if let Some(stamp) = arrives {
            records.push(stamp.at(now.pass(5_000).saturating_add(ahead_ns)));
        }
        departures.extend(departs.map(|stamp| (stamp, ahead_ns)));
    }
    while let Some((stamp, ahead_ns)) = departures.pop() {
        records.push(stamp.at(now.pass(5_000).saturating_add(ahead_ns)));
    }
}

/// When the application sent and received what [`likely`] makes.
const WINDOW: RangeInclusive<u64> = 1_000_000..=1_200_000;

fn likely(random: &mut StdRng) -> Reply {
    let most = *[2, 4, 6, 15].choose(random).expect("a count");
    let count = random.random_range(0..=most);
    let strange = *[0.0, 0.05, 0.4].choose(random).expect("a share");
    let mut records: Vec<Record> = (0..count).map(|_| likely_record(random, strange)).collect();
    if random.random_bool(0.8) {
        records.sort_by_key(|record| match (record.phase(), record.node()) {
            (Phase::Request, 7) => 0,
            (Phase::Request, _) => 1,
            (Phase::Reply, 7) => 3,
            (Phase::Reply, _) => 2,
        });
    }
    let edges = [0, 1, 1 << 31, i64::MAX.cast_unsigned(), 1 << 63, u64::MAX - 1, u64::MAX];
    let (sent_ns, received_ns) = match random.random_range(0..12) {
        0 => (0, u64::MAX),
        1 => (*edges.choose(random).expect("an edge"), *edges.choose(random).expect("an edge")),
        2 => (*WINDOW.end(), *WINDOW.start()),
        _ => (*WINDOW.start(), *WINDOW.end()),
    };
    reply(random, &records, sent_ns, received_ns)
}

/// A record that comes far; this share of them is strange in some way.
fn likely_record(random: &mut StdRng, strange: f64) -> Record {
    let is_strange = |random: &mut StdRng| random.random_bool(strange);
    let edges = [0, 1, *WINDOW.start() - 1, *WINDOW.end() + 1, 1 << 62, i64::MAX.cast_unsigned(), 1 << 63, u64::MAX];
    let time_ns = if is_strange(random) { *edges.choose(random).expect("a time") } else { random.random_range(WINDOW) };
    let clock = if is_strange(random) { Clock::from_number(random.random_range(0..8)) } else { Clock::MONOTONIC };
    let phase = if random.random() { Phase::Request } else { Phase::Reply };
    let bound = Bound::from_exponent(random.random_range(0..32));
    let record = Record::new(phase, random.random_range(0..2), Hook::TC_EGRESS, 7, clock, bound, time_ns);
    let mut bytes: [u8; size_of::<Record>()] = zerocopy::transmute!(record);
    let hook = if is_strange(random) { random.random_range(0..16) } else { random.random_range(1..=8) };
    bytes[0] = bytes[0] & 0xf0 | hook;
    // Few late stamps are of a remote: it would have to be one that does what it must not.
    let is_late = matches!((phase, hook), (Phase::Request, 4 | 5));
    bytes[3] = if is_late && !is_strange(random) { 7 } else { random.random_range(7..9) };
    zerocopy::transmute!(bytes)
}

/// The first time that a signed number cannot hold.
const EDGE: u64 = 1 << 63;

/// A time, or one a nanosecond beside it.
fn beside(random: &mut StdRng, time_ns: u64) -> u64 {
    time_ns.saturating_add(random.random_range(0..3)).saturating_sub(1)
}

/// A prober's two stamps and its card's, of which one lies at a border or a nanosecond beside it.
fn border(random: &mut StdRng) -> Reply {
    let sent_ns = random.random_range(1 << 33..1 << 40);
    let rtt_ns =
        if random.random_bool(0.1) { beside(random, EDGE - 1) } else { random.random_range(1_000..10_000_000) };
    let received_ns = sent_ns + rtt_ns;
    let within = |random: &mut StdRng| random.random_range(sent_ns..=received_ns);
    let bound = Bound::from_exponent(random.random_range(0..=31));
    let slack_ns = bound.nanoseconds().unwrap_or(0);
    let clock =
        *[Clock::MONOTONIC, Clock::MONOTONIC, Clock::PHC, Clock::from_number(5)].choose(random).expect("a clock");
    let stamp = |phase, hook, clock| Stamp { phase, point: 0, hook, node: 7, clock, bound };
    let sent = stamp(Phase::Request, Hook::TC_EGRESS, Clock::MONOTONIC);
    let received = stamp(Phase::Reply, Hook::XDP_INGRESS, Clock::MONOTONIC);
    let (nic_tx, nic_rx) = (stamp(Phase::Request, Hook::NIC_TX, clock), stamp(Phase::Reply, Hook::NIC_RX, clock));

    let mut times = [within(random), within(random), within(random), within(random)];
    match random.random_range(0..6) {
        0 => times[0] = beside(random, sent_ns),
        1 => times[1] = beside(random, received_ns),
        2 => times[2] = beside(random, sent_ns.saturating_sub(slack_ns)),
        3 => times[3] = beside(random, received_ns + slack_ns),
        // The pair's time: as long as can be, or as negative.
        4 => {
            times[2] = sent_ns.saturating_sub(slack_ns);
            times[3] = beside(random, times[2] + rtt_ns + rtt_ns / 1024 + 2 * slack_ns);
        }
        _ => {
            times[2] = received_ns + slack_ns;
            times[3] = beside(random, times[2].saturating_sub(2 * slack_ns));
        }
    }
    let mut records = vec![sent.at(times[0]), received.at(times[1])];
    if random.random_bool(0.8) {
        records.extend([nic_tx.at(times[2]), nic_rx.at(times[3])]);
        // A second card, whose times fit.
        if random.random_bool(0.3) {
            let second = |stamp: Stamp| Stamp { point: 1, ..stamp };
            records.extend([second(nic_tx).at(within(random)), second(nic_rx).at(received_ns)]);
        }
    }
    // The same times with another bound, point and hook: which of them counts shows.
    if random.random_bool(0.3) {
        let twin =
            |phase, hook| Stamp { bound: Bound::from_exponent(3), point: 1, ..stamp(phase, hook, Clock::MONOTONIC) };
        records.insert(random.random_range(0..=1), twin(Phase::Request, Hook::XDP_TX).at(times[0]));
        records.push(twin(Phase::Reply, Hook::TC_INGRESS).at(times[1]));
    }
    if random.random_bool(0.3) {
        far_end_at_border(random, times[1].abs_diff(times[0]), &mut records);
    }
    reply(random, &records, sent_ns, received_ns)
}

/// The far end's share is as large as the time between the local stamps, or as what 64 bits hold; its stamps may be twins.
fn far_end_at_border(random: &mut StdRng, between_ns: u64, records: &mut Vec<Record>) {
    let base_ns = random.random_range(0..1 << 40);
    let share_ns = *[between_ns, EDGE, EDGE - 1, EDGE - between_ns.min(EDGE)].choose(random).expect("a share");
    let (mut arrived_ns, mut left_ns) = (base_ns, base_ns + beside(random, share_ns));
    if random.random_bool(0.3) {
        std::mem::swap(&mut arrived_ns, &mut left_ns);
    }
    let stamp = |phase, hook, bound| Stamp { phase, point: 0, hook, node: 9, clock: Clock::TAI, bound };
    let bounds = [0, 5].map(Bound::from_exponent);
    let twins = &bounds[..random.random_range(1..=2)];
    let at = records.iter().position(|record| record.phase() == Phase::Reply).unwrap_or(records.len());
    let arrivals = twins.iter().map(|bound| stamp(Phase::Request, Hook::TC_INGRESS, *bound).at(arrived_ns));
    let departures = twins.iter().map(|bound| stamp(Phase::Reply, Hook::TC_EGRESS, *bound).at(left_ns));
    records.splice(at..at, arrivals.chain(departures));
}

fn arbitrary(random: &mut StdRng) -> Reply {
    let records: Vec<Record> =
        (0..random.random_range(0..=15)).map(|_| zerocopy::transmute!(random.random::<[u8; 12]>())).collect();
    let (sent_ns, received_ns) = (random.random(), random.random());
    reply(random, &records, sent_ns, received_ns)
}

fn hostile(random: &mut StdRng) -> Reply {
    let mut reply = genuine(random);
    let payload = &mut reply.payload;
    let end = payload.len();
    match random.random_range(0..11) {
        0 => payload.clear(),
        1 => payload.truncate(random.random_range(0..end)),
        // Garbage, and garbage that ends like a trailer.
        2 => *payload = (0..random.random_range(0..120)).map(|_| random.random()).collect(),
        3 => {
            *payload = (0..random.random_range(0..120)).map(|_| random.random()).collect();
            payload.extend(*b"IST\x01");
        }
        4 => payload[end - 1] = random.random(),
        5 => payload.insert(0, random.random()),
        6 => payload[end - 6] = random.random(),
        7 => payload[end - 16..end - 8].copy_from_slice(&random.random::<[u8; 8]>()),
        8 => payload[end - 5] = random.random(),
        // The beginning is lost: the trailer may be whole or not.
        9 => drop(payload.drain(..random.random_range(0..end))),
        _ => {
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..end);
                payload[at] ^= 1 << random.random_range(0..8);
            }
        }
    }
    reply
}
