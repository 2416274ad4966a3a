//! Output that never makes its writer wait: a clock is followed whether or not somebody reads of it.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// So many lines wait to be written; what exceeds them is left out. It is 100 s of ten lines a second.
const MOST: usize = 1_000;

/// How long the last lines are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lines that a thread writes, as fast as they are taken.
pub(super) struct Output(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    /// Lines that were left out.
    dropped: u64,
    /// A line is being written, which may take as long as nobody reads.
    is_writing: bool,
    /// Nothing will be written any more.
    is_closed: bool,
    /// Why, until it is told.
    error: Option<io::Error>,
}

impl Output {
    /// Starts a thread that writes to `sink` as long as this process runs.
    pub(super) fn new(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        thread::Builder::new().name("output".into()).spawn(move || writer.write(sink))?;
        Ok(Self(shared))
    }

    /// Has a line written, or leaves it out where too many wait, and all others until those are written.
    ///
    /// # Errors
    ///
    /// An earlier line could not be written.
    pub(super) fn push(&self, line: Vec<u8>) -> io::Result<()> {
        let mut queue = self.0.lock();
        if queue.is_closed {
            return Err(queue.take_error());
        }
        if queue.dropped > 0 || queue.lines.len() >= MOST {
            queue.dropped += 1;
        } else {
            queue.lines.push_back(line);
            self.0.changed.notify_all();
        }
        Ok(())
    }

    /// How many lines were left out, as soon as there is room to tell. From then on lines are taken again.
    pub(super) fn dropped(&self) -> Option<u64> {
        let mut queue = self.0.lock();
        let dropped = if queue.lines.is_empty() { mem::take(&mut queue.dropped) } else { 0 };
        (dropped > 0).then_some(dropped)
    }

    /// How many lines were left out, whether or not there is room.
    pub(super) fn all_dropped(&self) -> Option<u64> {
        let dropped = mem::take(&mut self.0.lock().dropped);
        (dropped > 0).then_some(dropped)
    }

    /// Has the last lines written, and waits for that, but not for ever.
    ///
    /// # Errors
    ///
    /// A line could not be written.
    pub(super) fn finish(self, last: impl IntoIterator<Item = Vec<u8>>) -> io::Result<()> {
        let mut queue = self.0.lock();
        queue.lines.extend(last);
        self.0.changed.notify_all();
        let is_unfinished = |queue: &mut Queue| !queue.is_closed && (queue.is_writing || !queue.lines.is_empty());
        let waited = self.0.changed.wait_timeout_while(queue, PATIENCE, is_unfinished);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if queue.is_closed { Err(queue.take_error()) } else { Ok(()) }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, mut sink: impl Write) {
        loop {
            let waited = self.changed.wait_while(self.lock(), |queue| queue.lines.is_empty());
            let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
            let line = queue.lines.pop_front().unwrap_or_default();
            queue.is_writing = true;
            drop(queue);
            let written = sink.write_all(&line).and_then(|()| sink.flush());
            let mut queue = self.lock();
            queue.is_writing = false;
            self.changed.notify_all();
            if let Err(error) = written {
                (queue.is_closed, queue.error) = (true, Some(error));
                return;
            }
        }
    }
}

impl Queue {
    fn take_error(&mut self) -> io::Error {
        self.error.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, thread};

    use super::*;

    fn line(number: usize) -> Vec<u8> {
        format!("{number}\n").into_bytes()
    }

    /// Passes one line on for each message that comes.
    struct Gate {
        open: std::sync::mpsc::Receiver<()>,
        out: io::PipeWriter,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Whoever lets go of the other end lets all pass.
            let _ = self.open.recv();
            self.out.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_not_read_is_left_out_and_counted() {
        let (mut read, out) = io::pipe().expect("a pipe");
        let (open, opened) = std::sync::mpsc::channel();
        let output = Output::new(Gate { open: opened, out }).expect("a thread");
        // One more than wait may be with the thread already.
        (0..MOST + 100).for_each(|number| output.push(line(number)).expect("it does not wait"));
        assert_eq!(output.dropped(), None, "there is no room to tell");
        drop(open);
        let dropped = loop {
            match output.dropped() {
                Some(dropped) => break dropped,
                None => thread::yield_now(),
            }
        };
        assert!((99..=100).contains(&dropped), "{dropped}");
        output.push(line(5_000)).expect("there is room again");
        output.finish([line(6_000)]).expect("a pipe");
        let written = MOST + 100 - usize::try_from(dropped).expect("some");
        let expected: Vec<u8> = (0..written).chain([5_000, 6_000]).flat_map(line).collect();
        let mut found = vec![0; expected.len()];
        read.read_exact(&mut found).expect("lines");
        assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(&expected));
    }

    #[test]
    fn the_end_does_not_wait_for_ever() {
        let (_read, out) = io::pipe().expect("a pipe");
        let (open, opened) = std::sync::mpsc::channel();
        let output = Output::new(Gate { open: opened, out }).expect("a thread");
        output.push(line(1)).expect("it does not wait");
        output.finish([line(2)]).expect("nothing has failed");
        drop(open);
    }

    #[test]
    fn an_error_is_told_once_it_is_known() {
        let (read, out) = io::pipe().expect("a pipe");
        drop(read);
        let output = Output::new(out).expect("a thread");
        output.push(line(1)).expect("not known yet");
        let error = output.finish([]).expect_err("nobody can read it");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
