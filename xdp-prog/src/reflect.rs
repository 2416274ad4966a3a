//! Reflecting: requests to this host that become replies before the stack sees them, for as long as the process lives that asks for it.
//!
//! The names, keys and values of the maps are the interface to the loader.

use aya_ebpf::{
    bindings::BPF_ANY,
    btf_maps::{Array, LpmTrie, LruHashMap, PerCpuArray, lpm_trie::Key},
    helpers::generated::bpf_ktime_get_ns,
    macros::btf_map,
};
use instamp_trailer::{Address, Clock, Mirror, Reflect, Reflection};

/// One entry: who reflects, until when, and how much.
#[btf_map]
static REFLECT: Array<Reflect, 1> = Array::new();

/// Prefixes of IPv6 addresses, IPv4 ones mapped, and whether their requests are reflected: 0 where not.
#[btf_map]
static ALLOW: LpmTrie<[u32; 4], u32, 1024> = LpmTrie::new();

/// Until when a source has used up what it may send. Of IPv6 the network is the source: it has more addresses than there are entries.
#[btf_map]
static SOURCES: LruHashMap<[u32; 4], u64, 16384> = LruHashMap::new();

/// Requests to this host by what became of them: the number of the [`Reflection`].
#[btf_map]
static REFLECTED: PerCpuArray<u64, { Reflection::ALL.len() }> = PerCpuArray::new();

/// Whether the program is in the place of one that stamps.
#[inline(always)]
pub(crate) fn stamps() -> bool {
    REFLECT.get(0).is_some_and(|reflect| reflect.stamps != 0)
}

/// Whom the host reflects for now.
pub(crate) struct Lease {
    reflect: &'static Reflect,
    now_ns: u64,
}

impl Lease {
    /// `None` when it is over.
    #[inline(always)]
    pub(crate) fn now() -> Option<Self> {
        let reflect = REFLECT.get(0)?;
        // SAFETY: the helper takes nothing and touches no memory.
        let now_ns = unsafe { bpf_ktime_get_ns() };
        (now_ns < reflect.until_ns).then_some(Self { reflect, now_ns })
    }
}

impl Mirror for Lease {
    #[inline(always)]
    fn clock(&self) -> Clock {
        Clock::from_number(self.reflect.clock)
    }

    #[inline(always)]
    fn address(&self) -> [u8; 6] {
        self.reflect.address
    }

    /// Processors that admit requests of one source at the same time may admit one each.
    #[inline(always)]
    fn admit(&self, source: Address) -> Result<(), Reflection> {
        if ALLOW.get(&Key::new(128, source.words())).is_none_or(|allowed| *allowed == 0) {
            return Err(Reflection::NotAllowed);
        }
        let source = source_of(source);
        if let Some(used_until) = SOURCES.get_ptr_mut(source) {
            // SAFETY: an entry of the map. Another source may get its room meanwhile, and then has used up what this one has.
            let used_until_ns = unsafe { used_until.read_volatile() };
            let used_until_ns = self.reflect.admit(used_until_ns, self.now_ns).ok_or(Reflection::Limited)?;
            // SAFETY: as above.
            unsafe { used_until.write_volatile(used_until_ns) };
            return Ok(());
        }
        let used_until_ns = self.reflect.admit(0, self.now_ns).ok_or(Reflection::Limited)?;
        // Where there is no memory for it, nobody can be told from others: none is answered.
        SOURCES.insert(source, used_until_ns, BPF_ANY.into()).map_err(|_| Reflection::Limited)
    }
}

/// The source of an address: itself with IPv4, its network with IPv6.
#[inline(always)]
fn source_of(address: Address) -> [u32; 4] {
    let [a, b, c, d] = address.words();
    if a == 0 && b == 0 && c == u32::from_be(0xffff) { [a, b, c, d] } else { [a, b, 0, 0] }
}

/// Counts what became of a request.
#[inline(always)]
pub(crate) fn count(reflection: Reflection) {
    if let Some(counter) = REFLECTED.get_ptr_mut(reflection as u32) {
        // SAFETY: the entry is this CPU's own, and belongs to this hook, which runs with softirqs off.
        unsafe { *counter += 1 };
    }
}
