//! The times of requests that have left come into their own replies, whatever else is in flight.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    net::Ipv4Addr,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::MetadataExt as _,
    },
    thread,
    time::Instant,
};

use aya::maps::{Array, Map, MapData};
use instamp_hooks::{Attachment, Counters, Hook, Hooks, IngressChoice, Objects, Refusal, Request, XdpMode};
use instamp_tests::{
    bpffs::Bpffs,
    built::WITNESS,
    lab::Lab,
    privilege::{root, tool},
    prober::{self, Prober},
    responder::{Answer, Responder},
};
use instamp_trailer::{
    SentKey,
    in_flight::{SETS, Set, WAYS},
};
use libbpf_rs::{Link, MapCore as _, MapFlags, Object, ObjectBuilder};
use zerocopy::FromBytes as _;

/// An address of the remote at which nobody answers.
const SILENT: &str = "10.99.0.9";
/// How many entries the table has.
const TABLE: u64 = SETS as u64 * WAYS as u64;

const SENDERS: u32 = 8;
const PROBES_EACH: u32 = 125_000;
/// How many requests a sender has under way. Those of all fit into the ring of a veth, which drops what does not.
const WINDOW: u32 = 25;
/// One of so many is not answered: together more than the table holds.
const UNANSWERED: u32 = 10;

fn address(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// A lab whose card is stamped, with a table of its own: others use that of the machine at the same time.
struct Stamped {
    lab: Lab,
    bpffs: Bpffs,
}

impl Stamped {
    fn up(options: &[&str]) -> Self {
        let stamped = Self { lab: Lab::up(options), bpffs: Bpffs::mount() };
        stamped.lab.run("remote", "ip", &["address", "add", &format!("{SILENT}/24"), "dev", "eth0"]);
        let silence = "add table ip silence; \
                       add chain ip silence input { type filter hook input priority 0; }; \
                       add rule ip silence input ip daddr";
        stamped.lab.run("remote", "nft", &[&format!("{silence} {SILENT} drop")]);
        stamped
    }

    fn hooks(&self) -> Hooks {
        Hooks::open(Some(self.bpffs.path()), |notice| eprintln!("{notice}")).unwrap()
    }

    fn attach(&self) {
        self.lab.enter("host", || {
            let request = Request { ingress: IngressChoice::Xdp, xdp_mode: XdpMode::Native, ..Request::new(Lab::NIC) };
            self.hooks().attach(&Objects::built_in(), &request).unwrap();
        });
    }

    fn status(&self) -> Attachment {
        self.lab.enter("host", || self.hooks().status().unwrap().pop().unwrap())
    }

    fn table(&self) -> MapData {
        MapData::from_pin(self.bpffs.path().join("instamp/sent/IN_FLIGHT")).unwrap()
    }

    /// How many requests are in the table: one by one.
    fn count(&self) -> u64 {
        let table: Array<_, [u8; size_of::<Set>()]> = Map::Array(self.table()).try_into().unwrap();
        let sets = (0..SETS).map(|number| Set::read_from_bytes(&table.get(&number, 0).unwrap()).unwrap());
        sets.flat_map(|set| set.tags).filter(|tag| *tag != 0).count() as u64
    }

    /// What the kernel accounts for the table, in bytes.
    fn memory(&self) -> u64 {
        let map = self.table();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd())).unwrap();
        let memory = info.lines().find_map(|line| line.strip_prefix("memlock:")).unwrap();
        memory.trim().parse().unwrap()
    }
}

impl Drop for Stamped {
    fn drop(&mut self) {
        if let Err(error) = self.lab.enter("host", || self.hooks().detach_all()) {
            eprintln!("detach: {error}");
        }
    }
}

/// What has become of the driver's times.
fn driver_tx(status: &Attachment) -> &Counters {
    &status.hooks.iter().find(|hook| hook.hook == Hook::DRIVER_TX).unwrap().counters
}

/// Programs that note when they see a request, before and behind the one that keeps its time, in the same tracepoint.
struct Witnesses {
    object: Object,
    links: Vec<Link>,
    /// The upper half of the nonces that they look for. The lower half is the number.
    mark: u64,
}

/// What they have noted: `struct seen`.
#[derive(Clone, Copy, Default, Debug)]
struct Seen {
    before_ns: u64,
    behind_ns: u64,
    processor: u32,
    requests: u32,
}

impl Witnesses {
    /// They run in the order in which they are attached: `between` attaches what they are witnesses of.
    fn around(requests: u32, between: impl FnOnce()) -> Self {
        let mark: u32 = rand::random();
        let mut open = ObjectBuilder::default().open_memory(&WITNESS.newest()).unwrap();
        for mut map in open.maps_mut() {
            if map.name() == "SEEN" {
                map.set_max_entries(requests).unwrap();
            } else {
                map.set_initial_value(&mark.to_be_bytes()).unwrap();
            }
        }
        let mut witnesses = Self { object: open.load().unwrap(), links: Vec::new(), mark: u64::from(mark) << 32 };
        witnesses.attach("before");
        between();
        witnesses.attach("behind");
        witnesses
    }

