//! The programs in the kernel, run on packets by `BPF_PROG_TEST_RUN`.

use std::{collections::HashMap as StdHashMap, net::IpAddr, os::fd::BorrowedFd, path::PathBuf, time::Duration};

use aya::{
    Ebpf, EbpfLoader,
    maps::{
        Array, MapData, PerCpuArray, XskMap,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{SchedClassifier, TestRun as _, TestRunOptions, TestRunResult, Xdp, XdpMode},
};
use instamp_clockmap::Writer;
use instamp_hooks::Objects;
use instamp_trailer::{
    Address, Clock, Hook, Reflect, Reflection, Refusal, Run as ProbingRun, RunKey, Sent, SentKey, Site, Standing,
    in_flight::{Entry, Set},
};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    write::{Symbol, SymbolSection},
};
use zerocopy::{FromBytes, IntoBytes};

use crate::conversion;

/// How far apart the counters of two hooks lie.
const OUTCOMES: u32 = 16;

/// The objects that the tests run on: those in the tree, and the freshly built ones in the folder that
/// `INSTAMP_BPF_OBJECTS` names.
///
/// # Panics
///
/// The folder is named and does not hold them.
pub fn objects() -> Vec<(&'static str, Objects)> {
    let mut objects = vec![("in the tree", Objects::built_in())];
    if let Some(folder) = std::env::var_os("INSTAMP_BPF_OBJECTS").map(PathBuf::from) {
        let fresh = Objects::read(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        objects.push(("freshly built", fresh));
    }
    objects
}

/// One program, loaded, with its maps.
pub struct Loaded {
    hook: Hook,
    name: String,
    ebpf: Ebpf,
}

/// What a run of a program did to a packet.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    /// The packet behind the program.
    pub frame: Vec<u8>,
    /// What the program returned.
    pub verdict: i32,
}

impl Loaded {
    /// Loads the program for `hook`.
    ///
    /// # Panics
    ///
    /// The kernel refuses it.
    pub fn new(objects: &Objects, hook: Hook) -> Self {
        Self::named(objects, hook, &hook.to_string().replace('-', "_"))
    }

    /// Loads another program of the object for `hook`.
    ///
    /// # Panics
    ///
    /// There is none of this name, or the kernel refuses it.
    pub fn named(objects: &Objects, hook: Hook, name: &str) -> Self {
        let object = if hook == Hook::XDP_INGRESS { &objects.xdp } else { &objects.tc };
        Self::load(object, hook, name)
    }

    /// Loads a program of these instructions as if it were the one for `hook`: something to compare with.
    ///
    /// # Panics
    ///
    /// The kernel refuses it.
    pub fn assembled(hook: Hook, instructions: &[u64]) -> Self {
        let section = if hook == Hook::XDP_INGRESS { "xdp.frags" } else { "classifier" };
        Self::load(&assembled(section, instructions), hook, ASSEMBLED)
    }

    /// Loads a program of an object as if it were the one for `hook`.
    ///
    /// # Panics
    ///
    /// There is none of this name, or the kernel refuses it.
    pub fn load(object: &[u8], hook: Hook, name: &str) -> Self {
        let ebpf = EbpfLoader::new().load(object).expect("load the object");
        let mut loaded = Self { hook, name: name.to_owned(), ebpf };
        if hook == Hook::XDP_INGRESS { loaded.xdp_mut().load() } else { loaded.tc_mut().load() }
            .unwrap_or_else(|error| panic!("load {name}: {error:#?}"));
        loaded
    }

    fn xdp_mut(&mut self) -> &mut Xdp {
        self.ebpf.program_mut(&self.name).expect("in the object").try_into().expect("an XDP program")
    }

    fn tc_mut(&mut self) -> &mut SchedClassifier {
        self.ebpf.program_mut(&self.name).expect("in the object").try_into().expect("a TC program")
    }

    fn xdp(&self) -> &Xdp {
        self.ebpf.program(&self.name).expect("in the object").try_into().expect("an XDP program")
    }

    fn tc(&self) -> &SchedClassifier {
        self.ebpf.program(&self.name).expect("in the object").try_into().expect("a TC program")
    }

    /// Its place.
    pub fn hook(&self) -> Hook {
        self.hook
    }

    /// The id under which the kernel lists it.
    pub fn id(&self) -> u32 {
        if self.hook == Hook::XDP_INGRESS { self.xdp().info() } else { self.tc().info() }.expect("info").id()
    }

    /// Attaches an XDP program to a device of this thread's network namespace, in generic mode.
    pub fn attach_xdp(&mut self, device: &str) {
        self.xdp_mut().attach(device, XdpMode::Skb).expect("attach");
    }

    /// Writes what it stamps with.
    pub fn set_site(&mut self, site: Site) {
        let mut map: Array<_, [u8; size_of::<Site>()]> =
            self.ebpf.map_mut("SITE").expect("SITE").try_into().expect("an array");
        let bytes: [u8; size_of::<Site>()] = site.as_bytes().try_into().expect("of its size");
        map.set(0, bytes, 0).expect("write SITE");
    }

