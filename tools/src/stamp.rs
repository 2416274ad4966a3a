//! A record of a trailer as the JSON outputs show it.

use std::{borrow::Cow, fmt::Display};

use instamp_trailer::{Bound, Clock, Hook, Phase, Record};
use serde::{Deserialize, Serialize, Serializer};

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

/// The same as it is read.
#[derive(Deserialize)]
pub(crate) struct ReadStamp<'a> {
    #[serde(borrow)]
    phase: Cow<'a, str>,
    point: u8,
    #[serde(borrow)]
    hook: Cow<'a, str>,
    node: u16,
    #[serde(borrow)]
    clock: Cow<'a, str>,
    time_ns: u64,
    bound_ns: Option<u64>,
}

impl ReadStamp<'_> {
    /// `None` where a name has no meaning to this version: then the stamp has none.
    pub(crate) fn record(&self) -> Option<Record> {
        let phase = [Phase::Request, Phase::Reply].into_iter().find(|phase| phase.name() == self.phase)?;
        let hook = (1..=15).map(Hook::from_number).find(|hook| hook.name() == Some(&self.hook))?;
        let clocks = [Clock::UNKNOWN, Clock::MONOTONIC, Clock::TAI, Clock::PHC];
        let clock = clocks.into_iter().find(|clock| clock.name() == Some(&self.clock))?;
        let bound = self.bound_ns.map_or(Bound::UNKNOWN, Bound::at_least);
        Some(Record::new(phase, self.point, hook, self.node, clock, bound, self.time_ns))
    }
}

/// Serializes what `value` displays as.
pub(crate) fn displayed<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (hook, clock, bound) in [
            (Hook::TC_EGRESS, Clock::MONOTONIC, Bound::at_least(64)),
            (Hook::NIC_RX, Clock::PHC, Bound::UNKNOWN),
            (Hook::APP_TX, Clock::TAI, Bound::at_least(1)),
        ] {
            let record = Record::new(Phase::Reply, 3, hook, 65_000, clock, bound, u64::MAX);
            let line = serde_json::to_string(&Stamp::from(&record)).expect("JSON");
            let read: ReadStamp<'_> = serde_json::from_str(&line).expect("a stamp");
            assert!(read.record() == Some(record), "{line}");
        }
        let line = r#"{"phase":"reply","point":0,"hook":"hook-9","node":1,"clock":"tai","time_ns":1,"bound_ns":null}"#;
        assert!(serde_json::from_str::<ReadStamp<'_>>(line).expect("a stamp").record().is_none());
    }
}
