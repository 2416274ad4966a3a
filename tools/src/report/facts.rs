//! What each run was, and what became of its probes.

use std::time::{Duration, SystemTime};

use maud::{Markup, html};

use super::{
    plot::time,
    quantity::Quantity,
    run::{Counts, Kind, Run},
    scale::{exact, grouped},
};
use crate::units::Percent;

pub(super) fn section(runs: &[Run]) -> Markup {
    html! {
        @for (index, run) in runs.iter().enumerate() {
            section.run {
                h2 { @if runs.len() > 1 { (swatch(index)) } bdi { (run.label) } }
                p.note { (what(run)) }
                (counts(run))
                @let notes = notes(run);
                @if !notes.is_empty() {
                    ul.notes { @for note in notes { li { (note) } } }
                }
            }
        }
    }
}

/// The colour and line of a run.
pub(super) fn swatch(index: usize) -> Markup {
    html! { svg.swatch aria-hidden="true" width="28" height="10" { path.{"run" (index)} d="M1 5H27" {} } }
}

/// Whose run it was, of what and when.
fn what(run: &Run) -> Markup {
    let command = match run.kind {
        Kind::Ping => "instamp ping",
        Kind::Probe => "instamp probe",
        Kind::Watch => "instamp watch",
        Kind::Unknown => "A run whose first line is missing",
    };
    let start = &run.start;
    html! {
        (command)
        @if let Some(version) = &start.version { " " bdi { (version) } }
        @if let Some(target) = &start.target { " · " bdi { (target) } }
        @if let Some(started) = start.time_ns.and_then(date) { " · " time datetime=(started) { (readable(&started)) } }
        @if let Some(elapsed) = run.counts.elapsed_ns { " · for " (rounded(elapsed)) }
        @if let Some(interval) = start.interval_ns.filter(|interval| *interval > 0) { " · every " (rounded(interval)) }
        @if let Some(bytes) = start.payload_bytes { " · payload " (bytes) " bytes" }
    }
}

/// In UTC, as RFC 3339 has it, to the second; `None` beyond the year 9999.
fn date(ns: u64) -> Option<String> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(ns))?;
    Some(humantime::format_rfc3339_seconds(time).to_string())
}

fn readable(date: &str) -> String {
    date.replace('T', " ").replace('Z', " UTC")
}

/// To the third digit.
fn rounded(ns: u64) -> String {
    let unit = 10_u64.pow(ns.checked_ilog10().unwrap_or(0).saturating_sub(2));
    exact(ns / unit * unit)
}

fn counts(run: &Run) -> Markup {
    let Counts { sent, received, lost, corrected, late, duplicates, errors, .. } = run.counts;
    let of = |part: u64, whole: Option<u64>| {
        whole.filter(|whole| *whole > 0).map(|whole| Percent(share(part, whole)).to_string())
    };
    let median = |quantity: Quantity| run.row(quantity).map(|row| time(row.statistics.p50));
    let rare = [("Late", late), ("Duplicates", duplicates), ("Errors", errors)];
    html! {
        dl.facts {
            @for (name, value) in [("Median rtt", median(Quantity::Rtt)), ("Median net", median(Quantity::Net))] {
                @if let Some(value) = value { (fact(name, &value, None)) }
            }
            @if let Some(sent) = sent { (fact("Sent", &grouped(sent), None)) }
            (fact("Received", &grouped(received), of(received, sent)))
            (fact("Lost", &grouped(lost), of(lost, sent)))
            @if let Some(corrected) = corrected { (fact("Corrected", &grouped(corrected), of(corrected, Some(received)))) }
            @for (name, count) in rare.into_iter().filter(|(_, count)| *count > 0) { (fact(name, &grouped(count), None)) }
        }
    }
}

fn fact(name: &str, value: &str, share: Option<String>) -> Markup {
    html! {
        div {
            dt { (name) }
            dd { (value) @if let Some(share) = share { " " small { (share) } } }
        }
    }
}

/// What is to be known before the figures are trusted.
fn notes(run: &Run) -> Vec<Markup> {
    let mut notes = Vec::new();
    for (reason, count) in &run.uncorrected {
        notes.push(html! { (grouped(*count)) " not corrected: " (reason) });
    }
    if run.kind == Kind::Watch {
        notes.push(
            html! { "Seen by hooks: rtt, tx and rx begin and end at the sender’s device, not in its application." },
        );
    }
    if run.is_cut_off {
        notes.push(html! { "The last line is not whole, and left out: the command was killed, or was still running." });
    }
    if !run.has_summary {
        notes.push(html! { "There is no summary: how many were sent is not known, and the counts are of the lines that there are." });
    }
    if run.other_ways > 0 {
        notes.push(html! { "The stages of " (grouped(run.other_ways)) " more replies, which carried other stamps, are not drawn." });
    }
    if run.without_way > 0 {
        notes.push(html! { "The stages of " (grouped(run.without_way)) " corrected replies cannot be told: their lines do not have the stamps." });
    }
    let drawn = [Quantity::Rtt, Quantity::Net].into_iter().filter_map(|quantity| run.row(quantity));
    if drawn.into_iter().any(|row| row.statistics.min < 1) {
        notes.push(html! { "Times of 0 or less are in the table, but not in the diagrams: their axes have no place for them." });
    }
    if run.unknown_records > 0 {
        notes.push(
            html! { (grouped(run.unknown_records)) " lines of a type that this version does not know were left out." },
        );
    }
    notes
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more digits than a double has")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
