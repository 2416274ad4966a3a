//! Pages of `instamp report`, of real runs, in a real browser.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use instamp_tests::{
    browser::{Window, complaints, layout},
    commands::instamp,
    lab::Lab,
    privilege::{root, tool},
    responder::{Answer, Responder},
};
use serde_json::Value;
use tempfile::TempDir;

const WINDOWS: [Window; 4] = [
    Window { width: 1280, is_dark: false },
    Window { width: 1280, is_dark: true },
    Window { width: 400, is_dark: false },
    Window { width: 400, is_dark: true },
];

/// Some are lost, some late, and their times reach over four powers of ten.
fn impaired(seq: u16) -> Answer {
    Answer {
        copies: usize::from(seq % 20 != 7),
        delay: match seq % 10 {
            3 => Duration::from_millis(2),
            5 => Duration::from_millis(20),
            _ if seq == 9 => Duration::from_millis(400),
            _ => Duration::ZERO,
        },
        ..Answer::PLAIN
    }
}

struct Runs {
    lab: Lab,
    folder: TempDir,
}

impl Runs {
    /// `None` where something is missing.
    fn new() -> Option<Self> {
        root().and(tool("chromium"))?;
        let lab = Lab::up(&[]);
        lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
        Some(Self { lab, folder: tempfile::tempdir().expect("a folder") })
    }

    /// Pings from a container and keeps the lines.
    fn ping(&self, name: &str, options: &[&str]) -> PathBuf {
        let output = self.lab.instamp("c1").args(["ping", "--json"]).args(options).output().expect("instamp");
        self.file(name, &output.stdout)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).expect("a file");
        path
    }

    fn page(&self, name: &str, runs: &[&Path], options: &[&str]) -> PathBuf {
        let page = self.folder.path().join(name);
        let output = instamp().arg("report").args(runs).arg("-o").arg(&page).args(options).output().expect("instamp");
        assert!(output.status.success(), "report: {output:?}");
        page
    }
}

/// Asserts that a page is laid out without a flaw in every window, and returns what it says.
fn laid_out(lab: &Lab, page: &Path) -> Value {
    assert_eq!(complaints(lab, page), Vec::<String>::new(), "{page:?}");
    let mut told = WINDOWS.map(|window| {
        let told = layout(lab, page, window);
        assert_eq!((&told["width"], &told["is_dark"]), (&window.width.into(), &window.is_dark.into()));
        assert_eq!(told["scroll_width"], told["width"], "{window:?}: {}", told["outside"]);
        for flaw in ["empty", "outside", "overflowing", "overlaps", "pale"] {
            assert_eq!(told[flaw], Value::Array(Vec::new()), "{flaw}, {window:?}, {page:?}");
        }
        told
    });
    assert_ne!(told[0]["paper"], told[1]["paper"], "the dark page is as the light one");
    std::mem::take(&mut told[0])
}

#[test]
fn pages_of_real_runs_are_laid_out() {
    let Some(runs) = Runs::new() else { return };
    let quiet = runs.ping("quiet.jsonl", &["-c", "200", "-i", "2ms", Lab::REMOTE]);
    // From now on the kernel does not answer.
    let _responder = Responder::start(&runs.lab, Lab::REMOTE, impaired);
    let impaired = runs.ping("impaired.jsonl", &["-c", "200", "-i", "2ms", "-W", "200ms", Lab::REMOTE]);
    let long = runs.ping("long.jsonl", &["-c", "2000", "-i", "500us", "-W", "10ms", Lab::REMOTE]);
    runs.lab.detach("host", Lab::NIC);
    let unstamped = runs.ping("unstamped.jsonl", &["-c", "5", "-i", "2ms", Lab::REMOTE]);

    let one = laid_out(&runs.lab, &runs.page("one.html", &[&impaired], &[]));
    let text = one["text"].as_str().expect("text");
    let summary: Value = {
        let lines = fs::read_to_string(&impaired).expect("a run");
        serde_json::from_str(lines.lines().last().expect("a summary")).expect("JSON")
    };
    let [sent, received] = ["sent", "received"].map(|name| summary[name].as_u64().expect("a count"));
    assert!(received < sent, "{summary}");
    for part in
        [&*format!("Sent\n{sent}\n"), &format!("Lost\n{} ", sent - received), "lost", "this host", "queue", "network"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let plots = one["plots"].as_array().expect("plots");
    assert_eq!(plots.len(), 2);
    // rtt and net in both; their areas, and the losses.
    assert_eq!((&plots[0]["lines"], &plots[1]["lines"]), (&2.into(), &5.into()));
    assert!(plots.iter().all(|plot| plot["labels"].as_u64() > Some(8)), "{plots:?}");

    // One that was killed.
    let mut cut = fs::read(&long).expect("a run");
    cut.truncate(cut.len() / 2);
    let cut = runs.file("cut.jsonl", &cut);
    let title = "</title><script>alert(1)</script> a name that is too long for any line of any page of this world &c";
    let all: Vec<&Path> = [&quiet, &impaired, &long, &unstamped, &cut].map(|path| path.as_path()).into();
    let many = laid_out(&runs.lab, &runs.page("many.html", &all, &["--title", title]));
    let text = many["text"].as_str().expect("text");
    for part in [title, "quiet.jsonl", "cut.jsonl", "5 not corrected: no-stamps", "The last line is not whole"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(many["plots"].as_array().map(Vec::len), Some(7));
}

#[test]
fn what_the_tests_of_layout_look_for_they_find() {
    let Some(runs) = Runs::new() else { return };
    let run = runs.ping("run.jsonl", &["-c", "20", "-i", "2ms", Lab::REMOTE]);
    let page = fs::read_to_string(runs.page("page.html", &[&run], &[])).expect("a page");
    let flawed = |name: &str, flaw: &str| runs.file(name, page.replace("<main>", &format!("<main>{flaw}")).as_bytes());

    let loading = flawed("loading.html", "<img src=\"file:///nowhere.png\" alt=\"\">");
    let messages = complaints(&runs.lab, &loading);
    assert!(messages.iter().any(|message| message.contains("Content Security Policy")), "{messages:?}");

    let flaws = "<style>.labels text { font-size: 40px; } h2 { width: 600px; } .note { color: #ccc; } dd { height: 0; overflow: hidden; }</style>";
    let told = layout(&runs.lab, &flawed("flawed.html", flaws), Window { width: 400, is_dark: false });
    for flaw in ["overlaps", "outside", "pale", "empty"] {
        assert!(told[flaw].as_array().is_some_and(|found| !found.is_empty()), "{flaw}: {told}");
    }
    assert!(told["scroll_width"].as_u64() > Some(400), "{told}");
}
