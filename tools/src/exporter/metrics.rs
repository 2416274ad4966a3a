//! The metrics of targets.

use std::net::IpAddr;

use instamp::{
    Uncorrected,
    prober::{Event, Reply},
};
use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, NativeHistogramConfig},
    },
    registry::{Registry, Unit},
};

/// The upper bounds of the classic buckets in seconds: 100 ns to 10 s.
const BUCKETS: [f64; 25] = [
    1e-7, 2e-7, 5e-7, 1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1,
    0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];
/// From one native bucket to the next at most 10 %: eight to a doubling, so 500 for all times that there are.
const NATIVE_GROWTH: f64 = 1.1;

type Labels<const N: usize> = [(&'static str, String); N];

/// The metrics of all targets, by their labels.
#[derive(Clone, Default)]
pub(super) struct Families {
    info: Family<Labels<3>, Gauge>,
    probing: Family<Labels<1>, Gauge>,
    sent: Family<Labels<1>, Counter>,
    timed_out: Family<Labels<1>, Counter>,
    errors: Family<Labels<2>, Counter>,
    received: Family<Labels<1>, Counter>,
    late: Family<Labels<1>, Counter>,
    duplicate: Family<Labels<1>, Counter>,
    corrected: Family<Labels<1>, Counter>,
    uncorrected: Family<Labels<2>, Counter>,
    negative: Family<Labels<2>, Counter>,
    rtt: Times,
    net: Times,
    tx_stack: Times,
    rx_stack: Times,
    remote: Times,
}

/// The histograms of one time.
#[derive(Clone)]
struct Times(Family<Labels<1>, Histogram>);

impl Default for Times {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| {
            Histogram::new_classic_and_native(BUCKETS, NativeHistogramConfig::new(NATIVE_GROWTH))
        }))
    }
}

impl Families {
    /// Puts them under their names.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("target_info", "The host and the address that are probed", self.info.clone());
        let help = "Whether requests are sent: 0 without an address or a socket";
        registry.register("target_probing", help, self.probing.clone());
        for (name, help, counters) in [
            ("probes_sent", "Requests that were sent", &self.sent),
            ("probes_timed_out", "Requests that were not answered in time", &self.timed_out),
            ("replies_received", "Requests that were answered, in time or late", &self.received),
            ("replies_late", "Of the received ones, those that came after the timeout", &self.late),
            ("replies_duplicate", "Replies to requests that had been answered before", &self.duplicate),
            ("replies_corrected", "Replies whose time was split", &self.corrected),
        ] {
            registry.register(name, help, counters.clone());
        }
        for (name, help, counters) in [
            ("probe_errors", "Requests that could not be sent or that an ICMP error answered, and why", &self.errors),
            ("replies_uncorrected", "Replies whose time was not split, and why", &self.uncorrected),
            ("negative_times", "Times of corrected replies that are below 0, and so in no histogram", &self.negative),
        ] {
            registry.register(name, help, counters.clone());
        }
        for (name, help, Times(histograms)) in [
            ("rtt", "From the send call to the receive call", &self.rtt),
            ("net", "Outside of this host, both ways, without the far end's share", &self.net),
            ("tx_stack", "In this host on the way out: from the send call to the last stamp", &self.tx_stack),
            ("rx_stack", "In this host on the way in: from the first stamp to the receive call", &self.rx_stack),
            ("remote", "In a far end that stamps", &self.remote),
        ] {
            registry.register_with_unit(name, help, Unit::Seconds, histograms.clone());
        }
    }

    /// Those of one target, which are all there from now on, but for errors of which there are none.
    pub(super) fn of(&self, target: &str) -> Metrics {
        let metrics = Metrics { families: self.clone(), target: target.to_owned(), info: None };
        let Self { sent, timed_out, received, late, duplicate, corrected, .. } = self;
        for counters in [sent, timed_out, received, late, duplicate, corrected] {
            counters.get_or_create_owned(&metrics.labels());
        }
        for reason in Uncorrected::ALL {
            self.uncorrected.get_or_create_owned(&metrics.labels_with("reason", reason.name()));
        }
        self.rtt.0.get_or_create_owned(&metrics.labels());
        for (name, Times(histograms)) in metrics.parts() {
            histograms.get_or_create_owned(&metrics.labels());
            self.negative.get_or_create_owned(&metrics.labels_with("time", name));
        }
        metrics.is_probing(false);
        metrics
    }
}

