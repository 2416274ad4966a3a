//! The options of `instamp sync`: phc2sys's letters and meaning for what both have. `-q` is ping's.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;
use instamp_clockmap::{Device, Directory};
use instamp_sync::Config;

use crate::{
    clock_names,
    units::{parse_duration, parse_signed_duration},
};

/// Models the clock of network cards (PHC) against the system's, says how wrong the model can be, and publishes it.
///
/// Nothing is steered unless `--steer` asks for it: a model is safe beside ptp4l, phc2sys, chronyd and other daemons. Programs
/// convert hardware timestamps into the system's time with what is published; `instamp clock` shows it.
#[derive(clap::Args)]
#[command(after_help = HELP)]
#[group(id = "clocks", required = true, multiple = true, args = ["dev", "phc"])]
pub(crate) struct Options {
    /// The clock of this network interface. Several are allowed; those that share a clock share a model
    #[arg(long, value_name = "IF")]
    pub(super) dev: Vec<String>,

    /// This clock: /dev/ptpN, or `CLOCK_MONOTONIC_RAW`, which stands in for a card's clock to try the rest without one
    #[arg(long, value_name = "CLOCK", value_parser = clock_names::parse)]
    pub(super) phc: Vec<Device>,

    /// Steer this clock after the other
    #[arg(long, value_name = "SINK", requires = "offset")]
    pub(super) steer: Option<Steer>,

    /// Updates a second
    #[arg(short = 'R', long, value_name = "HZ", default_value = "10", value_parser = parse_rate)]
    pub(super) rate: f64,

    /// Readings for each update, of which one of the shortest is used
    #[arg(short = 'N', long, value_name = "COUNT", default_value_t = instamp_sync::READINGS, value_parser = clap::value_parser!(u32).range(1..=25))]
    pub(super) readings: u32,

    /// How to read the clock; auto takes the first that the card and the kernel have, in this order, and chooses again where
    /// it keeps failing
    #[arg(long, value_name = "METHOD", default_value = "auto")]
    pub(super) method: Method,

    /// How far off its middle a reading may have been taken, as a share of half of its length. It cannot be measured; 1
    /// makes bounds that assume nothing
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = parse_share)]
    pub(super) asymmetry: f64,

    /// Publish below this folder
    #[arg(long, value_name = "DIR", env = Directory::VARIABLE, default_value = Directory::DEFAULT)]
    pub(super) publish: PathBuf,

    /// Stop after COUNT updates of each clock, missed ones included [default: never]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,

    /// Statistics of COUNT updates on a line, instead of a line for each update; 0 for a line each
    #[arg(short = 'u', long, value_name = "COUNT", default_value_t = 0)]
    pub(super) summary: u32,

    /// No lines of updates
    #[arg(short = 'q', long)]
    pub(super) quiet: bool,

    /// JSON Lines on standard output: start, update, missed, withdrawn, interval, dropped and summary; times are integers in
    /// ns, rates in ppb with fractions, and null is what is not known
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    pub(super) steering: Steering,
}

/// What matters with `--steer` alone.
#[derive(clap::Args)]
#[command(next_help_heading = "With --steer")]
pub(super) struct Steering {
    /// How far the steered clock shall be ahead of the other. Cards kept by PTP are in TAI, 37 s ahead of UTC: `-O -37` for
    /// `--steer system`, `-O 37` for `--steer phc`; 0 where both keep the same time
    #[arg(short = 'O', long, value_name = "TIME", requires = "steer", allow_negative_numbers = true, value_parser = parse_signed_duration)]
    pub(super) offset: Option<i64>,

    /// The servo
    #[arg(short = 'E', long, value_name = "SERVO", requires = "steer", default_value = "pi")]
    pub(super) servo: Servo,

    /// The PI servo's proportional constant [default: 0.7 at one update a second, and for
    /// other rates as ptp4l has it]
    #[arg(short = 'P', long, value_name = "KP", requires = "steer", value_parser = parse_constant)]
    pub(super) kp: Option<f64>,

    /// The PI servo's integral constant [default: 0.3 at one update a second, and for
    /// other rates as ptp4l has it]
    #[arg(short = 'I', long, value_name = "KI", requires = "steer", value_parser = parse_constant)]
    pub(super) ki: Option<f64>,