    /// Says how an address stands.
    pub fn set_standing(&mut self, address: IpAddr, standing: Standing) {
        self.set_policy(address, standing.bits());
    }

    fn set_policy(&mut self, address: IpAddr, bits: u32) {
        let mut map: LpmTrie<_, [u8; 16], u32> =
            self.ebpf.map_mut("POLICY").expect("POLICY").try_into().expect("an LPM trie");
        map.insert(&Key::new(128, Address::from(address).bytes()), bits, 0).expect("write POLICY");
    }

    /// Has replies of a run that come in by a receive queue steered to its socket, if there is one.
    pub fn set_run(&mut self, queue: u32, key: RunKey) {
        self.write_run(queue, ProbingRun { key: key.number(), process: std::process::id() });
    }

    /// Takes out what [`set_run`](Self::set_run) has set.
    pub fn clear_run(&mut self, queue: u32) {
        self.write_run(queue, ProbingRun::default());
    }

    fn write_run(&mut self, queue: u32, run: ProbingRun) {
        let mut map: Array<_, [u8; size_of::<ProbingRun>()]> =
            self.ebpf.map_mut("RUNS").expect("RUNS").try_into().expect("an array");
        let bytes: [u8; size_of::<ProbingRun>()] = run.as_bytes().try_into().expect("of its size");
        map.set(queue, bytes, 0).expect("write RUNS");
    }

    /// Makes an `AF_XDP` socket that of a receive queue.
    pub fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) {
        let mut map: XskMap<_> = self.ebpf.map_mut("SOCKETS").expect("SOCKETS").try_into().expect("of sockets");
        map.set(queue, socket, 0).expect("write SOCKETS");
    }

    /// Says who reflects, until when, and how much.
    pub fn set_reflect(&mut self, reflect: Reflect) {
        let mut map: Array<_, [u8; size_of::<Reflect>()]> =
            self.ebpf.map_mut("REFLECT").expect("REFLECT").try_into().expect("an array");
        let bytes: [u8; size_of::<Reflect>()] = reflect.as_bytes().try_into().expect("of its size");
        map.set(0, bytes, 0).expect("write REFLECT");
    }

    /// Allows an address to have its requests reflected.
    pub fn allow(&mut self, address: IpAddr) {
        let mut map: LpmTrie<_, [u8; 16], u32> =
            self.ebpf.map_mut("ALLOW").expect("ALLOW").try_into().expect("an LPM trie");
        map.insert(&Key::new(128, Address::from(address).bytes()), 1, 0).expect("write ALLOW");
    }

    /// Says that the host only measures for an address.
    pub fn measure_for(&mut self, address: IpAddr) {
        self.set_policy(address, Standing::OWN.bits() | Standing::MEASURED_FOR);
    }

    /// What became of requests to the host.
    pub fn reflections(&self) -> Vec<(Reflection, u64)> {
        let map: PerCpuArray<_, u64> =
            self.ebpf.map("REFLECTED").expect("REFLECTED").try_into().expect("a per-CPU array");
        let count = |reflection: Reflection| map.get(&(reflection as u32), 0).expect("read REFLECTED").iter().sum();
        Reflection::ALL.map(|reflection| (reflection, count(reflection))).into()
    }

    /// Packets stamped, and packets refused by reason.
    pub fn counts(&self) -> Vec<(Result<(), Refusal>, u64)> {
        self.counts_of(self.hook)
    }

    /// What the program has counted for a hook.
    pub fn counts_of(&self, hook: Hook) -> Vec<(Result<(), Refusal>, u64)> {
        let map: PerCpuArray<_, u64> =
            self.ebpf.map("COUNTERS").expect("COUNTERS").try_into().expect("a per-CPU array");
        std::iter::once(Ok(()))
            .chain(Refusal::ALL.map(Err))
            .map(|outcome| {
                let number = match outcome {
                    Ok(()) => 0,
                    Err(refusal) => refusal as u32,
                };
                let key = u32::from(hook.number()) * OUTCOMES + number;
                (outcome, map.get(&key, 0).expect("read COUNTERS").iter().sum())
            })
            .collect()
    }

    /// The table of requests that have left, of this program alone.
    pub fn in_flight(&mut self) -> InFlight<'_> {
        InFlight(self.ebpf.map_mut("IN_FLIGHT").expect("in the object").try_into().expect("an array"))
    }

    /// Becomes the publisher of the model with which the program converts times of the card.
    ///
    /// # Panics
    ///
    /// It was taken before.
    pub fn clock_writer(&mut self) -> Writer {
        conversion::writer(&mut self.ebpf)
    }

    /// Runs the program once on `frame`.
    pub fn run(&self, frame: &[u8]) -> Run {
        self.run_received(frame, 0)
    }

    /// Likewise, where the card has received the frame at `nic_rx_ns` by its clock: TC programs find it in the socket buffer. 0
    /// says that it is not known.
    pub fn run_received(&self, frame: &[u8], nic_rx_ns: u64) -> Run {
        let mut out = vec![0; frame.len() + 256];
        let context = (nic_rx_ns != 0).then(|| conversion::context(nic_rx_ns, 0));
        let result = self.test_run(frame, Some(&mut out), context.as_ref(), 1);
        out.truncate(result.data_size_out as usize);
        Run { frame: out, verdict: result.return_value.cast_signed() }
    }

    /// The mean time of one of `repeat` runs, which all see the packet that the one before left.
    pub fn time(&self, frame: &[u8], repeat: u32) -> Duration {
        self.test_run(frame, None, None, repeat).duration
    }

    fn test_run(
        &self,
        frame: &[u8],
        out: Option<&mut [u8]>,
        context: Option<&[u8; 192]>,
        repeat: u32,
    ) -> TestRunResult {
        let ctx_in = context.map(|context| &context[..]);
        let options =
            TestRunOptions { data_in: Some(frame), data_out: out, ctx_in, repeat, ..TestRunOptions::default() };
        if self.hook == Hook::XDP_INGRESS { self.xdp().test_run(options) } else { self.tc().test_run(options) }
            .unwrap_or_else(|error| panic!("run {} on {} bytes: {error:#?}", self.name, frame.len()))
    }
}

