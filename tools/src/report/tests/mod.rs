//! Pages of runs that `instamp ping` would have written.

mod tags;

use std::{fs, os::unix::fs::symlink};

use instamp::{
    Clock, Hook, Phase, Uncorrected,
    prober::{ErrorKind, Event, Reply},
};
use proptest::prelude::*;

use self::tags::Tags;
use super::{input::read_lines, page::page, quantity::Quantity, run::Run};
use crate::{
    distribution::Statistics,
    ping::samples::{self, stamp, stamped},
    stages::Stages,
};

/// `replies` to as many probes, of times that vary.
fn events(replies: u64) -> Vec<Event> {
    let reply = |seq: u64| {
        let varies = |by: u64| seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20 & by;
        let (tx, net, rx) = (9_000 + varies(0xfff), 20_000 + varies(0x3_ffff), 30_000 + varies(0xffff));
        let stamps = [
            stamp(Phase::Request, 0, Hook::TC_EGRESS, tx),
            stamp(Phase::Request, 0, Hook::DRIVER_TX, tx + 700),
            stamp(Phase::Reply, 0, Hook::XDP_INGRESS, tx + 700 + net),
        ];
        stamped(seq, tx + 700 + net + rx, &stamps)
    };
    (1..=replies).flat_map(|seq| [Event::Sent { seq, sent_ns: samples::SENT_NS }, Event::Reply(reply(seq))]).collect()
}

fn runs(lines: &str) -> anyhow::Result<Vec<Run>> {
    let mut runs = Vec::new();
    read_lines(lines.as_bytes(), "run.jsonl", "run.jsonl", &mut runs)?;
    Ok(runs)
}

fn run(lines: &str) -> Run {
    let mut runs = runs(lines).expect("a run");
    assert_eq!(runs.len(), 1);
    runs.pop().expect("one")
}

