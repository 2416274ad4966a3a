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
#[cfg(feature = "std")]
const EPOCH: usize = SEQUENCE + 2;
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

/// The words of a model that was not published yet. Behind the header all but the epoch are 0: [`State::WITHDRAWN`].
#[cfg(feature = "std")]
pub(crate) fn empty(device: crate::Device, epoch: u64) -> [u64; WORDS] {
    let header = header(device);
    array::from_fn(|index| if index == EPOCH { epoch } else { header.get(index).copied().unwrap_or(0) })
}

/// Whether nobody has written to the memory since the kernel made it.
#[cfg(feature = "bpf")]
pub(crate) fn is_blank(words: &impl Words) -> bool {
    (0..WORDS).all(|index| words.load(index) == 0)
}

/// Makes blank memory that of a device's model.
#[cfg(feature = "bpf")]
pub(crate) fn claim(words: &impl WordsMut, device: crate::Device, epoch: u64) {
    // The header last: readers refuse what has none.
    for (index, value) in empty(device, epoch).into_iter().enumerate().rev() {
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
    words.load(EPOCH)
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
            self.unassumed_ns,
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
            unassumed_ns,
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
            unassumed_ns,
            published_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use loom::{
        model::Builder,
        sync::{Arc, atomic},
        thread,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::Device;

    /// Memory that one process alone knows. After some stores its writer is dead.
    struct Local {
        words: [Cell<u64>; WORDS],
        stores_left: Cell<usize>,
    }

    impl Local {
        fn new(words: [u64; WORDS]) -> Self {
            Self { words: words.map(Cell::new), stores_left: Cell::new(usize::MAX) }
        }
    }

    impl Words for Local {
        fn load(&self, index: usize) -> u64 {
            self.words[index].get()
        }

        fn fence(&self) {}
    }

    impl WordsMut for Local {
        fn store(&self, index: usize, value: u64) {
            if let Some(left) = self.stores_left.get().checked_sub(1) {
                self.stores_left.set(left);
                self.words[index].set(value);
            }
        }
    }

    /// A model, all numbers of which are one.
    fn uniform(number: u64) -> Model {
        Model::from_words([number; MODEL_WORDS])
    }

    const DEVICE: Device = Device::Phc(7);

    #[test]
    fn what_is_written_is_read() {
        let memory = Local::new(empty(DEVICE, 0));
        assert_eq!(read(&memory, 1), Ok(Model::NONE));
        assert!(is_of(&memory, DEVICE));
        assert!(!is_of(&memory, Device::Phc(8)));
        let model = Model::from_words(array::from_fn(|index| index as u64));
        write(&memory, &model);
        assert_eq!(read(&memory, 1), Ok(model));
        assert_eq!(memory.words.each_ref().map(Cell::get)[..SEQUENCE + 1], [MAGIC, 1, 144, 7, 2]);
        assert_eq!(epoch(&memory), model.epoch);
    }

    #[test]
    fn a_writer_that_dies_between_two_stores_leaves_the_old_the_new_or_none() {
        let stores = MODEL_WORDS + 2;
        for done in 0..=stores {
            let memory = Local::new(empty(DEVICE, 0));
            write(&memory, &uniform(1));
            memory.stores_left.set(done);
            write(&memory, &uniform(2));
            let expected = match done {
                0 => Ok(uniform(1)),
                _ if done == stores => Ok(uniform(2)),
                _ => Err(Refusal::Unfinished),
            };
            assert_eq!(read(&memory, 3), expected, "after {done} stores");
            memory.stores_left.set(usize::MAX);
            write(&memory, &uniform(3));
            assert_eq!(read(&memory, 1), Ok(uniform(3)), "the next writer, after {done} stores");
        }
    }

    #[test]
    fn the_sequence_may_wrap() {
        let mut words = empty(DEVICE, 0);
        words[SEQUENCE] = u64::MAX;
        let memory = Local::new(words);
        assert_eq!(read(&memory, 1), Err(Refusal::Unfinished));
        write(&memory, &uniform(1));
        assert_eq!(memory.load(SEQUENCE), 0);
        assert_eq!(read(&memory, 1), Ok(uniform(1)));
    }

    #[cfg(feature = "bpf")]
    #[test]
    fn blank_memory_becomes_that_of_a_model_and_other_memory_is_none() {
        let memory = Local::new([0; WORDS]);
        assert!(is_blank(&memory) && !is_of(&memory, DEVICE));
        claim(&memory, DEVICE, 77);
        assert!(is_of(&memory, DEVICE) && !is_blank(&memory));
        assert_eq!(read(&memory, 1), Ok(Model { epoch: 77, ..Model::NONE }));
        // Whoever dies before that is through leaves what is neither.
        for done in 1..WORDS {
            let memory = Local::new([0; WORDS]);
            memory.stores_left.set(done);
            claim(&memory, DEVICE, 77);
            assert!(!is_of(&memory, DEVICE), "after {done} stores");
        }
    }

    proptest! {
        #[test]
        fn any_memory_is_a_model_or_refused(words: [u64; WORDS], device_ns: u64, now_ns: u64) {
            prop_assert_eq!(read(&Local::new(words), 3), Err(Refusal::Foreign));
            let mut words = words;
            words[..SEQUENCE].copy_from_slice(&header(DEVICE));
            let expected = if words[SEQUENCE] % 2 == 0 {
                Ok(Model::from_words(words[SEQUENCE + 1..].try_into().expect("as many")))
            } else {
                Err(Refusal::Unfinished)
            };
            let model = read(&Local::new(words), 3);
            prop_assert_eq!(model, expected);
            let _ = model.map(|model| model.convert(device_ns, now_ns));
        }

        #[test]
        fn a_change_of_any_word_of_the_header_is_seen(index in 0..DEVICE_INDEX, value: u64) {
            let mut words = empty(DEVICE, 0);
            prop_assume!(words[index] != value);
            words[index] = value;
            prop_assert_eq!(read(&Local::new(words), 1), Err(Refusal::Foreign));
        }
    }

    const DEVICE_INDEX: usize = super::DEVICE;

    /// Memory as weak as the language allows. Two words of the model stand for all of them, since the number of executions
    /// grows with their power.
    struct Weak {
        sequence: atomic::AtomicU64,
        model: [atomic::AtomicU64; 2],
    }

    impl Words for Weak {
        fn load(&self, index: usize) -> u64 {
            match index.checked_sub(SEQUENCE) {
                None => header(DEVICE)[index],
                Some(0) => self.sequence.load(atomic::Ordering::Relaxed),
                Some(word @ 1..=2) => self.model[word - 1].load(atomic::Ordering::Relaxed),
                Some(_) => 0,
            }
        }

        fn fence(&self) {
            atomic::fence(atomic::Ordering::AcqRel);
        }
    }

    impl WordsMut for Weak {
        fn store(&self, index: usize, value: u64) {
            match index - SEQUENCE {
                0 => self.sequence.store(value, atomic::Ordering::Relaxed),
                word @ 1..=2 => self.model[word - 1].store(value, atomic::Ordering::Relaxed),
                _ => {}
            }
        }
    }

    /// Every order in which the two can run, and every value that a load may return in it.
    #[test]
    fn no_order_of_a_writer_and_a_reader_tears_a_model() {
        let mut builder = Builder::new();
        builder.preemption_bound = Some(4);
        builder.check(|| {
            let memory = Arc::new(Weak { sequence: Default::default(), model: Default::default() });
            let written = Arc::clone(&memory);
            let writer = thread::spawn(move || {
                write(&*written, &uniform(1));
                write(&*written, &uniform(2));
            });
            match read(&*memory, 2) {
                Ok(model) => assert_eq!(model.state.0, model.epoch, "torn"),
                Err(refusal) => assert_eq!(refusal, Refusal::Unfinished),
            }
            writer.join().expect("the writer");
            assert_eq!(read(&*memory, 1).map(|model| (model.state.0, model.epoch)), Ok((2, 2)));
        });
    }
}
