//! Output for programs: one JSON object a line.

use std::{io, time::SystemTime};

use serde::Serialize;

use crate::units::whole_nanoseconds;

/// Now, in nanoseconds since 1970-01-01 UTC by this host's `CLOCK_REALTIME`: when a run has started.
pub(crate) fn now_ns() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, whole_nanoseconds)
}

/// Writes a line.
pub(crate) fn write(out: &mut impl io::Write, line: &impl Serialize) -> io::Result<()> {
    // One write a line: readers of a pipe never see half of one.
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    out.write_all(&bytes)
}
