//! The snippets of docs/integrate.md are true. Those in Rust are documentation tests of the crate `instamp`.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use instamp::Uncorrected;
use instamp_tests::{
    capi::{Library, Linkage},
    lab::Lab,
    privilege::root,
    prober::{Prober, now_ns},
    python::interpreter,
};

/// The only snippet in a language.
fn snippet(language: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs/integrate.md")).unwrap();
    let fence = format!("```{language}\n");
    let mut blocks = text.split(&*fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    let only = blocks.next().unwrap_or_else(|| panic!("no snippet in {language}"));
    assert_eq!(blocks.next(), None);
    only
}

/// Has a program that reads source from its standard input succeed.
#[track_caller]
fn feed(command: &mut Command, source: &str) {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{command:?}:\n{source}");
}

/// An echo without stamps has its reason.
#[test]
fn the_snippet_in_c_compiles_and_runs() {
    const MAIN: &str = "
        #include <string.h>
        uint64_t now_ns(void) { return 1; }
        size_t exchange(uint16_t sequence, const void *request, size_t length, void *reply)
        { (void)sequence; memcpy(reply, request, length); return length; }
        int main(void)
        {
            instamp_run run;
            instamp_correction times;
            return instamp_run_init(&run, INSTAMP_DEFAULT_PAYLOAD_LENGTH) == INSTAMP_OK
                   && probe(&run, 1, 2, &times) == INSTAMP_ERROR_NO_STAMPS ? 0 : 1;
        }";
    let Some(library) = Library::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("probe");
    let mut compiler = library.compiler(Linkage::Shared);
    compiler.args(["-x", "c", "-", "-x", "none", "-o"]).arg(&program).args(library.flags(Linkage::Shared));
    feed(&mut compiler, &(snippet("c") + MAIN));
    assert!(Command::new(&program).status().unwrap().success());
}

#[test]
fn the_snippet_in_python_runs() {
    const MAIN: &str = "
try:
    probe(1, 2, lambda sequence, payload: payload)
except instamp.Uncorrected as error:
    assert error.reason == instamp.Reason.NO_STAMPS
else:
    raise AssertionError
";
    let Some(python) = interpreter() else { return };
    feed(Command::new(python).arg("-"), &(snippet("python") + MAIN));
}

/// Readings of the clock at the wrong moment, or of another clock, on a reply that is corrected with the right ones.
#[test]
fn clocks_read_wrongly_show_as_the_document_says() {
    let Some(()) = root() else { return };
    const LONG_NS: u64 = 3_000_000_000;
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    let nonce = 0xfeed;
    let (sent_ns, behind_ns, answer) = lab.enter("c1", || {
        let prober = Prober::open();
        let sent_ns = prober.send(Lab::REMOTE.parse().unwrap(), 1, nonce);
        (sent_ns, now_ns(), prober.receive())
    });
    let right = answer.correction(nonce, sent_ns).unwrap();

    let received = |late_ns: u64| {
        let mut answer = answer;
        answer.received_ns += late_ns;
        answer
    };
    let early = answer.correction(nonce, sent_ns - LONG_NS).unwrap();
    assert_eq!(early.tx_stack_ns, right.tx_stack_ns + LONG_NS.cast_signed());
    let late = received(LONG_NS).correction(nonce, sent_ns).unwrap();
    assert_eq!(late.rx_stack_ns, right.rx_stack_ns + LONG_NS.cast_signed());
    assert_eq!([early.net_ns, late.net_ns], [right.net_ns; 2]);

    // In the lab the hook runs within the send call.
    assert_eq!(answer.correction(nonce, behind_ns), Err(Uncorrected::ClockMismatch));
    let other_clock = received(2 * LONG_NS);
    assert_eq!(other_clock.correction(nonce, sent_ns + 2 * LONG_NS), Err(Uncorrected::ClockMismatch));
}
