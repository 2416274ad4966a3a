//! The distribution functions of the round trip and of the network.

use maud::{Markup, html};

use super::{
    plot::{Line, Path, diagram, legend, percent, scale_of, time},
    quantity::Quantity,
    run::{Row, Run},
    scale::{Room, Scale, Tick},
};

/// What is drawn: in one diagram where there is one run, else in one each, on the same scale.
const DRAWN: [Quantity; 2] = [Quantity::Rtt, Quantity::Net];

/// Shares of the replies that have lines, in percent.
const SHARES: [u8; 6] = [0, 25, 50, 75, 90, 100];

struct Curve<'a> {
    row: &'a Row,
    line: Line,
}

impl<'a> Curve<'a> {
    fn of(run: &'a Run, quantity: Quantity, line: Line) -> Option<Self> {
        let row = run.row(quantity).filter(|row| !row.curve.is_empty())?;
        Some(Self { row, line })
    }
}

pub(super) fn section(runs: &[Run]) -> Markup {
    let diagrams: Vec<(String, Vec<Curve<'_>>)> = match runs {
        [run] => {
            let curve = |quantity: Quantity| Curve::of(run, quantity, Line::of_its_class(quantity.name()));
            vec![("rtt and net".to_owned(), DRAWN.into_iter().filter_map(curve).collect())]
        }
        _ => {
            let curves = |quantity| {
                let runs = runs.iter().enumerate();
                runs.filter_map(|(index, run)| Curve::of(run, quantity, Line::of_run(index, run))).collect()
            };
            DRAWN.map(|quantity: Quantity| (quantity.name().to_owned(), curves(quantity))).into()
        }
    };
    let all = diagrams.iter().flat_map(|(_, curves)| curves).flat_map(|curve| &curve.row.curve);
    let Some(scale) = scale_of(all.map(|(ns, _)| *ns)) else { return html! {} };
    html! {
        section {
            h2 { "How the times are distributed" }
            p.note { "The share of replies that took at most a time. Dots are at 50, 90 and 99 %." }
            div.panels {
                @for (name, curves) in diagrams.iter().filter(|(_, curves)| !curves.is_empty()) {
                    (figure(name, &scale, curves))
                }
            }
        }
    }
}

fn figure(name: &str, scale: &Scale, curves: &[Curve<'_>]) -> Markup {
    let share =
        |percent: u8| Tick { at: f64::from(percent) / 100.0, label: format!("{percent}\u{a0}%"), room: Room::Any };
    let description = format!("One curve for each of {} distributions; the table has their figures.", curves.len());
    let lines = html! { @for curve in curves { path.(curve.line.class) d=(path(curve.row, scale)) {} } };
    let marks = html! { @for curve in curves { (dots(curve, scale)) } };
    html! {
        figure {
            figcaption { b { (name) } (legend(curves.iter().map(|curve| &curve.line))) }
            (diagram(&format!("Distribution of {name}"), &description, &scale.ticks, &SHARES.map(share), &lines, &marks))
        }
    }
}

/// The function's steps.
fn path(row: &Row, scale: &Scale) -> String {
    let count = row.curve.last().map_or(1, |(_, count)| *count);
    let mut below = 0.0;
    let steps = row.curve.iter().flat_map(|(ns, rank)| {
        let (x, share) = (scale.at_time(*ns), part(*rank, count));
        [(x, std::mem::replace(&mut below, share)), (x, share)]
    });
    let mut path = Path::default();
    path.through(steps);
    path.text()
}

fn dots(curve: &Curve<'_>, scale: &Scale) -> Markup {
    let of = curve.row.statistics;
    html! {
        g.dots.(curve.line.class) {
            @for (percentile, ns) in [(50_u8, of.p50), (90, of.p90), (99, of.p99)] {
                circle r="4" cx=(percent(scale.at_time(ns))) cy=(percent(1.0 - f64::from(percentile) / 100.0)) {
                    title { (curve.line.name) ": " (percentile) " % took at most " (time(ns)) }
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a position has fewer digits than a double")]
fn part(rank: u64, count: u64) -> f64 {
    rank as f64 / count as f64
}
