//! The figures.

use maud::{Markup, html};

use super::{
    facts::swatch,
    quantity::Quantity,
    run::{Row, Run},
    scale::grouped,
};
use crate::{distribution::Statistics, units::Unit};

pub(super) fn section(runs: &[Run]) -> Markup {
    let Some(unit) = unit(runs) else {
        return html! { section { h2 { "In figures" } p { "No time was measured." } } };
    };
    let several = runs.len() > 1;
    html! {
        section {
            h2 { "In figures" }
            p.note { "Of first answers; net, tx, rx and remote of those that could be corrected." }
            div.wide role="region" aria-label="The figures" tabindex="0" {
                table.figures {
                    caption { "Times in " (symbol(unit)) }
                    thead {
                        tr {
                            th scope="col" { }
                            @if several { th scope="col" { "run" } }
                            @for name in ["replies", "min", "mean", "p50", "p90", "p99", "max", "stddev"] { th.n scope="col" { (name) } }
                        }
                    }
                    @for quantity in Quantity::ALL {
                        @let rows = rows(runs, quantity);
                        @if !rows.is_empty() {
                            tbody {
                                @for (place, (index, row)) in rows.iter().enumerate() {
                                    tr {
                                        @if place == 0 { th scope="rowgroup" rowspan=(rows.len()) { (quantity.name()) } }
                                        @if several { td { (swatch(*index)) bdi { (runs[*index].label) } } }
                                        td.n { @if let Some(count) = row.count { (grouped(count)) } }
                                        @for time in times(row.statistics) { td.n { (unit.number(time)) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            dl.words {
                @for quantity in Quantity::ALL {
                    @if !rows(runs, quantity).is_empty() { div { dt { (quantity.name()) } dd { (quantity.meaning()) } } }
                }
            }
        }
    }
}

fn rows(runs: &[Run], quantity: Quantity) -> Vec<(usize, &Row)> {
    runs.iter().enumerate().filter_map(|(index, run)| Some((index, run.row(quantity)?))).collect()
}

fn times(of: Statistics) -> [i64; 7] {
    [of.min, of.mean, of.p50, of.p90, of.p99, of.max, of.stddev]
}

/// That of the largest median of all.
fn unit(runs: &[Run]) -> Option<Unit> {
    runs.iter().flat_map(|run| &run.rows).map(|row| row.statistics.p50).max().map(Unit::of)
}

fn symbol(unit: Unit) -> &'static str {
    match unit {
        Unit::Microseconds => "µs",
        Unit::Milliseconds | Unit::Seconds => unit.name(),
    }
}
