//! Axes: where a value lies, and where lines and their labels are.

/// An axis. Positions on it go from 0 where it begins to 1 where it ends.
pub(super) struct Scale {
    low: f64,
    high: f64,
    place: fn(f64) -> f64,
    pub(super) ticks: Vec<Tick>,
}

/// A round value, and where it lies.
#[derive(PartialEq, Debug)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
    pub(super) room: Room,
}

/// How wide a diagram has to be for a label to be shown, in steps for which the style has the widths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    Any,
    Some,
    Much,
}

/// As many labels have room in a narrow diagram, and as many in one that is less so.
const FEW: usize = 5;
const SEVERAL: usize = 8;

impl Scale {
    /// Of times in nanoseconds, in powers: from a round one that is at most `min` to one that is at least `max`. It begins at 1 ns
    /// or later.
    pub(super) fn of_times(min: i64, max: i64) -> Self {
        let [min, max] = [min, max.max(min)].map(|ns| u64::try_from(ns).unwrap_or(0).max(1));
        let values = equal_steps(min, max).unwrap_or_else(|| powers(min, max));
        let powers = values.iter().filter(|value| is_power_of_ten(**value)).count();
        let room = |index: usize, value: u64| match powers {
            _ if values.len() <= FEW => Room::Any,
            // Of equal steps.
            0 | 1 if index.is_multiple_of(2) => Room::Any,
            _ if !is_power_of_ten(value) => Room::Much,
            _ if powers <= FEW || value.ilog10().is_multiple_of(3) => Room::Any,
            _ if powers <= SEVERAL => Room::Some,
            _ => Room::Much,
        };
        Self::new(&values, f64::log10, exact, room)
    }

    /// Of the numbers of probes.
    pub(super) fn of_numbers(first: u64, last: u64) -> Self {
        let last = last.max(first.saturating_add(1));
        let step = round_up((last - first).div_ceil(6));
        let multiples = (first.div_ceil(step)..=last / step).map(|index| index * step);
        let values: Vec<u64> = multiples.collect();
        let mut scale = Self { low: float(first), high: float(last), place: |value| value, ticks: Vec::new() };
        let room = |index: usize, _| if values.len() < FEW || index.is_multiple_of(2) { Room::Any } else { Room::Much };
        scale.set_ticks(&values, grouped, room);
        scale
    }

    fn new(values: &[u64], place: fn(f64) -> f64, label: fn(u64) -> String, room: impl Fn(usize, u64) -> Room) -> Self {
        let end = |value: Option<&u64>| place(float(*value.expect("at least two values")));
        let mut scale = Self { low: end(values.first()), high: end(values.last()), place, ticks: Vec::new() };
        scale.set_ticks(values, label, room);
        scale
    }

    fn set_ticks(&mut self, values: &[u64], label: fn(u64) -> String, room: impl Fn(usize, u64) -> Room) {
        let tick = |(index, value): (usize, &u64)| Tick {
            at: self.at(*value),
            label: label(*value),
            room: room(index, *value),
        };
        self.ticks = values.iter().enumerate().map(tick).collect();
    }

    pub(super) fn at(&self, value: u64) -> f64 {
        ((self.place)(float(value)) - self.low) / (self.high - self.low)
    }

    /// Where a time lies, before the axis where it is less than 1 ns.
    pub(super) fn at_time(&self, ns: i64) -> f64 {
        u64::try_from(ns).ok().filter(|ns| *ns > 0).map_or(-0.1, |ns| self.at(ns))
    }
}

/// Round values that are equally far from each other: where the ends are near each other, those of [`powers`] would be too few.
fn equal_steps(min: u64, max: u64) -> Option<Vec<u64>> {
    if max / 3 >= min {
        return None;
    }
    let step = round_up((max - min).max(min / 50).div_ceil(4));
    let (mut low, mut high) = (min / step * step, max.div_ceil(step).checked_mul(step)?);
    if low == high {
        (low, high) = (low.checked_sub(step)?, high.checked_add(step)?);
    }
    (low > 0).then(|| (low / step..=high / step).map(|index| index * step).collect())
}

/// Powers of ten, and 2 and 5 times those unless there are many.
fn powers(min: u64, max: u64) -> Vec<u64> {
    let low = round_values().take_while(|value| *value <= min).last().unwrap_or(1);
    let mut high = round_up(max);
    if high == low {
        high = round_up(low + 1);
    }
    let all = || round_values().filter(move |value| (low..=high).contains(value));
    if high / low <= 10_000 {
        return all().collect();
    }
    // The ends are of these, too.
    let [low, high] = [10_u64.pow(low.ilog10()), 10_u64.checked_pow((high - 1).ilog10() + 1).unwrap_or(high)];
    let mut values: Vec<u64> =
        round_values().filter(|value| (low..high).contains(value) && is_power_of_ten(*value)).collect();
    values.push(high);
    values
}

