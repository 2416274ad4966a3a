//! What a worker's reports become: numbers, and lines.

use std::{
    io::{self, Write as _},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use instamp::afxdp::{Counts, Reply, Sink};

use super::{
    csv,
    groups::{Groups, Lengths},
    json,
    tally::Tally,
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

/// How far all workers are.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    /// Whoever read the replies does so no more, or they cannot be written: the run is to end.
    pub(super) unread: std::sync::Mutex<Option<io::Error>>,
}

/// Takes what one worker reports.
pub(super) struct Collector {
    lines: Lines,
    tally: Tally,
    groups: Option<Groups>,
    pending: Vec<u8>,
    told: Counts,
    progress: Arc<Progress>,
}

impl Collector {
    pub(super) fn new(lines: Lines, groups: Option<Lengths>, progress: Arc<Progress>) -> Self {
        Self {
            lines,
            tally: Tally::new(),
            groups: groups.map(Groups::new),
            pending: Vec::new(),
            told: Counts::default(),
            progress,
        }
    }

    pub(super) fn into_parts(self) -> (Tally, Option<Groups>) {
        (self.tally, self.groups)
    }

    fn write(&mut self, reply: &Reply) {
        let written = match self.lines {
            Lines::None => return,
            Lines::Json { stamps, one_way } => json::reply(&mut self.pending, reply, stamps, one_way),
            Lines::Csv => csv::reply(&mut self.pending, reply),
        };
        debug_assert!(written.is_ok(), "memory takes everything");
        if self.pending.len() >= FULL {
            self.flush();
        }
    }

    /// Whole lines at once: those of several workers do not mix.
    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let mut out = io::stdout().lock();
        if let Err(error) = out.write_all(&self.pending).and_then(|()| out.flush()) {
            self.lines = Lines::None;
            self.progress.unread.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(error);
        }
        self.pending.clear();
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
