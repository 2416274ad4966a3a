//! Rings in ordinary memory: against a queue, and between threads.

use std::{cell::Cell, collections::VecDeque, rc::Rc};

use proptest::prelude::*;

use super::*;

/// A ring whose two ends are on one thread.
#[derive(Clone)]
struct Local(Rc<Memory>);

struct Memory {
    producer: Cell<u32>,
    consumer: Cell<u32>,
    flags: Cell<bool>,
    entries: Vec<Cell<u64>>,
}

impl Local {
    fn new(size: usize, start: u32) -> Self {
        let (producer, consumer) = (Cell::new(start), Cell::new(start));
        Self(Rc::new(Memory { producer, consumer, flags: Cell::new(false), entries: vec![Cell::new(0); size] }))
    }

    fn slot(&self, number: u32) -> &Cell<u64> {
        &self.0.entries[(number & (self.size() - 1)) as usize]
    }
}

impl Shared for Local {
    type Entry = u64;

    fn size(&self) -> u32 {
        self.0.entries.len().try_into().expect("a small ring")
    }
    fn published(&self) -> u32 {
        self.0.producer.get()
    }
    fn publish(&mut self, number: u32) {
        self.0.producer.set(number);
    }
    fn released(&self) -> u32 {
        self.0.consumer.get()
    }
    fn release(&mut self, number: u32) {
        self.0.consumer.set(number);
    }
    fn needs_wakeup(&self) -> bool {
        self.0.flags.get()
    }
    fn read(&self, number: u32) -> u64 {
        self.slot(number).get()
    }
    fn write(&mut self, number: u32, entry: u64) {
        self.slot(number).set(entry);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push,
    Publish,
    Pop,
    Release,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Runs of one kind, so that the ring gets full and empty.
    let step = prop_oneof![Just(Step::Push), Just(Step::Publish), Just(Step::Pop), Just(Step::Release)];
    let run = (step, 1..12_usize).prop_map(|(step, count)| vec![step; count]);
    prop::collection::vec(run, 0..60).prop_map(|runs| runs.concat())
}

/// Every counter, those around the wrap more often.
fn start() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), (u32::MAX - 20)..=u32::MAX, 0..20_u32]
}

proptest! {
    #[test]
    fn a_ring_is_a_queue(start in start(), size in 0..5_u32, steps in steps()) {
        let ring = Local::new(1 << size, start);
        let size = 1 << size;
        let (mut producer, mut consumer) = (Producer::new(ring.clone()), Consumer::new(ring));
        // Entries that the consumer cannot see yet, that it can, and that it has read but keeps the places of.
        let (mut written, mut visible, mut kept) = (VecDeque::new(), VecDeque::new(), 0);
        let mut next = 0;
        for step in steps {
            match step {
                Step::Push => {
                    let fits = written.len() + visible.len() + kept < size;
                    prop_assert_eq!(producer.push(next), fits);
                    if fits {
                        written.push_back(next);
                        next += 1;
                    }
                }
                Step::Publish => {
                    producer.publish();
                    visible.append(&mut written);
                }
                Step::Pop => {
                    let popped = visible.pop_front();
                    prop_assert_eq!(consumer.pop(), popped);
                    kept += usize::from(popped.is_some());
                }
                Step::Release => {
                    consumer.release();
                    kept = 0;
                }
            }
            let used = written.len() + visible.len() + kept;
            prop_assert_eq!(producer.outstanding() as usize, used);
            prop_assert_eq!(producer.room(u32::MAX) as usize, size - used);
            prop_assert_eq!(consumer.is_empty(), visible.is_empty());
        }
    }
}

#[test]
fn counters_go_on_behind_the_last_number() {
    let ring = Local::new(4, u32::MAX - 1);
    let (mut producer, mut consumer) = (Producer::new(ring.clone()), Consumer::new(ring.clone()));
    assert!((0..4).all(|entry| producer.push(entry)) && !producer.push(4));
    assert_eq!(consumer.pop(), None);
    producer.publish();
    assert_eq!((ring.published(), ring.released()), (2, u32::MAX - 1));
    assert_eq!([(); 5].map(|()| consumer.pop()), [Some(0), Some(1), Some(2), Some(3), None]);
    assert!(!producer.push(4));
    consumer.release();
    assert_eq!(ring.released(), 2);
    assert!(producer.push(4) && producer.outstanding() == 1);
}

#[test]
fn an_end_begins_where_the_other_is() {
    let ring = Local::new(4, 7);
    let mut producer = Producer::new(ring.clone());
    assert!(producer.push(1) && producer.push(2));
    producer.publish();
    let mut again = Producer::new(ring.clone());
    assert_eq!((again.outstanding(), again.room(4)), (2, 2));
    assert_eq!(Consumer::new(ring).pop(), Some(1));
}

#[test]
fn a_counter_that_makes_no_sense_leaves_no_room() {
    let mut ring = Local::new(4, 0);
    let mut producer = Producer::new(ring.clone());
    ring.release(100);
    assert_eq!(producer.room(u32::MAX), 0);
    assert!(!producer.push(1));
}

#[test]
fn the_kernel_asks_by_a_flag() {
    let ring = Local::new(4, 0);
    let producer = Producer::new(ring.clone());
    assert!(!producer.needs_wakeup());
    ring.0.flags.set(true);
    assert!(producer.needs_wakeup());
}

/// Every order of the accesses of two threads.
mod threads {
    use loom::{
        cell::UnsafeCell,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        thread,
    };

    use super::*;

    #[derive(Clone)]
    struct Between(Arc<(AtomicU32, AtomicU32, [UnsafeCell<u64>; 2])>);

    impl Shared for Between {
        type Entry = u64;

        fn size(&self) -> u32 {
            2
        }
        fn published(&self) -> u32 {
            self.0.0.load(Ordering::Acquire)
        }
        fn publish(&mut self, number: u32) {
            self.0.0.store(number, Ordering::Release);
        }
        fn released(&self) -> u32 {
            self.0.1.load(Ordering::Acquire)
        }
        fn release(&mut self, number: u32) {
            self.0.1.store(number, Ordering::Release);
        }
        fn needs_wakeup(&self) -> bool {
            false
        }
        // The model finds any access to a place that is not ordered with the other thread's.
        fn read(&self, number: u32) -> u64 {
            self.0.2[(number & 1) as usize].with(|_| u64::from(number))
        }
        fn write(&mut self, number: u32, _: u64) {
            self.0.2[(number & 1) as usize].with_mut(|_| ());
        }
    }

    #[test]
    fn nobody_touches_the_others_entries() {
        // More preemptions take ten times as long.
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let start = u32::MAX;
            let memory = (AtomicU32::new(start), AtomicU32::new(start), [UnsafeCell::new(0), UnsafeCell::new(0)]);
            let ring = Between(Arc::new(memory));
            let (mut producer, mut consumer) = (Producer::new(ring.clone()), Consumer::new(ring));
            let writes = thread::spawn(move || {
                for entry in 0..3 {
                    while !producer.push(entry) {
                        thread::yield_now();
                    }
                    producer.publish();
                }
            });
            for number in 0..3 {
                let read = loop {
                    match consumer.pop() {
                        Some(read) => break read,
                        None => thread::yield_now(),
                    }
                };
                assert_eq!(read, u64::from(start.wrapping_add(number)));
                consumer.release();
            }
            writes.join().expect("it does not panic");
        });
    }
}