fn refused(lines: &str) -> String {
    match runs(lines) {
        Ok(_) => panic!("read: {lines}"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn figures_are_those_of_the_run_s_own_summary() {
    for replies in [1, 300, 20_000] {
        let lines = samples::json_lines("10.99.0.2", &events(replies));
        let run = run(&lines);
        let summary: serde_json::Value = serde_json::from_str(lines.lines().last().expect("a summary")).expect("JSON");
        for (quantity, name) in [
            (Quantity::Rtt, "rtt_ns"),
            (Quantity::Net, "net_ns"),
            (Quantity::Tx, "tx_stack_ns"),
            (Quantity::Rx, "rx_stack_ns"),
        ] {
            let row = run.row(quantity).expect("times");
            let told: Statistics = serde_json::from_value(summary[name].clone()).expect("statistics");
            assert_eq!((row.count, row.statistics), (Some(replies), told), "{name}");
            let ends = (row.curve.first().copied(), row.curve.last().copied());
            assert_eq!(ends, (Some((told.min, 1)), Some((told.max, replies))), "{name}");
        }
        assert!(run.row(Quantity::Remote).is_none());
        let counts = &run.counts;
        assert_eq!(
            (counts.sent, counts.received, counts.corrected, counts.lost),
            (Some(replies), replies, Some(replies), 0)
        );
        // Without the summary the same is counted.
        let without = self::run(&lines[..lines.trim_end().rfind('\n').expect("lines") + 1]);
        assert!(!without.has_summary && !without.is_cut_off);
        assert_eq!(
            (without.counts.sent, without.counts.received, without.counts.corrected),
            (None, replies, Some(replies))
        );
    }
}

#[test]
fn the_ways_of_lines_are_those_of_replies() {
    let far_end_and_card = [
        samples::reply(1),
        samples::with_card(2, Clock::MONOTONIC),
        samples::with_card(3, Clock::PHC),
        samples::with_card(4, Clock::PHC),
        Reply { duplicate: true, ..samples::reply(4) },
        samples::uncorrected(5, Uncorrected::Truncated),
    ];
    let mut stages = Stages::default();
    far_end_and_card.iter().for_each(|reply| stages.count(reply));
    let run = run(&samples::json_lines("10.99.0.2", &far_end_and_card.map(Event::Reply)));
    assert_eq!(run.waterfalls, stages.waterfalls());
    assert_eq!((run.waterfalls.len(), run.without_way, run.other_ways), (3, 0, 0));
    assert_eq!(run.uncorrected.iter().map(|(_, count)| *count).sum::<u64>(), 1);
}

#[test]
fn stamps_that_do_not_lead_to_the_times_of_the_line_are_no_way() {
    let lines = samples::json_lines("10.99.0.2", &[Event::Reply(samples::reply(1))]);
    let run = run(&lines.replace("\"tx_stack_ns\":20100", "\"tx_stack_ns\":20101"));
    assert_eq!((run.waterfalls.len(), run.without_way, run.counts.corrected), (0, 1, Some(1)));
}

#[test]
fn what_was_lost_is_marked_where_it_was() {
    let from = Some("10.99.0.9".parse().expect("an address"));
    let events = [
        Event::Timeout { seq: 1 },
        Event::Timeout { seq: 2 },
        Event::Reply(Reply { late: true, ..samples::reply(2) }),
        Event::Error { seq: Some(3), from, error: ErrorKind::HostUnreachable },
        Event::Error { seq: Some(4), from: None, error: ErrorKind::NetUnreachable },
        // Of one that was given up already.
        Event::Error { seq: Some(1), from, error: ErrorKind::HostUnreachable },
    ];
    let lines = samples::json_lines("10.99.0.2", &events);
    let run = run(lines.lines().take(7).map(|line| format!("{line}\n")).collect::<String>().as_str());
    let lost: Vec<(u64, u64)> = run.points.iter().map(|point| (point.first, point.lost)).collect();
    assert_eq!(lost, [(1, 1), (2, 0), (3, 1)]);
    assert_eq!((run.counts.lost, run.counts.late, run.counts.errors, run.counts.received), (2, 1, 3, 1));
}

#[test]
fn a_page_takes_the_place_of_another_or_leaves_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (page, link) = (folder.path().join("page.html"), folder.path().join("link.html"));
    super::write(&page, b"first").expect("a page");
    symlink("page.html", &link).expect("a link");
    super::write(&link, b"second").expect("a page");
    assert_eq!(fs::read(&page).expect("the page"), b"second");
    assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());
    assert!(super::is_same(&page, &link) && !super::is_same(&page, folder.path()));
    super::write(&folder.path().join("none/page.html"), b"third").expect_err("there is no such folder");
    let names = fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(names, 2, "nothing is left beside");
}

#[test]
fn a_last_line_that_is_not_whole_is_left_out_and_others_are_errors() {
    let lines = samples::json_lines("10.99.0.2", &events(3));
    let cut = run(&lines[..lines.len() - 100]);
    assert!(cut.is_cut_off && !cut.has_summary);
    assert_eq!(cut.counts.received, 3);
    assert!(!run(lines.trim_end()).is_cut_off, "the newline alone is missing");

    let mut broken: Vec<&str> = lines.lines().collect();
    broken[2] = &broken[2][..50];
    let error = refused(&(broken.join("\n") + "\n"));
    assert!(error.starts_with("run.jsonl:3: no line of `ping`, `probe` or `watch --json`: "), "{error}");
    for (lines, expected) in [
        ("", "run.jsonl: no run: `instamp ping --json` writes one"),
        ("\n \n", "run.jsonl: no run: `instamp ping --json` writes one"),
        ("{\"type\":\"weather\"}\n", "run.jsonl: no run: `instamp ping --json` writes one"),
        ("PING 10.99.0.2 (10.99.0.2) 64(92) bytes of data.\n", "run.jsonl:1: no line of `ping`"),
        ("[]\n", "run.jsonl:1: no line of `ping`"),
        ("{\"type\":\"start\",\"schema\":1}\n", "run.jsonl:1: a run of another command"),
        (&"x".repeat(2 << 20), "run.jsonl:1: a line of more than 1048576 bytes"),
    ] {
        let error = refused(lines);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn what_is_not_known_is_left_out_and_counted() {
    let lines = samples::json_lines("10.99.0.2", &events(2));
    let more = lines
        .replacen('\n', "\n{\"type\":\"weather\",\"sun\":[1,{}]}\n\n", 1)
        .replace("\"seq\"", "\"mood\":null,\"seq\"");
    let run = run(&more);
    assert_eq!((run.unknown_records, run.counts.received), (1, 2));
}

#[test]
fn a_file_holds_several_runs_up_to_as_many_as_there_are_colours() {
    let lines = samples::json_lines("10.99.0.2", &events(2));
    let labels: Vec<String> = runs(&lines.repeat(3)).expect("runs").into_iter().map(|run| run.label).collect();
    assert_eq!(labels, ["run.jsonl", "run.jsonl, run 2", "run.jsonl, run 3"]);
    assert_eq!(refused(&lines.repeat(9)), "run.jsonl: more than 8 runs: make several pages of them");
}

#[test]
fn a_summary_alone_is_shown() {
    let lines = samples::json_lines("10.99.0.2", &events(5));
    let quiet: Vec<&str> = lines.lines().filter(|line| !line.contains("\"reply\"")).collect();
    let run = run(&quiet.join("\n"));
    assert_eq!((run.counts.received, run.rows.len()), (5, 4));
    assert!(run.rows.iter().all(|row| row.count.is_none() && row.curve.is_empty()));
    Tags::of(&page("quiet", &[run]).into_string());
}

#[test]
fn lines_of_the_other_commands() {
    let watch = concat!(
        r#"{"type":"start","schema":1,"version":"0.1.0","devices":["nic0"],"namespaces":null}"#,
        "\n",
        r#"{"type":"reply","sender":"c1","identifier":77,"seq":65535,"net_ns":11342,"tx_host_ns":20100,"rx_host_ns":10707,"queue_ns":100,"total_ns":42149,"ambiguous":false}"#,
        "\n",
        r#"{"type":"reply","sender":"host","identifier":78,"seq":1,"net_ns":11000,"tx_host_ns":null,"rx_host_ns":null,"queue_ns":100,"total_ns":null,"ambiguous":false}"#,
        "\n",
        r#"{"type":"sender","sender":"c1","sent":1}"#,
        "\n",
        r#"{"type":"summary","sent":4,"answered":2,"ambiguous":0,"loss":0.5,"net_ns":null,"elapsed_ns":2000000000}"#,
        "\n",
    );
    let run = run(watch);
    assert_eq!((run.counts.sent, run.counts.received, run.counts.lost, run.unknown_records), (Some(4), 2, 2, 0));
    assert_eq!(run.points.iter().map(|point| point.first).collect::<Vec<_>>(), [1, 2]);
    let p50 = |quantity| run.row(quantity).map(|row| (row.count, row.statistics.min));
    assert_eq!((p50(Quantity::Rtt), p50(Quantity::Net)), (Some((Some(1), 42_149)), Some((Some(2), 11_000))));
}

const HOSTILE: &str = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;\u{202e}";

#[test]
fn names_are_text_whatever_they_hold() {
    let mut runs = runs(&samples::json_lines(HOSTILE, &events(20)).repeat(2)).expect("runs");
    for run in &mut runs {
        run.label = HOSTILE.into();
        run.start.version = Some(HOSTILE.into());
    }
    let tags = Tags::of(&page(HOSTILE, &runs).into_string());
    let harmless = Tags::of(
        &page("harmless", &self::runs(&samples::json_lines("a", &events(20)).repeat(2)).expect("runs")).into_string(),
    );
    assert_eq!(tags.names, harmless.names);
    assert!(tags.text.contains(HOSTILE));
    let refers =
        |name: &String| name.starts_with("on") || ["src", "href", "xlink:href", "style", "action"].contains(&&**name);
    assert!(!tags.attributes.iter().any(refers), "{:?}", tags.attributes);
    for name in ["script", "img", "link", "iframe", "object", "base", "form"] {
        assert!(!tags.names.iter().any(|tag| tag == name), "{name}");
    }
}

#[test]
fn a_page_has_all_of_its_parts() {
    let run = run(&samples::json_lines("192.0.2.1", &events(300)));
    let tags = Tags::of(&page("192.0.2.1", &[run]).into_string());
    let count = |name: &str| tags.names.iter().filter(|tag| *tag == name).count();
    assert_eq!((count("h1"), count("h2"), count("figure"), count("table"), count("caption")), (1, 5, 3, 2, 2));
    // Both diagrams with their lines, the legends', the bars.
    assert!(count("svg") >= 8 && count("path") >= 8 && count("rect") >= 300, "{:?}", tags.names);
    // Each of the three marked percentiles of two curves.
    assert_eq!(count("circle"), 6);
    let policy = "default-src 'none'";
    assert!(tags.values.iter().any(|value| value.starts_with(policy)), "{:?}", tags.values);
    for text in ["2026-11-27 12:00:00 UTC", "every 10\u{a0}ms", "this host", "queue", "network", "stddev"] {
        assert!(tags.text.contains(text), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the figures, the page is well-formed and what it draws is numbers.
    #[test]
    fn any_times_make_a_page(times in prop::collection::vec((any::<u64>(), any::<i64>(), any::<Option<i64>>(), 0_u32..63), 1..20)) {
        let lines: String = times.iter().map(|(seq, rtt, net, shift)| {
            let (seq, rtt, net) = (seq >> shift, rtt >> shift, net.map(|net| net >> shift));
            serde_json::json!({ "type": "reply", "seq": seq, "rtt_ns": rtt, "net_ns": net, "stamps": [] }).to_string() + "\n"
        }).collect();
        let page = page("any", &[run(&lines)]).into_string();
        Tags::of(&page);
        prop_assert!(!page.contains("NaN") && !page.contains("inf%"));
    }
}
