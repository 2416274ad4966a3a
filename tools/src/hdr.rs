//! Distributions as an HDR histogram log, which the tools of that family read and merge.

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use hdrhistogram::serialization::{
    V2DeflateSerializer,
    interval_log::{IntervalLogWriterBuilder, Tag},
};

use crate::distribution::Distribution;

/// Writes a file of them, by their names. They are of the last while, as long as `elapsed`.
pub(crate) fn write_to_file<'a>(
    path: &Path,
    named: impl IntoIterator<Item = (&'a str, &'a Distribution)>,
    elapsed: Duration,
) -> anyhow::Result<()> {
    let write = || write(&mut File::create(path)?, named, SystemTime::now() - elapsed, elapsed);
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// One line for each distribution that is not empty, tagged by its name: values are nanoseconds.
fn write<'a>(
    out: &mut impl Write,
    named: impl IntoIterator<Item = (&'a str, &'a Distribution)>,
    started: SystemTime,
    elapsed: Duration,
) -> anyhow::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("nanoseconds; the format has no place for negative ones: of these the comments tell")
        .with_start_time(started)
        .with_max_value_divisor(1.0)
        .begin_log_with(out, &mut serializer)?;
    for (name, distribution) in named {
        let (histogram, negative) = distribution.histogram();
        if negative > 0 {
            log.write_comment(&format!("{name}: {negative} negative ones left out"))?;
        }
        if !histogram.is_empty() {
            log.write_histogram(&histogram, Duration::ZERO, elapsed, Tag::new(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use hdrhistogram::{
        Histogram,
        serialization::{
            Deserializer,
            interval_log::{IntervalLogIterator, LogEntry},
        },
    };

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut log = Vec::new();
        let [mut rtt, mut net, none, mut rx_stack] = [(); 4].map(|()| Distribution::coarse());
        rtt.record(9_131);
        net.record(7_000);
        net.record(-5);
        rx_stack.record(2_131);
        let named = [("rtt", &rtt), ("net", &net), ("remote", &none), ("rx_stack", &rx_stack)];
        write(&mut log, named, SystemTime::UNIX_EPOCH, Duration::from_secs(2)).expect("memory");
        let text = String::from_utf8(log.clone()).expect("text");
        assert!(text.contains("#net: 1 negative ones left out"), "{text}");
        let found: Vec<(String, u64, u64)> = IntervalLogIterator::new(&log)
            .filter_map(|entry| match entry.expect("a log") {
                LogEntry::Interval(interval) => {
                    let bytes = STANDARD.decode(interval.encoded_histogram()).expect("base64");
                    let histogram: Histogram<u64> =
                        Deserializer::new().deserialize(&mut &bytes[..]).expect("a histogram");
                    Some((interval.tag().expect("a tag").as_str().to_owned(), histogram.len(), histogram.max()))
                }
                LogEntry::StartTime(_) | LogEntry::BaseTime(_) => None,
            })
            .collect();
        let expected = [("rtt", 9_131_u64), ("net", 7_000), ("rx_stack", 2_131)];
        assert_eq!(found.len(), expected.len());
        for ((name, count, max), (tag, value)) in found.iter().zip(expected) {
            // To three digits.
            assert!((&**name, *count) == (tag, 1) && max.abs_diff(value) <= value / 1_000, "{name}: {count}, {max}");
        }
    }
}
