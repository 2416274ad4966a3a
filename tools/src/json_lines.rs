//! Output for programs: one JSON object a line.

use std::io;

use serde::Serialize;

/// Writes a line.
pub(crate) fn write(out: &mut impl io::Write, line: &impl Serialize) -> io::Result<()> {
    // One write a line: readers of a pipe never see half of one.
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    out.write_all(&bytes)
}
