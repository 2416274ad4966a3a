//! Many replies at once.

use instamp_trailer::Record;
use pyo3::{exceptions::PyValueError, prelude::*, types::PyDict};

use crate::{
    buffer::{Buffer, Bytes},
    columns::table,
    outcomes::{Outcomes, Records, row},
    reason::Reason,
    scalar::{Parts, Tail},
};

table! {
    /// A row for each reply.
    Stripped {
        application_bytes: i64,
        used: u8,
        full: bool,
    }
}

impl Stripped {
    fn push(&mut self, parts: Result<&Parts<'_>, Reason>) {
        let parts = parts.ok();
        self.application_bytes.push(parts.map_or(0, |parts| row(parts.application)));
        self.used.push(parts.map_or(0, |parts| used(parts.records)));
        self.full.push(parts.is_some_and(|parts| parts.full));
    }
}

/// How many there are: at most 15.
pub(crate) fn used(records: &[Record]) -> u8 {
    u8::try_from(records.len()).unwrap_or(u8::MAX)
}

/// Where the payloads are in one run of bytes.
#[derive(Clone, Copy)]
enum Layout<'a> {
    /// One after another, of this length.
    Rows(usize),
    /// By arrays of their offsets and lengths, in bytes.
    Ranges { offsets: Bytes<'a>, lengths: Bytes<'a> },
}

impl Layout<'_> {
    /// Offset and length of the payload of this index.
    fn range(self, index: usize) -> Option<(usize, usize)> {
        match self {
            Self::Rows(length) => Some((index.checked_mul(length)?, length)),
            Self::Ranges { offsets, lengths } => {
                Some((offsets.number(index)?.try_into().ok()?, lengths.number(index)?.try_into().ok()?))
            }
        }
    }
}

/// The same as Python tells it.
#[derive(FromPyObject)]
pub(crate) enum Places<'py> {
    Rows(usize),
    Ranges(Bound<'py, PyAny>, Bound<'py, PyAny>),
}

type Tables<'py> = (Bound<'py, PyDict>, Bound<'py, PyDict>, Option<Bound<'py, PyDict>>);

/// All arrays are of unsigned 64-bit numbers. `places` is the length of every payload, or a pair of arrays: offsets and lengths.
#[pyfunction]
pub(crate) fn strip_correct<'py>(
    py: Python<'py>,
    payloads: &Bound<'py, PyAny>,
    nonces: &Bound<'py, PyAny>,
    sent_ns: &Bound<'py, PyAny>,
    received_ns: &Bound<'py, PyAny>,
    places: Places<'py>,
    with_records: bool,
) -> PyResult<Tables<'py>> {
    let [payloads, nonces, sent, received] =
        [Buffer::of(payloads)?, Buffer::of(nonces)?, Buffer::of(sent_ns)?, Buffer::of(received_ns)?];
    let ranges;
    let layout = match &places {
        Places::Rows(length) => Layout::Rows(*length),
        Places::Ranges(offsets, lengths) => {
            ranges = (Buffer::of(offsets)?, Buffer::of(lengths)?);
            Layout::Ranges { offsets: ranges.0.bytes(), lengths: ranges.1.bytes() }
        }
    };
    let (payloads, nonces, sent, received) = (payloads.bytes(), nonces.bytes(), sent.bytes(), received.bytes());

    let (mut stripped, mut outcomes) = (Stripped::default(), Outcomes::default());
    let mut records = with_records.then(Records::default);
    let outside = py.detach(|| {
        for index in 0..nonces.len() / 8 {
            let numbers = || Some((nonces.number(index)?, sent.number(index)?, received.number(index)?));
            let tail = layout.range(index).and_then(|(offset, len)| Tail::of(payloads, offset, len));
            let Some(((nonce, sent_ns, received_ns), tail)) = numbers().zip(tail) else { return Some(index) };
            let parts = tail.strip(nonce);
            stripped.push(parts.as_ref().map_err(|reason| *reason));
            if let (Some(table), Ok(parts)) = (&mut records, &parts) {
                table.push(index, parts.records);
            }
            let outcome = parts.and_then(|parts| Ok(instamp::correct(parts.records, sent_ns, received_ns)?));
            outcomes.push(outcome.as_ref().map_err(|reason| *reason));
        }
        None
    });
    if let Some(index) = outside {
        return Err(PyValueError::new_err(format!("the payload of index {index} lies outside of the buffer")));
    }
    let records = records.map(|records| records.into_python(py)).transpose()?;
    Ok((stripped.into_python(py)?, outcomes.into_python(py)?, records))
}