/// The metrics of one target.
pub(super) struct Metrics {
    families: Families,
    target: String,
    info: Option<Labels<3>>,
}

impl Metrics {
    /// Notes which address of the host is probed.
    pub(super) fn probes(&mut self, host: &str, address: IpAddr) {
        let info = [("target", self.target.clone()), ("host", host.to_owned()), ("address", address.to_string())];
        if let Some(before) = self.info.replace(info.clone()) {
            self.families.info.remove(&before);
        }
        self.families.info.get_or_create(&info).set(1);
        self.is_probing(true);
    }

    /// Notes whether requests are sent.
    pub(super) fn is_probing(&self, is_probing: bool) {
        self.families.probing.get_or_create(&self.labels()).set(i64::from(is_probing));
    }

    /// Counts what happened.
    pub(super) fn count(&self, event: &Event) {
        let count = |counters: &Family<Labels<1>, Counter>| _ = counters.get_or_create(&self.labels()).inc();
        match event {
            Event::Sent { .. } => count(&self.families.sent),
            Event::Timeout { .. } => count(&self.families.timed_out),
            Event::Error { error, .. } => self.count_with(&self.families.errors, "error", error.name()),
            Event::Reply(reply) if reply.duplicate => count(&self.families.duplicate),
            Event::Reply(reply) => {
                // A probe counts once, with its truncated answer if that came first.
                if reply.is_first_answer() && !reply.supersedes {
                    count(&self.families.received);
                    if reply.late {
                        count(&self.families.late);
                    }
                }
                self.split(reply);
            }
        }
    }

    fn split(&self, reply: &Reply) {
        if reply.is_first_answer() {
            self.observe(&self.families.rtt, reply.rtt_ns);
        }
        let correction = match reply.correction {
            Ok(correction) => correction,
            Err(reason) => return self.count_with(&self.families.uncorrected, "reason", reason.name()),
        };
        self.families.corrected.get_or_create(&self.labels()).inc();
        let remote_ns = correction.remote_ns.filter(|remote_ns| *remote_ns != 0);
        let times_ns = [Some(correction.net_ns), Some(correction.tx_stack_ns), Some(correction.rx_stack_ns), remote_ns];
        for ((name, times), ns) in self.parts().into_iter().zip(times_ns) {
            match ns {
                Some(..0) => self.count_with(&self.families.negative, "time", name),
                Some(ns) => self.observe(times, ns),
                None => {}
            }
        }
    }

    /// What an RTT is split into.
    fn parts(&self) -> [(&'static str, &Times); 4] {
        let Families { net, tx_stack, rx_stack, remote, .. } = &self.families;
        [("net", net), ("tx-stack", tx_stack), ("rx-stack", rx_stack), ("remote", remote)]
    }

    fn observe(&self, Times(histograms): &Times, ns: i64) {
        #[expect(clippy::cast_precision_loss, reason = "exact below 104 days")]
        let seconds = ns as f64 / 1e9;
        histograms.get_or_create(&self.labels()).observe(seconds);
    }

    fn count_with(&self, counters: &Family<Labels<2>, Counter>, name: &'static str, value: &str) {
        counters.get_or_create(&self.labels_with(name, value)).inc();
    }

    fn labels(&self) -> Labels<1> {
        [("target", self.target.clone())]
    }

    fn labels_with(&self, name: &'static str, value: &str) -> Labels<2> {
        [("target", self.target.clone()), (name, value.to_owned())]
    }
}

#[cfg(test)]
mod tests {
    use instamp::{Correction, prober::ErrorKind};
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::ping::samples::{reply, uncorrected};