    fn attach(&mut self, name: &str) {
        let program = self.object.progs_mut().find(|program| program.name() == name).unwrap();
        self.links.push(program.attach().unwrap());
    }

    /// By the number of the request.
    fn seen(&self) -> Vec<Seen> {
        let map = self.object.maps().find(|map| map.name() == "SEEN").unwrap();
        let mut all = vec![Seen::default(); map.max_entries().try_into().unwrap()];
        for (key, value) in map.lookup_batch(8_192, MapFlags::ANY, MapFlags::ANY).unwrap() {
            let number: usize = u32::from_ne_bytes(key.try_into().unwrap()).try_into().unwrap();
            let long = |from: usize| u64::from_ne_bytes(value[from..from + 8].try_into().unwrap());
            let short = |from: usize| u32::from_ne_bytes(value[from..from + 4].try_into().unwrap());
            all[number] = Seen { before_ns: long(0), behind_ns: long(8), processor: short(16), requests: short(20) };
        }
        all
    }
}

/// A reply.
struct Replied {
    number: u32,
    driver_tx_ns: Option<u64>,
}

/// Sends requests with a mark, and numbers from `first` on, and returns their replies. All stamps are in the order of events.
fn send(prober: &Prober, mark: u64, first: u32) -> Vec<Replied> {
    let (remote, silent) = (address(Lab::REMOTE), address(SILENT));
    let mut replies = Vec::new();
    let mut sent = [0; WINDOW as usize];
    for begin in (first..first + PROBES_EACH).step_by(WINDOW as usize) {
        let mut awaited = 0;
        for (slot, number) in (0_u16..).zip(begin..begin + WINDOW) {
            let is_answered = number % UNANSWERED != 0;
            awaited += u32::from(is_answered);
            let target = if is_answered { remote } else { silent };
            sent[usize::from(slot)] = prober.send(target, slot, mark | u64::from(number));
        }
        for _ in 0..awaited {
            let answer = prober.receive();
            let number = begin + u32::from(answer.sequence());
            let nonce = mark | u64::from(number);
            let [left, driver, arrived] =
                [Hook::TC_EGRESS, Hook::DRIVER_TX, Hook::XDP_INGRESS].map(|hook| answer.time_ns(nonce, hook));
            let times = [Some(sent[usize::from(answer.sequence())]), left, driver, arrived, Some(answer.received_ns)];
            assert!(left.is_some() && arrived.is_some(), "{number}: {times:?}");
            assert!(times.iter().flatten().is_sorted(), "{number}: {times:?}");
            replies.push(Replied { number, driver_tx_ns: driver });
        }
    }
    replies
}

#[test]
fn a_million_probes_get_their_own_times() {
    let (Some(()), Some(()), Some(())) = (root(), tool("nft"), tool("ip")) else { return };
    let start = Instant::now();
    let stamped = Stamped::up(&["--containers", &SENDERS.to_string()]);
    let total = SENDERS * PROBES_EACH;
    let witnesses = Witnesses::around(total, || stamped.attach());
    let (mark, memory) = (witnesses.mark, stamped.memory());
    let replies: Vec<Replied> = thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let prober = stamped.lab.enter(&format!("c{}", sender + 1), Prober::open);
                scope.spawn(move || send(&prober, mark, sender * PROBES_EACH))
            })
            .collect();
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    let status = stamped.status();
    let total = u64::from(total);
    let unanswered = total / u64::from(UNANSWERED);
    assert_eq!(replies.len() as u64, total - unanswered);

    let seen = witnesses.seen();
    own_times(&replies, &seen);
    disjoint(&seen);

    let with_time = replies.iter().filter(|reply| reply.driver_tx_ns.is_some()).count() as u64;
    let without = replies.len() as u64 - with_time;
    let sent = status.sent.unwrap();
    println!("{total} probes, {without} replies without driver-tx, {sent:?}, {:.1?}", start.elapsed());
    let driver_tx = driver_tx(&status);
    assert_eq!((driver_tx.stamped, driver_tx.refused(Refusal::Absent)), (with_time, without));
    assert_eq!((sent.kept, sent.repeated, sent.refused), (total, 0, 0), "{sent:?}");
    assert_eq!(sent.in_flight, stamped.count(), "{sent:?}");
    assert_eq!(sent.in_flight + sent.evicted, unanswered + without, "{sent:?}");
    assert!(sent.in_flight <= TABLE && sent.evicted >= unanswered - TABLE, "{sent:?}");
    // The oldest go: what is answered is among the newest.
    assert_eq!(without, 0, "replies without driver-tx");
    assert_eq!(stamped.memory(), memory, "the memory of the table");
}

