//! Drivers of other implementations: what they answer, beside what the crate `instamp` does.

use std::{
    fs::File,
    process::{Command, Stdio},
};

use instamp::strip;
use tempfile::TempDir;

use super::{Reply, answer, replies, write};

/// How many of the replies that are answered otherwise are shown.
const SHOWN: usize = 5;

/// The corpus in a file, and the answers that it should get.
#[derive(Debug)]
pub struct Exam {
    replies: Vec<Reply>,
    answers: Vec<String>,
    folder: TempDir,
}

impl Exam {
    /// With all replies.
    ///
    /// # Panics
    ///
    /// The file cannot be written.
    pub fn new() -> Self {
        let replies = replies();
        let answers = replies.iter().map(answer).collect();
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder.path().join("replies.tsv"), &replies).expect("a file");
        Self { replies, answers, folder }
    }

    /// Has a driver answer all replies, and compares.
    ///
    /// # Panics
    ///
    /// The driver fails, or one of its answers is another.
    #[track_caller]
    pub fn examine(&self, driver: &mut Command) {
        let file = File::open(self.folder.path().join("replies.tsv")).expect("the corpus");
        let output = driver.stdin(file).stderr(Stdio::inherit()).output();
        let output = output.unwrap_or_else(|error| panic!("{driver:?}: {error}"));
        assert!(output.status.success(), "{driver:?}: {}", output.status);
        let text = String::from_utf8(output.stdout).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        let report = self.differences(&lines);
        assert!(report.is_empty(), "{driver:?}: {report}");
        assert_eq!(lines.len(), self.answers.len(), "{driver:?}: lines");
    }

    /// The first replies to which another line than the answer stands, and how many there are.
    fn differences(&self, lines: &[&str]) -> String {
        let exam = self.replies.iter().zip(&self.answers).zip(lines).enumerate();
        let different: Vec<_> = exam.filter(|(_, ((_, answer), line))| answer != line).collect();
        if different.is_empty() {
            return String::new();
        }
        let mut report = format!("{} of {} answers differ", different.len(), lines.len());
        for (index, ((reply, answer), line)) in different.into_iter().take(SHOWN) {
            let records = strip(&reply.payload, reply.nonce).map(|stripped| stripped.records);
            let Reply { nonce, sent_ns, received_ns, payload } = reply;
            report += &format!("\n\nline {}: {} bytes of probe {nonce:016x}", index + 1, payload.len());
            report += &format!(", sent {sent_ns}, received {received_ns}");
            match records {
                Ok(records) => records.iter().for_each(|record| report += &format!("\n    {record:?}")),
                Err(error) => report += &format!("\n    {error}"),
            }
            report += &format!("\n  expected {answer}\n  found    {line}");
        }
        report
    }
}

impl Default for Exam {
    fn default() -> Self {
        Self::new()
    }
}