/// 1, 2, 5, 10, 20, 50 and so on: those that fit.
fn round_values() -> impl Iterator<Item = u64> {
    let digits = (0..=18).flat_map(|exponent| [1, 2, 5].map(|digit| digit * 10_u64.pow(exponent)));
    digits.chain([10_u64.pow(19)])
}

/// The first of them that is not smaller.
fn round_up(value: u64) -> u64 {
    round_values().find(|round| *round >= value).unwrap_or(u64::MAX)
}

fn is_power_of_ten(value: u64) -> bool {
    value.checked_ilog10().is_some_and(|exponent| 10_u64.pow(exponent) == value)
}

#[expect(clippy::cast_precision_loss, reason = "a position has fewer digits than a double")]
fn float(value: u64) -> f64 {
    value as f64
}

/// A time with its unit, exactly: `50 ns`, `1.25 ms`.
pub(super) fn exact(ns: u64) -> String {
    let (unit, name) = match ns {
        0..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let digits = usize::try_from(u64::ilog10(unit)).expect("at most 9");
    let number = format!("{}.{:0digits$}", ns / unit, ns % unit);
    let number = if unit == 1 { ns.to_string() } else { number.trim_end_matches('0').trim_end_matches('.').to_owned() };
    format!("{number}\u{a0}{name}")
}

/// With spaces between each three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(scale: &Scale) -> Vec<String> {
        let mark = |room| match room {
            Room::Any => "",
            Room::Some => "'",
            Room::Much => "''",
        };
        let label = |tick: &Tick| format!("{}{}", tick.label.replace('\u{a0}', ""), mark(tick.room));
        scale.ticks.iter().map(label).collect()
    }

    #[test]
    fn times_have_round_ones() {
        for (min, max, expected) in [
            (12_000, 90_000, "10µs 20µs 50µs 100µs"),
            (12_000, 900_000, "10µs 20µs'' 50µs'' 100µs 200µs'' 500µs'' 1ms"),
            (900, 3_000_000_000, "100ns'' 1µs 10µs'' 100µs'' 1ms 10ms'' 100ms'' 1s 10s''"),
            (1_200, 60_000_000, "1µs 10µs' 100µs' 1ms 10ms' 100ms'"),
            (100_000, 131_000, "100µs 110µs 120µs 130µs 140µs"),
            (101_000, 148_900, "100µs 120µs 140µs 160µs"),
            (5_000_000, 9_800_000, "4ms 6ms 8ms 10ms"),
            (5_000_000, 5_000_000, "4.95ms 5ms 5.05ms"),
            (-7, 0, "1ns 2ns"),
            (3, 4, "3ns 4ns"),
        ] {
            assert_eq!(labels(&Scale::of_times(min, max)).join(" "), expected, "{min} to {max}");
        }
    }

    #[test]
    fn numbers_have_round_ones() {
        for (first, last, expected) in [
            (1, 300, "50 100'' 150 200'' 250 300''"),
            (1, 1, "1 2"),
            (1, 7, "1 2'' 3 4'' 5 6'' 7"),
            (
                7_000_001,
                7_000_900,
                "7\u{202f}000\u{202f}200 7\u{202f}000\u{202f}400 7\u{202f}000\u{202f}600 7\u{202f}000\u{202f}800",
            ),
        ] {
            assert_eq!(labels(&Scale::of_numbers(first, last)).join(" "), expected, "{first} to {last}");
        }
    }

    proptest! {
        #[test]
        fn what_is_to_be_shown_lies_between_the_ends(a in any::<i64>(), b in any::<i64>(), shift in 0_u32..63) {
            let (a, b) = (a >> shift, b >> shift);
            let scale = Scale::of_times(a.min(b), a.max(b));
            for tick in &scale.ticks {
                prop_assert!((-1e-9..=1.0 + 1e-9).contains(&tick.at), "{:?}", tick);
            }
            prop_assert!((2..=20).contains(&scale.ticks.len()), "{:?}", labels(&scale));
            prop_assert!(scale.ticks.windows(2).all(|pair| pair[1].at - pair[0].at > 0.02), "{:?}", labels(&scale));
            for value in [a, b] {
                let at = scale.at_time(value);
                prop_assert!((-1e-9..=1.0 + 1e-9).contains(&at) || value < 1, "{value} at {at}: {:?}", labels(&scale));
            }
        }

        #[test]
        fn so_do_numbers(first in any::<u64>(), more in any::<u64>(), shift in 0_u32..63) {
            let first = first >> shift;
            let last = first.saturating_add(more >> shift);
            let scale = Scale::of_numbers(first, last);
            prop_assert!(scale.ticks.len() <= 8, "{:?}", labels(&scale));
            for at in scale.ticks.iter().map(|tick| tick.at).chain([scale.at(first), scale.at(last)]) {
                prop_assert!((-1e-9..=1.0 + 1e-9).contains(&at));
            }
        }
    }
}
