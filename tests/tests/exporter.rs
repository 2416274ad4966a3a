//! `instamp exporter`: its figures are those that the other commands tell, and Prometheus reads them.

use std::{
    fs::{self, DirBuilder, File},
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::DirBuilderExt as _,
    process::{Command, Stdio},
};

use instamp_tests::{
    bpffs::Bpffs,
    exporter::{Exporter, Scrape},
    http,
    lab::{Lab, instamp},
    ping::Run,
    privilege::{root, tool},
    prometheus::Prometheus,
    python,
    unprivileged::Unprivileged,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// One that answers, one that does not, and one that is not there.
const TARGETS: &str = r#"
    listen = "127.0.0.1:0"
    [defaults]
    interval = "100ms"
    timeout = "500ms"
    [[target]]
    name = "far"
    host = "10.99.0.2"
    [[target]]
    name = "silent"
    host = "fd10:99::2"
    [[target]]
    name = "absent"
    host = "10.99.0.77"
"#;
const FAR: [(&str, &str); 1] = [("target", "far")];
const SILENT: [(&str, &str); 1] = [("target", "silent")];
/// How far sums of seconds may be off because they are doubles.
const ROUNDING: f64 = 1e-12;
const TIMES: [&str; 5] = ["rtt", "net", "tx_stack", "rx_stack", "remote"];

/// The remote answers no more, by this version of IP.
fn silence(lab: &Lab, version: &str) {
    lab.enter("remote", || fs::write(format!("/proc/sys/net/{version}"), "1").expect("a setting"));
}

/// A lab whose remote does not answer by IPv6, attached to.
fn lab() -> Lab {
    let lab = Lab::up(&[]);
    silence(&lab, "ipv6/icmp/echo_ignore_all");
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp", "--node", "7"]);
    lab
}

fn start(lab: &Lab) -> (Exporter, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("exporter.toml");
    fs::write(&file, TARGETS).expect("a file");
    (Exporter::start(lab.instamp("host").args(["exporter", "--config"]).arg(&file)), folder)
}

/// Waits for at least 20 replies, and then for all that will ever come.
fn settled(lab: &Lab, exporter: &Exporter) -> Scrape {
    lab.enter("host", || exporter.scrape_until(|scrape| scrape.count("instamp_replies_received_total", &FAR) >= 20));
    silence(lab, "ipv4/icmp_echo_ignore_all");
    // They come in order, and none is late: the first that does not come is the first that the remote has not answered.
    lab.enter("host", || exporter.scrape_until(|scrape| scrape.count("instamp_probes_timed_out_total", &FAR) >= 1))
}

fn seconds(ns: &Value) -> f64 {
    ns.as_f64().unwrap_or_else(|| panic!("no number: {ns}")) / 1e9
}

#[test]
fn histograms_agree_with_counters_and_with_ping() {
    let Some(()) = root() else { return };
    let lab = lab();
    let (exporter, _folder) = start(&lab);
    let ping = Run::new(&lab, "host", &["-c", "50", "-i", "10ms", Lab::REMOTE]);
    ping.all_corrected(50);
    let scrape = settled(&lab, &exporter);

    let received = scrape.count("instamp_replies_received_total", &FAR);
    assert_eq!(scrape.count("instamp_replies_corrected_total", &FAR), received);
    for name in ["replies_late", "replies_duplicate"] {
        assert_eq!(scrape.count(&format!("instamp_{name}_total"), &FAR), 0, "{name}");
    }
    for name in ["replies_uncorrected", "negative_times", "probe_errors"] {
        let name = format!("instamp_{name}_total");
        assert!(scrape.of(&name, &FAR).all(|(_, count)| count == 0.0), "{name}: {scrape:?}");
    }
    for time in TIMES {
        let name = format!("instamp_{time}_seconds");
        let count = scrape.count(&format!("{name}_count"), &FAR);
        assert_eq!(count, if time == "remote" { 0 } else { received }, "{name}");
        let buckets = scrape.buckets(&name, &FAR);
        assert!(buckets.is_sorted_by(|(_, below), (_, above)| below <= above), "{buckets:?}");
        assert_eq!((buckets[0].0, buckets[24].0, buckets[25].0), (1e-7, 10.0, f64::INFINITY));
        assert_eq!(
            buckets.last().map(|(_, all)| *all),
            scrape.of(&format!("{name}_count"), &FAR).map(|(_, n)| n).next()
        );
        let sum = scrape.value(&format!("{name}_sum"), &FAR);
        let (least, most) = scrape.sum_by_buckets(&name, &FAR);
        assert!(least - ROUNDING <= sum && sum <= most + ROUNDING, "{name}: {least} {sum} {most}");
    }
    // To the nanosecond.
    let [rtt, net, tx_stack, rx_stack, remote] =
        TIMES.map(|time| scrape.value(&format!("instamp_{time}_seconds_sum"), &FAR));
    assert!((rtt - net - tx_stack - rx_stack - remote).abs() < ROUNDING, "{rtt} {net} {tx_stack} {rx_stack}");
    // Both have pinged the same. How long the host takes is each prober's own: they wait for a processor differently.
    let (above, upto) = scrape.median_bucket("instamp_net_seconds", &FAR);
    let net = &ping.summary()["net_ns"];
    assert!(above <= seconds(&net["max"]) && upto >= seconds(&net["min"]), "{above} {upto} {net}");

    assert_eq!(scrape.count("instamp_replies_received_total", &SILENT), 0);
    assert_eq!(scrape.count("instamp_rtt_seconds_count", &SILENT), 0);
    let [sent, timed_out] =
        ["sent", "timed_out"].map(|name| scrape.count(&format!("instamp_probes_{name}_total"), &SILENT));
    assert!(0 < timed_out && timed_out <= sent, "{timed_out} {sent}");
    let absent = [("target", "absent"), ("error", "host-unreachable")];
    let name = "instamp_probe_errors_total";
    let scrape = lab.enter("host", || exporter.scrape_until(|scrape| scrape.of(name, &absent).any(|(_, n)| n > 0.0)));
    for (target, host) in [("far", Lab::REMOTE), ("silent", Lab::REMOTE6), ("absent", "10.99.0.77")] {
        let info = [("target", target), ("host", host), ("address", host)];
        assert_eq!(scrape.count("instamp_target_info", &info), 1);
        assert_eq!(scrape.count("instamp_target_probing", &[("target", target)]), 1);
    }
    assert_eq!(exporter.end(Signal::SIGTERM), (Some(0), Vec::new()));
}

/// A name, labels, and a value.
type Sample = (&'static str, Vec<(&'static str, String)>, f64);

