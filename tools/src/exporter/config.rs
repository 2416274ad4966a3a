//! What to probe and where to serve: the file, and the options above it.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    str::FromStr,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use instamp::{DEFAULT_PAYLOAD_LENGTH, Run, prober};
use serde::Deserialize;

use super::Options;
use crate::{
    source::Source,
    units::{parse_duration, parse_positive_duration},
};

/// Prometheus' list gives the ports from 9100 to 9999 to exporters, and has none left there.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10_430);
/// A monitor is no load test.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// Each has a socket and a timer, and some 160 time series.
const MAX_TARGETS: usize = 1_000;

pub(super) struct Config {
    pub(super) listen: SocketAddr,
    pub(super) targets: Vec<Target>,
}

/// Whom to probe, and how.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Target {
    /// The value of its label.
    pub(super) name: String,
    /// A name or an address, maybe with an interface.
    pub(super) host: String,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    payload_bytes: usize,
    pub(super) source: Option<Source>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    #[serde(default)]
    defaults: Settings,
    #[serde(default, rename = "target")]
    targets: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    host: String,
    name: Option<String>,
    interval: Option<Interval>,
    timeout: Option<Timeout>,
    payload_bytes: Option<usize>,
    source: Option<Source>,
}

/// What a target has where it says nothing else.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Settings {
    interval: Option<Interval>,
    timeout: Option<Timeout>,
    payload_bytes: Option<usize>,
    source: Option<Source>,
}

/// From one request to the next.
#[derive(Deserialize, Clone, Copy)]
#[serde(try_from = "String")]
pub(super) struct Interval(Duration);

/// Until a request is given up.
#[derive(Deserialize, Clone, Copy)]
#[serde(try_from = "String")]
struct Timeout(Duration);

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let interval = parse_duration(text)?;
        if interval < MIN_INTERVAL { Err("must be 100ms or more".into()) } else { Ok(Self(interval)) }
    }
}

impl TryFrom<String> for Interval {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for Timeout {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_positive_duration(&text).map(Self)
    }
}

impl Config {
    /// Reads the file, if one is named, and checks it all.
    ///
    /// # Errors
    ///
    /// What cannot be read, or contradicts itself.
    pub(super) fn of(options: Options) -> anyhow::Result<Self> {
        let Options { targets, config, listen, interval, timeout, size, source } = options;
        let File { listen: at, defaults, targets: mut entries } =
            config.as_deref().map(File::read).transpose()?.unwrap_or_default();
        let settings = Settings {
            interval: interval.or(defaults.interval),
            timeout: timeout.map(Timeout).or(defaults.timeout),
            payload_bytes: size.or(defaults.payload_bytes),
            source: source.or(defaults.source),
        };
        entries.extend(targets.iter().map(|text| Entry::parse(text)));
        let targets = entries.into_iter().map(|entry| Target::of(entry, &settings)).collect();
        let config = Self { listen: listen.or(at).unwrap_or(LISTEN), targets };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        let mut names = BTreeSet::new();
        for Target { name, host, payload_bytes, .. } in &self.targets {
            ensure!(!host.is_empty() && !name.is_empty(), "a target without a host or with an empty name");
            ensure!(names.insert(name), "two targets are called {name}: give one of them another name");
            Run::new(*payload_bytes).with_context(|| format!("target {name}"))?;
        }
        let count = self.targets.len();
        ensure!(
            count <= MAX_TARGETS,
            "{count} targets are more than {MAX_TARGETS}: spread them over several exporters"
        );
        Ok(())
    }
}

impl File {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }
}

impl Entry {
    /// Reads `NAME=HOST` or `HOST`.
    fn parse(text: &str) -> Self {
        let (name, host) = match text.split_once('=') {
            Some((name, host)) => (Some(name.to_owned()), host),
            None => (None, text),
        };
        let host = host.to_owned();
        Self { host, name, interval: None, timeout: None, payload_bytes: None, source: None }
    }
}

impl Target {
    fn of(entry: Entry, settings: &Settings) -> Self {
        let second = Duration::from_secs(1);
        Self {
            name: entry.name.unwrap_or_else(|| entry.host.clone()),
            host: entry.host,
            interval: entry.interval.or(settings.interval).map_or(second, |Interval(interval)| interval),
            timeout: entry.timeout.or(settings.timeout).map_or(second, |Timeout(timeout)| timeout),
            payload_bytes: entry.payload_bytes.or(settings.payload_bytes).unwrap_or(DEFAULT_PAYLOAD_LENGTH),
            source: entry.source.or_else(|| settings.source.clone()),
        }
    }

