//! Replies that are lost, late, doubled, out of order or cut, told as what they are.

use std::{collections::BTreeSet, time::Duration};

use instamp_tests::{
    lab::Lab,
    ping::{Run, number},
    privilege::root,
    responder::{Answer, Responder},
};
use serde_json::Value;

const PROBES: u64 = 100;

fn lost(seq: u16) -> bool {
    seq % 10 == 1
}

fn doubled(seq: u16) -> bool {
    seq % 10 == 3
}

/// Early ones: they come back while the run lasts.
fn late(seq: u16) -> bool {
    seq % 10 == 5 && seq < 20
}

fn behind_next(seq: u16) -> bool {
    seq % 10 == 7
}

fn impaired(seq: u16) -> Answer {
    Answer {
        copies: if lost(seq) {
            0
        } else if doubled(seq) {
            2
        } else {
            1
        },
        delay: if late(seq) { Duration::from_millis(600) } else { Duration::ZERO },
        behind_next: behind_next(seq),
        ..Answer::PLAIN
    }
}

/// The numbers of the probes that are so.
fn expected(is_so: impl Fn(u16) -> bool) -> BTreeSet<i64> {
    (1..=100).filter(|seq| is_so(*seq)).map(i64::from).collect()
}

fn seqs<'a>(lines: impl IntoIterator<Item = &'a Value>) -> BTreeSet<i64> {
    lines.into_iter().map(|line| number(line, "seq")).collect()
}

#[test]
fn lost_late_doubled_and_reordered_replies() {
    let Some(()) = root() else { return };
    for (address, socket) in [(Lab::REMOTE, "raw"), (Lab::REMOTE, "dgram"), (Lab::REMOTE6, "dgram")] {
        let lab = Lab::up(&[]);
        lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
        let _responder = Responder::start(&lab, address, impaired);
        let count = PROBES.to_string();
        let run = Run::new(&lab, "c1", &["-c", &count, "-i", "10ms", "-W", "300ms", "--socket", socket, address]);

        let replies = run.replies();
        let with = |flag: &str| seqs(replies.iter().copied().filter(|reply| reply[flag] == true));
        assert_eq!(with("duplicate"), expected(doubled));
        assert_eq!(with("late"), expected(late));
        assert_eq!(seqs(run.of_type("timeout")), expected(|seq| lost(seq) || late(seq)));
        assert_eq!(seqs(replies.iter().copied()), expected(|seq| !lost(seq)));
        assert!(replies.iter().all(|reply| reply["uncorrected"].is_null()), "{replies:?}");
        // The first of the run's requests may wait for the neighbour's address; no other changes places by itself.
        let arrived = |seq: i64| replies.iter().position(|reply| number(reply, "seq") == seq);
        for seq in expected(behind_next) {
            assert!(arrived(seq) > arrived(seq + 1), "{seq}: {replies:?}");
        }

        let lost = expected(lost).len() as u64;
        let counts = ["sent", "received", "corrected", "duplicates", "late", "errors"].map(|name| run.count(name));
        let doubled = expected(doubled).len() as u64;
        assert_eq!(counts, [PROBES, PROBES - lost, PROBES - lost, doubled, expected(late).len() as u64, 0]);
        assert_eq!(run.summary()["loss"], 0.1);
        assert_eq!(run.code, 0);
    }
}

#[test]
fn truncated_replies() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    let cut = |_| Answer { payload: 68, ..Answer::PLAIN };
    for address in [Lab::REMOTE, Lab::REMOTE6] {
        let _responder = Responder::start(&lab, address, cut);
        for socket in ["raw", "dgram"] {
            let options = ["-c", "20", "-i", "2ms", "--socket", socket, address];
            for size in ["40", "64", "68"] {
                Run::new(&lab, "c1", &[&options[..], &["-s", size]].concat()).all_corrected(20);
            }
            for size in ["70", "128", "1400"] {
                let run = Run::new(&lab, "c1", &[&options[..], &["-s", size]].concat());
                assert_eq!([run.count("received"), run.count("corrected")], [20, 0], "{run:?}");
                assert!(run.replies().iter().all(|reply| reply["uncorrected"] == "truncated"), "{run:?}");
                assert_eq!(run.code, 0, "they are replies");
            }
        }
    }
}

#[test]
fn silence_is_no_reply() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    let _responder = Responder::start(&lab, Lab::REMOTE, |_| Answer { copies: 0, ..Answer::PLAIN });
    let run = Run::new(&lab, "c1", &["-c", "3", "-i", "10ms", "-W", "100ms", Lab::REMOTE]);
    assert_eq!(seqs(run.of_type("timeout")), BTreeSet::from([1, 2, 3]));
    assert_eq!((run.count("received"), &run.summary()["loss"], run.code), (0, &Value::from(1.0), 1));
}