/// What is known of requests that have left, as a loaded program finds it.
pub struct InFlight<'a>(Array<&'a mut MapData, [u8; size_of::<Set>()]>);

impl InFlight<'_> {
    fn set(&self, number: u32) -> Set {
        Set::read_from_bytes(&self.0.get(&number, 0).expect("read the table")).expect("of its size")
    }

    fn write(&mut self, number: u32, set: &Set) {
        let bytes: [u8; size_of::<Set>()] = set.as_bytes().try_into().expect("of its size");
        self.0.set(number, bytes, 0).expect("write the table");
    }

    /// Keeps a request, in a free place of its set.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn keep(&mut self, key: SentKey, sent: Sent) {
        let number = SentKey::set(key.hash());
        let mut set = self.set(number);
        let way = set.tags.iter().position(|tag| *tag == 0).expect("a free place");
        set.tags[way] = SentKey::tag(key.hash());
        set.entries[way] = Entry { lock: 0, key, sent, reserved: 0 };
        self.write(number, &set);
    }

    /// Takes out those of these requests that are there.
    pub fn take(&mut self, keys: impl Iterator<Item = SentKey>) -> StdHashMap<SentKey, Sent> {
        let mut taken = StdHashMap::new();
        for key in keys {
            let number = SentKey::set(key.hash());
            let mut set = self.set(number);
            for (tag, entry) in set.tags.iter_mut().zip(&set.entries) {
                assert_eq!(entry.lock, 0, "{key:?}");
                if *tag == SentKey::tag(key.hash()) && entry.key == key {
                    *tag = 0;
                    taken.insert(key, entry.sent);
                }
            }
            self.write(number, &set);
        }
        taken
    }
}

/// The name of an assembled program.
pub const ASSEMBLED: &str = "assembled";

/// An object file with one program, [`ASSEMBLED`].
///
/// # Panics
///
/// Never.
pub fn assembled(section: &str, instructions: &[u64]) -> Vec<u8> {
    let mut object = object::write::Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let code: Vec<u8> = instructions.iter().flat_map(|instruction| instruction.to_le_bytes()).collect();
    let text = object.add_section(Vec::new(), section.into(), SectionKind::Text);
    object.append_section_data(text, &code, 8);
    object.add_symbol(Symbol {
        name: ASSEMBLED.into(),
        value: 0,
        size: code.len() as u64,
        kind: SymbolKind::Text,
        scope: SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Section(text),
        flags: SymbolFlags::None,
    });
    let license = object.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    object.append_section_data(license, b"Dual MIT/GPL\0", 1);
    object.write().expect("an object file")
}

/// Instructions that end a program with `verdict`.
pub fn verdict(verdict: i32) -> [u64; 2] {
    // r0 = verdict; exit (RFC 9669 sections 4.1 and 4.3).
    [0xb7 | u64::from(verdict.cast_unsigned()) << 32, 0x95]
}

/// The hooks that have programs.
pub const HOOKS: [Hook; 3] = [Hook::XDP_INGRESS, Hook::TC_EGRESS, Hook::TC_INGRESS];

/// A site to test with.
pub fn site() -> Site {
    Site {
        node: 7,
        point: 3,
        bound: 6,
        own_clock: Clock::MONOTONIC.number(),
        respond_clock: Clock::TAI.number(),
        keeps_sent: 0,
        nic_rx: 0,
        namespace: 0,
        phc: 0,
    }
}
