//! The model in memory: 18 words of 64 bits in the machine's byte order.
//!
//! | word | content |
//! |---|---|
//! | 0 | [`MAGIC`] |
//! | 1 | [`VERSION`] |
//! | 2 | [`SIZE`], in bytes |
//! | 3 | [`Device::number`](crate::Device::number) |
//! | 4 | the sequence: even, or odd while the words behind it change |
//! | 5 to 17 | the [`Model`], field by field in its order |
//!
//! Words 0 to 3 never change. The order of all accesses, which [`read`] and [`write()`] keep, is what makes torn models
//! impossible; every access is to one whole word.

use core::{array, hint};

use crate::{Model, Refusal, State};

/// What the memory of a model begins with: "INSTCLK" and a zero, on a big-endian machine. A reader of the other byte order
/// sees another number.
pub const MAGIC: u64 = u64::from_be_bytes(*b"INSTCLK\0");
/// The version of the format. Whatever changes the meaning of a word is a new version.
pub const VERSION: u64 = 1;
/// The number of words.
pub const WORDS: usize = SEQUENCE + 1 + MODEL_WORDS;
/// The number of bytes.
pub const SIZE: usize = WORDS * size_of::<u64>();

/// The index of the word that says whose model it is.
pub const DEVICE: usize = 3;
/// The index of the sequence.
pub const SEQUENCE: usize = 4;
const MODEL_WORDS: usize = 13;

/// Memory that a model can be read from.
pub trait Words {
    /// One word, read as a whole, and anew each time.
    fn load(&self, index: usize) -> u64;

    /// Keeps all loads and stores before it before all those behind it, but for a store before a load.
    fn fence(&self);
}

/// Memory that a model can be written to, by one writer at a time.
pub trait WordsMut: Words {
    /// Writes one word as a whole.
    fn store(&self, index: usize, value: u64);
}

/// The words that never change.
#[cfg(feature = "std")]
const fn header(device: crate::Device) -> [u64; SEQUENCE] {
    [MAGIC, VERSION, SIZE as u64, device.number()]
}

/// The words of a model that was not published yet. All behind the header are 0: [`State::WITHDRAWN`].
#[cfg(feature = "std")]
pub(crate) fn empty(device: crate::Device) -> [u64; WORDS] {
    let header = header(device);
    array::from_fn(|index| header.get(index).copied().unwrap_or(0))
}

/// Makes the memory that of a device's model, as the kernel makes maps of zeros.
#[cfg(feature = "bpf")]
pub(crate) fn claim(words: &impl WordsMut, device: crate::Device) {
    for (index, value) in header(device).into_iter().enumerate() {
        words.store(index, value);
    }
}

/// Whether the memory is that of the device's model in this version.
#[cfg(feature = "std")]
pub(crate) fn is_of(words: &impl Words, device: crate::Device) -> bool {
    has_header(words) && words.load(DEVICE) == device.number()
}

#[inline(always)]
fn has_header(words: &impl Words) -> bool {
    words.load(0) == MAGIC && words.load(1) == VERSION && words.load(2) == SIZE as u64
}

/// Reads the model, in at most as many attempts.
///
/// # Errors
///
/// [`Refusal::Foreign`] or [`Refusal::Unfinished`].
#[inline(always)]
pub fn read(words: &impl Words, attempts: u32) -> Result<Model, Refusal> {
    if !has_header(words) {
        return Err(Refusal::Foreign);
    }
    for _ in 0..attempts {
        let before = words.load(SEQUENCE);
        if before & 1 == 1 {
            hint::spin_loop();
            continue;
        }
        // What follows sees at least what the writer wrote before it wrote this sequence.
        words.fence();
        let model = Model::from_words(array::from_fn(|index| words.load(SEQUENCE + 1 + index)));
        // If any of it was written later, this sees the odd sequence that was written before that, or one behind it.
        words.fence();
        if words.load(SEQUENCE) == before {
            return Ok(model);
        }
    }
    Err(Refusal::Unfinished)
}

/// Writes a model, whatever a writer before may have left of one.
///
/// Waits for nobody: it is a fixed number of stores.
#[inline(always)]
pub fn write(words: &impl WordsMut, model: &Model) {
    // Odd already where a writer died: nobody has taken what it left, and nobody will until this is through.
    let odd = words.load(SEQUENCE) | 1;
    words.store(SEQUENCE, odd);
    words.fence();
    for (index, value) in model.to_words().into_iter().enumerate() {
        words.store(SEQUENCE + 1 + index, value);
    }
    words.fence();
    words.store(SEQUENCE, odd.wrapping_add(1));
}

/// The epoch that the memory holds, also of a half-written model: it is one word.
#[cfg(feature = "std")]
pub(crate) fn epoch(words: &impl Words) -> u64 {
    words.load(SEQUENCE + 2)
}

impl Model {
    #[inline(always)]
    const fn to_words(self) -> [u64; MODEL_WORDS] {
        [
            self.state.0,
            self.epoch,
            self.device_ref_ns,
            self.system_ref_ns,
            self.rate.cast_unsigned(),
            self.error_ns,
            self.growth,
            self.valid_from_ns,
            self.valid_until_ns,
            self.void_after_ns,
            self.as_of_ns,
            self.asymmetry_ns,
            self.published_ns,
        ]
    }

    #[inline(always)]
    const fn from_words(words: [u64; MODEL_WORDS]) -> Self {
        let [
            state,
            epoch,
            device_ref_ns,
            system_ref_ns,
            rate,
            error_ns,
            growth,
            valid_from_ns,
            valid_until_ns,
            void_after_ns,
            as_of_ns,
            asymmetry_ns,
            published_ns,
        ] = words;
        Self {
            state: State(state),
            epoch,
            device_ref_ns,
            system_ref_ns,
            rate: rate.cast_signed(),
            error_ns,
            growth,
            valid_from_ns,
            valid_until_ns,
            void_after_ns,
            as_of_ns,
            asymmetry_ns,
            published_ns,
        }
    }
}
