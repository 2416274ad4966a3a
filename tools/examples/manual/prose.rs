//! The text behind the options in `--help`, as sections of a manual page.
//!
//! It is in paragraphs between empty lines. Lines that begin with two spaces are a list: of terms, and behind at least two spaces what they
//! mean, which goes on in lines that are indented more. Other lines that begin with four spaces are shown as they are.

use clap_mangen::roff::{Roff, bold, roman};

/// A section of a page, by its heading.
pub(crate) struct Section {
    pub(crate) heading: &'static str,
    pub(crate) paragraphs: Vec<String>,
}

/// What paragraphs begin with that have a section of their own, in the order of a page.
const HEADINGS: [(&str, &str); 2] = [("Exit status: ", "EXIT STATUS"), ("Examples:\n", "EXAMPLES")];
/// The section of all others.
const OTHERS: &str = "NOTES";

/// The sections of the text behind the options, with `exit_status` where the text has none.
pub(crate) fn sections(text: &str, exit_status: &str) -> Vec<Section> {
    let mut sections =
        [HEADINGS[0].1, OTHERS, HEADINGS[1].1].map(|heading| Section { heading, paragraphs: Vec::new() });
    for paragraph in text.split("\n\n").map(|paragraph| paragraph.trim_matches('\n')).filter(|text| !text.is_empty()) {
        let found = HEADINGS.iter().find_map(|(begin, heading)| Some((paragraph.strip_prefix(begin)?, *heading)));
        let (paragraph, heading) = found.unwrap_or((paragraph, OTHERS));
        let section = sections.iter_mut().find(|section| section.heading == heading);
        section.into_iter().for_each(|section| section.paragraphs.push(begun_large(paragraph)));
    }
    if sections[0].paragraphs.is_empty() {
        sections[0].paragraphs.push(exit_status.to_owned());
    }
    sections.into_iter().filter(|section| !section.paragraphs.is_empty()).collect()
}

/// A sentence, where what preceded it is a heading now.
fn begun_large(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect()
}

impl Section {
    pub(crate) fn write(&self, roff: &mut Roff) {
        roff.control("SH", [self.heading]);
        for (number, paragraph) in self.paragraphs.iter().enumerate() {
            write_paragraph(paragraph, number == 0, roff);
        }
    }
}

/// Begins it with a macro, unless it is the first below its heading.
fn write_paragraph(paragraph: &str, is_first: bool, roff: &mut Roff) {
    let mut is_first = is_first;
    let mut begin = |roff: &mut Roff| {
        if !std::mem::take(&mut is_first) {
            roff.control("PP", []);
        }
    };
    let mut lines = paragraph.lines().peekable();
    let mut in_text = false;
    while let Some(line) = lines.next() {
        if let Some(line) = line.strip_prefix("    ") {
            in_text = false;
            begin(roff);
            roff.control("nf", []);
            roff.text([roman(line)]);
            while let Some(line) = lines.next_if(|line| line.starts_with("    ")) {
                roff.text([roman(&line[4..])]);
            }
            roff.control("fi", []);
            continue;
        }
        let Some(item) = line.strip_prefix("  ") else {
            if !std::mem::replace(&mut in_text, true) {
                begin(roff);
            }
            roff.text([roman(line)]);
            continue;
        };
        in_text = false;
        let (term, meaning) = item.split_once("  ").unwrap_or((item, ""));
        let mut meaning = meaning.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with("   ")) {
            meaning.push(' ');
            meaning.push_str(more.trim_start());
        }
        if meaning.is_empty() {
            begin(roff);
            roff.text([bold(term)]);
        } else {
            roff.control("TP", []);
            roff.text([bold(term)]);
            roff.text([roman(meaning)]);
        }
    }
}
