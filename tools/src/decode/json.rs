//! One JSON object a line.

use std::{io, net::IpAddr};

use instamp_capture::{Frame, Probe, Refused};
use instamp_trailer::{Phase, Refusal};
use serde::Serialize;

use crate::{
    json_lines,
    stamp::{Stamp, displayed},
};

/// The members are the output's schema, and so is their order.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Probe {
        packet: u64,
        time_ns: Option<i64>,
        source: IpAddr,
        destination: IpAddr,
        #[serde(serialize_with = "displayed")]
        phase: Phase,
        identifier: u16,
        sequence: u16,
        checksum: u16,
        checksum_valid: bool,
        /// 16 hexadecimal digits: a number of 64 bits is beyond what many readers of JSON take.
        nonce: String,
        complement: u16,
        used: u8,
        cap: u8,
        full: bool,
        application_bytes: usize,
        stamps: Vec<Stamp>,
    },
    Refused {
        packet: u64,
        time_ns: Option<i64>,
        source: IpAddr,
        destination: IpAddr,
        #[serde(serialize_with = "displayed")]
        refusal: Refusal,
        captured_bytes: usize,
        length_bytes: u32,
    },
}

pub(super) fn probe(out: &mut impl io::Write, frame: &Frame<'_>, probe: &Probe<'_>) -> io::Result<()> {
    let footer = probe.trailer.footer;
    let state = footer.state();
    json_lines::write(
        out,
        &Line::Probe {
            packet: frame.number,
            time_ns: frame.time_ns,
            source: probe.addresses.source,
            destination: probe.addresses.destination,
            phase: probe.phase,
            identifier: probe.identifier,
            sequence: probe.sequence,
            checksum: probe.checksum,
            checksum_valid: probe.checksum_valid,
            nonce: format!("{:016x}", footer.nonce()),
            complement: state.complement(),
            used: state.used(),
            cap: state.cap(),
            full: state.is_full(),
            application_bytes: probe.trailer.application.len(),
            stamps: probe.records().iter().map(Stamp::from).collect(),
        },
    )
}

pub(super) fn refused(out: &mut impl io::Write, frame: &Frame<'_>, refused: &Refused) -> io::Result<()> {
    json_lines::write(
        out,
        &Line::Refused {
            packet: frame.number,
            time_ns: frame.time_ns,
            source: refused.addresses.source,
            destination: refused.addresses.destination,
            refusal: refused.refusal,
            captured_bytes: frame.bytes.len(),
            length_bytes: frame.length,
        },
    )
}
