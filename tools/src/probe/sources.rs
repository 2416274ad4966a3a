//! From what the user names to the addresses that are probed.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use instamp::stateless::{IpNet, Targets, parse_prefix, special_purpose};

use super::Options;
use crate::resolve::{Family, resolve};

/// The targets, and how many addresses were left out because they have a special purpose.
pub(super) struct Chosen {
    pub(super) targets: Targets,
    pub(super) special: u64,
}

/// Reads and resolves what the options name.
///
/// # Errors
///
/// What cannot be read or resolved, and where it stands; or that nothing is left.
pub(super) async fn choose(options: &Options) -> anyhow::Result<Chosen> {
    let mut included = Vec::new();
    for target in &options.targets {
        included.push(prefix_of(target, options.family()).await?);
    }
    for file in &options.file {
        for Line { number, text } in lines(&read(file)?) {
            let place = || format!("{}, line {number}", file.display());
            included.push(prefix_of(text, options.family()).await.with_context(place)?);
        }
    }
    let mut excluded = Vec::new();
    for prefix in &options.exclude {
        excluded.push(parse_prefix(prefix).with_context(|| format!("--exclude {prefix}"))?);
    }
    for file in &options.exclude_file {
        for Line { number, text } in lines(&read(file)?) {
            excluded.push(parse_prefix(text).with_context(|| format!("{}, line {number}", file.display()))?);
        }
    }
    let wanted = Targets::new(&included, &excluded)?;
    if options.special {
        return not_empty(wanted, 0);
    }
    excluded.extend(special_purpose().iter().map(|special| special.prefix));
    let targets = Targets::new(&included, &excluded)?;
    let special = wanted.len() - targets.len();
    not_empty(targets, special)
}

fn not_empty(targets: Targets, special: u64) -> anyhow::Result<Chosen> {
    match special {
        _ if !targets.is_empty() => Ok(Chosen { targets, special }),
        0 => bail!("there is nothing to probe: no targets, or all of them are excluded"),
        _ => bail!(
            "there is nothing to probe: the addresses that are not excluded have a special purpose (RFC 6890), as private ones \
             have: --special probes them too"
        ),
    }
}

/// An address, a prefix, or the first address of a name.
async fn prefix_of(text: &str, family: Family) -> anyhow::Result<IpNet> {
    match parse_prefix(text) {
        Ok(prefix) => Ok(prefix),
        Err(error) if text.contains('/') => Err(error.into()),
        Err(_) => Ok(resolve(text, family).await?.0.into()),
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// A line of a file that says something.
#[derive(PartialEq, Eq, Debug)]
struct Line<'a> {
    number: usize,
    text: &'a str,
}

/// What stands behind a `#` is a comment.
fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().zip(1..).filter_map(|(line, number)| {
        let text = line.split('#').next().unwrap_or_default().trim();
        (!text.is_empty()).then_some(Line { number, text })
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn chosen(arguments: &[&str]) -> anyhow::Result<Chosen> {
        let options = Command::try_parse_from([&["probe"], arguments].concat()).expect("options").options;
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(choose(&options))
    }

    #[test]
    fn comments_and_empty_lines_say_nothing() {
        let found: Vec<_> = lines("# hosts\n\n192.0.2.1 # one\n  192.0.2.2\t\r\n").collect();
        assert_eq!(found, [Line { number: 3, text: "192.0.2.1" }, Line { number: 4, text: "192.0.2.2" }]);
    }

    #[test]
    fn special_addresses_are_left_out_unless_asked_for() {
        let Chosen { targets, special } = chosen(&["9.9.9.8/30", "10.0.0.0/30"]).expect("targets");
        assert_eq!((targets.len(), special), (4, 4));
        let Chosen { targets, special } = chosen(&["--special", "9.9.9.8/30", "10.0.0.0/30"]).expect("targets");
        assert_eq!((targets.len(), special), (8, 0));
        let error = chosen(&["10.0.0.0/30"]).err().expect("nothing is left").to_string();
        assert!(error.contains("--special"), "{error}");
    }

    #[test]
    fn excluded_addresses_are_left_out() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "9.9.9.8/31\n").expect("written");
        let path = file.path().to_str().expect("text");
        let left = chosen(&["9.9.9.8/29", "--exclude", "9.9.9.15", "--exclude-file", path]).expect("targets");
        assert_eq!(left.targets.len(), 5);
        let error = chosen(&["9.9.9.9", "--exclude", "9.9.9.9"]).err().expect("nothing is left").to_string();
        assert!(error.contains("excluded"), "{error}");
    }

    #[test]
    fn errors_name_file_and_line() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "9.9.9.9\n9.9.9.9/33\n").expect("written");
        let path = file.path().to_str().expect("text");
        let error = format!("{:#}", chosen(&["-f", path]).err().expect("no prefix"));
        assert!(error.starts_with(&format!("{path}, line 2: ")), "{error}");
    }
}
