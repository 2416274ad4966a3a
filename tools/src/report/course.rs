//! Round trips and the network's part of them over the course of a run.

use maud::{Markup, html};

use super::{
    facts::swatch,
    plot::{Line, Path, diagram, legend, length, scale_of, time},
    run::{Kind, Run},
    scale::{Scale, grouped},
    series::Point,
};
use crate::distribution::Statistics;

pub(super) fn section(runs: &[Run]) -> Markup {
    // The same for all, which are to be compared.
    let times = runs.iter().flat_map(|run| &run.points).flat_map(|point| [point.rtt, point.net]).flatten();
    let Some(y) = scale_of(times.flat_map(|times| [times.min, times.max])) else { return html! {} };
    let figures: Vec<Markup> =
        runs.iter().enumerate().filter_map(|(index, run)| figure(index, run, runs.len(), &y)).collect();
    html! {
        section {
            h2 { "Over the course of the run" }
            p.note { "Lines are medians, the areas around them reach from the shortest to the longest time." }
            @for figure in figures { (figure) }
        }
    }
}

/// `None` where there is nothing to draw.
fn figure(index: usize, run: &Run, runs: usize, y: &Scale) -> Option<Markup> {
    let (first, last) = (run.points.first()?.first, run.points.last()?.last);
    let course = Course { points: &run.points, x: Scale::of_numbers(first, last), y };
    let is_lossy = run.points.iter().any(|point| point.lost > 0);
    let numbered = match run.kind {
        Kind::Ping => "request",
        Kind::Probe | Kind::Watch | Kind::Unknown => "reply",
    };
    let is_drawn = |(_, of): &(&str, Of)| run.points.iter().any(|point| of(point).is_some());
    let drawn: Vec<(&str, Of)> = QUANTITIES.into_iter().filter(is_drawn).collect();
    let lines = html! {
        @for (class, of) in &drawn { path.area.(class) d=(course.area(*of)) {} }
        @for (class, of) in &drawn { path.(class) d=(course.medians(*of)) {} }
        @if is_lossy { path.lost d=(course.losses()) {} }
        (course.readings(numbered))
    };
    let names: Vec<Line> =
        drawn.iter().map(|(name, _)| *name).chain(is_lossy.then_some("lost")).map(Line::of_its_class).collect();
    let description = format!("From left to right the number of the {numbered}, from bottom to top the time.");
    let (x, y) = (&course.x.ticks, &course.y.ticks);
    Some(html! {
        figure {
            figcaption {
                @if runs > 1 { b { (swatch(index)) bdi { (run.label) } } }
                (legend(&names))
            }
            (diagram("rtt and net over the course of the run", &description, x, y, &lines, &html! {}))
            p.axis aria-hidden="true" { "number of the " (numbered) }
        }
    })
}

type Of = fn(&Point) -> Option<Statistics>;

/// In the order in which they are drawn.
const QUANTITIES: [(&str, Of); 2] = [("rtt", |point| point.rtt), ("net", |point| point.net)];

struct Course<'a> {
    points: &'a [Point],
    x: Scale,
    y: &'a Scale,
}

impl Course<'_> {
    /// The middle of a point.
    fn across(&self, point: &Point) -> f64 {
        self.x.at(point.first + (point.last - point.first) / 2)
    }

    /// The points that have times, as far as they follow each other.
    fn stretches(&self, of: Of) -> Vec<Vec<(f64, Statistics)>> {
        let mut stretches: Vec<Vec<(f64, Statistics)>> = Vec::new();
        let mut next = None;
        for (point, times) in self.points.iter().filter_map(|point| Some((point, of(point)?))) {
            let at = (self.across(point), times);
            match stretches.last_mut().filter(|_| next == Some(point.first)) {
                Some(stretch) => stretch.push(at),
                None => stretches.push(vec![at]),
            }
            next = point.last.checked_add(1);
        }
        stretches
    }

    /// From minimum to maximum.
    fn area(&self, of: Of) -> String {
        let mut path = Path::default();
        for stretch in
            self.stretches(of).iter().filter(|stretch| stretch.iter().any(|(_, times)| times.min < times.max))
        {
            let above = stretch.iter().map(|(x, times)| (*x, times.max));
            let below = stretch.iter().rev().map(|(x, times)| (*x, times.min));
            path.through(above.chain(below).map(|(x, ns)| (x, self.y.at_time(ns))));
            path.close();
        }
        path.text()
    }

    fn medians(&self, of: Of) -> String {
        let mut path = Path::default();
        for stretch in self.stretches(of) {
            path.through(stretch.iter().map(|(x, times)| (*x, self.y.at_time(times.p50))));
        }
        path.text()
    }

    /// At the bottom.
    fn losses(&self) -> String {
        let mut path = Path::default();
        for point in self.points.iter().filter(|point| point.lost > 0) {
            let x = self.across(point);
            path.through([(x, 0.0), (x, 0.06)].into_iter());
        }
        path.text()
    }

    /// What is told of each point where the pointer is on it.
    fn readings(&self, numbered: &str) -> Markup {
        let width = length(1.0 / float(self.points.len()));
        html! {
            g.readings {
                @for point in self.points {
                    rect x=(length(self.across(point) - 0.5 / float(self.points.len()))) y="0" width=(width) height="1000" {
                        title { (reading(point, numbered)) }
                    }
                }
            }
        }
    }
}

fn reading(point: &Point, numbered: &str) -> String {
    let mut lines = vec![match point.last - point.first {
        0 => format!("{numbered} {}", grouped(point.first)),
        _ => format!("{numbered} {} to {}", grouped(point.first), grouped(point.last)),
    }];
    for (name, of) in QUANTITIES {
        match of(point) {
            Some(times) if times.min == times.max => lines.push(format!("{name} {}", time(times.p50))),
            Some(Statistics { min, p50, max, .. }) => {
                lines.push(format!("{name} {} ({} to {})", time(p50), time(min), time(max)));
            }
            None => {}
        }
    }
    if point.lost > 0 {
        lines.push(format!("{} lost", point.lost));
    }
    lines.join("\n")
}

#[expect(clippy::cast_precision_loss, reason = "there are a few hundred")]
fn float(count: usize) -> f64 {
    count as f64
}
