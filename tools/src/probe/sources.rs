//! From what the user names to the addresses that are probed.

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use instamp::stateless::{IpNet, Special, Targets, parse_prefix, special_purpose};

use super::Options;
use crate::resolve::{Family, resolve};

/// The file that is standard input.
const STDIN: &str = "-";
/// So many names are looked up at once.
const LOOKUPS: usize = 32;
/// For so many of the targets the error that none is left says why.
const TOLD: usize = 3;

/// The targets, and how many addresses were left out because they have a special purpose.
pub(super) struct Chosen {
    pub(super) targets: Targets,
    pub(super) special: u64,
}

/// Reads and resolves what the options name.
///
/// # Errors
///
/// What cannot be read or resolved, and where it stands; or that nothing is left, and why.
pub(super) async fn choose(options: &Options) -> anyhow::Result<Chosen> {
    let is_stdin = |file: &&PathBuf| file.as_os_str() == STDIN;
    if options.file.iter().chain(&options.exclude_file).filter(is_stdin).count() > 1 {
        bail!("standard input (`{STDIN}`) can be read only once: name one file for all that it is to be");
    }
    let included = included(options).await?;
    let mut excluded = excluded(options)?;
    let without = |excluded: &[Exclusion]| {
        let prefixes: Vec<IpNet> = excluded.iter().map(|exclusion| exclusion.prefix).collect();
        Targets::new(&included, &prefixes)
    };
    let wanted = without(&excluded);
    if !options.special {
        excluded.extend(special_purpose().into_iter().map(Exclusion::of_special));
    }
    let targets = without(&excluded)?;
    if targets.is_empty() {
        bail!("there is nothing to probe: {}", Nothing { included: &included, excluded: &excluded });
    }
    // With special ones there may be too many to count.
    let special = wanted.map_or(0, |wanted| wanted.len() - targets.len());
    Ok(Chosen { targets, special })
}

async fn included(options: &Options) -> anyhow::Result<Vec<IpNet>> {
    let family = options.family();
    let targets = options.targets.iter().map(|target| prefix_of(target.clone(), family, None));
    let mut included: Vec<IpNet> = stream::iter(targets).buffered(LOOKUPS).try_collect().await?;
    for file in &options.file {
        let text = read(file)?;
        let targets =
            lines(&text).map(|Line { number, text }| prefix_of(text.to_owned(), family, Some((file, number))));
        included.extend(stream::iter(targets).buffered(LOOKUPS).try_collect::<Vec<_>>().await?);
    }
    Ok(included)
}

fn excluded(options: &Options) -> anyhow::Result<Vec<Exclusion>> {
    let mut excluded = Vec::new();
    for text in &options.exclude {
        let by = format!("--exclude {text}");
        let prefix = parse_prefix(text).with_context(|| by.clone())?;
        excluded.push(Exclusion { prefix, by });
    }
    for file in &options.exclude_file {
        for Line { number, text } in lines(&read(file)?) {
            let by = Place(file, number).to_string();
            let prefix = parse_prefix(text).with_context(|| by.clone())?;
            excluded.push(Exclusion { prefix, by });
        }
    }
    Ok(excluded)
}

/// What is left out, and what says so.
struct Exclusion {
    prefix: IpNet,
    by: String,
}

impl Exclusion {
    fn of_special(Special { prefix, name, rfc }: Special) -> Self {
        Self { prefix, by: format!("its purpose ({name}, RFC {rfc}): --special probes it too") }
    }
}

/// Why no target is left.
struct Nothing<'a> {
    included: &'a [IpNet],
    excluded: &'a [Exclusion],
}

impl fmt::Display for Nothing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.included.is_empty() {
            return f.write_str("no target is named");
        }
        for (count, prefix) in self.included.iter().take(TOLD).enumerate() {
            let meets = |excluded: &IpNet| excluded.contains(prefix) || prefix.contains(excluded);
            if let Some(Exclusion { by, .. }) = self.excluded.iter().find(|exclusion| meets(&exclusion.prefix)) {
                let comma = if count > 0 { "; " } else { "" };
                write!(f, "{comma}{prefix} is excluded by {by}")?;
            }
        }
        match self.included.len().saturating_sub(TOLD) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// A line of a file.
struct Place<'a>(&'a Path, usize);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.0.display(), self.1)
    }
}

/// An address, a prefix, or the first address of a name; the error says in which line it stands.
async fn prefix_of(text: String, family: Family, line: Option<(&PathBuf, usize)>) -> anyhow::Result<IpNet> {
    let prefix = match parse_prefix(&text) {
        Ok(prefix) => Ok(prefix),
        Err(_) if text.contains('%') => Err(anyhow::anyhow!("`{text}`: the device is that of --dev, for all targets")),
        Err(error) if text.contains('/') || is_numeric(&text) => Err(error.into()),
        Err(_) => resolve(&text, family).await.map(|(address, _)| address.into()),
    };
    match line {
        Some((file, number)) => prefix.with_context(|| Place(file, number).to_string()),
        None => prefix,
    }
}

/// Whether this is no name but an address in a short form, or a mistaken one: resolvers take `10.1` for 10.0.0.1.
fn is_numeric(text: &str) -> bool {
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    last.starts_with(|first: char| first.is_ascii_digit())
        && last.chars().all(|digit| digit.is_ascii_hexdigit() || digit == 'x')
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file.as_os_str() == STDIN {
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
    }

    #[test]
    fn where_nothing_is_left_it_is_told_why() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "# never\n9.9.9.8/31\n").expect("written");
        let path = file.path().to_str().expect("text");
        let error = |arguments: &[&str]| chosen(arguments).err().expect("nothing is left").to_string();
        assert_eq!(
            error(&["10.0.0.0/30"]),
            "there is nothing to probe: 10.0.0.0/30 is excluded by its purpose (private use, RFC 1918): --special probes it too"
        );
        assert_eq!(
            error(&["9.9.9.9", "1.1.1.1", "::1", "::1", "--exclude", "1.0.0.0/8", "--exclude-file", path]),
            format!(
                "there is nothing to probe: 9.9.9.9/32 is excluded by {path}, line 2; 1.1.1.1/32 is excluded by --exclude \
                 1.0.0.0/8; ::1/128 is excluded by its purpose (loopback, RFC 4291): --special probes it too; and 1 more"
            )
        );
        fs::write(file.path(), "#\n").expect("written");
        assert_eq!(error(&["-f", path]), "there is nothing to probe: no target is named");
        assert!(error(&["fc00::/7"]).contains("unique local"), "not that they are too many");
    }

    #[test]
    fn what_is_neither_address_nor_name_is_refused() {
        let refusal = |target: &str| format!("{:#}", chosen(&[target]).err().expect("no target"));
        for short in ["10.1", "192.0.2", "9", "0x7f.1", "1.2.3.4.5", "1.2.3.0x4", "9.9.9.9."] {
            assert!(refusal(short).contains("is not an IPv4 or IPv6 address"), "{short}");
        }
        assert!(refusal("fe80::1%eth0").contains("--dev"));
        assert!(refusal("9.9.9.9/33").contains("0 to 32"));
        for name in ["example.net", "a1", "1a.example", "x.1password"] {
            assert!(!is_numeric(name), "{name}");
        }
        let twice = chosen(&["-f", "-", "--exclude-file", "-"]).err().expect("it is one input").to_string();
        assert!(twice.contains("only once"), "{twice}");
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
