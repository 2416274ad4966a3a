//! One probe, one reply.

use instamp::{
    Clock, Correction, Hook, Phase, Record, ReserveError,
    time_namespace::{MonotonicOffset, TimeNamespaceError},
};
use instamp_trailer::wire::{MAX_CAP, trailer_length};
use pyo3::{
    conversion::FromPyObjectOwned,
    exceptions::{PyBufferError, PyOSError, PyOverflowError, PyValueError},
    prelude::*,
    types::PyBytes,
};

use crate::{
    buffer::{Buffer, Bytes},
    reason::Reason,
};

/// Probes whose payloads have one length and, with the sequence number, one sum: all of a run's requests have the same ICMP
/// checksum, whoever computes it, and load balancers that hash it keep them on one path.
#[pyclass(frozen, eq, module = "instamp", name = "Run")]
#[derive(PartialEq)]
pub(crate) struct Run(instamp::Run);

#[pymethods]
impl Run {
    /// Probes with payloads of `length` bytes, an even number, with room for `cap` stamps, 2 to 15. By default there is room for 4,
    /// or for fewer where the payload is short.
    #[new]
    #[pyo3(signature = (length = instamp::DEFAULT_PAYLOAD_LENGTH, *, cap = None))]
    fn new(length: usize, cap: Option<u8>) -> PyResult<Self> {
        let run = instamp::Run::new(length).map_err(refused)?;
        Ok(Self(match cap {
            Some(cap) => run.with_cap(cap).map_err(refused)?,
            None => run,
        }))
    }

    /// The same with this checksum for ICMP messages of this type, code and identifier.
    #[pyo3(signature = (checksum, *, identifier, type_ = 8, code = 0))]
    fn with_checksum(&self, checksum: u16, identifier: u16, type_: u8, code: u8) -> PyResult<Self> {
        self.0.with_checksum(type_, code, identifier, checksum).map(Self).map_err(refused)
    }

    /// The length of the payloads in bytes.
    #[getter]
    fn length(&self) -> usize {
        self.0.length()
    }

    /// How many stamps there is room for, or None where the payloads are too short for any.
    #[getter]
    fn cap(&self) -> Option<u8> {
        self.0.cap()
    }

    /// The checksum of the run's ICMP messages of this type, code and identifier, or None where nothing keeps it constant.
    #[pyo3(signature = (*, identifier, type_ = 8, code = 0))]
    fn checksum(&self, identifier: u16, type_: u8, code: u8) -> Option<u16> {
        self.0.checksum(type_, code, identifier)
    }

    /// Writes an empty trailer to the end of `buffer`, a writable bytes-like object of the run's length, in place. What is before
    /// it stays as it is, and must not change afterwards.
    fn reserve(&self, buffer: &Bound<'_, PyAny>, sequence: u16, nonce: u64) -> PyResult<()> {
        let mut buffer = Buffer::writable(buffer)?;
        let mut payload = vec![0; buffer.bytes().len()];
        buffer.bytes().copy(0, &mut payload);
        self.0.reserve(&mut payload, sequence, nonce).map_err(refused)?;
        let before = payload.len() - self.trailer_length();
        let trailer = payload.get(before..).unwrap_or_default();
        buffer.write(before, trailer).ok_or_else(|| PyBufferError::new_err("the buffer cannot be written to"))
    }

    /// A payload with an empty trailer at its end, behind `application` and zeros.
    #[pyo3(signature = (sequence, nonce, application = None))]
    fn payload<'py>(
        &self,
        py: Python<'py>,
        sequence: u16,
        nonce: u64,
        application: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let application = application.map(Buffer::of).transpose()?;
        PyBytes::new_with(py, self.0.length(), |payload| {
            if let Some(application) = application {
                let application = application.bytes();
                let room = payload.len() - self.trailer_length();
                let Some(before) = payload.get_mut(..room).and_then(|before| before.get_mut(..application.len()))
                else {
                    let length = application.len();
                    let error = format!("{length} bytes do not fit before the trailer: there is room for {room}");
                    return Err(PyValueError::new_err(error));
                };
                application.copy(0, before);
            }
            self.0.reserve(payload, sequence, nonce).map_err(refused)
        })
    }

    fn __repr__(&self) -> String {
        match self.0.cap() {
            Some(cap) => format!("Run({}, cap={cap})", self.0.length()),
            None => format!("Run({})", self.0.length()),
        }
    }
}

impl Run {
    /// In bytes: 0 where the payloads are too short for a trailer.
    fn trailer_length(&self) -> usize {
        self.0.cap().map_or(0, trailer_length)
    }
}

fn refused(error: ReserveError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// The end of a payload: the longest trailer, and so much that it is odd where the payload is. With what precedes it, it is taken
/// apart just the same.
pub(crate) struct Tail {
    bytes: [u8; trailer_length(MAX_CAP) + 1],
    len: usize,
    before: usize,
}

/// What a payload is made of.
pub(crate) struct Parts<'a> {
    /// The length of the application's part in bytes.
    pub(crate) application: usize,
    pub(crate) records: &'a [Record],
    pub(crate) full: bool,
}

