//! Writes what was printed, so that nobody who sends or receives waits for whoever reads.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{LOOK, collector::Progress};
use crate::signals::{Signals, Wish};

/// So many buffers wait to be written.
const BUFFERS: usize = 256;

/// Takes whole lines, from whoever has a clone, without ever waiting.
#[derive(Clone)]
pub(super) struct Output(SyncSender<Vec<u8>>);

/// Why lines were not taken.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// Too many wait: here they are.
    Full(Vec<u8>),
    /// Nothing is written any more.
    Closed,
}

impl Output {
    /// One for what is printed in a run, and what [`Writer::start`] takes of it.
    pub(super) fn new() -> (Self, Receiver<Vec<u8>>) {
        let (sender, receiver) = mpsc::sync_channel(BUFFERS);
        (Self(sender), receiver)
    }

    pub(super) fn push(&self, lines: Vec<u8>) -> Result<(), Refused> {
        self.0.try_send(lines).map_err(|error| match error {
            TrySendError::Full(lines) => Refused::Full(lines),
            TrySendError::Disconnected(_) => Refused::Closed,
        })
    }
}

/// The thread that writes. It ends when all clones of the output are gone, or something cannot be written.
pub(super) struct Writer(JoinHandle<()>);

impl Writer {
    /// Writes `first`, and then what comes. Why it cannot goes to `progress`.
    pub(super) fn start(
        mut sink: impl Write + Send + 'static,
        first: Vec<u8>,
        lines: Receiver<Vec<u8>>,
        progress: Arc<Progress>,
    ) -> io::Result<Self> {
        let mut write = move |lines: Vec<u8>| sink.write_all(&lines).and_then(|()| sink.flush());
        let write_all = move || {
            if let Err(error) = write(first).and_then(|()| lines.into_iter().try_for_each(write)) {
                progress.set_unread(error);
            }
        };
        thread::Builder::new().name("output".into()).spawn(write_all).map(Self)
    }

    /// Has `last` written, and awaits that all is: until a signal asks for an end, at most for `patience`. Says whether all is.
    ///
    /// The thread is not joined: it may be in a write for as long as nobody reads.
    pub(super) async fn finish(
        self,
        output: Output,
        last: Vec<u8>,
        signals: &mut Signals,
        patience: Option<Duration>,
    ) -> bool {
        let started = Instant::now();
        let mut unsent = Some((output, last));
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                wish = signals.next() => match wish {
                    Wish::Status => eprintln!("the output is not yet read to its end"),
                    Wish::End => return false,
                },
                _ = look.tick() => {
                    // The output is let go of with its last lines, which ends the thread.
                    unsent = unsent.and_then(|(output, last)| match output.push(last) {
                        Err(Refused::Full(last)) => Some((output, last)),
                        Ok(()) | Err(Refused::Closed) => None,
                    });
                    if self.0.is_finished() {
                        return true;
                    }
                    if patience.is_some_and(|patience| started.elapsed() >= patience) {
                        return false;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Writes what a permit was given for.
    struct Gated {
        permits: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.permits.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.written.lock().expect("no panic").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Bench {
        output: Output,
        writer: Writer,
        permit: mpsc::Sender<()>,
        written: Arc<Mutex<Vec<u8>>>,
        progress: Arc<Progress>,
    }

    fn bench() -> Bench {
        let (permit, permits) = mpsc::channel();
        let (written, progress) = (Arc::default(), Arc::default());
        let (output, lines) = Output::new();
        let sink = Gated { permits, written: Arc::clone(&written) };
        let writer = Writer::start(sink, b"first\n".to_vec(), lines, Arc::clone(&progress)).expect("a thread");
        Bench { output, writer, permit, written, progress }
    }

    #[test]
    fn nobody_waits_for_a_writer_that_blocks() {
        let Bench { output, writer, permit, written, progress } = bench();
        // The writer has the first lines, and has not taken others.
        for _ in 0..BUFFERS {
            assert_eq!(output.push(b"more\n".to_vec()), Ok(()));
        }
        assert_eq!(output.push(b"odd\n".to_vec()), Err(Refused::Full(b"odd\n".to_vec())));
        for _ in 0..=BUFFERS {
            permit.send(()).expect("a writer");
        }
        drop(output);
        writer.0.join().expect("an end");
        let expected = format!("first\n{}", "more\n".repeat(BUFFERS));
        assert_eq!(String::from_utf8(written.lock().expect("no panic").clone()).expect("text"), expected);
        assert!(progress.take_unread().is_none());
    }

    #[test]
    fn what_cannot_be_written_is_told_and_closes_the_output() {
        let Bench { output, writer, permit, progress, .. } = bench();
        drop(permit);
        writer.0.join().expect("an end");
        assert_eq!(output.push(b"more\n".to_vec()), Err(Refused::Closed));
        assert_eq!(progress.take_unread().map(|error| error.kind()), Some(io::ErrorKind::BrokenPipe));
    }

    #[tokio::test]
    async fn the_last_lines_are_awaited_with_patience() {
        let mut signals = Signals::new().expect("signals");
        let Bench { output, writer, permit: _unused, .. } = bench();
        assert!(!writer.finish(output, b"last\n".to_vec(), &mut signals, Some(Duration::ZERO)).await);

        let Bench { output, writer, permit, written, .. } = bench();
        for _ in 0..2 {
            permit.send(()).expect("a writer");
        }
        assert!(writer.finish(output, b"last\n".to_vec(), &mut signals, None).await);
        assert_eq!(*written.lock().expect("no panic"), b"first\nlast\n");
    }
}
