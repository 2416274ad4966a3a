//! A record of a trailer as the JSON outputs show it.

use std::fmt::Display;

use instamp_trailer::{Clock, Hook, Phase, Record};
use serde::{Serialize, Serializer};

/// The members are part of the output's schema, and so is their order.
#[derive(Serialize)]
pub(crate) struct Stamp {
    #[serde(serialize_with = "displayed")]
    phase: Phase,
    point: u8,
    #[serde(serialize_with = "displayed")]
    hook: Hook,
    node: u16,
    #[serde(serialize_with = "displayed")]
    clock: Clock,
    time_ns: u64,
    bound_ns: Option<u64>,
}

impl From<&Record> for Stamp {
    fn from(record: &Record) -> Self {
        Self {
            phase: record.phase(),
            point: record.point(),
            hook: record.hook(),
            node: record.node(),
            clock: record.clock(),
            time_ns: record.time_ns(),
            bound_ns: record.bound().nanoseconds(),
        }
    }
}

/// Serializes what `value` displays as.
pub(crate) fn displayed<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
