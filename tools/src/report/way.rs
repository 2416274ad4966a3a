//! The stages of the way, as a waterfall: from top to bottom the way, from left to right the time.

use maud::{Markup, html};

use super::{
    facts::swatch,
    plot::{percent, time},
    run::Run,
    scale::grouped,
};
use crate::stages::{Domain, Waterfall};

pub(super) fn section(runs: &[Run]) -> Markup {
    if runs.iter().all(|run| run.waterfalls.is_empty()) {
        return html! {};
    }
    html! {
        section {
            h2 { "Where the time went" }
            p.note { "From the application’s send call, at the top, to its receive call. Bars are medians, one behind the other." }
            @for (index, run) in runs.iter().enumerate() {
                @for waterfall in &run.waterfalls {
                    figure {
                        figcaption {
                            @if runs.len() > 1 { b { (swatch(index)) bdi { (run.label) } } }
                            span { (grouped(waterfall.replies)) @if waterfall.replies == 1 { " reply" } @else { " replies" } }
                        }
                        (stages(waterfall))
                        (shares(waterfall))
                    }
                }
            }
        }
    }
}

fn stages(waterfall: &Waterfall) -> Markup {
    let share = |time: i64| float(time) / float(waterfall.total);
    html! {
        table.way {
            caption.unseen { "The stages of the way, and the time that each took" }
            thead {
                tr { th scope="col" { "stage" } th.bar scope="col" { span.unseen { "its place in the round trip" } } th.n scope="col" { "p50" } th.n scope="col" { "p90" } }
            }
            tbody {
                @for span in &waterfall.spans {
                    tr {
                        th scope="row" { (span.stage.domain) small { "to " (span.stage.end) } }
                        @match span.time {
                            Some(times) => {
                                td.bar {
                                    svg width="100%" height="16" role="img" aria-label=(time(times.p50)) {
                                        rect.(class(span.stage.domain)) x=(percent(share(times.from))) width=(percent(share(times.to - times.from))) height="100%" {
                                            title { (span.stage.domain) ": " (time(times.p50)) }
                                        }
                                    }
                                }
                                td.n { (time(times.p50)) }
                                td.n { (time(times.p90)) }
                            }
                            None => { td.bar colspan="3" { "the way back, counted above" } }
                        }
                    }
                }
            }
        }
    }
}

fn shares(waterfall: &Waterfall) -> Markup {
    html! {
        ul.shares {
            @for share in waterfall.shares() {
                li {
                    svg aria-hidden="true" width="12" height="12" { rect.(class(share.domain)) width="12" height="12" {} }
                    b { (share.domain) }
                    span.n { (time(share.time)) }
                    span.n { (share.percent) "\u{a0}%" }
                    span { (share.domain.meaning()) }
                }
            }
        }
        p.note { "Median round trip " (time(waterfall.rtt)) "; medians need not add up." }
    }
}

fn class(domain: Domain) -> &'static str {
    match domain {
        Domain::Host => "host",
        Domain::Queue => "queue",
        Domain::Card => "card",
        Domain::QueueAndCard => "queue-card",
        Domain::Network | Domain::NetworkAndRemote => "network",
        Domain::Remote => "far",
    }
}

#[expect(clippy::cast_precision_loss, reason = "a position has fewer digits than a double")]
fn float(time: i64) -> f64 {
    time as f64
}
