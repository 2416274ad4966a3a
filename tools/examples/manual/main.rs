//! Writes what users have besides the command itself, made of the definition of its command line: manual pages and completions.

mod page;
mod prose;

use std::{env, fs, io, path::Path};

use anyhow::{Context as _, Result};
use clap_complete::Shell;

/// Where shells look for completions, by the names that they look for.
const COMPLETIONS: [(Shell, &str); 3] =
    [(Shell::Bash, "instamp"), (Shell::Zsh, "_instamp"), (Shell::Fish, "instamp.fish")];

fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    let (Some(folder), Some(date), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: manual FOLDER DATE, the latter as 2026-11-27");
    };
    let date = date.to_str().context("DATE is no text")?;
    let (pages, completions) = (Path::new(&folder).join("man"), Path::new(&folder).join("completions"));
    for folder in [&pages, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    let command = page::built(instamp_tools::command());
    write_pages(&command, &pages, date).with_context(|| format!("write into {}", pages.display()))?;
    for (shell, name) in COMPLETIONS {
        let path = completions.join(name);
        let mut file = fs::File::create(&path).with_context(|| format!("create {}", path.display()))?;
        clap_complete::generate(shell, &mut instamp_tools::command(), "instamp", &mut file);
    }
    Ok(())
}

/// One page for the command, and one for each subcommand.
fn write_pages(command: &clap::Command, folder: &Path, date: &str) -> io::Result<()> {
    fs::write(folder.join(format!("{}.1", page::name(command))), page::render(command, date)?)?;
    command.get_subcommands().try_for_each(|subcommand| write_pages(subcommand, folder, date))
}
