//! What all diagrams share. Lines are drawn in a box of 1000 by 1000 that is stretched to the diagram's size; text and marks are placed by
//! their share of it, and so keep theirs.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::{
    run::Run,
    scale::{Room, Scale, Tick},
};
use crate::units::Unit;

/// A line of a diagram, and how its legend shows it.
pub(super) struct Line {
    pub(super) name: String,
    /// Of its style.
    pub(super) class: String,
}

impl Line {
    /// That of a run, among others.
    pub(super) fn of_run(index: usize, run: &Run) -> Self {
        Self { name: run.label.clone(), class: format!("run{index}") }
    }

    /// One that is called as its style is.
    pub(super) fn of_its_class(class: &str) -> Self {
        Self { name: class.to_owned(), class: class.to_owned() }
    }
}

/// A diagram: the two axes, and between them `lines`, in the box, and `marks` by their share.
pub(super) fn diagram(
    title: &str,
    description: &str,
    x: &[Tick],
    y: &[Tick],
    lines: &Markup,
    marks: &Markup,
) -> Markup {
    html! {
        svg.plot role="img" aria-label=(title) {
            title { (title) }
            desc { (description) }
            g.grid {
                @for tick in x { line x1=(percent(tick.at)) x2=(percent(tick.at)) y1="0" y2="100%" {} }
                @for tick in y { line x1="0" x2="100%" y1=(percent(1.0 - tick.at)) y2=(percent(1.0 - tick.at)) {} }
            }
            g.labels aria-hidden="true" {
                @for tick in x {
                    text.x.(room(tick.room)) x=(percent(tick.at)) y="100%" dy="1.5em" { (tick.label) }
                }
                @for tick in y {
                    text.y x="0" dx="-.6em" y=(percent(1.0 - tick.at)) dy=".33em" { (tick.label) }
                }
            }
            svg.lines viewBox="0 0 1000 1000" preserveAspectRatio="none" width="100%" height="100%" { (lines) }
            (marks)
        }
    }
}

/// The style of a label, which may leave it out.
fn room(room: Room) -> &'static str {
    match room {
        Room::Any => "any",
        Room::Some => "some",
        Room::Much => "much",
    }
}

/// The lines' names.
pub(super) fn legend<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Markup {
    html! {
        ul.legend {
            @for line in lines {
                li {
                    svg.swatch aria-hidden="true" width="28" height="10" { path.(line.class) d="M1 5H27" {} }
                    bdi { (line.name) }
                }
            }
        }
    }
}

/// The scale on which all of `times` lie, if there is any: of those that are at least 1 ns.
pub(super) fn scale_of(times: impl Iterator<Item = i64>) -> Option<Scale> {
    let (min, max) = times.filter(|time| *time > 0).fold(None, |range, time| match range {
        None => Some((time, time)),
        Some((min, max)) => Some((time.min(min), time.max(max))),
    })?;
    Some(Scale::of_times(min, max))
}

/// A length in the box.
pub(super) fn length(share: f64) -> String {
    format!("{:.1}", share * 1000.0)
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.3}%", share * 100.0)
}

/// Lines in the box.
#[derive(Default)]
pub(super) struct Path(String);

impl Path {
    /// Adds a line; of one point it is that point.
    pub(super) fn through(&mut self, mut points: impl Iterator<Item = (f64, f64)>) {
        let Some((x, y)) = points.next() else { return };
        write!(self.0, "M{} {}h0", length(x), length(1.0 - y)).expect("a string");
        for (x, y) in points {
            write!(self.0, "L{} {}", length(x), length(1.0 - y)).expect("a string");
        }
    }

    pub(super) fn close(&mut self) {
        self.0.push('Z');
    }

    pub(super) fn text(self) -> String {
        self.0
    }
}

/// A time with its unit, for people.
pub(super) fn time(ns: i64) -> String {
    match Unit::of(ns) {
        Unit::Microseconds => format!("{}\u{a0}µs", Unit::Microseconds.number(ns)),
        unit @ (Unit::Milliseconds | Unit::Seconds) => format!("{}\u{a0}{}", unit.number(ns), unit.name()),
    }
}