/// The counters of hooks as `instamp status` has them, by the names and labels of metrics.
fn status(lab: &Lab) -> Vec<Sample> {
    let output = lab.instamp("host").args(["status", "--json"]).output().expect("instamp");
    let status: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    let device = ("device", status["device"].as_str().expect("a name").to_owned());
    let number = |value: &Value| value.as_f64().expect("a number");
    let mut all = Vec::new();
    for hook in status["hooks"].as_array().expect("hooks") {
        let labels = vec![device.clone(), ("hook", hook["hook"].as_str().expect("a name").to_owned())];
        for (reason, count) in hook["refused"].as_object().expect("reasons") {
            let labels = [&labels[..], &[("reason", reason.clone())]].concat();
            all.push(("instamp_hook_refused_total", labels, number(count)));
        }
        all.push(("instamp_hook_attached", labels.clone(), 1.0));
        all.push(("instamp_hook_stamped_total", labels, number(&hook["stamped"])));
    }
    for (member, name) in [
        ("kept", "instamp_requests_kept_total"),
        ("repeated", "instamp_requests_repeated_total"),
        ("refused", "instamp_requests_refused_total"),
        ("evicted", "instamp_requests_evicted_total"),
        ("in_flight", "instamp_requests_in_flight"),
        ("nic_asked", "instamp_nic_tx_asked_total"),
        ("nic_kept", "instamp_nic_tx_kept_total"),
        ("nic_late", "instamp_nic_tx_late_total"),
        ("nic_skipped", "instamp_nic_tx_skipped"),
    ] {
        let sent = status["sent"].as_object().into_iter().flatten();
        all.extend(sent.filter(|(of, _)| *of == member).map(|(_, count)| (name, vec![device.clone()], number(count))));
    }
    all
}

