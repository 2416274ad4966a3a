//! A distribution as a picture of lines.

use std::io::{self, Write};

use crate::{distribution::Distribution, units::Nanoseconds};

/// The width of the longest bar.
const WIDTH: u64 = 40;

/// Times in one class: those that are less than `below_ns`, and in no class before.
#[derive(serde::Serialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Class {
    pub(crate) from_ns: u64,
    pub(crate) below_ns: u64,
    pub(crate) count: u64,
}

/// Four classes to each power of two, without the empty ones. Negative times, of which there should be none, are in no class.
pub(crate) fn classes(distribution: &Distribution) -> Vec<Class> {
    let (histogram, _) = distribution.histogram();
    let mut classes: Vec<Class> = Vec::new();
    for step in histogram.iter_recorded() {
        let Class { from_ns, below_ns, .. } = class_of(step.value_iterated_to());
        let count = step.count_since_last_iteration();
        match classes.last_mut().filter(|last| last.from_ns == from_ns) {
            Some(last) => last.count += count,
            None => classes.push(Class { from_ns, below_ns, count }),
        }
    }
    classes
}

/// The class of a time, with nothing in it.
fn class_of(ns: u64) -> Class {
    let width = (1_u64 << ns.max(1).ilog2()) / 4;
    let from_ns = ns & !width.saturating_sub(1);
    Class { from_ns, below_ns: from_ns.saturating_add(width.max(1)), count: 0 }
}

/// Draws it, if there is something in it.
pub(crate) fn draw(out: &mut impl Write, name: &str, distribution: &Distribution) -> io::Result<()> {
    let classes = classes(distribution);
    let Some(most) = classes.iter().map(|class| class.count).max() else { return Ok(()) };
    writeln!(out, "{name} of {} replies", distribution.count())?;
    for Class { from_ns, below_ns, count } in classes {
        let [from, below] = [from_ns, below_ns].map(|ns| Nanoseconds(i64::try_from(ns).unwrap_or(i64::MAX)));
        let bar = usize::try_from((count * WIDTH).div_ceil(most)).unwrap_or_default();
        writeln!(out, "  {from:>9} - {below:>9} {:<40} {count}", "█".repeat(bar))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: &[i64]) -> Distribution {
        let mut distribution = Distribution::coarse();
        samples.iter().for_each(|sample| distribution.record(*sample));
        distribution
    }

    #[test]
    fn every_time_is_in_one_class() {
        let found: Vec<_> = classes(&of(&[5, 7, 8, 9, 10, 40, -3]))
            .into_iter()
            .map(|class| (class.from_ns, class.below_ns, class.count))
            .collect();
        assert_eq!(found, [(5, 6, 1), (7, 8, 1), (8, 10, 2), (10, 12, 1), (40, 48, 1)]);
        assert_eq!(classes(&of(&[])), []);
        let mut below = 0;
        while below < 1 << 20 {
            let class = class_of(below);
            assert_eq!((class.from_ns, class_of(class.below_ns - 1)), (below, class));
            below = class.below_ns;
        }
    }

    #[test]
    fn bars_are_as_long_as_they_are_many() {
        let mut out = Vec::new();
        draw(&mut out, "net", &of(&[9_000, 10_000, 10_500, 11_000, 20_000])).expect("memory");
        insta::assert_snapshot!(String::from_utf8(out).expect("text"), @"
        net of 5 replies
            8.192us -  10.240us ████████████████████████████████████████ 2
           10.240us -  12.288us ████████████████████████████████████████ 2
           16.384us -  20.480us ████████████████████                     1
        ");
    }
}
