//! A real browser, in the network namespace of a lab: it reaches nothing else.

use std::{fs, path::Path, process::Output};

use serde_json::Value;

use crate::lab::Lab;

/// What a page is shown in.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// In CSS pixels.
    pub width: u32,
    /// Whether pages are asked to be dark.
    pub is_dark: bool,
}

/// What the browser has made of a page, as layout.js tells.
///
/// It is told by a script, which the page's own policy would not let run: the browser is given a copy without that policy.
///
/// # Panics
///
/// The page has no policy, or the browser does not show it.
pub fn layout(lab: &Lab, page: &Path, window: Window) -> Value {
    let text = fs::read_to_string(page).expect("a page");
    let (before, policy) = text.split_once("<meta http-equiv=\"Content-Security-Policy\"").expect("a policy");
    let (_, behind) = policy.split_once('>').expect("its end");
    let (body, end) = behind.split_once("</body>").expect("a body");
    let script = include_str!("layout.js");
    let copy =
        format!("{before}{body}<script>{script}</script></body>{end}").replace('&', "&amp;").replace('"', "&quot;");
    // The browser's own window is never as narrow as a frame can be.
    let width = window.width;
    let frame = format!("<iframe width=\"{width}\" height=\"3000\" style=\"border: 0\" srcdoc=\"{copy}\"></iframe>");
    let framing = page.with_extension("framing.html");
    let scheme = "<!DOCTYPE html><meta charset=\"utf-8\"><style>:root { color-scheme: light dark }</style>";
    fs::write(&framing, format!("{scheme}<pre id=\"layout\"></pre>{frame}")).expect("a file");
    let output = show(lab, &framing, window.is_dark);
    let dom = String::from_utf8_lossy(&output.stdout);
    let told = dom.split_once("<pre id=\"layout\">").and_then(|(_, told)| told.split_once("</pre>"));
    let (told, _) = told.unwrap_or_else(|| panic!("{page:?} was not laid out: {output:?}"));
    serde_json::from_str(told).expect("JSON")
}

/// What the browser complains of in a page as it is: what its policy has kept from loading, say.
///
/// # Panics
///
/// The browser does not show it.
pub fn complaints(lab: &Lab, page: &Path) -> Vec<String> {
    let output = show(lab, page, false);
    let messages = String::from_utf8_lossy(&output.stderr);
    messages.lines().filter(|line| line.contains(":CONSOLE:")).map(str::to_owned).collect()
}

fn show(lab: &Lab, page: &Path, is_dark: bool) -> Output {
    let profile = tempfile::tempdir().expect("a folder");
    let scheme = u8::from(!is_dark);
    let output = lab
        .command("c1", "chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"])
        .args(["--enable-logging=stderr", "--dump-dom"])
        .arg("--window-size=1400,3000")
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .env("HOME", profile.path())
        .output()
        .expect("chromium");
    assert!(output.status.success() && !output.stdout.is_empty(), "chromium: {output:?}");
    output
}
