//! The replies on which every implementation has to agree, on standard output: for who writes or measures one.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use instamp_tests::{
    corpus::{answer, recording, replies},
    privilege,
};

/// Prints the replies of the corpus, a line each, or what every implementation has to answer.
#[derive(Parser)]
struct Cli {
    #[arg(value_enum, default_value = "replies")]
    what: What,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// All replies
    Replies,
    /// The answers to them
    Answers,
    /// New ones from labs of its own, as root: for tests/corpus/recorded.tsv
    Record,
}

fn main() -> ExitCode {
    match Cli::parse().what {
        What::Replies => replies().iter().for_each(|reply| println!("{reply}")),
        What::Answers => replies().iter().for_each(|reply| println!("{}", answer(reply))),
        What::Record if privilege::root().is_none() => return ExitCode::from(2),
        What::Record => recording::record().iter().for_each(|reply| println!("{reply}")),
    }
    ExitCode::SUCCESS
}