#[test]
fn counters_of_hooks_are_those_of_status() {
    let Some(()) = root() else { return };
    let lab = lab();
    let options = ["exporter", "--listen", "127.0.0.1:0", "-i", "2", "far=10.99.0.2"];
    let exporter = Exporter::start(lab.instamp("host").args(options));
    lab.enter("host", || exporter.scrape_until(|scrape| scrape.count("instamp_replies_received_total", &FAR) >= 2));
    // It pings on: a scrape between two looks that are alike has what they have.
    let (expected, scrape) = loop {
        let before = status(&lab);
        let scrape = lab.enter("host", || exporter.scrape());
        if before == status(&lab) {
            break (before, scrape);
        }
    };
    assert!(
        expected.iter().any(|(name, _, count)| *name == "instamp_hook_stamped_total" && *count >= 2.0),
        "{expected:?}"
    );
    for (name, labels, count) in &expected {
        let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(scrape.value(name, &labels), *count, "{name} {labels:?}");
    }
    let served = ["instamp_hook_", "instamp_requests_", "instamp_nic_tx_"].map(|prefix| scrape.named(prefix).count());
    assert_eq!(served.iter().sum::<usize>(), expected.len(), "no more than that");
    assert_eq!(scrape.count("instamp_hooks_readable", &[]), 1);

    lab.detach("host", Lab::NIC);
    let scrape = lab.enter("host", || exporter.scrape());
    assert_eq!((scrape.count("instamp_hooks_readable", &[]), scrape.named("instamp_hook_").count()), (1, 0));
}