/// Each time was taken between the two moments at which the witnesses saw that very request.
fn own_times(replies: &[Replied], seen: &[Seen]) {
    for reply in replies {
        let seen = seen[usize::try_from(reply.number).unwrap()];
        let Some(driver_tx_ns) = reply.driver_tx_ns else { continue };
        assert_eq!(seen.requests, 1, "{}: {seen:?}", reply.number);
        assert!(
            (seen.before_ns..=seen.behind_ns).contains(&driver_tx_ns),
            "{}: {driver_tx_ns}, {seen:?}",
            reply.number
        );
    }
}

/// No processor had two requests between the witnesses at once, so that no such time is another's of the same processor.
fn disjoint(seen: &[Seen]) {
    let mut in_order = seen.to_vec();
    in_order.sort_by_key(|seen| (seen.processor, seen.before_ns));
    for pair in in_order.windows(2) {
        let [first, second] = pair else { continue };
        assert!(first.processor != second.processor || first.behind_ns < second.before_ns, "{first:?}, {second:?}");
    }
}

/// Where as many newer requests as a set holds have come into it, the reply to the oldest has nobody's time, and the next one has its own.
#[test]
fn the_oldest_of_a_set_makes_room() {
    let (Some(()), Some(()), Some(())) = (root(), tool("nft"), tool("ip")) else { return };
    let stamped = Stamped::up(&[]);
    stamped.attach();
    // The first is answered behind the last.
    let _responder =
        Responder::start(&stamped.lab, Lab::REMOTE, |sequence| Answer { behind_next: sequence == 0, ..Answer::PLAIN });
    let (remote, silent) = (address(Lab::REMOTE), address(SILENT));
    let namespace = stamped.lab.enter("host", || fs::metadata("/proc/thread-self/ns/net").unwrap().ino());
    let set = |nonce: u64| {
        let key = SentKey { nonce: nonce.to_be_bytes(), namespace: namespace.try_into().unwrap(), point: 0 };
        SentKey::set(key.hash())
    };
    let mut nonces = (0..).filter(|nonce| set(*nonce) == set(0));
    let [first, last] = stamped.lab.enter("host", || {
        let prober = Prober::open();
        let first = nonces.next().unwrap();
        prober.send(remote, 0, first);
        for nonce in nonces.by_ref().take(WAYS - 1) {
            prober.send(silent, 1, nonce);
        }
        let last = nonces.next().unwrap();
        prober.send(remote, 2, last);
        let replies = [prober.receive(), prober.receive()];
        assert_eq!(replies.each_ref().map(prober::Answer::sequence), [2, 0]);
        [replies[1].time_ns(first, Hook::DRIVER_TX), replies[0].time_ns(last, Hook::DRIVER_TX)]
    });
    assert!(first.is_none() && last.is_some(), "{first:?}, {last:?}");
    let status = stamped.status();
    let driver_tx = driver_tx(&status);
    let sent = status.sent.unwrap();
    assert_eq!((driver_tx.stamped, driver_tx.refused(Refusal::Absent)), (1, 1), "{driver_tx:?}");
    let ways = WAYS as u64;
    assert_eq!((sent.kept, sent.evicted, sent.in_flight), (ways + 1, 1, ways - 1), "{sent:?}");
    assert_eq!(stamped.count(), sent.in_flight);
}

/// What is kept under a nonce that is used again is another request's.
#[test]
fn a_nonce_that_is_used_again_brings_no_others_time() {
    let (Some(()), Some(()), Some(())) = (root(), tool("nft"), tool("ip")) else { return };
    const NONCE: u64 = 1;
    let stamped = Stamped::up(&[]);
    stamped.attach();
    // The first is never answered, so that it is still known when the others are.
    let _responder = Responder::start(&stamped.lab, Lab::REMOTE, |sequence| Answer {
        copies: usize::from(sequence != 0),
        ..Answer::PLAIN
    });
    let prober = stamped.lab.enter("host", Prober::open);
    let remote = address(Lab::REMOTE);
    prober.send(remote, 0, NONCE);
    for sequence in [1, 2] {
        prober.send(remote, sequence, NONCE);
        let reply = prober.receive();
        assert_eq!((reply.sequence(), reply.time_ns(NONCE, Hook::DRIVER_TX)), (sequence, None));
    }
    let status = stamped.status();
    let driver_tx = driver_tx(&status);
    assert_eq!((driver_tx.stamped, driver_tx.refused(Refusal::Mismatch)), (0, 2), "{driver_tx:?}");
    let sent = status.sent.unwrap();
    assert_eq!((sent.kept, sent.repeated, sent.in_flight, sent.evicted), (1, 2, 1, 0), "{sent:?}");
}
