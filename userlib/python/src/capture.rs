//! A whole capture.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read},
    net::IpAddr,
    path::PathBuf,
};

use instamp::{Clock, Phase, Record, local_node};
use instamp_capture::{Addresses, Decoded, Error, Frame, Probe, decode, read};
use pyo3::{exceptions::PyOSError, prelude::*, types::PyDict};

use crate::{
    buffer::{Buffer, Reader},
    columns::table,
    many::used,
    outcomes::{Outcomes, Records, push, row},
    reason::Reason,
};

table! {
    /// A row for each probe.
    Probes {
        packet: u64,
        time_ns: i64,
        time_known: bool,
        source: i64,
        destination: i64,
        phase: u8,
        identifier: u16,
        sequence: u16,
        checksum: u16,
        checksum_valid: bool,
        nonce: u64,
        complement: u16,
        used: u8,
        cap: u8,
        full: bool,
        application_bytes: i64,
        request: i64,
    }
}

/// What is in a capture.
#[derive(Default)]
struct Found {
    probes: Probes,
    outcomes: Outcomes,
    records: Records,
    addresses: Numbered,
    /// The row of the latest request of this nonce and sequence number between these addresses.
    requests: HashMap<(u64, u16, Addresses), i64>,
}

/// Addresses, each with a number.
#[derive(Default)]
struct Numbered {
    numbers: HashMap<IpAddr, i64>,
    texts: Vec<String>,
}

impl Numbered {
    fn number(&mut self, address: IpAddr) -> i64 {
        *self.numbers.entry(address).or_insert_with(|| {
            self.texts.push(address.to_string());
            row(self.texts.len() - 1)
        })
    }
}

impl Found {
    fn push(&mut self, frame: &Frame<'_>, probe: &Probe<'_>) {
        let (state, nonce) = (probe.trailer.footer.state(), probe.trailer.footer.nonce());
        let Addresses { source, destination } = probe.addresses;
        let probes = &mut self.probes;
        let index = probes.packet.len();
        let request = match probe.phase {
            Phase::Request => {
                self.requests.insert((nonce, probe.sequence, probe.addresses), row(index));
                None
            }
            Phase::Reply => {
                let there = Addresses { source: destination, destination: source };
                self.requests.get(&(nonce, probe.sequence, there)).copied()
            }
        };
        probes.packet.push(frame.number);
        push(&mut probes.time_ns, &mut probes.time_known, frame.time_ns);
        probes.source.push(self.addresses.number(source));
        probes.destination.push(self.addresses.number(destination));
        probes.phase.push(probe.phase as u8);
        probes.identifier.push(probe.identifier);
        probes.sequence.push(probe.sequence);
        probes.checksum.push(probe.checksum);
        probes.checksum_valid.push(probe.checksum_valid);
        probes.nonce.push(nonce);
        probes.complement.push(state.complement());
        probes.used.push(used(probe.records()));
        probes.cap.push(state.cap());
        probes.full.push(state.is_full());
        probes.application_bytes.push(row(probe.trailer.application.len()));
        probes.request.push(request.unwrap_or(-1));
        self.records.push(index, probe.records());
        let (first_ns, last_ns) = own_span(probe.records());
        let outcome = instamp::correct(probe.records(), first_ns, last_ns).map_err(Reason::from);
        self.outcomes.push(outcome.as_ref().map_err(|reason| *reason));
    }
}

/// The first and the last time that the probing host has stamped by the application's clock. They take the place of send and receive,
/// of which a capture does not tell.
fn own_span(records: &[Record]) -> (u64, u64) {
    let local = local_node(records);
    let own = records.iter().filter(|record| Some(record.node()) == local && record.clock() == Clock::MONOTONIC);
    let known = own.filter(|record| record.hook().number() != 0 && record.hook().name().is_some());
    let times = known.map(Record::time_ns);
    (times.clone().min().unwrap_or(0), times.max().unwrap_or(0))
}

/// The tables of probes, of outcomes and of records, the addresses by number, and why the capture was not read to its end.
type Parts<'py> = (Bound<'py, PyDict>, Bound<'py, PyDict>, Bound<'py, PyDict>, Vec<String>, Option<String>);

#[pyfunction]
pub(crate) fn read_file(py: Python<'_>, path: PathBuf) -> PyResult<Parts<'_>> {
    let named = |error: io::Error| match error.raw_os_error() {
        // In Python's own words, and with the file's name.
        Some(number) => match py.import("os").and_then(|os| os.call_method1("strerror", (number,))) {
            Ok(text) => PyOSError::new_err((number, text.unbind(), path.as_os_str().to_owned())),
            Err(error) => error,
        },
        None => error.into(),
    };
    let file = py.detach(|| File::open(&path)).map_err(named)?;
    read_from(py, BufReader::new(file), named)
}

#[pyfunction]
pub(crate) fn read_bytes<'py>(py: Python<'py>, bytes: &Bound<'py, PyAny>) -> PyResult<Parts<'py>> {
    let buffer = Buffer::of(bytes)?;
    read_from(py, Reader::new(buffer.bytes()), PyErr::from)
}

/// `failed` makes Python's error of one while reading.
fn read_from(py: Python<'_>, input: impl Read + Send, failed: impl FnOnce(io::Error) -> PyErr) -> PyResult<Parts<'_>> {
    let (found, error) = py.detach(|| {
        let mut found = Found::default();
        let result = read(input, |frame| {
            if let Decoded::Probe(probe) = decode(frame) {
                found.push(frame, &probe);
            }
            Ok::<_, Error>(())
        });
        (found, result.err())
    });
    let Found { probes, outcomes, records, addresses, requests: _ } = found;
    let error = match error {
        Some(Error::Read(error)) => return Err(failed(error)),
        error => error.map(|error| error.to_string()),
    };
    Ok((probes.into_python(py)?, outcomes.into_python(py)?, records.into_python(py)?, addresses.texts, error))
}
