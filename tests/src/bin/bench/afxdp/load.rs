//! What the processors do.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::unistd::{SysconfVar, sysconf};

/// Busy time of all processors, in ticks.
fn busy() -> u64 {
    let stat = fs::read_to_string("/proc/stat").expect("/proc");
    let line = stat.lines().next().expect("a line for all processors");
    let ticks: Vec<u64> = line.split_whitespace().skip(1).map(|ticks| ticks.parse().expect("a number")).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)).
    ticks.iter().take(8).sum::<u64>() - ticks[3] - ticks[4]
}

/// What something took: the machine's time, and that of all its processors.
pub(super) struct Took {
    pub(super) elapsed: Duration,
    pub(super) busy: Duration,
}

/// Runs `task`.
pub(super) fn measured<T>(task: impl FnOnce() -> T) -> (T, Took) {
    let (before, started) = (busy(), Instant::now());
    let result = task();
    let (elapsed, ticks) = (started.elapsed(), busy() - before);
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u32::try_from(ticks).ok());
    let tick = Duration::from_secs(1) / per_second.expect("ticks a second");
    (result, Took { elapsed, busy: tick * u32::try_from(ticks).expect("a short run") })
}
