//! What happens at a queue becomes numbers, and lines.

use std::{
    io, mem,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use instamp::afxdp::{Counts, Reply, Sink};

use super::{
    csv,
    groups::{Groups, Lengths},
    json,
    tally::Tally,
    writer::{Output, Refused},
};

/// Lines are written when there are so many bytes of them, or now and then.
const FULL: usize = 1 << 16;

/// In which form replies are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lines {
    None,
    Json { stamps: bool, one_way: bool },
    Csv,
}

/// How far all queues are.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    /// Whoever read the replies does so no more, or they cannot be written: the run is to end.
    unread: Mutex<Option<io::Error>>,
}

impl Progress {
    pub(super) fn set_unread(&self, error: io::Error) {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    pub(super) fn is_unread(&self) -> bool {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn take_unread(&self) -> Option<io::Error> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What a collector leaves.
pub(super) struct Collected {
    pub(super) tally: Tally,
    pub(super) groups: Option<Groups>,
    /// Replies whose lines were left out.
    pub(super) unwritten: u64,
}

/// Takes what happens at one queue.
pub(super) struct Collector {
    lines: Lines,
    tally: Tally,
    groups: Option<Groups>,
    output: Output,
    pending: Vec<u8>,
    /// The replies in it.
    replies: u64,
    unwritten: u64,
    told: Counts,
    progress: Arc<Progress>,
}

impl Collector {
    pub(super) fn new(lines: Lines, groups: Option<Lengths>, output: Output, progress: Arc<Progress>) -> Self {
        Self {
            lines,
            tally: Tally::new(),
            groups: groups.map(Groups::new),
            output,
            pending: Vec::new(),
            replies: 0,
            unwritten: 0,
            told: Counts::default(),
            progress,
        }
    }

    pub(super) fn into_parts(mut self) -> Collected {
        self.flush();
        Collected { tally: self.tally, groups: self.groups, unwritten: self.unwritten + self.replies }
    }

    fn write(&mut self, reply: &Reply) {
        let written = match self.lines {
            Lines::None => return,
            Lines::Json { stamps, one_way } => json::reply(&mut self.pending, reply, stamps, one_way),
            Lines::Csv => csv::reply(&mut self.pending, reply),
        };
        debug_assert!(written.is_ok(), "memory takes everything");
        self.replies += 1;
        if self.pending.len() >= FULL {
            self.flush();
        }
    }

    /// Whole lines at once: those of several queues do not mix. What finds no room waits here until it is too much, and is then left
    /// out: whoever waited for the reader would measure the reader.
    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        match self.output.push(mem::take(&mut self.pending)) {
            Ok(()) => self.replies = 0,
            Err(Refused::Full(lines)) if lines.len() < FULL => self.pending = lines,
            Err(Refused::Full(_)) => self.unwritten += mem::take(&mut self.replies),
            Err(Refused::Closed) => {
                self.lines = Lines::None;
                self.replies = 0;
            }
        }
    }
}

impl Sink for Collector {
    fn sent(&mut self, target: IpAddr) {
        if let Some(groups) = &mut self.groups {
            groups.sent(target);
        }
    }

    fn reply(&mut self, reply: &Reply) {
        self.tally.count(reply);
        if let Some(groups) = &mut self.groups {
            groups.count(reply);
        }
        self.write(reply);
    }

    fn tick(&mut self, counts: &Counts) {
        self.flush();
        self.progress.sent.fetch_add(counts.sent - self.told.sent, Ordering::Relaxed);
        self.progress.received.fetch_add(counts.received - self.told.received, Ordering::Relaxed);
        self.told = *counts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::samples;

    #[test]
    fn what_finds_no_room_is_counted() {
        // Nobody takes anything.
        let (output, lines) = Output::new();
        while output.push(Vec::new()).is_ok() {}
        let mut collector = Collector::new(Lines::Csv, None, output, Arc::default());
        for _ in 0..10_000 {
            collector.reply(&samples::reply());
        }
        assert!(collector.unwritten > 0 && collector.pending.len() < FULL);
        collector.tick(&Counts::default());
        assert_eq!(collector.unwritten + collector.replies, 10_000);
        // There is room again, for what waited.
        let waiting = collector.replies;
        assert!(waiting > 0);
        lines.recv().expect("lines");
        assert_eq!(collector.into_parts().unwritten, 10_000 - waiting);
        let written: Vec<u8> = lines.into_iter().flatten().collect();
        assert_eq!(written.iter().filter(|byte| **byte == b'\n').count() as u64, waiting);
    }
}
