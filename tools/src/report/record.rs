//! The lines of `ping --json`, `probe --json` and `watch --json`, as far as a report is made from them.

use std::borrow::Cow;

use instamp::Uncorrected;
use serde::Deserialize;

use crate::{distribution::Statistics, stamp::ReadStamp};

/// A line. Members that are not named here are ignored.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "read from one line, and taken apart at once")]
pub(super) enum Record<'a> {
    #[serde(borrow)]
    Start(Start<'a>),
    #[serde(borrow)]
    Reply(Reply<'a>),
    Timeout {
        seq: u64,
    },
    Error(Failure),
    Summary(Summary),
    /// Of `watch`: a part of the summary, as the next is of `probe`.
    Sender,
    Group,
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
pub(super) struct Start<'a> {
    pub(super) version: Option<String>,
    pub(super) time_ns: Option<u64>,
    /// Of `ping`, like the next ones.
    pub(super) target: Option<String>,
    pub(super) address: Option<String>,
    pub(super) payload_bytes: Option<u64>,
    pub(super) interval_ns: Option<u64>,
    /// Of `probe`.
    pub(super) targets: Option<u64>,
    /// Of `watch`.
    #[serde(borrow)]
    pub(super) devices: Option<Vec<Cow<'a, str>>>,
}

/// The names of `watch` are others where its places are.
#[derive(Deserialize)]
pub(super) struct Reply<'a> {
    pub(super) seq: Option<u64>,
    #[serde(alias = "total_ns")]
    pub(super) rtt_ns: Option<i64>,
    pub(super) net_ns: Option<i64>,
    pub(super) remote_ns: Option<i64>,
    #[serde(alias = "tx_host_ns")]
    pub(super) tx_stack_ns: Option<i64>,
    #[serde(alias = "rx_host_ns")]
    pub(super) rx_stack_ns: Option<i64>,
    #[serde(default)]
    pub(super) duplicate: bool,
    #[serde(default)]
    pub(super) late: bool,
    #[serde(default)]
    pub(super) ambiguous: bool,
    #[serde(borrow)]
    pub(super) uncorrected: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) stamps: Vec<ReadStamp<'a>>,
}

impl Reply<'_> {
    /// As [`instamp::prober::Reply::is_first_answer`].
    pub(super) fn is_first_answer(&self) -> bool {
        !self.duplicate && self.uncorrected.as_deref() != Some(Uncorrected::ForeignNonce.name())
    }
}

#[derive(Deserialize)]
pub(super) struct Failure {
    pub(super) seq: Option<u64>,
    /// `None` where it is the own host's kernel, which then has not sent.
    pub(super) from: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
pub(super) struct Summary {
    pub(super) sent: Option<u64>,
    #[serde(alias = "answered")]
    pub(super) received: Option<u64>,
    pub(super) corrected: Option<u64>,
    pub(super) duplicates: Option<u64>,
    pub(super) late: Option<u64>,
    pub(super) errors: Option<u64>,
    pub(super) elapsed_ns: Option<u64>,
    #[serde(alias = "total_ns")]
    pub(super) rtt_ns: Option<Statistics>,
    pub(super) net_ns: Option<Statistics>,
    #[serde(alias = "tx_host_ns")]
    pub(super) tx_stack_ns: Option<Statistics>,
    #[serde(alias = "rx_host_ns")]
    pub(super) rx_stack_ns: Option<Statistics>,
    pub(super) remote_ns: Option<Statistics>,
}
