//! `instamp report`: a page from runs.

mod cdf;
mod course;
mod facts;
mod input;
mod page;
mod plot;
mod quantity;
mod record;
mod run;
mod scale;
mod series;
mod table;
#[cfg(test)]
mod tests;
mod trip;
mod way;

use std::{
    collections::BTreeSet,
    fs::{self, Metadata, Permissions},
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail, ensure};

use self::run::Run;

/// Makes a page of what `instamp ping --json`, `probe --json` or `watch --json` have written.
///
/// The page is one HTML file that needs nothing else, neither a network nor scripts: what became of the probes, the distribution of
/// round trips and of the network's part of them, both over the course of each run, where the time went stage by stage, and the figures.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// The runs, up to 8: one file can hold several; `-` is standard input
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,

    /// Where to write the page [default: standard output, unless that is a terminal]
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// What to call it [default: the targets]
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
}

const HELP: &str = "\
Examples:
  instamp ping --json -c 600 -i 0.1 192.0.2.1 > run.jsonl
  instamp report run.jsonl -o report.html
  instamp report before.jsonl after.jsonl -o comparison.html --title 'With and without offload'

Lines of types that are not known are counted, and told on the page. A last line that is not whole,
of a run that was killed or goes on, is left out and told; any other that is of none of these commands
is an error. The memory that it takes does not depend on the length of the runs.

Exit status: 0 where the page was written, 2 on an error: then no page is.";

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    ensure!(
        options.output.is_some() || !io::stdout().is_terminal(),
        "the page is not for a terminal: name a file with -o"
    );
    if let Some(path) = options.output.as_deref().filter(|output| options.runs.iter().any(|run| is_same(run, output))) {
        bail!("{} is one of the runs: name another file with -o", path.display());
    }
    let mut runs = Vec::new();
    let names: BTreeSet<_> = options.runs.iter().map(|path| path.file_name()).collect();
    let are_told_apart = names.len() == options.runs.len();
    for path in &options.runs {
        input::read(path, are_told_apart, &mut runs)?;
    }
    for run in runs.iter().filter(|run| run.is_cut_off) {
        eprintln!("instamp: {}: the last line is not whole, and left out", run.label);
    }
    let title = options.title.clone().unwrap_or_else(|| title(&runs));
    let page = page::page(&title, &runs).into_string();
    match &options.output {
        Some(path) => write(path, page.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?,
        None => io::stdout().lock().write_all(page.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| fs::metadata(path).ok().filter(Metadata::is_file).map(|file| (file.dev(), file.ino()));
    file(one).is_some_and(|one| Some(one) == file(other))
}

/// Puts a page in the place of what was there, which stays where that fails. What is no file, as a pipe, gets it directly.
fn write(path: &Path, page: &[u8]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return fs::write(path, page);
    }
    // What a symbolic link leads to, and not the link, is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    file.write_all(page)?;
    file.persist(path)?;
    Ok(())
}

/// The targets, each once.
fn title(runs: &[Run]) -> String {
    let mut targets: Vec<&str> = Vec::new();
    for run in runs {
        let target = run.start.target.as_deref().unwrap_or(&run.label);
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets.join(", ")
}
