//! Times on the command line and in text: read exactly, printed readably.

use std::{fmt, time::Duration};

/// Reads a time: a decimal number with one of the suffixes `ns`, `us`, `ms`, `s`, or of seconds without one. Those may have an
/// exponent, as `1e-6`.
///
/// # Errors
///
/// What is wrong with it, for the message of the command line's parser.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let suffixed = [("ns", 0), ("us", 3), ("ms", 6), ("s", 9)]
        .into_iter()
        .find_map(|(suffix, exponent)| Some((text.strip_suffix(suffix)?, exponent)));
    let seconds = || {
        let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        Some((number, exponent.parse::<i32>().ok()?.checked_add(9)?))
    };
    let nanoseconds = suffixed
        .or_else(seconds)
        .and_then(|(number, exponent)| scaled(number, exponent))
        .ok_or("expected a number of seconds such as 0.2, or one with a suffix: 200ms, 200us, 200ns")?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// Like [`parse_duration`], for times of which 0 means nothing.
///
/// # Errors
///
/// As [`parse_duration`], or that it is 0.
pub(crate) fn parse_positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be more than 0".into()),
        duration => Ok(duration),
    }
}

/// Like [`parse_duration`], with a sign, in nanoseconds.
///
/// # Errors
///
/// As [`parse_duration`], or that it is longer than 292 years.
pub(crate) fn parse_signed_duration(text: &str) -> Result<i64, String> {
    let (is_negative, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => (true, magnitude),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let ns = i64::try_from(parse_duration(magnitude)?.as_nanos()).map_err(|_| "must be less than 292 years")?;
    Ok(if is_negative { -ns } else { ns })
}

/// A time as programs read it; the longest that there is for what is longer than 584 years.
pub(crate) fn whole_nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// `number`, a decimal fraction without sign, times ten to the power of `exponent`. Digits beyond the unit are dropped.
fn scaled(number: &str, exponent: i32) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // The point goes to the right; left of all digits, nothing is left.
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?.max(0);
    let point = u16::try_from(point).ok()?.into();
    let kept = &digits[..digits.len().min(point)];
    format!("0{kept}{:0<1$}", "", point - kept.len()).parse().ok()
}

/// Nanoseconds in the unit that suits their size, with three decimals: `11.342us`, `20.100ms`, `-1.500us`.
#[derive(Clone, Copy)]
pub(crate) struct Nanoseconds(pub(crate) i64);

impl fmt::Display for Nanoseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = Unit::of(self.0);
        f.pad(&format!("{}{}", unit.number(self.0), unit.name()))
    }
}

/// What times are told in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    Microseconds,
    Milliseconds,
    Seconds,
}

impl Unit {
    /// The one that suits the size of a time.
    pub(crate) fn of(ns: i64) -> Self {
        match ns.unsigned_abs() {
            0..1_000_000 => Self::Microseconds,
            1_000_000..1_000_000_000 => Self::Milliseconds,
            _ => Self::Seconds,
        }
    }

    /// As the terminal shows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Microseconds => "us",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
        }
    }

    /// A time in this unit, with three decimals.
    pub(crate) fn number(self, ns: i64) -> String {
        let thousandth = match self {
            Self::Microseconds => 1,
            Self::Milliseconds => 1_000,
            Self::Seconds => 1_000_000,
        };
        thousandths(ns, thousandth)
    }
}

/// Nanoseconds as ping prints them: milliseconds with three decimals, without the unit.
#[derive(Clone, Copy)]
pub(crate) struct Milliseconds(pub(crate) i64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&thousandths(self.0, 1_000))
    }
}

/// `value` in units of 1000 `thousandth`, rounded to three decimals.
fn thousandths(value: i64, thousandth: u64) -> String {
    let rounded = (value.unsigned_abs() + thousandth / 2) / thousandth;
    let sign = if value < 0 && rounded > 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", rounded / 1000, rounded % 1000)
}

/// A share as a percentage of up to six digits, as ping prints its loss: `0%`, `33.3333%`, `100%`.
pub(crate) struct Percent(pub(crate) f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:.4}", self.0 * 100.0);
        write!(f, "{}%", digits.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_seconds_and_suffixes() {
        for (text, nanoseconds) in [
            ("1", 1_000_000_000),
            ("0.2", 200_000_000),
            (".5", 500_000_000),
            ("2.", 2_000_000_000),
            ("0", 0),
            ("1s", 1_000_000_000),
            ("1.5ms", 1_500_000),
            ("20us", 20_000),
            ("7ns", 7),
            ("1.9ns", 1),
            ("0.1234567891", 123_456_789),
            ("18446744073.709551615", u64::MAX),
            ("1e-6", 1_000),
            ("2.5E3", 2_500_000_000_000),
            ("12.345e-2", 123_450_000),
            ("1e+0", 1_000_000_000),
            ("999e-12", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            ".",
            "s",
            "ms",
            "-1",
            "+1",
            "1e",
            "e1",
            ".e1",
            "1e1.5",
            "2e10",
            "1e99999999999",
            "1e3ms",
            "1 s",
            "1m",
            "inf",
            "nan",
            "0x10",
            "1.2.3",
            "18446744074",
            "٣",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_positive_duration("0ms").is_err());
        assert!(parse_positive_duration("0.1ns").is_err(), "less than a nanosecond");
    }

    #[test]
    fn reads_signs_where_they_mean_something() {
        for (text, nanoseconds) in [
            ("-37", -37_000_000_000),
            ("+37s", 37_000_000_000),
            ("0", 0),
            ("-0", 0),
            ("-1.5us", -1_500),
            ("-3.7e1", -37_000_000_000),
        ] {
            assert_eq!(parse_signed_duration(text), Ok(nanoseconds), "{text}");
        }
        for text in ["--1", "-", "+", "- 1", "+-1", "9223372036.854775808"] {
            assert!(parse_signed_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prints_the_unit_that_suits() {
        for (value, text) in [
            (0, "0.000us"),
            (11_342, "11.342us"),
            (999_999, "999.999us"),
            (1_000_000, "1.000ms"),
            (20_100_499, "20.100ms"),
            (-1_500, "-1.500us"),
            (-20_100_500, "-20.101ms"),
            (2_500_000_000, "2.500s"),
            (i64::MIN, "-9223372036.855s"),
        ] {
            assert_eq!(Nanoseconds(value).to_string(), text);
        }
        assert_eq!(format!("{:>10}|", Nanoseconds(1_000)), "   1.000us|");
        assert_eq!(Milliseconds(42_149).to_string(), "0.042");
        assert_eq!(Milliseconds(-499).to_string(), "0.000");
    }
}