    /// Step over an offset larger than this, at any time; 0 for never
    #[arg(short = 'S', long, value_name = "TIME", requires = "steer", default_value = "0", value_parser = parse_duration)]
    pub(super) step_threshold: Duration,

    /// Step over an offset larger than this at the first update; 0 for never
    #[arg(short = 'F', long, value_name = "TIME", requires = "steer", default_value = "0.00002", value_parser = parse_duration)]
    pub(super) first_step_threshold: Duration,

    /// Start anew where the steered clock's own frequency seems further off than this; 0 for no limit
    #[arg(short = 'L', long, value_name = "PPB", requires = "steer", default_value_t = 200_000_000)]
    pub(super) freq_limit: u32,
}

/// The clock that is steered.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Steer {
    /// The card's clock follows `CLOCK_REALTIME`
    Phc,
    /// `CLOCK_REALTIME` follows the card's clock
    System,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Servo {
    /// A proportional and an integral part of the offset
    Pi,
    /// A line through the last offsets, as many as fit best
    Linreg,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    Auto,
    /// `PTP_SYS_OFFSET_PRECISE`: the hardware reads both clocks at once
    Precise,
    /// `PTP_SYS_OFFSET_EXTENDED` between readings of `CLOCK_MONOTONIC`; Linux 6.12
    Extended,
    /// `PTP_SYS_OFFSET_EXTENDED` between readings of `CLOCK_REALTIME`
    ExtendedRealtime,
    /// `PTP_SYS_OFFSET`
    Basic,
}

const HELP: &str = "\
Times are seconds (0.2, 1e-6), or have a suffix: ns, us, ms, s (200ms).

A line of an update has phc2sys's shape, prefixed with CLOCK_MONOTONIC:
  offset  ns: the reading less what the model before it expected; with --steer, the steered clock
          less the other
  s0 s2   no valid model yet; valid. With --steer the servo: s0 measures, s1 steps, s2 is locked
  freq    ppb: how much faster the card's clock runs than the system's; with --steer, how much
          faster than the other the steered clock would run by itself
  delay   ns: length of the reading that is used
  bound   ns: how wrong a conversion with the model can be now
  -       not known: no model is valid

Output that nobody reads stops nothing: lines are left out, and how many is told as soon as somebody
reads again.

A model is withdrawn at once where a reading contradicts it (somebody stepped the clock, or the card
was reset), and begins anew. Without readings its bound grows, until it is void.

To steer a clock that somebody else steers is refused: chronyd (but with -x), ntpd,
systemd-timesyncd, phc2sys or another, seen by its process, by its hold on the card, or by a
frequency that is not the one set last. That is asked again before each adjustment, of processes
once a second, of who has the card open every ten; what is found then ends the run. The clock keeps
the frequency that it had last, as with phc2sys.

SIGINT and SIGTERM withdraw the models and print a summary; SIGQUIT (Ctrl-\\) prints a line for each
clock on standard error. A service manager is told when the first model is valid (Type=notify), how
it stands, and that it lives (WatchdogSec=).

It needs to open /dev/ptpN for reading and to write below --publish; with --steer also CAP_SYS_TIME,
and for `phc` to open /dev/ptpN for writing and to see what other processes have open
(CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH). On a busy machine real-time priority helps: readings are then
interrupted less (`chrt -f 1`, CPUSchedulingPolicy=fifo).

Examples:
  instamp sync --dev eth0                              model, print, publish
  instamp sync --dev eth0 --dev eth1 -u 600            two cards, a line of each a minute
  instamp sync --dev eth0 --steer system -O -37        the system follows a card that ptp4l keeps
  instamp sync --phc CLOCK_MONOTONIC_RAW --count 100   without a card

Exit status: 0 on a signal, whenever it comes; after --count updates 0 where a model was valid,
1 where none was; 2 on an error.";

/// Reads a rate, in updates a second. A model has to last for three intervals, and a minute is as long as one can.
fn parse_rate(text: &str) -> Result<f64, String> {
    within(text, 0.05..=1000.0).ok_or_else(|| "expected a number of updates a second, 0.05 to 1000".into())
}

