//! The formats of metrics, and which of them is preferred.

use anyhow::Context as _;
use prometheus_client::{
    encoding::{prometheus_protobuf, prometheus_text, text},
    registry::Registry,
};

/// How metrics are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// What everybody can read who does not say.
    Text,
    OpenMetrics,
    /// The only one with native histograms.
    Protobuf,
}

impl Format {
    /// The one that an `Accept` header prefers; text where it allows none of them, as other exporters do.
    pub(super) fn preferred(accept: &str) -> Self {
        let ranges = accept.split(',').filter_map(|range| Some((Self::of(range)?, quality(range))));
        // Of several that are preferred the first is.
        let best = ranges
            .filter(|(_, quality)| *quality > 0.0)
            .reduce(|best, other| if other.1 > best.1 { other } else { best });
        best.map_or(Self::Text, |(format, _)| format)
    }

    /// The one that fits one range of the header, with its parameters.
    fn of(range: &str) -> Option<Self> {
        let mut parameters = range.split(';').map(str::trim);
        let kind = parameters.next()?.to_ascii_lowercase();
        let has = |name: &str, value: &str| parameters.clone().any(|parameter| named(parameter, name) == Some(value));
        let version = parameters.clone().find_map(|parameter| named(parameter, "version"));
        match kind.as_str() {
            "application/vnd.google.protobuf" => (has("proto", "io.prometheus.client.MetricFamily")
                && has("encoding", "delimited"))
            .then_some(Self::Protobuf),
            "application/openmetrics-text" => matches!(version, None | Some("1.0.0")).then_some(Self::OpenMetrics),
            "text/plain" => matches!(version, None | Some("0.0.4")).then_some(Self::Text),
            "*/*" | "text/*" => Some(Self::Text),
            _ => None,
        }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// Reads all metrics, and writes them.
    pub(super) fn write(self, registry: &Registry) -> anyhow::Result<Vec<u8>> {
        let mut out = String::new();
        match self {
            Self::Text => prometheus_text::encode(&mut out, registry),
            Self::OpenMetrics => text::encode(&mut out, registry),
            Self::Protobuf => return prometheus_protobuf::encode_to_vec(registry).context("cannot encode the metrics"),
        }
        .context("cannot encode the metrics")?;
        Ok(out.into_bytes())
    }
}

/// The value of a parameter `name=value`, without quotes, if it has this name.
fn named<'a>(parameter: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = parameter.split_once('=')?;
    key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
}

/// How much a range is preferred, 0 to 1.
fn quality(range: &str) -> f32 {
    let quality = range.split(';').find_map(|parameter| named(parameter.trim(), "q"));
    quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_gets_what_it_prefers() {
        const PROTOBUF: &str =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Text),
            // Prometheus 2.42, without and with native histograms.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            (
                &format!(
                    "{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
                ),
                Format::Protobuf,
            ),
            // Prometheus 3.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            (&format!("text/plain;q=0.9, {PROTOBUF};q=0.8"), Format::Text),
            (&format!("text/plain;q=0.5, {PROTOBUF} ; Q=0.7"), Format::Protobuf),
            (
                "application/vnd.google.protobuf; proto=\"io.prometheus.client.MetricFamily\"; encoding=delimited",
                Format::Protobuf,
            ),
            ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", Format::Text),
            ("application/openmetrics-text;version=2.0.0", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=much", Format::Text),
            (";;,=,q=;,application/json", Format::Text),
        ] {
            assert_eq!(Format::preferred(accept), format, "{accept}");
        }
    }
}