#[test]
fn prometheus_reads_native_and_classic_histograms() {
    let (Some(()), Some(prometheus)) = (root(), Prometheus::fetched()) else { return };
    let lab = lab();
    let (exporter, _folder) = start(&lab);
    let [native, classic] = [(9_090, true), (9_091, false)]
        .map(|(port, is_native)| prometheus.serve(&lab, "host", port, exporter.address(), is_native));
    let settled = settled(&lab, &exporter);
    let received = settled.value("instamp_replies_received_total", &FAR);
    lab.enter("host", || {
        for server in [&native, &classic] {
            // Whatever is read later is as the exporter has it.
            let query = r#"instamp_probes_timed_out_total{target="far"}"#;
            server.query_until(query, |count| count >= settled.value("instamp_probes_timed_out_total", &FAR));
            server.query_until("up", |up| up == 1.0);
            assert_eq!(server.query(r#"instamp_replies_corrected_total{target="far"}"#), Some(received));
            assert_eq!(server.query("instamp_build_info"), Some(1.0));
            assert_eq!(server.query(r#"instamp_hook_attached{hook="xdp-ingress"}"#), Some(1.0));
        }
        for time in TIMES {
            let name = format!("instamp_{time}_seconds");
            let [count, sum] = ["count", "sum"].map(|part| settled.value(&format!("{name}_{part}"), &FAR));
            let far = r#"{target="far"}"#;
            assert_eq!(native.query(&format!("histogram_count({name}{far})")), Some(count), "{name}");
            assert_eq!(native.query(&format!("histogram_sum({name}{far})")), Some(sum), "{name}");
            assert_eq!(classic.query(&format!("{name}_count{far}")), Some(count), "{name}");
            assert_eq!(classic.query(&format!("{name}_sum{far}")), Some(sum), "{name}");
            if count == 0.0 {
                continue;
            }
            let (above, upto) = settled.median_bucket(&name, &FAR);
            let median = classic.query(&format!("histogram_quantile(0.5, {name}_bucket{far})")).expect("a median");
            assert!((above..=upto).contains(&median), "{name}: {median} {above} {upto}");
            // A native bucket at the edge of the classic one can reach beyond it, by its width.
            let median = native.query(&format!("histogram_quantile(0.5, {name}{far})")).expect("a median");
            assert!((above / 1.1..=upto * 1.1).contains(&median), "{name}: {median} {above} {upto}");
        }
        // With native histograms there are no classic ones, so what was read was not the text.
        assert_eq!(native.query(r#"instamp_net_seconds_count{target="far"}"#), None);
    });
}

#[test]
fn the_formats_are_what_they_are_called() {
    let (Some(()), Some(prometheus)) = (root(), Prometheus::fetched()) else { return };
    let lab = lab();
    let (exporter, _folder) = start(&lab);
    lab.enter("host", || {
        exporter.scrape_until(|scrape| scrape.count("instamp_replies_received_total", &FAR) >= 1);
        let text = exporter.get("*/*");
        assert!(text.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{}", text.head);
        prometheus.check_metrics(text.text());
        are_documented(text.text());
        let text = exporter.get("application/openmetrics-text;version=1.0.0");
        assert!(text.head.contains("content-type: application/openmetrics-text; version=1.0.0;"), "{}", text.head);
        assert!(text.text().ends_with("\n# EOF\n"), "{}", text.text());
        assert!(text.text().contains("\n# UNIT instamp_net_seconds seconds\n"), "{}", text.text());
        parse_strictly(text.text());
    });
}

/// Has the reference implementation's parser read `OpenMetrics`: promtool checks the other text alone.
fn parse_strictly(text: &str) {
    const PARSE: &str = "import sys; from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse; \
         print(sum(len(family.samples) for family in parse(sys.stdin.read())))";
    let Some(interpreter) = python::interpreter() else { return };
    let mut child = Command::new(interpreter);
    child.args(["-c", PARSE]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().expect("python");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("a reader");
    let output = child.wait_with_output().expect("python");
    let told = String::from_utf8_lossy(&output.stdout);
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(told.trim().parse(), Ok(samples), "{output:?}\n{text}");
}

/// The documentation has all families of these metrics, with their types.
fn are_documented(text: &str) {
    let types: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    assert!(!types.is_empty(), "{text}");
    for (name, kind) in types {
        assert!(DOCUMENT.contains(&format!("\n| `{name}` | {kind} | ")), "{name} {kind}");
    }
}

const DOCUMENT: &str = include_str!("../../docs/exporter.md");

#[test]
fn prometheus_understands_the_examples() {
    let Some(prometheus) = Prometheus::fetched() else { return };
    let examples: Vec<_> =
        DOCUMENT.split("```yaml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    let [config, rules] = examples[..] else { panic!("{examples:?}") };
    prometheus.check_file("config", config);
    prometheus.check_file("rules", rules);
}

#[test]
fn garbage_is_refused_and_does_no_harm() {
    let Some(()) = root() else { return };
    let mut command = instamp();
    let exporter = Exporter::start(command.args(["exporter", "--listen", "127.0.0.1:0"]));
    let at = exporter.address();
    let status = |request: &[u8]| http::send(at, request).map(|answer| answer.status);
    for request in ["POST /metrics", "DELETE /metrics", "OPTIONS /"] {
        assert_eq!(status(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()), Some(405), "{request}");
    }
    assert_eq!(http::get(at, "/", "*/*").status, 200);
    for path in ["/", "/metrics"] {
        let answer = http::send(at, format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("an answer");
        assert!(answer.status == 200 && answer.body.is_empty(), "{path}: {answer:?}");
    }
    assert_eq!(http::get(at, "/metrics?a=b", "*/*").status, 200);
    assert_eq!(http::get(at, "/../etc/passwd", "*/*").status, 404);
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(1_000));
    for request in
        [long.as_bytes(), many.as_bytes(), b"\x16\x03\x01\x02\x00\x01", b"\r\n\r\n\r\n", &[0; 10_000], &[0xff; 70_000]]
    {
        let answer = status(request);
        assert!(answer.is_none_or(|status| (400..500).contains(&status)), "{answer:?}: {:?}", &request[..6]);
    }
    // More that say nothing more than are served at one time, and one that has gone.
    let held: Vec<_> = (0..200).map(|_| half_a_request(at)).collect();
    drop(half_a_request(at));
    assert_eq!(exporter.scrape().count("instamp_build_info", &[]), 1);
    drop(held);
    assert_eq!(exporter.end(Signal::SIGINT).0, Some(0));
}

fn half_a_request(server: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(server).expect("a server");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost").expect("a connection");
    stream
}

#[test]
fn a_scrape_goes_without_hooks_that_another_command_has_locked() {
    let Some(()) = root() else { return };
    let bpffs = Bpffs::mount();
    let mut command = instamp();
    command.args(["exporter", "--listen", "127.0.0.1:0"]).env("INSTAMP_BPFFS", bpffs.path());
    let exporter = Exporter::start(&mut command);
    let pins = bpffs.path().join("instamp");
    DirBuilder::new().mode(0o700).create(&pins).expect("a directory");
    let locked = File::open(&pins).expect("a directory");
    locked.lock().expect("nobody else's");
    // The first waits for it, and the second no more.
    for _ in 0..2 {
        let scrape = exporter.scrape();
        assert_eq!((scrape.count("instamp_hooks_readable", &[]), scrape.count("instamp_build_info", &[])), (0, 1));
    }
    drop(locked);
    exporter.scrape_until(|scrape| scrape.count("instamp_hooks_readable", &[]) == 1);
    let (_, messages) = exporter.end(Signal::SIGTERM);
    assert!(messages.len() == 1 && messages[0].contains("another command has them locked"), "{messages:?}");
}

#[test]
fn files_are_allowed_as_targets_take_them() {
    const TARGETS: usize = 150;
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    let limited = |limit: &str| {
        let mut command = lab.command("host", "sh");
        command.args(["-c", &format!(r#"ulimit {limit}; exec "$@""#), "sh"]).arg(instamp().get_program());
        command.args(["exporter", "--listen", "127.0.0.1:0"]);
        command.args((0..TARGETS).map(|number| format!("far{number}=10.99.0.2")));
        command
    };
    // Fewer than one each.
    let exporter = Exporter::start(&mut limited("-Sn 100"));
    lab.enter("host", || {
        exporter.scrape_until(|scrape| {
            scrape.of("instamp_replies_received_total", &[]).filter(|(_, received)| *received > 0.0).count() == TARGETS
        })
    });
    assert_eq!(exporter.end(Signal::SIGTERM).0, Some(0));

    let refused = limited("-n 100").output().expect("instamp");
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && message.contains("150 targets take 556 open files"), "{message}");
}

#[test]
fn without_privilege_it_probes_and_says_what_is_missing() {
    let (Some(()), Some(())) = (root(), tool("setpriv")) else { return };
    let lab = lab();
    let nobody = Unprivileged::new();
    let options = ["exporter", "--listen", "127.0.0.1:0", "-i", "100ms", "far=10.99.0.2", "here=localhost"];
    let exporter = Exporter::start(&mut nobody.command(&lab, "host", &options));
    lab.enter("host", || {
        let scrape = exporter.scrape_until(|scrape| {
            scrape.of("instamp_replies_received_total", &[]).all(|(_, received)| received > 0.0)
        });
        assert!(scrape.count("instamp_replies_corrected_total", &FAR) > 0);
        let here = [("target", "here"), ("reason", "no-stamps")];
        assert!(scrape.count("instamp_replies_uncorrected_total", &here) > 0);
        let scrape = exporter.scrape();
        assert_eq!((scrape.count("instamp_hooks_readable", &[]), scrape.named("instamp_hook_").count()), (0, 0));
    });
    let (code, messages) = exporter.end(Signal::SIGTERM);
    assert_eq!(code, Some(0));
    assert!(messages.len() == 1 && messages[0].starts_with("instamp: no counters of hooks: "), "{messages:?}");
}

#[test]
fn what_is_missing_at_the_start_may_come_later() {
    let (Some(()), Some(())) = (root(), tool("ip")) else { return };
    let lab = lab();
    let options = ["exporter", "--listen", "127.0.0.1:0", "-I", "later0", "far=10.99.0.2"];
    let exporter = Exporter::start(lab.instamp("host").args(options));
    let is_probing = |is_probing: f64| {
        move |scrape: &Scrape| scrape.of("instamp_target_probing", &FAR).any(|(_, value)| value == is_probing)
    };
    lab.enter("host", || exporter.scrape_until(is_probing(0.0)));
    lab.run("host", "ip", &["link", "add", "later0", "up", "type", "veth", "peer", "name", "later1"]);
    let scrape = lab.enter("host", || exporter.scrape_until(is_probing(1.0)));
    assert_eq!(scrape.of("instamp_target_info", &FAR).count(), 1);
    let (_, messages) = exporter.end(Signal::SIGTERM);
    assert!(messages.len() == 1 && messages[0].starts_with("instamp: far: no interface later0 "), "{messages:?}");
}

#[test]
fn models_of_clocks_are_those_of_clock() {
    let Some(()) = root() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let published = folder.path().join("clock");
    // No BPF file system: what is pinned is global to the machine.
    let with_folder = |command: &mut Command| {
        command.env("INSTAMP_CLOCK_DIR", &published).env("INSTAMP_BPFFS", folder.path()).env_remove("NOTIFY_SOCKET");
    };
    let run = |arguments: &[&str]| {
        let mut command = instamp();
        command.args(arguments).stdin(Stdio::null());
        with_folder(&mut command);
        command
    };
    let clock = || -> Value {
        let output = run(&["clock", "--json"]).output().expect("instamp");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    let exporter = Exporter::start(&mut run(&["exporter", "--listen", "127.0.0.1:0"]));
    assert_eq!(exporter.scrape().named("instamp_clock_").count(), 0);

    let mut sync =
        run(&["sync", "--phc", "CLOCK_MONOTONIC_RAW", "--json"]).stdout(Stdio::piped()).spawn().expect("instamp");
    let mut lines = BufReader::new(sync.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(r#""state":"locked""#)), "it never locks");
    // Another model may be published at any time: looks at one and the same are compared.
    let (before, scrape, after) = loop {
        let looks = (clock(), exporter.scrape(), clock());
        let model = |look: &Value| (look["model"]["epoch"].clone(), look["model"]["rate_ppb"].clone());
        if looks.0["state"] == "valid" && model(&looks.0) == model(&looks.2) {
            break looks;
        }
    };
    are_documented(exporter.get("text/plain").text());
    let of = [("clock", "CLOCK_MONOTONIC_RAW")];
    assert_eq!(scrape.count("instamp_clock_state", &[of[0], ("state", "valid")]), 1);
    let figure = |name: &str| scrape.value(&format!("instamp_clock_{name}"), &of);
    assert_eq!(before["model"]["epoch"].as_f64(), Some(figure("epoch")));
    let rate_ppb = figure("rate_offset_ratios") * 1e9;
    assert!((rate_ppb - before["model"]["rate_ppb"].as_f64().expect("a rate")).abs() < 1e-6, "{rate_ppb} {before}");
    for (name, member) in [("bound_seconds", "bound_ns"), ("age_seconds", "age_ns"), ("void_in_seconds", "void_in_ns")]
    {
        let [one, other] = [&before, &after].map(|look| seconds(&look["model"][member]));
        assert!((one.min(other)..=one.max(other)).contains(&figure(name)), "{name}: {} {one} {other}", figure(name));
    }

    let pid = nix::unistd::Pid::from_raw(sync.id().cast_signed());
    nix::sys::signal::kill(pid, Signal::SIGTERM).expect("its own process");
    lines.for_each(drop);
    assert!(sync.wait().expect("its end").success());
    let scrape = exporter.scrape();
    assert_eq!(scrape.count("instamp_clock_state", &[of[0], ("state", "withdrawn")]), 1);
    assert_eq!(scrape.named("instamp_clock_").count(), 1, "{scrape:?}");
}