fn parse_share(text: &str) -> Result<f64, String> {
    within(text, 0.0..=1.0).ok_or_else(|| "expected a share, 0 to 1".into())
}

fn parse_constant(text: &str) -> Result<f64, String> {
    within(text, f64::MIN_POSITIVE..=f64::MAX).ok_or_else(|| "expected a number of more than 0".into())
}

fn within(text: &str, range: std::ops::RangeInclusive<f64>) -> Option<f64> {
    text.parse().ok().filter(|number| range.contains(number))
}

impl Steer {
    /// The word for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Phc => "phc",
            Self::System => "system",
        }
    }
}

impl Options {
    /// What the tracker needs to know.
    pub(super) fn tracker(&self) -> Config {
        Config { asymmetry: self.asymmetry, ..Config::for_interval(self.interval().into()) }
    }

    /// From one update to the next.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs_f64(self.rate.recip())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use instamp_clockmap::MAX_RANGE_NS;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Result<Options, clap::Error> {
        Command::try_parse_from([&["sync"], arguments].concat()).map(|command| command.options)
    }

    #[test]
    fn what_steers_has_the_defaults_of_phc2sys() {
        let options = options(&["--dev", "eth0"]).expect("options");
        let steering = &options.steering;
        assert_eq!((options.steer, steering.servo, steering.kp, steering.ki), (None, Servo::Pi, None, None));
        assert_eq!(steering.first_step_threshold, Duration::from_micros(20));
        assert_eq!(steering.step_threshold, Duration::ZERO);
        assert_eq!(steering.freq_limit, 200_000_000);
    }

    #[test]
    fn the_letters_are_those_of_phc2sys() {
        let options = options(&[
            "--phc",
            "/dev/ptp0",
            "--steer",
            "system",
            "-O",
            "-37",
            "-R",
            "4",
            "-N",
            "25",
            "-S",
            "0.1",
            "-F",
            "1us",
            "-L",
            "0",
            "-E",
            "linreg",
            "-P",
            "0.5",
            "-I",
            "0.1",
            "-u",
            "600",
        ])
        .expect("options");
        let steering = &options.steering;
        assert_eq!((options.interval(), options.readings, options.summary), (Duration::from_millis(250), 25, 600));
        assert_eq!((options.steer, steering.offset), (Some(Steer::System), Some(-37_000_000_000)));
        assert_eq!(steering.step_threshold, Duration::from_millis(100));
        assert_eq!(steering.first_step_threshold, Duration::from_micros(1));
        assert_eq!((steering.freq_limit, steering.servo), (0, Servo::Linreg));
        assert_eq!((steering.kp, steering.ki), (Some(0.5), Some(0.1)));
    }

    #[test]
    fn slow_rates_have_readings_enough() {
        let of = |rate| options(&["--dev", "eth0", "-R", rate]).expect("options").tracker();
        for rate in ["0.05", "1", "10", "1000"] {
            let config = of(rate);
            assert!(config.window.as_ns() >= 16 * config.interval.as_ns(), "{rate}: {config:?}");
            assert!(config.holdover.as_ns() >= 3 * config.interval.as_ns(), "{rate}: {config:?}");
            assert!(3 * config.interval.unsigned_ns() <= MAX_RANGE_NS, "{rate}: {config:?}");
        }
        assert_eq!(of("10").window, Config::default().window);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for arguments in [
            [].as_slice(),
            &["--phc", "eth0"],
            &["--dev", "eth0", "--steer", "phc"],
            &["--dev", "eth0", "-R", "0"],
            &["--dev", "eth0", "-R", "1e9"],
            &["--dev", "eth0", "-N", "0"],
            &["--dev", "eth0", "-N", "26"],
            &["--dev", "eth0", "--asymmetry", "1.1"],
            &["--dev", "eth0", "--asymmetry", "nan"],
            &["--dev", "eth0", "--count", "0"],
            &["--dev", "eth0", "--steer", "phc", "-O", "0", "-P", "0"],
            &["--dev", "eth0", "-O", "0"],
            &["--dev", "eth0", "-S", "1"],
        ] {
            assert!(options(arguments).is_err(), "{arguments:?}");
        }
    }
}
