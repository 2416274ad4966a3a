//! Runs from files, line by line: no more of a file is in memory than one line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
};

use anyhow::{Context as _, bail, ensure};

use super::{
    record::Record,
    run::{Reading, Run},
};

/// Of one line: a reply of `ping` with all stamps that there can be has 3 kB.
const MAX_LINE: u64 = 1 << 20;

/// Colours that can be told from each other.
pub(super) const MAX_RUNS: usize = 8;

/// Reads all runs of a file; `-` is standard input. They are called by its name, without the folders where `by_file_name`.
///
/// # Errors
///
/// It cannot be read, a line but for a last one that is not whole is none of those commands, or there is no run in it.
pub(super) fn read(path: &Path, by_file_name: bool, runs: &mut Vec<Run>) -> anyhow::Result<()> {
    if path.as_os_str() == "-" {
        return read_lines(io::stdin().lock(), "standard input", "standard input", runs);
    }
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| name.clone())?;
    let file_name = path.file_name().filter(|_| by_file_name).map(|name| name.to_string_lossy().into_owned());
    read_lines(BufReader::with_capacity(1 << 16, file), &name, file_name.as_deref().unwrap_or(&name), runs)
}

pub(super) fn read_lines(mut input: impl BufRead, name: &str, label: &str, runs: &mut Vec<Run>) -> anyhow::Result<()> {
    let first = runs.len();
    let mut reading: Option<Reading> = None;
    let mut end = |reading: Reading, is_cut_off| {
        ensure!(runs.len() < MAX_RUNS, "{name}: more than {MAX_RUNS} runs: make several pages of them");
        let label = match runs.len() - first {
            0 => label.to_owned(),
            before => format!("{label}, run {}", before + 1),
        };
        runs.push(reading.end(label, is_cut_off));
        Ok(())
    };
    let mut line = Vec::new();
    let mut is_cut_off = false;
    for number in 1_u64.. {
        line.clear();
        let length = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).with_context(|| name.to_owned())?;
        let is_whole = line.last() == Some(&b'\n');
        ensure!(
            is_whole || length < usize::try_from(MAX_LINE)?,
            "{name}:{number}: a line of more than {MAX_LINE} bytes"
        );
        if length == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let record = match serde_json::from_slice(&line) {
            Ok(record) => record,
            // The command was killed, or is still running.
            Err(_) if !is_whole => {
                is_cut_off = true;
                break;
            }
            Err(error) => bail!("{name}:{number}: no line of `ping`, `probe` or `watch --json`: {error}"),
        };
        if let Record::Start(start) = record {
            if let Some(before) = reading.take() {
                end(before, false)?;
            }
            let other = || format!("{name}:{number}: a run of another command than `ping`, `probe` and `watch`");
            reading = Some(Reading::start(start).with_context(other)?);
        } else if reading.is_some() || !matches!(record, Record::Unknown) {
            // What is not known is of no run before there is one.
            reading.get_or_insert_with(Reading::headless).record(record);
        }
    }
    let reading = reading.with_context(|| format!("{name}: no run: `instamp ping --json` writes one"))?;
    end(reading, is_cut_off)
}