    /// What the library is to do. `interface` is the one that came with the address.
    pub(super) fn config(&self, address: IpAddr, interface: Option<String>) -> prober::Config {
        let mut config = prober::Config::new(address);
        config.interface = interface;
        if let Some(source) = &self.source {
            source.apply(&mut config);
        }
        config.interval = self.interval;
        config.timeout = self.timeout;
        config.payload_bytes = self.payload_bytes;
        config
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn config(file: &str, arguments: &[&str]) -> Result<Config, String> {
        let mut written = tempfile::NamedTempFile::new().expect("a file");
        written.write_all(file.as_bytes()).expect("a disk");
        let path = written.path().to_str().expect("text");
        let options = Command::try_parse_from([&["exporter", "--config", path], arguments].concat());
        let config = Config::of(options.map_err(|error| error.to_string())?.options);
        config.map_err(|error| format!("{error:#}").replace(path, "FILE"))
    }

    const FILE: &str = r#"
        listen = "[::1]:9999"
        [defaults]
        interval = "10s"
        payload_bytes = 68
        source = "eth0"
        [[target]]
        host = "192.0.2.1"
        name = "gateway"
        [[target]]
        host = "example.net"
        interval = "100ms"
        timeout = "0.5"
        payload_bytes = 88
        source = "192.0.2.7"
    "#;

    #[test]
    fn a_target_has_its_own_settings_else_those_of_all() {
        let config = config(FILE, &["-W", "2", "-s", "64", "far=fe80::1%eth1"]).expect("a configuration");
        assert_eq!(config.listen.to_string(), "[::1]:9999");
        let source = |text: &str| text.parse().ok();
        let target = |name: &str, host: &str, ms: [u64; 2], payload_bytes, source| {
            let [interval, timeout] = ms.map(Duration::from_millis);
            Target { name: name.into(), host: host.into(), interval, timeout, payload_bytes, source }
        };
        let expected = [
            target("gateway", "192.0.2.1", [10_000, 2_000], 64, source("eth0")),
            target("example.net", "example.net", [100, 500], 88, source("192.0.2.7")),
            target("far", "fe80::1%eth1", [10_000, 2_000], 64, source("eth0")),
        ];
        assert_eq!(config.targets, expected);
    }

    #[test]
    fn without_anything_there_are_defaults_and_no_targets() {
        let config = config("", &[]).expect("a configuration");
        assert_eq!((config.listen.to_string().as_str(), config.targets.len()), ("127.0.0.1:10430", 0));
        let config = super::Config::of(Command::parse_from(["exporter", "a"]).options).expect("a configuration");
        let defaults = prober::Config::new(Ipv4Addr::LOCALHOST.into());
        assert_eq!(config.targets[0].config(Ipv4Addr::LOCALHOST.into(), None), defaults);
    }

    #[test]
    fn the_example_of_the_documentation() {
        let document = include_str!("../../../docs/exporter.md");
        let example = document.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
        let config = config(example.expect("an example"), &[]).expect("a configuration");
        let targets = config.targets.iter().map(|target| (target.name.as_str(), target.interval.as_secs()));
        assert_eq!(targets.collect::<Vec<_>>(), [("gateway", 5), ("example.net", 1)]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (file, arguments, expected) in [
            ("", &["a", "a"][..], "two targets are called a: give one of them another name"),
            ("", &["=a"], "a target without a host or with an empty name"),
            ("", &["a="], "a target without a host or with an empty name"),
            ("", &["-s", "65", "a"], "target a: "),
            ("", &["-i", "99ms", "a"], "must be 100ms or more"),
            ("interval = \"1s\"", &[], "unknown field `interval`"),
            ("[defaults]\nintervall = \"1s\"", &[], "unknown field `intervall`"),
            ("[[target]]\nname = \"a\"", &[], "missing field `host`"),
            ("[[target]]\nhost = \"a\"\nport = 1", &[], "unknown field `port`"),
            ("[defaults]\ninterval = \"0\"", &[], "must be 100ms or more"),
            ("[defaults]\ntimeout = \"soon\"", &[], "expected a number of seconds"),
            ("listen = \"localhost\"", &[], "FILE: "),
        ] {
            let error = config(file, arguments).map(|_| ()).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
        let many: Vec<String> = (0..=MAX_TARGETS).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(
            config("", &many).map(|_| ()),
            Err("1001 targets are more than 1000: spread them over several exporters".into())
        );
    }
}
