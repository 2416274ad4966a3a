//! Whatever is in the memory of a published clock: a conversion is refused, or has a bound and is not of the future.
#![no_main]

use instamp_clockmap::layout::{self, WORDS, Words};
use libfuzzer_sys::fuzz_target;

struct Memory([u64; WORDS]);

impl Words for Memory {
    fn load(&self, index: usize) -> u64 {
        self.0[index]
    }

    fn fence(&self) {}
}

fuzz_target!(|input: ([u64; WORDS], u64, u64)| {
    let (mut words, device_ns, now_ns) = input;
    words[..3].copy_from_slice(&[layout::MAGIC, layout::VERSION, layout::SIZE as u64]);
    if let Ok(converted) = layout::read(&Memory(words), 2).and_then(|model| model.convert(device_ns, now_ns)) {
        assert!(converted.bound_ns > 0);
        assert!(converted.time_ns.saturating_sub(converted.bound_ns) <= now_ns);
    }
});
