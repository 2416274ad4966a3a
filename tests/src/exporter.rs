//! A running `instamp exporter`, and what it serves.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    iter,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::http::{self, Answer};

/// The command, which is killed where a test fails.
#[derive(Debug)]
pub struct Exporter {
    child: Child,
    address: SocketAddr,
}

impl Exporter {
    /// Starts `instamp exporter` with its options. It serves when this returns.
    ///
    /// # Panics
    ///
    /// It does not.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("instamp exporter");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let address =
            line.trim().strip_prefix("instamp exporter: http://").and_then(|url| url.strip_suffix("/metrics"));
        let address = address.and_then(|address| address.parse().ok());
        let Some(address) = address else { panic!("{line:?}: {:?}", child.wait_with_output()) };
        Self { child, address }
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks for the metrics, in the network namespace of this thread.
    pub fn get(&self, accept: &str) -> Answer {
        http::get(self.address, "/metrics", accept)
    }

    /// Reads the metrics, in the network namespace of this thread.
    pub fn scrape(&self) -> Scrape {
        Scrape::from(self.get("text/plain").text())
    }

    /// Reads the metrics until they are as wanted, in the network namespace of this thread.
    ///
    /// # Panics
    ///
    /// They do not become so.
    #[track_caller]
    pub fn scrape_until(&self, wanted: impl Fn(&Scrape) -> bool) -> Scrape {
        let mut last = None;
        looks()
            .find_map(|()| Some(last.insert(self.scrape()).clone()).filter(&wanted))
            .unwrap_or_else(|| panic!("{last:?}"))
    }

    /// Ends it. Returns what it exited with, and what it had to say, but of commands that other tests ran at the same time.
    ///
    /// # Panics
    ///
    /// It cannot be told to end.
    pub fn end(mut self, signal: Signal) -> (Option<i32>, Vec<String>) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("its own process");
        let messages =
            BufReader::new(self.child.stderr.take().expect("a pipe")).lines().map(|line| line.expect("text"));
        let messages = messages.filter(|line| !line.contains("waiting for another command")).collect();
        (self.child.wait().expect("its end").code(), messages)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks at what another process tells of itself only when asked: again and again, and much longer than anything takes, for tests that
/// fail.
pub(crate) fn looks() -> impl Iterator<Item = ()> {
    const PAUSE: Duration = Duration::from_millis(20);
    const PATIENCE: Duration = Duration::from_secs(60);
    let start = Instant::now();
    iter::once(()).chain(iter::repeat_with(|| thread::sleep(PAUSE)).take_while(move |()| start.elapsed() < PATIENCE))
}

/// The samples of one scrape.
#[derive(Clone, PartialEq, Debug)]
pub struct Scrape(BTreeMap<(String, Labels), f64>);

/// Names and values.
pub type Labels = BTreeMap<String, String>;

impl From<&str> for Scrape {
    /// Reads the text format, with labels in which nothing is escaped.
    fn from(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("no labels: {line}"));
            let labels = labels.split_terminator(',').map(|label| {
                let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("no label: {line}"));
                (name.to_owned(), value.trim_matches('"').to_owned())
            });
            let value = value.parse().unwrap_or_else(|_| panic!("no value: {line}"));
            ((name.to_owned(), labels.collect()), value)
        });
        Self(samples.collect())
    }
}

impl Scrape {
    /// The samples of this name that have these labels, with all of their labels.
    pub fn of<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = (&'a Labels, f64)> {
        let samples = self.0.iter().filter(move |((of, _), _)| of == name);
        samples.map(|((_, labels), value)| (labels, *value)).filter(move |(found, _)| {
            labels.iter().all(|(name, value)| found.get(*name).is_some_and(|found| found == value))
        })
    }

    /// The samples whose names begin like this.
    pub fn named<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let samples = self.0.iter().map(|((name, _), value)| (name.as_str(), *value));
        samples.filter(move |(name, _)| name.starts_with(prefix))
    }

    /// The value of the only such sample.
    ///
    /// # Panics
    ///
    /// There is none, or are several.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found: Vec<_> = self.of(name, labels).collect();
        let [(_, value)] = found[..] else { panic!("{name} {labels:?}: {found:?}") };
        value
    }

    /// Likewise, a count.
    ///
    /// # Panics
    ///
    /// There is none, or are several, or it is none.
    #[track_caller]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let value = self.value(name, labels);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked with the next line")]
        let count = value as u64;
        #[expect(clippy::cast_precision_loss, reason = "counts of tests are small")]
        let back = count as f64;
        assert!(back.total_cmp(&value).is_eq(), "{name} {labels:?}: {value}");
        count
    }

    /// A classic histogram: the upper bounds of its buckets, in order, with how many are at or below them.
    ///
    /// # Panics
    ///
    /// A bucket has no bound.
    pub fn buckets(&self, name: &str, labels: &[(&str, &str)]) -> Vec<(f64, f64)> {
        let name = format!("{name}_bucket");
        let bounded = |(labels, count): (&Labels, f64)| (labels["le"].parse::<f64>().expect("a bound"), count);
        let mut buckets: Vec<_> = self.of(&name, labels).map(bounded).collect();
        buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        buckets
    }

    /// The least and the most that the sum of a classic histogram's times can be, by its buckets alone.
    pub fn sum_by_buckets(&self, name: &str, labels: &[(&str, &str)]) -> (f64, f64) {
        let (mut least, mut most) = (0.0, 0.0);
        let (mut above, mut below) = (0.0, 0.0);
        for (upto, count) in self.buckets(name, labels) {
            // An infinite bound of an empty bucket bounds nothing.
            if count > below {
                least += (count - below) * above;
                most += (count - below) * upto;
            }
            (above, below) = (upto, count);
        }
        (least, most)
    }

    /// The bounds of the bucket in which the median is.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn median_bucket(&self, name: &str, labels: &[(&str, &str)]) -> (f64, f64) {
        let buckets = self.buckets(name, labels);
        let half = buckets.last().expect("+Inf").1 / 2.0;
        let position = buckets.iter().position(|(_, count)| *count >= half).expect("half of all");
        (position.checked_sub(1).map_or(0.0, |below| buckets[below].0), buckets[position].0)
    }
}
