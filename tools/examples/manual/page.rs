//! One manual page, of one command.

use std::{collections::BTreeSet, io};

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, italic, roman},
};
use instamp_clockmap::Directory;

use crate::prose;

/// Of commands that tell no other.
const EXIT_STATUS: &str = "0 on success, 2 on an error, which is told on standard error.";

/// Files: what is there, and the commands that use it.
const FILES: [(&str, &str, &[&str]); 3] = [
    (
        "/sys/fs/bpf/instamp",
        "What is attached: pinned links, programs and maps. The environment variable INSTAMP_BPFFS names another BPF file system.",
        &["instamp", "instamp-attach", "instamp-detach", "instamp-status", "instamp-probe", "instamp-reflect"],
    ),
    (
        Directory::DEFAULT,
        "The published models of clocks. The environment variable INSTAMP_CLOCK_DIR names another folder.",
        &["instamp", "instamp-ping", "instamp-sync", "instamp-clock"],
    ),
    (
        "/etc/default/instamp",
        "Options for instamp@.service and instamp-sync@.service, where the packages of Debian are installed.",
        &["instamp", "instamp-attach", "instamp-sync"],
    ),
];

/// The command with the names and usages of its subcommands in place, and without the one that is help itself.
pub(crate) fn built(command: Command) -> Command {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    command
}

/// The page's name: `instamp-lab-up` of `instamp lab up`.
pub(crate) fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// The page, in the macros of man(7).
pub(crate) fn render(command: &Command, date: &str) -> io::Result<String> {
    let name = name(command);
    let mut page = Vec::new();
    // With the values that options take.
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    let man = Man::new(command.clone().override_usage(usage))
        .title(name.to_uppercase())
        .date(date)
        .source(concat!("instamp ", env!("CARGO_PKG_VERSION")))
        .manual("instamp");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (last, others) = split_examples(prose::sections(&after, EXIT_STATUS));
    let mut roff = Roff::new();
    others.iter().for_each(|section| section.write(&mut roff));
    write_files(name, &mut roff);
    last.iter().for_each(|section| section.write(&mut roff));
    roff.to_writer(&mut page)?;
    let mentioned = mentioned(&String::from_utf8_lossy(&page), command);
    let mut roff = Roff::new();
    write_references(&mentioned, &mut roff);
    roff.to_writer(&mut page)?;
    let page = String::from_utf8(page).map_err(io::Error::other)?;
    // Between an option's help and its values are an empty line and breaks, of which formatters warn.
    let page = page.replace(".br\n\n.br\n", ".sp\n");
    Ok(page.lines().map(|line| in_bold(line.trim_end()) + "\n").collect())
}

/// Examples come behind files.
fn split_examples(sections: Vec<prose::Section>) -> (Vec<prose::Section>, Vec<prose::Section>) {
    sections.into_iter().partition(|section| section.heading == "EXAMPLES")
}

fn write_files(name: &str, roff: &mut Roff) {
    let files: Vec<_> = FILES.iter().filter(|(_, _, users)| users.contains(&name)).collect();
    if files.is_empty() {
        return;
    }
    roff.control("SH", ["FILES"]);
    for (path, what, _) in files {
        roff.control("TP", []);
        roff.text([italic(*path)]);
        roff.text([roman(*what)]);
    }
}

/// The pages of the commands that a page names, and that of the command that it belongs to.
fn mentioned(page: &str, command: &Command) -> BTreeSet<String> {
    let own = name(command);
    let all = built(instamp_tools::command());
    let mut pages = BTreeSet::new();
    let mut parent = own;
    while let Some((shorter, _)) = parent.rsplit_once('-') {
        parent = shorter;
        pages.insert(parent.to_owned());
    }
    for subcommand in all.get_subcommands() {
        let page_name = name(subcommand);
        let is_named = page.contains(&format!("`instamp {}", subcommand.get_name()));
        if is_named && page_name != own {
            pages.insert(page_name.to_owned());
        }
    }
    pages
}

fn write_references(pages: &BTreeSet<String>, roff: &mut Roff) {
    roff.control("SH", ["SEE ALSO"]);
    for page in pages {
        roff.text([bold(page), roman("(1),")]);
    }
    roff.text([roman("and the documentation in "), italic("/usr/share/doc/instamp")]);
}

/// What is between backticks is set in bold. Lines with macros have none.
fn in_bold(line: &str) -> String {
    let mut parts = line.split('`');
    let mut text = parts.next().unwrap_or_default().to_owned();
    while let (Some(inside), Some(behind)) = (parts.next(), parts.next()) {
        text.push_str(&format!(r"\fB{inside}\fR{behind}"));
    }
    text
}