    /// What is served of a target of which this has happened, but for zeros and buckets.
    fn served(events: &[Event]) -> String {
        let families = Families::default();
        let metrics = families.of("a");
        events.iter().for_each(|event| metrics.count(event));
        let mut registry = Registry::default();
        families.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).expect("memory");
        let is_zero = |line: &str| line.ends_with(" 0") || line.ends_with(" 0.0");
        let mut lines: Vec<_> =
            text.lines().filter(|line| !(line.starts_with('#') || line.contains("_bucket") || is_zero(line))).collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    #[test]
    fn each_event_counts() {
        let events = [
            Event::Sent { seq: 1, sent_ns: 0 },
            Event::Reply(reply(1)),
            Event::Reply(Reply { duplicate: true, ..reply(1) }),
            Event::Sent { seq: 2, sent_ns: 0 },
            Event::Timeout { seq: 2 },
            Event::Error { seq: Some(2), from: None, error: ErrorKind::HostUnreachable },
            Event::Error { seq: None, from: None, error: ErrorKind::HostUnreachable },
        ];
        insta::assert_snapshot!(served(&events), @r#"
        net_seconds_count{target="a"} 1
        net_seconds_sum{target="a"} 0.000011342
        probe_errors_total{target="a",error="host-unreachable"} 2
        probes_sent_total{target="a"} 2
        probes_timed_out_total{target="a"} 1
        replies_corrected_total{target="a"} 1
        replies_duplicate_total{target="a"} 1
        replies_received_total{target="a"} 1
        rtt_seconds_count{target="a"} 1
        rtt_seconds_sum{target="a"} 0.000042149
        rx_stack_seconds_count{target="a"} 1
        rx_stack_seconds_sum{target="a"} 0.000010707
        tx_stack_seconds_count{target="a"} 1
        tx_stack_seconds_sum{target="a"} 0.0000201
        "#);
    }

    #[test]
    fn a_probe_is_received_once_whatever_was_forged_before_its_reply() {
        let truncated = uncorrected(1, Uncorrected::Truncated);
        let events = [
            Reply { late: true, ..truncated },
            Reply { late: true, ..uncorrected(1, Uncorrected::ForeignNonce) },
            Reply { late: true, supersedes: true, ..reply(1) },
            Reply { late: true, duplicate: true, ..truncated },
        ];
        insta::assert_snapshot!(served(&events.map(Event::Reply)), @r#"
        net_seconds_count{target="a"} 1
        net_seconds_sum{target="a"} 0.000011342
        replies_corrected_total{target="a"} 1
        replies_duplicate_total{target="a"} 1
        replies_late_total{target="a"} 1
        replies_received_total{target="a"} 1
        replies_uncorrected_total{target="a",reason="foreign-nonce"} 1
        replies_uncorrected_total{target="a",reason="truncated"} 1
        rtt_seconds_count{target="a"} 2
        rtt_seconds_sum{target="a"} 0.000084298
        rx_stack_seconds_count{target="a"} 1
        rx_stack_seconds_sum{target="a"} 0.000010707
        tx_stack_seconds_count{target="a"} 1
        tx_stack_seconds_sum{target="a"} 0.0000201
        "#);
    }

    #[test]
    fn what_is_below_0_is_counted_apart() {
        let Reply { correction: Ok(correction), .. } = reply(1) else { panic!("corrected") };
        let correction = Correction { net_ns: -100, remote_ns: Some(11_442), ..correction };
        insta::assert_snapshot!(served(&[Event::Reply(Reply { correction: Ok(correction), ..reply(1) })]), @r#"
        negative_times_total{target="a",time="net"} 1
        remote_seconds_count{target="a"} 1
        remote_seconds_sum{target="a"} 0.000011442
        replies_corrected_total{target="a"} 1
        replies_received_total{target="a"} 1
        rtt_seconds_count{target="a"} 1
        rtt_seconds_sum{target="a"} 0.000042149
        rx_stack_seconds_count{target="a"} 1
        rx_stack_seconds_sum{target="a"} 0.000010707
        tx_stack_seconds_count{target="a"} 1
        tx_stack_seconds_sum{target="a"} 0.0000201
        "#);
    }

    #[test]
    fn what_a_bucket_is_named_after_is_in_it() {
        let families = Families::default();
        let metrics = families.of("a");
        for ns in [100, 101, 200, 10_000_000_000, 10_000_000_001] {
            metrics.observe(&families.net, ns);
        }
        let mut registry = Registry::default();
        families.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).expect("memory");
        for line in [
            r#"net_seconds_bucket{le="1e-7",target="a"} 1"#,
            r#"net_seconds_bucket{le="2e-7",target="a"} 3"#,
            r#"net_seconds_bucket{le="10.0",target="a"} 4"#,
            r#"net_seconds_bucket{le="+Inf",target="a"} 5"#,
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
