//! Metrics that are read when they are asked for.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric},
    metrics::{TypedMetric, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// Writes the counters of one name; nothing where there are none.
pub(super) fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (L, u64)>,
) -> fmt::Result {
    family(encoder, name, help, None, samples.into_iter().map(|(labels, count)| (labels, ConstCounter::new(count))))
}

/// Writes the gauges of one name; nothing where there are none.
pub(super) fn gauges<L: EncodeLabelSet, N: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<Unit>,
    samples: impl IntoIterator<Item = (L, N)>,
) -> fmt::Result {
    family(encoder, name, help, unit, samples.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value))))
}

fn family<L: EncodeLabelSet, M: EncodeMetric + TypedMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<Unit>,
    samples: impl Iterator<Item = (L, M)>,
) -> fmt::Result {
    let mut samples = samples.peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    // As the registry does to those that it holds.
    let help = format!("{help}.");
    let mut encoder = encoder.encode_descriptor(name, &help, unit.as_ref(), M::TYPE)?;
    samples.try_for_each(|(labels, metric)| metric.encode(encoder.encode_family(&labels)?))
}
