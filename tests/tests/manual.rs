//! Manual pages and completions, as the package has them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use instamp_tests::{
    debian::{run, unpacked},
    privilege::tool,
};

/// The command and its subcommands, and theirs, by the names of their pages.
fn commands() -> BTreeMap<String, clap::Command> {
    fn add(command: &clap::Command, commands: &mut BTreeMap<String, clap::Command>) {
        for subcommand in command.get_subcommands() {
            add(subcommand, commands);
        }
        commands.insert(command.get_display_name().unwrap_or(command.get_name()).to_owned(), command.clone());
    }
    let mut command = instamp_tools::command().disable_help_subcommand(true);
    command.build();
    let mut commands = BTreeMap::new();
    add(&command, &mut commands);
    commands
}

fn pages(folder: &Path) -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(folder.join("usr/share/man/man1")).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_str().unwrap().trim_end_matches(".1.gz").to_owned(), path))
        .collect()
}

/// What a page looks like, as words: bold characters are there twice, with a backspace between.
fn words(page: &Path) -> String {
    let mut shown = String::new();
    for character in run(Command::new("mandoc").args(["-T", "utf8"]).arg(page)).chars() {
        match character {
            '\u{8}' => _ = shown.pop(),
            character => shown.push(character),
        }
    }
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_command_has_a_page_with_all_that_its_help_tells() {
    let (Some(folder), Some(())) = (unpacked(), tool("mandoc")) else { return };
    let (mut commands, pages) = (commands(), pages(folder.path()));
    assert!(commands.len() > 10 && commands.keys().eq(pages.keys()), "{:?} {:?}", commands.keys(), pages.keys());
    for (name, command) in &mut commands {
        let page = words(&pages[name]);
        let help = command.render_long_help().to_string().replace('`', "");
        let plain = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '-').to_owned();
        let is_heading = |line: &&str| !line.starts_with(' ') && line.ends_with(':');
        let lines = help.lines().map(|line| line.trim_start_matches("Usage: ")).filter(|line| !is_heading(line));
        for word in lines.flat_map(str::split_whitespace).map(plain) {
            assert!(
                page.contains(&word) || page.to_lowercase().contains(&word.to_lowercase()),
                "{name}: {word}: {page}"
            );
        }
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "SEE ALSO"] {
            assert!(page.contains(section), "{name}: {section}");
        }
    }
}

#[test]
fn pages_are_without_fault() {
    let (Some(folder), Some(())) = (unpacked(), tool("mandoc")) else { return };
    for page in pages(folder.path()).values() {
        assert_eq!(run(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(page)), "");
    }
}

#[test]
fn bash_completes_commands_options_and_values() {
    let Some(folder) = unpacked() else { return };
    let file = folder.path().join("usr/share/bash-completion/completions/instamp");
    for (line, completions) in [
        (&["instamp", "pi"][..], "ping"),
        (&["instamp", "attach", "--ingress", ""], "auto xdp tc"),
        (&["instamp", "attach", "--upd"], "--update"),
        (&["instamp", "sync", "--dev", "eth0", "--steer", "p"], "phc"),
        (&["instamp", "lab", "e"], "exec"),
        (&["instamp", "attach", "--ingress", "no"], ""),
    ] {
        // As bash does on a tab: by the function that the file has registered for the command.
        let script = r#"
            source "$1"; shift
            function=$(complete -p instamp | sed 's/.* -F \([^ ]*\) .*/\1/')
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
            "$function" instamp "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" || true
            printf '%s' "${COMPREPLY[*]}""#;
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", script, "bash"]).arg(&file).args(line);
        assert_eq!(run(&mut bash), completions, "{line:?}");
    }
}

#[test]
fn zsh_and_fish_read_theirs() {
    let Some(folder) = unpacked() else { return };
    for (shell, file) in [
        ("zsh", "usr/share/zsh/vendor-completions/_instamp"),
        ("fish", "usr/share/fish/vendor_completions.d/instamp.fish"),
    ] {
        if tool(shell).is_some() {
            let path = folder.path().join(file);
            assert!(fs::read_to_string(&path).unwrap().contains("ingress"));
            assert_eq!(run(Command::new(shell).arg("-n").arg(path)), "", "{shell}");
        }
    }
    if tool("fish").is_some() {
        let path = folder.path().join("usr/share/fish/vendor_completions.d/instamp.fish");
        let script = format!("source {}; complete --do-complete 'instamp attach --ingress '", path.display());
        let completed = run(Command::new("fish").args(["--no-config", "--command", &script]));
        let values: Vec<_> = completed.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(values, ["auto", "tc", "xdp"]);
    }
}
