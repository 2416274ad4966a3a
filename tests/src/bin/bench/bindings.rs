//! What strip and correct take for a reply in each language.

use std::{hint::black_box, path::Path, process::Command, time::Instant};

use instamp::{Correction, correct, strip};
use instamp_tests::{
    capi::{Library, Linkage},
    corpus::{self, Reply},
    python,
};
use serde_json::{Value, json};

use instamp_tests::quantiles::{median, quantile};

/// As the benchmark in C.
const ROUNDS: usize = 301;

/// Prints a line for each kind of replies: the least of many rounds by language, and what it is of the time in Rust.
pub(crate) fn measure() {
    let Some(library) = Library::find() else { return };
    let Some(python) = python::interpreter() else { return };
    let in_c = library.compile("bench/strip_correct.c", Linkage::Shared);
    let folder = tempfile::tempdir().expect("a folder");
    let corrected = |replies: Vec<Reply>| replies.into_iter().filter(|reply| split(reply).is_some()).collect();
    let kinds: [(&str, Vec<Reply>); 3] = [
        ("recorded-corrected", corrected(corpus::recorded())),
        ("corrected", corrected(corpus::replies())),
        ("all", corpus::replies()),
    ];
    for (kind, replies) in kinds {
        let path = folder.path().join(kind);
        corpus::write(&path, &replies).expect("a file");
        let (rust_ns, rust_p50_ns) = in_rust(&replies);
        let c = output(Command::new(&in_c).arg(&path));
        let bench = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("userlib/python/bench.py");
        let python = output(Command::new(&python).arg(bench).arg(&path));
        let of_rust = |ns: &Value| ns.as_f64().map(|ns| (ns / rust_ns * 10.0).round() / 10.0);
        println!(
            "{}",
            json!({
                "type": "bindings", "replies": kind, "count": replies.len(),
                "rust_ns": rust_ns, "rust_p50_ns": rust_p50_ns,
                "c_ns": c["min_ns"], "c_p50_ns": c["strip_correct_ns"], "c_of_rust": of_rust(&c["min_ns"]),
                "python_vectorized_ns": python["vectorized_ns"], "python_vectorized_of_rust": of_rust(&python["vectorized_ns"]),
                "python_of_sequence_ns": python["of_sequence_ns"], "python_with_records_ns": python["with_records_ns"],
                "python_scalar_ns": python["scalar_ns"], "python_scalar_of_rust": of_rust(&python["scalar_ns"]),
            })
        );
    }
}

fn split(reply: &Reply) -> Option<Correction> {
    let stripped = strip(&reply.payload, reply.nonce).ok()?;
    correct(stripped.records, reply.sent_ns, reply.received_ns).ok()
}

/// The least and the median of the rounds, in nanoseconds for a reply.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a second, and thousands of replies")]
fn in_rust(replies: &[Reply]) -> (f64, f64) {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for reply in replies {
            black_box(split(black_box(reply)));
        }
        rounds.push(began.elapsed().as_nanos());
    }
    let of_one = |ns: u128| (ns as f64 / replies.len() as f64 * 10.0).round() / 10.0;
    (of_one(quantile(&rounds, 0, 1)), of_one(median(&rounds)))
}

/// The line of JSON that a benchmark prints.
fn output(command: &mut Command) -> Value {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}