impl Tail {
    /// Of the payload of `len` bytes at `offset`, or `None` where there are fewer.
    pub(crate) fn of(bytes: Bytes<'_>, offset: usize, len: usize) -> Option<Self> {
        let kept = len.min(trailer_length(MAX_CAP) + len % 2);
        let before = len - kept;
        let mut tail = Self { bytes: [0; trailer_length(MAX_CAP) + 1], len: kept, before };
        bytes.copy(offset.checked_add(before)?, tail.bytes.get_mut(..kept)?)?;
        Some(tail)
    }

    pub(crate) fn strip(&self, nonce: u64) -> Result<Parts<'_>, Reason> {
        let stripped = instamp::strip(self.bytes.get(..self.len).unwrap_or(&[]), nonce)?;
        let application = self.before + stripped.application.len();
        Ok(Parts { application, records: stripped.records, full: stripped.full })
    }
}

/// Phase, point, hook, node, clock, bound in nanoseconds, and time.
type RecordParts = (u8, u8, u8, u16, u8, Option<u64>, u64);

/// The length of the application's part, whether a hook found no free record, and the records.
type StrippedParts = (usize, bool, Vec<RecordParts>);

/// Either the parts, or the number of the reason.
#[derive(IntoPyObject)]
pub(crate) enum Either<T> {
    Parts(T),
    Reason(u8),
}

impl<T> From<Result<T, Reason>> for Either<T> {
    fn from(result: Result<T, Reason>) -> Self {
        match result {
            Ok(parts) => Self::Parts(parts),
            Err(reason) => Self::Reason(reason.number()),
        }
    }
}

#[pyfunction]
pub(crate) fn strip(payload: &Bound<'_, PyAny>, nonce: u64) -> PyResult<Either<StrippedParts>> {
    let buffer = Buffer::of(payload)?;
    let bytes = buffer.bytes();
    let tail = Tail::of(bytes, 0, bytes.len()).ok_or_else(|| PyValueError::new_err("an impossible length"))?;
    let stripped = tail.strip(nonce).map(|Parts { application, records, full }| {
        (application, full, records.iter().map(parts_of).collect::<Vec<RecordParts>>())
    });
    Ok(stripped.into())
}

fn parts_of(record: &Record) -> RecordParts {
    (
        record.phase() as u8,
        record.point(),
        record.hook().number(),
        record.node(),
        record.clock().number(),
        record.bound().nanoseconds(),
        record.time_ns(),
    )
}

/// Of Python's `Record`.
fn record(object: &Bound<'_, PyAny>) -> PyResult<Record> {
    fn attribute<'py, T: FromPyObjectOwned<'py>>(object: &Bound<'py, PyAny>, name: &str) -> PyResult<T> {
        object.getattr(name)?.extract().map_err(Into::into)
    }
    let small = |name, most| match attribute::<u8>(object, name)? {
        number if number <= most => Ok(number),
        number => Err(PyOverflowError::new_err(format!("a record's {name} is 0 to {most}, not {number}"))),
    };
    let phase = if small("phase", 1)? == 0 { Phase::Request } else { Phase::Reply };
    let hook = Hook::from_number(small("hook", 15)?);
    let clock = Clock::from_number(small("clock", 7)?);
    let bound = attribute::<Option<u64>>(object, "bound_ns")?.map_or(instamp::Bound::UNKNOWN, instamp::Bound::at_least);
    let (node, time_ns) = (attribute(object, "node")?, attribute(object, "time_ns")?);
    Ok(Record::new(phase, small("point", 7)?, hook, node, clock, bound, time_ns))
}

/// In the order of the fields of Python's `Correction`.
type CorrectionParts =
    (i64, i64, Option<i64>, i64, i64, Option<u64>, (u8, u8, u8, u8), Option<i64>, Option<u64>, bool, bool);

#[pyfunction]
pub(crate) fn correct(
    records: Vec<Bound<'_, PyAny>>,
    sent_ns: u64,
    received_ns: u64,
) -> PyResult<Either<CorrectionParts>> {
    if records.len() > usize::from(MAX_CAP) {
        let error = format!("{} records, and a trailer holds {MAX_CAP} at most", records.len());
        return Err(PyValueError::new_err(error));
    }
    let records: Vec<Record> = records.iter().map(record).collect::<PyResult<_>>()?;
    let correction = instamp::correct(&records, sent_ns, received_ns).map_err(Reason::from);
    Ok(correction.map(|correction| parts_of_correction(&correction)).into())
}

fn parts_of_correction(correction: &Correction) -> CorrectionParts {
    let source = correction.net_source;
    let number = Hook::number;
    (
        correction.rtt_ns,
        correction.net_ns,
        correction.remote_ns,
        correction.tx_stack_ns,
        correction.rx_stack_ns,
        correction.bound_ns,
        (number(source.request), source.request_point, number(source.reply), source.reply_point),
        correction.nic_net_ns,
        correction.nic_net_bound_ns,
        correction.nic_left_out,
        correction.negative,
    )
}

/// How far `CLOCK_MONOTONIC` of this process is ahead of the host's, in nanoseconds: 0 outside of time namespaces. It is to be
/// subtracted from this process's readings before they are compared with stamps.
#[pyfunction]
pub(crate) fn monotonic_offset_ns() -> PyResult<i64> {
    let error = |error: TimeNamespaceError| PyOSError::new_err(error.to_string());
    Ok(MonotonicOffset::of_this_process().map_err(error)?.nanoseconds())
}
