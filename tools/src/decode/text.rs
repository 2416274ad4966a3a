//! For people: a line for each packet, and one for each of its records.

use std::{fmt, io};

use instamp_capture::{Frame, Probe, Refused};

use crate::units::Nanoseconds;

pub(super) fn probe(out: &mut impl io::Write, frame: &Frame<'_>, probe: &Probe<'_>) -> io::Result<()> {
    let footer = probe.trailer.footer;
    let state = footer.state();
    writeln!(
        out,
        "{} {} echo {}, id {}, seq {}, checksum 0x{:04x} ({}), nonce 0x{:016x}, complement 0x{:04x}, {} of {} records{}",
        Time(frame.time_ns),
        probe.addresses,
        probe.phase,
        probe.identifier,
        probe.sequence,
        probe.checksum,
        if probe.checksum_valid { "correct" } else { "WRONG" },
        footer.nonce(),
        state.complement(),
        state.used(),
        state.cap(),
        if state.is_full() { ", full: a hook found no room" } else { "" },
    )?;
    let mut previous: Option<&instamp_trailer::Record> = None;
    for record in probe.records() {
        write!(
            out,
            "    {:<7}  point {}  {:<11}  node {:<5}  {:<9}  {}",
            record.phase().name(),
            record.point(),
            record.hook(),
            record.node(),
            record.clock().to_string(),
            Time(i64::try_from(record.time_ns()).ok()),
        )?;
        match record.bound().nanoseconds() {
            Some(bound) => write!(out, "  +-{bound}ns")?,
            None => write!(out, "  +-?")?,
        }
        // Times of different clocks have no difference.
        if let Some(before) = previous.filter(|p| (p.node(), p.clock()) == (record.node(), record.clock())) {
            let difference = i128::from(record.time_ns()) - i128::from(before.time_ns());
            if let Ok(difference) = i64::try_from(difference) {
                let sign = if difference < 0 { "" } else { "+" };
                write!(out, "  {sign}{}", Nanoseconds(difference))?;
            }
        }
        writeln!(out)?;
        previous = Some(record);
    }
    Ok(())
}

pub(super) fn refused(out: &mut impl io::Write, frame: &Frame<'_>, refused: &Refused) -> io::Result<()> {
    write!(out, "{} {} no probe: {}", Time(frame.time_ns), refused.addresses, refused.refusal)?;
    if frame.bytes.len() < frame.length as usize {
        write!(out, " ({} of {} bytes captured)", frame.bytes.len(), frame.length)?;
    }
    writeln!(out)
}

/// Seconds with nine decimals, or a dash.
struct Time(Option<i64>);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: u64 = 1_000_000_000;
        match self.0 {
            Some(time) => {
                let (sign, magnitude) = (if time < 0 { "-" } else { "" }, time.unsigned_abs());
                write!(f, "{sign}{}.{:09}", magnitude / SECOND, magnitude % SECOND)
            }
            None => f.write_str("-"),
        }
    }
}
